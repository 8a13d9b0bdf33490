"""Rows that had made way come back when their key is free, however many wait."""

from __future__ import annotations

import pytest

from edge.store.comeback import ROWS_MAX
from shared.changes import SHARED
from tests.integration.edge_world import away, plant, put, uid  # noqa: F401

MANY = 600


def orders(*numbered, at):
    return put("orders", *({"id": uid(row), "order_no": key} for row, key in numbered), order=at)


def taken(plant, many=MANY):
    """Let so many rows make way for as many others with their keys."""
    plant.take(orders(*((k, f"K{k}") for k in range(many)), at=1))
    plant.take(orders(*((many + k, f"K{k}") for k in range(many)), at=many + 1))
    assert len(plant.asides()) == many


@pytest.mark.parametrize("which", [0, MANY - 1])
def test_of_many_rows_that_made_way_the_one_whose_key_is_free_comes_back_at_once(plant, which):
    taken(plant)
    plant.take(orders((MANY + which, "another"), at=5_000))
    assert plant.row("orders", uid(which))["order_no"] == f"K{which}"
    assert len(plant.asides()) == MANY - 1


def test_all_of_many_rows_come_back_when_all_keys_are_free(plant):
    taken(plant)
    plant.take(away("orders", *(uid(MANY + k) for k in range(MANY)), order=5_000))
    assert len(plant.asides()) == MANY - ROWS_MAX, "no more at a time"
    part = put("parts", {"id": uid(9_999), "code": "P"}, order=9_000, site=SHARED)
    plant.receive(plant.shared.entry(part))
    assert plant.asides() == []
    assert plant.value("SELECT count(*) FROM orders") == MANY


def test_a_key_that_a_program_has_freed_is_seen_with_whatever_comes_next(plant):
    taken(plant, 3)
    part = put("parts", {"id": uid(9_999), "code": "P"}, order=50, site=SHARED)
    plant.update("orders", uid(4), order_no="mine")
    plant.receive(plant.shared.entry(part))
    assert plant.row("orders", uid(1))["order_no"] == "K1"
    assert [row_id for _, row_id, _ in plant.asides()] == [uid(0), uid(2)]


def test_of_two_rows_that_wait_for_one_key_the_first_to_wait_comes_back(plant):
    plant.take(orders((1, "A"), at=1))
    plant.take(orders((2, "A"), at=2))
    plant.take(orders((3, "A"), at=3))
    assert len(plant.asides()) == 2
    plant.take(orders((3, "B"), at=4))
    assert plant.row("orders", uid(1))["order_no"] == "A"
    plant.take(orders((1, "C"), at=5))
    assert plant.row("orders", uid(2))["order_no"] == "A"


def test_a_row_whose_second_key_is_taken_waits_for_that_one(plant):
    plant.write("CREATE UNIQUE INDEX of_the_plant ON orders (line, slot)")
    first = {"id": uid(1), "order_no": "A", "line": "L", "slot": 1}
    plant.take(put("orders", first, order=1))
    plant.take(orders((2, "A"), at=2))
    plant.take(put("orders", {"id": uid(3), "order_no": "B", "line": "L", "slot": 1}, order=3))
    plant.take(orders((2, "C"), at=4))
    assert plant.asides() == [("orders", uid(1), "unique")], "its place is taken now"
    plant.take(put("orders", {"id": uid(3), "slot": 2}, order=5))
    assert plant.row("orders", uid(1))["slot"] == 1


def test_a_key_on_an_expression_is_tried_though_it_cannot_be_looked_up(plant):
    plant.write("CREATE UNIQUE INDEX of_the_plant ON orders (lower(notes))")
    plant.take(put("orders", {"id": uid(1), "notes": "X"}, order=1))
    plant.take(put("orders", {"id": uid(2), "notes": "x"}, order=2))
    assert plant.asides() == [("orders", uid(2), "unique")]
    plant.take(put("orders", {"id": uid(1), "notes": "y"}, order=3))
    assert plant.row("orders", uid(2))["notes"] == "x"


def test_a_key_with_bytes_in_it_is_tried_though_it_cannot_be_looked_up(plant):
    plant.write("ALTER TABLE orders ADD COLUMN drawing BLOB")
    plant.write("CREATE UNIQUE INDEX of_the_plant ON orders (drawing)")
    plant.insert("orders", id=uid(1), order_no="A", drawing=b"\xff")
    plant.drain()
    plant.take(orders((2, "A"), at=1))
    plant.insert("orders", id=uid(3), order_no="B", drawing=b"\xff")
    plant.take(orders((2, "C"), at=2))
    assert plant.asides() == [("orders", uid(1), "unique")], "another has its drawing"
    plant.take(away("orders", uid(9_999), order=9))
    plant.update("orders", uid(3), drawing=None)
    plant.take(away("orders", uid(9_999), order=10))
    assert plant.row("orders", uid(1))["drawing"] == b"\xff"


def test_a_head_refused_after_its_row_made_way_is_the_one_that_waits(plant):
    plant.write(
        "CREATE TRIGGER a_rule BEFORE INSERT ON orders WHEN NEW.notes = 'bad'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    plant.take(put("orders", {"id": uid(1), "order_no": "A", "notes": "old"}, order=1))
    plant.take(put("orders", {"id": uid(2), "order_no": "A", "notes": "x"}, order=2))
    plant.take(put("orders", {"id": uid(1), "order_no": "Q", "notes": "bad"}, order=3))
    assert plant.asides() == [("orders", uid(1), "refused")]
    plant.take(put("orders", {"id": uid(2), "order_no": "B", "notes": "x"}, order=4))
    assert plant.asides() == [("orders", uid(1), "refused")]
    assert plant.row("orders", uid(1)) is None

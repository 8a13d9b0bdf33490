"""Heads that a store could not put are the last word on their rows as well, and come home."""

from __future__ import annotations

import time

from edge.store.tips import Lost
from shared.changes import Fate
from tests.integration.edge_world import CREATED, SITE, plant, put, uid, version  # noqa: F401
from tests.integration.test_edge_apply_clashes import orders, with_rule


def told(plant, max_order=0):
    found = {}
    for blocks in plant.store.tips(Lost(max_order, 0), time.time_ns() // 10**6):
        for block in blocks:
            assert block.fate is Fate.PUT
            notes = block.new[block.columns.index("notes")]
            keys = zip(block.sites, block.created, strict=True)
            assert set(keys) == {(SITE, CREATED)}
            rows = zip(block.ids, block.version, block.order, notes, strict=True)
            for row_id, *rest in rows:
                assert row_id not in found
                found[row_id] = tuple(rest)
    return found


def test_a_head_that_sqlite_refused_comes_home_in_the_place_of_the_one_before(plant):
    plant.take(orders((1, "A"), (2, "B"), at=1))
    with_rule(plant, "new.notes <> 'bad'")
    plant.take(put("orders", {"id": uid(1), "notes": "bad", "order_no": "A"}, order=5))
    assert told(plant)[uid(1)] == (version(5), 5, "bad")
    assert told(plant)[uid(2)] == (version(2), 2, "of 2")
    assert told(plant, max_order=5) == {}


def test_a_head_whose_key_another_row_has_comes_home_under_its_own_version(plant):
    plant.take(orders((1, "A"), (2, "B"), at=1))
    plant.take(orders((1, "C"), (2, "C"), at=7))
    assert [code for _, _, code in plant.asides()] == ["unique"]
    assert told(plant) == {uid(1): (version(7), 7, "of 1"), uid(2): (version(8), 8, "of 2")}


def test_a_hello_tells_of_the_order_of_a_head_that_was_refused(plant):
    plant.take(orders((1, "A"), at=1))
    with_rule(plant, "new.notes <> 'bad'")
    plant.take(put("orders", {"id": uid(1), "notes": "bad"}, order=5))
    assert plant.store.hello(with_order=True).max_order == 5


def test_after_a_restore_of_the_centre_a_refused_head_stands_in_the_way_of_no_new_one(plant):
    plant.take(orders((1, "A"), at=10))
    with_rule(plant, "new.notes <> 'bad'")
    plant.take(put("orders", {"id": uid(1), "notes": "bad"}, order=50))
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n)")
    plant.store.begin_anew(Lost(0, 0), [], "a restore", time.time_ns() // 10**6)
    assert plant.value("SELECT ord FROM _sync_aside") == 0

"""What stands beside the tables and is settled goes after a year; what is not, stays."""

from __future__ import annotations

from edge.parked import SPENT
from edge.store import spent
from tests.integration.edge_world import plant, put, uid  # noqa: F401

YEAR_MS = spent.KEPT_MS


def set_aside(plant, row_id, code, *, at_ms=0):
    plant.write(
        "INSERT INTO _sync_aside (table_name, id, code, content, reason, at_ms)"
        " VALUES ('orders', ?, ?, '{}', 'why', ?)",
        row_id,
        code,
        at_ms,
    )


def prune(plant):
    plant.store.prune(next(plant.clock) + YEAR_MS)


def test_only_rows_aside_with_which_nothing_is_left_to_happen_are_forgotten(plant):
    codes = ("parked", "gone", "left", "unique", "refused", "too_large")
    plant.take(put("orders", {"id": uid(4), "order_no": "kept"}, order=1))
    never = "BEGIN SELECT RAISE(ABORT, 'never'); END"
    plant.write(f"CREATE TRIGGER a_rule BEFORE DELETE ON orders {never}")
    for number, code in enumerate(codes):
        set_aside(plant, uid(number), code)
    set_aside(plant, uid(9), "gone", at_ms=next(plant.clock) + YEAR_MS)
    prune(plant)
    left = {(code, row_id) for _, row_id, code in plant.asides()}
    assert left == {
        ("unique", uid(3)), ("refused", uid(4)), ("too_large", uid(5)), ("gone", uid(9)),
    }  # fmt: skip


def test_a_row_aside_of_which_a_write_is_undecided_stays(plant):
    plant.take(put("orders", {"id": uid(1), "order_no": "A"}, order=1))
    plant.update("orders", uid(1), notes="mine")
    n = plant.drain()
    set_aside(plant, uid(1), "left")
    prune(plant)
    assert plant.asides() == [("orders", uid(1), "left")]
    plant.take(ack=plant.ack(n))
    prune(plant)
    assert plant.asides() == []


def test_many_are_forgotten_a_part_at_a_time(plant, monkeypatch):
    monkeypatch.setattr(spent, "SOME", 3)
    for number in range(7):
        set_aside(plant, uid(number), "gone")
    left = []
    for _ in range(4):
        prune(plant)
        left.append(len(plant.asides()))
    assert left == [4, 1, 0, 0]


def test_the_latest_finished_imports_are_remembered_and_all_that_are_under_way(plant, monkeypatch):
    monkeypatch.setattr(spent, "IMPORTS_MAX", 2)
    for number in range(6):
        plant.write(
            "INSERT INTO _sync_import VALUES (?, 'map', 10, 0, ?)", f"file {number}", number > 0
        )
    prune(plant)
    left = plant.rows("SELECT file_digest FROM _sync_import ORDER BY rowid")
    assert [each["file_digest"] for each in left] == ["file 0", "file 4", "file 5"]


def test_what_the_agent_forgets_is_what_a_person_may_discard():
    assert spent._CODES == SPENT

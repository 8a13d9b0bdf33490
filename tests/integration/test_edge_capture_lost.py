"""A table whose triggers were away: what was written meanwhile is told, and lost by no head."""

from __future__ import annotations

import pytest
from sqlite_utils import Database

from edge.store.mend import keep_report
from shared.changes import Fate
from tests.integration.edge_loads import load
from tests.integration.edge_world import away, plant, put, uid

__all__ = ["plant"]


def orders(*notes, due=None, order=1):
    return put(
        "orders",
        *(
            {"id": uid(k), "order_no": f"WO-{k}", "notes": each, "due": due}
            for k, each in enumerate(notes, 1)
        ),
        order=order,
    )


def rebuilt(plant, table="orders"):
    """Rebuild a table as migration tools do: new table, copy, drop, rename."""
    Database(plant.program).table(table).transform()


def aside(plant, row_id):
    query = "SELECT content FROM _sync_aside WHERE id = ? AND code = 'uncaptured'"
    found = plant.rows(query, row_id)
    return [each["content"] for each in found]


@pytest.fixture
def unwatched(plant):
    """Two orders of the centre, in a table that a tool has rebuilt while no agent ran."""
    plant.take(orders("one", "two"))
    plant.store.close()
    rebuilt(plant)
    plant.update("orders", uid(1), notes="written while nobody watched")
    plant.program.close()
    plant.open()
    return plant


def test_that_nobody_watched_is_told_once_and_what_is_written_from_then_on_is_sent(unwatched):
    assert unwatched.events() == ["MES-CAPTURE-LOST"]
    unwatched.update("orders", uid(2), notes="seen")
    assert unwatched.owed() == [("orders", uid(2), "U")]
    assert unwatched.events() == ["MES-CAPTURE-LOST"]


def test_a_tool_that_rebuilds_a_table_beside_the_agent_is_met_by_the_next_drain(plant):
    plant.take(orders("one"))
    rebuilt(plant)
    plant.update("orders", uid(1), notes="unwatched")
    plant.drain()
    assert plant.events() == ["MES-CAPTURE-LOST"]
    assert plant.store.uncaptured_ms() > 0


def test_one_trigger_that_is_dropped_by_hand_is_told_too(plant):
    plant.write("DROP TRIGGER _sync_orders_log_update")
    plant.drain()
    assert plant.events() == ["MES-CAPTURE-LOST"]


def test_an_index_of_the_plants_that_changes_our_triggers_is_no_loss(plant):
    plant.write("CREATE UNIQUE INDEX plant_ref ON orders (notes)")
    plant.drain()
    assert plant.events() == []
    assert plant.store.uncaptured_ms() == 0


def test_a_head_that_takes_the_place_of_what_was_not_captured_leaves_it_aside(unwatched):
    unwatched.take(orders("one", "two", due="monday", order=9))
    assert unwatched.row("orders", uid(1))["notes"] == "one"  # as the centre has it
    (kept,) = aside(unwatched, uid(1))
    assert "written while nobody watched" in kept
    assert "MES-ROW-ASIDE" in unwatched.events()


def test_the_first_of_several_heads_keeps_what_was_not_captured(unwatched):
    for order, due in ((9, "monday"), (19, "tuesday")):
        unwatched.take(orders("one", due=due, order=order))
    (kept,) = aside(unwatched, uid(1))
    assert "written while nobody watched" in kept


def test_a_head_that_changes_nothing_leaves_nothing_aside(unwatched):
    unwatched.take(orders("written while nobody watched", "two", order=9))
    assert unwatched.asides() == []


@pytest.mark.parametrize("fate", [Fate.GONE, Fate.LEFT])
def test_a_row_that_goes_away_is_kept_aside_as_it_stood(unwatched, fate):
    unwatched.take(away("orders", uid(1), order=9, fate=fate))
    assert unwatched.row("orders", uid(1)) is None
    (kept,) = aside(unwatched, uid(1))
    assert "written while nobody watched" in kept


def test_a_row_that_makes_way_for_a_key_is_kept_aside_as_it_stood(unwatched):
    taker = {"id": uid(7), "order_no": "WO-1", "notes": "has the number now"}
    unwatched.take(put("orders", taker, order=9))
    assert unwatched.row("orders", uid(1)) is None
    freed = {"id": uid(1), "order_no": "WO-9", "notes": "one"}
    unwatched.take(put("orders", freed, order=19))
    assert unwatched.row("orders", uid(1))["notes"] == "one"
    (kept,) = aside(unwatched, uid(1))
    assert "written while nobody watched" in kept


def test_what_was_captured_of_the_row_is_laid_over_the_head_as_ever(unwatched):
    unwatched.update("orders", uid(1), line="L-1")
    unwatched.drain()
    unwatched.take(orders("one", due="monday", order=9))
    row = unwatched.row("orders", uid(1))
    assert (row["notes"], row["due"], row["line"]) == ("one", "monday", "L-1")
    (kept,) = aside(unwatched, uid(1))
    assert "written while nobody watched" in kept


def test_later_heads_do_not_forget_what_stands_aside(unwatched):
    unwatched.take(orders("one", order=9))
    unwatched.take(away("orders", uid(1), order=19))
    unwatched.take(orders("anew", order=29))
    assert len(aside(unwatched, uid(1))) == 1


def test_a_row_that_a_snapshot_lacks_is_kept_aside_as_it_stood(unwatched):
    load(unwatched, put("orders", {"id": uid(2), "order_no": "WO-2", "notes": "two"}, order=2))
    assert unwatched.row("orders", uid(1)) is None
    (kept,) = aside(unwatched, uid(1))
    assert "written while nobody watched" in kept


def test_tables_that_were_watched_go_on_as_they_do(unwatched):
    step = {"id": uid(9), "order_id": uid(1), "seq": 1, "notes": "s"}
    unwatched.take(put("steps", step, order=30))
    unwatched.take(put("steps", step | {"notes": "t"}, order=40))
    assert unwatched.asides() == []


# --- until both ends hold the same ----------------------------------------------------------------

SAME = {
    "skipped": "", "more": False, "moving": 0, "aside": 0, "parked": 0, "differing": 0,
    "repaired": 0,
}  # fmt: skip


def compared(plant, **found):
    """Keep a report that began after the table was marked."""
    after_ms = plant.store.uncaptured_ms() + 1
    tables = [{"table": "orders"} | SAME | found]
    report = {"run": uid(7), "differing": 0, "whole": True, "began_ms": after_ms}
    report |= {"tables": tables, "differences": []}
    keep_report(plant.store.opened.connection, report, after_ms)
    return plant.store.uncaptured_ms()


def test_a_comparison_that_finds_the_table_the_same_ends_it(unwatched):
    assert compared(unwatched) == 0
    unwatched.take(orders("one", order=9))
    assert unwatched.asides() == []


def test_a_repair_of_all_that_differed_ends_it(unwatched):
    assert compared(unwatched, differing=2, repaired=2) == 0


@pytest.mark.parametrize(
    "found",
    [
        {"skipped": "the centre has no such table yet"}, {"more": True}, {"moving": 1},
        {"aside": 1}, {"parked": 1}, {"differing": 2, "repaired": 1}, {"table": "steps"},
    ],
)  # fmt: skip
def test_a_comparison_that_did_not_find_all_of_it_the_same_does_not(unwatched, found):
    assert compared(unwatched, **found) > 0


def test_a_comparison_that_began_before_does_not_end_it(unwatched):
    marked_ms = unwatched.store.uncaptured_ms()
    report = {"run": uid(7), "differing": 0, "whole": True, "began_ms": marked_ms - 1}
    report |= {"tables": [{"table": "orders"} | SAME], "differences": []}
    keep_report(unwatched.store.opened.connection, report, marked_ms + 10)
    assert unwatched.store.uncaptured_ms() == marked_ms

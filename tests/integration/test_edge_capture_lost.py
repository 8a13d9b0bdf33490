"""A table whose triggers were away: what was written meanwhile is told, and lost by no head."""

from __future__ import annotations

import asyncio
import sqlite3
from importlib.resources import files
from types import SimpleNamespace

import pytest
from sqlite_utils import Database

from edge.compare.schedule import Comparer
from edge.store.mend import keep_report
from shared.changes import Fate
from shared.errors import Transient
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


def lost_again(plant, notes, row_id=None):
    """Have a tool rebuild the table while no agent runs, and a program write to it then."""
    plant.store.close()
    rebuilt(plant)
    if notes is None:
        plant.write("DELETE FROM orders WHERE id = ?", row_id or uid(1))
    else:
        plant.update("orders", row_id or uid(1), notes=notes)
    plant.program.close()
    plant.open()


@pytest.fixture
def unwatched(plant):
    """Two orders of the centre, in a table that a tool has rebuilt while no agent ran."""
    plant.take(orders("one", "two"))
    lost_again(plant, "written while nobody watched")
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
    assert plant.store.losses() == {"orders": 1}


def test_one_trigger_that_is_dropped_by_hand_is_told_too(plant):
    plant.write("DROP TRIGGER _sync_orders_log_update")
    plant.drain()
    assert plant.events() == ["MES-CAPTURE-LOST"]


def test_a_table_that_is_renamed_away_and_made_anew_has_lost_them(plant):
    plant.take(orders("one"))
    (made,) = plant.rows("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'orders'")
    plant.write("ALTER TABLE orders RENAME TO orders_backup")  # our triggers go along
    plant.write(made["sql"])
    plant.write("INSERT INTO orders SELECT * FROM orders_backup")
    plant.update("orders", uid(1), notes="unwatched")
    plant.drain()
    assert plant.events() == ["MES-CAPTURE-LOST"]
    plant.take(orders("two", order=9))
    (kept,) = aside(plant, uid(1))
    assert "unwatched" in kept


def test_an_index_of_the_plants_that_changes_our_triggers_is_no_loss(plant):
    plant.write("CREATE UNIQUE INDEX plant_ref ON orders (notes)")
    plant.drain()
    assert plant.events() == []
    assert plant.store.losses() == {}


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


def test_of_two_losses_both_are_kept(unwatched):
    unwatched.take(orders("one", order=9))
    lost_again(unwatched, "and once more")
    unwatched.take(orders("three", order=19))
    first, second = aside(unwatched, uid(1))
    assert "written while nobody watched" in first
    assert "and once more" in second


def test_a_row_that_was_deleted_unseen_comes_back_with_a_note_that_it_was_gone(plant):
    plant.take(orders("one"))
    lost_again(plant, None)
    plant.take(orders("one", due="monday", order=9))
    assert plant.row("orders", uid(1))["due"] == "monday"
    assert aside(plant, uid(1)) == ["{}"]


def test_a_row_that_the_site_deletes_in_sight_is_not_noted_as_gone_unseen(unwatched):
    unwatched.write("DELETE FROM orders WHERE id = ?", uid(2))
    unwatched.drain()
    unwatched.take(orders("one", "two", due="monday", order=9))
    assert aside(unwatched, uid(2)) == []


def a_rule(plant, event, when):
    plant.write(
        f"CREATE TRIGGER a_rule BEFORE {event} ON orders WHEN {when}"
        " BEGIN SELECT RAISE(ABORT, 'not here'); END"
    )


def test_a_refused_head_that_is_tried_again_leaves_what_was_not_captured_aside(plant):
    plant.take(orders("one"))
    a_rule(plant, "UPDATE", "NEW.notes = 'bad'")
    plant.take(orders("bad", order=9))
    lost_again(plant, "unwatched")  # the rule went with our triggers
    plant.store.prune(next(plant.clock))
    assert plant.row("orders", uid(1))["notes"] == "bad"
    (kept,) = aside(plant, uid(1))
    assert "unwatched" in kept


def test_a_refused_removal_that_is_tried_again_leaves_what_was_not_captured_aside(plant):
    plant.take(orders("one"))
    a_rule(plant, "DELETE", "OLD.order_no = 'WO-1'")
    plant.take(away("orders", uid(1), order=9))
    lost_again(plant, "unwatched")
    plant.store.prune(next(plant.clock))
    assert plant.row("orders", uid(1)) is None
    (kept,) = aside(plant, uid(1))
    assert "unwatched" in kept


def test_a_head_that_waited_for_its_key_leaves_what_was_not_captured_aside(plant):
    plant.take(orders("one", "two"))
    a_rule(plant, "DELETE", "OLD.order_no = 'WO-1'")
    plant.take(put("orders", {"id": uid(2), "order_no": "WO-1", "notes": "theirs"}, order=9))
    assert plant.asides() == [("orders", uid(2), "unique")]
    lost_again(plant, "unwatched", uid(2))
    plant.take(put("orders", {"id": uid(1), "order_no": "WO-9", "notes": "one"}, order=19))
    assert plant.row("orders", uid(2))["notes"] == "theirs"
    (kept,) = aside(plant, uid(2))
    assert "unwatched" in kept


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
    "repaired": 0, "unknown": (),
}  # fmt: skip


def compared(plant, *, began=None, **found):
    """Keep the report of a comparison that began at these losses; return what is marked still."""
    tables = [{"table": "orders"} | SAME | found]
    report = {"run": uid(7), "differing": 0, "whole": True, "began_ms": next(plant.clock)}
    report |= {"tables": tables, "differences": []}
    losses = plant.store.losses() if began is None else began
    keep_report(plant.store.opened.connection, report, losses, next(plant.clock))
    return plant.store.losses()


def test_a_comparison_that_finds_the_table_the_same_ends_it(unwatched):
    assert compared(unwatched) == {}
    unwatched.take(orders("one", order=9))
    assert unwatched.asides() == []


def test_a_repair_of_all_that_differed_ends_it(unwatched):
    assert compared(unwatched, differing=2, repaired=2) == {}


@pytest.mark.parametrize(
    "found",
    [
        {"skipped": "the centre has no such table yet"}, {"more": True}, {"moving": 1},
        {"aside": 1}, {"parked": 1}, {"unknown": ("notes",)}, {"differing": 2, "repaired": 1},
        {"table": "steps"},
    ],
)  # fmt: skip
def test_a_comparison_that_did_not_find_all_of_it_the_same_does_not(unwatched, found):
    assert compared(unwatched, **found) == {"orders": 1}


def test_a_comparison_that_began_before_a_loss_does_not_end_it(unwatched):
    began = unwatched.store.losses()
    lost_again(unwatched, "once more")
    assert compared(unwatched, began=began) == {"orders": 2}
    assert compared(unwatched, began={}) == {"orders": 2}
    assert compared(unwatched) == {}


def test_what_stood_aside_before_losses_had_numbers_stands_there_still():
    connection = sqlite3.connect(":memory:")
    *before, losses = sorted(files("edge").joinpath("migrations").iterdir(), key=str)[:16]
    for each in before:
        connection.executescript(each.read_text())
    columns = "(table_name, id, code, content, reason, at_ms, key)"
    rows = [
        ("orders", "1", code, '{"id":"1"}', "why", 7, "[]") for code in ("uncaptured", "unique")
    ]
    connection.executemany(f"INSERT INTO _sync_aside {columns} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executescript(losses.read_text())
    found = connection.execute(f"SELECT loss, {columns[1:-1]} FROM _sync_aside ORDER BY code")
    assert found.fetchall() == [(1, *rows[0]), (0, *rows[1])]


# --- compared at once -----------------------------------------------------------------------------


async def at_once(call, *given):
    return call(*given)


@pytest.fixture
async def comparisons(unwatched, monkeypatch):
    """Do one turn of an agent's comparing; return what was compared, or that nothing was due."""
    met = asyncio.Event()
    met.set()
    settings = SimpleNamespace(compare_hour=3, site="SITE_001")
    comparer = Comparer(settings, unwatched.store, None, SimpleNamespace(run=at_once), met)
    orders = []

    async def compare(order):
        orders.append(order)
        if turn.fails:
            raise Transient("the centre is away")

    async def turn():
        try:
            async with asyncio.timeout(0.3):
                await comparer.turn()
        except TimeoutError:
            return "not due"
        return orders.pop().tables

    monkeypatch.setattr(comparer, "_compare", compare)
    turn.comparer, turn.fails = comparer, False
    return turn


async def test_all_is_compared_once_for_each_loss_whatever_the_clock_says(comparisons):
    assert [await comparisons(), await comparisons()] == [(), "not due"]


async def test_a_comparison_that_fails_is_not_begun_again_and_again(comparisons):
    comparisons.fails = True
    assert [await comparisons(), await comparisons()] == [(), "not due"]


async def test_what_was_lost_once_more_is_compared_once_more(unwatched, comparisons):
    assert await comparisons() == ()
    unwatched.write("DROP TRIGGER _sync_orders_log_update")
    unwatched.drain()
    assert [await comparisons(), await comparisons()] == [(), "not due"]


async def test_a_comparison_of_one_table_that_was_ordered_does_not_stand_for_all(comparisons):
    comparisons.comparer.order({"run": uid(8), "tables": ["steps"], "repair": False})
    assert [await comparisons(), await comparisons(), await comparisons()] == [
        ("steps",), (), "not due",
    ]  # fmt: skip

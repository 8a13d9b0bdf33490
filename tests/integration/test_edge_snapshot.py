"""Snapshots: the site's share as of one moment, loaded under programs that go on writing."""

from __future__ import annotations

import json

import pytest

from shared.changes import SHARED, Fate
from shared.errors import MalformedMessage, StaleSnapshot
from sync.protocol import Verdict
from tests.integration.edge_loads import (  # noqa: F401, the fixtures among them
    TABLES,
    begin,
    chunk,
    finish,
    load,
    order,
    plant,
    running,
)
from tests.integration.edge_world import away, put, uid, version

# --- the load itself -----------------------------------------------------------------------------


def test_a_new_store_holds_the_share_after_the_load_and_follows_the_feed_from_there(plant):
    for _ in range(3):
        plant.own.entry()
        plant.shared.entry()
    load(plant, order(1, at=5, notes="a"), put("parts", {"id": uid(9), "code": "P"}, order=6))
    assert plant.row("orders", uid(1))["notes"] == "a"
    assert plant.base("orders", uid(1)) == (version(5), 5)
    position = plant.store.position()
    assert (position.own_pos, position.shared_pos, position.needs_snapshot) == (3, 3, False)
    assert plant.store.snapshot_state() is None
    assert plant.take(order(1, at=101, notes="b")).rows == 1
    assert plant.row("orders", uid(1))["notes"] == "b"
    assert plant.drain() == 0, "nothing of it is sent back"


def test_the_load_goes_on_at_the_next_chunk_after_a_restart(plant):
    begin(plant)
    assert chunk(plant, 0, order(1, at=1)) == 1
    plant.close()
    plant.open()
    assert plant.store.snapshot_state().next_chunk == 1
    begin(plant)
    assert plant.store.snapshot_state().next_chunk == 1
    assert chunk(plant, 1, order(2, at=2)) == 1
    finish(plant)
    assert plant.value("SELECT count(*) FROM orders") == 2


def test_a_chunk_that_comes_twice_has_one_effect(plant):
    begin(plant)
    chunk(plant, 0, order(1, at=1, notes="a"))
    plant.update("orders", uid(1), notes="mine")
    assert chunk(plant, 0, order(1, at=1, notes="a")) == 0
    assert plant.row("orders", uid(1))["notes"] == "mine"


def test_a_chunk_after_a_missing_one_is_refused(plant):
    begin(plant)
    with pytest.raises(StaleSnapshot, match="chunk 0 is the next one"):
        chunk(plant, 1, order(1, at=1))
    assert plant.row("orders", uid(1)) is None


def test_a_chunk_without_a_load_under_way_is_refused(plant):
    with pytest.raises(StaleSnapshot):
        chunk(plant, 0, order(1, at=1))
    with pytest.raises(StaleSnapshot):
        finish(plant)


def test_a_new_snapshot_takes_the_place_of_the_one_under_way(plant):
    begin(plant, "one")
    chunk(plant, 0, order(1, at=1))
    begin(plant, "two")
    state = plant.store.snapshot_state()
    assert (state.id, state.next_chunk, state.number) == ("two", 0, 2)
    chunk(plant, 0, order(2, at=2))
    finish(plant)
    assert [row["id"] for row in plant.rows("SELECT id FROM orders")] == [uid(2)]


def test_a_manifest_that_can_not_be_read_is_refused_and_nothing_begins(plant):
    with pytest.raises(MalformedMessage):
        plant.store.begin_snapshot("one", {"own": [1, "no hash"]})
    assert plant.store.snapshot_state() is None


def test_the_feed_waits_while_the_load_is_under_way(running):
    begin(running)
    assert running.receive(running.own.entry(order(1, at=1))).verdict is Verdict.GAP


def test_a_run_that_was_cut_off_by_the_snapshot_is_forgotten(running):
    running.receive(running.own.entry(order(1, at=1), more=True))
    running.own.entry(order(2, at=2))
    load(running, order(1, at=1), order(2, at=2))
    assert running.value("SELECT count(*) FROM _sync_in") == 0
    assert running.take(order(3, at=101)).rows == 1


def test_want_snapshot_stops_the_feed_and_tells_the_operator_once(running):
    for _ in range(2):
        running.store.want_snapshot("too long offline", next(running.clock))
    assert running.store.position().needs_snapshot
    assert running.events() == ["MES-SNAPSHOT-WANTED"]
    assert running.receive(running.own.entry(order(1, at=1))).verdict is Verdict.GAP


# --- what the centre no longer has ---------------------------------------------------------------


def test_rows_that_the_snapshot_does_not_hold_are_taken_away(running):
    running.take(*(order(k, at=k) for k in (1, 2, 3)))
    load(running, order(2, at=2))
    assert [row["id"] for row in running.rows("SELECT id FROM orders")] == [uid(2)]
    assert running.value("SELECT count(*) FROM _sync_row") == 1


def test_own_rows_that_were_accepted_and_then_deleted_at_the_centre_are_taken_away(running):
    running.insert("orders", id=uid(1))
    n = running.drain()
    running.take(ack=running.ack(n))
    load(running, order(2, at=2), ack=running.ack(n))
    assert running.row("orders", uid(1)) is None


def test_a_row_known_by_a_later_version_is_neither_set_back_nor_taken_away(running):
    running.take(order(1, at=300, notes="later"), order(2, at=301, notes="later, too"))
    load(running, order(1, at=50, notes="as of the snapshot"))
    assert running.row("orders", uid(1))["notes"] == "later"
    assert running.row("orders", uid(2))["notes"] == "later, too"


def test_facts_that_the_snapshot_does_not_hold_stay(running):
    running.insert("reports", id=uid(1), good=1)
    n = running.drain()
    load(running, put("reports", {"id": uid(2), "good": 2}, order=0), ack=running.ack(n))
    goods = [row["good"] for row in running.rows("SELECT good FROM reports ORDER BY id")]
    assert goods == [1, 2]
    assert running.drain() == n


def test_facts_written_while_a_snapshot_loads_are_sent_and_loaded_ones_are_not(plant):
    begin(plant)
    chunk(plant, 0, put("reports", {"id": uid(1), "good": 1}, {"id": uid(2), "good": 2}, order=0))
    plant.insert("reports", id=uid(3), good=3)
    chunk(plant, 1, put("reports", {"id": uid(4), "good": 4}, order=0))
    finish(plant)
    assert plant.value("SELECT sum(rows) FROM _sync_out") == 1


def test_a_table_that_the_centre_does_not_know_yet_is_left_alone(running):
    running.insert("steps", id=uid(1), notes="mine")
    n = running.drain()
    without = [name for name in TABLES if name != "steps"]
    load(running, order(2, at=2), ack=running.ack(n), tables=without)
    assert running.row("steps", uid(1))["notes"] == "mine"
    assert running.base("steps", uid(1)) == (running.tx_id(n), 0)


def test_what_was_aside_or_in_the_shadow_of_rows_that_are_gone_is_forgotten(running):
    running.take(order(1, at=1, order_no="A"), order(4, at=4, notes="a"))
    running.take(order(2, at=2, order_no="A"))
    running.update("orders", uid(4), notes="mine")
    n = running.drain()
    running.take(away("orders", uid(4), order=5, fate=Fate.LEFT))
    load(running, order(3, at=3), ack=running.ack(n))
    assert (running.asides(), running.shadows()) == ([], [])
    assert [row["id"] for row in running.rows("SELECT id FROM orders")] == [uid(3)]


def waits_for_a_key(site):
    """Row 8 has no place, since row 1, which is not to be deleted, has its key."""
    site.take(order(1, at=1, order_no="A", notes="a"))
    site.write("CREATE TRIGGER a_rule BEFORE DELETE ON orders BEGIN SELECT RAISE(ABORT, 'no'); END")
    site.take(order(8, at=5, order_no="A", notes="theirs"))
    assert site.asides() == [("orders", uid(8), "unique")]


def is_refused(site):
    """Row 8 has no place, since a rule of the plant's refuses it."""
    site.take(order(1, at=1, order_no="A", notes="a"))
    site.write(
        "CREATE TRIGGER a_rule BEFORE INSERT ON orders WHEN NEW.notes = 'theirs'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    site.take(order(8, at=5, order_no="Z", notes="theirs"))
    assert site.asides() == [("orders", uid(8), "refused")]


def lift(site):
    site.write("DROP TRIGGER a_rule")
    site.store.prune(next(site.clock))


stands_aside = pytest.mark.parametrize("why", [waits_for_a_key, is_refused])


@stands_aside
def test_a_head_that_never_stood_and_that_the_snapshot_lacks_does_not_come_back(running, why):
    why(running)
    load(running, order(1, at=20, order_no="B", notes="a"))
    lift(running)
    assert (running.row("orders", uid(8)), running.asides()) == (None, [])
    assert running.base("orders", uid(8)) is None


@stands_aside
def test_a_head_that_never_stood_and_that_the_snapshot_holds_waits_still(running, why):
    why(running)
    (asked,) = running.rows("SELECT content FROM _sync_aside")
    theirs = {**json.loads(asked["content"]), "id": uid(8)}
    load(running, order(1, at=1, order_no="A", notes="a"),
         order(8, at=5, order_no=theirs["order_no"], notes="theirs"))  # fmt: skip
    assert [each[1] for each in running.asides()] == [uid(8)]
    lift(running)
    running.take(order(1, at=101, order_no="C"))
    assert running.row("orders", uid(8))["notes"] == "theirs"


@stands_aside
def test_a_head_aside_that_is_later_than_the_snapshot_waits_still(running, why):
    why(running)
    load(running, order(1, at=1, order_no="A", notes="a"), max_order=4)
    assert [each[1] for each in running.asides()] == [uid(8)]


def test_a_head_that_was_refused_and_comes_while_a_snapshot_loads_is_not_missing_in_it(running):
    is_refused(running)
    begin(running)
    chunk(running, 0, order(1, at=1, order_no="A", notes="a"))
    chunk(running, 1, order(8, at=5, order_no="Z", notes="theirs"))
    lift(running)
    assert running.row("orders", uid(8))["notes"] == "theirs"
    finish(running)
    assert running.row("orders", uid(8))["notes"] == "theirs", "the snapshot holds it"


def test_a_head_whose_cover_is_owed_to_nobody_goes_with_its_row(running):
    running.take(order(1, at=1, notes="a"))
    running.update("orders", uid(1), notes="mine")
    running.drain()
    running.take(order(1, at=2, notes="b"))
    running.write("DELETE FROM _sync_pending")
    load(running, order(2, at=3))
    assert running.shadows() == []


def test_rows_set_aside_by_the_load_are_told_at_its_end_only(plant):
    begin(plant)
    chunk(plant, 0, order(1, at=1, order_no="A"))
    chunk(plant, 1, order(2, at=2, order_no="A"))
    assert plant.events() == []
    finish(plant)
    assert plant.events() == ["MES-ROW-ASIDE"]


def test_keys_that_moved_since_the_last_visit_settle_over_the_chunks(running):
    running.take(order(1, at=1, order_no="A"), order(2, at=2, order_no="B"))
    load(running, order(1, at=11, order_no="B"), order(2, at=12, order_no="A"))
    assert [row["order_no"] for row in running.rows("SELECT * FROM orders ORDER BY id")] == [
        "B",
        "A",
    ]
    assert (running.asides(), running.events()) == ([], [])


def test_keys_that_go_round_with_an_undecided_row_settle_within_a_chunk(running):
    running.take(order(1, at=1, order_no="A"), order(2, at=2, order_no="B"))
    running.update("orders", uid(1), notes="mine")
    running.drain()
    begin(running)
    swapped = {"id": uid(1), "order_no": "B"}, {"id": uid(2), "order_no": "A"}
    chunk(running, 0, put("orders", *swapped, order=11))
    assert running.row("orders", uid(1))["order_no"] == "B"
    assert running.row("orders", uid(1))["notes"] == "mine"


def test_a_row_whose_head_is_refused_stays_as_it_was(running):
    running.take(order(1, at=1, slot=1))
    load(running, order(1, at=2, slot="not a number"))
    assert running.row("orders", uid(1))["slot"] == 1
    assert running.asides() == [("orders", uid(1), "refused")]


# --- newer schema --------------------------------------------------------------------------------


def test_what_this_store_has_no_place_for_is_kept(plant):
    load(
        plant,
        order(1, at=1, colour="red"),
        put("tools", {"id": uid(5), "code": "T"}, {"id": uid(6), "code": "U"}, order=2),
        tables=[*TABLES, "tools"],
    )
    kept = plant.rows("SELECT table_name, id, column_name FROM _sync_extra ORDER BY id")
    assert [tuple(each.values()) for each in kept] == [
        ("orders", uid(1), "colour"),
        ("tools", uid(5), ""),
        ("tools", uid(6), ""),
    ]


def test_rows_of_unknown_tables_that_are_gone_are_forgotten(plant):
    load(plant, put("tools", {"id": uid(5), "code": "T"}, {"id": uid(6), "code": "U"}, order=2))
    load(plant, put("tools", {"id": uid(6), "code": "U"}, order=3))
    assert [row["id"] for row in plant.rows("SELECT id FROM _sync_extra")] == [uid(6)]


# --- the trail -----------------------------------------------------------------------------------


def test_the_trail_starts_anew_where_the_snapshot_ends(running):
    for _ in range(5):
        running.take()
    load(running)
    trail = {(row["scope"], row["pos"]) for row in running.rows("SELECT * FROM _sync_seen")}
    assert trail == {("SITE_001", 5), (SHARED, 0)}


def test_the_state_tells_what_is_being_loaded(plant):
    begin(plant, ack=plant.ack(0), max_order=77)
    state = plant.store.snapshot_state()
    assert (state.id, state.number, state.next_chunk) == ("one", 1, 0)
    assert state.manifest.max_order == 77
    assert json.loads(plant.value("SELECT manifest FROM _sync_snapshot"))["tables"] == TABLES

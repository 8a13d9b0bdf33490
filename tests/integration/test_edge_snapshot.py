"""Snapshots: the site's share as of one moment, loaded under programs that go on writing."""

from __future__ import annotations

import json

import pytest

from shared.changes import SHARED, Fate
from shared.errors import ForkedHistory, MalformedMessage, StaleSnapshot
from sync.protocol import Verdict
from tests.integration.edge_world import Plant, away, put, uid, version

TABLES = ["orders", "parts", "reports", "steps", "sync_conflicts"]


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db", needs_snapshot=True)
    yield plant
    plant.close()


@pytest.fixture
def running(tmp_path):
    """A site that has followed its feed for a while."""
    plant = Plant(tmp_path / "store.db")
    yield plant
    plant.close()


def manifest(plant, *, ack=None, max_order=100, tables=TABLES):
    return {
        "own": [plant.own.position.n, plant.own.position.hash.hex()],
        "shared": [plant.shared.position.n, plant.shared.position.hash.hex()],
        "ack": ack and [ack.epoch, ack.n, ack.safe_n],
        "max_order": max_order,
        "schema": 1,
        "tables": tables,
    }


def begin(plant, snapshot_id="one", **more):
    plant.store.begin_snapshot(snapshot_id, manifest(plant, **more), next(plant.clock))


def chunk(plant, k, *blocks):
    return plant.store.apply_chunk(k, blocks, next(plant.clock))


def finish(plant):
    plant.store.finish_snapshot(next(plant.clock))


def load(plant, *chunks, **more):
    begin(plant, **more)
    for k, block in enumerate(chunks):
        chunk(plant, k, block)
    finish(plant)


def order(number, *, at, **values):
    return put("orders", {"id": uid(number), **values}, order=at)


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
        plant.store.begin_snapshot("one", {"own": [1, "no hash"]}, next(plant.clock))
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


# --- with own writes pending ---------------------------------------------------------------------


def test_a_snapshot_is_taken_with_own_writes_pending(running):
    """One write is part of the snapshot, one came too late for it, one is made meanwhile."""
    running.take(order(1, at=1, made=0), order(2, at=2, notes="x"), order(3, at=3, notes="x"))
    running.update("orders", uid(1), made=10)
    included = running.drain()
    running.update("orders", uid(1), made=15)
    running.update("orders", uid(2), notes="mine")
    late = running.drain()
    begin(running, ack=running.ack(included))
    running.update("orders", uid(3), notes="meanwhile")
    chunk(running, 0, order(1, at=21, made=110), order(2, at=22, notes="theirs", due="friday"))
    chunk(running, 1, order(3, at=23, notes="theirs"))
    finish(running)
    assert running.row("orders", uid(1))["made"] == 115
    second = running.row("orders", uid(2))
    assert (second["notes"], second["due"]) == ("mine", "friday")
    assert running.row("orders", uid(3))["notes"] == "meanwhile"
    assert running.store.position().acked_n == included
    assert running.shadows() == [uid(1), uid(2), uid(3)]
    running.take(ack=running.ack(late))
    assert running.row("orders", uid(1))["made"] == 110, "the head that came is what counts"
    assert running.row("orders", uid(3))["notes"] == "meanwhile"


def test_a_row_written_while_it_loads_is_based_on_the_head_that_was_seen(plant):
    begin(plant)
    chunk(plant, 0, order(1, at=7, notes="a"))
    plant.update("orders", uid(1), notes="mine")
    chunk(plant, 1, order(2, at=8))
    assert plant.owed() == [("orders", uid(1), "U")]
    assert plant.base("orders", uid(1)) == (version(7), 7)
    finish(plant)
    assert plant.row("orders", uid(1))["notes"] == "mine"


def test_a_new_row_of_the_site_that_is_not_decided_survives_the_load(running):
    running.insert("orders", id=uid(1), notes="mine")
    n = running.drain()
    load(running, order(2, at=2))
    assert running.row("orders", uid(1))["notes"] == "mine"
    assert running.owed() == [("orders", uid(1), "I")]
    running.take(ack=running.ack(n))
    assert running.base("orders", uid(1)) == (running.tx_id(n), 0)


def test_a_decided_insert_that_the_snapshot_does_not_hold_is_kept_aside(running):
    running.insert("orders", id=uid(1), notes="mine")
    n = running.drain()
    load(running, order(2, at=2), ack=running.ack(n))
    assert running.row("orders", uid(1)) is None
    assert running.asides() == [("orders", uid(1), "parked")]
    assert running.owed() == []


def test_an_own_update_of_a_row_that_is_gone_stays_in_sight_until_it_is_decided(running):
    running.take(order(1, at=1, notes="a"))
    running.update("orders", uid(1), notes="mine")
    n = running.drain()
    load(running, order(2, at=2))
    assert running.row("orders", uid(1))["notes"] == "mine"
    running.take(ack=running.ack(n))
    assert running.row("orders", uid(1)) is None
    assert running.asides() == [("orders", uid(1), "gone")]


def test_a_snapshot_older_than_what_is_decided_is_refused(running):
    running.insert("orders", id=uid(1))
    n = running.drain()
    running.take(ack=running.ack(n))
    for ack in (None, running.ack(n - 1)):
        with pytest.raises(StaleSnapshot, match=f"n {n}, which is decided"):
            begin(running, ack=ack)
    assert running.store.snapshot_state() is None


def test_a_snapshot_that_decided_on_what_the_store_never_made_is_a_fork(plant):
    with pytest.raises(ForkedHistory, match="n 1, this store has made 0"):
        begin(plant, ack=plant.ack(1))


def test_the_ack_of_the_manifest_is_taken_at_the_end(running):
    running.insert("orders", id=uid(1))
    n = running.drain()
    begin(running, ack=running.ack(n, safe_n=n))
    assert running.store.position().acked_n == 0
    chunk(running, 0, order(1, at=1))
    finish(running)
    position = running.store.position()
    assert (position.acked_n, position.safe_n) == (n, n)


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

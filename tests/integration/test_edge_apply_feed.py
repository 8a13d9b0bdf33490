"""Entries in their order: each applied once, whole, and never on another history."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store import apply, cursor
from shared.changes import Ack
from sync.protocol import Verdict
from tests.integration.edge_world import SITE, Feed, Plant, plant, put, uid  # noqa: F401


def order(number, **values):
    return put("orders", {"id": uid(number), "order_no": f"WO-{number}", **values}, order=number)


def test_an_entry_brings_its_rows_with_cursor_and_hash_in_one_transaction(plant):
    entry = plant.own.entry(order(1, notes="from the centre"))
    outcome = plant.receive(entry)
    assert (outcome.applied, outcome.verdict, outcome.rows) == (1, Verdict.APPLY, 1)
    assert plant.row("orders", uid(1))["notes"] == "from the centre"
    assert plant.rows("SELECT own_pos, own_hash FROM _sync_site") == [
        {"own_pos": 1, "own_hash": entry[0].hash}
    ]


def test_an_entry_that_comes_twice_or_late_changes_nothing(plant):
    entries = [plant.own.entry(order(1, notes=str(k))) for k in range(3)]
    plant.receive(*entries)
    plant.update("orders", uid(1), notes="mine")
    plant.drain()
    for again in ([entries[2]], [entries[0]], entries):
        outcome = plant.receive(*again)
        assert (outcome.applied, outcome.verdict) == (len(again), Verdict.SKIP)
    assert plant.row("orders", uid(1))["notes"] == "mine"


def test_known_entries_before_new_ones_do_not_keep_them_from_being_applied(plant):
    entries = [plant.own.entry(order(k)) for k in (1, 2, 3)]
    plant.receive(*entries[:2])
    outcome = plant.receive(*entries)
    assert (outcome.applied, outcome.verdict, outcome.rows) == (3, Verdict.APPLY, 1)


def test_nothing_is_applied_beyond_a_gap(plant):
    first, _, third = (plant.own.entry(order(k)) for k in (1, 2, 3))
    outcome = plant.receive(first, third)
    assert (outcome.applied, outcome.verdict) == (1, Verdict.GAP)
    assert "entry 2 of SITE_001 is missing" in outcome.reason
    assert plant.row("orders", uid(3)) is None


def test_an_entry_of_another_history_is_a_fork_and_is_not_applied(plant):
    plant.take(order(1))
    other = Feed(SITE)
    other.entry(order(7))
    outcome = plant.receive(other.entry(order(8)))
    assert (outcome.applied, outcome.verdict) == (0, Verdict.FORK)
    assert plant.row("orders", uid(8)) is None
    assert plant.events() == ["MES-FEED-FORK"]


def test_the_last_entry_under_another_hash_is_a_fork(plant):
    plant.take(order(1))
    assert plant.receive(Feed(SITE).entry(order(7))).verdict is Verdict.FORK


def test_an_entry_whose_bytes_do_not_match_its_hash_is_asked_for_again(plant):
    entry, body = plant.own.entry(order(1))
    outcome = plant.receive((entry, body + b"\0"))
    assert (outcome.applied, outcome.verdict) == (0, Verdict.GAP)
    assert plant.row("orders", uid(1)) is None
    assert plant.receive((entry, body)).applied == 1


def test_an_entry_of_another_sites_feed_is_refused_and_the_queue_goes_on(plant):
    foreign = Feed("SITE_002").entry(order(9))
    outcome = plant.receive(foreign, plant.own.entry(order(1)))
    assert (outcome.applied, outcome.verdict) == (2, Verdict.APPLY)
    assert plant.row("orders", uid(9)) is None
    assert plant.events() == ["MES-FEED-FOREIGN"]


def test_the_feed_waits_while_a_snapshot_is_needed(tmp_path):
    plant = Plant(tmp_path / "store.db", needs_snapshot=True)
    outcome = plant.receive(plant.own.entry(order(1)))
    assert (outcome.applied, outcome.verdict) == (0, Verdict.GAP)
    plant.close()


def test_an_ack_of_what_the_store_never_made_is_a_fork(plant):
    outcome = plant.receive(plant.own.entry(ack=plant.ack(1)))
    assert (outcome.applied, outcome.verdict) == (0, Verdict.FORK)


def test_an_ack_of_another_transaction_of_that_number_is_a_fork(plant):
    """A store that went back has given the number anew before it heard of the lost one's ack."""
    plant.insert("orders", id=uid(1))
    n = plant.drain()
    lost, before = replace(plant.ack(n), hash=b"x" * 32), plant.own.position
    outcome = plant.receive(plant.own.entry(ack=lost))
    assert (outcome.applied, outcome.verdict) == (0, Verdict.FORK)
    assert plant.owed() == [("orders", uid(1), "I")]
    plant.own.position = before
    plant.take(ack=replace(lost, hash=plant.store.link_hash(n)))
    assert plant.owed() == []


def test_an_ack_of_another_epoch_decides_on_nothing(plant):
    plant.insert("orders", id=uid(1))
    plant.drain()
    plant.take(ack=Ack(uid(99), 1, 1))
    assert plant.owed() == [("orders", uid(1), "I")]
    assert plant.value("SELECT acked_n FROM _sync_site") == 0


# --- what a reader sees -------------------------------------------------------------------------


def test_a_transaction_of_the_centre_in_several_entries_is_shown_at_once(plant):
    first, second, last = (plant.own.entry(order(k), more=k < 3) for k in (1, 2, 3))
    outcome = plant.receive(first, second)
    assert (outcome.applied, outcome.verdict, outcome.rows) == (2, Verdict.APPLY, 0)
    assert plant.value("SELECT count(*) FROM orders") == 0
    assert plant.receive(last).rows == 3
    assert plant.value("SELECT count(*) FROM orders") == 3
    assert plant.value("SELECT count(*) FROM _sync_in") == 0


def test_an_unfinished_run_survives_a_restart_of_the_agent(plant):
    first, last = plant.own.entry(order(1), more=True), plant.own.entry(order(2))
    plant.receive(first)
    plant.close()
    plant.open()
    plant.receive(last)
    assert plant.value("SELECT count(*) FROM orders") == 2


def test_a_reader_never_sees_part_of_an_entry(plant):
    """Looks at every statement of the transaction, from another connection."""
    seen = set()
    reader = sqlite3.connect(plant.path, isolation_level=None)

    def look(_):
        seen.add(
            reader.execute("SELECT count(*), sum(notes = 'new') FROM orders").fetchone()
            + reader.execute("SELECT flag FROM _sync_applying").fetchone()
        )

    plant.take(*(order(k, notes="old") for k in range(1, 6)))
    entry = plant.own.entry(*(order(k + 10, notes="new") for k in range(3)), *(
        put("orders", {"id": uid(k), "notes": "new"}, order=100 + k) for k in range(1, 6)
    ))  # fmt: skip
    plant.store.opened.connection.set_trace_callback(look)
    plant.receive(entry)
    plant.store.opened.connection.set_trace_callback(None)
    look("after")
    reader.close()
    assert seen == {(5, 0, 0), (8, 8, 0)}


def test_a_large_batch_of_entries_lets_programs_write_in_between(plant, monkeypatch):
    monkeypatch.setattr(apply, "TRANSACTION_ROWS_MAX", 2)
    begun = []
    plant.store.opened.connection.set_trace_callback(
        lambda statement: begun.append(statement) if statement.startswith("BEGIN") else None
    )
    outcome = plant.receive(*(plant.own.entry(order(k)) for k in range(1, 8)))
    assert (outcome.applied, outcome.rows, outcome.verdict) == (7, 7, Verdict.APPLY)
    assert len(begun) == 4


# --- the trail ----------------------------------------------------------------------------------


def test_the_trail_holds_hashes_of_recent_and_of_far_positions(plant):
    entries = [plant.own.entry() for _ in range(300)]
    for start in range(0, 300, 7):
        plant.receive(*entries[start : start + 7])
    trail = {each["pos"]: each["hash"] for each in plant.rows("SELECT pos, hash FROM _sync_seen")}
    assert set(range(269, 301)) <= set(trail)
    assert len(trail) < 150
    assert min(trail) <= 64
    assert all(trail[entry.pos] == entry.hash for entry, _ in entries if entry.pos in trail)


@given(st.integers(1, 10**7))
def test_a_position_that_the_trail_drops_is_never_kept_later(pos):
    latest = pos
    while cursor.is_in_trail(pos, latest):
        latest += max(1, (latest - pos) // 8)
        if latest - pos > 10**8:
            return
    assert not any(cursor.is_in_trail(pos, latest + 2**k) for k in range(40))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.data())
def test_late_doubled_and_reordered_entries_end_in_the_same_rows(tmp_path_factory, data):
    plant = Plant(tmp_path_factory.mktemp("late") / "store.db")
    numbers = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))
    entries = [
        plant.own.entry(put("orders", {"id": uid(n), "notes": f"{k}"}, order=k + 1))
        for k, n in enumerate(numbers)
    ]
    indexes = st.integers(0, len(entries) - 1)
    for k in data.draw(st.lists(indexes, max_size=20)):
        plant.receive(entries[k])
    plant.receive(*entries)
    last = {uid(n): f"{k}" for k, n in enumerate(numbers)}
    assert {row["id"]: row["notes"] for row in plant.rows("SELECT id, notes FROM orders")} == last
    assert plant.store.position().own_pos == len(entries)
    plant.close()

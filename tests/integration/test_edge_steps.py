"""A site follows two feeds and shows just what the centre showed: whole steps, in their order."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store import apply
from edge.store.steps import Run, Waits
from shared.changes import SHARED
from sync.protocol import Verdict
from tests.integration.edge_world import SITE, Plant, plant, put, uid  # noqa: F401


def order(number):
    return put("orders", {"id": uid(number), "order_no": f"WO-{number}"}, order=number)


def part(number):
    return put("parts", {"id": uid(number), "code": f"P{number}"}, order=number, site=SHARED)


def shown(plant):
    """Return the numbers of the orders and of the parts that a program sees."""
    return tuple(
        {int(row["id"][:13].replace("-", ""), 16) for row in plant.rows(f"SELECT id FROM {table}")}
        for table in ("orders", "parts")
    )


def test_rows_of_a_site_and_shared_rows_of_one_step_are_shown_at_once(plant):
    own = plant.own.entry(order(1), beside=1)
    shared = plant.shared.entry(part(1), beside=1)
    outcome = plant.receive(own)
    assert (outcome.applied, outcome.verdict, outcome.rows) == (1, Verdict.APPLY, 0)
    assert shown(plant) == (set(), set())
    assert plant.receive(shared).rows == 2
    assert shown(plant) == ({1}, {1})
    assert plant.value("SELECT count(*) FROM _sync_in") == 0


@pytest.mark.parametrize("own_first", [True, False])
def test_a_reader_sees_both_feeds_of_a_step_in_one_commit(plant, monkeypatch, own_first):
    """Looks at every statement of the transactions, from another connection."""
    monkeypatch.setattr(apply, "TRANSACTION_ROWS_MAX", 1)  # a step is never cut, however large
    reader = sqlite3.connect(plant.path, isolation_level=None)
    seen = set()

    def look(_):
        seen.add(
            reader.execute(
                "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM parts)"
            ).fetchone()
        )

    plant.store.opened.connection.set_trace_callback(look)
    own = [plant.own.entry(order(1), more=True), plant.own.entry(order(2), beside=1)]
    shared = [plant.shared.entry(part(1), beside=2)]
    for entries in (own, shared) if own_first else (shared, own):
        plant.receive(*entries)
    plant.store.opened.connection.set_trace_callback(None)
    look(None)
    reader.close()
    assert seen == {(0, 0), (2, 1)}


def test_a_shared_row_does_not_overtake_rows_of_the_site_that_its_writer_had_seen(plant):
    seen_by_the_writer = plant.own.entry(order(1), beside=0)
    plant.receive(plant.shared.entry(part(1), beside=1))
    assert shown(plant) == (set(), set())
    plant.receive(seen_by_the_writer)
    assert shown(plant) == ({1}, {1})


def test_an_ack_that_waits_for_shared_rows_decides_on_nothing_before(plant):
    plant.insert("orders", id=uid(1), order_no="WO-1")
    n = plant.drain()
    plant.receive(plant.own.entry(ack=plant.ack(n), beside=1))
    assert (plant.value("SELECT acked_n FROM _sync_site"), len(plant.owed())) == (0, 1)
    plant.receive(plant.shared.entry(part(1), beside=1))
    assert (plant.value("SELECT acked_n FROM _sync_site"), plant.owed()) == (n, [])


def test_what_waits_for_the_other_feed_survives_a_restart_of_the_agent(plant):
    plant.receive(plant.own.entry(order(1), beside=1))
    plant.close()
    plant.open()
    plant.receive(plant.shared.entry(part(1), beside=1))
    assert shown(plant) == ({1}, {1})


@pytest.mark.parametrize("waited_ms", [0, 60_000, 3_600_000, -3_600_000, 10**12])
def test_no_time_that_passes_shows_part_of_a_step(plant, waited_ms):
    start = next(plant.clock)
    plant.store.apply_entries([plant.own.entry(order(1), beside=1)], start)
    outcome = plant.store.apply_entries((), start + waited_ms)
    assert outcome.waits == Waits(Run(SITE, 1, 1), reached=0)
    assert shown(plant) == (set(), set())
    plant.store.apply_entries([plant.shared.entry(part(1), beside=1)], start + waited_ms)
    assert shown(plant) == ({1}, {1})


def test_it_is_told_since_when_nothing_that_waits_could_be_shown(plant):
    since = "SELECT waits_since_ms FROM _sync_site"
    own = [plant.own.entry(order(k), beside=k) for k in (1, 2)]
    shared = [plant.shared.entry(part(k), beside=k) for k in (1, 2)]
    for entries, at, waits_since in (
        (own[:1], 10, 10),
        (own[1:], 20, 10),
        (shared[:1], 30, 30),
        (shared[1:], 40, None),
    ):
        plant.store.apply_entries(entries, at)
        assert plant.value(since) == waits_since


def test_what_the_centre_can_not_complete_is_shown_on_the_word_that_it_can_not(plant):
    plant.receive(*[plant.own.entry(order(k), beside=k) for k in range(1, 9)])
    plant.store.show_all("entry 1 of feed * can't be had", next(plant.clock))
    assert shown(plant) == (set(range(1, 9)), set())
    assert plant.events() == ["MES-FEED-UNORDERED"]
    assert plant.value("SELECT count(*) FROM _sync_in") == 0
    plant.receive(*[plant.shared.entry(part(k), beside=k) for k in range(1, 10)])
    assert shown(plant) == (set(range(1, 9)), set(range(1, 9))), "the next step is whole again"


def test_what_waits_for_more_of_its_own_run_is_not_shown_on_any_word(plant):
    plant.receive(plant.own.entry(order(1), more=True))
    plant.store.show_all(None, next(plant.clock))
    assert shown(plant) == (set(), set())
    assert plant.events() == []


def test_runs_that_waited_are_applied_in_transactions_of_a_bounded_size(plant, monkeypatch):
    monkeypatch.setattr(apply, "TRANSACTION_ROWS_MAX", 3)
    held = [plant.shared.entry(part(k), beside=1) for k in range(1, 9)]
    plant.receive(*held)
    outcome = plant.receive(plant.own.entry(order(1), beside=0))
    assert (outcome.verdict, outcome.rows) == (Verdict.APPLY, 9)
    assert shown(plant) == ({1}, set(range(1, 9)))


#: What a step of the centre writes: rows of the site, shared rows, or both; in so many entries.
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)).filter(any), max_size=7)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, data=st.data())
def test_however_two_feeds_are_interleaved_whole_steps_are_shown_in_order(steps, data):
    with tempfile.TemporaryDirectory() as folder:
        plant = Plant(Path(folder) / "store.db")
        try:
            own, shared, states = laid_out(plant, steps)
            while own or shared:
                feed = data.draw(st.sampled_from([each for each in (own, shared) if each]))
                some = data.draw(st.integers(1, len(feed)))
                plant.receive(*feed[:some])
                del feed[:some]
                assert shown(plant) in states
            assert shown(plant) == states[-1]
            assert plant.value("SELECT count(*) FROM _sync_in") == 0
        finally:
            plant.close()


def laid_out(plant, steps):
    """Return the entries of both feeds, and what may be seen: nothing, and all after each step."""
    own, shared, states = [], [], [(set(), set())]
    for own_count, shared_count in steps:
        orders, parts = (set(numbers) for numbers in states[-1])
        own_end, shared_end = len(own) + own_count, len(shared) + shared_count
        for k in range(len(own) + 1, own_end + 1):
            orders.add(k)
            own.append(plant.own.entry(order(k), more=k < own_end, beside=shared_end))
        for k in range(len(shared) + 1, shared_end + 1):
            parts.add(k)
            shared.append(plant.shared.entry(part(k), more=k < shared_end, beside=own_end))
        states.append((orders, parts))
    return own, shared, states

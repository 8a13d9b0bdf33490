"""What a program committed as one is never parted, whatever it writes while the drain reads."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict, deque
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store import early
from edge.store.drain import drain_within
from edge.store.open import Bound, writing
from sync import codec
from tests.integration.edge_drain_world import NO_BOUND, Site, site, uid  # noqa: F401

NOW = 1_700_000_000_000


@pytest.fixture(autouse=True)
def small():
    """Make pages and bounds so small that a few rows are many of them."""
    sizes = {"PAGE_ROWS": 5, "ROWS_MIN": 8, "READ_ON_ROWS_MIN": 12, "ROWS_MAX": 60}
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(early, name, size)
        yield


def commit(connection, number, facts, sessions, orders):
    """Commit a program's transaction; every row of it tells its number."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO job_responses (id, report_type, source_row) VALUES (?, 'PRODUCTION', ?)",
        [(uid(number * 1_000 + k), number) for k in range(facts)],
    )
    connection.executemany(
        "INSERT INTO user_sessions (id, session_id, event, terminal) VALUES (?, ?, 'LOGIN', ?)",
        [(uid(number * 1_000 + k), uid(1), number) for k in range(sessions)],
    )
    connection.executemany(
        "INSERT INTO work_orders (id, order_no, priority) VALUES (?, ?, 50)",
        [(uid(number * 1_000 + k), f"WO-{number}-{k}") for k in range(orders)],
    )
    connection.execute("COMMIT")
    return number, facts + sessions + orders


def parted(site, committed):
    """Return the program's transactions that went in more than one of ours, or not whole."""
    went, counts = defaultdict(set), defaultdict(int)
    after = (0, NO_BOUND)
    while parts := site.store.outbox(after, bytes_max=NO_BOUND):
        after = (parts[-1].n, parts[-1].part)
        for part in parts:
            for block in codec.open_body(part).blocks:
                for row_id in block.ids:
                    number = (int(row_id.replace("-", ""), 16) >> 80) // 1_000
                    went[number].add(part.n)
                    counts[number] += 1
    return [n for n, rows in committed if rows and (len(went[n]) != 1 or counts[n] != rows)]


def drain_all(site):
    while site.store.drain(NOW) is not None:
        pass


transactions = st.tuples(
    st.integers(0, 15),
    st.sampled_from([0, 0, 1, 6]),
    st.sampled_from([0, 0, 0, 0, 1]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(transactions, st.integers(0, 4)), max_size=40),
    st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_no_transaction_is_parted_whenever_it_is_committed(program, whole):
    """Each comes so many looks of the drain after the one before it."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        site = Site(Path(folder) / "store.db")
        waiting, committed, looks = deque(enumerate(program, 1)), [], [0]

        def look():
            looks[0] += 1
            while waiting and looks[0] >= waiting[0][1][1]:
                number, (rows, _) = waiting.popleft()
                committed.append(commit(site.program, number, *rows))
                looks[0] = 0

        read_pages, note = early.pages, early.Early._note_bound

        def slow_pages(*given):
            for page in read_pages(*given):
                look()
                yield page

        def slow_note(*given):
            note(*given)
            look()

        patch.setattr(early, "pages", slow_pages)
        patch.setattr(early.Early, "_note_bound", slow_note)
        opened, turn = site.store.opened, 0
        while waiting or opened.connection.execute(opened.look).fetchall():
            look()
            with early.reading_ahead(opened, NOW) as found:
                look()
                with writing(opened.connection):
                    drain_within(opened, NOW, found, whole=whole[turn % len(whole)])
            turn += 1
        drain_all(site)
        assert parted(site, committed) == []
        site.close()


def test_no_transaction_of_a_program_that_writes_all_the_time_is_parted(site):
    chance, committed, done = Random(7), [], threading.Event()

    def write():
        with sqlite3.connect(site.path, isolation_level=None, timeout=60) as connection:
            for number in range(1, 301):
                rows = chance.choice((1, 3, 9, 40)), chance.choice((0, 0, 4)), number % 25 == 0
                committed.append(commit(connection, number, *rows))
        connection.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    drains = []
    while not done.is_set():
        drains.append(site.store.drain(NOW))
    writer.join()
    drain_all(site)
    assert parted(site, committed) == []
    assert any(each and each.before for each in drains), "nothing was read on"


def test_facts_that_come_with_orders_stay_with_them_though_facts_were_read_ahead(site):
    committed = [commit(site.program, number, 9, 0, 0) for number in range(1, 4)]
    opened = site.store.opened
    with early.reading_ahead(opened, NOW) as found:
        committed.append(commit(site.program, 4, 9, 0, 0))
        committed.append(commit(site.program, 5, 20, 3, 2))
        assert found.read_on()
        assert found.mixed
        committed.append(commit(site.program, 6, 5, 0, 0))
        with writing(opened.connection):
            drained = drain_within(opened, NOW, found)
    assert [each.rows for each in (*drained.before, drained)] == [27, 9 + 25 + 5]
    assert parted(site, committed) == []
    assert site.store.drain(NOW) is None


def test_no_bound_outlives_a_drain_that_took_all(site):
    committed = [commit(site.program, number, 40, 0, 0) for number in range(1, 4)]
    opened = site.store.opened
    with early.reading_ahead(opened, NOW) as found:
        committed.append(commit(site.program, 4, 40, 0, 0))
        assert not found.read_on()  # 120 are enough for once
        assert len(opened.bounds) == 1
        with writing(opened.connection):
            drain_within(opened, NOW, found, whole=True)
    assert not opened.bounds
    assert site.store.drain(NOW) is None
    assert parted(site, committed) == []


@pytest.mark.parametrize("mixed", [True, False])
def test_a_bound_that_is_behind_what_was_drained_changes_nothing(site, mixed):
    committed = [commit(site.program, number, 20, 0, 0) for number in range(1, 4)]
    drain_all(site)
    site.store.opened.bounds.append(Bound({"job_responses": 30}, mixed=mixed))
    committed += [commit(site.program, number, 9, 0, 0) for number in range(4, 6)]
    assert site.store.drain(NOW).rows == 18
    assert parted(site, committed) == []
    assert not site.store.opened.bounds


def test_what_is_left_of_bounds_is_read_by_the_next_drain(site):
    committed = [commit(site.program, 1, 70, 0, 0)]
    opened = site.store.opened
    with early.reading_ahead(opened, NOW) as found:
        committed.append(commit(site.program, 2, 30, 0, 0))
        found.read_on()
        committed.append(commit(site.program, 3, 30, 0, 0))
        found.read_on()
        with writing(opened.connection):
            assert drain_within(opened, NOW, found).rows == 70
    drained = site.store.drain(NOW)
    assert [each.rows for each in (*drained.before, drained)] == [30, 30]
    assert parted(site, committed) == []

"""The agent killed at any statement of an apply; programs that write while it applies."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from tests.integration.edge_world import CREATED, plant, put, uid  # noqa: F401

ROWS = range(1, 6)


def entries(plant):
    """Return entries of which each, or each run, gives all orders the same note."""
    made = []
    for number in range(1, 9):
        rows = [{"id": uid(k), "notes": str(number)} for k in ROWS]
        if number % 3:
            made.append(plant.own.entry(put("orders", *rows, order=number * 10)))
        else:
            made.append(plant.own.entry(put("orders", *rows[:2], order=number * 10), more=True))
            made.append(plant.own.entry(put("orders", *rows[2:], order=number * 10 + 2)))
    return made


#: Note of all orders after each position of the feed.
NOTES = [None, "1", "2", "2", "3", "4", "5", "5", "6", "7", "8"]


def chunks():
    return [put("orders", *({"id": uid(k * 10 + j)} for j in ROWS), order=k * 10) for k in range(6)]


def killed(plant, work, statement):
    """Do the work in a process of its own that is killed at the given statement of SQLite."""
    program = f"""if True:
        import os, signal, sys
        from itertools import count
        from pathlib import Path
        from tests.integration import test_edge_apply_kill as here
        from tests.integration.edge_world import SHARED, SITE, Feed, Plant
        plant = Plant.__new__(Plant)
        plant.path, plant.clock = Path({str(plant.path)!r}), count(1_800_000_000_000, 10)
        plant.own, plant.shared = Feed(SITE), Feed(SHARED)
        plant.open()
        numbers = count()
        plant.store.opened.connection.set_trace_callback(
            lambda _: next(numbers) == {statement} and os.kill(os.getpid(), signal.SIGKILL)
        )
        here.{work}(plant)
    """
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def apply_all(plant):
    for entry in entries(plant):
        plant.receive(entry)


def load_all(plant):
    for k, block in enumerate(chunks()):
        plant.store.apply_chunk(k, [block], next(plant.clock))
    plant.store.finish_snapshot(next(plant.clock))


@pytest.mark.parametrize("statement", [3, 8, 17, 29, 43, 60, 81, 97, 118, 141])
def test_a_kill_during_apply_leaves_cursor_and_rows_of_one_moment(plant, statement):
    plant.close()
    assert killed(plant, "apply_all", statement)
    plant.open()
    position = plant.store.position()
    made = entries(plant)
    notes = {row["notes"] for row in plant.rows("SELECT notes FROM orders")}
    expected = NOTES[position.own_pos]
    assert notes == ({expected} if expected else set())
    assert position.own_hash == (made[position.own_pos - 1][0].hash if notes else bytes(32))
    assert plant.value("SELECT flag FROM _sync_applying") == 0
    plant.receive(*made)
    assert {row["notes"] for row in plant.rows("SELECT notes FROM orders")} == {"8"}
    assert plant.drain() == 0


@pytest.mark.parametrize("statement", [5, 20, 44, 70, 95])
def test_a_kill_during_a_load_leaves_whole_chunks_and_the_load_goes_on(plant, statement):
    manifest = {
        "own": [0, bytes(32).hex()], "shared": [0, bytes(32).hex()], "ack": None,
        "max_order": 99, "schema": 1, "tables": ["orders"],
    }  # fmt: skip
    plant.store.begin_snapshot("one", manifest)
    plant.close()
    killed(plant, "load_all", statement)
    plant.open()
    state = plant.store.snapshot_state()
    done = state.next_chunk if state else 6
    assert plant.value("SELECT count(*) FROM orders") == done * 5
    if state:
        load_all(plant)
    assert plant.value("SELECT count(*) FROM orders") == 30
    assert not plant.store.position().needs_snapshot
    assert plant.drain() == 0


def test_a_program_that_writes_during_an_apply_is_captured_and_not_echoed(plant):
    fifties = [[{"id": uid(n + k)} for k in range(50)] for n in range(100, 20_000, 100)]
    made = [
        plant.own.entry(put("orders", *rows, order=n * 50 + 1)) for n, rows in enumerate(fifties)
    ]
    wrote, stop = [], threading.Event()

    def program():
        connection = sqlite3.connect(plant.path, isolation_level=None, timeout=30)
        connection.execute("PRAGMA synchronous = OFF")
        while not stop.is_set():
            number = 1_000_000 + len(wrote)
            connection.execute(
                "INSERT INTO steps (id, created_at, notes) VALUES (?, ?, 'mine')",
                (uid(number), CREATED),
            )
            wrote.append(uid(number))
        connection.close()

    writer = threading.Thread(target=program)
    writer.start()
    try:
        for start in range(0, len(made), 3):
            plant.receive(*made[start : start + 3])
            time.sleep(0.005)  # as the agent does, between two deliveries
    finally:
        stop.set()
        writer.join()
    plant.drain()
    assert plant.value("SELECT count(*) FROM orders") == len(made) * 50
    assert sorted(row_id for _, row_id, _ in plant.owed()) == sorted(wrote)
    assert len(wrote) > 5
    assert plant.value("SELECT sum(rows) FROM _sync_out") == len(wrote)

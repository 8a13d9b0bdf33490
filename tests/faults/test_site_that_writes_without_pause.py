"""A program of the site commits without pause; what the centre decides comes home all the same."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once
from tests.faults.conftest import SITE, ingesting
from tests.integration.central_world import execute

pytestmark = pytest.mark.slow

ROUNDS = 5
QUEUE = """SELECT last_n > acked_n OR EXISTS (SELECT 1 FROM _sync_log_work_orders)
           FROM _sync_site"""


class Program:
    """Writes one order again and again, and looks before each write."""

    def __init__(self, edge) -> None:
        self._edge = edge
        self._stop = threading.Event()
        self.commits = 0
        #: Notes that were not what it had written itself; must stay empty.
        self.vanished: list[tuple[int, object]] = []
        #: What the centre had made, as first seen; True where the queue was not empty then.
        self.seen: dict[str, bool] = {}

    def run(self) -> None:
        with contextlib.closing(self._edge.program()) as store:
            while not self._stop.is_set():
                store.execute("BEGIN IMMEDIATE")
                self._look(store)
                self.commits += 1
                given = {"n": str(self.commits)}
                store.execute("UPDATE work_orders SET notes = :n, assigned_line = :n"
                              " WHERE order_no = 'own'", given)  # fmt: skip
                store.execute(state_events(3))
                store.execute("COMMIT")

    def stop(self) -> None:
        self._stop.set()

    def _look(self, store) -> None:
        ((notes,),) = store.execute("SELECT notes FROM work_orders WHERE order_no = 'own'")
        if self.commits and notes != str(self.commits):
            self.vanished.append((self.commits, notes))
        ((queue,),) = store.execute(QUEUE)
        ((priority,),) = store.execute("SELECT priority FROM work_orders WHERE order_no = 'own'")
        planned = store.execute("SELECT order_no FROM work_orders WHERE order_no LIKE 'B%'")
        for name in [*(number for (number,) in planned), f"priority {priority}"]:
            self.seen.setdefault(name, bool(queue))


async def test_downloads_go_on_before_the_queue_is_empty_and_own_writes_stay_visible(fed):
    edge = fed.edges[SITE]
    async with ingesting(fed.url, fed.nats_url):
        edge.write(local_orders("own"))
        await fed.settle()
    program = Program(edge)
    running = asyncio.create_task(asyncio.to_thread(program.run))
    try:
        await fed.eventually(lambda: program.commits)
        # Nobody decides on anything of the site, so the queue is never empty.
        await _rounds(fed, program, range(ROUNDS))
        queue = [program.seen[name] for number in range(ROUNDS) for name in _names(number)]
        async with ingesting(fed.url, fed.nats_url):
            await _rounds(fed, program, range(ROUNDS, 2 * ROUNDS))
            program.stop()
            await running
            await fed.settle()
    finally:
        program.stop()
        await running
    assert program.vanished == []
    assert queue == [True] * (2 * ROUNDS)
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'own'") == [
        (str(program.commits),)
    ]
    await all_is_there_once(fed, events=3 * program.commits, orders=1 + 2 * ROUNDS)


async def _rounds(fed, program: Program, numbers: range) -> None:
    """Have the centre write, and wait until the program has seen it."""
    for number in numbers:
        await execute(
            fed.url,
            planned_orders(f"B{number}"),
            f"UPDATE mes.work_orders SET priority = {number}, assigned_line = 'centre'"
            " WHERE order_no = 'own'",
        )
        for name in _names(number):
            await fed.eventually(lambda name=name: name in program.seen)


def _names(number: int) -> tuple[str, str]:
    """Return under what a program keeps that it has seen a round."""
    return f"B{number}", f"priority {number}"

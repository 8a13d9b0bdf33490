"""A program of the site commits without pause; what the centre decides comes home all the same."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute

pytestmark = pytest.mark.slow

ROUNDS = 10
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


async def test_downloads_go_on_before_the_queue_is_empty_and_own_writes_stay_visible(world):
    edge = world.edges[SITE]
    edge.write(local_orders("own"))
    await world.settle()
    program = Program(edge)
    running = asyncio.create_task(asyncio.to_thread(program.run))
    try:
        for number in range(ROUNDS):
            await execute(
                world.url,
                planned_orders(f"B{number}"),
                f"UPDATE mes.work_orders SET priority = {number}, assigned_line = 'centre'"
                " WHERE order_no = 'own'",
            )
            for name in (f"B{number}", f"priority {number}"):
                await world.eventually(lambda name=name: name in program.seen)
    finally:
        program.stop()
        await running
    await world.settle(60)
    assert program.vanished == []
    # An agent that waits for an empty queue shows each of them with the queue still empty: nothing
    # but the program writes after it. One that is fast may find it empty now and then.
    assert any(program.seen.values()), program.seen
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'own'") == [
        (str(program.commits),)
    ]
    stored = await world.central("SELECT count(*) FROM mes.equipment_state_events")
    assert stored == [(3 * program.commits,)]
    assert len(edge.read("SELECT 1 FROM work_orders")) == 1 + ROUNDS

"""PostgreSQL ends the ingest's connections at any moment, also just after a commit."""

from __future__ import annotations

import asyncio

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute

CUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()"""


async def test_a_run_whose_commit_was_not_heard_of_is_not_applied_twice(world):
    edge = world.edges[SITE]
    for number in range(15):
        edge.write(local_orders(f"A{number}"), state_events(200))
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(0.02 * (number % 5))
        await world.central(CUT)
    await world.settle(90)
    assert (await world.central("SELECT count(*) FROM mes.equipment_state_events"))[0][0] == 3000
    assert (await world.central("SELECT count(*) FROM mes.work_orders"))[0][0] == 30

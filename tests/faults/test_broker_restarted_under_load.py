"""The broker is killed and started again while both ends write."""

from __future__ import annotations

import asyncio

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute


async def test_nothing_is_lost_or_doubled_by_a_broker_that_is_killed_again_and_again(
    world, nats_server
):
    edge = world.edges[SITE]
    for number in range(3):
        edge.write(local_orders(f"A{number}"), state_events(100))
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(0.05 * number)
        await asyncio.to_thread(nats_server.kill)
        edge.write(local_orders(f"C{number}"), state_events(100))
        await asyncio.to_thread(nats_server.start)
    await world.settle()
    assert (await world.central("SELECT count(*) FROM mes.equipment_state_events"))[0][0] == 600
    assert (await world.central("SELECT count(*) FROM mes.work_orders"))[0][0] == 9
    assert await world.central("SELECT 1 FROM mes.sync_parked") == []

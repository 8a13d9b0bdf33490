"""The broker's streams are deleted while both ends write: a normal event."""

from __future__ import annotations

import asyncio
import json

from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute


async def wipe(world, *streams: str) -> None:
    async with Link(LinkSettings(servers=(world.nats_url,), name="vandal")) as link:
        await link.wait_connected(5)
        for stream in streams:
            answer = json.loads(await link.request(f"$JS.API.STREAM.DELETE.{stream}", b""))
            # Not found: it is not back since the last time.
            assert answer.get("success") or answer["error"]["code"] == 404


async def test_what_was_acknowledged_and_then_lost_by_the_broker_is_sent_again(world):
    edge = world.edges[SITE]
    for number in range(6):
        edge.write(local_orders(f"A{number}"), state_events(50))
        if number % 2:
            await wipe(world, f"UP_{SITE}", "DOWN")
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(0.1)
    await world.settle(60)
    assert len(edge.read("SELECT 1 FROM work_orders")) == 12
    assert (await world.central("SELECT count(*) FROM mes.equipment_state_events"))[0][0] == 300


async def test_writes_made_while_there_was_no_stream_arrive(world):
    await wipe(world, f"UP_{SITE}", "DOWN")
    world.edges[SITE].write(local_orders("A1"))
    await execute(world.url, planned_orders("B1"))
    await world.settle(60)

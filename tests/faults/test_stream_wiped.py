"""The broker's streams are deleted while both ends write: a normal event."""

from __future__ import annotations

import asyncio
import json

from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once, applied, stored
from tests.faults.conftest import SITE, ingesting
from tests.integration.central_world import execute

UP = f"UP_{SITE}"


async def wipe(world, *streams: str) -> None:
    async with Link(LinkSettings(servers=(world.nats_url,), name="vandal")) as link:
        await link.wait_connected(5)
        for stream in streams:
            answer = json.loads(await link.request(f"$JS.API.STREAM.DELETE.{stream}", b""))
            # Not found: it is not back since the last time.
            assert answer.get("success") or answer["error"]["code"] == 404


async def test_what_was_acknowledged_and_then_lost_by_the_broker_is_sent_again(fed):
    edge = fed.edges[SITE]
    known = await applied(fed)
    for number in range(3):
        edge.write(local_orders(f"A{number}"), state_events(50))
        await execute(fed.url, planned_orders(f"B{number}"))
        await fed.eventually(lambda: stored(fed))
        await wipe(fed, UP, "DOWN")
    assert await applied(fed) == known, "the window was not hit: it is not only with the broker"
    async with ingesting(fed.url, fed.nats_url):
        await fed.settle()
    await all_is_there_once(fed, events=150, orders=6)


async def test_nothing_is_lost_or_doubled_by_streams_wiped_again_and_again_under_load(world):
    edge = world.edges[SITE]
    for number in range(6):
        edge.write(local_orders(f"A{number}"), state_events(50))
        if number % 2:
            await wipe(world, UP, "DOWN")
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(0.1)
    await world.settle()
    await all_is_there_once(world, events=300, orders=12)


async def test_writes_made_while_there_was_no_stream_arrive(world):
    await wipe(world, UP, "DOWN")
    world.edges[SITE].write(local_orders("A1"))
    await execute(world.url, planned_orders("B1"))
    await world.settle()
    await all_is_there_once(world, events=0, orders=2)

"""The broker's streams lose a part of what they hold: their beginning, or their end."""

from __future__ import annotations

import asyncio
import json
import shutil

from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once, stored
from tests.faults.conftest import SITE, ingesting
from tests.integration.central_world import execute

WRITES = 6


async def write(fed, name: str) -> None:
    """Write at both ends, one transaction after the other, and wait until the broker has them."""
    edge = fed.edges[SITE]
    for number in range(WRITES):
        before = await stored(fed)
        edge.write(local_orders(f"A{name}{number}"), state_events(50))
        await execute(fed.url, planned_orders(f"B{name}{number}"))
        await fed.eventually(lambda known=before: _more(fed, known))
    await fed.eventually(lambda: _published(fed))


async def _more(fed, known: int) -> bool:
    return await stored(fed) > known


async def _published(fed) -> bool:
    waits = (
        "SELECT 1 FROM sync.touched UNION ALL SELECT 1 FROM sync.feed_head WHERE published < pos"
    )
    return not await fed.central(waits)


async def purge(fed, stream: str, before_seq: int) -> int:
    """Have the broker forget a stream's messages before this one; return how many it had."""
    async with Link(LinkSettings(servers=(fed.nats_url,), name="vandal")) as link:
        await link.wait_connected(5)
        order = json.dumps({"seq": before_seq}).encode()
        return json.loads(await link.request(f"$JS.API.STREAM.PURGE.{stream}", order))["purged"]


async def test_messages_lost_before_they_were_applied_are_sent_again(fed):
    await write(fed, "kept ")
    last = await stored(fed)
    assert await purge(fed, f"UP_{SITE}", last) >= WRITES - 1, "the window was not hit"
    async with ingesting(fed.url, fed.nats_url):
        await fed.settle()
    assert await stored(fed) > last
    await all_is_there_once(fed, events=50 * WRITES, orders=2 * WRITES)


async def test_a_feed_that_lost_its_beginning_is_fetched_by_a_site_that_was_away(fed):
    edge = fed.edges[SITE]
    async with ingesting(fed.url, fed.nats_url):
        await edge.stop()
        for number in range(WRITES):
            await execute(fed.url, planned_orders(f"B{number}"))
            await fed.eventually(lambda: _published(fed))
        assert await purge(fed, "DOWN", 1 << 40) >= WRITES, "the window was not hit"
        await edge.start()
        await fed.settle()
    assert len(edge.read("SELECT 1 FROM work_orders")) == WRITES


async def test_a_broker_that_comes_back_as_an_earlier_copy_gets_all_again(
    fed, nats_server, tmp_path
):
    kept, copy = nats_server.root / "store", tmp_path / "copy"
    await write(fed, "kept ")
    await asyncio.to_thread(nats_server.kill)
    shutil.copytree(kept, copy)
    await asyncio.to_thread(nats_server.start)
    await write(fed, "lost ")
    before = await stored(fed)
    await asyncio.to_thread(nats_server.kill)
    shutil.rmtree(kept)
    shutil.copytree(copy, kept)
    await asyncio.to_thread(nats_server.start)
    assert await stored(fed) <= before - WRITES, "the window was not hit"
    async with ingesting(fed.url, fed.nats_url):
        await fed.settle()
    await all_is_there_once(fed, events=100 * WRITES, orders=4 * WRITES)

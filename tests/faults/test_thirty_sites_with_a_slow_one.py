"""Thirty sites write at once; one of them hangs on a thin line."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.integration.central_world import execute, make_centre
from tests.integration.whole_world import Edge, whole_world

pytestmark = pytest.mark.slow

SITES = tuple(f"SITE_{number:03}" for number in range(1, 31))
SLOW, *OTHERS = SITES
#: Its load takes a quarter of an hour at this rate, far longer than all others together may need.
SLOW_BYTES_PER_S = 500
SLOW_EVENTS = 20_000
EVENTS = 50


@pytest.fixture
async def fleet(database, nats_server, tmp_path):
    await make_centre(database, SITES)
    async with whole_world(database, nats_server.url, tmp_path, ()) as world:
        world.edges |= {site: Edge(site, tmp_path / f"{site}.db", world.nats_url) for site in SITES}
        for edge in world.edges.values():
            await asyncio.to_thread(lambda each=edge: each.open().close())
        try:
            yield world
        finally:
            await asyncio.gather(*(edge.stop() for edge in world.edges.values()))


async def level(world, sites) -> bool:
    """Whether all that these sites wrote is decided, and all that was decided has come home."""
    if await world.central("SELECT 1 FROM sync.touched LIMIT 1"):
        return False
    feeds = dict(await world.central("SELECT scope, pos FROM sync.feed_head"))
    await asyncio.sleep(0.1)
    return all(world.edges[site].level(feeds) for site in sites)


async def test_the_others_are_level_again_and_again_while_the_slow_one_still_sends(fleet):
    slow = fleet.edges[SLOW]
    slow.settings = {"bytes_per_s_max": SLOW_BYTES_PER_S}
    slow.write(state_events(SLOW_EVENTS), local_orders("slow"))
    for edge in fleet.edges.values():
        await edge.start()
    for turn in range(3):
        for site in OTHERS:
            fleet.edges[site].write(local_orders(f"A{turn}"), state_events(EVENTS))
        plans = [planned_orders(f"B{turn}", site=site) for site in OTHERS]
        await execute(fleet.url, *plans)
        await fleet.eventually(lambda: level(fleet, OTHERS), timeout_s=60)
        assert await _stored(fleet, SLOW) == 0
    assert not slow.level(dict(await fleet.central("SELECT scope, pos FROM sync.feed_head")))
    await slow.stop()
    slow.settings = {}
    await slow.start()
    await fleet.settle()
    assert await _stored(fleet, SLOW) == SLOW_EVENTS
    assert [await _stored(fleet, site) for site in OTHERS] == [3 * EVENTS] * len(OTHERS)
    orders = await fleet.central("SELECT count(*) FROM mes.work_orders GROUP BY site_id")
    assert sorted(orders) == [(1,)] + [(6,)] * len(OTHERS)


async def _stored(world, site: str) -> int:
    query = "SELECT count(*) FROM mes.equipment_state_events WHERE site_id = %s"
    return (await world.central(query, site))[0][0]

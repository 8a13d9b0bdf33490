"""The ingest is a process that is killed -9 at any moment; another takes over."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest

from central.agent import run_feed
from central.roles import as_role
from central.settings import CentralSettings
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import CATALOG, execute

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


async def run_ingest(world) -> asyncio.subprocess.Process:
    environment = {
        "MES_DATABASE_URL": as_role(world.url, "mes_ingest"),
        "MES_NATS_SERVERS": world.nats_url,
        "MES_LEASE_S": "1",
        "MES_LOG_LEVEL": "error",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "central", "ingest", env=environment, cwd=ROOT
    )


@pytest.fixture
async def fed(world):
    """The world without an ingest; the feed, as a process of its own, goes on."""
    await world.stop_centre()
    settings = CentralSettings(
        database_url=as_role(world.url, "mes_ingest"), nats_servers=(world.nats_url,)
    )
    feed = asyncio.create_task(run_feed(settings, CATALOG))
    yield world
    feed.cancel()
    await asyncio.gather(feed, return_exceptions=True)


async def applied(world) -> int:
    return (await world.central("SELECT count(*) FROM sync.applied"))[0][0]


async def test_nothing_is_lost_or_doubled_however_often_the_ingest_is_killed(fed, seed):
    chance = random.Random(seed)
    edge = fed.edges[SITE]
    for number in range(8):
        before = await applied(fed)
        ingest = await run_ingest(fed)
        for write in range(5):
            edge.write(local_orders(f"A{number}.{write}"), state_events(chance.randrange(1, 3000)))
            edge.write(f"UPDATE work_orders SET notes = 'n{number}.{write}'")
        await execute(fed.url, planned_orders(f"B{number}"))
        # From its first apply on, which is when there is something to tear.
        await fed.eventually(lambda at=before: _more(fed, at), timeout_s=30)
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        ingest.send_signal(signal.SIGKILL)
        await ingest.wait()
    last = await run_ingest(fed)
    try:
        await fed.settle(60)
    finally:
        last.terminate()
        await last.wait()
    events = edge.read("SELECT count(*) FROM equipment_state_events")
    assert await fed.central("SELECT count(*) FROM mes.equipment_state_events") == events
    assert await fed.central("SELECT count(*) FROM mes.work_orders") == [(48,)]
    assert await fed.central("SELECT last_n FROM sync.epoch") == [(await applied(fed),)]


async def _more(world, before: int) -> bool:
    return await applied(world) > before

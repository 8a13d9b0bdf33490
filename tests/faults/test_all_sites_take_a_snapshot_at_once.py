"""All sites ask for a snapshot at the same time, as after a broker that lost everything."""

from __future__ import annotations

import asyncio
import time

import pytest
from psycopg_pool import AsyncConnectionPool

from central.control import Control
from shared.errors import SyncError
from sync import codec
from tests.faults.cases import planned_orders
from tests.faults.conftest import SITE
from tests.integration.central_world import CATALOG, execute
from tests.integration.test_feed import sequence

CONNECTIONS = 8
SITES = tuple(f"SITE_{number:03}" for number in range(1, 25))


@pytest.fixture
async def control(centre):
    async def waiting(site):
        return 0

    await execute(
        centre,
        *(f"INSERT INTO sync.site (site) VALUES ('{s}') ON CONFLICT DO NOTHING" for s in SITES),
        planned_orders("A"),
    )
    await sequence(centre)
    async with AsyncConnectionPool(centre, min_size=1, max_size=CONNECTIONS, open=False) as pool:
        yield Control(pool, CATALOG, waiting)


async def ask(control, site: str, verb: str, **fields):
    answer = await control.answer(f"ctl.{site}.{verb}", codec.encode_control(fields))
    return codec.decode_control(answer)


async def snapshot(control, site: str) -> str:
    """Ask until it has begun, as an edge does, and wait until it is whole."""
    while True:
        try:
            made = (await ask(control, site, "snapshot"))["id"]
        except SyncError as why:
            assert "others come first" in str(why)  # noqa: PT017
            continue
        break
    k = 0
    while not (answer := await ask(control, site, "chunk", id=made, k=k)).get("end"):
        k += "piece" in answer
        await asyncio.sleep(0.02)
    return made


async def test_more_sites_than_connections_all_get_theirs_while_questions_are_answered(control):
    taking = asyncio.gather(*(snapshot(control, site) for site in SITES))
    slowest_s = 0.0
    while not taking.done():
        started = time.monotonic()
        await ask(control, SITE, "feed", scope=SITE, after=0)
        slowest_s = max(slowest_s, time.monotonic() - started)
        await asyncio.sleep(0.1)
    assert len(set(await taking)) == len(SITES)
    assert slowest_s < 10

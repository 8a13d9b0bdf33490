"""One transaction of a million rows: it is drained, sent and applied, and seen at once."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from tests.faults.cases import local_orders, state_events
from tests.faults.conftest import SITE
from tests.faults.processes import run_agent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 1_000_000
#: Twice what the agent holds; the values of a million rows would need more than a gigabyte.
AGENT_BYTES_MAX = 200 << 20


async def test_a_million_rows_are_seen_at_the_centre_all_at_once(world):
    edge = world.edges[SITE]
    await edge.stop()
    await asyncio.to_thread(edge.write, state_events(ROWS), local_orders("with them"))
    agent = await run_agent(edge.path, world.nats_url)
    watched = psutil.Process(agent.pid)
    seen, most = set(), 0

    async def all_there() -> bool:
        nonlocal most
        most = max(most, watched.memory_info().rss)
        ((events, orders),) = await world.central(
            "SELECT (SELECT count(*) FROM mes.equipment_state_events),"
            " (SELECT count(*) FROM mes.work_orders)"
        )
        seen.add((events, orders))
        await asyncio.sleep(0.2)
        return orders > 0

    try:
        await world.eventually(all_there, timeout_s=600)
        await world.settle_counts(120)
    finally:
        agent.terminate()
        await agent.wait()
    assert seen == {(0, 0), (ROWS, 1)}
    assert most < AGENT_BYTES_MAX

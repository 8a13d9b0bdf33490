"""The agent is a process that is killed -9 at any moment; programs go on writing."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute

ROOT = Path(__file__).parents[2]


async def run_agent(world, path: Path) -> asyncio.subprocess.Process:
    environment = {
        "MES_SITE": SITE,
        "MES_STORE": str(path),
        "MES_NATS_SERVERS": world.nats_url,
        "MES_BEAT_S": "1",
        "MES_DRAIN_PAUSE_MS": "1",
        "MES_LOG_LEVEL": "error",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge.cli.edge_command", "run", env=environment, cwd=ROOT
    )


async def test_no_write_is_lost_or_doubled_however_often_the_agent_is_killed(world, seed):
    chance = random.Random(seed)
    edge = world.edges[SITE]
    await edge.stop()
    for number in range(12):
        agent = await run_agent(world, edge.path)
        edge.write(local_orders(f"A{number}"), state_events(chance.randrange(1, 400)))
        edge.write(f"UPDATE work_orders SET notes = 'n{number}', priority = {number}")
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(chance.uniform(0.0, 1.2))
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
    await edge.start()
    await world.settle(60)
    events = edge.read("SELECT count(*) FROM equipment_state_events")[0][0]
    stored = (await world.central("SELECT count(*) FROM mes.equipment_state_events"))[0][0]
    assert stored == events
    assert (await world.central("SELECT count(*) FROM mes.work_orders"))[0][0] == 24
    ((last_n, applied),) = await world.central(
        "SELECT max(last_n), (SELECT count(*) FROM sync.applied) FROM sync.epoch"
    )
    assert last_n == applied

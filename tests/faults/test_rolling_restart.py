"""Every program and server is restarted in its turn, twice, while all sessions write."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.servers import PostgresServer
from tests.faults.system import running_system
from tests.integration.central_world import make_centre

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]


@pytest.fixture
async def system(nats_server, tmp_path):
    with PostgresServer(tmp_path / "postgres") as postgres:
        await make_centre(postgres.url())
        async with running_system(postgres.url(), nats_server.url, tmp_path, workers=2) as system:
            yield system, postgres, nats_server


async def test_each_process_restarted_in_turn_twice_under_load_loses_nothing(system):
    system, postgres, broker = system
    async with system.sessions() as sessions:
        for end in ("stop", "kill"):
            for name in list(system.programs.running):
                await system.programs.restart(name, end=end)
                await asyncio.sleep(0.3)  # a rolling restart does not wait until all is well
            for server in (broker, postgres):
                await asyncio.to_thread(getattr(server, end))
                await asyncio.to_thread(server.start)
            # A worker that found no database when it began has ended, and is started again by
            # whoever keeps it.
            await system.world.eventually(lambda: settled(system.programs))
            await system.all_crosses(sessions)


async def settled(programs) -> bool:
    """Start again what has ended; tell whether nothing had."""
    ended = [name for name, each in programs.running.items() if not each.alive]
    for name in ended:
        await programs.start(name)
    await asyncio.sleep(1 if ended else 0)
    return not ended

"""The broker comes back with an empty disk, while all sessions write."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.faults.centre_counts import stored

pytestmark = pytest.mark.slow

#: What the broker holds of a site when it loses it, and nobody has applied.
HELD = 5


async def test_all_that_a_broker_held_is_sent_again_when_its_store_is_wiped(system, nats_server):
    async with system.sessions() as sessions:
        system.programs.pause("ingest 1")
        taken = await stored(system.world)
        await system.world.eventually(lambda: holds_more(system.world, taken + HELD))
        await asyncio.to_thread(nats_server.kill)
        shutil.rmtree(nats_server.root / "store")
        assert not sessions.seen_everywhere(sessions.written), "the window was not hit"
        await asyncio.to_thread(nats_server.start)
        system.programs.go_on("ingest 1")
        await system.all_crosses(sessions)


async def holds_more(world, messages: int) -> bool:
    """Tell whether the broker has stored so many messages of the first site by now."""
    return await stored(world) >= messages

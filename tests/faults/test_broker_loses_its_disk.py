"""The broker comes back with an empty disk, while all sessions write."""

from __future__ import annotations

import asyncio
import shutil

import pytest

pytestmark = pytest.mark.slow


async def test_all_that_a_broker_held_is_sent_again_when_its_store_is_wiped(system, nats_server):
    async with system.sessions() as sessions:
        await asyncio.to_thread(nats_server.kill)
        shutil.rmtree(nats_server.root / "store")
        await asyncio.to_thread(nats_server.start)
        await system.all_crosses(sessions)

"""The primary of PostgreSQL dies under load, and a synchronous standby takes its place."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.faults.replica import SYNCHRONOUS, either, follows, primary_and_standby, promote
from tests.faults.system import running_system

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]


@pytest.fixture
async def pair(tmp_path):
    """A primary with a migrated centre, and a standby that has every commit before it is told."""
    async with primary_and_standby(tmp_path) as (primary, standby):
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute(SYNCHRONOUS)
            connection.execute("SELECT pg_reload_conf()")
        yield primary, standby


async def test_nothing_is_lost_or_doubled_when_a_replica_takes_over_from_a_killed_primary(
    pair, nats_server, tmp_path
):
    primary, standby = pair
    url = either(primary.url(), standby.url())
    async with running_system(url, nats_server.url, tmp_path, workers=2) as system:
        await system.world.eventually(lambda: asyncio.to_thread(follows, primary))
        async with system.sessions() as sessions:
            committed = sessions.written
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(promote, standby)
            await system.all_crosses(sessions)
            assert all(sessions.written[who] > k for who, k in committed.items())
        refused = sum(each.refusals for each in sessions.all)
        assert refused > 0, "the window was not hit: nobody has noticed"

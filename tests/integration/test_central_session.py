"""The connection of a store, when something is left behind on it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.integration.apply_world import world  # noqa: F401
from tests.integration.central_world import appears, connect


async def test_a_connection_left_in_the_middle_of_a_command_is_given_up(world):
    """So found by a soak: the worker tried the same connection for ever, and held its sites."""
    site = world.site()
    sent = site.sends(site.insert("work_orders", site.order()))
    stuck = world.store._session._connection
    stuck.pgconn.send_query(b"SELECT pg_sleep(60)")
    stuck.pgconn.flush()
    outcome = await site.apply(sent)
    assert (outcome.parked, await world.value("SELECT count(*) FROM mes.work_orders")) == (0, 1)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_an_apply_that_is_cancelled_again_and_again_stops_nobody_after_it(world, times):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    sent = site.sends(site.insert("work_orders", site.order()))
    async with connect(world.url, autocommit=False) as busy:
        await busy.execute("SELECT FROM sync.epoch FOR UPDATE")
        task = asyncio.create_task(site.apply(sent))
        await appears(
            world.url,
            "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
            busy.info.backend_pid,
        )
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises((asyncio.CancelledError, psycopg.Error)):
            await task
    for _ in range(2):
        try:
            await site.apply(sent)
        except psycopg.OperationalError:
            continue
        break
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 2

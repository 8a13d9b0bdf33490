"""PostgreSQL commits, and the connection is gone before the ingest hears of it."""

from __future__ import annotations

import asyncio

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once, applied, skipped
from tests.faults.conftest import SITE, ingesting
from tests.faults.tap import Tap, commit_of_an_apply
from tests.integration.central_world import execute

CUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()"""
ROUNDS = 5


async def test_a_run_whose_commit_was_not_heard_of_is_not_applied_twice(fed):
    edge, before = fed.edges[SITE], skipped()
    async with Tap(fed.url, commit_of_an_apply) as tap, ingesting(tap.url, fed.nats_url):
        for number in range(ROUNDS):
            known = await applied(fed)
            tap.arm()
            edge.write(local_orders(f"A{number}"), state_events(200))
            await tap.caught()
            assert await applied(fed) > known, "the window was not hit: nothing is committed"
            tap.cut()
            await fed.settle()
        # Both ends are level before the last run, which is decided, has come again.
        await fed.eventually(lambda: skipped() - before >= ROUNDS)
    await all_is_there_once(fed, events=200 * ROUNDS, orders=ROUNDS)


async def test_nothing_is_lost_or_doubled_however_often_connections_are_ended(world):
    edge = world.edges[SITE]
    for number in range(15):
        edge.write(local_orders(f"A{number}"), state_events(200))
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(0.02 * (number % 5))
        await world.central(CUT)
    await world.settle(90)
    await all_is_there_once(world, events=3000, orders=30)

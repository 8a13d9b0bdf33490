"""The ingest is a process that is killed -9; another takes over."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once, applied, skipped
from tests.faults.conftest import SITE, ingesting
from tests.faults.processes import run_ingest
from tests.faults.tap import Tap, ack_to_the_broker, commit_of_an_apply
from tests.integration.central_world import execute

pytestmark = pytest.mark.slow


async def test_a_run_is_skipped_after_a_kill_between_the_commit_and_hearing_of_it(fed):
    async with Tap(fed.url, commit_of_an_apply) as tap:
        await _killed_with_a_run_committed(fed, tap, tap.url, fed.nats_url)


async def test_a_run_is_skipped_after_a_kill_between_its_commit_and_its_ack(fed):
    async with Tap(fed.nats_url, ack_to_the_broker) as tap:
        await _killed_with_a_run_committed(fed, tap, fed.url, tap.url)


async def _killed_with_a_run_committed(fed, tap: Tap, database_url: str, nats_url: str) -> None:
    edge, before = fed.edges[SITE], skipped()
    known = await applied(fed)
    tap.arm()
    edge.write(local_orders("A1", "A2"), state_events(500))
    ingest = await run_ingest(database_url, nats_url)
    await tap.caught()
    ingest.send_signal(signal.SIGKILL)
    await ingest.wait()
    assert await applied(fed) > known, "the window was not hit: nothing is committed"
    async with ingesting(fed.url, fed.nats_url):
        edge.write("UPDATE work_orders SET notes = 'after the kill'")
        await fed.settle()
    assert skipped() > before
    await all_is_there_once(fed, events=500, orders=2)


async def test_nothing_is_lost_or_doubled_however_often_the_ingest_is_killed(fed, seed):
    chance = random.Random(seed)
    edge = fed.edges[SITE]
    for number in range(8):
        before = await applied(fed)
        ingest = await run_ingest(fed.url, fed.nats_url)
        for write in range(5):
            edge.write(local_orders(f"A{number}.{write}"), state_events(chance.randrange(1, 3000)))
            edge.write(f"UPDATE work_orders SET notes = 'n{number}.{write}'")
        await execute(fed.url, planned_orders(f"B{number}"))
        # From its first apply on, which is when there is something to tear.
        await fed.eventually(lambda at=before: _more(fed, at), timeout_s=30)
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        ingest.send_signal(signal.SIGKILL)
        await ingest.wait()
    last = await run_ingest(fed.url, fed.nats_url)
    try:
        await fed.settle()
    finally:
        last.terminate()
        await last.wait()
    events = edge.read("SELECT count(*) FROM equipment_state_events")[0][0]
    await all_is_there_once(fed, events=events, orders=48)


async def _more(world, before: int) -> bool:
    return await applied(world) > before

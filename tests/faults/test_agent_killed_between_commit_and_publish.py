"""The agent is a process that is killed -9; programs go on writing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3

import pytest

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once, applied, skipped, stored, unsent
from tests.faults.conftest import SITE
from tests.faults.processes import run_agent
from tests.faults.tap import Tap, publish_ack_to_a_site, publish_by_a_site
from tests.integration.central_world import execute

UNDRAINED = "SELECT count(*) FROM _sync_log_work_orders"


@pytest.fixture
async def edge(world):
    """The site, whose agent the test runs itself."""
    edge = world.edges[SITE]
    edge.write(local_orders("before"))
    await world.settle()
    await edge.stop()
    return edge


async def test_what_was_committed_and_not_drained_arrives_after_the_kill(world, edge):
    agent = await run_agent(edge.path, world.nats_url)
    await world.eventually(lambda: _is_drained_by(edge, "running"))
    await _stopped_without_the_lock(agent, edge)
    edge.write(local_orders("A1"), state_events(100))
    agent.send_signal(signal.SIGKILL)
    await agent.wait()
    assert edge.read(UNDRAINED) == [(1,)], "the window was not hit: the agent has drained"
    await edge.start()
    await world.settle()
    await all_is_there_once(world, events=100, orders=3)


async def test_what_was_drained_and_not_published_arrives_after_the_kill(world, edge):
    before = await stored(world)
    async with Tap(world.nats_url, publish_by_a_site) as tap:
        await _killed_when_caught(tap, edge)
        assert await stored(world) == before, "the window was not hit: it is published"
    await edge.start()
    await world.settle()
    await all_is_there_once(world, events=100, orders=2)


async def test_what_was_published_unknown_to_the_agent_goes_out_again_and_counts_once(world, edge):
    before, known, again = await stored(world), await applied(world), skipped()
    async with Tap(world.nats_url, publish_ack_to_a_site) as tap:
        await _killed_when_caught(tap, edge)
        assert await stored(world) == before + 1, "the window was not hit: nothing is published"
    await world.eventually(lambda: _more(world, known))
    await edge.start()
    await world.settle()
    await world.eventually(lambda: skipped() > again)
    assert await stored(world) == before + 2
    await all_is_there_once(world, events=100, orders=2)


async def _killed_when_caught(tap: Tap, edge) -> None:
    """Have the agent drain what a program wrote, and kill it where the tap holds it."""
    edge.write(local_orders("A1"), state_events(100))
    tap.arm()
    agent = await run_agent(edge.path, tap.url)
    await tap.caught()
    agent.send_signal(signal.SIGKILL)
    await agent.wait()
    assert (edge.read(UNDRAINED), unsent(edge)) == ([(0,)], 1), "the window was not hit"


def _is_drained_by(edge, name: str) -> bool:
    """Write an order if it is not there yet, and tell whether the agent has drained it."""
    if not edge.read("SELECT 1 FROM work_orders WHERE order_no = ?", name):
        edge.write(local_orders(name))
    return edge.read(UNDRAINED) == [(0,)] and unsent(edge) == 0


async def _stopped_without_the_lock(agent, edge) -> None:
    """Stop the agent at a moment at which programs may write."""
    while True:
        agent.send_signal(signal.SIGSTOP)
        with contextlib.closing(edge.program()) as store:
            store.execute("PRAGMA busy_timeout = 100")
            try:
                store.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                agent.send_signal(signal.SIGCONT)
                await asyncio.sleep(0.01)
            else:
                return


async def _more(world, known: int) -> bool:
    return await applied(world) > known


async def test_no_write_is_lost_or_doubled_however_often_the_agent_is_killed(world, seed):
    chance = random.Random(seed)
    edge = world.edges[SITE]
    await edge.stop()
    for number in range(12):
        agent = await run_agent(edge.path, world.nats_url, MES_DRAIN_PAUSE_MS="1")
        edge.write(local_orders(f"A{number}"), state_events(chance.randrange(1, 400)))
        edge.write(f"UPDATE work_orders SET notes = 'n{number}', priority = {number}")
        await execute(world.url, planned_orders(f"B{number}"))
        await asyncio.sleep(chance.uniform(0.0, 1.2))
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
    await edge.start()
    await world.settle()
    events = edge.read("SELECT count(*) FROM equipment_state_events")[0][0]
    await all_is_there_once(world, events=events, orders=24)

"""The broker loses an entry of a feed, and nothing else that comes shows the gap."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from edge import lanes
from edge.lanes import DownLane
from shared.changes import SHARED
from sync import codec
from sync.protocol import Verdict
from tests.faults.cases import planned_orders
from tests.faults.conftest import SITE
from tests.integration.central_world import execute


@pytest.fixture
def lost(monkeypatch):
    """Lose what is delivered, and what is asked for, until the block ends; keep what it was."""
    lost = []

    async def lose(self, messages=()) -> Verdict:
        lost.extend(messages)
        return Verdict.SKIP

    @contextmanager
    def losing():
        with monkeypatch.context() as patched:
            patched.setattr(DownLane, "take", lose)
            patched.setattr(DownLane, "ask_again", lose)
            yield lost

    return losing


async def test_an_idle_site_asks_for_an_entry_that_never_came(world, lost):
    with lost() as messages:
        await execute(world.url, planned_orders("P1"))
        await world.eventually(lambda: messages)
    await world.settle()
    assert world.edges[SITE].read("SELECT order_no FROM work_orders") == [("P1",)]


async def test_an_idle_site_loads_a_snapshot_when_the_lost_entry_is_pruned(world, lost):
    with lost() as messages:
        await execute(world.url, planned_orders("P1"))
        await world.eventually(lambda: messages)
        await world.central("DELETE FROM sync.feed RETURNING 1")
    await world.settle()
    assert world.edges[SITE].read("SELECT order_no FROM work_orders") == [("P1",)]


MATERIAL = (
    "INSERT INTO mes.material_definitions (id, site_id, created_at, material_code, description)"
    " VALUES (uuidv7(), '*', now(), 'M1', 'steel')"
)


@pytest.mark.parametrize("patience_s", [0.5, 3600])
async def test_a_busy_site_asks_for_a_shared_entry_that_its_own_feed_waits_for(
    world, monkeypatch, patience_s
):
    """Its own feed never stands still: what comes there waits for the shared one each time.

    The lane notices it, and so does each hello.
    """
    monkeypatch.setattr(lanes, "OTHER_FEED_S", patience_s)
    lost = []
    take = DownLane.take

    async def lose_one(self, messages) -> Verdict:
        scopes = [codec.decode_entry(each.payload)[0].scope for each in messages]
        if SHARED in scopes and not lost:
            lost.append(messages[scopes.index(SHARED)])
            messages = [each for each in messages if each not in lost]
        return await take(self, messages)

    monkeypatch.setattr(DownLane, "take", lose_one)
    edge = world.edges[SITE]
    written = 0
    is_mended = False

    async def keep_busy() -> None:
        nonlocal written
        while not is_mended:
            await execute(world.url, planned_orders(f"P{written + 1}"))
            written += 1

    async with asyncio.TaskGroup() as busy:
        busy.create_task(keep_busy())
        await world.eventually(lambda: written > 3)  # busy before the loss, until after the mend
        await execute(world.url, MATERIAL)
        await world.eventually(lambda: lost)
        there = "SELECT id FROM material_definitions"
        await world.eventually(lambda: edge.read(there), timeout_s=20)
        is_mended = True
    await world.settle()
    assert edge.read("SELECT count(*) FROM work_orders") == [(written,)]
    assert edge.read("SELECT code FROM _sync_event WHERE code = 'MES-FEED-UNORDERED'") == []

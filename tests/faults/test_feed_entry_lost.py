"""The broker loses an entry of a feed, and nothing else that comes shows the gap."""

from __future__ import annotations

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
    await execute(world.url, MATERIAL)
    await world.eventually(lambda: lost)
    written = 0

    async def is_there() -> bool:
        nonlocal written
        written += 1
        await execute(world.url, planned_orders(f"P{written}"))
        return edge.read("SELECT count(*) FROM material_definitions") == [(1,)]

    await world.eventually(is_there, timeout_s=20)
    await world.settle()
    assert written > 3, "the site was not busy"
    assert edge.read("SELECT count(*) FROM work_orders") == [(written,)]
    assert edge.read("SELECT code FROM _sync_event WHERE code = 'MES-FEED-UNORDERED'") == []

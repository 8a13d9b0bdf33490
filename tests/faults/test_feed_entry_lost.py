"""The broker loses the last entry of a feed, and the site hears of nothing that would show it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from edge.lanes import DownLane
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

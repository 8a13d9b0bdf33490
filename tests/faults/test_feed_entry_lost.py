"""The broker loses the last entry of a feed, and the site hears of nothing that would show it."""

from __future__ import annotations

from edge.lanes import DownLane
from sync.protocol import Verdict
from tests.faults.cases import planned_orders
from tests.faults.conftest import SITE
from tests.integration.central_world import execute


async def test_an_idle_site_asks_for_an_entry_that_never_came(world, monkeypatch):
    lost = []

    async def lose(self, messages) -> Verdict:
        lost.extend(messages)
        return Verdict.SKIP

    monkeypatch.setattr(DownLane, "take", lose)
    await execute(world.url, planned_orders("P1"))
    await world.eventually(lambda: lost)
    monkeypatch.undo()
    await world.settle()
    assert world.edges[SITE].read("SELECT order_no FROM work_orders") == [("P1",)]


async def test_an_idle_site_loads_a_snapshot_when_its_hello_is_answered_so(world, monkeypatch):
    """The entries after its place were pruned while its own copies of them were lost."""

    async def lose(self, messages) -> Verdict:
        return Verdict.SKIP

    monkeypatch.setattr(DownLane, "take", lose)
    monkeypatch.setattr(DownLane, "ask_again", lambda self: lose(self, ()))
    await execute(world.url, planned_orders("P1"))
    await world.eventually(
        lambda: world.central("SELECT 1 FROM sync.feed_head WHERE scope = %s AND pos > 0", SITE)
    )
    await execute(world.url, planned_orders("P2"))
    await world.eventually(lambda: world.central("DELETE FROM sync.feed RETURNING 1"))
    monkeypatch.undo()
    await world.settle()
    assert world.edges[SITE].read("SELECT order_no FROM work_orders ORDER BY 1") == [
        ("P1",), ("P2",)
    ]  # fmt: skip

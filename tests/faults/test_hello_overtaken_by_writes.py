"""A hello is answered late: the centre has applied by then what was sent after it."""

from __future__ import annotations

import asyncio

import central.agent
from tests.faults.cases import local_orders
from tests.faults.conftest import SITE


async def test_a_site_is_not_taken_for_a_restored_one_by_a_hello_that_comes_late(
    world, monkeypatch
):
    overtaken = 0

    async def late(link, site: str) -> int:
        nonlocal overtaken
        overtaken += 1
        await asyncio.sleep(0.6)
        return 0

    monkeypatch.setattr(central.agent, "_waiting", late)
    edge = world.edges[SITE]
    number = 0
    while overtaken < 4 and number < 400:  # a site that stopped says no more hellos
        edge.write(local_orders(f"A{number}"))
        number += 1
        await asyncio.sleep(0.05)
    monkeypatch.undo()
    assert edge.read("SELECT stopped_because FROM _sync_site") == [(None,)]
    await world.settle()
    assert len(edge.read("SELECT 1 FROM work_orders")) == number

"""A hello is answered late: the centre has applied by then what was sent after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import central.agent
from edge.handshake import Handshake
from tests.faults.cases import local_orders
from tests.faults.conftest import SITE

if TYPE_CHECKING:
    from sync.handshake import Hello


async def test_a_site_is_not_taken_for_a_restored_one_by_a_hello_that_comes_late(
    world, monkeypatch
):
    overtaken: list[bool] = []
    judge = Handshake._was_overtaken

    async def late(link, site: str) -> int:
        await asyncio.sleep(0.6)
        return 0

    async def noted(handshake: Handshake, said: Hello, applied_n: int) -> bool:
        overtaken.append(await judge(handshake, said, applied_n))
        return overtaken[-1]

    monkeypatch.setattr(central.agent, "_waiting", late)
    monkeypatch.setattr(Handshake, "_was_overtaken", noted)
    edge = world.edges[SITE]
    number = 0
    while len(overtaken) < 2 and number < 400:  # a site that stopped says no more hellos
        edge.write(local_orders(f"A{number}"))
        number += 1
        await asyncio.sleep(0.05)
    monkeypatch.undo()
    assert len(overtaken) >= 2
    assert all(overtaken)
    assert edge.read("SELECT stopped_because FROM _sync_site") == [(None,)]
    await world.settle()
    assert len(edge.read("SELECT 1 FROM work_orders")) == number

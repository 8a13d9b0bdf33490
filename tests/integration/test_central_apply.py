"""One run, one PostgreSQL transaction: what the sites sent, in order, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.changes import Position
from sync.protocol import Verdict
from tests.integration.apply_world import World, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world(centre: str) -> AsyncIterator[World]:
    async with open_world(centre) as opened:
        yield opened


async def test_a_new_order_and_its_report_stand_at_the_centre(world: World) -> None:
    site = world.site()
    order = site.order(notes="first")
    sent = site.sends(
        site.insert("work_orders", order),
        site.insert("job_responses", site.report(work_order_id=order["id"])),
    )
    outcome = await site.apply(sent)
    assert outcome.verdict is Verdict.APPLY
    assert outcome.rows == 2
    assert outcome.position == Position(1, sent.hash)
    assert await world.head(str(order["id"])) == sent.tx_id
    assert await world.value("SELECT notes FROM mes.work_orders") == "first"
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    assert await world.parked() == []

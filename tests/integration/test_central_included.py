"""Transactions whose rows came home after a restore of the centre, and that come again after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from central.store import epochs
from sync import codec
from tests.integration.apply_world import NOON_MS, Row, World, an_order, open_world
from tests.integration.test_central_facts_large import parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.changes import ChangeBlock

SITE = "SITE_001"


@pytest.fixture
async def world(centre: str) -> AsyncIterator[World]:
    async with open_world(centre) as world:
        yield world


def noted(row: Row, text: str) -> ChangeBlock:
    block = row.site.update(row.table, row.id, base=row.base, notes=(None, text))
    block.at = [row.site.at_ms]
    return block


async def came_home(world: World, epoch: str, n: int, tx_id: str, own: bytes) -> None:
    """Note a transaction as one whose rows came home, with nothing that waits to be told."""
    await epochs.include(world.admin, SITE, epoch, [(n, tx_id, own)])
    await world.admin.execute("DELETE FROM sync.touched")


async def told(world: World) -> list[tuple]:
    return await world.rows("SELECT DISTINCT row_id::text, scopes FROM sync.touched")


async def test_one_that_is_left_out_brings_the_heads_of_its_rows(world):
    row = await an_order(world, notes="what came home")
    sent = row.site.sends(noted(row, "as it was written"))
    await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
    await row.site.apply(sent)
    assert await row.holds("notes") == ("what came home",)
    assert await told(world) == [(row.id, [SITE])]


async def test_rows_of_it_that_had_not_taken_effect_bring_theirs_as_well(world):
    row = await an_order(world)
    sent = row.site.sends(noted(row, "applied now"))
    await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
    await epochs.try_again(world.admin, SITE, [(sent.tx_id, row.table, row.id)])
    await row.site.apply(sent)
    assert await row.holds("notes") == ("applied now",)
    assert await told(world) == [(row.id, [SITE])]


async def test_one_in_parts_brings_the_heads_of_its_rows(world):
    row = await an_order(world, notes="what came home")
    new = row.site.insert("work_orders", row.site.order())
    new.at = [row.site.at_ms]
    first, second = parts_of(row.site, [noted(row, "as it was written"), new])
    await came_home(world, first.epoch, first.n, first.tx_id, first.hash)
    for part in (first, second):
        await world.store.spool_part(part, codec.encode_part(part), NOON_MS)
        await world.store.apply_spooled(part, world.leases[SITE])
    assert await row.holds("notes") == ("what came home",)
    assert sorted(await told(world)) == sorted([(row.id, [SITE]), (new.ids[0], [SITE])])

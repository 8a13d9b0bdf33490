"""Transactions whose rows came home after a restore of the centre, and that come again after it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from central.store import epochs, homecoming
from sync import codec
from sync.protocol import Verdict
from tests.integration.apply_world import NOON_MS, Row, World, an_order, open_world
from tests.integration.test_central_facts_large import parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.changes import ChangeBlock

SITE = "SITE_001"
TOLD = homecoming.Told(SITE)


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
    await homecoming.include(world.admin, TOLD, epoch=epoch, links=[(n, tx_id, own)])
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
    await homecoming.try_again(world.admin, TOLD, [(sent.tx_id, row.table, row.id)])
    await row.site.apply(sent)
    assert await row.holds("notes") == ("applied now",)
    assert await told(world) == [(row.id, [SITE])]


async def test_one_is_known_by_its_id_unless_rows_of_it_are_to_be_done_again(world):
    row = await an_order(world)
    sent = row.site.sends(noted(row, "as it was written"))
    asked = [sent.tx_id, str(uuid.uuid4())]
    assert await epochs.applied_of(world.admin, SITE, asked) == []
    await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
    assert await epochs.applied_of(world.admin, SITE, asked) == [sent.tx_id]
    await homecoming.try_again(world.admin, TOLD, [(sent.tx_id, row.table, row.id)])
    assert await epochs.applied_of(world.admin, SITE, asked) == []


async def test_what_no_tip_can_tell_of_waits_again_where_the_centre_is_older_than_it_was(world):
    """It had waited for a migration, was applied then, and both were lost with the restore."""
    site = world.site(schema=world.catalog.version + 1)
    report = site.report(shift_code="x" * 30)
    seam = replace(site.insert("holds", {}), table="weld_seams")
    order = site.order(notes="x" * 4001)
    sent = site.sends(site.insert("job_responses", report), seam, site.insert("work_orders", order))
    await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
    assert (await site.apply(sent)).parked == 2
    waiting = [each[:3] for each in await world.parked()]
    assert waiting == [
        ("newer_schema", "waiting", "job_responses"), ("newer_schema", "waiting", "weld_seams"),
    ]  # fmt: skip


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


async def tip_of(world: World, row: Row, *columns: str) -> str:
    """Note that what stands in these columns came home, in one version that nobody has any more."""
    tip = str(uuid.uuid4())
    await world.admin.execute(
        "INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin, at_ms,"
        " lost) SELECT site_id, table_no, id, ord + 1000, %s, 'U', %s, site_id, 0, true"
        " FROM sync.head WHERE id = %s",
        [tip, world.catalog.table(row.table).mask(columns), row.id],
    )
    return tip


async def test_writes_of_one_run_on_two_rows_are_told_apart_each_after_the_one_before(world):
    first = await an_order(world, notes="x", priority=7)
    site, table, told = first.site, world.catalog.table("work_orders"), []
    order = site.order(notes="x", priority=7)
    base = await site.writes(site.insert(table.name, order))
    rows = [first, Row(world, site, table.name, str(order["id"]), base)]
    tips = [await tip_of(world, row, "notes", "priority", "uom") for row in rows]
    for changes in ({"notes": (None, "w")}, {"priority": (50, 7)}, {"notes": ("w", "x")}):
        for row in rows:
            sent = site.sends(site.update(row.table, row.id, base=row.base, **changes))
            row.base = sent.tx_id
            await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
            told.append(sent)
    assert (await site.apply(*told)).skipped == 0
    masks = [table.mask(each) for each in ((), ("priority",), ("notes",), ("uom",))]
    for row, tip, own in zip(rows, tips, (told[::2], told[1::2]), strict=True):
        found = await world.rows(
            "SELECT version::text, mask FROM sync.version WHERE id = %s ORDER BY ord OFFSET 1",
            row.id,
        )
        versions = (*[sent.tx_id for sent in own], tip)
        assert found == list(zip(versions, masks, strict=True))


async def test_what_comes_again_holds_no_row_of_which_no_tip_stands(world):
    """Nor asks for each of them: a site may have kept ninety thousand transactions."""
    row = await an_order(world)
    sent = row.site.sends(noted(row, "as it was written"))
    await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
    async with world.admin.transaction():
        await world.admin.execute("SELECT FROM sync.head FOR UPDATE")
        assert (await row.site.apply(sent)).verdict is Verdict.APPLY


EPOCH, SENT = str(uuid.uuid4()), str(uuid.uuid4())
FIRST, SECOND = (homecoming.Told(SITE, str(uuid.uuid4())) for _ in range(2))


def tells(told: homecoming.Told, *row_ids: str) -> dict[str, Any]:
    """Return what a question of a homecoming holds of the transaction."""
    rows = [(SENT, "work_orders", each) for each in row_ids]
    return {"told": told, "epoch": EPOCH, "links": [(1, SENT, b"")], "rows": rows}


async def again(world: World) -> list[str]:
    found = await world.rows("SELECT row_id FROM sync.again ORDER BY row_id")
    return [row_id for (row_id,) in found]


async def test_what_a_later_homecoming_does_not_tell_has_come_home(world):
    await homecoming.include(world.admin, **tells(FIRST, "a", "b"))
    await homecoming.include(world.admin, **tells(SECOND, "b", "c"))
    assert await again(world) == ["b", "c"]
    assert await world.value("SELECT count(*) FROM sync.included") == 1


async def test_rows_that_were_told_ahead_of_their_transaction_count_with_it(world):
    ahead = [(SENT, "work_orders", "a")]
    await homecoming.include(world.admin, **tells(FIRST, "z"))
    await homecoming.try_again(world.admin, SECOND, ahead)
    await homecoming.include(world.admin, **tells(SECOND, "b"))
    assert await again(world) == ["a", "b"]


async def test_an_edge_that_does_not_name_its_homecoming_tells_rows_after_it(world):
    await homecoming.include(world.admin, **tells(TOLD))
    await homecoming.try_again(world.admin, TOLD, [(SENT, "work_orders", "a")])
    assert await again(world) == ["a"]
    await homecoming.include(world.admin, **tells(TOLD))
    assert await again(world) == []


async def test_a_late_original_of_what_moved_on_is_not_kept_as_refused(world):
    """Its site has it, and sends it again in the next epoch."""
    row = await an_order(world)
    late = row.site.sends(noted(row, "x"))
    lost = row.site.sends(noted(row, "of the lost life"))
    for sent in (late, lost):
        await came_home(world, sent.epoch, sent.n, sent.tx_id, sent.hash)
    await world.admin.execute("UPDATE sync.epoch SET closed_at_n = last_n, fork_n = %s", [late.n])
    outcome = await row.site.apply(late, lost)
    assert (outcome.skipped, outcome.fenced) == (2, (lost.tx_id,))
    for sent in (late, lost):
        first, *_ = parts_of(row.site, [noted(row, "x")])
        part = replace(first, n=sent.n, tx_id=sent.tx_id)
        kept = await world.store.spool_part(part, codec.encode_part(part), NOON_MS)
        assert kept is (sent is late)

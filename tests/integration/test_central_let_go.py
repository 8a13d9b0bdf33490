"""Facts that a person let go of, and that their site sends once more: by themselves, unasked."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.apply_world import world  # noqa: F401

if TYPE_CHECKING:
    from tests.integration.apply_world import World


async def let_go(world: World) -> None:
    ((ticket,),) = await world.rows("SELECT ticket::text FROM sync.waiting")
    assert await world.store.discard(ticket, "ann")


async def states(world: World) -> list[str]:
    return [state for _, state, *_ in await world.parked()]


async def test_what_could_not_be_read_then_is_not_parked_once_more(world: World) -> None:
    site = world.site()
    report = site.report(shift_code="x" * 30)
    assert (await site.apply(site.sends(site.insert("job_responses", report)))).parked == 1
    await let_go(world)
    assert (await site.apply(site.sends(site.insert("job_responses", report)))).parked == 0
    assert await states(world) == ["discarded"]
    other = {**report, "shift_code": "y" * 30}
    assert (await site.apply(site.sends(site.insert("job_responses", other)))).parked == 1
    assert sorted(await states(world)) == ["discarded", "parked"]


async def test_it_is_left_out_of_a_batch_that_goes_in_otherwise(world: World) -> None:
    site = world.site()
    order = site.order()
    bad, *others = [site.report(work_order_id=order["id"]) for _ in range(4)]
    await site.apply(site.sends(site.insert("job_responses", bad)))
    await let_go(world)
    await site.writes(site.insert("work_orders", order))
    await site.writes(site.insert("job_responses", others[0], bad, *others[1:]))
    there = await world.rows("SELECT id::text FROM mes.job_responses ORDER BY 1")
    assert there == sorted((each["id"],) for each in others)


async def test_one_that_was_dated_right_is_another_one(world: World) -> None:
    site = world.site()
    report = site.report()
    wrong = site.insert("job_responses", report, created="2199-11-20T08:00:00.000Z")
    assert (await site.apply(site.sends(wrong))).parked == 1
    await let_go(world)
    await site.writes(site.insert("job_responses", report))
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_a_column_more_that_has_no_value_makes_no_other_fact_of_it(world: World) -> None:
    site = world.site()
    order = site.order()
    block = site.insert("job_responses", site.report(work_order_id=order["id"]))
    await site.apply(site.sends(block))
    await let_go(world)
    await site.writes(site.insert("work_orders", order))
    newer = world.site(schema=world.catalog.version + 1)
    newer.epoch, newer.n, newer.hash = site.epoch, site.n, site.hash
    more = replace(block, columns=("weld_code", *block.columns), new=[[None], *block.new])
    assert (await newer.apply(newer.sends(more))).rows == 0
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 0


async def test_a_row_of_a_table_that_is_to_come_stays_away_as_well(world: World) -> None:
    site = world.site(schema=world.catalog.version + 1)
    seam = replace(site.insert("holds", {}), table="weld_seams")
    assert (await site.apply(site.sends(seam))).parked == 1
    await let_go(world)
    assert (await site.apply(site.sends(seam))).parked == 0
    assert await states(world) == ["discarded"]


async def test_no_value_of_it_waits_for_a_column_that_is_to_come(world: World) -> None:
    site = world.site(schema=world.catalog.version + 1)
    order = site.order()
    block = site.insert("job_responses", site.report(work_order_id=order["id"]))
    block = replace(block, columns=(*block.columns, "weld_code"), new=[*block.new, ["W"]])
    assert (await site.apply(site.sends(block))).parked == 1
    await let_go(world)
    assert await world.rows("SELECT * FROM sync.extra") == []
    await site.apply(site.sends(site.insert("work_orders", order), block))
    assert await world.rows("SELECT * FROM sync.extra") == []


async def test_one_that_is_there_all_the_same_is_not_let_go_of(world: World) -> None:
    """It came twice; that its order went away between parked the second."""
    site = world.site()
    order = site.order()
    report = site.insert("job_responses", site.report(work_order_id=order["id"]))
    await site.writes(site.insert("work_orders", order), report)
    base = await world.head(str(order["id"]))
    await site.writes(site.delete("work_orders", order["id"], base=base))
    if (await site.apply(site.sends(report))).parked:
        await let_go(world)
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    assert await world.rows("SELECT * FROM sync.let_go") == []


@pytest.mark.parametrize("content", [None, "[1]", "7"])
async def test_a_record_that_holds_no_values_lets_go_of_nothing_and_stops_nothing(world, content):
    """It came home from a site, which can tell us anything."""
    site = world.site()
    order = site.order()
    report = site.insert("job_responses", site.report(work_order_id=order["id"]))
    await site.apply(site.sends(report))
    ticket = await world.value("SELECT ticket::text FROM sync.waiting")
    await world.admin.execute("UPDATE mes.sync_parked SET content = %s", [content])
    assert await world.store.discard(ticket, "ann")
    assert await world.rows("SELECT * FROM sync.let_go") == []


async def test_a_change_that_is_no_fact_is_let_go_of_for_itself_alone(world: World) -> None:
    site = world.site()
    order = site.order(notes="x" * 4001)
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).parked == 1
    await let_go(world)
    assert await world.rows("SELECT * FROM sync.let_go") == []
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).parked == 1


async def test_what_was_let_go_of_by_one_site_is_another_ones_own(world: World) -> None:
    site, other = world.site(), world.site("SITE_002")
    report = site.report(work_order_id=str(uuid.uuid4()))
    await site.apply(site.sends(site.insert("job_responses", report)))
    await let_go(world)
    report = {**report, "work_order_id": None}
    await other.writes(other.insert("job_responses", report))
    assert await world.value("SELECT site_id FROM mes.job_responses") == "SITE_002"

"""Facts that a person let go of, and that their site sends once more: by themselves, unasked."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

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

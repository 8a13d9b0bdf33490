"""A site is told of changes that will not count: of which of them, once, whatever they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.catalog import Catalog
from shared.changes import Op
from tests.integration.apply_world import World, open_world, world  # noqa: F401
from tests.integration.parking import told
from tests.integration.test_central_parking_retry import job_of

if TYPE_CHECKING:
    from tests.integration.apply_world import Site


async def quiet(world: World) -> list[tuple[str, bool]]:
    return await world.rows("SELECT reason, quiet FROM sync.waiting ORDER BY ord")


async def test_what_was_built_on_a_change_is_told_with_it_and_not_at_each_retry(
    world: World,
) -> None:
    site = world.site()
    order, other = site.order(), site.order()
    job, twin = job_of(str(order["id"])), job_of(str(other["id"]))
    row_id = str(job["id"])
    await site.writes(site.insert("work_orders", order))
    base = await site.writes(site.insert("job_orders", job))
    moved = (order["id"], other["id"])
    early = site.sends(site.update("job_orders", row_id, base=base, work_order_id=moved))
    later = site.update("job_orders", row_id, base=early.tx_id, segment_code=("X", "Y"))
    await site.apply(early, site.sends(later))
    assert await quiet(world) == [("parent_missing", True), ("behind", True)]
    # The parent comes, with another job that has the number.
    new = site.insert("work_orders", other), site.insert("job_orders", twin)
    await site.apply(site.sends(*new))
    assert await quiet(world) == [("key_taken", False), ("behind", False)]
    versions = "SELECT count(*) FROM sync.version WHERE id = %s"
    count = await world.value(versions, row_id)
    for _ in range(2):
        for (ticket,) in await world.rows("SELECT ticket::text FROM sync.waiting"):
            assert not await world.store.retry(ticket)
    assert await world.value(versions, row_id) == count


async def test_a_row_that_is_tied_to_one_that_is_refused_at_last_is_told_with_it(
    world: World,
) -> None:
    newer = world.catalog.version + 1
    site: Site = world.site(schema=newer)
    order = site.order(priority=1000)
    job = job_of(str(order["id"]))
    block = site.insert("work_orders", order)
    block = replace(block, columns=(*block.columns, "later"), new=[*block.new, ["x"]])
    await site.apply(site.sends(block, site.insert("job_orders", job)))
    assert await quiet(world) == [("newer_schema", True), ("tied", True)]
    assert await told(world, "job_orders") == []
    table = world.catalog.table("work_orders")
    column = replace(table.column("notes"), name="later", since=newer)
    others = tuple(t for t in world.catalog.tables if t.name != "work_orders")
    grown = Catalog(newer, (*others, replace(table, columns=(*table.columns, column))))
    await world.admin.execute(b"ALTER TABLE mes.work_orders ADD COLUMN later text")
    async with open_world(world.url, grown) as migrated:
        assert await migrated.store.retry_due("SITE_001") == 0
    assert await quiet(world) == [("invalid_value", False), ("tied", False)]
    assert await told(world, "job_orders") == [job["id"]]


async def test_thousands_of_parked_rows_of_which_nobody_knows_the_number_yet_are_read_by_look_ups(
    world: World,
) -> None:
    """PostgreSQL has not counted the rows: joined by what seems best it took too long to end."""
    site, count = world.site(), 10_000
    orders = site.insert("work_orders", *(site.order(notes="a") for _ in range(count)))
    base = await site.writes(orders)
    await world.client("UPDATE mes.work_orders SET notes = 'c'")
    poor = replace(
        orders, op=Op.UPDATE, columns=("notes", "priority"), base=[base] * count,
        new=[["b"] * count, [1000] * count], old=[["a"] * count, [None] * count],
    )  # fmt: skip
    assert (await site.apply(site.sends(poor))).parked == count
    assert await world.value("SELECT count(*) FROM sync.version WHERE overruled <> 0") == count


@pytest.mark.parametrize("value", ["a\x00b", b"\xff", "x" * 1000])
async def test_who_wrote_may_be_what_a_change_is_parked_for_and_the_others_go_on(
    world: World, value: str | bytes
) -> None:
    site = world.site()
    poor, good = site.order(notes="a"), site.order(notes="a")
    base = await site.writes(site.insert("work_orders", poor, good))
    await world.client("UPDATE mes.work_orders SET notes = 'c' WHERE id = %s", poor["id"])
    outcome = await site.apply(
        site.sends(
            site.update(
                "work_orders",
                str(poor["id"]),
                base=base,
                notes=("a", "b"),
                changed_by=(None, value),
            ),
            site.update("work_orders", str(good["id"]), base=base, notes=("a", "b")),
        )
    )
    assert (outcome.rows, outcome.parked) == (1, 1)
    assert await world.value("SELECT reason FROM sync.waiting") == "invalid_value"
    mask = world.catalog.table("work_orders").mask(["notes"])
    overruled = "SELECT overruled FROM sync.version WHERE id = %s ORDER BY ord DESC LIMIT 1"
    assert await world.value(overruled, poor["id"]) == mask

"""Thousands of rows wait for one: none stops the queue of their site, and none starves another."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.store import due, retrying, session
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.catalog_file import load_catalog
from tests.integration.apply_world import CREATED, World, open_world, world
from tests.integration.test_central_extra import centre_of
from tests.integration.test_central_parking_retry import relax_priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.apply_world import Site

__all__ = ["world"]

SITE = "SITE_001"
FIRST = load_catalog()


def a_plants_own(name: str, column: Column) -> Table:
    return Table(name, Direction.UP, (column,), append_only=True, partitioned=True)


SCANS = a_plants_own("acme_scans", Column("code", ColumnType(Kind.TEXT), policy=Policy.APPEND_ONLY))
MARKS = a_plants_own(
    "acme_marks",
    Column(
        "scan_id", ColumnType(Kind.UUID), policy=Policy.APPEND_ONLY,
        references="acme_scans", enforced=True,
    ),
)  # fmt: skip
WITH_SCANS = Catalog(FIRST.version + 1, (*FIRST.tables, SCANS))
WITH_MARKS = Catalog(FIRST.version + 2, (*WITH_SCANS.tables, MARKS))


async def test_what_thousands_wait_for_is_applied_in_bounded_time_and_they_soon_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that is woken costs its run some time, and a run that takes too long is undone."""
    monkeypatch.setattr(due, "WOKEN_MAX", 3)
    site = world.site()
    order = site.order()
    some = [site.report(work_order_id=order["id"]) for _ in range(8)]
    assert (await site.apply(site.sends(site.insert("job_responses", *some)))).parked == 8
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).rows == 4
    assert await world.store.retry_due(SITE) == 5
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 8
    assert {state for _, state, *_ in await world.parked()} == {"applied"}


async def wait_for(world: World, site: Site, missing: str, number: int) -> None:
    some = [site.report(work_order_id=missing) for _ in range(number)]
    assert (await site.apply(site.sends(site.insert("job_responses", *some)))).parked == number


async def named_a_job(world: World, number: int) -> Site:
    """Have reports name as their order what is a job."""
    site = world.site()
    order = site.order()
    job = {"id": str(uuid.uuid4()), "work_order_id": order["id"], "seq": 1, "segment_code": "X"}
    await site.writes(site.insert("work_orders", order), site.insert("job_orders", job))
    await wait_for(world, site, str(job["id"]), number)
    return site


async def one_more_that_is_due(world: World, site: Site) -> None:
    """Have a report wait for an order that a program of the centre makes then."""
    order_id = str(uuid.uuid4())
    await wait_for(world, site, order_id, 1)
    await world.month("work_orders")
    made = "INSERT INTO mes.work_orders (id, created_at, order_no) VALUES (%s, %s, 'C-1')"
    await world.client(made, order_id, CREATED)


async def reports(world: World) -> int:
    return await world.value("SELECT count(*) FROM mes.job_responses")


async def told(world: World) -> list[tuple[str, str, str]]:
    """Return the records of what waits, with all that a try may change of them."""
    return await world.rows(
        "SELECT h.id::text, h.version::text, p.retried_at::text FROM mes.sync_parked AS p"
        " JOIN sync.head AS h USING (id) ORDER BY 1"
    )


async def test_rows_that_name_a_row_of_another_table_starve_none_that_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "ROWS_MAX", 3)
    site = await named_a_job(world, 3)
    before = await told(world)
    await one_more_that_is_due(world, site)
    assert await world.store.retry_due(SITE) == 1
    assert await reports(world) == 1
    assert set(before) < set(await told(world))


async def test_a_row_of_which_nobody_noted_in_which_table_its_parent_is_missing_is_tried_once(
    world: World,
) -> None:
    """A centre of before migration 0033 had parked it."""
    site = await named_a_job(world, 1)
    await world.admin.execute("UPDATE sync.waiting SET needs_no = NULL")
    before = await told(world)
    for _ in range(2):
        assert await world.store.retry_due(SITE) == 0
        assert await world.rows("SELECT reason, tries FROM sync.waiting") == [("parent_missing", 1)]
    assert await told(world) == before
    await one_more_that_is_due(world, site)
    await world.admin.execute("UPDATE sync.waiting SET needs_no = NULL")
    assert await world.store.retry_due(SITE) == 1


async def test_rows_that_fail_whenever_they_are_tried_starve_none_that_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "ROWS_MAX", 3)
    site = world.site()
    await wait_for(world, site, str(uuid.uuid4()), 3)
    await world.admin.execute("UPDATE sync.waiting SET block = 'rubbish', needs_no = NULL")
    await one_more_that_is_due(world, site)
    assert [await world.store.retry_due(SITE) for _ in range(2)] == [0, 1]
    assert await reports(world) == 1


async def test_only_a_person_who_asks_is_told_that_a_row_failed_for_the_same_reason_again(
    world: World,
) -> None:
    site = world.site()
    await wait_for(world, site, str(uuid.uuid4()), 1)
    await world.admin.execute("UPDATE sync.waiting SET needs_no = NULL")
    before = await told(world)
    assert await world.store.retry_due(SITE) == 0
    assert await told(world) == before
    assert not await world.store.retry(await world.value("SELECT ticket::text FROM sync.waiting"))
    ((_, version, tried),) = await told(world)
    assert (version != before[0][1], tried is not None) == (True, True)


async def test_all_that_wait_for_a_fact_of_a_plants_own_are_applied(
    centre: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "WOKEN_MAX", 2)
    async with centre_of(centre, None, WITH_MARKS) as world:
        site = world.site()
        scan = {"id": str(uuid.uuid4()), "code": "A"}
        marks = site.insert("acme_marks", *[{"scan_id": scan["id"]} for _ in range(5)])
        assert (await site.apply(site.sends(marks))).parked == 5
        assert await world.store.retry_due(SITE) == 0
        await site.apply(site.sends(site.insert("acme_scans", scan)))
        assert await world.value("SELECT count(*) FROM mes.acme_marks") == 2
        assert await world.store.retry_due(SITE) == 3
        assert await world.rows("SELECT * FROM sync.waiting") == []


async def test_facts_are_found_by_their_id_from_the_catalogue_on_by_which_others_wait_for_them(
    centre: str,
) -> None:
    found = "SELECT to_regclass('mes.acme_scans_by_id') IS NOT NULL"
    for catalog, is_there in ((WITH_SCANS, False), (WITH_MARKS, True)):
        async with centre_of(centre, None, catalog) as world:
            assert await world.value(found) is is_there


@asynccontextmanager
async def first_of_two_held(world: World) -> AsyncIterator[World]:
    """Have two changes be due, the first of an order that a client holds."""
    site = world.site()
    orders = [site.order(priority=50), site.order(priority=50)]
    base = await site.writes(site.insert("work_orders", *orders))
    for order in orders:
        poor = site.update("work_orders", str(order["id"]), base=base, priority=(50, 1000))
        assert (await site.apply(site.sends(poor))).parked == 1
    await relax_priority(world)
    await world.admin.execute("UPDATE sync.waiting SET catalogue = 'before'")
    async with (
        await psycopg.AsyncConnection.connect(world.url) as client,
        open_world(world.url, world.catalog) as mended,
    ):
        await client.execute(
            "SELECT FROM mes.work_orders WHERE id = %s FOR UPDATE", [orders[0]["id"]]
        )
        yield mended
        await client.rollback()
        assert await mended.store.retry_due(SITE) == 1
        assert await world.rows("SELECT priority FROM mes.work_orders") == [(1000,), (1000,)]


@pytest.mark.parametrize(("held_max", "applied"), [(2, [1, 0]), (1, [0, 1])])
async def test_a_row_that_a_client_holds_starves_none_that_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch, held_max: int, applied: list[int]
) -> None:
    monkeypatch.setattr(session, "TRIES_MAX", 1)
    monkeypatch.setattr(retrying, "HELD_MAX", held_max)
    async with first_of_two_held(world) as mended:
        assert [await mended.store.retry_due(SITE) for _ in range(2)] == applied

"""Values that came before their column never stand above what was written after them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from central.migrate import migrate
from central.store import epochs
from shared.catalog import Catalog, Column, ColumnType, Kind, Policy
from shared.catalog_file import load_catalog
from shared.changes import Op
from sync.handshake import Closure
from tests.integration.apply_world import Site, World, open_world
from tests.integration.central_world import SITES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.changes import ChangeBlock, Value

FIRST = load_catalog()
NEWEST = FIRST.version + 2
TOO_LONG = "x" * 30


def grown(step: int, length: int, *, name: str = "work_orders", high: int | None = 100) -> Catalog:
    """Return a later catalogue, in which a table has a column x of this length."""
    table = FIRST.table(name)
    x = Column("x", ColumnType(Kind.TEXT, length=length), policy=Policy.LAST_WRITE, since=2)
    columns = tuple(
        replace(c, type=replace(c.type, high=None)) if c.name == "priority" and not high else c
        for c in table.columns
    )
    others = tuple(t for t in FIRST.tables if t.name != name)
    return Catalog(FIRST.version + step, (*others, replace(table, columns=(*columns, x))))


SHORT, LONG = grown(1, 10), grown(2, 40)


def with_w_before_x(catalog: Catalog) -> Catalog:
    """Return the catalogue, in which x was called w in a release before."""
    table = catalog.table("work_orders")
    named = replace(
        table, columns=(*table.columns[:-1], replace(table.column("x"), renamed_from=("w",)))
    )
    others = tuple(t for t in catalog.tables if t.name != "work_orders")
    return Catalog(catalog.version, (*others, named))


def with_x(block: ChangeBlock, new: Value, old: Value = None) -> ChangeBlock:
    """Return the block as an end writes it that has the column."""
    return replace(
        block,
        columns=(*block.columns, "x"),
        new=[*block.new, [new] * len(block)],
        old=[*block.old, [old] * len(block)] if block.op is Op.UPDATE else [],
    )


@asynccontextmanager
async def centre_of(url: str, site: Site | None, catalog: Catalog) -> AsyncIterator[World]:
    """Migrate the centre, and have the site go on with its chain there."""
    await migrate(url, catalog, SITES)
    async with open_world(url, catalog) as world:
        if site is not None:
            site.world = world
        yield world


async def an_order(world: World, x: Value) -> tuple[Site, str, str]:
    """Return a newer site, and an order of its, with x, as id and version."""
    site = world.site(schema=NEWEST)
    order = site.order()
    base = await site.writes(with_x(site.insert("work_orders", order), x))
    return site, str(order["id"]), base


async def waiting(world: World) -> list[tuple[str, str]]:
    return await world.rows("SELECT table_name, column_name FROM sync.extra")


async def test_a_value_that_waited_never_overwrites_what_its_site_wrote_later(
    centre: str,
) -> None:
    async with open_world(centre, FIRST) as world:
        site, row_id, base = await an_order(world, TOO_LONG)
    async with centre_of(centre, site, SHORT) as world:
        assert await waiting(world) == [("work_orders", "x")]
        await site.writes(site.update("work_orders", row_id, base=base, x=(TOO_LONG, "new")))
        assert await waiting(world) == []
    async with centre_of(centre, site, LONG) as world:
        assert await world.value("SELECT x FROM mes.work_orders") == "new"


async def test_a_value_that_waited_never_overwrites_what_the_centre_wrote_later(
    centre: str,
) -> None:
    async with open_world(centre, FIRST) as world:
        site, row_id, base = await an_order(world, TOO_LONG)
    async with centre_of(centre, site, SHORT) as world:
        await world.client("UPDATE mes.work_orders SET x = 'planned' WHERE id = %s", row_id)
    async with centre_of(centre, site, LONG) as world:
        assert await world.value("SELECT x FROM mes.work_orders") == "planned"
        assert await waiting(world) == []
        assert await world.conflicts() == [("x", "last_write", "central", {"x": "planned"})]
        told = await world.one(
            "SELECT here_value::jsonb, central_value::jsonb, here_site, central_site,"
            " central_writer, tx_id::text FROM mes.sync_conflicts"
        )
        assert told == ({"x": TOO_LONG}, {"x": "planned"}, "SITE_001", "*", "planner", base)
        assert await world.rows(
            "SELECT scopes FROM sync.touched JOIN sync.table_no AS t ON t.no = table_no"
            " WHERE t.name = 'sync_conflicts'"
        ) == [(["SITE_001"],)]


async def gone_back(world: World, site: Site, n: int) -> Site:
    """Return the site after its store went back to before its transaction ``n``."""
    await epochs.close_chain(world.admin, site.name, Closure(site.epoch, n - 1, n))
    later = world.site(schema=NEWEST, at_ms=site.at_ms)
    await world.admin.execute(
        b"INSERT INTO sync.epoch (site, epoch, opened_at) VALUES (%s, %s, now())",
        [later.name, later.epoch],
    )
    return later


@pytest.mark.parametrize(("lost", "kept"), [("lost", "new"), ("new", "new")])
async def test_a_value_of_a_lost_life_that_waited_is_on_record_when_another_takes_its_place(
    centre: str, lost: str, kept: str
) -> None:
    async with open_world(centre, FIRST) as world:
        site, row_id, base = await an_order(world, "first")
        await site.writes(with_x(site.update("work_orders", row_id, base=base), lost, "first"))
        site = await gone_back(world, site, 2)
        # What came down since says that the row was written, and cannot say what.
        head = await world.head(row_id)
        change = site.update("work_orders", row_id, base=head, notes=(None, "n"))
        await site.apply(site.sends(with_x(change, kept, "first")))
        change = site.update("work_orders", row_id, base=head, notes=("n", "m"))
        await site.writes(with_x(change, "newest", kept))
        record = ("x", "last_write", "here", {"x": "new"})
        assert await world.conflicts() == ([record] if lost != kept else [])
        if lost != kept:
            found = "SELECT here_value::jsonb, central_value::jsonb FROM mes.sync_conflicts"
            assert await world.one(found) == ({"x": "new"}, {"x": "lost"})
    async with centre_of(centre, site, LONG) as world:
        assert await world.value("SELECT x FROM mes.work_orders") == "newest"


async def test_a_value_of_a_lost_life_that_broke_a_rule_is_on_record_when_the_column_is_written(
    centre: str,
) -> None:
    async with open_world(centre, FIRST) as world:
        site, row_id, base = await an_order(world, "first")
        await site.writes(with_x(site.update("work_orders", row_id, base=base), TOO_LONG, "first"))
        site = await gone_back(world, site, 2)
    async with centre_of(centre, site, SHORT) as world:
        head = await world.head(row_id)
        await site.apply(
            site.sends(site.update("work_orders", row_id, base=head, x=("first", "new")))
        )
        assert await waiting(world) == []
        assert await world.conflicts() == [("x", "last_write", "here", {"x": "new"})]
        found = "SELECT central_value::jsonb FROM mes.sync_conflicts"
        assert await world.one(found) == ({"x": TOO_LONG},)


async def test_a_write_of_other_columns_leaves_a_value_that_waits_alone(centre: str) -> None:
    async with open_world(centre, FIRST) as world:
        site, row_id, base = await an_order(world, TOO_LONG)
    async with centre_of(centre, site, SHORT) as world:
        await world.client("UPDATE mes.work_orders SET priority = 7 WHERE id = %s", row_id)
        await site.apply(
            site.sends(site.update("work_orders", row_id, base=base, notes=(None, "n")))
        )
    async with centre_of(centre, site, LONG) as world:
        found = await world.one("SELECT x, priority, notes FROM mes.work_orders")
        assert found == (TOO_LONG, 7, "n")


async def parked_before_a_newer_value(world: World) -> tuple[Site, str]:
    """Park a write of x for another column, take a later one; return the site and the ticket."""
    site, row_id, base = await an_order(world, "first")
    poor = site.update("work_orders", row_id, base=base, priority=(50, 1000))
    await site.apply(site.sends(with_x(poor, "old", "first")))
    later = site.update("work_orders", row_id, base=base, notes=(None, "n"))
    await site.writes(with_x(later, "newer", "first"))
    return site, await world.value("SELECT ticket::text FROM sync.waiting")


async def test_a_retry_leaves_the_value_that_its_site_wrote_later(centre: str) -> None:
    async with open_world(centre, FIRST) as world:
        site, ticket = await parked_before_a_newer_value(world)
        await world.admin.execute(
            b"ALTER TABLE mes.work_orders DROP CONSTRAINT priority_at_most_100"
        )
    mended = replace(grown(0, 10, high=None), version=FIRST.version)
    table = mended.table("work_orders")
    without = replace(table, columns=tuple(c for c in table.columns if c.name != "x"))
    others = tuple(t for t in mended.tables if t.name != "work_orders")
    async with open_world(centre, Catalog(FIRST.version, (*others, without))) as world:
        assert await world.store.retry(ticket)
        record = ("x", "last_write", "central", {"x": "newer"})
        assert await world.conflicts() == [record]
        assert await world.value("SELECT here_value::jsonb FROM mes.sync_conflicts") == {"x": "old"}
    async with centre_of(centre, site, SHORT) as world:
        assert await world.one("SELECT x, priority FROM mes.work_orders") == ("newer", 1000)


async def test_a_retry_gives_way_to_a_value_that_was_filled_in(centre: str) -> None:
    async with open_world(centre, FIRST) as world:
        site, ticket = await parked_before_a_newer_value(world)
    async with centre_of(centre, site, grown(1, 10, high=None)) as world:
        assert await world.value("SELECT x FROM mes.work_orders") == "newer"
        assert await world.store.retry(ticket)
        assert await world.one("SELECT x, priority FROM mes.work_orders") == ("newer", 1000)
        assert await world.conflicts() == [("x", "last_write", "central", {"x": "newer"})]


async def test_a_site_whose_store_lost_the_value_that_waited_gets_it_once_it_is_filled_in(
    centre: str,
) -> None:
    async with open_world(centre, FIRST) as world:
        site, _, _ = await an_order(world, "kept")
        order = site.order()
        base = await site.writes(with_x(site.insert("work_orders", order), "lost"))
        await epochs.close_chain(world.admin, site.name, Closure(site.epoch, 1, 2))
        await world.admin.execute(b"DELETE FROM sync.touched")
    async with centre_of(centre, site, LONG) as world:
        told = await world.rows("SELECT row_id::text, scopes FROM sync.touched")
        assert told == [(order["id"], [site.name])]
        standing = "SELECT h.version::text, w.x FROM sync.head AS h JOIN mes.work_orders AS w"
        version, x = await world.one(f"{standing} USING (id) WHERE id = %s", order["id"])
        assert (version != base, x) == (True, "lost")


async def test_the_other_sites_of_a_shared_row_get_the_value_that_waited(centre: str) -> None:
    async with open_world(centre, FIRST) as world:
        site = world.site(schema=NEWEST)
        person: dict[str, Value] = {
            "person_no": "7", "home_site_id": "SITE_001", "assigned_sites": '["SITE_002"]',
        }  # fmt: skip
        base = await site.writes(with_x(site.insert("persons", person), "seen"))
        order = await world.value("SELECT ord FROM sync.head WHERE version = %s", base)
        await world.admin.execute(b"DELETE FROM sync.touched")
    async with centre_of(centre, site, grown(2, 40, name="persons")) as world:
        assert await world.value("SELECT x FROM mes.persons") == "seen"
        assert await world.value("SELECT scopes FROM sync.touched") == ["SITE_001", "SITE_002"]
        # A later head, or the other sites would take it for the one that they have.
        version, later = await world.one("SELECT version::text, ord FROM sync.head")
        assert (version != base, later > order) == (True, True)
        row_id = await world.value("SELECT id::text FROM mes.persons")
        # Its site may build on what it had: the value is its own.
        outcome = await site.apply(
            site.sends(site.update("persons", row_id, base=base, x=("seen", "later")))
        )
        assert (outcome.conflicts, outcome.parked) == ({}, 0)
        assert await world.value("SELECT x FROM mes.persons") == "later"


@pytest.mark.parametrize("first", [True, False])
async def test_of_two_values_for_one_column_the_later_one_is_filled_in(
    centre: str, first: bool
) -> None:
    async with open_world(centre, FIRST) as world:
        site, row_id, base = await an_order(world, "a" if first else "b")
        change = with_x(site.update("work_orders", row_id, base=base), "b" if first else "a")
        await site.writes(replace(change, columns=("w",), old=[[None]]))
    async with centre_of(centre, site, with_w_before_x(grown(1, 10))) as world:
        assert await world.value("SELECT x FROM mes.work_orders") == ("b" if first else "a")
        assert await waiting(world) == []


async def told(world: World) -> list[str]:
    """Return the orders that lie ready to be told to their site."""
    found = await world.rows(
        "SELECT row_id::text FROM sync.touched JOIN sync.table_no AS t ON t.no = table_no"
        " WHERE t.name = 'work_orders' AND scopes = ARRAY['SITE_001']"
    )
    return [row_id for (row_id,) in found]


@pytest.mark.parametrize("discarded", [True, False])
async def test_a_site_learns_that_the_value_of_a_parked_change_does_not_count_with_the_column(
    centre: str, discarded: bool
) -> None:
    """Until then we had no column to tell it by, and it showed the value on."""
    async with open_world(centre, FIRST) as world:
        site = world.site(schema=NEWEST)
        orders = [site.order(order_no=number) for number in ("WO-1", "WO-2")]
        base = await site.writes(with_x(site.insert("work_orders", *orders), None))
        row_id = str(orders[1]["id"])
        change = site.update("work_orders", row_id, base=base, order_no=("WO-2", "WO-1"))
        assert (await site.apply(site.sends(with_x(change, "not taken")))).parked == 1
        if discarded:
            ticket = await world.value("SELECT id::text FROM mes.sync_parked")
            assert await world.store.discard(ticket, "ann")
        await world.admin.execute("DELETE FROM sync.touched")
    async with centre_of(centre, site, LONG) as world:
        assert await told(world) == [row_id]
        await world.admin.execute("DELETE FROM sync.touched")
    async with centre_of(centre, site, LONG) as world:
        assert await told(world) == []


@pytest.mark.parametrize("name", ["x", "w"])
async def test_a_site_learns_that_a_parked_value_does_not_count_where_we_skipped_a_release(
    centre: str, name: str
) -> None:
    async with open_world(centre, FIRST) as world:
        site = world.site(schema=NEWEST)
        orders = [site.order(order_no=number) for number in ("WO-1", "WO-2")]
        base = await site.writes(site.insert("work_orders", *orders))
        row_id = str(orders[1]["id"])
        change = with_x(
            site.update("work_orders", row_id, base=base, order_no=("WO-2", "WO-1")), "not taken"
        )
        change = replace(change, columns=(*change.columns[:-1], name))
        assert (await site.apply(site.sends(change))).parked == 1
        await world.admin.execute("DELETE FROM sync.touched")
    async with centre_of(centre, site, with_w_before_x(LONG)) as world:
        assert await told(world) == [row_id]

"""A schema grows at one end first: nothing is lost, and nothing is sent for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from central.migrate import migrate
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from tests.integration.central_world import CATALOG, SITES, execute
from tests.integration.whole_world import whole_world

SITE = SITES[0]
ORDER = (
    "INSERT INTO work_orders (order_no, source, qty_ordered, uom)"
    " VALUES ('{}', 'LOCAL', '1', 'pcs')"
)
TEXT = ColumnType(Kind.TEXT, length=100)


def grown(change) -> Catalog:
    """Return the catalogue with another work_orders, of the next version."""
    tables = [t for t in CATALOG.tables if t.name != "work_orders"]
    return Catalog(CATALOG.version + 1, (*tables, change(CATALOG.table("work_orders"))))


def with_column(table: Table) -> Table:
    colour = Column("colour", TEXT, policy=Policy.LAST_WRITE, since=2)
    return replace(table, columns=(*table.columns, colour))


def with_rename(table: Table) -> Table:
    columns = tuple(
        replace(c, name="remarks", renamed_from=("notes",), since=c.since)
        if c.name == "notes"
        else c
        for c in table.columns
    )
    groups = tuple(g for g in table.groups if g.columns != ("notes",))
    return replace(table, columns=columns, groups=groups)


def with_wider(table: Table) -> Table:
    columns = tuple(
        replace(c, type=ColumnType(Kind.TEXT, length=200)) if c.name == "customer_ref" else c
        for c in table.columns
    )
    return replace(table, columns=columns)


MACHINES = Table(
    "coolant_checks",
    Direction.BOTH,
    (
        Column("machine", TEXT, nullable=False),
        Column("ph", ColumnType(Kind.DECIMAL, precision=6, scale=2)),
        Column("changed_by", TEXT, writer=True),
    ),
    natural_keys=(("machine",),),
)


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        world.edges[SITE].write(ORDER.format("before"))
        await world.settle()
        yield world


async def grow_centre(world, catalog) -> None:
    await world.stop_centre()
    await migrate(world.url, catalog, SITES)
    await world.start_centre(catalog)


async def grow_edge(world, catalog) -> None:
    edge = world.edges[SITE]
    await edge.stop()
    edge.catalog = catalog
    await edge.start()
    await world.eventually(lambda: _opened(edge, catalog))


def _opened(edge, catalog) -> bool:
    return bool(edge.read("SELECT 1 FROM _sync_catalogue WHERE digest = ?", catalog.digest))


async def sent(world) -> tuple:
    """What crossed the wire so far: transactions up, entries down."""
    return (
        await world.central("SELECT site, last_n FROM sync.epoch ORDER BY site"),
        await world.central(
            "SELECT scope, count(*) FROM sync.feed WHERE length(body) > 90 GROUP BY 1 ORDER BY 1"
        ),
    )


async def test_a_column_added_at_the_centre_first_and_then_at_the_edge(world):
    catalog, edge = grown(with_column), world.edges[SITE]
    before = await sent(world)
    await grow_centre(world, catalog)
    await world.settle()
    assert await sent(world) == before
    await execute(world.url, "UPDATE mes.work_orders SET colour = 'red', priority = 7")
    edge.write("UPDATE work_orders SET notes = 'old edge'")
    edge.write(ORDER.format("meanwhile"))
    await world.eventually(lambda: edge.read("SELECT 1 FROM work_orders WHERE priority = 7"))
    await grow_edge(world, catalog)
    await world.settle()
    assert edge.read("SELECT order_no, colour, notes FROM work_orders ORDER BY 1") == [
        ("before", "red", "old edge"),
        ("meanwhile", None, None),
    ]


async def test_a_column_added_at_the_edge_first_and_then_at_the_centre(world):
    catalog, edge = grown(with_column), world.edges[SITE]
    before = await sent(world)
    await grow_edge(world, catalog)
    edge.write("UPDATE work_orders SET colour = 'blue', priority = 8")
    await world.eventually(lambda: _at_centre(world, "priority = 8"))
    assert await world.central("SELECT 1 FROM mes.sync_parked") == []
    await grow_centre(world, catalog)
    await world.settle()
    assert await world.central("SELECT colour, priority FROM mes.work_orders") == [("blue", 8)]
    assert (await sent(world))[0] == [(SITE, before[0][0][1] + 1)]


async def test_a_column_renamed_at_the_centre_first_keeps_what_both_ends_write(world):
    catalog, edge = grown(with_rename), world.edges[SITE]
    edge.write("UPDATE work_orders SET notes = 'first'")
    await world.settle()
    before = await sent(world)
    await grow_centre(world, catalog)
    await world.settle_counts()
    assert await sent(world) == before
    assert await world.central("SELECT remarks FROM mes.work_orders") == [("first",)]
    await execute(world.url, "UPDATE mes.work_orders SET remarks = 'by the centre'")
    await world.eventually(
        lambda: edge.read("SELECT 1 FROM work_orders WHERE notes = 'by the centre'")
    )
    edge.write("UPDATE work_orders SET notes = 'by the old edge'")
    await world.eventually(lambda: _at_centre(world, "remarks = 'by the old edge'"))
    await grow_edge(world, catalog)
    await world.settle()
    assert edge.read("SELECT remarks FROM work_orders") == [("by the old edge",)]


async def test_a_column_renamed_at_the_edge_first_keeps_what_both_ends_write(world):
    catalog, edge = grown(with_rename), world.edges[SITE]
    edge.write("UPDATE work_orders SET notes = 'first'")
    await world.settle()
    await grow_edge(world, catalog)
    assert edge.read("SELECT remarks FROM work_orders") == [("first",)]
    await execute(world.url, "UPDATE mes.work_orders SET notes = 'by the centre'")
    await world.eventually(
        lambda: edge.read("SELECT 1 FROM work_orders WHERE remarks = 'by the centre'")
    )
    edge.write("UPDATE work_orders SET remarks = 'by the new edge', priority = 3")
    await world.eventually(lambda: _at_centre(world, "priority = 3"))
    await grow_centre(world, catalog)
    await world.settle()
    assert await world.central("SELECT remarks FROM mes.work_orders") == [("by the new edge",)]


async def test_rows_written_before_and_after_a_rename_while_cut_off_each_keep_their_columns(world):
    """All of it is sent at once, by an agent that first runs after the change."""
    catalog, edge = grown(with_rename), world.edges[SITE]
    edge.write(ORDER.format("both"))
    await world.settle()
    await edge.stop()
    edge.write("UPDATE work_orders SET notes = 'old name', customer_comment = 'c1'")
    edge.write(ORDER.format("made before"), "UPDATE work_orders SET assigned_line = 'L1'")
    edge.catalog = catalog
    edge.open().close()
    edge.write("UPDATE work_orders SET remarks = 'new name' WHERE order_no = 'both'")
    edge.write(ORDER.format("made after"), "UPDATE work_orders SET customer_ref = 'r1'")
    await grow_centre(world, catalog)
    await edge.start()
    await world.settle()
    rows = (
        "SELECT order_no, remarks, customer_comment, assigned_line, customer_ref FROM {} ORDER BY 1"
    )
    wanted = [
        ("before", "old name", "c1", "L1", "r1"),
        ("both", "new name", "c1", "L1", "r1"),
        ("made after", None, None, None, "r1"),
        ("made before", None, None, "L1", "r1"),
    ]
    assert sorted(await world.central(rows.format("mes.work_orders"))) == wanted
    assert sorted(edge.read(rows.format("work_orders"))) == wanted
    assert await world.central("SELECT 1 FROM mes.sync_conflicts") == []


async def test_a_text_widened_at_the_edge_first_waits_for_the_centre_and_is_not_lost(world):
    catalog, edge = grown(with_wider), world.edges[SITE]
    await grow_edge(world, catalog)
    edge.write(("UPDATE work_orders SET customer_ref = ?", ("x" * 150,)))
    edge.write(ORDER.format("others go on"))
    await world.eventually(lambda: _at_centre(world, "order_no = 'others go on'"))
    await grow_centre(world, catalog)
    await world.eventually(lambda: _at_centre(world, "length(customer_ref) = 150"))
    await world.settle()


async def test_a_plants_own_table_added_at_the_edge_first_waits_whole(world):
    catalog = Catalog(CATALOG.version + 1, (*CATALOG.tables, MACHINES))
    edge = world.edges[SITE]
    await grow_edge(world, catalog)
    edge.write("INSERT INTO coolant_checks (machine, ph) VALUES ('M1', '8.45')")
    edge.write("UPDATE coolant_checks SET ph = '8.5'")
    edge.write(ORDER.format("others go on"))
    await world.eventually(lambda: _at_centre(world, "order_no = 'others go on'"))
    await grow_centre(world, catalog)
    await world.eventually(lambda: _rows(world, "SELECT 1 FROM mes.coolant_checks"))
    await world.settle()
    assert await world.central("SELECT machine, ph::text FROM mes.coolant_checks") == [
        ("M1", "8.50")
    ]


async def test_a_table_added_at_the_centre_first_reaches_the_edge_when_it_has_it(world):
    catalog = Catalog(CATALOG.version + 1, (*CATALOG.tables, MACHINES))
    edge = world.edges[SITE]
    await grow_centre(world, catalog)
    await execute(
        world.url,
        "INSERT INTO mes.coolant_checks (id, site_id, created_at, machine, ph)"
        f" VALUES (uuidv7(), '{SITE}', now(), 'M2', 7.1)",
        "UPDATE mes.work_orders SET priority = 6",
    )
    await world.eventually(lambda: edge.read("SELECT 1 FROM work_orders WHERE priority = 6"))
    await grow_edge(world, catalog)
    await world.settle()
    assert edge.read("SELECT machine, ph FROM coolant_checks") == [("M2", "7.1")]


async def _at_centre(world, condition: str) -> bool:
    return await _rows(world, f"SELECT 1 FROM mes.work_orders WHERE {condition}")


async def _rows(world, query: str) -> bool:
    return bool(await world.central(query))

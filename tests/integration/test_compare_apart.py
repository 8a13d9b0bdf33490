"""Ends of different releases, sites that may not see one another, repairs cut short."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from psycopg_pool import AsyncConnectionPool

from central.compare import Comparing
from central.feed import Sequencer
from central.migrate import migrate
from central.roles import as_role
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Table
from shared.errors import MalformedMessage, UnknownColumn
from tests.faults.cases import planned_orders
from tests.integration.central_world import CATALOG, SITES, connect, execute, fetch
from tests.integration.compare_world import counts, tampered, tampered_there, verify
from tests.integration.test_compare import orders, reports
from tests.integration.whole_world import whole_world, world  # noqa: F401

SITE, OTHER = SITES[:2]
SHIFTS = Table("shifts", Direction.BOTH, (Column("label", ColumnType(Kind.TEXT)),))
COLOUR = Column("colour", ColumnType(Kind.TEXT, length=20), since=2)
ORDERS = CATALOG.table("work_orders")
WIDER = replace(ORDERS, columns=(*ORDERS.columns, COLOUR))
NEXT = Catalog(
    CATALOG.version + 1, (*(WIDER if t is ORDERS else t for t in CATALOG.tables), SHIFTS)
)
EPOCH = "01a00000-0000-7000-8000-000000000000"


@pytest.fixture
async def comparing(centre):
    pool = AsyncConnectionPool(as_role(centre, "mes_ingest"), min_size=1, open=False)
    async with pool:
        yield Comparing(pool, CATALOG)


def skipped(report):
    return {each.table: each.skipped for each in report.tables if each.skipped}


async def test_columns_and_tables_that_only_the_centre_has_are_no_difference(world):
    edge = world.edges[SITE]
    edge.write(orders(20))
    await world.settle()
    await world.stop_centre()
    await migrate(world.url, NEXT, SITES)
    await world.start_centre(NEXT)
    await execute(
        world.url,
        "UPDATE mes.work_orders SET colour = 'red', priority = 7 WHERE order_no = 'WO-3'",
        f"INSERT INTO mes.shifts (site_id, label) VALUES ('{SITE}', 'early')",
    )
    await world.settle_counts()
    report = await verify(edge)
    assert (report.found, report.whole) == (0, True)
    assert "shifts" in skipped(report)
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-3'")
    repaired = await verify(edge, repair=True)
    assert (counts(repaired), repaired.differing) == ({"work_orders": (1, 0, 0)}, 0)


async def test_columns_and_tables_that_only_the_site_has_are_told_and_left_out(world):
    edge = world.edges[SITE]
    edge.write(orders(20))
    await world.settle()
    await edge.stop()
    edge.catalog = NEXT
    await edge.start()
    await world.eventually(lambda: edge.read("SELECT 1 FROM sqlite_master WHERE name = 'shifts'"))
    edge.write("UPDATE work_orders SET colour = 'red', priority = 7 WHERE order_no = 'WO-3'")
    edge.write("INSERT INTO shifts (label) VALUES ('early')")
    await world.settle_counts()
    report = await verify(edge)
    assert (report.found, report.whole) == (0, False)
    assert "shifts" in skipped(report)
    (of_orders,) = [each for each in report.tables if each.table == "work_orders"]
    assert of_orders.unknown == ("colour",)


async def test_an_unknown_table_is_refused_by_name(world):
    with pytest.raises(Exception, match="neither end has a table nonsense"):
        await verify(world.edges[SITE], "nonsense")


async def test_no_question_brings_a_row_of_another_site(centre, nats_server, tmp_path, comparing):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE, OTHER)) as world:
        await world.settle()
        for edge in world.edges.values():
            edge.write(orders(3, edge.site), reports(3))
        await world.settle()
        found = await world.central(
            "SELECT site_id, created_at, id::text FROM mes.work_orders WHERE site_id = %s", OTHER
        )
        world.edges[OTHER].write(f"DELETE FROM work_orders WHERE order_no = '{OTHER}-3'")
        await world.settle()
        of_other = f"SELECT id, version FROM sync.head WHERE site_id = '{OTHER}' ORDER BY id"
        heads = await world.central(of_other)
        keys = [
            [site, f"{made:%Y-%m-%dT%H:%M:%S}.{made.microsecond // 1000:03d}Z", row_id]
            for site, made, row_id in found
        ]
        of_orders = {"table": "work_orders", "columns": list(ORDERS.names)}
        cut = {"digits": 1}
        sums = await comparing.answer(SITE, {"kind": "sums", "cut": cut, **of_orders})
        rows = await comparing.answer(SITE, {"kind": "rows", "cut": cut, **of_orders})
        look = await comparing.answer(
            SITE, {"kind": "look", "keys": keys, "epoch": EPOCH, **of_orders}
        )
        assert sum(sums["rows"]) == 3
        assert set(rows["sites"]) == {SITE}
        assert [row[-1] for row in look["rows"]] == [None] * 3
        lies = [None] * len(ORDERS.names)  # what the site claims to have instead
        items = [[*key, row[3], lies, key[:2]] for key, row in zip(keys, look["rows"], strict=True)]
        run = {"run": str(uuid.uuid4()), "began_at": "2026-11-26T10:00:00.000Z"}
        answer = await comparing.answer(
            SITE, {"kind": "repair", "items": items, **of_orders, **run}
        )
        assert answer == {"actions": ["sent"] * 3}
        await world.settle()
        assert await world.central(of_other) == heads
        recorded = "SELECT DISTINCT central_value::text FROM mes.sync_conflicts"
        assert await world.central(recorded) == [("{}",)]
        assert world.edges[SITE].read("SELECT count(*) FROM work_orders") == [(3,)]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"kind": "nonsense"},
        {"kind": "sums", "table": "work_orders", "columns": ["notes"], "cut": {"digits": 9}},
        {"kind": "sums", "table": "work_orders", "columns": ["notes"], "cut": {"digits": 0}},
        {"kind": "sums", "table": "job_responses", "columns": [], "cut": {"since": "x' OR 1=1"}},
        {"kind": "sums", "table": "work_orders", "columns": 7, "cut": {"digits": 1}},
        {"kind": "rows", "table": "work_orders", "columns": [], "cut": {"digits": 1},
         "after": "zz"},
        {"kind": "rows", "table": "work_orders", "columns": [],
         "cut": {"digits": 1, "endings": ["%"]}},
        {"kind": "look", "table": "work_orders", "columns": [], "epoch": "?", "keys": []},
        {"kind": "look", "table": "work_orders", "columns": [], "epoch": EPOCH, "keys": [["a"]]},
    ],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_refused_as_malformed(comparing, asked):
    with pytest.raises(MalformedMessage):
        await comparing.answer(SITE, asked)


async def test_a_question_for_a_column_that_is_none_is_refused_by_name(comparing):
    asked = {"kind": "sums", "table": "work_orders", "columns": ["notes; DROP TABLE mes.persons"]}
    with pytest.raises(UnknownColumn, match="has no column"):
        await comparing.answer(SITE, asked | {"cut": {"digits": 1}})


async def test_a_change_of_the_centre_that_is_in_no_feed_yet_is_told_as_queued(centre, comparing):
    await execute(centre, planned_orders("A"))
    ((row_id, made),) = await fetch(
        centre, "SELECT id::text, created_at::text FROM mes.work_orders"
    )
    asked = {"kind": "look", "table": "work_orders", "columns": ["notes"], "epoch": EPOCH,
             "keys": [[SITE, made, row_id]]}  # fmt: skip

    async def queued():
        (row,) = (await comparing.answer(SITE, asked))["rows"]
        return row[7]

    assert await queued() is True
    async with connect(centre, autocommit=False) as connection:
        await Sequencer(connection, CATALOG).step(now_ms=1)
    assert await queued() is False


async def test_a_repair_that_is_asked_for_twice_has_one_effect(world, comparing):
    edge = world.edges[SITE]
    edge.write(orders(5))
    await world.settle()
    await edge.stop()
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-2'")
    ((row_id, made, notes),) = edge.read(
        "SELECT id, created_at, notes FROM work_orders WHERE order_no = 'WO-2'"
    )
    ((version,),) = await world.central("SELECT version::text FROM sync.head WHERE id = %s", row_id)
    asked = {
        "kind": "repair", "table": "work_orders", "columns": ["notes"], "run": str(uuid.uuid4()),
        "began_at": "2026-11-26T10:00:00.000Z",
        "items": [[SITE, made, row_id, version, [notes], [SITE, made]]],
    }  # fmt: skip
    assert await comparing.answer(SITE, asked) == {"actions": ["sent"]}
    assert await comparing.answer(SITE, asked) == {"actions": ["moved"]}
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(1,)]
    await edge.start()
    await world.settle()


async def test_a_repair_that_was_cut_short_is_ended_by_the_next_one(world, comparing):
    edge = world.edges[SITE]
    edge.write(orders(5), reports(5))
    await world.settle()
    tampered(edge, "DELETE FROM job_responses WHERE _seq = 2")
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-2'")
    await tampered_there(
        world, "DELETE FROM mes.work_orders WHERE order_no = 'WO-4'",
        "DELETE FROM mes.job_responses WHERE qty_good = 5",
    )  # fmt: skip
    await edge.stop()  # so that nothing of what is repaired arrives
    first = await verify(edge, repair=True, patience_s=1.0)
    assert counts(first) == {"work_orders": (1, 0, 1), "job_responses": (0, 1, 1)}
    await edge.start()
    await world.settle_counts()
    assert (await verify(edge, repair=True)).differing == 0
    assert (await verify(edge)).found == 0
    await world.settle()
    records = await world.central("SELECT count(*), count(DISTINCT row_id) FROM mes.sync_conflicts")
    assert records == [(3, 3)]

"""Both ends compare what they hold, name the rows that differ, and repair just those."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.central_world import SITES, execute
from tests.integration.compare_world import counts, tampered, tampered_there, verify
from tests.integration.whole_world import world  # noqa: F401

SITE = SITES[0]


def orders(count, prefix="WO"):
    return f"""WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {count})
        INSERT INTO work_orders (order_no, source, qty_ordered, uom, notes)
        SELECT '{prefix}-' || n, 'LOCAL', '10', 'pcs', 'line one' || char(10) || 'two' FROM k"""


def reports(count):
    return f"""WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {count})
        INSERT INTO job_responses (report_type, qty_good, equipment_id)
        SELECT 'PRODUCTION', n, '01a00000-0000-7000-8000-000000000001' FROM k"""


async def test_equal_stores_say_that_they_are_equal_table_by_table(world):
    edge = world.edges[SITE]
    edge.write(orders(300), reports(500))
    await world.settle()
    report = await verify(edge)
    assert (report.found, report.whole, counts(report)) == (0, True, {})
    compared = {each.table: each.rows for each in report.tables if not each.skipped}
    assert compared["work_orders"] == 300
    assert compared["job_responses"] == 500
    assert set(compared) == {table.name for table in edge.catalog.tables}
    assert report.sent_bytes + report.received_bytes < 40_000


async def test_two_differing_rows_are_two_different_none_missing_none_extra(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    tampered(
        edge,
        "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-7'",
        "UPDATE work_orders SET priority = 3, notes = NULL WHERE order_no = 'WO-8'",
    )
    report = await verify(edge)
    assert counts(report) == {"work_orders": (2, 0, 0)}
    named = {each.name: dict(each.columns) for each in report.differences}
    assert named["WO-7"] == {"notes": ("mine", "line one\ntwo")}
    assert set(named["WO-8"]) == {"notes", "priority"}
    assert {each.cause for each in report.differences} == {"altered_here"}


async def test_repair_brings_back_the_centres_row_and_keeps_what_it_displaced(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-7'")
    report = await verify(edge, repair=True)
    assert (report.found, report.differing) == (1, 0)
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'WO-7'") == [
        ("line one\ntwo",)
    ]
    assert (await verify(edge)).found == 0
    await world.settle()
    records = "SELECT policy, verdict, here_value, central_value FROM sync_conflicts"
    assert edge.read(records) == [
        ("repair", "central", '{"notes":"mine"}', '{"notes":"line one\\ntwo"}')
    ]


async def test_a_row_changed_at_the_centre_past_the_triggers_is_found_and_sent(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    await tampered_there(world, "UPDATE mes.work_orders SET notes = 'x' WHERE order_no = 'WO-9'")
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (1, 0, 0)}
    assert report.differing == 0
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'WO-9'") == [("x",)]


async def test_the_end_that_was_altered_is_told_by_what_the_other_was_sent(world):
    edge = world.edges[SITE]
    edge.write(orders(6))
    await world.settle()
    await execute(
        world.url, "UPDATE mes.work_orders SET priority = 7 WHERE order_no IN ('WO-1', 'WO-2')"
    )
    await world.settle()
    tampered(edge, "UPDATE work_orders SET priority = 8 WHERE order_no IN ('WO-1', 'WO-3')")
    await tampered_there(
        world, "UPDATE mes.work_orders SET priority = 9 WHERE order_no IN ('WO-2', 'WO-4')",
        "DELETE FROM mes.work_orders WHERE order_no = 'WO-5'",
    )  # fmt: skip
    report = await verify(edge)
    assert {each.name: each.cause for each in report.differences} == {
        "WO-1": "altered_here",
        "WO-2": "altered_at_the_centre",
        "WO-3": "altered_here",
        "WO-4": "altered_at_the_centre",
        "WO-5": "altered_at_the_centre",
    }
    edge.write("DELETE FROM _sync_out")  # once it is safe, nobody knows any more
    (of_four,) = [each for each in (await verify(edge)).differences if each.name == "WO-4"]
    assert of_four.cause == "altered"


async def test_a_row_that_is_lost_here_comes_back(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    tampered(edge, "DELETE FROM work_orders WHERE order_no = 'WO-9'")
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (0, 1, 0)}
    assert report.differing == 0
    await world.settle()


async def test_a_row_that_nobody_captured_is_sent_up(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    tampered(
        edge,
        "INSERT INTO work_orders (order_no, source, qty_ordered, uom)"
        " VALUES ('NEW', 'LOCAL', '1', 'pcs')",
    )
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (0, 0, 1)}
    assert report.differing == 0
    await world.settle()
    assert await world.central("SELECT 1 FROM mes.work_orders WHERE order_no = 'NEW'")


async def test_a_row_that_was_lost_at_the_centre_comes_back_from_its_site(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    await tampered_there(world, "DELETE FROM mes.work_orders WHERE order_no = 'WO-9'")
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (0, 0, 1)}
    assert report.differing == 0
    await world.settle()
    assert await world.central("SELECT notes FROM mes.work_orders WHERE order_no = 'WO-9'")
    edge.write("UPDATE work_orders SET notes = 'goes on' WHERE order_no = 'WO-9'")
    await world.settle()
    assert await world.central("SELECT reason FROM mes.sync_parked") == []


async def test_the_natural_key_of_a_row_that_was_put_back_is_its_own_again(world):
    edge = world.edges[SITE]
    edge.write(orders(5))
    await world.settle()
    await tampered_there(
        world, "DELETE FROM mes.work_orders WHERE order_no = 'WO-4'", "DELETE FROM sync.row_key"
    )
    assert (await verify(edge, repair=True)).differing == 0
    another = (
        "INSERT INTO mes.work_orders (site_id, order_no, source, qty_ordered, uom)"
        f" VALUES ('{SITE}', 'WO-4', 'ERP', 5, 'pcs')"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        await execute(world.url, another)


async def test_a_row_that_stands_under_a_version_nobody_knows_is_sent_as_new(world):
    edge = world.edges[SITE]
    edge.write(orders(5))
    await world.settle()
    tables = ("mes.work_orders", "sync.row_key", "sync.head", "sync.version")
    await tampered_there(world, *(f"DELETE FROM {table}" for table in tables))
    assert edge.read("SELECT count(*) FROM _sync_row WHERE version IS NOT NULL") != [(0,)]
    report = await verify(edge, "work_orders", repair=True)
    assert (counts(report), report.differing) == ({"work_orders": (0, 0, 5)}, 0)
    await world.settle_counts()
    assert await world.central("SELECT count(*) FROM mes.work_orders") == [(5,)]
    assert await world.central("SELECT reason FROM mes.sync_parked") == []


async def test_a_row_deleted_at_the_centre_that_stands_here_is_taken_away(world):
    edge = world.edges[SITE]
    edge.write(orders(50))
    await world.settle()
    ((row, *values),) = edge.read("SELECT * FROM work_orders WHERE order_no = 'WO-9'")
    edge.write("DELETE FROM work_orders WHERE order_no = 'WO-9'")
    await world.settle()
    marks = ", ".join("?" * (len(values) + 1))
    with_flag = edge.program()
    with_flag.execute("UPDATE _sync_applying SET flag = 1")
    with_flag.execute(f"INSERT INTO work_orders VALUES ({marks})", (row, *values))
    with_flag.execute("UPDATE _sync_applying SET flag = 0")
    with_flag.close()
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (0, 0, 1)}
    assert report.differing == 0
    await world.settle()
    assert edge.read("SELECT here_value FROM sync_conflicts")[0][0].startswith('{"order_no":"WO-9"')


async def test_facts_missing_at_either_end_are_sent_to_it(world):
    edge = world.edges[SITE]
    edge.write(reports(300))
    await world.settle()
    tampered(edge, "DELETE FROM job_responses WHERE _seq BETWEEN 20 AND 22")
    await tampered_there(
        world, "DELETE FROM mes.job_responses WHERE qty_good BETWEEN 100 AND 104",
        "DELETE FROM mes.job_responses WHERE qty_good = 300",
    )  # fmt: skip
    report = await verify(edge, repair=True)
    assert counts(report) == {"job_responses": (0, 3, 6)}
    assert report.differing == 0
    await world.settle()
    assert await world.central("SELECT count(*) FROM mes.job_responses") == [(300,)]
    assert edge.read("SELECT code FROM _sync_event WHERE code = 'MES-JOURNAL-RESTARTED'") == []


async def test_a_fact_with_other_content_is_parked_and_overwritten_at_neither_end(world):
    edge = world.edges[SITE]
    edge.write(reports(20))
    await world.settle()
    tampered(edge, "UPDATE job_responses SET qty_good = '999' WHERE _seq = 5")
    report = await verify(edge, repair=True)
    assert counts(report) == {"job_responses": (1, 0, 0)}
    assert report.differing == 0
    again = await verify(edge)
    assert (again.found, sum(each.parked for each in again.tables)) == (0, 1)
    assert edge.read("SELECT count(*) FROM job_responses WHERE qty_good = '999'") == [(1,)]
    assert await world.central("SELECT count(*) FROM mes.job_responses WHERE qty_good = 999") == [
        (0,)
    ]
    assert await world.central("SELECT reason FROM mes.sync_parked") == [("id_taken",)]


async def test_created_at_changed_past_the_guards_is_put_right(world):
    edge = world.edges[SITE]
    edge.write(orders(5), reports(5))
    await world.settle()
    tampered(
        edge,
        "UPDATE work_orders SET created_at = '2020-01-01T00:00:00.000Z' WHERE order_no = 'WO-2'",
        "UPDATE job_responses SET created_at = '2020-01-01T00:00:00.000Z' WHERE _seq = 2",
    )
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (1, 0, 0), "job_responses": (1, 0, 0)}
    assert {tuple(each.columns) for each in report.differences} == {("created_at",)}
    assert report.differing == 0
    await world.settle()


async def test_rows_of_the_centre_changed_here_are_put_right_too(world):
    edge = world.edges[SITE]
    await execute(
        world.url,
        "INSERT INTO mes.material_definitions (site_id, material_code, description)"
        " VALUES ('*', 'M1', 'steel'), ('*', 'M2', 'brass')",
    )
    await world.settle()
    tampered(
        edge,
        "UPDATE material_definitions SET description = 'gold' WHERE material_code = 'M1'",
        "DELETE FROM material_definitions WHERE material_code = 'M2'",
    )
    report = await verify(edge, repair=True)
    assert counts(report) == {"material_definitions": (1, 1, 0)}
    assert report.differing == 0
    await world.settle()


async def test_values_that_no_column_may_hold_are_named_and_put_right(world):
    edge = world.edges[SITE]
    edge.write(orders(5), reports(5))
    await world.settle()
    tampered(
        edge,
        "UPDATE work_orders SET notes = 'a' || char(0) || 'b' WHERE order_no = 'WO-1'",
        "UPDATE work_orders SET notes = CAST(x'fffe' AS TEXT) WHERE order_no = 'WO-2'",
        "UPDATE work_orders SET created_at = '2026-99-99T00:00:00.000Z' WHERE order_no = 'WO-3'",
        "UPDATE work_orders SET qty_ordered = 'ten' WHERE order_no = 'WO-4'",
        "UPDATE job_responses SET created_at = 'yesterday' WHERE qty_good = '4'",
    )
    report = await verify(edge, repair=True)
    assert counts(report) == {"work_orders": (4, 0, 0), "job_responses": (1, 0, 0)}
    assert report.differing == 0
    await world.settle()


async def test_many_facts_lost_at_the_centre_are_all_sent_again(world):
    edge = world.edges[SITE]
    edge.write(reports(6_000))
    await world.settle()
    await tampered_there(world, "DELETE FROM mes.job_responses WHERE qty_good > 1000")
    report = await verify(edge, repair=True)
    assert counts(report) == {"job_responses": (0, 0, 5_000)}
    assert (report.differing, len(report.differences)) == (0, 200)
    await world.settle()

"""What is on its way, set aside, parked or dropped by retention is no difference."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from central.roles import as_role
from central.store import CentralStore
from tests.integration.central_world import CATALOG, SITES, execute
from tests.integration.compare_world import counts, tampered, verify
from tests.integration.test_compare import orders, reports
from tests.integration.whole_world import world  # noqa: F401

SITE, OTHER = SITES[:2]


def total(report, name):
    return sum(getattr(each, name) for each in report.tables)


class Program:
    """Writes orders, old and new, and facts, without pause."""

    def __init__(self, edge):
        self._edge, self._stop = edge, threading.Event()
        self.commits = 0

    def run(self):
        with contextlib.closing(self._edge.program()) as store:
            while not self._stop.is_set():
                self.commits += 1
                store.execute("BEGIN IMMEDIATE")
                row = self.commits % 200 + 1
                store.execute(
                    "UPDATE work_orders SET notes = ? WHERE order_no = ?",
                    (str(self.commits), f"WO-{row}"),
                )
                store.execute(orders(2, f"N{self.commits}"))
                store.execute(reports(3))
                store.execute("COMMIT")
                self._stop.wait(0.004)

    def stop(self):
        self._stop.set()


async def centre_writes(world, until):
    number = 0
    while not until.is_set():
        number += 1
        await execute(
            world.url,
            f"UPDATE mes.work_orders SET priority = {number % 90} WHERE order_no IN"
            f" ('WO-{number % 200 + 1}', 'WO-{(number * 7) % 200 + 1}')",
        )
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_nothing_differs_while_both_ends_write_without_pause(world):
    edge = world.edges[SITE]
    edge.write(orders(400), reports(500))
    await world.settle()
    program, until = Program(edge), asyncio.Event()
    running = asyncio.create_task(asyncio.to_thread(program.run))
    writing = asyncio.create_task(centre_writes(world, until))
    try:
        found = [await verify(edge, "work_orders", "job_responses") for _ in range(4)]
        tampered(edge, "UPDATE work_orders SET assigned_line = 'mine' WHERE order_no = 'WO-301'")
        tampered(edge, "DELETE FROM job_responses WHERE _seq = 250")
        last = await verify(edge, "work_orders", "job_responses")
    finally:
        program.stop()
        until.set()
        await running
        await writing
    assert program.commits > 200
    assert [counts(each) for each in found] == [{}] * 4
    assert counts(last) == {"work_orders": (1, 0, 0), "job_responses": (0, 1, 0)}
    await world.settle_counts(60)
    assert (await verify(edge, repair=True)).differing == 0
    await world.settle(60)


async def test_undecided_writes_are_counted_and_not_taken_for_differences(world):
    edge = world.edges[SITE]
    edge.write(orders(40), reports(40))
    await world.settle()
    await edge.stop()
    edge.write("UPDATE work_orders SET notes = 'later' WHERE order_no = 'WO-3'", reports(2))
    edge.write("DELETE FROM work_orders WHERE order_no = 'WO-4'", orders(1, "NEW"))
    report = await verify(edge, "work_orders", "job_responses", patience_s=1.0)
    assert (report.found, total(report, "moving")) == (0, 5)
    repaired = await verify(edge, "work_orders", repair=True, patience_s=1.0)
    assert (repaired.found, total(repaired, "repaired")) == (0, 0)
    await edge.start()
    await world.settle()
    assert (await verify(edge)).found == 0


async def test_a_row_that_made_way_for_another_is_no_difference(world):
    edge = world.edges[SITE]
    await edge.stop()
    edge.write(orders(1, "SAME"))
    await execute(
        world.url,
        "INSERT INTO mes.work_orders (site_id, order_no, source, qty_ordered, uom)"
        f" VALUES ('{SITE}', 'SAME-1', 'ERP', 5, 'pcs')",
    )
    await edge.start()
    await world.settle_counts()
    assert edge.read("SELECT count(*) FROM _sync_aside") != [(0,)]
    assert (await verify(edge)).found == 0


async def test_a_head_that_the_store_could_not_take_is_no_difference(world):
    edge = world.edges[SITE]
    edge.write("CREATE UNIQUE INDEX plant ON material_definitions (description)")
    await execute(
        world.url,
        "INSERT INTO mes.material_definitions (site_id, material_code, description)"
        " VALUES ('*', 'M1', 'steel'), ('*', 'M2', 'steel')",
    )
    await world.settle_counts()
    report = await verify(edge)
    assert (report.found, total(report, "aside")) == (0, 1)


async def test_rows_that_wait_or_were_given_up_at_the_centre_are_no_difference(world):
    edge = world.edges[SITE]
    missing = "01a00000-0000-7000-8000-00000000dead"
    edge.write(f"INSERT INTO measurements (result_id, value) VALUES ('{missing}', '1')")
    edge.write("INSERT INTO work_orders (order_no, source, qty_ordered, uom, notes)"
               " VALUES ('BAD', 'LOCAL', '1', 'pcs', CAST(x'fffe' AS TEXT))")  # fmt: skip
    edge.write(reports(1))
    await world.settle_counts()
    report = await verify(edge)
    assert (report.found, total(report, "parked")) == (0, 1)
    async with CentralStore.open(as_role(world.url, "mes_ingest"), CATALOG) as store:
        for (ticket,) in await world.central("SELECT id::text FROM mes.sync_parked"):
            assert await store.discard(ticket, "a person")
    await world.settle_counts()
    report = await verify(edge)
    assert (report.found, total(report, "parked")) == (0, 1)
    # Their record is kept for a time, what was decided as long as the site has the row.
    await world.central("DELETE FROM mes.sync_parked RETURNING 1")
    await world.settle_counts()
    report = await verify(edge, repair=True)
    assert (report.found, total(report, "parked")) == (0, 1)
    assert await world.central("SELECT value FROM mes.measurements") == []


OLD = """INSERT INTO job_responses (created_at, report_type, qty_good, equipment_id) VALUES
    ('2026-01-05T10:00:00.000Z', 'PRODUCTION', '7', '01a00000-0000-7000-8000-000000000001'),
    ('2026-01-05T11:00:00.000Z', 'PRODUCTION', '8', '01a00000-0000-7000-8000-000000000001')"""


async def test_facts_that_a_new_store_never_had_are_no_difference_but_altered_ones_are(world):
    edge = world.edges[SITE]
    edge.write(OLD, reports(5))
    await world.settle()
    edge.write("UPDATE _sync_table SET kept_from = '2026-02-01' WHERE name = 'job_responses'")
    tampered(edge, "DELETE FROM job_responses WHERE qty_good = '7'")
    assert (await verify(edge)).found == 0
    tampered(edge, "UPDATE job_responses SET qty_good = '80' WHERE qty_good = '8'")
    assert counts(await verify(edge)) == {"job_responses": (1, 0, 0)}
    tampered(edge, "DELETE FROM job_responses WHERE qty_good = '3'")
    assert counts(await verify(edge)) == {"job_responses": (1, 1, 0)}


async def test_a_first_snapshot_tells_from_when_on_all_facts_are_here(world):
    edge = world.edges[SITE]
    (floor,) = {row for (row,) in edge.read("SELECT kept_from FROM _sync_table")}
    ((expected,),) = edge.read("SELECT date('now', '-30 days')")
    assert floor == expected


async def test_facts_that_the_centre_has_put_away_are_no_difference_and_not_sent_again(world):
    edge = world.edges[SITE]
    edge.write(OLD, reports(5))
    await world.settle()
    parent = f"mes.job_responses__{SITE.lower()}"
    await execute(world.url, f"ALTER TABLE {parent} DETACH PARTITION {parent}__2026_01")
    report = await verify(edge, "job_responses", repair=True)
    assert (report.found, report.tables[0].rows) == (0, 5)
    assert report.tables[0].since > "2026-01-31"
    await world.settle_counts()
    assert await world.central("SELECT count(*) FROM mes.job_responses") == [(5,)]
    tampered(edge, "UPDATE job_responses SET qty_good = '50' WHERE qty_good = '5'")
    assert counts(await verify(edge)) == {"job_responses": (1, 0, 0)}

"""A comparison holds the hashes of some rows at a time, however many rows lie where ends differ."""

from __future__ import annotations

import tracemalloc

import pytest

from edge.compare import scope as narrowing
from edge.compare.centre import Centre
from edge.compare.scope import Scope
from edge.differences import TableReport
from edge.store.compare import Looker, Part
from shared import sums
from tests.integration.central_world import CATALOG, SITES
from tests.integration.compare_world import counts, tampered, verify
from tests.integration.edge_world import CREATED, Plant
from tests.integration.whole_world import world  # noqa: F401

SITE = SITES[0]
ORDERS, REPORTS = CATALOG.table("work_orders"), CATALOG.table("job_responses")
ROWS, APART = 12_000, 41


class End:
    """A store with orders, of which every so many-th has other notes; it answers as a centre."""

    def __init__(self, path, *, apart=0):
        self.kept_from = {}
        self.table = ORDERS
        self.plant = Plant(path, CATALOG)
        notes = f"CASE WHEN i % {apart} = 0 THEN 'other' ELSE 'n' END" if apart else "'n'"
        self.plant.write(
            f"WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {ROWS})"
            " INSERT INTO work_orders (id, created_at, order_no, notes) SELECT"
            f" printf('%08x-0000-7000-8000-%012x', i, i), '{CREATED}', 'WO-' || i, {notes} FROM k"
        )
        self.looker = Looker(self.plant.store.opened)
        self.held, self.asked = [], []

    def close(self):
        self.looker.close()
        self.plant.close()

    async def sums(self, _table, cut):
        self.asked.append(cut)
        return self.looker.sums(Part(self.table, self.table.columns, cut))

    async def hashes(self, _table, cut):
        found = self.looker.hashes(Part(self.table, self.table.columns, cut), [cut])
        self.held.append(len(found))
        return {row_id: ((SITE, CREATED, row_id), number) for row_id, number in found.items()}


async def at_once(work, *given):
    return work(*given)


@pytest.fixture
def here(tmp_path):
    end = End(tmp_path / "here.db")
    yield end
    end.close()


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.setattr(narrowing, "_AGAIN_PAUSE_S", 0)
    end = End(tmp_path / "there.db", apart=APART)
    yield end
    end.close()


async def narrowed(here, there):
    """Return the scope when its rows are narrowed down, and what that took of memory."""
    there.held, there.asked, table = [], [], there.table
    scope = Scope(
        table=table, columns=tuple(table.columns), report=TableReport(table.name),
        centre=there, looker=here.looker, run=at_once, minutes_from="",
    )  # fmt: skip
    tracemalloc.start()
    try:
        await scope.narrow()
        return scope, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_rows_that_differ_all_over_a_table_are_hashed_some_at_a_time(
    here, there, monkeypatch
):
    whole, peak = await narrowed(here, there)
    assert sum(there.held) == max(there.held) > ROWS * 0.6  # nearly all ends of ids differ
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", 1_000)
    some, peak_of_some = await narrowed(here, there)
    assert max(there.held) <= 1_000 < sum(there.held)
    assert len(some.candidates) == ROWS // APART
    assert (some.candidates, some.report) == (whole.candidates, whole.report)
    assert peak_of_some < peak / 3


async def test_where_enough_rows_were_found_no_more_are_hashed(here, there, monkeypatch):
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", 1_000)
    monkeypatch.setattr(narrowing, "CANDIDATES_MAX", 50)
    scope, _ = await narrowed(here, there)
    assert 50 <= len(scope.candidates) < 150
    assert scope.report.more
    assert sum(there.held) < ROWS / 2


async def test_where_a_store_lost_its_rows_those_of_the_centre_are_hashed_some_at_a_time(
    here, there, monkeypatch
):
    here.plant.write("DELETE FROM work_orders")
    whole, _ = await narrowed(here, there)
    assert {cut.digits for cut in there.asked} == {1}
    assert max(there.held) == ROWS
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", 500)
    some, _ = await narrowed(here, there)
    assert max(there.held) <= 500 < sum(there.held) == ROWS
    assert [cut.digits for cut in there.asked] == [1, 3, 3, 3]  # too coarse once, then three looks
    assert (some.candidates, some.report) == (whole.candidates, whole.report)


async def test_buckets_of_many_rows_that_are_the_same_are_cut_no_finer(here, there, monkeypatch):
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", 10)  # some forty are in each bucket
    there.plant.write("UPDATE work_orders SET notes = 'n'")
    scope, _ = await narrowed(here, there)
    assert (scope.candidates, there.asked, there.held) == ({}, [sums.Cut(digits=2)], [])


async def test_facts_of_one_minute_that_a_store_lost_are_hashed_some_at_a_time(
    here, there, monkeypatch
):
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", 30)
    monkeypatch.setattr(narrowing, "_SUSPECT_ROWS_MAX", 10)
    there.table = REPORTS
    there.plant.write(
        "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 31)"
        " INSERT INTO job_responses (id, created_at, report_type, qty_good, equipment_id) SELECT"
        f" printf('%08x-0000-7000-8000-%012x', i, i), '{CREATED}', 'PRODUCTION', i,"
        " '01a00000-0000-7000-8000-000000000001' FROM k"
    )
    scope, _ = await narrowed(here, there)
    assert len(scope.candidates) == 31
    assert max(there.held) <= 30 < sum(there.held) == 31


async def test_a_store_that_lost_its_rows_asks_any_centre_for_some_at_a_time(world, monkeypatch):
    """What is asked is what every centre has answered: endings are as long as each other."""
    edge, held, asked = world.edges[SITE], [], []
    hashes, both = Centre.hashes, Centre.sums

    async def counted(centre, table, cut):
        found = await hashes(centre, table, cut)
        held.append(len(found))
        return found

    async def noted(centre, table, cut):
        asked.append((cut.digits, len({*map(len, cut.endings)})))
        return await both(centre, table, cut)

    monkeypatch.setattr(Centre, "hashes", counted)
    monkeypatch.setattr(Centre, "sums", noted)
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", 5)
    edge.write(
        "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 150)"
        " INSERT INTO work_orders (order_no) SELECT 'WO-' || i FROM k"
    )
    await world.settle()
    tampered(
        edge,
        "DELETE FROM work_orders",
        "INSERT INTO work_orders (id, order_no) VALUES ('a', 'no id'), ('z', 'nor this')",
    )
    report = await verify(edge, "work_orders", repair=True)
    assert counts(report) == {"work_orders": (0, 150, 0)}
    assert report.tables[0].parked == 2
    assert max(held) <= 5 < sum(held) == 150
    assert asked[:2] == [(1, 0), (3, 1)]
    tampered(edge, "DELETE FROM work_orders WHERE length(id) = 1")
    await world.settle()  # both ends hold the same


def reports(days_ago, minute, count):
    """Return the statement that makes so many reports of one day; ``minute`` is an expression."""
    made = f"date('now', '-{days_ago} days') || printf('T10:%02d:00.000Z', {minute})"
    return f"""WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < {count - 1})
        INSERT INTO job_responses (created_at, report_type, qty_good, equipment_id)
        SELECT {made}, 'PRODUCTION', n,
               '01a00000-0000-7000-8000-000000000001' FROM k"""


@pytest.mark.parametrize("held", [30, 50_000])
async def test_facts_of_one_day_or_of_one_minute_are_told_apart_whatever_is_held(
    world, monkeypatch, held
):
    edge, passes, real = world.edges[SITE], [], Looker.hashes

    def counted(looker, part, cuts):
        found = real(looker, part, cuts)
        passes.append(len(found))
        return found

    monkeypatch.setattr(Looker, "hashes", counted)
    monkeypatch.setattr(narrowing, "_HASHED_ROWS_MAX", held)
    monkeypatch.setattr(narrowing, "_SUSPECT_ROWS_MAX", 10)
    monkeypatch.setattr(narrowing, "_MINUTES_MAX", 2)
    edge.write(
        reports(5, "n % 60", 120),  # a day of many minutes
        reports(4, "45", 200),  # a minute of many facts, as an import makes them
        reports(3, "n / 35", 103),  # a day of both
    )
    await world.settle()
    tampered(
        edge,
        "UPDATE job_responses SET qty_good = '999' WHERE qty_good IN ('7', '33', '41', '101')",
        "DELETE FROM job_responses WHERE qty_good = '50'",
        "INSERT INTO job_responses (id, created_at, report_type, equipment_id)"
        " SELECT 'no id at all', created_at, report_type, equipment_id FROM job_responses"
        " WHERE qty_good = '199'",
    )
    report = await verify(edge, "job_responses")
    (table,) = report.tables
    assert counts(report) == {"job_responses": (12, 3, 0)}
    assert table.parked == 1
    assert (max(passes) <= held, len(passes) > 10) == (True, held == 30)

"""A comparison reads each fact of a store once, and holds up nobody who writes meanwhile."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from edge.compare import scope
from edge.store.compare import PAGE_ROWS, Looker, Part
from shared import sums
from shared.sums import Cut
from tests.integration.central_world import CATALOG, SITES
from tests.integration.compare_world import counts, tampered, verify
from tests.integration.edge_world import Plant
from tests.integration.test_compare import reports
from tests.integration.whole_world import world  # noqa: F401

SITE = SITES[0]
REPORTS = CATALOG.table("job_responses")


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db", CATALOG)
    yield plant
    plant.close()


@pytest.fixture
def looker(plant):
    looker = Looker(plant.store.opened)
    yield looker
    looker.close()


def days(count, rows):
    """Return the statement that makes so many reports on each day of October."""
    return f"""WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < {rows - 1}),
        d(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM d WHERE n < {count})
        INSERT INTO job_responses (created_at, report_type, qty_good, equipment_id)
        SELECT printf('2026-10-%02dT10:%02d:00.000Z', d.n, k.n % 60), 'PRODUCTION', 100 * d.n + k.n,
               '01a00000-0000-7000-8000-000000000001' FROM d, k"""


def part(cut=None):
    return Part(REPORTS, tuple(REPORTS.columns), cut or Cut())


async def test_facts_of_many_pieces_are_read_once_here(world, monkeypatch):
    edge, passes, real = world.edges[SITE], [], Looker.sums

    def counted(looker, part):
        passes.append(part.table.name)
        return real(looker, part)

    monkeypatch.setattr(scope, "PIECE_ROWS_MAX", 10)
    monkeypatch.setattr(Looker, "sums", counted)
    edge.write(days(6, 20), reports(5))
    await world.settle()
    assert (await verify(edge, "job_responses")).found == 0
    assert passes == ["job_responses"]
    tampered(
        edge,
        "UPDATE job_responses SET qty_good = '9' WHERE qty_good IN ('105', '619')",
        "DELETE FROM job_responses WHERE qty_good = '3'",
    )
    assert counts(await verify(edge, "job_responses")) == {"job_responses": (2, 1, 0)}


async def test_days_that_differ_are_read_in_one_pass_some_at_a_time(world, monkeypatch):
    edge, passes, real = world.edges[SITE], [], Looker.hashes

    def counted(looker, part, cuts):
        passes.append(len(cuts))
        return real(looker, part, cuts)

    monkeypatch.setattr(scope, "_CUTS_MAX", 4)
    monkeypatch.setattr(Looker, "hashes", counted)
    edge.write(days(6, 3))
    await world.settle()
    tampered(edge, "UPDATE job_responses SET qty_good = '9' WHERE qty_good GLOB '*01'")
    assert counts(await verify(edge, "job_responses")) == {"job_responses": (6, 0, 0)}
    assert passes == [4, 2]


def test_pieces_together_are_the_whole(plant, looker):
    plant.write(days(9, 40))
    whole = looker.sums(part())
    assert sum(each.rows for each in whole.values()) == 360
    bounds = sums.pieces(looker.days(REPORTS), 100)
    assert len(bounds) > 3
    cuts = [Cut(since=since, before=before) for since, before in bounds]
    together = {}
    for cut in cuts:
        together = sums.added(together, looker.sums(part(cut)))
    assert together == whole
    some = cuts[1:3]
    apart = [looker.hashes(part(), [cut]) for cut in some]
    assert looker.hashes(part(), some) == apart[0] | apart[1]
    assert not apart[0].keys() & apart[1].keys()


def test_no_page_is_read_while_others_wait_to_take_the_log_back(plant, looker):
    rows = 3 * PAGE_ROWS
    plant.write(days(1, rows))
    reading = looker._read(part(), [Cut()], "d.id", [])
    read = [next(reading) for _ in range(PAGE_ROWS // 2)]
    with contextlib.closing(sqlite3.connect(plant.path, isolation_level=None)) as other:
        plant.write(days(1, 1))
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    read += reading
    assert len({row_id for row_id, _ in read}) == len(read) == rows + 1

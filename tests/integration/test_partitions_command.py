"""``mes-central partitions``: how the tables are split, and what is there ahead."""

from __future__ import annotations

import psycopg
import pytest

from central.partitions import MONTHS_AHEAD
from central.roles import INGEST
from tests.integration.central_world import CATALOG, SITES
from tests.integration.command_world import mes_central

__all__ = ["mes_central"]

SPLIT = [table.name for table in CATALOG.tables if table.partitioned]


@pytest.fixture
def filled(centre):
    """A centre with a month of 2012 of one site, whose rows are counted."""
    with psycopg.connect(centre, autocommit=True) as owner:
        owner.execute(f"SET ROLE {INGEST}".encode())
        owner.execute("SELECT sync.make_partition('work_orders', 'SITE_002', '2012-03-01')")
        owner.execute(
            "INSERT INTO mes.work_orders (site_id, created_at, order_no, qty_ordered)"
            " SELECT 'SITE_002', '2012-03-31T23:59:59Z', n::text, 1 FROM generate_series(1, 7) n"
        )
        owner.execute("RESET ROLE")
        owner.execute("ANALYZE mes.work_orders")
        # Whatever zone and country the server lives in, months are those of UTC, the year first.
        for setting in ("timezone = 'America/New_York'", "datestyle = 'German'"):
            owner.execute(f"ALTER DATABASE {owner.info.dbname} SET {setting}".encode())
    return centre


def test_it_lists_every_part_by_table_site_and_month(mes_central, filled):
    document = mes_central("partitions", "status", "--json").document
    found = [(each["table"], each["site"], each["month"]) for each in document["partitions"]]
    assert len(found) == len(SPLIT) * len(SITES) * (MONTHS_AHEAD + 1) + 1
    assert {table for table, _, _ in found} == set(SPLIT)
    assert {site for _, site, _ in found} == set(SITES)
    assert ("work_orders", "SITE_002", "2012-03") in found
    assert document["missing"] == []
    (late,) = [each for each in document["partitions"] if each["month"] == "2012-03"]
    assert late["rows"] == 7
    assert late["bytes"] > 8_000


def test_a_table_is_shown_by_site_and_a_site_by_month(mes_central, filled):
    by_table = mes_central("partitions", "status").out
    assert "2012-03" in next(row for row in by_table.splitlines() if row.startswith("work_orders"))
    assert "this month and 3 ahead are there for every site" in by_table
    by_site = mes_central("partitions", "status", "--table", "work_orders").out.splitlines()
    assert [row.split()[0] for row in by_site[1 : len(SITES) + 1]] == list(SITES)
    assert [row.split()[2] == "2012-03" for row in by_site[1:4]] == [False, True, False]
    asked = ("partitions", "status", "--table", "work_orders", "--site", "SITE_002")
    by_month = mes_central(*asked).out.splitlines()
    assert by_month[1].split()[:2] == ["2012-03", "7"]
    assert len(by_month) == 1 + 1 + (MONTHS_AHEAD + 1) + 1


def test_what_is_missing_ahead_is_told_and_made(mes_central, filled):
    with psycopg.connect(filled, autocommit=True) as owner:
        owner.execute("INSERT INTO sync.site (site) VALUES ('SITE_009')")
    status = mes_central("partitions", "status")
    assert f"{len(SPLIT) * (MONTHS_AHEAD + 1)} of this month and 3 ahead are missing" in status.out
    of_another = ("--table", "work_orders", "--site", "SITE_001", "--json")
    assert mes_central("partitions", "status", *of_another).document["missing"] == []
    made = mes_central("partitions", "ahead", "--json").document["made"]
    assert {each["site"] for each in made} == {"SITE_009"}
    assert len(made) == len(SPLIT) * (MONTHS_AHEAD + 1)
    assert "nothing to do" in mes_central("partitions", "ahead").out
    more = mes_central("partitions", "ahead", "--months", "4", "--json").document["made"]
    assert len(more) == len(SPLIT) * (len(SITES) + 1)
    assert len({each["month"] for each in more}) == 1


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--site", "SITE_001"), "--site needs a --table"),
        (("--table", "reason_codes"), "reason_codes is not split"),
        (("--table", "work_orders", "--site", "SITE_099"), "no part of a site SITE_099"),
    ],
)
def test_what_can_not_be_shown_is_told(mes_central, asked, why):
    ran = mes_central("partitions", "status", *asked)
    assert (ran.code, why in ran.err) == (64, True)

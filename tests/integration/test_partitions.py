"""Partitions: made ahead and for late rows, once, by whoever comes first, closed to clients."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.errors import CheckViolation, InvalidParameterValue

from central import partitions
from central.partitions import Partition, ensure, make_ahead, missing
from central.roles import INGEST, as_role
from tests.integration.central_world import CATALOG, SITES
from tests.integration.centre import client, insert, rows

PARTITIONED = [table.name for table in CATALOG.tables if table.partitioned]
LATE = Partition("job_responses", "SITE_001", "2012-01")


async def ingest(centre: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(as_role(centre, INGEST), autocommit=True)


def present(centre: str) -> set[str]:
    found = rows(
        centre,
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
        " AND relnamespace = 'mes'::regnamespace",
    )
    return {row["relname"] for row in found}


def expected(sites, now: datetime) -> set[str]:
    months = list(partitions.months(int(now.timestamp() * 1000), partitions.MONTHS_AHEAD))
    assert len(months) == 4
    return {
        Partition(t, site, month).name for t in PARTITIONED for site in sites for month in months
    }


def now_of(centre: str) -> datetime:
    (row,) = rows(centre, "SELECT now() AS now")
    return row["now"]


async def test_this_month_and_three_ahead_are_made_for_every_site(centre):
    assert present(centre) == expected(SITES, now_of(centre))
    assert {name.split("__")[0] for name in present(centre)} == set(PARTITIONED)


async def test_there_is_no_default_partition(centre):
    assert rows(centre, "SELECT partrelid FROM pg_partitioned_table WHERE partdefid <> 0") == []


async def test_as_time_goes_on_only_new_months_are_made(centre):
    before = present(centre)
    later = int(now_of(centre).timestamp() * 1000) + 40 * 86_400_000
    async with await ingest(centre) as connection:
        due = await missing(connection, CATALOG, SITES, later)
        made = await make_ahead(connection, CATALOG, SITES, later)
        assert await missing(connection, CATALOG, SITES, later) == []
        assert await make_ahead(connection, CATALOG, SITES, later) == []
    assert set(made) == set(due)
    assert present(centre) - before == {partition.name for partition in made}
    assert len({partition.month for partition in made}) in (1, 2)


async def test_a_late_row_for_an_old_month_finds_its_partition_made(centre):
    async with await ingest(centre) as connection:
        assert await ensure(connection, [LATE], set()) == [LATE]
        await connection.execute(
            "INSERT INTO mes.job_responses (site_id, created_at, report_type)"
            " VALUES ('SITE_001', '2012-01-31T23:59:59.999Z', 'SETUP')"
        )
    assert rows(centre, f"SELECT count(*) FROM mes.{LATE.name}") == [{"count": 1}]


async def test_a_month_begins_and_ends_in_utc_whatever_the_zone_of_the_session(centre):
    async with await ingest(centre) as connection:
        await connection.execute("SET timezone = 'Pacific/Auckland'")
        await ensure(connection, [LATE], set())
        async with connection.cursor().copy(
            f"COPY mes.{LATE.name} (site_id, created_at, report_type) FROM STDIN"
        ) as copy:
            for instant in ("2012-01-01T00:00:00.000Z", "2012-01-31T23:59:59.999Z"):
                await copy.write_row(["SITE_001", instant, "SETUP"])
        for instant in ("2011-12-31T23:59:59.999Z", "2012-02-01T00:00:00.000Z"):
            with pytest.raises(CheckViolation, match="partition constraint"):
                await connection.execute(
                    f"INSERT INTO mes.{LATE.name} (site_id, created_at, report_type)"
                    " VALUES ('SITE_001', %s, 'SETUP')",
                    [instant],
                )


async def test_a_row_of_another_site_does_not_fit_into_a_partition(centre):
    async with await ingest(centre) as connection:
        await ensure(connection, [LATE], set())
        with pytest.raises(CheckViolation, match="partition constraint"):
            await connection.execute(
                f"INSERT INTO mes.{LATE.name} (site_id, created_at, report_type)"
                " VALUES ('SITE_002', '2012-01-02T00:00:00Z', 'SETUP')"
            )


async def test_what_is_known_is_not_asked_for_again(centre):
    known: set[Partition] = set()
    async with await ingest(centre) as connection:
        assert await ensure(connection, [LATE], known) == [LATE]
        assert known == {LATE}
    # The connection is closed: any question would fail.
    assert await ensure(connection, [LATE], known) == []


async def test_what_others_made_is_known_but_not_reported_as_made(centre):
    known: set[Partition] = set()
    async with await ingest(centre) as first, await ingest(centre) as second:
        await ensure(first, [LATE], set())
        assert await ensure(second, [LATE], known) == []
    assert known == {LATE}


async def test_within_a_transaction_nothing_is_made_and_nothing_is_known(centre):
    known: set[Partition] = set()
    async with await ingest(centre) as connection, connection.transaction():
        with pytest.raises(RuntimeError, match="transaction of their own"):
            await ensure(connection, [LATE], known)
    assert known == set()
    assert LATE.name not in present(centre)


async def test_two_connections_that_want_the_same_partitions_both_get_them(centre):
    wanted = [
        Partition(table, site, f"2015-{month:02d}")
        for table in ("job_responses", "work_orders")
        for site in ("SITE_001", "*")
        for month in range(1, 7)
    ]
    connections = [await ingest(centre) for _ in range(4)]
    made = await asyncio.gather(
        *(
            ensure(connection, wanted if n % 2 else reversed(wanted), set())
            for n, connection in enumerate(connections)
        )
    )
    for connection in connections:
        await connection.close()
    assert sorted(partition for each in made for partition in each) == sorted(wanted)
    assert {partition.name for partition in wanted} <= present(centre)


async def test_a_report_that_takes_long_does_not_hold_up_a_new_partition(centre):
    with psycopg.connect(centre) as report:
        report.execute("SELECT count(*) FROM mes.job_responses")
        async with await ingest(centre) as connection:
            await connection.execute("SET lock_timeout = '2s'")
            assert await ensure(connection, [LATE], set()) == [LATE]


async def test_a_partition_has_the_key_indexes_and_checks_of_its_table(centre):
    async with await ingest(centre) as connection:
        await ensure(connection, [LATE], set())
    for column in ("contype", "pg_get_constraintdef(oid)"):
        of = f"SELECT {column} AS it FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY 1"
        child = rows(centre, of, f"mes.{LATE.name}")
        assert child == rows(centre, of, "mes.job_responses")
    indexes = "SELECT count(*) AS n FROM pg_index WHERE indrelid = %s::regclass"
    assert rows(centre, indexes, f"mes.{LATE.name}") == rows(centre, indexes, "mes.job_responses")


async def test_a_site_that_is_not_registered_gets_no_partition(centre):
    async with await ingest(centre) as connection:
        with pytest.raises(InvalidParameterValue, match="site MARS is not registered"):
            await ensure(connection, [Partition("job_responses", "MARS", "2026-11")], set())
        with pytest.raises(InvalidParameterValue, match="table holds has no partitions"):
            await ensure(connection, [Partition("holds", "SITE_001", "2026-11")], set())


async def test_a_new_site_gets_its_partitions_with_the_next_run(centre):
    before = present(centre)
    with psycopg.connect(centre, autocommit=True) as owner:
        owner.execute("INSERT INTO sync.site (site) VALUES ('EAST')")
    async with await ingest(centre) as connection:
        now = now_of(centre)
        await make_ahead(connection, CATALOG, ["EAST"], int(now.timestamp() * 1000))
    assert present(centre) - before == expected(["EAST"], now)
    with client(centre, "EAST") as east:
        insert(east, "work_orders", order_no="1", created_at=datetime.now(UTC))  # noqa: TID251


@pytest.mark.parametrize("site", ["SHARED", "A__B", "lower", "", "X" * 21])
async def test_a_site_whose_partitions_could_be_mistaken_is_not_registered(centre, site):
    with psycopg.connect(centre) as owner, pytest.raises(CheckViolation):
        owner.execute("INSERT INTO sync.site (site) VALUES (%s)", [site])


async def test_a_query_that_names_site_and_month_looks_into_one_partition(centre):
    async with await ingest(centre) as connection:
        await ensure(connection, [LATE], set())
    lines = rows(
        centre,
        "EXPLAIN SELECT * FROM mes.job_responses WHERE site_id = 'SITE_001'"
        " AND created_at >= '2012-01-05Z' AND created_at < '2012-01-06Z'",
    )
    plan = "\n".join(line["QUERY PLAN"] for line in lines)
    assert {name.removesuffix("_pkey") for name in re.findall(r"\w+__\w+", plan)} == {LATE.name}

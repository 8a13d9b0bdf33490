"""Partitions of the business tables: by site, then by month (UTC) of created_at.

They are made ahead, and on the arrival of a row whose month has none yet; there is no default
partition, which rows could land in and have to be moved out of. A partition is made in a
transaction of its own, before the one that writes into it: two connections that want the same one
wait for each other only as long as that takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from central.schema import partition_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from psycopg import AsyncConnection

    from shared.catalog import Catalog

_SQL: Final = Path(__file__).parent / "sql"
MONTHS_AHEAD: Final = 3
#: A month further ahead is the work of a broken clock, or of somebody who wants a million tables.
MONTHS_TO_COME_MAX: Final = 24
MONTH_MIN: Final = "1970-01"
#: Made in one transaction: each takes a few locks, of which PostgreSQL has some thousand.
TOGETHER_MAX: Final = 50


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """The rows of one table, site and month."""

    table: str
    #: A site, or ``*`` for the shared rows.
    site: str
    #: Such as ``2026-11``: the first seven characters of created_at in canonical form.
    month: str

    @property
    def name(self) -> str:
        """Return the table's name in the schema mes, where rows can be written directly."""
        return partition_name(self.table, self.site, self.month)


def month_refused(month: str, sent_ms: int) -> str | None:
    """Return the rule by which rows of this month get no partition, or None; they are parked.

    ``sent_ms`` is when the broker stored the rows, so that a replay decides the same.
    """
    last = _month(_number(sent_ms) + MONTHS_TO_COME_MAX)
    if MONTH_MIN <= month <= last:
        return None
    return f"created_at is in {month}; {MONTH_MIN} to {last} are kept"


async def ensure(
    connection: AsyncConnection[Any], wanted: Iterable[Partition], known: set[Partition]
) -> list[Partition]:
    """Make the partitions that are missing and return them; ``known`` then holds all wanted.

    ``known`` is the caller's memory: where it holds all that is wanted, nothing is asked. The
    connection must not be in a transaction, since a rollback would make ``known`` a lie.
    """
    unknown = sorted(set(wanted) - known)
    made: list[Partition] = []
    for start in range(0, len(unknown), TOGETHER_MAX):
        some = unknown[start : start + TOGETHER_MAX]
        async with connection.transaction() as transaction:
            if transaction.savepoint_name:
                raise RuntimeError("partitions are made in a transaction of their own")
            new = [partition for partition in some if await _make(connection, partition)]
        known.update(some)
        made += new
    return made


async def _make(connection: AsyncConnection[Any], partition: Partition) -> bool:
    cursor = await connection.execute(
        "SELECT sync.make_partition(%s, %s, %s::date)",
        [partition.table, partition.site, f"{partition.month}-01"],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def make_ahead(
    connection: AsyncConnection[Any],
    catalog: Catalog,
    sites: Collection[str],
    now_ms: int,
    *,
    months_ahead: int = MONTHS_AHEAD,
) -> list[Partition]:
    """Make the partitions of this month and those ahead, for each site, and return the new ones."""
    absent = await missing(connection, catalog, sites, now_ms, months_ahead=months_ahead)
    return await ensure(connection, absent, set())


async def missing(
    connection: AsyncConnection[Any],
    catalog: Catalog,
    sites: Collection[str],
    now_ms: int,
    *,
    months_ahead: int = MONTHS_AHEAD,
) -> list[Partition]:
    """Return the partitions of this month and those ahead that are not there."""
    cursor = await connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'mes'::regnamespace AND relispartition"
    )
    present = {name for (name,) in await cursor.fetchall()}
    return [
        partition
        for table in catalog.tables
        if table.partitioned
        for site in sorted(sites)
        for month in months(now_ms, months_ahead)
        if (partition := Partition(table.name, site, month)).name not in present
    ]


async def site_names(connection: AsyncConnection[Any]) -> list[str]:
    """Return the registered sites."""
    cursor = await connection.execute("SELECT site FROM sync.site ORDER BY site")
    return [site for (site,) in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Held:
    """What a partition holds."""

    partition: Partition
    #: With its indexes.
    bytes: int
    #: As it was last analysed; None where it never was.
    rows: int | None


async def held(
    connection: AsyncConnection[Any], tables: Collection[str] | None = None
) -> list[Held]:
    """Return all partitions of these tables, or of all, by table, site and month."""
    async with connection.transaction():
        # Bounds are shown in them.
        await connection.execute("SET LOCAL timezone = 'UTC'")
        await connection.execute("SET LOCAL datestyle = 'ISO'")
        cursor = await connection.execute(
            _statement("read_partitions"), {"tables": None if tables is None else list(tables)}
        )
        found = await cursor.fetchall()
    return [
        Held(Partition(table, site, month), size, rows) for table, site, month, size, rows in found
    ]


def months(now_ms: int, ahead: int) -> Iterator[str]:
    """Return this month and as many after it, in UTC."""
    first = _number(now_ms)
    return map(_month, range(first, first + ahead + 1))


def month_before(now_ms: int, ago: int) -> str:
    """Return the month that was so many months ago, in UTC."""
    return _month(_number(now_ms) - ago)


def month_is_over(month: str, now_ms: int, days: float) -> bool:
    """Return whether a month ended more than so many days ago."""
    return month < month_of(now_ms - int(days * 86_400_000))


def month_of(at_ms: int) -> str:
    """Return the month of an instant, in UTC."""
    return _month(_number(at_ms))


def _statement(name: str) -> bytes:
    return (_SQL / f"{name}.sql").read_bytes()


def _number(at_ms: int) -> int:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.year * 12 + at.month - 1


def _month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"

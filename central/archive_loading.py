"""Archived rows brought into PostgreSQL: into their table again, or beside it for a while.

Parquet is loaded by those functions alone that read a file: it takes 50 MB, which an ingest, whose
code is in one module with the upkeep's, has no use for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.archive_contents import ArchiveAway, Contents
from central.archive_hash import hash_expression, hashes, named
from central.archive_state import ASIDE, Month, State, columns_of, months
from central.store.literals import copy_text
from shared.errors import StoreBusy
from shared.sums import folded

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from psycopg import AsyncConnection

    from central.archive_hash import Named
    from central.partitions import Partition
    from shared.catalog import Catalog, Column, Table
    from shared.changes import Value


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of the archive, and the tables whose rows lie there."""

    catalog: Catalog
    #: None where the setting names none.
    root: Path | None


async def contents(
    connection: AsyncConnection[Any], where: str, columns: Sequence[Named]
) -> Contents:
    """Return what the rows of a table come to, by these columns."""
    total = f"coalesce(sum({hash_expression(columns, 't')}), 0)"
    cursor = await connection.execute(f"SELECT count(*), {total} FROM {where} AS t".encode())
    row = await cursor.fetchone()
    assert row is not None
    return Contents(row[0], folded(int(row[1])))


async def aside_columns(
    connection: AsyncConnection[Any], table: Table, partition: Partition
) -> tuple[Named, ...]:
    """Return the columns of a partition that was put aside; none where there is none."""
    return named(table, await columns_of(connection, ASIDE, partition.name))


async def copy_file(
    connection: AsyncConnection[Any], path: Path, table: Table, into: str,
    counted: Collection[Column] | None = None,
) -> Contents:  # fmt: skip
    """Copy the rows of a file into a table; return what they come to there, by some columns or all.

    Columns that the file lacks get their defaults; so do those that have to have a value.
    """
    from central.archive_file import blocks, columns_in  # noqa: PLC0415 - see above

    columns = [column for column, _ in await asyncio.to_thread(columns_in, path, table)]
    names = ", ".join(column.name for column in columns)
    kinds = [column.type.kind for column in columns]
    reading = blocks(path, table)
    found = Contents(0, 0)
    async with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {into} ({names}) FROM STDIN".encode()) as copy,
    ):
        while (block := await asyncio.to_thread(next, reading, None)) is not None:
            whole = [_filled(c, values) for c, values in zip(columns, block, strict=True)]
            some = [pair for pair in zip(columns, whole, strict=True) if _in(pair[0], counted)]
            numbers = await asyncio.to_thread(hashes, *zip(*some, strict=True))
            found += Contents(len(numbers), folded(sum(numbers)))
            await copy.write(copy_text(zip(kinds, whole, strict=True), len(block[0])))
    return found


def _in(column: Column, counted: Collection[Column] | None) -> bool:
    return counted is None or column in counted


def _filled(column: Column, values: list[Value]) -> list[Value]:
    if column.nullable or column.default is None or None not in values:
        return values
    return [column.default if value is None else value for value in values]


async def copy_aside(
    connection: AsyncConnection[Any], table: Table, partition: Partition, into: str
) -> None:
    """Copy the rows of a partition that was put aside into a table."""
    columns = await aside_columns(connection, table, partition)
    here = ", ".join(column.name for column, _ in columns)
    there = ", ".join(f'"{name}"' for _, name in columns)
    await connection.execute(
        f'INSERT INTO {into} ({here}) SELECT {there} FROM {ASIDE}."{partition.name}"'.encode()
    )


# --- all facts of a site, for whoever adds them up ---------------------------------------------


def alone_key(site: str) -> str:
    """Return what is locked by whoever takes months of a site out of its tables, or back."""
    return f"mes archive {site}"


async def hold_months(connection: AsyncConnection[Any], site: str) -> None:
    """Let no month of a site be archived or brought back until the transaction ends.

    Raise StoreBusy while somebody is at one.
    """
    cursor = await connection.execute(
        "SELECT pg_try_advisory_xact_lock_shared(hashtextextended(%s, 0))", [alone_key(site)]
    )
    if not (await cursor.fetchone() or [False])[0]:
        raise StoreBusy(f"a month of {site} is being archived; try again when it is done")


async def all_facts(
    connection: AsyncConnection[Any], shelf: Shelf | None, table_name: str, site: str,
    only: Collection[str] | None = None,
) -> str:  # fmt: skip
    """Return what to select a site's facts from: those in the table, and those in the archive.

    Of the archive those of some months alone, where these are named. To be called in a transaction,
    until whose end no month is archived or brought back. Raise ArchiveAway where files can't be
    reached, StoreBusy while somebody is at a month.
    """
    await hold_months(connection, site)
    found = [
        month
        for month in await months(connection, table=table_name, sites=[site])
        if month.state is not State.ATTACHED and (only is None or month.month in only)
    ]
    if not found:
        return f"mes.{table_name}"
    for month in found:
        if month.state is State.DETACHING:
            raise StoreBusy(
                f"{month.month} of {table_name}, {site}, is half detached; run `mes-central"
                f" partitions detach {table_name} --site {site} --month {month.month}`"
            )
    if shelf is None or shelf.root is None:
        raise ArchiveAway(
            f"months of {table_name} of {site} are in the archive; name its folder in"
            " MES_ARCHIVE_DIR"
        )
    table = shelf.catalog.table(table_name)
    await _load(connection, shelf, table, found)
    live = f"SELECT * FROM mes.{table_name} WHERE site_id = '{site}'"
    return f"({live} UNION ALL SELECT * FROM pg_temp.{_beside(table)})"


def _beside(table: Table) -> str:
    return f"archived_{table.name}"


async def _load(
    connection: AsyncConnection[Any], shelf: Shelf, table: Table, found: Sequence[Month]
) -> None:
    from central.archive_file import check_bytes  # noqa: PLC0415 - see above

    into = f"pg_temp.{_beside(table)}"
    await connection.execute(f"DROP TABLE IF EXISTS {into}".encode())
    await connection.execute(
        f"CREATE TEMPORARY TABLE {_beside(table)} (LIKE mes.{table.name} INCLUDING DEFAULTS)"
        " ON COMMIT DROP".encode()
    )
    for month in found:
        if month.counts:
            path = month.path(shelf.root)
            await asyncio.to_thread(check_bytes, path, month.sha256)
            await copy_file(connection, path, table, into)
        if month.state is State.DETACHED:
            await copy_aside(connection, table, month.partition, into)

"""Rows of facts by time, wherever they are: in their table, beside it, or in files of the archive.

Files are read by DuckDB, which opens those that are named to it and nothing else: which they are
says ``sync.archive`` under the row-level security of whoever asks, so a file of another site is not
even known here. No extension is loaded, no network reached, no setting changed afterwards.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import duckdb
import psycopg
import pyarrow as pa

from central.archive_contents import ArchiveAway, ArchiveDamaged
from central.archive_file import arrow_type, canonical, check_bytes, columns_in
from central.archive_hash import all_named, named
from central.archive_state import (
    ASIDE,
    Month,
    Standing,
    State,
    columns_of,
    months,
    standing,
)
from central.canonical import expression
from shared.catalog import COMMON, SITE_ID
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from psycopg import AsyncConnection

    from shared.catalog import Column, Table
    from shared.changes import Value

    #: Canonical values of id, site_id, created_at and the table's own columns.
    Row = tuple[Value, ...]

MEMORY: Final = "256MB"
#: Seconds that the files of one answer may take.
FILES_MAX_S: Final = 20.0
_TRIES: Final = 3
#: Files of which it is remembered that they are what was recorded.
_CHECKED_MAX: Final = 10_000


class ArchiveMoves(Transient):
    """Months were archived or brought back while they were read; ask again."""


class ArchiveSlow(Transient):
    """The files took too long to read; ask for a shorter time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows: created from ``since`` on, before ``before``, in the order of time and id."""

    since: datetime
    before: datetime
    #: Only those that come after this created_at and id.
    after: tuple[datetime, str] | None = None
    rows_max: int

    def months(self) -> tuple[str, str]:
        """Return the first and the last month in which such rows may be."""
        last = self.before - timedelta(microseconds=1)
        return f"{self.since:%Y-%m}", f"{last:%Y-%m}"


async def read(
    connection: AsyncConnection[Any], root: Path | None, table: Table, sites: Sequence[str],
    wanted: Wanted,
) -> list[Row]:  # fmt: skip
    """Return rows of these sites, each once, whether archived or not.

    ``connection`` decides what may be read of them: of other sites it shows neither rows nor files.
    Each of its statements has to see what was committed before it: no month is read in the middle
    of its way from one place to another unless its state is another one when it is looked at again.
    Raise ArchiveAway, ArchiveDamaged, ArchiveSlow; ArchiveMoves where the archive is moving.
    """
    for _ in range(_TRIES):
        found = await _months(connection, table, sites, wanted)
        try:
            rows = await _files(root, table, found, sites, wanted)
            rows += await _standing(connection, table, sites, wanted, found)
        except (ArchiveAway, ArchiveMoves):
            if found == await _months(connection, table, sites, wanted):
                raise
            continue
        if found == await _months(connection, table, sites, wanted):
            return _first(rows, wanted.rows_max)
    raise ArchiveMoves


async def _months(
    connection: AsyncConnection[Any], table: Table, sites: Sequence[str], wanted: Wanted
) -> list[Month]:
    first, last = wanted.months()
    found = await months(connection, table=table.name, sites=sites)
    return [m for m in found if first <= m.month <= last and m.state is not State.ATTACHED]


def _first(rows: list[Row], rows_max: int) -> list[Row]:
    return sorted(rows, key=lambda row: (str(row[2]), str(row[0])))[:rows_max]


# --- in PostgreSQL -----------------------------------------------------------------------------


async def _standing(
    connection: AsyncConnection[Any],
    table: Table,
    sites: Sequence[str],
    wanted: Wanted,
    found: Sequence[Month],
) -> list[Row]:
    """Return rows of the table, and of months that are detached and in no file."""
    everything = all_named(table)
    rows = await _select(connection, f"mes.{table.name}", everything, sites, wanted)
    for month in found:
        partition = month.partition
        if month.state is State.DETACHED:
            there = named(table, await columns_of(connection, ASIDE, partition.name))
            if not there:
                raise ArchiveMoves
            names = {column.name: name for column, name in there}
            columns = [(column, names.get(column.name)) for column, _ in everything]
            where = f'{ASIDE}."{partition.name}"'
            try:
                async with connection.transaction():
                    rows += await _select(connection, where, columns, [month.site_id], wanted)
            except psycopg.errors.UndefinedTable as why:  # dropped, or attached again
                raise ArchiveMoves from why
        # Asked afterwards: one that is still attached was so while the table was read.
        elif month.state is State.DETACHING and (
            await standing(connection, partition) is not Standing.ATTACHED
        ):
            raise ArchiveMoves
    return rows


async def _select(
    connection: AsyncConnection[Any],
    where: str,
    columns: Sequence[tuple[Column, str | None]],
    sites: Sequence[str],
    wanted: Wanted,
) -> list[Row]:
    forms = [
        "NULL" if name is None else expression(c.type.kind, f't."{name}"') for c, name in columns
    ]
    after = "AND (t.created_at, t.id) > (%(at)s, %(id)s::uuid)" if wanted.after else ""
    # Site by site: each is read in the order of its key, and no further than is wanted. By their
    # names as literals: a part of another site is neither opened nor locked.
    text = " UNION ALL ".join(
        f"""(SELECT {", ".join(forms)} FROM {where} AS t
             WHERE t.site_id = {_quoted(site).replace("%", "%%")}
               AND t.created_at >= %(since)s AND t.created_at < %(before)s {after}
             ORDER BY t.created_at, t.id LIMIT %(rows_max)s)"""
        for site in sites
    )
    at, row_id = wanted.after or (None, None)
    given = {
        "since": wanted.since, "before": wanted.before, "rows_max": wanted.rows_max,
        "at": at, "id": row_id,
    }  # fmt: skip
    cursor = await connection.execute(text.encode(), given)
    return [tuple(row) for row in await cursor.fetchall()]


# --- in files ----------------------------------------------------------------------------------


async def _files(
    root: Path | None, table: Table, found: Sequence[Month], sites: Sequence[str], wanted: Wanted
) -> list[Row]:
    """Return rows of the files of some months."""
    named = [(m.path(root), m) for m in found if m.counts and m.site_id in sites]
    if not named:
        return []
    return await asyncio.to_thread(_read_checked, named, table, wanted)


def _read_checked(named: Sequence[tuple[Path, Month]], table: Table, wanted: Wanted) -> list[Row]:
    for path, month in named:
        CHECKED.check(path, month)
    return read_files([(path, month.site_id) for path, month in named], table, wanted)


class Checked:
    """Files that were found to be what was recorded of them: each is read as a whole but once."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, path: Path, month: Month) -> None:
        """Raise ArchiveAway, and ArchiveDamaged where a file is not byte by byte what it was."""
        try:
            stands = path.stat()
        except OSError as why:
            raise ArchiveAway(f"{path} can't be read: {why.strerror}; see MES_ARCHIVE_DIR") from why
        if stands.st_size != month.bytes:
            raise ArchiveDamaged(f"{path} has {stands.st_size} bytes, {month.bytes} were recorded")
        key = (path, month.sha256, stands.st_size, stands.st_mtime_ns, stands.st_ino)
        with self._lock:
            if key in self._known:
                return
        check_bytes(path, month.sha256)
        with self._lock:
            self._known[key] = None
            while len(self._known) > _CHECKED_MAX:
                self._known.popitem(last=False)


CHECKED: Final = Checked()


def read_files(files: Sequence[tuple[Path, str]], table: Table, wanted: Wanted) -> list[Row]:
    """Return rows out of some files of a table, each of one site, and open no other file.

    A row of another site than its file's is none of them, however it came there.
    """
    query = " UNION ALL ".join(_select_file(path, site, table) for path, site in files)
    bounds = "created_at >= ?::TIMESTAMPTZ AND created_at < ?::TIMESTAMPTZ"
    given: list[Any] = [wanted.since.isoformat(), wanted.before.isoformat()]
    if wanted.after is not None:
        bounds += " AND (created_at, id) > (?::TIMESTAMPTZ, ?)"
        given += [wanted.after[0].isoformat(), wanted.after[1]]
    text = (
        f"SELECT * FROM ({query}) WHERE {bounds} ORDER BY created_at, id LIMIT {wanted.rows_max:d}"
    )
    with opened([path for path, _ in files]) as database:
        rows = _run(database, text, given, table)
    columns = (*COMMON, *table.columns)
    return list(zip(*(canonical(c.type.kind, rows[c.name]) for c in columns), strict=True))


def _run(
    database: duckdb.DuckDBPyConnection, text: str, given: list[Any], table: Table
) -> pa.Table:
    """Return what a query gives; raise ArchiveAway, ArchiveDamaged, ArchiveSlow."""
    clock = threading.Timer(FILES_MAX_S, database.interrupt)
    clock.start()
    try:
        return database.sql(text, params=given).to_arrow_table()
    except duckdb.InterruptException as why:
        raise ArchiveSlow from why
    except duckdb.IOException as why:
        raise ArchiveAway(f"a file of {table.name} can't be read: {why}") from why
    except duckdb.Error as why:
        raise ArchiveDamaged(f"a file of {table.name} can't be read: {why}") from why
    finally:
        clock.cancel()


def opened(paths: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB that reads these files and can't be talked into anything else."""
    database = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": MEMORY,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        }
    )
    listed = ", ".join(_quoted(str(path)) for path in paths)
    for statement in (
        f"SET allowed_paths = [{listed}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        database.execute(statement)
    return database


def _select_file(path: Path, site: str, table: Table) -> str:
    """Return the query of a site's rows in a file, under the names that the columns have now."""
    there = {column.name: name for column, name in columns_in(path, table)}
    listed = ", ".join(
        _column(column, there.get(column.name)) for column in (*COMMON, *table.columns)
    )
    name = there[SITE_ID.name]
    return (
        f'SELECT {listed} FROM read_parquet({_quoted(str(path))}) WHERE "{name}" = {_quoted(site)}'
    )


def _column(column: Column, name: str | None) -> str:
    kind = _DUCKDB.get(arrow_type(column.type), "VARCHAR")
    if isinstance(arrow_type(column.type), pa.Decimal128Type):
        kind = f"DECIMAL({column.type.precision}, {column.type.scale})"
    value = "NULL" if name is None else f'"{name}"'
    return f'CAST({value} AS {kind}) AS "{column.name}"'


_DUCKDB: Final = {
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
    pa.date32(): "DATE",
    pa.time32("s"): "TIME",
    pa.binary(): "BLOB",
}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

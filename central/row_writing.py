"""A planner's write: one row inserted, changed or deleted, as any client of the centre does it.

It is made as mes_app and captured like any other write, so it reaches the sites by the feed. Each
works in the caller's transaction, as mes_ingest outside of the write itself: what the row refers
to is held until the commit, so that nobody deletes it meanwhile.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from central.acting import acting, stored
from central.row_reading import Found, find_row
from central.row_values import ZONES, BadRow, Broken
from central.schema import INDEXES
from shared.catalog import Direction
from shared.changes import SHARED
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Table
    from shared.changes import Value

    Connection = AsyncConnection[Any]


class NeedsVersion(SyncError):
    """A write of a row has to name the version that was seen."""


class RowMoved(SyncError):
    """The row was written since the version that If-Match names."""


class StillReferredTo(SyncError):
    """Other rows refer to the row; change or delete these first."""


class KeyTaken(SyncError):
    """A natural key of the row is another row's already."""

    def __init__(self, columns: tuple[str, ...], site: str) -> None:
        named = ", ".join(columns)
        super().__init__(f"{named}: another row of {site} has it already")
        self.columns = columns


@dataclass(frozen=True, slots=True)
class Writing:
    """Where a row is written, and who does."""

    catalog: Catalog
    table: Table
    site: str
    person: str

    def signed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return values with who writes them, where the table has a place for that."""
        writer = self.table.writer_column
        if writer is None:
            return dict(values)
        return {**values, writer.name: self.person[: writer.type.length]}


async def insert_row(
    connection: Connection, writing: Writing, values: Mapping[str, Value], created_at: str
) -> Found:
    """Insert a row and return it; raise BadRow for what it names and is not there, KeyTaken."""
    table = writing.table
    await _check_zone(connection, table, values)
    await _hold_references(connection, writing, values)
    given = writing.signed(values)
    statement = sql.SQL(
        "INSERT INTO {} (site_id, created_at, {}) VALUES (%s, %s, {}) RETURNING id::text"
    ).format(
        sql.Identifier("mes", table.name), sql.SQL(", ").join(map(sql.Identifier, given)),
        sql.SQL(", ").join(sql.Placeholder() * len(given)),
    )  # fmt: skip
    async with _by_client(connection, writing):
        cursor = await connection.execute(
            statement, [writing.site, created_at, *_stored(table, given)]
        )
        row = await cursor.fetchone()
    assert row is not None
    return await find_row(connection, table, (writing.site,), row[0])


async def update_row(
    connection: Connection, writing: Writing, found: Found, changed: Mapping[str, Value]
) -> Found:
    """Change a row and return it; raise RowMoved, KeyTaken, BadRow as ``insert_row`` does.

    Where nothing becomes different nothing is written, and its version stays.
    """
    table = writing.table
    await _check_zone(connection, table, changed)
    await _hold_references(connection, writing, changed)
    given = writing.signed(changed)
    sets = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in given]
    statement = sql.SQL(
        "UPDATE {} SET {} WHERE site_id = %s AND created_at = %s AND id = %s"
    ).format(sql.Identifier("mes", table.name), sql.SQL(", ").join(sets))
    async with _by_client(connection, writing):
        await _hold(connection, table, found)
        if changed:
            await connection.execute(statement, [*_stored(table, given), *_key(found)])
    return await find_row(connection, table, (found.site,), found.id)


async def delete_row(connection: Connection, writing: Writing, found: Found) -> Found:
    """Delete a row and return what is left of it; raise RowMoved, StillReferredTo."""
    async with _by_client(connection, writing):
        await _hold(connection, writing.table, found)
    await _check_alone(connection, writing, found)
    statement = sql.SQL("DELETE FROM {} WHERE site_id = %s AND created_at = %s AND id = %s")
    async with _by_client(connection, writing):
        await connection.execute(
            statement.format(sql.Identifier("mes", writing.table.name)), _key(found)
        )
    return await find_row(connection, writing.table, (found.site,), found.id)


@asynccontextmanager
async def _by_client(connection: Connection, writing: Writing) -> AsyncIterator[None]:
    """Write as a client does; tell of what PostgreSQL refuses for what it means."""
    try:
        async with acting(connection, writing.site, writing.person):
            yield
    except psycopg.errors.SerializationFailure as error:
        raise RowMoved("the row was written since; read it again, and name its version") from error
    except psycopg.errors.UniqueViolation as error:
        _, is_ours, number = (error.diag.constraint_name or "").rpartition("_natural_key_")
        if not is_ours:
            raise
        raise KeyTaken(writing.table.natural_keys[int(number)], writing.site) from error


async def _hold(connection: Connection, table: Table, found: Found) -> None:
    """Hold a row at the version that was seen, until the commit."""
    await connection.execute(
        "SELECT mes.seen(%s, %s, %s, %s)", [table.name, found.site, found.id, found.version]
    )


def _key(found: Found) -> list[str]:
    return [found.site, found.created_at, found.id]


def _stored(table: Table, values: Mapping[str, Value]) -> list[object]:
    return [stored(table, name, value) for name, value in values.items()]


# --- what refers to what ---------------------------------------------------------------------


async def _check_zone(connection: Connection, table: Table, values: Mapping[str, Value]) -> None:
    """Raise BadRow for a zone that PostgreSQL does not know: nothing could be told by its hours."""
    zone = values.get(column := ZONES.get(table.name, ""))
    if zone is None:
        return
    query = "SELECT FROM pg_catalog.pg_timezone_names WHERE name = %s"
    if await (await connection.execute(query, [zone])).fetchone() is None:
        raise BadRow(Broken(column, "a time zone of the IANA's names, such as Europe/Berlin"))


# Whoever deletes the row holds its head for themselves: they wait for us, or we for them.
_REFERRED: Final = """
SELECT FROM sync.head AS h JOIN sync.table_no AS n ON n.no = h.table_no
WHERE n.name = %s AND h.site_id = ANY (%s) AND h.id = %s AND NOT h.deleted
FOR SHARE OF h"""


async def _hold_references(
    connection: Connection, writing: Writing, values: Mapping[str, Value]
) -> None:
    """Hold what a row refers to; raise BadRow where that is not there.

    A row refers to rows of its own site and to shared ones, since no other row comes to its site.
    A fact that it refers to may be on its way from there, so that is taken as it is. What makes up
    a version never changes: a site adds nothing of its own to one that is shared.
    """
    table, broken = writing.table, []
    is_of_version = table.append_only and table.direction is Direction.DOWN
    for name, value in values.items():
        column = table.column(name)
        parent, is_own = column.references, is_of_version and column.enforced
        if parent is None or value is None or writing.catalog.table(parent).fact:
            continue
        cursor = await connection.execute(
            _REFERRED, [parent, [writing.site, writing.site if is_own else SHARED], value]
        )
        if await cursor.fetchone() is None:
            owners = writing.site if is_own else f"{writing.site} or shared"
            rule = f"{parent} has no row of this id that is of {owners}"
            broken.append(Broken(name, rule))
    if broken:
        raise BadRow(*broken)


async def _check_alone(connection: Connection, writing: Writing, found: Found) -> None:
    """Raise StillReferredTo where other rows refer to one; to a shared one, of any site."""
    for child, column in _referring(writing.catalog, writing.table):
        of_site = sql.SQL("" if found.site == SHARED else " AND site_id = {}").format(
            sql.Literal(found.site)
        )
        query = sql.SQL("SELECT FROM {} WHERE {} = %s{} LIMIT 1").format(
            sql.Identifier("mes", child), sql.Identifier(column), of_site
        )
        cursor = await connection.execute(query, [found.id])
        if await cursor.fetchone() is not None:
            raise StillReferredTo(f"rows of {child} refer to it by {column}")


def _referring(catalog: Catalog, table: Table) -> Iterator[tuple[str, str]]:
    """Give the tables and columns that may refer to rows of a table and are quickly looked at.

    Facts go by an index or not at all: they stand for what happened, whatever they name is left.
    """
    for child in catalog.tables:
        for column in child.columns:
            is_indexed = column.name in INDEXES.get(child.name, ())
            if column.references == table.name and (is_indexed or not child.fact):
                yield child.name, column.name

"""What is known of archived months: their state, their files, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime  # noqa: TC003 - read by the fields of a dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from central.archive_contents import ArchiveAway, Contents
from central.partitions import Partition

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from psycopg import AsyncConnection

#: The schema in which detached partitions stand, under their own names.
ASIDE: Final = "archive"


class State(StrEnum):
    """Where the rows of a month are."""

    DETACHING = "detaching"  #: being detached; where that was interrupted, it is to be done again
    DETACHED = "detached"  #: in the schema archive, and not in the file
    ARCHIVED = "archived"  #: in the schema archive, and in the file
    DROPPED = "dropped"  #: in the file alone
    ATTACHED = "attached"  #: back in their table; a file that is left is nobody's


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month that was detached, as the table ``sync.archive`` has it."""

    table_name: str
    site_id: str
    month: str
    state: State
    generation: int
    file: str | None
    rows: int | None
    bytes: int | None
    sha256: str | None
    sum: int | None
    aside_rows: int | None
    aside_sum: int | None
    detached_at: datetime | None
    archived_at: datetime | None
    verified_at: datetime | None
    dropped_at: datetime | None
    attached_at: datetime | None

    @property
    def partition(self) -> Partition:
        """Return the partition whose rows it has."""
        return Partition(self.table_name, self.site_id, self.month)

    @property
    def counts(self) -> bool:
        """Return whether rows of it are in a file."""
        return self.file is not None

    @property
    def contents(self) -> Contents:
        """Return what is in the file; nothing where there is none."""
        return Contents(self.rows or 0, int(self.sum or 0)) if self.counts else Contents(0, 0)

    @property
    def aside(self) -> Contents:
        """Return what stood in the schema archive when the file was written."""
        return Contents(self.aside_rows or 0, int(self.aside_sum or 0))

    @property
    def is_whole_aside(self) -> bool:
        """Return whether all that is in the file also stands in the schema archive."""
        return self.state is State.ARCHIVED and self.aside == self.contents

    def path(self, root: Path | None) -> Path:
        """Return where its file is; raise ArchiveAway where no folder is named."""
        if root is None:
            raise ArchiveAway(f"{self.file} is in the archive: name its folder in MES_ARCHIVE_DIR")
        assert self.file is not None
        return root / self.file


def file_name(partition: Partition, generation: int) -> str:
    """Return the name of a month's file, below the root."""
    return f"{partition.table}/{partition.site}/{partition.month}.{generation}.parquet"


_FIELDS: Final = ", ".join(field.name for field in fields(Month))


async def months(
    connection: AsyncConnection[Any],
    *,
    table: str | None = None,
    sites: Collection[str] | None = None,
    month: str | None = None,
) -> list[Month]:
    """Return what is known of these months, in order; of all, where nothing is named."""
    cursor = await connection.execute(
        f"SELECT {_FIELDS} FROM sync.archive"
        " WHERE (%(table)s::text IS NULL OR table_name = %(table)s)"
        " AND (%(sites)s::text[] IS NULL OR site_id = ANY(%(sites)s))"
        " AND (%(month)s::text IS NULL OR month = %(month)s)"
        " ORDER BY table_name, site_id, month",
        {"table": table, "sites": None if sites is None else list(sites), "month": month},
    )
    names = [field.name for field in fields(Month)]
    return [
        Month(**(given := dict(zip(names, row, strict=True))) | {"state": State(given["state"])})
        for row in await cursor.fetchall()
    ]


async def find(connection: AsyncConnection[Any], partition: Partition) -> Month | None:
    """Return what is known of a month; None where it was never detached."""
    found = await months(
        connection, table=partition.table, sites=[partition.site], month=partition.month
    )
    return found[0] if found else None


async def record(connection: AsyncConnection[Any], partition: Partition, **values: Any) -> None:
    """Note values of a month, and leave the others as they are."""
    names = ", ".join(values)
    holes = ", ".join(f"%({name})s" for name in values)
    sets = ", ".join(f"{name} = excluded.{name}" for name in values)
    await connection.execute(
        f"INSERT INTO sync.archive (table_name, site_id, month, {names})"
        f" VALUES (%(_table)s, %(_site)s, %(_month)s, {holes})"
        f" ON CONFLICT (table_name, site_id, month) DO UPDATE SET {sets}".encode(),
        values | {"_table": partition.table, "_site": partition.site, "_month": partition.month},
    )


class Standing(StrEnum):
    """How a partition stands in the schema mes."""

    ABSENT = "absent"
    ATTACHED = "attached"
    PENDING = "pending"  #: DETACH CONCURRENTLY was begun and not ended
    LOOSE = "loose"  #: detached, and not moved aside yet


async def standing(connection: AsyncConnection[Any], partition: Partition) -> Standing:
    """Return how a partition stands in the schema mes."""
    cursor = await connection.execute(
        "SELECT i.inhdetachpending FROM pg_class AS c LEFT JOIN pg_inherits AS i"
        " ON i.inhrelid = c.oid WHERE c.relnamespace = 'mes'::regnamespace AND c.relname = %s",
        [partition.name],
    )
    row = await cursor.fetchone()
    if row is None:
        return Standing.ABSENT
    if row[0] is None:
        return Standing.LOOSE
    return Standing.PENDING if row[0] else Standing.ATTACHED


async def columns_of(connection: AsyncConnection[Any], schema: str, name: str) -> list[str]:
    """Return the columns of a table; none where there is no such table."""
    cursor = await connection.execute(
        "SELECT a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = %s AND a.attnum > 0"
        " AND NOT a.attisdropped",
        [schema, name],
    )
    return [column for (column,) in await cursor.fetchall()]

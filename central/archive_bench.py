"""What work on archived months needs: a connection, its roles, short locks, and to be alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.archive_hash import STAY, archivable
from central.archive_loading import alone_key
from central.capture import INGEST
from central.roles import OWNER
from central.schema import waited_for
from shared.errors import Fatal, StoreBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from psycopg import AsyncConnection

    from central.archive_loading import Shelf
    from central.archive_writing import Tell
    from central.partitions import Partition
    from shared.catalog import Table

#: How long a lock of a partition is waited for: whoever writes late rows waits behind it.
_LOCK_MAX_S: Final = 5
_TRIES: Final = 6


def _silent(_step: str, _rows: int) -> None:
    """Tell nobody."""


class NotArchivable(Fatal):
    """Months of this table have to stay, or there is no such month."""


class NotYet(Fatal):
    """Another step comes first."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the work on a month needs."""

    #: In autocommit mode, of a role that may act as mes_owner and as mes_ingest; nobody else's.
    connection: AsyncConnection[Any]
    shelf: Shelf
    #: Is told how many rows are done.
    tell: Tell = _silent

    def table(self, partition: Partition) -> Table:
        """Return the table; raise NotArchivable where it is none of which months may leave."""
        table = self.shelf.catalog.table(partition.table)
        if not archivable(table):
            why = (
                "it is not split by month" if not table.partitioned
                else "its rows change, and their heads say that they are here"
            )  # fmt: skip
            raise NotArchivable(f"{table.name} can't be archived: {why}")
        return table

    def may_leave(self, partition: Partition) -> None:
        """Raise NotArchivable where months of its table have to stay.

        Those that left before a catalogue had others wait for the table may be brought back.
        """
        table = self.table(partition)
        self.check_stay(table)
        if table.name in waited_for(self.shelf.catalog):
            raise NotArchivable(
                f"{table.name} can't be archived: late rows of other tables wait for its rows"
            )

    def check_stay(self, table: Table) -> None:
        """Raise NotArchivable where answers rest on all months of a table."""
        if why := STAY.get(table.name):
            raise NotArchivable(
                f"{table.name} can't be archived: {why}; what left before is brought back by"
                " `mes-central partitions attach`"
            )

    def needs_root(self) -> None:
        """Raise NotArchivable where no folder of the archive is named."""
        if self.shelf.root is None:
            raise NotArchivable("MES_ARCHIVE_DIR is not set: name the folder of the archive")

    @property
    def root(self) -> Path:
        """Return the folder of the archive; raise NotArchivable where none is named."""
        self.needs_root()
        assert self.shelf.root is not None
        return self.shelf.root


@asynccontextmanager
async def opened(url: str, shelf: Shelf, tell: Tell | None = None) -> AsyncIterator[Bench]:
    """Open a connection for this work, of a role that may migrate."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await as_ingest(connection)
        yield Bench(connection, shelf, tell or _silent)


async def as_ingest(connection: AsyncConnection[Any]) -> None:
    """Go on as the role that sees all rows."""
    if not connection.closed and not connection.broken:
        await connection.execute(f"SET ROLE {INGEST}".encode())
        await connection.execute(b"RESET lock_timeout")


@asynccontextmanager
async def alone(bench: Bench, partition: Partition) -> AsyncIterator[None]:
    """Be the only one at work on months of a site; raise StoreBusy where somebody else is."""
    connection, key = bench.connection, [alone_key(partition.site)]
    cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", key)
    if not (await cursor.fetchone() or [False])[0]:
        raise StoreBusy(
            f"somebody else archives a month of {partition.site}, or adds its facts up; try again"
        )
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            await connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


async def shortly(
    connection: AsyncConnection[Any], statements: Sequence[str],
    also: Callable[[], Awaitable[None]] | None = None,
) -> None:  # fmt: skip
    """Run statements as the owner, then ``also`` as the ingest, in one transaction.

    A lock is waited for shortly and asked for again: whoever wants the table waits behind us.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_MAX_S}s'".encode())
                await connection.execute(f"SET LOCAL ROLE {OWNER}".encode())
                for statement in statements:
                    await connection.execute(statement.encode())
                await connection.execute(f"SET LOCAL ROLE {INGEST}".encode())
                if also is not None:
                    await also()
                return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as why:
            if attempt == _TRIES:
                raise StoreBusy(f"a part stayed locked; try again later: {why}") from why
        await asyncio.sleep(_LOCK_MAX_S / 5)


async def note_time(connection: AsyncConnection[Any], partition: Partition, what: str) -> None:
    """Note when something was done with a month: now."""
    await connection.execute(
        f"UPDATE sync.archive SET {what} = now()"
        " WHERE (table_name, site_id, month) = (%s, %s, %s)".encode(),
        [partition.table, partition.site, partition.month],
    )

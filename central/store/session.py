"""The connection of a store: made anew when it was lost, its transactions tried again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from central.partitions import Partition, ensure
from central.store.applying import Applying, Tally
from central.store.overwrite import RowsMoved
from central.store.parents import KnownIds, parent_tables
from shared.errors import SchemaMismatch, StoreBusy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from psycopg import AsyncConnection

    from shared.catalog import Catalog

    Connect = Callable[[], Awaitable[AsyncConnection[Any]]]

Result = TypeVar("Result")

#: Attempts at a transaction before the caller is asked to wait.
TRIES_MAX: Final = 5
#: Before the second attempt; each further one is preceded by that much more.
PAUSE_S: Final = 0.05

#: A worker that stands still in the middle of a transaction (its machine is frozen, its line cut)
#: holds the site's chain, and no other could go on from where its lease ran out: so PostgreSQL ends
#: its session. Both bounds are needed: the first is let go of where a client's pipeline ended with
#: the transaction still open. Of one transaction, not of the session: a pooler may stand before us.
ABANDONED: Final = b"""SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
                              set_config('transaction_timeout', '30s', true)"""
#: The same for a transaction that may take long: of a million rows, or in thousands of pieces.
ABANDONED_LONG: Final = b"SET LOCAL idle_in_transaction_session_timeout = '10s'"
_ENDED: Final = (
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)

#: What passes when a transaction is tried again.
_PASSING: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    RowsMoved,
)


class Session:
    """One connection, what the store has learned through it, and how its transactions end."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        catalog: Catalog,
        reconnect: Connect | None,
        *,
        asks_hello: bool = False,
    ) -> None:
        """Take a connection; ``asks_hello`` as for ``CentralStore.open``."""
        self.catalog = catalog
        self.asks_hello = asks_hello
        self._connection = connection
        self._reconnect = reconnect
        self._parents = parent_tables(catalog)
        self._known = KnownIds()
        self._partitions: set[Partition] = set()
        self._table_nos: dict[str, int] = {}

    async def ready(self) -> AsyncConnection[Any]:
        """Return the connection, made anew if it was lost."""
        if self._connection.info.transaction_status is TransactionStatus.ACTIVE:
            # Whoever was cancelled while it waited for an answer has left a command behind.
            await self._connection.close()
        if self._connection.closed:
            if self._reconnect is None:
                raise StoreBusy("the connection to PostgreSQL is gone")
            self._connection = await self._reconnect()
        # Each statement is planned for the rows that it comes with. A plan that is kept is made for
        # arrays of ten, and joins two thousand rows with two thousand by a nested loop.
        self._connection.prepare_threshold = None
        return self._connection

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def transaction(
        self, work: Callable[[AsyncConnection[Any]], Awaitable[Result]], *, is_short: bool = False
    ) -> Result:
        """Do the work in one transaction, again where somebody else was in the way.

        One that is short and all the same takes very long is taken for one that was abandoned.
        """
        for attempt in range(1, TRIES_MAX):
            try:
                return await self._transaction(work, ABANDONED if is_short else ABANDONED_LONG)
            except _PASSING:
                await asyncio.sleep(PAUSE_S * attempt)
        try:
            return await self._transaction(work, ABANDONED if is_short else ABANDONED_LONG)
        except _PASSING as why:
            raise StoreBusy(f"others are at the same rows: {why}") from why

    async def _transaction(
        self, work: Callable[[AsyncConnection[Any]], Awaitable[Result]], bounds: bytes
    ) -> Result:
        connection = await self.ready()
        try:
            await connection.execute(bounds)
            result = await work(connection)
            await connection.commit()
        except BaseException as why:
            await _undo(connection)
            if isinstance(why, psycopg.errors.UndefinedTable):
                self._partitions.clear()  # one of them was dropped: it is made anew
                raise StoreBusy(f"a partition is not there: {why}") from why
            if isinstance(why, psycopg.errors.ReadOnlySqlTransaction):
                raise StoreBusy(f"PostgreSQL takes no writes at the moment: {why}") from why
            if isinstance(why, _ENDED):
                raise StoreBusy(f"we stood still for too long: {why}") from why
            raise
        return result

    async def make_partitions(self, wanted: Iterable[Partition]) -> None:
        """Make the partitions that are missing, in transactions of their own."""
        unknown = set(wanted) - self._partitions
        if unknown:
            await ensure(await self.ready(), unknown, self._partitions)

    async def applying(
        self, connection: AsyncConnection[Any], site: str, *, now: str, waiting: bool
    ) -> Applying:
        """Return the beginning of an apply in the transaction that is open."""
        return Applying(
            connection=connection,
            catalog=self.catalog,
            table_nos=await self._numbers(connection),
            parents=self._parents,
            site=site,
            known=self._known,
            now=now,
            waiting=waiting,
        )

    def learn(self, site: str, tally: Tally) -> None:
        """Remember which rows are there; to be called after the commit."""
        for found in (tally.brought, tally.learned):
            for table, ids in found.items():
                self._known.add(site, table, ids)

    async def _numbers(self, connection: AsyncConnection[Any]) -> dict[str, int]:
        if not self._table_nos:
            cursor = await connection.execute(b"SELECT name, no FROM sync.table_no")
            numbers: dict[str, int] = dict(await cursor.fetchall())
            absent = [t.name for t in self.catalog.tables if t.name not in numbers]
            if absent:
                raise SchemaMismatch(
                    f"the database has no table {', '.join(absent)}; run `mes-central migrate`"
                )
            self._table_nos = numbers
        return self._table_nos


async def _undo(connection: AsyncConnection[Any]) -> None:
    """Roll back; give a connection up that can't, so that the next transaction has another one."""
    if connection.closed:
        return
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()

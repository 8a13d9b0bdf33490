"""The centre's store: what the sites sent goes into PostgreSQL here, each run in one transaction.

``CentralStore`` is the door. It needs nothing that outlives a transaction: locks, settings and
temporary tables all end with the commit, so a pooler may stand before it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from central.store import abandoned, apply, leases, parking, retrying, salvage, spool
from central.store.batch import Incoming
from central.store.leases import Lease
from central.store.outcome import RunOutcome
from central.store.salvage import Teller
from central.store.session import Session
from shared.changes import Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from psycopg import AsyncConnection

    from central.store.abandoned import StandingStill
    from central.store.lives import Life
    from central.store.session import Connect
    from shared.catalog import Catalog
    from shared.changes import HeadBlock, Part
    from shared.errors import Poison

__all__ = ["CentralStore", "Incoming", "Lease", "RunOutcome", "Teller"]

#: Bytes of a refused message that are kept.
REFUSED_BYTES_MAX: Final = 1 << 20


class CentralStore:
    """One connection that applies, for one site at a time.

    Failures that pass raise a ``Transient`` or psycopg's ``OperationalError`` and leave nothing
    behind; the caller tries again. A connection that was lost is made anew where the store was
    opened by its address.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        catalog: Catalog,
        *,
        reconnect: Connect | None = None,
        asks_hello: bool = False,
    ) -> None:
        """Take a connection that nobody else uses; autocommit must be off."""
        self._session = Session(connection, catalog, reconnect, asks_hello=asks_hello)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, catalog: Catalog, *, asks_hello: bool = False
    ) -> AsyncIterator[Self]:
        """Open a store by its address, and close it at the end.

        One that ``asks_hello`` raises ``Unverified`` for a site that has not said hello since the
        server was started: it may have been started as an older copy of itself.
        """
        reconnect = partial(psycopg.AsyncConnection.connect, url)
        store = cls(await reconnect(), catalog, reconnect=reconnect, asks_hello=asks_hello)
        try:
            yield store
        finally:
            await store.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    # --- what the sites sent ------------------------------------------------------------------

    async def apply_run(self, run: Sequence[Incoming], *, lease: Lease) -> RunOutcome:
        """Apply the transactions that are in order, all that can be taken or none of them.

        Raises ``LeaseLost`` where another worker has the site. A row that can't be applied is
        parked; a transaction is never refused for what is in it.
        """
        return await apply.apply_run(self._session, run, lease)

    async def spool_part(self, part: Part, message: bytes, stored_at_ms: int) -> bool:
        """Keep a part of a large transaction; return whether its epoch still takes it.

        Raises MalformedMessage for a damaged one.

        No lease is asked for: a part that is kept twice, or by two workers, is the same part.
        """
        return await self._session.transaction(
            lambda connection: spool.keep(connection, part, message, stored_at_ms)
        )

    async def apply_spooled(self, part: Part, lease: Lease) -> RunOutcome:
        """Apply the transaction that a part is of; GAP where another part has not come yet.

        The memory is that of one part, whatever the size of the transaction.
        """
        return await apply.apply_spooled(self._session, part, lease)

    async def quarantine(self, site: str, payload: bytes, why: Poison, stored_at_ms: int) -> None:
        """Keep a message that can't be read, once however often it comes."""
        await self._session.transaction(
            lambda connection: parking.quarantine(
                connection, site, payload[:REFUSED_BYTES_MAX],
                reason=type(why).__name__, message=str(why), stored_at_ms=stored_at_ms,
            )
        )  # fmt: skip

    async def take_home(
        self, teller: Teller, since: Life, blocks: Sequence[HeadBlock]
    ) -> dict[str, int]:
        """Take in rows of a history that the centre lost, as a site knows them; count them.

        ``since`` is the first of the server's lives that the site has not met.
        """
        return await salvage.take_home(self._session, teller, since, blocks)

    async def position(self, site: str, epoch: str) -> Position | None:
        """Return how far a site's chain is decided, None where the epoch is not known."""

        async def read(connection: AsyncConnection[Any]) -> Position | None:
            cursor = await connection.execute(
                b"SELECT last_n, last_hash FROM sync.epoch WHERE site = %s AND epoch = %s",
                [site, epoch],
            )
            row = await cursor.fetchone()
            return Position(row[0], bytes(row[1])) if row else None

        return await self._session.transaction(read)

    # --- what was parked ----------------------------------------------------------------------

    async def retry(self, ticket: str) -> bool:
        """Try a parked row again; return whether it, and what it is tied to, is applied now."""
        return await retrying.retry_ticket(self._session, ticket)

    async def discard(self, ticket: str, by: str) -> bool:
        """Let go of a parked row on a person's word; return whether there was one."""
        return await retrying.discard_ticket(self._session, ticket, by)

    async def retry_due(self, site: str) -> int:
        """Apply what waited for a row of the centre or for a migration; return the number."""
        return await retrying.retry_due(self._session, site)

    # --- who applies for whom -----------------------------------------------------------------

    async def claim(self, holder: str, *, ttl_s: float) -> dict[str, Lease]:
        """Return the leases that a worker holds for ``ttl_s`` seconds: its fair share of the sites.

        To be called again well before they run out.
        """
        await self._session.transaction(
            lambda connection: leases.show_up(connection, holder, ttl_s=ttl_s), is_short=True
        )
        return await self._session.transaction(
            lambda connection: leases.claim(connection, holder, ttl_s=ttl_s), is_short=True
        )

    async def end_abandoned(self, seen: StandingStill, now_s: float) -> list[int]:
        """End the sessions that have stood still for too long and hold a site's chain.

        Return the numbers of their processes. To be called again and again with what was ``seen``.
        """
        found = await self._session.transaction(abandoned.standing, is_short=True)
        if not (still := seen.look(found, now_s)):
            return []
        return await self._session.transaction(
            lambda connection: abandoned.end(connection, still), is_short=True
        )

    async def release(self, holder: str) -> None:
        """Let go of all that a worker holds."""
        await self._session.transaction(lambda connection: leases.release(connection, holder))

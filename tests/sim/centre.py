"""The centre in this process: the product's own code on a PostgreSQL that is used again and again.

What applies, sequences, publishes and answers is the code that runs in production. Here it is
called step by step; what it is called through (the worker's loop, the relay's loop) is left out.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import psycopg

from central.control import Control
from central.feed import Sequencer
from central.ingest import SiteInbox, Stores
from central.migrate import migrate
from central.relay import FeedLane
from central.roles import as_role
from central.store import CentralStore
from central.store.lives import life_now
from central.upkeep import advance_safe, prune
from shared.changes import SHARED
from shared.errors import Unverified
from sync.pump import Receiver, Sender
from tests.sim.catalogue import CREATED, NEW, SITES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from central.store.leases import Lease
    from shared.catalog import Catalog
    from tests.sim.broker import Broker

#: Tables that outlive a run: they tell how the database is built.
KEPT = ("sync.migration", "sync.generated", "sync.catalogue", "sync.table_no")
#: Rows that are deleted leave something behind; now and then all is made as new.
TRUNCATED_EVERY = 20
FACT_DAYS = 36_500


class CutConnection(psycopg.AsyncConnection[Any]):
    """A connection that breaks at a chosen statement, before a commit, or after one unheard."""

    #: What breaks it, and how many statements before.
    cut: str = ""
    countdown: int = 0
    met: ClassVar[Counter[str]] = Counter()

    def arm(self, cut: str, countdown: int = 0) -> None:
        """Have it break once."""
        self.cut, self.countdown = cut, countdown

    def _break(self) -> None:
        self.met[self.cut] += 1
        cut, self.cut = self.cut, ""
        raise psycopg.OperationalError(f"cut: {cut}")

    async def execute(self, *given: Any, **named: Any) -> Any:
        """Execute, or break before it."""
        if self.cut == "at a statement":
            self.countdown -= 1
            if self.countdown < 0:
                self._break()
        return await super().execute(*given, **named)

    async def commit(self) -> None:
        """Commit, or break before it, or break so that nobody hears of it."""
        if self.cut == "before the commit":
            self._break()
        await super().commit()
        if self.cut == "after the commit":
            self._break()


class Pool:
    """A few connections, lent as ``psycopg_pool`` lends them."""

    def __init__(self, connections: Sequence[CutConnection]) -> None:
        self._free: asyncio.Queue[CutConnection] = asyncio.Queue()
        for each in connections:
            self._free.put_nowait(each)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[CutConnection]:
        """Lend one, and commit what was done with it."""
        connection = await self._free.get()
        try:
            yield connection
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise
        finally:
            self._free.put_nowait(connection)


@dataclass
class Database:
    """One PostgreSQL database and the connections to it, for all runs of a campaign."""

    url: str
    catalog: Catalog
    admin: psycopg.AsyncConnection[Any]
    #: Programs of the centre; the second one's transactions stay open for a while.
    clients: tuple[psycopg.AsyncConnection[Any], psycopg.AsyncConnection[Any]]
    applying: CutConnection
    sequencing: CutConnection
    publishing: CutConnection
    pooled: tuple[CutConnection, ...]
    numbers: dict[str, int]
    _names: list[str]
    _runs: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    async def open(cls, url: str, catalog: Catalog = NEW) -> Database:
        """Migrate an empty database and connect to it in every role."""
        await migrate(url, catalog, SITES)
        ingest = as_role(url, "mes_ingest")
        connect, plain = CutConnection.connect, psycopg.AsyncConnection.connect
        admin = await plain(url, autocommit=True)
        await _prepare(admin, catalog)
        cursor = await admin.execute("SELECT name, no FROM sync.table_no")
        app = as_role(url, "mes_app")
        return cls(
            url, catalog, admin, (await plain(app), await plain(app)),
            applying=await connect(ingest),
            sequencing=await connect(ingest), publishing=await connect(ingest, autocommit=True),
            pooled=tuple([await connect(ingest) for _ in range(3)]),
            numbers=dict(await cursor.fetchall()), _names=await _names(admin),
        )  # fmt: skip

    async def close(self) -> None:
        """Close all connections."""
        for each in (
            self.admin, *self.clients, self.applying, self.sequencing, self.publishing,
            *self.pooled,
        ):  # fmt: skip
            await each.close()

    async def empty(self) -> None:
        """Make it as new, but for its tables."""
        for each in self.clients:
            await each.rollback()
        await self.mend()
        if next(self._runs) % TRUNCATED_EVERY:
            await self.admin.execute("; ".join(f"DELETE FROM {name}" for name in self._names))
        else:
            await self.admin.execute(f"TRUNCATE {', '.join(self._names)}")
        await self.admin.execute(
            b"INSERT INTO sync.site (site) SELECT unnest(%s::text[])", [list(SITES)]
        )

    async def starts(self, at_ms: int) -> str:
        """Start the server again: what was not committed is gone; return which life begins.

        The feed process is the first to be there, as it has to be after a restore.
        """
        for each in self.clients:
            await each.rollback()
        await self.mend()
        await self.admin.execute(
            "DELETE FROM sync.verified; DELETE FROM sync.life_now;"
            f" UPDATE public.sim_start SET at_ms = {at_ms}"
        )
        life = await life_now(self.publishing)
        # The server was started long ago in truth, and tells the time of that.
        await self.admin.execute(
            b"UPDATE sync.life SET started_ms = %s WHERE id = %s", [at_ms, life.id]
        )
        return life.id

    async def mend(self) -> None:
        """Have no connection break any more."""
        for each in (self.applying, self.sequencing, self.publishing, *self.pooled):
            each.cut = ""
            await each.rollback()

    async def rows(self, query: str, *given: object) -> list[tuple[Any, ...]]:
        """Return what a superuser sees."""
        cursor = await self.admin.execute(query.encode(), list(given) or None)
        return await cursor.fetchall()


async def _prepare(admin: psycopg.AsyncConnection[Any], catalog: Catalog) -> None:
    # The clock of the centre's programs is the campaign's; nothing else of the database is ours.
    # Programs say what time it is; who does not is told when the server was started.
    await admin.execute(
        "CREATE TABLE public.sim_start (at_ms bigint); INSERT INTO public.sim_start VALUES (0);"
        " GRANT SELECT ON public.sim_start TO PUBLIC;"
        " CREATE OR REPLACE FUNCTION sync.now_ms() RETURNS bigint LANGUAGE sql VOLATILE"
        " RETURN coalesce(nullif(current_setting('sim.now_ms', true), '')::bigint,"
        " (SELECT at_ms FROM public.sim_start))"
    )
    await admin.execute("SET session_replication_role = 'replica'")
    for table in catalog.tables:
        for site in SITES if table.partitioned else ():
            await admin.execute(
                b"SELECT sync.make_partition(%s, %s, %s::date)", [table.name, site, CREATED[:10]]
            )


async def _names(admin: psycopg.AsyncConnection[Any]) -> list[str]:
    cursor = await admin.execute(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname IN ('mes', 'sync') AND c.relkind = 'r'"
    )
    return [name for (name,) in await cursor.fetchall() if name not in KEPT]


class Inbox(SiteInbox):
    """A site's inbox, which tells where the product's waits for a hello."""

    async def take(self, messages: Sequence[Any]) -> Any:
        """Take them, or ask for a hello; the broker delivers again what was not taken."""
        try:
            return await self._take(messages)
        except Unverified:
            await self.ask_hello()
            raise


class Listener(Protocol):
    """Whoever wants to know what the centre may have committed."""

    reach: Counter[str]

    def taking(self, tx_id: str, stored_at_ms: int) -> None:
        """Hear of an attempt at a transaction, and when the broker had stored it."""

    async def look(self) -> None:
        """Look after what may have been committed."""


class WatchedStore:
    """The centre's store, which lets the oracle look after whatever may have been committed."""

    def __init__(self, store: CentralStore, oracle: Listener, database: Database) -> None:
        self.store = store
        self._oracle, self._look, self._database = oracle, oracle.look, database

    async def apply_run(self, run: Sequence[Any], *, lease: Lease) -> Any:
        """Apply, and look."""
        for each in run:
            self._oracle.taking(each.sent.tx_id, each.sent.stored_at_ms)
        try:
            outcome = await self.store.apply_run(run, lease=lease)
        finally:
            await self._look()
        self._oracle.reach["up: SKIP"] += outcome.skipped
        return outcome

    async def spool_part(self, *given: Any) -> bool:
        """Keep a part."""
        return await self.store.spool_part(*given)

    async def apply_spooled(self, part: Any, lease: Lease) -> Any:
        """Apply, and look."""
        ((at,),) = await self._database.rows(
            "SELECT max(stored_at_ms) FROM sync.part WHERE hash = %s", part.hash
        )
        if at is not None:
            self._oracle.taking(part.tx_id, at)
        try:
            return await self.store.apply_spooled(part, lease)
        finally:
            await self._look()

    async def quarantine(self, *given: Any) -> None:
        """Keep what can't be read."""
        await self.store.quarantine(*given)

    async def retry(self, ticket: str) -> bool:
        """Try a parked row again, and look."""
        try:
            return await self.store.retry(ticket)
        finally:
            await self._look()

    async def retry_due(self, site: str) -> int:
        """Try what has become due, and look."""
        try:
            return await self.store.retry_due(site)
        finally:
            await self._look()

    async def discard(self, ticket: str, by: str) -> bool:
        """Let go of a parked row, and look."""
        try:
            return await self.store.discard(ticket, by)
        finally:
            await self._look()


class Centre:
    """One run's centre: what its processes hold in memory, over the database."""

    def __init__(self, database: Database, broker: Broker, oracle: Listener) -> None:
        self.database, self.broker, self._oracle = database, broker, oracle
        self.control: Control | None = None
        self.leases: dict[str, Lease] = {}
        self._lives = itertools.count(1)
        self.receivers: dict[str, Receiver] = {}
        self.senders: dict[str, Sender] = {}
        self._receivers_of_before: dict[str, Receiver] = {}

    async def start(self) -> None:
        """Begin a life of all processes: they hold nothing but what is in the database."""
        database = self.database
        plain = CentralStore(database.applying, database.catalog, asks_hello=True)
        self.store = WatchedStore(plain, self._oracle, database)
        # A person's commands ask for no hello.
        persons = CentralStore(database.applying, database.catalog)
        self.by_hand = WatchedStore(persons, self._oracle, database)
        # The lives before are long over: their leases have run out.
        await database.admin.execute("DELETE FROM sync.worker")
        await database.admin.execute("UPDATE sync.site SET lease_until = '-infinity'")
        self.leases = await plain.claim(f"worker {next(self._lives)}", ttl_s=3600)
        stores = Stores([self.store], database.catalog)  # type: ignore[list-item]
        self.receivers = {
            site: Receiver(Inbox(site, lease, stores, self.broker))  # type: ignore[arg-type]
            for site, lease in self.leases.items()
        }
        self.sequencer = Sequencer(database.sequencing, database.catalog)
        self.control = Control(
            Pool(database.pooled), database.catalog, self._waiting, fact_days=FACT_DAYS  # type: ignore[arg-type]
        )  # fmt: skip
        self.broker.answering = self.control.answer
        rows = await database.rows("SELECT scope, published FROM sync.feed_head")
        self.senders = {scope: self._sender(scope, published) for scope, published in rows}

    def _sender(self, scope: str, published: int) -> Sender:
        return Sender(FeedLane(self.database.publishing, scope, published), self.broker)

    async def _waiting(self, site: str) -> int:
        return self.broker.waiting(f"up.{site}.tx", "apply")

    async def restart(self) -> None:
        """Kill all processes and start them again; the lives before stay as workers that lag."""
        await self.rest()
        self._receivers_of_before = self.receivers
        await self.database.mend()
        await self.start()

    async def rest(self) -> None:
        """Wait until nothing runs by itself."""
        tasks = [*self.control._spools.values()] if self.control is not None else []
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what its processes do ------------------------------------------------------------------

    async def ingest(self, site: str, count: int, *, lagging: bool = False) -> Any:
        """Have the worker take the next messages of a site; one of a life before may lag."""
        receivers = self._receivers_of_before if lagging else self.receivers
        receiver = receivers[site]
        subject = f"up.{site}.tx"
        deliveries = self.broker.deliver(subject, "apply", count)
        if not deliveries:
            return None
        verdict = await receiver.receive_next(deliveries)
        settled = min(receiver.inbox.settled(deliveries), receiver.settled(deliveries))  # type: ignore[attr-defined]
        self.broker.ack(subject, "apply", deliveries[:settled])
        return verdict

    async def publish(self) -> None:
        """Have the relay publish what the sequencer made."""
        behind = await self.database.publishing.execute(
            "SELECT scope, published FROM sync.feed_head WHERE published < pos ORDER BY scope"
        )
        for scope, published in await behind.fetchall():
            if scope not in self.senders:
                self.senders[scope] = self._sender(scope, published)
            while await self.senders[scope].send_next():
                pass

    async def safe(self) -> None:
        """Declare safe what is applied by now."""
        await advance_safe(self.database.admin, -1.0)

    async def prune(self, scope: str, keep: int) -> None:
        """Have the entries of a feed grow old, all but the last, and be pruned."""
        await self.database.admin.execute(
            b"UPDATE sync.feed SET made_at = made_at - interval '20 days' WHERE scope = %s"
            b" AND pos <= (SELECT pos FROM sync.feed_head WHERE scope = %s) - %s",
            [scope, scope, keep],
        )
        await prune(self.database.publishing, feed_days=14)

    def scopes(self) -> tuple[str, ...]:
        """Return the feeds that there are."""
        return (SHARED, *SITES)

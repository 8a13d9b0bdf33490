"""The control service: what an edge asks, and gets answered out of PostgreSQL.

``ctl.<site>.<verb>`` is imported by that site's account alone, so the subject says who asks. All
answers are safe to ask for again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from central import snapshot
from central.backups import LATE_HOURS, told_to_site
from central.compare import Comparing
from central.feed import entries_after, feed_position
from central.handshake import Handshake, is_gone, now_ms
from central.questions import check_question
from shared.changes import SHARED
from shared.errors import MalformedMessage, SyncError
from shared.observe import note
from sync import codec

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from shared.catalog import Catalog
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: Bytes in one answer; the broker takes 1 MiB.
PIECE_BYTES_MAX = 700 << 10
#: Snapshots made at once. Each takes two connections, one of them after the other: as many as the
#: pool has would wait for one another, and hellos for all of them.
_SPOOLS_MAX = 3
#: How long a question for a snapshot waits for its turn; the edge then asks again.
_TURN_S = 2.0

Fields = dict[str, Any]
Waiting = Callable[[str], Awaitable[int]]


class Control:
    """Answers the sites; several may run, and share the questions."""

    def __init__(
        self, pool: AsyncConnectionPool[AsyncConnection[Any]], catalog: Catalog,
        waiting: Waiting, *, fact_days: int = snapshot.FACT_DAYS,
        backup_hours: float = LATE_HOURS,
    ) -> None:  # fmt: skip
        self._fact_days = fact_days
        self._backup_hours = backup_hours
        self._pool = pool
        self._catalog = catalog
        #: ``waiting`` tells how many messages of a site the broker still holds for the ingest.
        self._handshake = Handshake(pool, catalog, waiting)
        self._comparing = Comparing(pool, catalog)
        self._spools: dict[str, asyncio.Task[str]] = {}
        self._starts: dict[str, asyncio.Future[tuple[str, Fields]]] = {}
        self._turns = asyncio.Semaphore(_SPOOLS_MAX)

    async def serve(self, link: Link) -> None:
        """Answer until cancelled."""
        await link.serve("ctl.*.*", self.answer, queue="control", concurrency_max=32)

    async def answer(self, subject: str, payload: bytes) -> bytes:
        """Return the answer to one question; an error goes back as text to the one who asked."""
        _, site, verb = subject.split(".")
        verbs: dict[str, Callable[[str, Fields], Awaitable[Fields]]] = {
            "hello": self._handshake.hello,
            "link": self._handshake.link,
            "close": self._handshake.close,
            "known": self._handshake.known,
            "sent": self._handshake.sent,
            "life": self._handshake.life,
            "home": self._handshake.home,
            "included": self._handshake.included,
            "again": self._handshake.again,
            "take_up": self._handshake.take_up,
            "feed": self._feed,
            "snapshot": self._snapshot,
            "chunk": self._chunk,
            "compare": self._comparing.answer,
        }
        if verb not in verbs:
            raise MalformedMessage(f"no question is called {verb!r}")
        asked = codec.decode_control(payload)
        check_question(verb, asked)
        answer = await verbs[verb](site, asked)
        if verb == "hello":
            answer["protected"] = await self._protected(site)
        return codec.encode_control(answer)

    async def _protected(self, site: str) -> Fields:
        async with self._pool.connection() as connection:
            return await told_to_site(
                connection, site, late_hours=self._backup_hours, now_ms=now_ms()
            )

    # --- feed and snapshots -------------------------------------------------------------------

    async def _feed(self, site: str, asked: Fields) -> Fields:
        scope, after = asked["scope"], int(asked["after"])
        if scope not in (site, SHARED):
            raise MalformedMessage(f"{site} may not follow feed {scope!r}")
        async with self._pool.connection() as connection:
            if await is_gone(connection, scope, after):
                return {"snapshot": f"feed {scope} no longer goes back to {after}", "entries": []}
            messages = await entries_after(connection, scope, after, bytes_max=PIECE_BYTES_MAX)
            head = await feed_position(connection, scope)
        end = head.n
        if not messages:  # the asker knows by the hash whether what it followed to here is this
            return {"entries": [], "end": end, "hash": head.hash}
        offset = int(asked.get("offset", 0))
        if offset or len(messages[0]) > PIECE_BYTES_MAX:
            piece = messages[0][offset : offset + PIECE_BYTES_MAX]
            return {"entries": [piece], "size": len(messages[0]), "end": end}
        return {"entries": messages, "end": end}

    async def _snapshot(self, site: str, asked: Fields) -> Fields:
        async with self._pool.connection() as connection:
            kept = await _one(
                connection,
                "SELECT id::text, manifest, chunks FROM sync.snapshot WHERE site = %s AND id = %s",
                [site, asked.get("id")],
            )
        spooling = site in self._spools and not self._spools[site].done()
        if kept is not None and (kept[2] is not None or spooling):
            return {"id": kept[0], "manifest": kept[1]}
        if not spooling or self._starts[site].done():  # else it still waits for its turn
            self._start_spool(site)
        task, started = self._spools[site], self._starts[site]
        both: list[asyncio.Future[Any]] = [started, task]
        await asyncio.wait(both, timeout=_TURN_S, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            why = task.exception() if task.done() else "others come first; ask again"
            raise SyncError(f"the snapshot could not be started: {why}")
        snapshot_id, manifest = started.result()
        return {"id": snapshot_id, "manifest": manifest}

    def _start_spool(self, site: str) -> None:
        """Start a snapshot in the place of the one under way, if there is one."""
        if site in self._spools:
            self._spools[site].cancel()
        started: asyncio.Future[tuple[str, Fields]] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._spool(site, started), name=f"snapshot for {site}")
        self._spools[site], self._starts[site] = task, started

    async def _spool(self, site: str, started: asyncio.Future[tuple[str, Fields]]) -> str:
        begun = time.monotonic()
        async with (
            self._turns, self._pool.connection() as reader, self._pool.connection() as writer
        ):  # fmt: skip
            spool = snapshot.Spool(reader, writer, self._catalog, fact_days=self._fact_days)
            made = await spool.fill(site, lambda key, manifest: started.set_result((key, manifest)))
        note(_log, "snapshot spooled", site=site, id=made, seconds=time.monotonic() - begun)
        return made

    async def _chunk(self, site: str, asked: Fields) -> Fields:
        task = self._spools.get(site)
        # Asked before we look: one that ends meanwhile may have made what is looked for. Another
        # process may be spooling it: only a spool of ours that died is known to be gone.
        died = task is not None and task.done()
        async with self._pool.connection() as connection:
            owner = await _one(
                connection, "SELECT site FROM sync.snapshot WHERE id = %s", [asked["id"]]
            )
            if owner is None or owner[0] != site:
                return {"gone": True}
            body, chunks = await snapshot.chunk(connection, asked["id"], int(asked["k"]))
        if body is not None:
            offset = int(asked.get("offset", 0))
            return {"piece": body[offset : offset + PIECE_BYTES_MAX], "size": len(body)}
        if chunks is not None:
            return {"end": True}
        return {"gone": True} if died else {"wait": True}


async def _one(
    connection: AsyncConnection[Any], query: Any, given: list[Any]
) -> tuple[Any, ...] | None:
    cursor = await connection.execute(query, given)
    row: tuple[Any, ...] | None = await cursor.fetchone()
    return row

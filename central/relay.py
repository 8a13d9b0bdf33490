"""The relay: sends what the sequencer wrote, in order, on each feed's subject."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central import metrics
from central.feed import Sequencer, entries_after
from shared.changes import SHARED
from shared.errors import Transient
from shared.observe import note
from sync.pump import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection

    from sync.transport import Link

_log = logging.getLogger(__name__)

#: The safety net under the notifications.
_LOOK_EVERY_S = 0.25
#: Commits within this time share one step.
_GATHER_S = 0.01


@dataclass(slots=True)
class FeedLane:
    """A feed, as the pump sees it. ``published`` is a hint: the edges fetch what they miss."""

    connection: AsyncConnection[Any]
    scope: str
    published: int
    subject: str = ""
    over: str = ""

    def __post_init__(self) -> None:
        """Name the feed's subject."""
        self.subject = self.over = f"down.{'all' if self.scope == SHARED else self.scope}"

    async def next(self, bytes_max: int) -> Sequence[bytes]:
        """Return the messages of the entries after the last one published."""
        return await entries_after(self.connection, self.scope, self.published, bytes_max=bytes_max)

    async def sent(self, count: int) -> None:
        """Note how far the feed is published."""
        self.published += count
        await self.connection.execute(
            "UPDATE sync.feed_head SET published = %s WHERE scope = %s",
            [self.published, self.scope],
        )

    async def rewind(self) -> None:
        """Do nothing: an edge that misses an entry sees the gap and fetches it."""


class Relay:
    """Runs the sequencer whenever something was touched, and publishes what came of it."""

    def __init__(
        self, listening: AsyncConnection[Any], publishing: AsyncConnection[Any],
        sequencer: Sequencer, link: Link,
    ) -> None:  # fmt: skip
        self._listening = listening
        self._publishing = publishing
        self._sequencer = sequencer
        self._link = link
        self._senders: dict[str, Sender] = {}
        #: Why nothing could be published at last; said once, not with each step.
        self._held_up_by: str | None = None

    async def run(self, now_ms: Callable[[], int]) -> None:
        """Go on until cancelled; both connections must be in autocommit mode."""
        await self._load_senders()
        bell = asyncio.Event()
        listening = asyncio.create_task(self._listen(bell))
        try:
            while True:
                if listening.done():
                    listening.result()  # raises why it ended
                step = await self._sequencer.step(now_ms())
                if step.touched or step.entries:
                    note(
                        _log, "sequenced", level=logging.DEBUG, touched=step.touched,
                        entries=sum(step.entries.values()),
                    )  # fmt: skip
                for scope, entries in step.entries.items():
                    metrics.FEED_ENTRIES.labels(scope).inc(entries)
                await self._publish(step.entries)
                if not step.touched:
                    await _first(bell, _LOOK_EVERY_S)
                    bell.clear()
                    await asyncio.sleep(_GATHER_S)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _load_senders(self) -> None:
        cursor = await self._publishing.execute("SELECT scope, published FROM sync.feed_head")
        for scope, published in await cursor.fetchall():
            self._senders[scope] = Sender(FeedLane(self._publishing, scope, published), self._link)

    async def _listen(self, bell: asyncio.Event) -> None:
        await self._listening.execute("LISTEN mes_feed")
        async for _ in self._listening.notifies():
            bell.set()

    async def _publish(self, entries: dict[str, int]) -> None:
        for scope in entries:
            if scope not in self._senders:
                self._senders[scope] = Sender(FeedLane(self._publishing, scope, 0), self._link)
        behind = await self._publishing.execute(
            "SELECT scope FROM sync.feed_head WHERE published < pos"
        )
        for (scope,) in await behind.fetchall():
            try:
                while await self._senders[scope].send_next():
                    pass
            except Transient as why:  # the entries wait in PostgreSQL; edges may fetch them
                if str(why) != self._held_up_by:
                    note(_log, "not published", scope=scope, why=str(why))
                self._held_up_by = str(why)
                return
        self._held_up_by = None


async def _first(bell: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return

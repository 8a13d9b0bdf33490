"""What changed at which site, as it happens: for answers that are kept, and pages people look at.

The revision of a site (``sync.site_revision``) is another one whenever anything was committed that
an answer on the site rests on. It is looked at every tenth of a second, for all sites at once: what
was committed before a look is told by it. A revision tells that something is new, and nothing of
what. It has to be read from the server that the answers are read from: a replica may be behind.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg
from tenacity import AsyncRetrying, RetryCallState, before_sleep_log, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from shared.errors import SyncError
from shared.tasks import end_if_cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

_log = logging.getLogger(__name__)

#: Seconds between two looks, and how old the last one may be that says what is current.
LOOK_PAUSE_S: Final = 0.1
LOOK_FRESH_S: Final = 1.0
#: Seconds between two pieces of news of one stream.
_NEWS_PAUSE_S: Final = 1.0
#: Seconds after which a silent stream says that it is alive; then it is asked who listens, too.
BEAT_S: Final = 15.0
#: Streams at once, and those of one person or key.
STREAMS_MAX: Final = 200
OF_ONE_MAX: Final = 40
#: Milliseconds after which a browser that lost its stream asks for another.
_AGAIN_MS: Final = 3_000

_REVISIONS: Final = b"SELECT site, revision, life FROM sync.revisions()"


class TooManyStreams(SyncError):
    """Too many pages are told of changes at once; they ask by themselves now and then."""


@dataclass(slots=True)
class Live:
    """The revision of each site, and who is told of it."""

    revisions: dict[str, int] = field(default_factory=dict)
    #: In which life of the database these count: another one after each restore.
    life: str = ""
    #: When the last look began that came to its end, by the clock of the loop.
    _looked_at_s: float = float("-inf")
    #: One for each stream, with whose it is; set when something changed, or when all is to end.
    _bells: dict[asyncio.Event, str] = field(default_factory=dict)
    _is_over: bool = False

    # --- what changed ----------------------------------------------------------------------------

    async def follow(self, url: str) -> None:
        """Look at what changes until cancelled; while the database is away, try again."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),  # pages are no reason to stop the API
            wait=wait_random_exponential(multiplier=0.2, max=10),
            before_sleep=_note_failure,
        )
        while True:
            await retrying(self._follow, url)

    async def _follow(self, url: str) -> None:
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        async with connection:
            while True:
                await self.look(connection)
                await asyncio.sleep(LOOK_PAUSE_S)

    async def look(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Read the revisions, and wake whoever waits where one is new."""
        began_s = time.monotonic()
        cursor = await connection.execute(_REVISIONS)
        rows = await cursor.fetchall()
        found = {site: revision for site, revision, _ in rows}
        life = rows[0][2] if rows else ""
        self._looked_at_s = began_s
        if (found, life) != (self.revisions, self.life):
            self.revisions, self.life = found, life
            self._ring()

    @property
    def is_fresh(self) -> bool:
        """Return whether the last look says what is current."""
        return time.monotonic() - self._looked_at_s <= LOOK_FRESH_S

    def current(self, sites: Collection[str]) -> tuple[int, ...] | None:
        """Return the revisions of some sites, None where what is known of one may be too old."""
        if not self.is_fresh:
            return None
        try:
            return tuple([self.revisions[site] for site in sites])
        except KeyError:  # registered since
            return None

    def end(self) -> None:
        """End all streams."""
        self._is_over = True
        self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    # --- who is told -----------------------------------------------------------------------------

    def of(self, sites: Collection[str]) -> dict[str, int]:
        """Return the revisions of some sites."""
        return {site: self.revisions[site] for site in sorted(sites) if site in self.revisions}

    def check_room(self, name: str) -> None:
        """Raise TooManyStreams where one more stream of somebody is too many."""
        own = sum(each == name for each in self._bells.values())
        if len(self._bells) >= STREAMS_MAX or own >= OF_ONE_MAX:
            raise TooManyStreams(str(TooManyStreams.__doc__))

    async def told(
        self, name: str, reached: Callable[[], Awaitable[Collection[str] | None]]
    ) -> AsyncIterator[str]:
        """Yield server-sent events for one stream until it ends, first with all that there is.

        ``reached`` gives the sites of which whoever listens may hear, and is asked again with each
        beat; None ends the stream.
        """
        bell = asyncio.Event()
        self._bells[bell] = name
        try:
            yield f"retry: {_AGAIN_MS}\n\n"
            said: dict[str, int] = {}
            sites = await reached()
            while sites is not None and not self._is_over:
                bell.clear()
                news = {s: n for s, n in self.of(sites).items() if said.get(s) != n}
                if news or not said:
                    yield f"event: rev\ndata: {json.dumps(news)}\n\n"
                    said |= news
                    await asyncio.sleep(_NEWS_PAUSE_S)
                if not await _rung(bell):
                    yield ": alive\n\n"
                    sites = await reached()
        finally:
            del self._bells[bell]


def _note_failure(state: RetryCallState) -> None:
    end_if_cancelled()
    before_sleep_log(_log, logging.WARNING, exc_info=True)(state)


async def _rung(bell: asyncio.Event) -> bool:
    """Return whether a bell rang before the next beat; what rang while it was told counts, too."""
    try:
        async with asyncio.timeout(BEAT_S):
            await bell.wait()
    except TimeoutError:
        return False
    return True

"""Whose turn it is to read: nobody takes all connections, however much they ask at once.

Whoever asks has a number of places of their own, fewer than there are connections. Others then find
a connection free, or wait for one no longer than each of those before them needs for one answer.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Seconds that a question waits until those before it, of who asks, are answered.
TURN_MAX_S: Final = 5.0
#: Seconds after which to ask again.
AGAIN_S: Final = 1


class Busy(SyncError):
    """Others are being answered; ask again after `Retry-After` seconds."""


@dataclass(slots=True)
class _Places:
    free: asyncio.Semaphore
    #: Who has a place of them or waits for one.
    used: int = 0


@dataclass(slots=True)
class Turns:
    """The places of each who asks, as long as they ask."""

    _of: dict[str, _Places] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, who: str, most: int) -> AsyncIterator[None]:
        """Wait for a place of somebody, who has ``most`` of them, and hold it; raise Busy."""
        places = self._of.setdefault(who, _Places(asyncio.Semaphore(most)))
        places.used += 1
        try:
            await _taken(places.free)
            try:
                yield
            finally:
                places.free.release()
        finally:
            places.used -= 1
            if not places.used:
                del self._of[who]


async def _taken(free: asyncio.Semaphore) -> None:
    try:
        async with asyncio.timeout(TURN_MAX_S):
            await free.acquire()
    except TimeoutError:
        raise Busy(
            f"much of what you asked at once is being answered; ask again after {AGAIN_S} s, and"
            " less at a time"
        ) from None

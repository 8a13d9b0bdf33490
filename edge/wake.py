"""Wake-up: know within milliseconds that some process committed to the store.

A commit in WAL mode appends to the ``-wal`` file, and the kernel tells who watches it. So nothing
is polled, and an idle agent uses no CPU. Where the kernel can't tell (no inotify, a network file
system), a slow look at the store every second stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from asyncinotify import Inotify, Mask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_log = logging.getLogger(__name__)

#: The safety net under the file events.
LOOK_EVERY_S = 1.0
_FOLD_S = 0.004
_CHANGED = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO


class Wake:
    """Tells of commits to a store, and of calls to ``ring``; many at once count as one."""

    def __init__(self, store: Path) -> None:
        self._store = store.resolve()  # a store's WAL stands beside the file, not beside a link
        self._event = asyncio.Event()
        self._rests_until = 0.0

    def rest(self, seconds: float) -> None:
        """Don't look at the kernel's news for so long: nobody acts on them before."""
        self._rests_until = asyncio.get_running_loop().time() + seconds

    def ring(self) -> None:
        """Wake whoever waits."""
        self._event.set()

    async def wait(self) -> None:
        """Return after the next commit, or at the latest after ``LOOK_EVERY_S``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._event.wait()
        self._event.clear()

    async def watch(self) -> None:
        """Listen to the kernel until cancelled."""
        try:
            async for _ in self._changes():
                self._event.set()
        except OSError as error:  # no inotify here, or no watches left: the slow look stays
            _log.warning("no file events (%s); looking every %g s", error, LOOK_EVERY_S)

    async def _changes(self) -> AsyncIterator[None]:
        wal = f"{self._store.name}-wal"
        # The folder, not the file: the WAL goes and comes with the first and last connection.
        with Inotify() as inotify:
            inotify.add_watch(self._store.parent, _CHANGED)
            async for event in inotify:
                if event.path is not None and event.path.name == wal:
                    yield
                    # Not reading for a moment lets the kernel fold the events of a busy writer.
                    rest_s = self._rests_until - asyncio.get_running_loop().time()
                    await asyncio.sleep(max(_FOLD_S, rest_s))

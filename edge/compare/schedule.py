"""When the agent compares: once a night, when the centre asks, and where capture was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from edge import metrics
from edge.compare import Order, compare
from edge.compare.centre import Centre
from edge.lanes import now_ms
from edge.store.ids import uuid7
from shared.errors import MalformedMessage, Poison, Transient
from shared.observe import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.lanes import StoreThread
    from edge.settings import EdgeSettings
    from edge.store import EdgeStore
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: Sites start within so many minutes of their hour, so that not all ask the centre at once.
SPREAD_MIN: Final = 120
#: What the nightly comparison leaves to others, of the time that it could take.
_REST: Final = 0.5
#: How long after a night's comparison that failed it is tried again.
_AGAIN: Final = timedelta(minutes=10)
#: Seconds between two looks whether a table was written past our triggers.
_LOOK_S: Final = 30.0
#: Comparisons that the centre has asked for and that wait.
_ORDERS_MAX: Final = 8


def next_start(now: datetime, hour: int, minutes: int) -> datetime:
    """Return when to compare next: so many minutes after an hour of the day, by the local clock."""
    at = now.replace(hour=hour, minute=0, second=0, microsecond=0) + timedelta(minutes=minutes)
    return at if at > now else at + timedelta(days=1)


class Comparer:
    """Compares the agent's store, one comparison at a time."""

    def __init__(
        self, settings: EdgeSettings, store: EdgeStore, link: Link, thread: StoreThread,
        met: asyncio.Event, *, chance: random.Random | None = None,
    ) -> None:  # fmt: skip
        self._hour = settings.compare_hour
        self._site = settings.site
        self._store = store
        self._link = link
        self._thread = thread
        #: Both ends agree on where the store stands; before, nothing is compared.
        self._met = met
        self._chance = chance or random.SystemRandom()
        self._minutes = self._chance.randrange(SPREAD_MIN)
        self._orders: asyncio.Queue[Order] = asyncio.Queue(_ORDERS_MAX)
        #: Those that were taken last: an order comes again where its answer takes long.
        self._taken: deque[str] = deque(maxlen=_ORDERS_MAX)
        self._due = self._next()
        #: Losses of capture, by table, after which all was compared, or is going to be.
        self._seen: Mapping[str, int] = {}

    def order(self, asked: Mapping[str, Any]) -> None:
        """Take an order of the centre's; one that can't be read, or is one too many, is noted."""
        try:
            tables = tuple(map(str, asked["tables"]))
            order = Order(run=str(asked["run"]), tables=tables, repair=bool(asked["repair"]))
            if order.run not in self._taken:
                self._orders.put_nowait(order)
                self._taken.append(order.run)
        except (KeyError, TypeError, asyncio.QueueFull) as why:
            note(_log, "not compared", level=logging.WARNING, why=repr(why))

    async def turn(self) -> None:
        """Wait until the next comparison is due or ordered, and do it."""
        order = await self._next_order()
        await self._met.wait()
        nightly = order is None
        seen = await self._thread.run(self._store.losses)
        if nightly:
            self._seen = seen
        order = order or Order(run=uuid7(now_ms(), self._chance), rest=_REST)
        try:
            await self._compare(order)
        except (Transient, Poison, TimeoutError) as why:
            note(_log, "not compared", level=logging.WARNING, run=order.run, why=str(why))
            if nightly:
                self._due = _now() + _AGAIN
            else:
                await self._tell_failure(order, why)
            return
        if nightly:
            self._due = self._next()
        if not order.tables:
            self._seen = seen

    async def _next_order(self) -> Order | None:
        """Return what the centre has ordered; None where we compare all of our own accord."""
        while not self._orders.empty() or self._due is None or self._due > _now():
            if not self._orders.empty():
                return self._orders.get_nowait()
            if self._hour >= 0 and await self._thread.run(self._was_lost):
                return None
            left_s = (self._due - _now()).total_seconds() if self._due else _LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, _LOOK_S)):
                    return await self._orders.get()
        return None

    def _was_lost(self) -> bool:
        return not self._store.losses().items() <= self._seen.items()

    async def _compare(self, order: Order) -> None:
        note(_log, "comparing", run=order.run, tables=order.tables, repair=order.repair)
        report = await compare(self._store.opened, self._link, order, self._thread.run)
        metrics.COMPARE_SECONDS.labels(self._site).set(report.took_ms / 1000)
        metrics.COMPARE_BYTES.labels(self._site).set(report.sent_bytes + report.received_bytes)
        note(
            _log, "compared", level=logging.WARNING if report.differing else logging.INFO,
            run=order.run, found=report.found, differing=report.differing, took_ms=report.took_ms,
        )  # fmt: skip

    async def _tell_failure(self, order: Order, why: Exception) -> None:
        """Tell the centre, where somebody waits for the report."""
        failed = {"failed": str(why), "differing": 0, "whole": False, "tables": []}
        try:
            await Centre(self._link, self._site).done(order.run, failed)
        except (Transient, MalformedMessage) as silent:
            note(_log, "not told", run=order.run, why=str(silent))

    def _next(self) -> datetime | None:
        return next_start(_now(), self._hour, self._minutes) if self._hour >= 0 else None


def _now() -> datetime:
    return datetime.fromtimestamp(now_ms() / 1000).astimezone()

"""The two ends of the edge's lanes: its outbox to the centre, its inbox of the feeds.

Both stand between the pump, which is asynchronous, and the store, which is not: the calls of the
store run in a thread of their own. The outbox is read in another one, so that what is drained goes
out while the next drain waits for a program that holds the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from edge import metrics
from shared.changes import SHARED, FeedEntry
from shared.errors import ForkedHistory, Poison
from shared.observe import note, span
from sync import codec
from sync.protocol import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.store import EdgeStore, FeedOutcome
    from edge.store.steps import Waits
    from shared.changes import Position
    from sync.pump import Message
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: How long one feed may bring nothing that the other waits for before the centre is asked.
OTHER_FEED_S = 5.0
Result = TypeVar("Result")


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class StoreThread:
    """One of the two threads that touch the agent's store: one writes, one reads what goes out."""

    def __init__(self, name: str = "store") -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[..., Result], *given: Any, **named: Any) -> Result:
        """Run the work there and return its result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*given, **named))

    def close(self) -> None:
        """Wait for the work under way and end the thread."""
        self._pool.shutdown(wait=True)


@dataclass(slots=True)
class UpLane:
    """The outbox, as the pump sees it: what is after the last part that is in flight."""

    store: EdgeStore
    thread: StoreThread
    reading: StoreThread
    site: str
    subject: str = ""
    over: str = ""
    _after: tuple[int, int] = (0, -1)
    #: n, part and tx_id of each message of the last ``next``; none once somebody asked to go back.
    _next: Sequence[tuple[int, int, str]] = ()

    def __post_init__(self) -> None:
        """Name the subjects of the site."""
        self.subject, self.over = f"up.{self.site}.tx", f"up.{self.site}.>"

    @property
    def sent_n(self) -> int:
        """Number of the last transaction that went out, wholly or in part."""
        return self._after[0]

    async def next(self, bytes_max: int) -> Sequence[bytes]:
        """Return the messages after the last one sent."""
        after = self._after
        parts = await self.reading.run(self.store.outbox, after, bytes_max=bytes_max)
        went_back = self._after != after
        self._next = () if went_back else [(part.n, part.part, part.tx_id) for part in parts]
        return [codec.encode_part(part) for part in parts]

    async def sent(self, count: int) -> None:
        """Note that the first messages of the last ``next`` are in flight."""
        if self._next:  # else what is in flight goes out once more, and is skipped there
            self._after = self._next[count - 1][:2]
            metrics.BATCHES.labels(self.site).inc()
            went = {n: tx_id for n, _, tx_id in self._next[:count]}
            note(_log, "sent", messages=count, **span([*went.items()]))

    async def rewind(self) -> None:
        """Start again after the last transaction that the centre decided on."""
        position = await self.thread.run(self.store.position)
        self.go_back_to(position.acked_n)

    def go_back_to(self, n: int) -> None:
        """Send everything after ``n`` again."""
        self._after, self._next = (n, 1 << 40), ()


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class DownLane:
    """The feeds, as the pump sees them."""

    store: EdgeStore
    thread: StoreThread
    link: Link
    site: str
    #: Set while both ends agree: what comes at another time is applied later.
    agreed: asyncio.Event = field(default_factory=_set)
    #: Until then the centre made no entry in the life of its server that both have met.
    made_from_ms: int = -1
    #: The last transaction of ours that was decided when we last looked.
    _acked_n: int | None = None
    #: What waited for the other feed when something was last applied.
    _waits: Waits | None = None
    #: Where each feed ended when it was last asked for; an earlier release of the centre does not
    #: tell it where nothing is missing.
    _ends: dict[str, int | None] = field(default_factory=dict)
    #: What was last shown without that which goes before: scope and position of the first missing.
    _told: tuple[str, int] | None = None

    async def take(self, messages: Sequence[Message]) -> Verdict:
        """Apply the entries in order, as ``apply`` does; those that can't be read are refused."""
        entries: list[tuple[FeedEntry, bytes]] = []
        for message in messages:
            try:
                entries.append(codec.decode_entry(message.payload))
            except Poison as why:
                await self.refuse(message, why)
        entries = await self._of_this_life(entries)
        if not entries:
            return Verdict.SKIP
        try:
            return await self.apply(entries)
        except ForkedHistory as why:
            # The stream may hold what a centre published that went back since: PostgreSQL knows.
            note(_log, "not of this feed", level=logging.WARNING, why=str(why))
            await self.ask_again()
            return Verdict.SKIP

    async def _of_this_life(
        self, entries: Sequence[tuple[FeedEntry, bytes]]
    ) -> list[tuple[FeedEntry, bytes]]:
        """Leave out what may be of a history that the centre lost: PostgreSQL has it, or nobody.

        The broker holds what was published before the server was started, or put back. Of the
        millisecond in which this life was noted nobody can tell, so that is asked for as well.
        """
        await self.agreed.wait()
        kept = [each for each in entries if each[0].made_at_ms > self.made_from_ms]
        if len(kept) < len(entries) and await self._is_news(entries):
            note(_log, "of an earlier life of the centre", entries=len(entries) - len(kept))
            await self.ask_again()
        return kept

    async def _is_news(self, entries: Sequence[tuple[FeedEntry, bytes]]) -> bool:
        at = await self.thread.run(self.store.position)
        reached = {SHARED: at.shared.n, self.site: at.own.n}
        return any(entry.pos > reached.get(entry.scope, entry.pos) for entry, _ in entries)

    async def apply(self, entries: Sequence[tuple[FeedEntry, bytes]]) -> Verdict:
        """Apply decoded entries, in a few transactions where they are many; tell how it went.

        Raises ForkedHistory with the reason where the centre's feed has another history.
        """
        started = time.perf_counter()
        await self.agreed.wait()
        outcome, acked = await self.thread.run(self._apply, entries)
        metrics.APPLY_SECONDS.labels(self.site).observe(time.perf_counter() - started)
        metrics.ROWS.labels(self.site, "down").inc(outcome.rows)
        self._waits = outcome.waits
        if outcome.applied:
            last = entries[outcome.applied - 1][0]
            if outcome.waits is None:
                metrics.LAG.labels(self.site).set(max(0, now_ms() - last.made_at_ms) / 1000)
            note(
                _log, "applied", scope=last.scope, pos=last.pos, entries=outcome.applied,
                rows=outcome.rows, acked_n=outcome.acked_n, **(span(acked) if acked else {}),
            )  # fmt: skip
        if outcome.verdict is Verdict.FORK:
            raise ForkedHistory(outcome.reason)
        return outcome.verdict

    def _apply(
        self, entries: Sequence[tuple[FeedEntry, bytes]]
    ) -> tuple[FeedOutcome, list[tuple[int, str]]]:
        """Apply entries, and say which transactions of ours they decided on."""
        if self._acked_n is None:
            self._acked_n = self.store.position().acked_n
        outcome = self.store.apply_entries(entries, now_ms())
        before, self._acked_n = self._acked_n, outcome.acked_n
        return outcome, self.store.transactions(before, outcome.acked_n)

    async def refuse(self, message: Message, why: Poison) -> None:
        """Note an entry that can't be read, and ask for it again: no other may come to show it."""
        await self.thread.run(self.store.note, "MES-FEED-UNREADABLE", str(why), now_ms())
        size = len(message.payload)
        note(_log, "unreadable entry", level=logging.ERROR, why=str(why), bytes=size)
        await self.ask_again()

    async def ask_again(self) -> None:
        """Fetch what is missing from the centre, out of PostgreSQL, until we are level with it.

        Level is where a feed ended when it was asked for: what the centre goes on writing comes by
        the stream, or on a slow line the asking would never end.
        """
        await self.apply(())  # to hear what waits here already
        refused: Poison | None = None
        is_level = False
        while not is_level:
            is_level = True
            for scope in (SHARED, self.site):  # in turn: what one brings waits here for the other
                try:
                    is_level &= not await self._fetch(scope)
                except Poison as why:  # the other one must not stand still for it
                    refused = why
        await self._end_wait(refused)
        if refused is not None:
            raise refused

    async def _end_wait(self, refused: Poison | None) -> None:
        """Fetch what is waited for; show what still waits when the centre has given all it has.

        It was written at the centre in one transaction with what it waits for, and must be there:
        this is for entries that are damaged in PostgreSQL itself. Raises ForkedHistory where the
        feed ends before: the centre went back, and the next hello decides.
        """
        waits = self._waits
        if waits is None:
            return
        other = self.site if waits.run.scope == SHARED else SHARED
        while refused is None and await self._fetch(other):
            pass  # asked for now, the feed has what was written together with that which waits
        if self._waits is None or self._waits.run != waits.run:
            return
        if (await self.thread.run(self.store.position)).needs_snapshot:  # it will be newer
            return
        waits = self._waits
        end = self._ends.get(other)
        if refused is None and end is not None and end < waits.run.beside:
            raise ForkedHistory(f"{waits.run} waits for {other}, which ends at {end}")
        missing = (other, waits.reached + 1)
        why = f"entry {missing[1]} of feed {other} can't be had: {refused or 'the centre lacks it'}"
        is_told, self._told = self._told == missing, missing
        outcome = await self.thread.run(self.store.show_all, None if is_told else why, now_ms())
        self._waits = outcome.waits

    async def stands_still(self) -> None:
        """Return once what one feed brought waits for the other one, which brings nothing."""
        while True:
            before = self._waits
            await asyncio.sleep(OTHER_FEED_S)
            if before is not None and self._waits == before:
                note(_log, "one feed waits for the other, asking again", run=str(before.run))
                return

    async def _fetch(self, scope: str) -> bool:
        """Fetch and apply the entries after our position; return whether there are more.

        Raises ForkedHistory where the centre's feed is another one, or ends before our position.
        """
        position = await self.thread.run(self.store.position)
        after = position.shared if scope == SHARED else position.own
        asked = codec.encode_control({"scope": scope, "after": after.n, "hash": after.hash})
        answer = codec.decode_control(await self.link.request(f"ctl.{self.site}.feed", asked))
        if answer.get("snapshot"):
            await self.thread.run(self.store.want_snapshot, str(answer["snapshot"]), now_ms())
            return False
        messages, self._ends[scope] = answer["entries"], answer.get("end")
        if not messages:
            await self._check_end(scope, after, answer.get("hash"))
            return False
        if len(messages) == 1 and answer.get("size", 0) > len(messages[0]):
            messages = [await self._whole(scope, after.n, messages[0], answer["size"])]
        entries = _readable(messages)
        verdict = await self.apply(entries)
        is_level = entries[-1][0].pos >= answer.get("end", entries[-1][0].pos + 1)
        return verdict in (Verdict.APPLY, Verdict.SKIP) and not is_level

    async def _check_end(self, scope: str, after: Position, theirs: bytes | None) -> None:
        """Raise ForkedHistory where a feed ends before what came of it, or in another entry.

        The centre went back then. Where a snapshot is wanted, what was followed counts for nothing,
        as in a hello.
        """
        position = await self.thread.run(self.store.position)
        at = position.shared if scope == SHARED else position.own
        end = self._ends[scope]
        if end is None or after != at or position.needs_snapshot:
            return
        if end < at.n:
            raise ForkedHistory(f"{scope} was followed to {at.n}, it ends at {end}")
        if end == at.n and theirs is not None and bytes(theirs) != at.hash:
            raise ForkedHistory(f"{scope} was followed to another entry {at.n} than the centre has")

    async def _whole(self, scope: str, after: int, first: bytes, size: int) -> bytes:
        """Fetch the rest of an entry that is larger than one answer."""
        message = first
        while len(message) < size:
            asked = codec.encode_control({"scope": scope, "after": after, "offset": len(message)})
            answer = codec.decode_control(await self.link.request(f"ctl.{self.site}.feed", asked))
            if not answer.get("entries"):
                raise LookupError(f"entry {after + 1} of feed {scope} went while it was fetched")
            message += answer["entries"][0]
        return message


def _readable(messages: Sequence[bytes]) -> list[tuple[FeedEntry, bytes]]:
    """Return the entries before the first that can't be read; raise where that is the first."""
    entries: list[tuple[FeedEntry, bytes]] = []
    for message in messages:
        try:
            entries.append(codec.decode_entry(message))
        except Poison:
            if not entries:
                raise
            break
    return entries

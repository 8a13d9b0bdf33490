"""The ingest: takes what the sites sent, in order, into PostgreSQL.

Several workers share the sites by leases; each site has one worker at a time, and the lease's token
fences a worker that lost it without noticing. A worker follows each of its sites in a task of its
own, so that a slow or broken site holds up nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from tenacity import AsyncRetrying, RetryCallState, before_sleep_log, retry_if_exception
from tenacity.wait import wait_random_exponential

from central import metrics
from central.runs import FIRST_RUN_ROWS, PARTS_MAX, Runs, continued, fits, groups_of
from central.store.abandoned import StandingStill
from shared.changes import GENESIS, Part, PartBody, Position, SyncTransaction
from shared.clock import wall_ms
from shared.errors import (
    ConsumerGone,
    Fenced,
    ForeignSite,
    LeaseLost,
    MalformedMessage,
    Poison,
    Transient,
    Unverified,
)
from shared.observe import note, span
from shared.tasks import end_if_cancelled
from sync import codec
from sync.protocol import Verdict, transaction_hash
from sync.pump import Message, Receiver
from sync.streams import redeliver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from central.runs import Group
    from central.store import CentralStore, Incoming
    from central.store.leases import Lease
    from central.store.outcome import RunOutcome
    from shared.catalog import Catalog
    from sync.nats_pull import Delivery
    from sync.transport import Link

_log = logging.getLogger(__name__)

_REWIND_EVERY_S = 1.0
_RETRY_DUE_EVERY_S = 10.0
#: How long a site has to say hello before what it sent is tried again.
_HELLO_PAUSE_S = 0.3


class Stores:
    """A few stores (connections), lent to whoever applies."""

    def __init__(self, stores: Sequence[CentralStore], catalog: Catalog) -> None:
        self.catalog = catalog
        self._free: asyncio.Queue[CentralStore] = asyncio.Queue()
        for store in stores:
            self._free.put_nowait(store)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[CentralStore]:
        """Lend a store, waiting until one is free."""
        store = await self._free.get()
        try:
            yield store
        finally:
            self._free.put_nowait(store)


@dataclass(slots=True)
class SiteInbox:
    """Takes the messages of one site under one lease."""

    site: str
    lease: Lease
    stores: Stores
    link: Link
    _rewound_at: float = field(default=float("-inf"))
    _position: tuple[str, Position] | None = None
    #: The beginning of a transaction whose other parts come with the next delivery, most likely.
    _beginning: Group = ()
    #: A person has to look before anything more is taken.
    is_stopped: bool = False

    async def take(self, messages: Sequence[Message]) -> Verdict:
        """Apply the transactions that are whole, in order; keep parts of those that are not.

        What a site sends is held until it has said hello since the server was started.
        """
        while True:
            try:
                return await self._take(messages)
            except Unverified as why:
                note(_log, "held", site=self.site, why=str(why))
                await self.ask_hello()
                await asyncio.sleep(_HELLO_PAUSE_S)

    async def _take(self, messages: Sequence[Message]) -> Verdict:
        verdict = Verdict.APPLY
        parts = [(part, message) for message in messages if (part := await self._read(message))]
        groups = groups_of(continued(self._beginning, parts))
        beginning = groups.pop() if groups and self._is_beginning(groups[-1]) else ()
        runs = Runs(groups, self.stores.catalog)
        run = await runs.next(FIRST_RUN_ROWS)
        while run is not None:
            # PostgreSQL does most of the work of a run: meanwhile the next one is opened.
            ahead = asyncio.create_task(runs.next())
            try:
                verdict = await self._apply_and_keep(run.incoming, run.kept)
            finally:
                run = await ahead
            if verdict in (Verdict.GAP, Verdict.FORK):
                self._beginning = ()
                return verdict
        self._beginning = beginning
        return verdict

    def _is_beginning(self, group: Group) -> bool:
        """Return whether to wait for the other parts of a transaction; not once nothing comes."""
        part, _ = group[0]
        before = self._beginning
        stands_still = bool(before) and before[0][0].hash == part.hash and len(before) == len(group)
        # What came in pieces is kept at once: the pieces were let go of when it was put together.
        came_whole = all(len(message.payload) <= codec.FRAME_BYTES_MAX for _, message in group)
        is_begun = part.part == 0 and len(group) < part.parts <= PARTS_MAX
        return is_begun and not stands_still and came_whole and fits(group)

    def settled(self, deliveries: Sequence[Delivery]) -> int:
        """Return how many of these, from the first, need not come again should we be killed."""
        held = {id(message.payload) for _, message in self._beginning}
        places = (at for at, each in enumerate(deliveries) if id(each.payload) in held)
        return next(places, len(deliveries))

    async def _apply_and_keep(
        self, run: Sequence[Incoming], parts: Sequence[tuple[Part, Message]]
    ) -> Verdict:
        """Apply a run, and then keep the parts of a transaction that is too large, or not whole."""
        verdict = await self._apply(run)
        for part, message in parts:
            if verdict in (Verdict.GAP, Verdict.FORK):
                break
            verdict = await self._take_part(part, message)
        return verdict

    async def _read(self, message: Message) -> Part | None:
        try:
            part = codec.decode_part(message.payload)
            if part.site != self.site:
                raise ForeignSite(f"{self.site} sent a message that speaks for {part.site}")
            own = transaction_hash(part.previous, part.epoch, part.n, part.tx_id, part.digests)
            if own != part.hash:
                raise MalformedMessage(f"n {part.n}: the hash does not follow from the message")
        except Poison as why:
            await self.refuse(message, why)
            return None
        return part

    async def _take_part(self, part: Part, message: Message) -> Verdict:
        try:
            async with self.stores.lend() as store:
                kept = await store.spool_part(part, message.payload, message.stored_at_ms)
        except Poison as why:
            await self.refuse(message, why)
            return Verdict.APPLY
        async with self.stores.lend() as store:
            if not kept:
                await self._refuse_fenced([part])
                return Verdict.APPLY
            if part.part < part.parts - 1:
                return Verdict.APPLY
            outcome = await store.apply_spooled(part, self.lease)
        self._note_applied(part.epoch, [(part.n, part.tx_id)], outcome)
        return await self._tell(part.epoch, outcome, [part])

    async def _apply(self, run: Sequence[Incoming]) -> Verdict:
        if not run:
            return Verdict.APPLY
        async with self.stores.lend() as store:
            outcome = await store.apply_run(run, lease=self.lease)
        last = run[-1].sent
        self._note_applied(last.epoch, [(each.sent.n, each.sent.tx_id) for each in run], outcome)
        lag_ms = time.time_ns() // 1_000_000 - wall_ms(last.hlc) - last.offset_ms
        metrics.LAG.labels(self.site).set(max(0, lag_ms) / 1000)
        return await self._tell(last.epoch, outcome, [each.sent for each in run])

    def _note_applied(
        self, epoch: str, given: Sequence[tuple[int, str]], outcome: RunOutcome
    ) -> None:
        """Log what is decided by now, by its ids."""
        decided = [each for each in given if each[0] <= outcome.position.n]
        if decided:
            note(
                _log, "applied", site=self.site, epoch=epoch, **span(decided), rows=outcome.rows,
                skipped=outcome.skipped, parked=outcome.parked,
            )  # fmt: skip

    async def _tell(
        self, epoch: str, outcome: RunOutcome, links: Sequence[Part | SyncTransaction]
    ) -> Verdict:
        self._position = (epoch, outcome.position)
        metrics.count(self.site, outcome)
        await self._refuse_fenced([link for link in links if link.tx_id in outcome.fenced])
        self.is_stopped = outcome.is_stopped
        if outcome.verdict is Verdict.FORK and not self.is_stopped:
            # It is the site's own to say how far we agree; it sends all again then.
            note(_log, "fork", level=logging.WARNING, site=self.site, n=outcome.position.n)
            await self.ask_hello()
        return outcome.verdict

    async def _refuse_fenced(self, links: Sequence[Part | SyncTransaction]) -> None:
        """Keep what a store had sent that is no more, and that came after its epoch was closed."""
        for link in links:
            why = Fenced(f"n {link.n} of epoch {link.epoch}, transaction {link.tx_id}")
            if isinstance(link, Part):
                message = Message(link.body, 0)
            else:
                body = PartBody(link.schema, link.hlc, link.offset_ms, link.blocks)
                packed = codec.compress(codec.encode_body(body))
                message = Message(packed, link.stored_at_ms)
            await self.refuse(message, why)

    async def refuse(self, message: Message, why: Poison) -> None:
        """Keep the message in quarantine, where ``mes-central refused list`` shows it."""
        note(_log, "refused", level=logging.ERROR, site=self.site, why=str(why))
        metrics.REFUSED.labels(self.site, type(why).__name__).inc()
        async with self.stores.lend() as store:
            await store.quarantine(self.site, message.payload, why, message.stored_at_ms)

    async def ask_hello(self) -> None:
        """Have the edge say hello: what it then says decides how it goes on."""
        await self.link.publish(f"cmd.{self.site}.hello", codec.encode_control({}))

    async def ask_again(self) -> None:
        """Have the edge send everything after our position again, at most once a second."""
        if time.monotonic() - self._rewound_at < _REWIND_EVERY_S:
            return
        self._rewound_at = time.monotonic()
        position = self._position[1] if self._position else Position(0, GENESIS)
        note(_log, "rewind", site=self.site, after_n=position.n)
        asked = codec.encode_control({"after": position.n})
        await self.link.publish(f"cmd.{self.site}.rewind", asked)


class Worker:
    """Follows the sites whose leases it holds; any number of workers may run."""

    def __init__(
        self, name: str, stores: Stores, leases: CentralStore, link: Link, *, lease_s: float
    ) -> None:
        """Take a store for the leases alone: to renew them must not wait for an apply."""
        self._name = name
        self._stores = stores
        self._leases = leases
        self._link = link
        self._lease_s = lease_s
        self._tasks: dict[str, tuple[Lease, asyncio.Task[None]]] = {}
        self._still = StandingStill()

    async def run(self) -> None:
        """Claim a fair share of the sites, follow them, renew; let go of all at the end."""
        try:
            while True:
                try:
                    leases = await self._leases.claim(self._name, ttl_s=self._lease_s)
                    self._follow_these(leases)
                    await self._end_abandoned()
                except (psycopg.OperationalError, Transient) as why:
                    note(_log, "no leases", level=logging.WARNING, why=str(why))
                await asyncio.sleep(self._lease_s / 3)
        finally:
            for _, task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*(t for _, t in self._tasks.values()), return_exceptions=True)
            # The leases run out by themselves where PostgreSQL can't be told.
            with contextlib.suppress(psycopg.Error, Transient, OSError):
                await self._leases.release(self._name)

    async def _end_abandoned(self) -> None:
        """End what another worker has left standing: whoever follows its sites waits for it."""
        for pid in await self._leases.end_abandoned(self._still, time.monotonic()):
            note(_log, "ended a session that stood still", level=logging.WARNING, pid=pid)

    def _follow_these(self, leases: dict[str, Lease]) -> None:
        for site in [s for s, (lease, _) in self._tasks.items() if leases.get(s) != lease]:
            self._tasks.pop(site)[1].cancel()
        for site, lease in leases.items():
            if site not in self._tasks or _ended(site, self._tasks[site][1]):
                task = asyncio.create_task(self._follow(site, lease), name=f"follow {site}")
                self._tasks[site] = (lease, task)

    async def _follow(self, site: str, lease: Lease) -> None:
        note(_log, "following", site=site, token=lease.token)
        with contextlib.suppress(Transient):  # no stream yet, say: there is nothing to wait for
            await redeliver(self._link, site)
        inbox = SiteInbox(site, lease, self._stores, self._link)
        due = asyncio.create_task(self._retry_due(site), name=f"retry {site}")
        try:
            with contextlib.suppress(LeaseLost):
                while True:
                    await _retrying()(self._pull, site, inbox)
        finally:
            due.cancel()
            await asyncio.gather(due, return_exceptions=True)
        note(_log, "lease lost", site=site)

    async def _retry_due(self, site: str) -> None:
        """Apply what waited for a migration of ours, or for a row that came another way."""
        while True:
            try:
                applied: int = await _retrying()(self._retry_once, site)
            except Exception:  # noqa: BLE001
                # Whatever it is, it may be gone the next time, and nobody else looks after them.
                _log.exception("what waits was not tried", extra={"fields": {"site": site}})
            else:
                if applied:
                    note(_log, "applied what had waited", site=site, rows=applied)
            await asyncio.sleep(_RETRY_DUE_EVERY_S)

    async def _retry_once(self, site: str) -> int:
        # Lent for one attempt: between two of them others apply.
        async with self._stores.lend() as store:
            return await store.retry_due(site)

    async def _pull(self, site: str, inbox: SiteInbox) -> None:
        receiver = Receiver(inbox)
        unsettled: list[Delivery] = []
        async for deliveries in self._link.pull(f"UP_{site}", "apply"):
            # Tried again in place: what was delivered after these would only be a gap.
            verdict: Verdict = await _retrying()(receiver.receive_next, deliveries)
            unsettled += deliveries
            settled = min(inbox.settled(unsettled), receiver.settled(unsettled))
            await self._link.ack(unsettled[:settled])
            unsettled = unsettled[settled:]
            if verdict is Verdict.FORK and inbox.is_stopped:
                note(_log, "stopped", level=logging.ERROR, site=site)
                await asyncio.get_running_loop().create_future()  # until a person releases the site
        raise ConsumerGone


def _ended(site: str, task: asyncio.Task[None]) -> bool:
    """Tell whether a follower is gone, and log why: nobody else asks for what it raised."""
    if not task.done():
        return False
    if not task.cancelled() and (why := task.exception()) is not None:
        _log.error("follower failed", exc_info=why, extra={"fields": {"site": site}})
    return True


def _retrying() -> AsyncRetrying:
    """Return what to do about failures that pass: PostgreSQL restarted, broker away, deadlock."""
    return AsyncRetrying(
        retry=retry_if_exception(
            lambda why: (
                isinstance(why, (Transient, psycopg.OperationalError, TimeoutError))
                and not isinstance(why, LeaseLost)
            )
        ),
        wait=wait_random_exponential(multiplier=0.1, max=10),
        before_sleep=_note_failure,
    )


def _note_failure(state: RetryCallState) -> None:
    end_if_cancelled()
    before_sleep_log(_log, logging.WARNING)(state)

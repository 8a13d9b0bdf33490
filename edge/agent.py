"""The agent: keeps one store in step with the centre, for as long as it runs.

A few tasks, each a short loop: drain what programs committed, send what was drained, receive what
the centre decided, say hello, obey the centre, prune, tell how it is. Any may fail at any time:
nothing is remembered but what the store holds, so each goes on after a pause, and so does the agent
after a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from edge import metrics
from edge.beat import read_limit, read_state, write_state
from edge.compare.schedule import Comparer
from edge.gauges import measure
from edge.handshake import Handshake
from edge.lanes import DownLane, StoreThread, UpLane, now_ms
from edge.loading import load_snapshot
from edge.patience import Patience
from edge.status import read_picture
from edge.store.fullness import Limits
from edge.wake import Wake
from shared.errors import ConsumerGone, ForkedHistory, StoreDamaged, Transient
from shared.observe import note
from sync import codec
from sync.protocol import Verdict
from sync.pump import Receiver, Sender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge.settings import EdgeSettings
    from edge.store import Drained, EdgeStore
    from sync.transport import Delivery, Link

_log = logging.getLogger(__name__)

VERSION = "0.1.0"
#: Below this many rows a drain is followed by the pause; above it, the writer is in a hurry.
_SMALL_DRAIN_ROWS = 500
_PRUNE_EVERY_S = 30.0
#: How long an agent that is told to stop goes on draining what programs still write.
_LAST_DRAINS_MAX_S = 3.0
_LIMIT_EVERY_S = 1.0
_ROOM_EVERY_S = 2.0
#: How long the centre may take to decide before the agent asks whether our messages arrived.
_UNDECIDED_MAX_S = 20.0


class Agent:
    """The agent of one site; ``run`` until cancelled."""

    def __init__(self, settings: EdgeSettings, store: EdgeStore, link: Link) -> None:
        self._settings = settings
        self._store = store
        self._link = link
        self._thread = StoreThread()
        self._reading = StoreThread("outbox")
        store.on_drained = self._tell_drained
        self._wake = Wake(settings.store)
        self._news = asyncio.Event()
        #: Both ends agree; before, nothing is sent or received.
        self._met = asyncio.Event()
        #: Why the feed did not go on from where the store stands, until a hello has mended it.
        self._forked = ""
        #: Why it did not though a hello that was begun since then found nothing to mend.
        self._unmended = ""
        #: Somebody asks for a hello before its time.
        self._again = asyncio.Event()
        #: Set where the stream alone will not bring the feeds to their ends.
        self._behind = asyncio.Event()
        #: Where each feed stood at the last hello, if that was not its end.
        self._stood_at: list[int | None] = [None, None]
        self._up = UpLane(store, self._thread, self._reading, settings.site)
        self._down = DownLane(store, self._thread, link, settings.site, self._met)
        self._handshake = Handshake(
            settings.site, store, self._thread, link, {"version": VERSION}, self._down
        )
        self._comparer = Comparer(settings, store, link, self._thread, self._met)
        self._sender = Sender(self._up, link)
        self._receiver = Receiver(self._down)
        self._decided = (0, time.monotonic())
        self._limit = settings.bytes_per_s_max
        self._limits = Limits(stop=settings.facts_stop_bytes, go=settings.facts_go_bytes)
        self._state: dict[str, Any] = {"pid": os.getpid(), "version": VERSION}
        # What the centre told an earlier agent of its backups still is the last that is known.
        self._state["protected"] = read_state(settings.store).get("protected")

    async def run(self) -> None:
        """Keep the store in step until cancelled; what was committed by then is drained.

        Raises ForkedHistory where a person has to look before anything is sent or received.
        """
        if why := (await self._thread.run(self._store.position)).stopped_because:
            raise ForkedHistory(f"{why}. `mes-sync explain MES-STOPPED` tells more")
        # A migration may have made the place for what the centre sent before there was one.
        await self._thread.run(self._store.materialise, now_ms())
        position = await self._thread.run(self._store.position)
        self._up.go_back_to(position.acked_n)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._wake.watch())
                for work in (self._drain, self._send, self._receive, self._meet, self._obey):
                    tasks.create_task(self._forever(work), name=work.__name__)
                for work in (self._prune, self._tell, self._keep_limit, self._keep_room):
                    tasks.create_task(self._forever(work), name=work.__name__)
                tasks.create_task(self._forever(self._comparer.turn), name="compare")
        finally:
            try:
                await self._end()
            finally:
                self._reading.close()
                self._thread.close()

    async def _end(self) -> None:
        """Drain a last time; where a program holds the store, the next start does it."""
        try:
            until = time.monotonic() + _LAST_DRAINS_MAX_S
            # Of many facts one drain leaves those that came while it read.
            while (drained := await self._thread.run(self._store.drain, now_ms())) is not None:
                self._tell_drained(drained)
                if time.monotonic() > until:  # a program that writes without pause
                    break
        except (Transient, sqlite3.Error, OSError) as why:
            note(_log, "not drained at the end", level=logging.WARNING, why=str(why))
        finally:
            with contextlib.suppress(OSError):  # a full disk; the lock tells that nobody is here
                self._write_state(connected=False, stopped=True)

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work again and again, whatever passes; only what needs a person ends the agent."""
        retrying = Patience(self._link, self._note_unforeseen).retrying()
        while True:
            try:
                await retrying(work)
            except (StoreDamaged, sqlite3.DatabaseError) as why:
                self._state["damaged"] = str(why)
                raise
            except ForkedHistory as why:
                await retrying(self._thread.run, self._store.stop, str(why), now_ms())
                note(_log, "stopped", level=logging.ERROR, why=str(why))
                raise

    def _note_unforeseen(self, why: BaseException) -> None:
        self._state["failure"] = {"why": f"{type(why).__name__}: {why}", "at_ms": now_ms()}

    # --- drain and send ---------------------------------------------------------------------

    async def _drain(self) -> None:
        started = time.perf_counter()
        drained = await self._thread.run(self._store.drain, now_ms())
        if drained is None:
            await self._wake.wait()
            return
        metrics.DRAIN_SECONDS.labels(self._settings.site).observe(time.perf_counter() - started)
        self._tell_drained(drained)
        self._news.set()
        if drained.all_rows < _SMALL_DRAIN_ROWS:
            # The first write after a quiet time goes at once, of a steady trickle a few together.
            pause_s = self._settings.drain_pause_ms / 1000
            self._wake.rest(pause_s)
            await asyncio.sleep(pause_s)

    def _tell_drained(self, drained: Drained) -> None:
        metrics.ROWS.labels(self._settings.site, "up").inc(drained.all_rows)
        for each in (*drained.before, drained):
            note(_log, "drained", n=each.n, tx_id=each.tx_id, rows=each.rows)

    async def _send(self) -> None:
        await self._met.wait()
        try:
            is_sent = await self._sender.send_next()
        except Transient as why:
            self._state["not_taken"] = str(why)
            raise
        self._state["not_taken"] = ""
        if not is_sent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._news.wait()
            self._news.clear()

    # --- receive ------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Catch up from PostgreSQL, then follow the stream until that is not enough any more."""
        await self._met.wait()
        try:
            await self._catch_up_and_follow()
        except ForkedHistory as why:
            if self._unmended == str(why):
                raise
            note(_log, "apart", level=logging.WARNING, why=str(why))
            self._forked = str(why)
            self._met.clear()
            self._again.set()

    async def _catch_up_and_follow(self) -> None:
        self._behind.clear()
        if await self._needs_snapshot():
            await load_snapshot(
                self._link, self._store, self._thread, self._settings.site, self._met
            )
        await self._down.ask_again()
        self._news.set()
        ends = (self._follow(), self._behind.wait(), self._down.stands_still())
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(each) for each in ends]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        unsettled: list[Delivery] = []
        pulled = self._link.pull("DOWN", f"site-{self._settings.site}")
        async with contextlib.aclosing(pulled) as arriving:
            async for deliveries in arriving:
                verdict = await self._receiver.receive_next(deliveries)
                self._news.set()  # an apply drains first: there may be something to send
                unsettled += deliveries
                settled = self._receiver.settled(unsettled)
                await self._link.ack(unsettled[:settled])
                unsettled = unsettled[settled:]
                if verdict is Verdict.GAP and await self._needs_snapshot():
                    return
        raise ConsumerGone

    async def _needs_snapshot(self) -> bool:
        return (await self._thread.run(self._store.position)).needs_snapshot

    # --- hello ------------------------------------------------------------------------------

    async def _meet(self) -> None:
        """Say hello at once after each connect, then every ``beat_s`` and when it is asked for."""
        await self._link.wait_connected(timeout_s=3600)
        self._again.clear()
        await self._hello()
        self._write_state(connected=True, met_ms=now_ms())
        lost = self._link.disconnects
        until = time.monotonic() + self._settings.beat_s
        while time.monotonic() < until and not self._again.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._again.wait()
            if self._link.disconnects != lost or not self._link.connected:
                self._write_state(connected=False)
                return

    async def _hello(self) -> None:
        """Say where we stand until both ends agree, and do what the answer asks for."""
        sent_n, forked = self._up.sent_n, self._forked
        agreed = await self._handshake.agree(sent_n)
        answer = agreed.answer
        metrics.OFFSET.labels(self._settings.site).set(agreed.offset_ms / 1000)
        applied_n = int(answer["applied_n"])
        self._unmended = forked
        if agreed.healed:
            self._forked = self._unmended = ""
            self._up.go_back_to(applied_n)
            self._behind.set()
        self._news.set()
        self._check_progress(applied_n, sent_n, int(answer["waiting"]))
        self._state |= {"protected": answer.get("protected"), "owed_from": agreed.owed_from}
        await self._check_level(answer.get("ends", (0, 0)))

    def _check_progress(self, applied_n: int, sent_n: int, waiting: int) -> None:
        """Send again what neither the centre has applied nor the stream still holds.

        ``sent_n`` had gone out when we asked: on a slow line much may have followed since.
        """
        before, since = self._decided
        if applied_n != before or applied_n >= sent_n:
            self._decided = (applied_n, time.monotonic())
        elif not waiting and time.monotonic() - since > min(
            _UNDECIDED_MAX_S, 2 * self._settings.beat_s
        ):
            note(_log, "lost on the way, sending again", after_n=applied_n, sent_n=sent_n)
            self._up.go_back_to(applied_n)
            self._news.set()

    async def _check_level(self, ends: Sequence[int]) -> None:
        """Have the feeds asked for again where one stood still, behind its end, for a beat."""
        position = await self._thread.run(self._store.position)
        at = (position.own.n, position.shared.n)
        behind = [pos if pos < end else None for pos, end in zip(at, ends, strict=True)]
        before, self._stood_at = self._stood_at, behind
        if any(a is not None and a == b for a, b in zip(behind, before, strict=True)):
            note(_log, "behind, asking again", at=at, ends=ends)
            self._behind.set()
        if position.needs_snapshot:  # as this hello may just have said
            self._behind.set()

    async def _obey(self) -> None:
        """Do what the centre asks for: send again, or say hello."""
        async for subject, payload in self._link.listen(f"cmd.{self._settings.site}.>"):
            order = subject.rsplit(".", 1)[-1]
            if order == "rewind":
                asked = codec.decode_control(payload)
                note(_log, "rewind", after_n=asked["after"])
                self._up.go_back_to(int(asked["after"]))
                self._news.set()
            elif order == "catch-up":
                self._behind.set()
            elif order == "verify":
                self._comparer.order(codec.decode_control(payload))
            elif order == "hello":
                self._again.set()

    # --- the rest -----------------------------------------------------------------------------

    async def _prune(self) -> None:
        await asyncio.sleep(_PRUNE_EVERY_S)
        await self._thread.run(self._store.prune, now_ms())
        if parents := await self._thread.run(self._store.send_parents):
            note(_log, "sending what was never captured", level=logging.WARNING, rows=parents)

    async def _tell(self) -> None:
        """Keep fresh what the status command reads, also while there is no link."""
        self._write_state(connected=self._link.connected)
        if self._settings.metrics_port:
            measure(await asyncio.to_thread(read_picture, self._settings.store, now_ms()))
        await asyncio.sleep(self._settings.beat_s)

    async def _keep_limit(self) -> None:
        """Keep to the bandwidth that an operator set, from a second after it was set."""
        chosen = read_limit(self._settings.store)
        limit = self._settings.bytes_per_s_max if chosen is None else chosen
        if limit != self._limit:
            self._limit = limit
            self._link.limit_bandwidth(limit or None)
            note(_log, "bandwidth limit", bytes_per_s_max=limit)
            self._write_state()
        await asyncio.sleep(_LIMIT_EVERY_S)

    async def _keep_room(self) -> None:
        """Refuse new facts while the disk is nearly full, and take them again when it is not."""
        await self._thread.run(self._store.keep_room, self._limits, now_ms())
        await asyncio.sleep(_ROOM_EVERY_S)

    def _write_state(self, **changed: object) -> None:
        """Leave what only the agent knows where the status command finds it."""
        link = self._link
        self._state |= {
            "beat_ms": now_ms(),
            "since_ms": now_ms() - link.since_ms,
            "rtt_ms": link.rtt_ms,
            "disconnects": link.disconnects,
            "last_error": link.last_error,
            "refused": link.refused,
            "servers": list(self._settings.nats_servers),
            "sent_n": self._up.sent_n,
            "apart": self._handshake.apart_because,
            "bytes_per_s_max": self._limit,
            **changed,
        }
        metrics.CONNECTED.labels(self._settings.site).set(float(bool(self._state.get("connected"))))
        write_state(self._settings.store, self._state)

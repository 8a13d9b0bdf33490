"""Answering requests and listening to what is published, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.errors import BrokerUnreachable, SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from sync.nats_session import Session

_log = logging.getLogger(__name__)

#: Header of an answer that is no answer but the text of an error; the asker raises it.
ERROR_HEADER: Final = "Mes-Error"
_ERROR_CHARACTERS_MAX: Final = 500
_WAITING_BYTES_MAX: Final = 16 << 20
_HEARD_MAX: Final = 1024
#: Seconds after which one that could not begin tries again. A connection that is closed, and not
#: known to be lost yet, refuses at once: whoever asked again at once would never let that be known.
_AGAIN_S: Final = 0.2
#: Seconds that one who stops waits for what is on its way. It is refused for as long as the
#: connection lives; but one that is told to stop has ten seconds at many plants, for all it does.
_DRAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Responder:
    """What is asked on one subject, who answers it, and how many questions at a time."""

    subject: str
    answer: Callable[[str, bytes], Awaitable[bytes]]
    queue: str
    concurrency_max: int

    async def run(self, sessions: AsyncIterator[Session]) -> None:
        """Answer until there are no more sessions; an error in one answer stops none other.

        Once cancelled it refuses what was asked and not answered, so that nobody waits in vain.
        """
        async with asyncio.TaskGroup() as answering:
            turns = _Turns(self, answering, asyncio.Semaphore(self.concurrency_max))
            async for session in sessions:
                await self._run_on(session, turns)

    async def _run_on(self, session: Session, turns: _Turns) -> None:
        take = functools.partial(turns.take, session)
        try:
            subscription = await session.subscribe(
                self.subject, take, queue=self.queue, bytes_max=_WAITING_BYTES_MAX
            )
        except SyncError as error:
            _log.info("serving %s starts again: %s", self.subject, error)
            await asyncio.wait({session.lost}, timeout=_AGAIN_S)
            return
        try:
            await asyncio.wait({session.lost})
        except asyncio.CancelledError:
            await turns.end()
            await self._drain(session, subscription)
            raise

    async def _drain(self, session: Session, subscription: Subscription) -> None:
        """Have refused what is on its way to us, until it all is, or the session ends.

        We don't wait for the end of it on a slow line. Nor is the drain given up then: its ping
        would take the connection along, and with it the refusals that are still to be sent.
        """
        draining = asyncio.ensure_future(session.drain(subscription))
        session.lost.add_done_callback(lambda _: draining.cancel())
        _, late = await asyncio.wait({draining}, timeout=_DRAIN_S)
        if late:
            why = "who asks may hear nothing once the connection is closed"
            _log.info("serving %s stops with questions on their way: %s", self.subject, why)

    async def reply(self, session: Session, msg: Msg) -> None:
        """Send the answer to one question, or the text of the error there was."""
        try:
            answer = await self.answer(msg.subject, msg.data)
            if msg.reply:
                await session.publish(msg.reply, answer)
        except BrokerUnreachable as error:
            _log.info("an answer on %s was not sent: %s", msg.subject, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one is answered
            _log.exception("no answer to a question on %s", msg.subject)
            await _send_error(session, msg.reply, error)


@dataclass(slots=True)
class _Turns:
    """Which questions are answered now; the others wait where they have arrived."""

    _responder: Responder
    _answering: asyncio.TaskGroup
    _free: asyncio.Semaphore
    _under_way: dict[asyncio.Task[None], tuple[Session, Msg]] = field(default_factory=dict)
    _is_ended: bool = False

    async def take(self, session: Session, msg: Msg) -> None:
        """Answer a question as soon as it is its turn."""
        await self._free.acquire()
        if self._is_ended or session.lost.done():
            self._free.release()
            # Over a lost session the one who asked can't be answered any more.
            await _refuse(session, msg)
            return
        task = self._answering.create_task(self._responder.reply(session, msg))
        self._under_way[task] = (session, msg)
        task.add_done_callback(self._end_one)

    async def end(self) -> None:
        """Refuse what is under way, and what arrives from now on."""
        self._is_ended = True
        under_way = dict(self._under_way)
        for task in under_way:
            task.cancel()
        # Not in the task: one that is cancelled before its first step takes none.
        for session, msg in under_way.values():
            await _refuse(session, msg)

    def _end_one(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._free.release()


async def _refuse(session: Session, msg: Msg) -> None:
    """Have the one who asks ask another who answers, instead of waiting for us in vain."""
    await _send_error(session, msg.reply, BrokerUnreachable("the one who answers stops"))


async def _send_error(session: Session, reply: str, error: Exception) -> None:
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_ERROR_CHARACTERS_MAX]
    try:
        if reply:
            await session.publish(reply, b"", headers={ERROR_HEADER: text})
    except SyncError as unsent:
        _log.info("the error was not sent: %s", unsent)


async def listen(
    sessions: AsyncIterator[Session], subject: str
) -> AsyncGenerator[tuple[str, bytes]]:
    """Yield subject and payload; what is published while there is no connection is not heard."""
    heard: deque[tuple[str, bytes]] = deque(maxlen=_HEARD_MAX)  # the oldest go first
    bell = asyncio.Event()

    async def take(msg: Msg) -> None:
        heard.append((msg.subject, msg.data))
        bell.set()

    async for session in sessions:
        session.lost.add_done_callback(lambda _: bell.set())
        try:
            subscription = await session.subscribe(subject, take)
        except SyncError as error:
            _log.info("listening to %s starts again: %s", subject, error)
            await asyncio.wait({session.lost}, timeout=_AGAIN_S)
            continue
        try:
            while heard or not session.lost.done():
                while heard:
                    yield heard.popleft()
                bell.clear()
                if not session.lost.done():
                    await bell.wait()
        finally:
            await session.unsubscribe(subscription)

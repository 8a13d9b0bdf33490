"""Answering requests and listening to what is published, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import BrokerUnreachable, SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from nats.aio.msg import Msg

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


@dataclass(frozen=True, slots=True)
class Responder:
    """What is asked on one subject, who answers it, and how many questions at a time."""

    subject: str
    answer: Callable[[str, bytes], Awaitable[bytes]]
    queue: str
    concurrency_max: int

    async def run(self, sessions: AsyncIterator[Session]) -> None:
        """Answer until there are no more sessions; an error in one answer stops none other."""
        free = asyncio.Semaphore(self.concurrency_max)
        async with asyncio.TaskGroup() as answering:

            async def take(session: Session, msg: Msg) -> None:
                await free.acquire()
                if session.lost.done():  # the one who asked can't be answered any more
                    free.release()
                    return
                task = answering.create_task(self._reply(session, msg))
                task.add_done_callback(lambda _: free.release())

            async for session in sessions:
                await self._run_on(session, functools.partial(take, session))

    async def _run_on(self, session: Session, take: Callable[[Msg], Awaitable[None]]) -> None:
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
        finally:
            await session.unsubscribe(subscription)

    async def _reply(self, session: Session, msg: Msg) -> None:
        try:
            answer = await self.answer(msg.subject, msg.data)
            if msg.reply:
                await session.publish(msg.reply, answer)
        except asyncio.CancelledError:
            # The one who asks may ask another who answers, instead of waiting for us in vain.
            await _send_error(session, msg.reply, BrokerUnreachable("the one who answers stops"))
            raise
        except BrokerUnreachable as error:
            _log.info("an answer on %s was not sent: %s", msg.subject, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one is answered
            _log.exception("no answer to a question on %s", msg.subject)
            await _send_error(session, msg.reply, error)


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

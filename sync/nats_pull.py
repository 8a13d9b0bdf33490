"""Taking messages from a durable consumer: own inbox, raw pull requests, every status told apart.

nats-py's `fetch` creates a task a message and swallows the status that says that the consumer is
gone. Here a few requests stand with the broker at a time, a callback collects what arrives, and the
caller gets whatever has come so far, so one message waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.errors import ConsumerGone, NoResponder, Transient
from sync.nats_pace import Window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from nats.aio.msg import Msg

    from sync.nats_pace import Pace
    from sync.nats_session import Session

_log = logging.getLogger(__name__)

#: Seconds after which a pull that failed is asked for again.
_AGAIN_S: Final = 0.2

#: The broker serves waiting requests in turn, so two half-used ones leave room for a third.
_REQUESTS_MAX: Final = 4
_EXPIRES_S: Final = 30.0
_HEARTBEAT_S: Final = 5.0
#: Heartbeats come every 5 s. Where a ping is answered that was sent after this long a silence, and
#: none has come before the answer, the requests are lost. Bytes prove nothing: they may be of
#: others on the same link. And on a slow line heartbeat and answer come late, but in order.
_SILENCE_MAX_S: Final = 12.5
#: Seconds' worth of bytes that one request asks for where a limit is set.
_LIMIT_S: Final = 0.1
#: A request must have room for the largest message, or it would never be answered.
_LARGEST_MESSAGE_BYTES: Final = (1 << 20) + (1 << 16)
#: What is asked for at once at least (until a message turns out to be larger), and at first.
_SMALL_REQUEST_BYTES: Final = 64 << 10
_FIRST_REQUEST_BYTES: Final = 128 << 10
_ANSWER_TIMEOUT_S: Final = 3.0
#: Wait before asking again where the broker said that it can't serve.
_RETRY_S: Final = 0.5
#: What a message costs on the wire besides its payload, about.
_ENVELOPE_BYTES: Final = 150


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message taken from a stream, and the means to settle it."""

    subject: str
    payload: bytes
    stream_seq: int
    #: JetStream's own time of storing, in ms since 1970.
    stored_at_ms: int
    redelivered: bool
    reply: str = field(repr=False, default="")
    _settle: Callable[[str, bytes], Awaitable[None]] | None = field(
        repr=False, compare=False, default=None
    )

    async def ack(self) -> None:
        """Let the broker forget the message; lost without harm, as the message then comes again."""
        if self._settle is not None:
            await self._settle(self.reply, b"")


@dataclass(frozen=True, slots=True)
class PullSettings:
    """What is taken from where, and how much may be under way."""

    prefix: str
    stream: str
    durable: str
    batch_max: int
    bytes_max: int

    @property
    def name(self) -> str:
        """The durable as people call it."""
        return f"{self.stream}/{self.durable}"

    def api(self, question: str) -> str:
        """Return the subject of a question about the durable."""
        return f"{self.prefix}.CONSUMER.{question}.{self.stream}.{self.durable}"


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for, and when on the loop's clock."""

    messages: int
    bytes: int
    at: float


class Inbox:
    """What has arrived and was not yet handed on; it outlives the connection it came by."""

    def __init__(
        self, settings: PullSettings, pace: Pace, settle: Callable[[str, bytes], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._settle = settle
        self._arrived: deque[Delivery] = deque()
        self._arrived_bytes = 0
        self._wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        largest = max(settings.bytes_max // 2, _SMALL_REQUEST_BYTES)
        self._window = Window(
            first=min(_FIRST_REQUEST_BYTES, largest),
            smallest=_SMALL_REQUEST_BYTES,
            largest=largest,
        )
        self._request_count = 0
        self.reset()

    def reset(self) -> None:
        """Forget the requests: those of an earlier inbox are answered by nobody."""
        self._asked: dict[str, _Request] = {}
        self._asked_messages = 0
        self._asked_bytes = 0
        self._heard_at = asyncio.get_running_loop().time()
        #: Why the requests have to be put anew, or nothing.
        self.broken = ""
        self.gone = False

    def take_arrived(self) -> list[Delivery]:
        """Hand on what has arrived, up to one batch."""
        count = min(len(self._arrived), self._settings.batch_max)
        taken = [self._arrived.popleft() for _ in range(count)]
        self._arrived_bytes -= sum(len(delivery.payload) for delivery in taken)
        return taken

    async def changed(self, session: Session) -> None:
        """Return when something has arrived, the session is lost, or it is time to look."""
        if self._arrived or self.broken:
            return
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        silence_s = self._heard_at + _SILENCE_MAX_S - loop.time()
        wait_s = silence_s if silence_s > 0 else _SILENCE_MAX_S / 10
        wait_s = max(0.001, min(wait_s, self._pace.debt_s() or wait_s))
        any_of: tuple[asyncio.Future[Any], ...] = (self._wake, session.lost)
        await asyncio.wait(any_of, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if self._asked and session.pong_of - self._heard_at > _SILENCE_MAX_S:
            self.broken = "no heartbeat"

    def next_request(self) -> tuple[str, bytes] | None:
        """Return the number and the text of the next pull request, if there is room for it."""
        settings = self._settings
        size, now = self._window.size(self._pace, _LIMIT_S), asyncio.get_running_loop().time()
        under_way = self._asked_messages + len(self._arrived)
        bytes_under_way = self._asked_bytes + self._arrived_bytes
        full = under_way > settings.batch_max or bytes_under_way > size
        if full or len(self._asked) >= _REQUESTS_MAX or self._pace.debt_s() > 0:
            return None
        if not self._asked:
            self._heard_at = now  # without a request there was nothing to be heard
        self._request_count += 1
        number = str(self._request_count)
        self._asked[number] = _Request(settings.batch_max, size, now)
        self._asked_messages += settings.batch_max
        self._asked_bytes += size
        request = {
            "batch": settings.batch_max,
            "max_bytes": size,
            "expires": int(_EXPIRES_S * 1e9),
            "idle_heartbeat": int(_HEARTBEAT_S * 1e9),
        }
        return number, json.dumps(request).encode()

    async def take(self, msg: Msg) -> None:
        """See one message or status of the broker."""
        self._heard_at = asyncio.get_running_loop().time()
        if not msg.data and msg.headers and "Status" in msg.headers:
            self._see_status(msg)
        elif msg.reply:
            self._add(msg)
        self._ring()

    def see_refusal(self, refused: asyncio.Future[str]) -> None:
        """Stop, because the broker does not let us ask."""
        self.broken = refused.result()
        self._ring()

    def _ring(self) -> None:
        if not self._wake.done():
            self._wake.set_result(None)

    def _add(self, msg: Msg) -> None:
        tokens = msg.reply.split(".")
        # $JS.ACK.<stream>.<durable>.<times>.<sequence>.<n>.<time>.<pending>, or the second form
        # with domain and account before the stream.
        at = 4 if len(tokens) < 11 else 6
        size = len(msg.data) + _ENVELOPE_BYTES
        self._pace.charge(size)
        self._asked_messages -= 1
        self._asked_bytes -= size
        self._arrived_bytes += len(msg.data)
        self._arrived.append(
            Delivery(
                msg.subject,
                msg.data,
                int(tokens[at + 1]),
                int(tokens[at + 3]) // 1_000_000,
                tokens[at] != "1",
                msg.reply,
                self._settle,
            )
        )

    def _see_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        # Where there is no description, the client takes the next header for one.
        status, text = headers["Status"], headers.get("Description", "").partition("\n")[0]
        if status == "100":
            return
        number = msg.subject.rpartition(".")[2]
        if status in {"404", "408"} or (status == "409" and text in _REQUEST_ENDS):
            self._end_request(number, headers, text)
        elif status == "409" and text in _CONSUMER_ENDS:
            self.gone = True
            self.broken = text
        else:
            self.broken = f"status {status} {text}".strip()

    def _end_request(self, number: str, headers: dict[str, str], text: str) -> None:
        if number not in self._asked:
            return
        asked = self._asked.pop(number)
        left = int(headers.get("Nats-Pending-Messages", asked.messages))
        left_bytes = int(headers.get("Nats-Pending-Bytes", 0))
        if text == "Message Size Exceeds MaxBytes" and left == asked.messages:
            self._window.grow_to_fit(_LARGEST_MESSAGE_BYTES)
        elif text in _REQUEST_ENDS:
            took_s = asyncio.get_running_loop().time() - asked.at
            self._window.learn(asked.bytes - left_bytes, took_s)
        if not self._asked:
            self._asked_messages = self._asked_bytes = 0
        else:
            self._asked_messages -= left
            self._asked_bytes -= left_bytes


_REQUEST_ENDS: Final = frozenset({"Batch Completed", "Message Size Exceeds MaxBytes"})
_CONSUMER_ENDS: Final = frozenset({"Consumer Deleted", "Consumer is push based"})


async def pull(
    sessions: AsyncIterator[Session], settings: PullSettings, inbox: Inbox
) -> AsyncGenerator[list[Delivery]]:
    """Yield what arrives, over as many connections as it takes; raise ConsumerGone."""
    async for session in sessions:
        while not session.lost.done():
            try:
                async with contextlib.aclosing(_pull_once(session, settings, inbox)) as arriving:
                    async for deliveries in arriving:
                        yield deliveries
            except Transient as error:
                if isinstance(error, ConsumerGone):
                    raise
                _log.info("pull of %s starts again: %s", settings.name, error)
                # A connection that is closed and not known to be lost yet refuses at once.
                await asyncio.wait({session.lost}, timeout=_AGAIN_S)
        if leftover := inbox.take_arrived():
            yield leftover


async def _pull_once(
    session: Session, settings: PullSettings, inbox: Inbox
) -> AsyncGenerator[list[Delivery]]:
    """Yield what arrives on one inbox, until the connection or the requests are lost."""
    base = session.nc.new_inbox()
    inbox.reset()
    subscription = await session.subscribe(f"{base}.*", inbox.take)
    refused = session.refusal(settings.api("MSG.NEXT"))
    refused.add_done_callback(inbox.see_refusal)
    try:
        while not session.lost.done() and not inbox.broken:
            await _request_more(session, settings, inbox, base)
            await inbox.changed(session)
            while deliveries := inbox.take_arrived():
                yield deliveries
                await _request_more(session, settings, inbox, base)
    finally:
        refused.remove_done_callback(inbox.see_refusal)
        refused.cancel()
        await session.unsubscribe(subscription)
    if inbox.broken:
        await _see_whether_gone(session, settings, inbox)


async def _request_more(session: Session, settings: PullSettings, inbox: Inbox, base: str) -> None:
    while not session.lost.done() and (request := inbox.next_request()):
        number, text = request
        await session.publish(settings.api("MSG.NEXT"), text, reply=f"{base}.{number}")


async def _see_whether_gone(session: Session, settings: PullSettings, inbox: Inbox) -> None:
    """Raise ConsumerGone when stream or durable is not there; else return after a pause."""
    _log.info("pull of %s: %s", settings.name, inbox.broken)
    gone = f"{settings.name} is not there ({inbox.broken}); the centre declares it again"
    if inbox.gone:
        raise ConsumerGone(gone)
    try:
        answer = await session.ask(settings.api("INFO"), b"", timeout_s=_ANSWER_TIMEOUT_S)
    except NoResponder:
        await asyncio.sleep(_RETRY_S)
        return
    error = json.loads(answer.data).get("error")
    if error and error.get("code") == 404:
        raise ConsumerGone(gone)
    await asyncio.sleep(_RETRY_S)

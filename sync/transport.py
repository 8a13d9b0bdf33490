"""The one door to NATS: a link that stays up, and what the two ends do over it.

A `Link` holds one connection at a time and builds a new one when it is lost. Whoever pulls,
serves or listens goes on over the next connection by itself; whoever publishes or asks gets an
error and decides itself, because only the sender knows whether a repetition is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import random
from typing import TYPE_CHECKING, Final, Self

from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_random_exponential

from shared.errors import BrokerUnreachable, Fatal, NoResponder, PayloadTooLarge
from sync.nats_pace import Pace, Window
from sync.nats_publish import HEADER_BYTES_MAX, Batch, store
from sync.nats_pull import Delivery, Inbox, PullSettings, pull
from sync.nats_serve import ERROR_HEADER, Responder, listen
from sync.nats_session import Session
from sync.nats_settings import LinkSettings
from sync.nats_watch import watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

__all__ = ["Delivery", "Link", "LinkSettings"]

_log = logging.getLogger(__name__)

#: A connection that ends sooner counts as a failed attempt, so that the waits grow.
_STABLE_S: Final = 10.0
#: Longer than a session takes to be buried.
_CANCEL_AGAIN_S: Final = 5.0
_PUBLISH_TIMEOUT_S: Final = 5.0
#: Questions smaller than this do not wait for the bandwidth limit: a hello must get through.
_SMALL_BYTES: Final = 4096
#: What a batch should hold: at first, on the slowest, and on the fastest link.
_BATCH_BYTES: Final = (1 << 20, 64 << 10, 8 << 20)


class Link:
    """One supervised connection of one process; `async with Link(settings) as link`."""

    def __init__(self, settings: LinkSettings, *, chance: random.Random | None = None) -> None:
        self._settings = settings
        self._chance = chance or random.SystemRandom()
        self._up = asyncio.Event()
        self._closed = asyncio.Event()
        self._session: Session | None = None
        self._failure: Exception | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._out = Pace(settings.bytes_per_s_max)
        self._in = Pace(settings.bytes_per_s_max)
        first, smallest, largest = _BATCH_BYTES
        self._batch_window = Window(first=first, smallest=smallest, largest=largest)
        self._since = 0.0
        #: How often a connection that had stood was lost.
        self.disconnects = 0
        #: Why the last connection was lost or not made; stays when the next one stands.
        self.last_error = ""

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start connecting, and go on without waiting for it."""
        self._since = asyncio.get_running_loop().time()
        self._supervisor = asyncio.create_task(self._supervise(), name="link")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what was published, then close; iterators end, questions fail."""
        self._closed.set()
        self._up.set()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        # More than once: the client can swallow a cancellation while it connects.
        while self._supervisor is not None and not self._supervisor.done():
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor}, timeout=_CANCEL_AGAIN_S)

    async def _supervise(self) -> None:
        chosen = list(self._settings.servers)
        self._chance.shuffle(chosen)
        servers = itertools.cycle(chosen)
        while not self._closed.is_set():
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(
                    multiplier=0.5, max=self._settings.reconnect_wait_max_s
                ),
                before_sleep=self._note_failure,
            ):
                with attempt:
                    await self._live_once(next(servers))
            await asyncio.sleep(self._chance.uniform(0, self._settings.reconnect_spread_s))

    async def _live_once(self, server: str) -> None:
        """Hold one connection until it is lost; raise when there was none, or it was short."""
        loop = asyncio.get_running_loop()
        session = Session(self._settings)
        try:
            await session.open(server)
            if self._closed.is_set():
                return
            self._enter(session, server)
            settings = self._settings
            why = await watch(
                session,
                ping_every_s=settings.ping_every_s,
                silence_max_s=settings.silence_max_s,
                deaf_max_s=settings.deaf_max_s if len(settings.servers) > 1 else math.inf,
            )
            self._leave(server, why)
            if loop.time() - session.opened_at < _STABLE_S:
                raise BrokerUnreachable(why)
        finally:
            await session.bury()

    def _enter(self, session: Session, server: str) -> None:
        self._session, self._failure = session, None
        self._since = asyncio.get_running_loop().time()
        self._up.set()
        _log.info("connected to %s", server, extra={"fields": {"link": self._settings.name}})

    def _leave(self, server: str, why: str) -> None:
        if self._closed.is_set():
            return
        self._up.clear()
        self._session = None
        self._since = asyncio.get_running_loop().time()
        self.disconnects += 1
        self.last_error = why
        _log.warning("lost %s: %s", server, why, extra={"fields": {"link": self._settings.name}})

    def _note_failure(self, state: RetryCallState) -> None:
        if self._closed.is_set():
            raise asyncio.CancelledError
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception):
            self._failure, self.last_error = error, str(error)
            _log.info("no connection: %s", error, extra={"fields": {"link": self._settings.name}})

    # --- state ------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a connection stands."""
        return self._session is not None and not self._session.lost.done()

    @property
    def refused(self) -> str:
        """Why no broker lets us in; empty where one did, or none was reached."""
        refused = isinstance(self._failure, Fatal) and not self.connected
        return str(self._failure) if refused else ""

    @property
    def since_ms(self) -> int:
        """For how long the link has been connected, or not connected."""
        return int((asyncio.get_running_loop().time() - self._since) * 1000)

    @property
    def rtt_ms(self) -> float | None:
        """The last measured way to the broker and back; None before the first."""
        return self._session.rtt_ms if self._session is not None else None

    @property
    def payload_bytes_max(self) -> int:
        """The largest payload that the broker takes from us, our headers aside."""
        session = self._session
        limit = session.nc.max_payload if session is not None else 1 << 20
        return limit - HEADER_BYTES_MAX

    @property
    def batch_bytes_max(self) -> int:
        """How large a batch should be at most now, so that it passes in seconds.

        It grows while batches pass quickly, and shrinks when one takes long or fails. A batch of
        one message may be larger.
        """
        return self._batch_window.size(self._out)

    def limit_bandwidth(self, bytes_per_s_max: int | None) -> None:
        """Set another limit for each direction, from now on."""
        self._out.limit(bytes_per_s_max)
        self._in.limit(bytes_per_s_max)

    async def wait_connected(self, timeout_s: float) -> None:
        """Return when a connection stands; raise why there is none after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                if await self._next_session() is None:
                    msg = "the link is closed"
                    raise BrokerUnreachable(msg)
        except TimeoutError:
            if isinstance(self._failure, Fatal):
                raise self._failure from None
            reason = f": {self.last_error}" if self.last_error else ""
            msg = f"no connection to {', '.join(self._settings.servers)} in {timeout_s:g} s{reason}"
            raise BrokerUnreachable(msg) from self._failure

    # --- traffic ----------------------------------------------------------------------------

    async def publish_batch(
        self, subject: str, payloads: Sequence[bytes], *, expected_last: int, over: str
    ) -> int:
        """Store all or none of 1 to 1,000 payloads; return the stream sequence of the last.

        `expected_last` is the sequence that the last message over the subjects `over` (like
        `up.<site>.>`) must have, 0 for none. Raises WrongLastSequence, StreamFull,
        PayloadTooLarge, NoResponder (no such stream), NotAuthorised, BrokerUnreachable. After
        the last, the batch may be stored: publish the same again, and WrongLastSequence tells.
        """
        session = self._live_session()
        batch = Batch(subject, payloads, expected_last, over)
        batch.check(self.payload_bytes_max)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            last = await store(session, self._out, batch, timeout_s=_PUBLISH_TIMEOUT_S)
        except BrokerUnreachable:
            self._batch_window.learn(0, took_s=math.inf)
            raise
        self._batch_window.learn(sum(map(len, payloads)), clock() - started)
        return last

    async def request(self, subject: str, payload: bytes, *, timeout_s: float = 3.0) -> bytes:
        """Return the answer; raise NoResponder (nobody, or an error there) or BrokerUnreachable."""
        session = self._live_session()
        self._check_size(subject, payload)
        if len(payload) >= _SMALL_BYTES:
            await self._out.settled()
        self._out.charge(len(payload))
        answer = await session.ask(subject, payload, timeout_s=timeout_s)
        self._in.charge(len(answer.data))
        if answer.headers and ERROR_HEADER in answer.headers:
            msg = f"the question on {subject} failed there: {answer.headers[ERROR_HEADER]}"
            raise NoResponder(msg)
        return answer.data

    async def publish(self, subject: str, payload: bytes) -> None:
        """Publish without knowing whether anyone hears it; raise BrokerUnreachable."""
        session = self._live_session()
        self._check_size(subject, payload)
        if len(payload) >= _SMALL_BYTES:
            await self._out.settled()
        await session.room()
        self._out.charge(len(payload))
        await session.publish(subject, payload)

    def pull(
        self, stream: str, durable: str, *, batch_max: int = 256, bytes_max: int = 8 << 20
    ) -> AsyncGenerator[list[Delivery]]:
        """Yield what has arrived, never waiting to fill a batch; raise ConsumerGone.

        At most twice `batch_max` messages and `bytes_max` bytes are under way or wait here.
        """
        settings = PullSettings(self._settings.prefix, stream, durable, batch_max, bytes_max)
        return pull(self._sessions(), settings, Inbox(settings, self._in, self._settle))

    async def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Let the broker forget these; lost without harm, as the messages then come again."""
        for delivery in deliveries:
            await self._settle(delivery.reply, b"")

    async def serve(
        self,
        subject: str,
        answer: Callable[[str, bytes], Awaitable[bytes]],
        *,
        queue: str,
        concurrency_max: int = 16,
    ) -> None:
        """Answer what is asked on `subject` until cancelled or closed.

        An exception in `answer` is logged, and the one who asked gets its text in NoResponder.
        """
        await Responder(subject, answer, queue, concurrency_max).run(self._sessions())

    def listen(self, subject: str) -> AsyncGenerator[tuple[str, bytes]]:
        """Yield subject and payload of what is published while we are connected."""
        return listen(self._sessions(), subject)

    # --- inside -----------------------------------------------------------------------------

    async def _settle(self, reply: str, order: bytes) -> None:
        session = self._session
        if session is not None and not session.lost.done():
            with contextlib.suppress(BrokerUnreachable):
                await session.publish(reply, order)

    def _check_size(self, subject: str, payload: bytes) -> None:
        if len(payload) > self.payload_bytes_max:
            msg = f"{len(payload)} bytes for {subject}, the broker takes {self.payload_bytes_max}"
            raise PayloadTooLarge(msg)

    def _live_session(self) -> Session:
        session = self._session
        if session is None or session.lost.done():
            if isinstance(self._failure, Fatal):
                raise self._failure
            msg = f"not connected to the broker: {self.last_error or 'not yet'}"
            raise BrokerUnreachable(msg)
        return session

    async def _next_session(self) -> Session | None:
        """Return the session that stands, waiting for it; None when the link is closed."""
        while True:
            await self._up.wait()
            if self._closed.is_set():
                return None
            session = self._session
            if session is not None and not session.lost.done():
                return session
            await asyncio.sleep(0.01)  # lost a moment ago; the supervisor is about to see it

    async def _sessions(self) -> AsyncGenerator[Session]:
        while (session := await self._next_session()) is not None:
            yield session

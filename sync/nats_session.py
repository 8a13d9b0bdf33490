"""One NATS connection from its first byte to its end. It never reconnects: that is the Link's.

The reconnecting inside nats-py hangs on half-open sockets, gives up for good on any `-ERR`, and
keeps buffers of what was sent to a dead server. So the client is used for one connection only, a
watch of ours decides when it is dead, and whatever comes next starts on a new client.

This is the only module that reaches into the client's private parts, for five things that it
offers no door to: the socket, the reading task, whether it is amid a message, how to hear no more
of a subject but what is on its way, and what its own `close` leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import re
import socket
import struct
import sys
import termios
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_MSG_PAYLOAD

from shared.errors import (
    BrokerUnreachable,
    NotAuthorised,
    ServerTooOld,
    SyncError,
)
from sync.nats_errors import CLIENT_ERRORS, sorted_error
from sync.nats_hearing import Hearing
from sync.nats_motion import Incoming, Outgoing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from sync.nats_settings import LinkSettings

_log = logging.getLogger(__name__)

#: Atomic batches came with 2.12; nothing older can take what we publish.
OLDEST_SERVER: Final = (2, 12)
#: The slowest link that is waited for: bounds how long one answer may be waited for.
_SLOWEST_BYTES_PER_S: Final = 2048
#: What may stand in our own buffers before a publisher waits; the kernel holds some more.
_UNSENT_BYTES_MAX: Final = 1 << 20
_CLOSE_TIMEOUT_S: Final = 2.0
_LOOK_EVERY_S: Final = 1.0

_PERMISSION = re.compile(
    r"permissions violation for (?:publish|subscription) to \"([^\"]+)\"", re.IGNORECASE
)
_REFUSAL = re.compile(
    r"authorization violation|authentication (?:expired|revoked)|account .*(?:expired|revoked)",
    re.IGNORECASE,
)

#: For a ping: one of the client's that times out, or is cancelled, kills its reading loop.
NEVER_S: Final = 24 * 3600


class Session:
    """A live connection; `lost` resolves to the reason when it ends, and it never lives again."""

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._refusals: defaultdict[str, set[asyncio.Future[str]]] = defaultdict(set)
        self.nc = Client()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.rtt_ms: float | None = None
        #: When the last answered ping was sent: all that the broker had for us before has come.
        self.pong_of = float("-inf")
        self.hearing = Hearing(settings.deaf_max_s)
        self.opened_at = self._loop.time()
        self.last_error = ""

    async def open(self, server: str) -> None:
        """Connect to one server, or raise; after that the session must be buried all the same."""
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_timeout_s * 2 + 1):
                await self.nc.connect(
                    server,
                    name=settings.name,
                    user_credentials=str(settings.creds_file) if settings.creds_file else None,
                    tls=settings.tls,
                    connect_timeout=settings.connect_timeout_s,  # type: ignore[arg-type]
                    allow_reconnect=False,
                    reconnect_time_wait=0,
                    max_reconnect_attempts=1,  # of the address, inside one connect
                    # Its own pings only back ours up: it would take a slow link for a dead one,
                    # because it counts answers, not bytes.
                    ping_interval=120,
                    max_outstanding_pings=2,
                    pending_size=64 << 20,  # room() holds publishers back long before
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                    lame_duck_mode_cb=self._on_lame_duck,
                )
        except CLIENT_ERRORS as error:
            raise self._why_not(server, error) from error
        self._check_version()
        self._hold_on_to_the_socket()

    def _why_not(self, server: str, error: BaseException) -> SyncError:
        text = self.last_error or str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError) and self._settings.creds_file:
            return NotAuthorised(f"no credentials at {self._settings.creds_file}; enrol this site")
        if _REFUSAL.search(str(error)):
            return NotAuthorised(
                f"{server} refuses the credentials of {self._settings.name} ({error});"
                " ask the centre to issue new ones"
            )
        return BrokerUnreachable(f"{server}: {text}")

    def _check_version(self) -> None:
        version = self.nc.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            msg = (
                f"nats-server at {self._settings.servers} is {version.major}.{version.minor};"
                " atomic batches need 2.12 or newer: upgrade the server"
            )
            raise ServerTooOld(msg)

    def _hold_on_to_the_socket(self) -> None:
        reading = self.nc._reading_task  # noqa: SLF001
        if reading is not None:
            reading.add_done_callback(lambda _: self.drop("the connection was closed"))
        sock = self._socket()
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            timeout_ms = int(self._settings.silence_max_s * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)

    # --- the end ----------------------------------------------------------------------------

    def drop(self, why: str) -> None:
        """End the session at once: the socket is reset, whoever waits on it is told."""
        if not self.lost.done():
            self.lost.set_result(self.last_error or str(self.nc.last_error or why))
        transport = self._transport()
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        """End the session in order: what was published is sent first, for two seconds at most."""
        with contextlib.suppress(*CLIENT_ERRORS):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self.nc.close()
        await self.bury()

    async def bury(self) -> None:
        """Leave nothing of the client running, whatever state its own bugs have left it in."""
        self.drop("closed")
        client = self.nc
        client._pending = []  # noqa: SLF001 - close() would write and drain it on a dead socket
        client._pending_data_size = 0  # noqa: SLF001
        with contextlib.suppress(*CLIENT_ERRORS):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await client.close()
        tasks: list[asyncio.Task[Any] | None]
        tasks = [client._reading_task, client._ping_interval_task, client._flusher_task]  # noqa: SLF001
        tasks += [sub._wait_for_msgs_task for sub in client._subs.values()]  # noqa: SLF001
        known = [task for task in tasks if task is not None]
        for task in known:
            task.cancel()
        await asyncio.gather(*known, return_exceptions=True)  # also those that ended by an error

    # --- traffic ----------------------------------------------------------------------------

    def bytes_moved(self) -> tuple[int, int]:
        """Return the bytes that the other end has acknowledged, and those that it has sent.

        Counted by the kernel where it tells, so that a message half received is a sign of life.
        """
        sock = self._socket()
        if sock is not None and sys.platform == "linux":
            with contextlib.suppress(OSError, struct.error):
                tcp = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
                acked, received = struct.unpack_from("=QQ", tcp, 120)
                return acked, received
        stats = self.nc.stats
        return stats["out_bytes"] - self.unsent_bytes(), stats["in_bytes"]

    def bytes_out(self) -> int:
        """Return what `bytes_moved` will have counted when all that was published is there."""
        acked, _ = self.bytes_moved()
        queued = 0
        sock = self._socket()
        if sock is not None and sys.platform == "linux":
            with contextlib.suppress(OSError, ValueError):
                out = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
                queued = int.from_bytes(out, sys.byteorder)
        return acked + queued + self.unsent_bytes()

    async def room(self) -> None:
        """Return when the buffers have room for another message; raise when the session is lost.

        Waiting here instead of inside the client's publish, which swallows a cancellation.
        """
        wait_s = 0.001
        while self.unsent_bytes() > _UNSENT_BYTES_MAX and not self.lost.done():
            await asyncio.wait({self.lost}, timeout=wait_s)
            wait_s = min(2 * wait_s, 0.1)
        self.check()

    def unsent_bytes(self) -> int:
        """Return the bytes that wait in this process."""
        transport = self._transport()
        written = transport.get_write_buffer_size() if transport is not None else 0
        return int(self.nc.pending_data_size + written)

    def amid_message(self) -> int | None:
        """Return the number of the message that has begun to arrive; None between two."""
        is_amid = self.nc._ps.state == AWAITING_MSG_PAYLOAD  # noqa: SLF001
        return self.nc.stats["in_msgs"] if is_amid else None

    def check(self) -> None:
        """Raise when the session is lost."""
        if self.lost.done():
            msg = f"the connection was lost: {self.lost.result()}"
            raise BrokerUnreachable(msg)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Hand one message to the socket; that it arrived is known only from an answer to it."""
        self.check()
        try:
            await self.nc.publish(subject, payload, reply, dict(headers) if headers else None)
        except CLIENT_ERRORS as error:
            raise sorted_error(subject, error) from error

    async def subscribe(
        self,
        subject: str,
        take: Callable[[Msg], Awaitable[None]],
        *,
        queue: str = "",
        bytes_max: int = 64 << 20,
    ) -> Subscription:
        """Let `take` see each message of a subject; what it can't hold is dropped and logged."""
        self.check()
        try:
            return await self.nc.subscribe(
                subject, queue=queue, cb=take, pending_bytes_limit=bytes_max
            )
        except CLIENT_ERRORS as error:
            raise sorted_error(subject, error) from error

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Hear no more of a subject; with the connection gone that is so already."""
        if not self.lost.done():
            with contextlib.suppress(*CLIENT_ERRORS):
                await subscription.unsubscribe()

    async def drain(self, subscription: Subscription) -> None:
        """Have all taken that was sent to us of a subject, and hear no more of it.

        It takes what the line takes, and may be cancelled only once the session is lost. The
        client's own drain gives its ping up after ten seconds.
        """
        if not self.lost.done():
            with contextlib.suppress(*CLIENT_ERRORS):
                await self.nc._send_unsubscribe(subscription._id)  # noqa: SLF001
                await self.nc.rtt(timeout=NEVER_S)
                await subscription._pending_queue.join()  # noqa: SLF001
        await self.unsubscribe(subscription)

    def refusal(self, subject: str) -> asyncio.Future[str]:
        """Return what resolves when the broker refuses this subject to us; cancel it when done.

        The broker tells it by an error of the connection, not as the answer to a message.
        """
        refused: asyncio.Future[str] = self._loop.create_future()
        waiting = self._refusals[subject.lower()]  # the client tells it in lower case
        waiting.add(refused)
        refused.add_done_callback(waiting.discard)
        return refused

    async def ask(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Msg:
        """Return the answer; `timeout_s` counts from when the question has left us.

        Before, all must leave that was published earlier; and a large answer takes its time.

        Raises BrokerUnreachable (lost, or no answer in time), NoResponder, NotAuthorised,
        PayloadTooLarge. The request may have been carried out all the same.
        """
        self.check()
        asked_at = self._loop.time()
        most_bytes = self.bytes_out() - self.bytes_moved()[0] + len(payload) + self.nc.max_payload
        until = asked_at + timeout_s + most_bytes / _SLOWEST_BYTES_PER_S
        refused = self.refusal(subject)
        request = asyncio.ensure_future(
            self.nc.request(
                subject,
                payload,
                timeout=until - self._loop.time() + _CLOSE_TIMEOUT_S,
                headers=dict(headers) if headers else None,
            )
        )
        try:
            answer = await self._settle(subject, request, refused, (timeout_s, until))
        except (*CLIENT_ERRORS, BrokerUnreachable) as error:
            self.hearing.note(subject, None, asked_at, self._loop.time())
            raise sorted_error(subject, error) from error
        else:
            self.hearing.note(subject, answer.data, asked_at, self._loop.time())
            return answer
        finally:
            refused.cancel()
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)

    async def _settle(
        self,
        subject: str,
        request: asyncio.Future[Msg],
        refused: asyncio.Future[str],
        patience: tuple[float, float],
    ) -> Msg:
        timeout_s, until = patience
        any_of: tuple[asyncio.Future[Any], ...] = (request, refused, self.lost)
        await asyncio.sleep(0)  # lets the request be written, so that it counts as on its way
        outgoing, incoming = Outgoing(self), Incoming(self)
        quiet_since = self._loop.time()
        while True:
            wait_s = min(_LOOK_EVERY_S, max(0.01, quiet_since + timeout_s - self._loop.time()))
            await asyncio.wait(any_of, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if request.done():
                return request.result()
            if refused.done():
                raise NotAuthorised(refused.result())
            self.check()
            now = self._loop.time()
            is_moving = outgoing.is_moving() | incoming.is_moving()
            quiet_since = now if is_moving else quiet_since
            if now >= min(until, quiet_since + timeout_s):
                msg = f"no answer on {subject} within {timeout_s:g} s"
                raise BrokerUnreachable(msg)

    # --- what the client tells --------------------------------------------------------------

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        self.last_error = text
        denied = _PERMISSION.search(text)
        _log.warning("nats: %s", text, extra={"fields": {"link": self._settings.name}})
        if denied:
            self.last_error = ""  # the connection lives on
            for refused in list(self._refusals[denied.group(1).lower()]):
                if not refused.done():
                    refused.set_result(f"{text}; these credentials are not for that subject")

    async def _on_closed(self) -> None:
        self.drop("the broker closed the connection")

    async def _on_lame_duck(self) -> None:
        self.drop("the server is shutting down")

    def _transport(self) -> Any:
        writer = getattr(self.nc._transport, "_io_writer", None)  # noqa: SLF001
        return None if writer is None else writer.transport

    def _socket(self) -> Any:
        transport = self._transport()
        return None if transport is None else transport.get_extra_info("socket")

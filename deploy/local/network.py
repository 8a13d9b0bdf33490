"""The network between the sites and the broker: one TCP relay a site, which can be cut.

A cut link refuses new connections and drops those that stand, both with a reset, as a router does
whose line has gone. The relays keep listening all the while, so that nobody else takes their ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self, TypeVar

from deploy.local.folder import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")

_PIECE_BYTES = 1 << 16
_ANSWER_S = 10.0
#: Closing a socket with this option sends a reset and not an end.
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """The link of one site; lives in the loop of its network."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._live: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.cut = False
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._join, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop what stands."""
        if self._server is not None:
            self._server.close()
        self.drop()

    def drop(self) -> None:
        """Reset all connections."""
        for writer in list(self._live):
            _reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            _reset(writer)
            return
        # From now on a cut resets it, also while the other half is being laid.
        self._live.add(writer)
        try:
            there, onward = await asyncio.open_connection(*self._target)
        except OSError:
            self._live.discard(writer)
            _reset(writer)
            return
        both = {writer, onward}
        self._live |= both
        try:
            if not writer.transport.is_closing():
                await asyncio.gather(_copy(reader, onward), _copy(there, writer))
        finally:
            self._live -= both
            for each in both:
                each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until either end is gone, then let the other end know."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Network:
    """The links of all sites, in a thread of their own; `with Network(host, port) as network`."""

    def __init__(self, host: str, port: int) -> None:
        """Lead every link to the broker at this address."""
        self._target = (host, port)
        self._relays: dict[str, Relay] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for relay in self._relays.values():
            self._do(relay.close())
        self._do(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()

    def address(self, site: str) -> str:
        """Return where the site finds the broker; its link is laid when it is first asked for."""
        if site not in self._relays:
            relay = Relay(*self._target)
            self._do(relay.open())
            self._relays[site] = relay
        return f"nats://{LOOPBACK}:{self._relays[site].port}"

    def cut(self, site: str) -> None:
        """Take the site off the network."""
        self._do(self._set(site, cut=True))

    def heal(self, site: str) -> None:
        """Let the site in again."""
        self._do(self._set(site, cut=False))

    async def _set(self, site: str, *, cut: bool) -> None:
        relay = self._relays[site]
        relay.cut = cut
        if cut:
            relay.drop()

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _do(self, work: Coroutine[object, object, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

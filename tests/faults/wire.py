"""A TCP relay whose two directions can each be cut, delayed, slowed down and made to lose.

What it does to bytes is what TCP makes of such a line. A segment that is lost is sent again after
a while, and all behind it waits: so a loss is a stall, and never a gap. A direction that is cut
takes nothing and tells nobody; what is under way stays, as in a router that has lost its line,
until it is whole again or the ends have given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import random

#: What TCP sends at once, about; what is lost is lost by so much.
_SEGMENT_BYTES: Final = 1460
#: The least time after which TCP sends again what was lost.
_RESEND_S: Final = 0.2
#: Small buffers: what a wire has taken is under way on it, and not stored somewhere.
_BUFFER_BYTES: Final = 1 << 14
#: Blocks that are under way in one direction at most.
_BLOCKS_MAX: Final = 64


@dataclass(slots=True)
class Way:
    """How one direction is; may be changed while bytes pass."""

    is_cut: bool = False
    delay_s: float = 0.0
    bytes_per_s: float | None = None
    #: Share of segments that are lost.
    loss: float = 0.0
    chance: random.Random | None = None
    _whole: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin whole."""
        self._whole.set()

    def cut(self) -> None:
        """Take nothing any more."""
        self.is_cut = True
        self._whole.clear()

    def heal(self) -> None:
        """Let pass what waits, and all after it."""
        self.is_cut = False
        self._whole.set()

    async def whole(self) -> None:
        """Return when it is not cut."""
        await self._whole.wait()

    def takes_s(self, size: int) -> float:
        """Return how long it takes to put so many bytes on the line, with what is lost of them."""
        stalls = 0
        if self.chance is not None and self.loss:
            segments = -(-size // _SEGMENT_BYTES)
            stalls = sum(self.chance.random() < self.loss for _ in range(segments))
        busy = size / self.bytes_per_s if self.bytes_per_s else 0.0
        return busy + stalls * (_RESEND_S + 2 * self.delay_s)


@dataclass(eq=False, slots=True)
class _Line:
    """One connection: the client's end and, once it is laid, the server's."""

    writer: asyncio.StreamWriter
    onward: asyncio.StreamWriter | None = None
    #: The server's end is gone, and the client is not told.
    is_forgotten: bool = False


class Wire:
    """A relay before the server of an address; ``port`` and ``url`` lead through it."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self.up = Way()
        self.down = Way()
        self.port = 0
        #: Connections that were laid so far.
        self.laid = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[_Line] = set()

    async def __aenter__(self) -> Self:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listening.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=_BUFFER_BYTES)
        self.port = listening.getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Return the address of the server as it is reached through here."""
        return f"{self._there.scheme}://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Cut both directions."""
        self.up.cut()
        self.down.cut()

    def heal(self) -> None:
        """Make both directions whole again."""
        self.up.heal()
        self.down.heal()

    def drop(self) -> None:
        """Reset the connections that stand, as whoever sees that a line is down."""
        for line in self._lines:
            line.writer.transport.abort()

    def forget(self) -> None:
        """Leave the connections that stand half open: the server's end goes, ours is not told."""
        for line in self._lines:
            line.is_forgotten = True
            if line.onward is not None:
                line.onward.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        line = _Line(writer)
        self._tasks.add(task)
        self._lines.add(line)
        self.laid += 1
        try:
            await self._relay(line, reader)
        finally:
            self._tasks.discard(task)
            self._lines.discard(line)
            for each in (line.writer, line.onward):
                if each is not None:
                    each.transport.abort()

    async def _relay(self, line: _Line, reader: asyncio.StreamReader) -> None:
        try:
            await self.up.whole()  # a connection needs both
            await self.down.whole()
            there, line.onward = await asyncio.open_connection(
                self._there.hostname, self._there.port, limit=_BUFFER_BYTES
            )
            async with asyncio.TaskGroup() as both:
                both.create_task(_carry(self.up, reader, line.onward))
                both.create_task(_carry(self.down, there, line.writer))
        except* OSError:
            pass  # either end is gone, and so is the other then
        if line.is_forgotten:
            await _until_closed(reader)


async def _carry(way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes as the way allows; raise where either end is gone."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_BLOCKS_MAX)
    async with asyncio.TaskGroup() as both:
        both.create_task(_take(way, reader, under_way))
        both.create_task(_give(way, under_way, writer))


async def _take(
    way: Way, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        await way.whole()
        block = await reader.read(_SEGMENT_BYTES if way.bytes_per_s else _BUFFER_BYTES)
        if not block:
            raise ConnectionResetError
        if takes_s := way.takes_s(len(block)):
            await asyncio.sleep(takes_s)
        await under_way.put((clock() + way.delay_s, block))


async def _give(
    way: Way, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, block = await under_way.get()
        if (early_s := due - clock()) > 0:
            await asyncio.sleep(early_s)
        await way.whole()
        writer.write(block)
        await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Take what comes and say nothing, until the other end closes."""
    with contextlib.suppress(OSError):
        while await reader.read(_BUFFER_BYTES):
            pass

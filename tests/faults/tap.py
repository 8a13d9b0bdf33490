"""A relay before a server that keeps back what one end says, at the moment that a fault is about.

A fault at a random moment may never come in the window that it is named after. A tap waits until
the window is open: until somebody said something that it was told to wait for. From then on it
passes nothing on this connection, in either direction, and the test does what the fault is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Tells of a connection, and what is about to be passed there, whether the window is open now;
    #: True for what the server says.
    Window = Callable[["Line", bytes, bool], bool]

_BLOCK_BYTES = 65_536


@dataclass(eq=False, slots=True)
class Line:
    """A connection, seen by a window."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    #: What a window wants to remember of it.
    marked: bool = False
    #: Nothing is passed any more.
    held: bool = False
    _tails: dict[bytes, bytes] = field(default_factory=dict)

    def heard(self, word: bytes, block: bytes) -> bool:
        """Return whether a word, which may come in two blocks, is at its end in this one."""
        seen = self._tails.get(word, b"") + block
        self._tails[word] = seen[1 - len(word) :]
        return word in seen


class Tap:
    """A relay before the server of an address; ``url`` leads through it."""

    def __init__(self, url: str, window: Window) -> None:
        self._there = urlsplit(url)
        self._window = window
        self._armed = False
        self._open = asyncio.Event()
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login = self._there.netloc.rpartition("@")
        netloc = f"{login[0]}{login[1]}127.0.0.1:{port}"
        self.url = urlunsplit(self._there._replace(netloc=netloc))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self) -> None:
        """Hold the next connection whose window opens."""
        self._armed = True
        self._open.clear()

    async def caught(self, timeout_s: float = 30.0) -> None:
        """Wait until a connection is held; fails where the window never opens."""
        async with asyncio.timeout(timeout_s):
            await self._open.wait()

    def cut(self) -> None:
        """Drop the connections that are held, as a line that breaks does."""
        for line in list(self._lines):
            if line.held:
                for writer in line.writers:
                    writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, onward = await asyncio.open_connection(self._there.hostname, self._there.port)
        line = Line((writer, onward))
        self._lines.add(line)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(line, reader, onward, is_answer=False))
                both.create_task(self._carry(line, there, writer, is_answer=True))
        except* OSError:
            pass  # either end is gone, and so is the other then
        finally:
            self._lines.discard(line)
            self._tasks.discard(task)
            for each in line.writers:
                each.transport.abort()

    async def _carry(
        self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        *, is_answer: bool,
    ) -> None:  # fmt: skip
        while block := await reader.read(_BLOCK_BYTES):
            if self._window(line, block, is_answer) and self._armed:
                self._armed, line.held = False, True
                self._open.set()
            if not line.held:
                writer.write(block)
                await writer.drain()
        raise ConnectionResetError


def commit_of_an_apply(line: Line, block: bytes, is_answer: bool) -> bool:
    """PostgreSQL has committed transactions of a site and is about to say so."""
    if not is_answer:
        line.marked |= line.heard(b"INSERT INTO sync.applied", block)
        return False
    is_committed = line.heard(b"COMMIT\0", block)
    is_open = line.marked and is_committed
    if is_committed or line.heard(b"ROLLBACK\0", block):
        line.marked = False
    return is_open


def ack_to_the_broker(line: Line, block: bytes, is_answer: bool) -> bool:
    """The ingest has committed, and is about to let the broker forget the messages."""
    return not is_answer and line.heard(b"PUB $JS.ACK.UP_", block)


def publish_by_a_site(line: Line, block: bytes, is_answer: bool) -> bool:
    """The agent has drained, and is about to publish."""
    return not is_answer and line.heard(b"PUB up.", block)


def publish_ack_to_a_site(line: Line, block: bytes, is_answer: bool) -> bool:
    """The broker has stored what a site published, and is about to say so."""
    return is_answer and line.heard(b'{"stream":"UP_', block)

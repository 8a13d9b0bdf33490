"""Whether bytes move on a connection, by which a slow link is told from a dead one."""

from __future__ import annotations

from typing import Protocol


class Moved(Protocol):
    """What a session counts."""

    def bytes_moved(self) -> tuple[int, int]:
        """Return the bytes that the other end has acknowledged, and those that it has sent."""

    def bytes_out(self) -> int:
        """Return what `bytes_moved` will have counted when all that was published is there."""

    def is_amid_message(self) -> bool:
        """Tell whether a message has begun to arrive, and has not ended."""


class Outgoing:
    """What was on its way out at one moment, and whether it still moves.

    On a slow link a message of a few hundred KiB leaves the buffers for minutes. That is not
    silence; but later messages, taken by the kernel of a dead server, are no sign of life either.
    """

    def __init__(self, session: Moved) -> None:
        self._session = session
        self._target = session.bytes_out()
        self._acked, _ = session.bytes_moved()

    def is_moving(self) -> bool:
        """Say whether more of it has arrived since the last look."""
        before = self._acked
        self._acked, _ = self._session.bytes_moved()
        return before < self._target and self._acked > before


class Incoming:
    """Whether more of a large message arrives: the answer may be among what does.

    Whole messages, as they come and go, are no sign of it: they may be anyone's.
    """

    def __init__(self, session: Moved) -> None:
        self._session = session
        _, self._received = session.bytes_moved()

    def is_moving(self) -> bool:
        """Say whether a message is half here, and more of it than at the last look."""
        before = self._received
        _, self._received = self._session.bytes_moved()
        return self._session.is_amid_message() and self._received > before

"""Whether bytes move on a connection, by which a slow link is told from a dead one."""

from __future__ import annotations

from typing import Protocol


class Moved(Protocol):
    """What a session counts."""

    def bytes_moved(self) -> tuple[int, int]:
        """Return the bytes that the other end has acknowledged, and those that it has sent."""

    def bytes_out(self) -> int:
        """Return what `bytes_moved` will have counted when all that was published is there."""

    def amid_message(self) -> int | None:
        """Return the number of the message that has begun to arrive; None between two."""


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
    """Whether more of one large message arrives: it may be the answer.

    Messages that come and go are no sign of it, however full of them the line is.
    """

    def __init__(self, session: Moved) -> None:
        self._session = session
        _, self._received = session.bytes_moved()
        self._amid = session.amid_message()

    def is_moving(self) -> bool:
        """Say whether the message that was half here at the last look still is, with more of it."""
        received, amid = self._received, self._amid
        _, self._received = self._session.bytes_moved()
        self._amid = self._session.amid_message()
        return amid is not None and self._amid == amid and self._received > received

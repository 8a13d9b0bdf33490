"""How fast, and how much at once: the limit that an operator sets, and what the link can carry."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds' worth of bytes that may pass at once after a pause.
_BURST_S: Final = 0.25
#: What passed sooner may be larger the next time; what took longer is to be smaller.
_QUICK_S: Final = 0.5
_SLOW_S: Final = 5.0
#: Seconds after which a sleeper looks again, so that a changed limit takes effect soon.
_LOOK_AGAIN_S: Final = 0.5


class Pace:
    """Bytes that one direction of a link may carry in a second; may be changed while running.

    A token bucket that may run into debt, which is paid off by waiting.

    Debt instead of waiting ahead: a message larger than the burst goes out whole, and what
    follows waits until it is paid off. So the mean holds for messages of any size.
    """

    def __init__(
        self, bytes_per_s_max: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._rate = bytes_per_s_max
        self._balance = 0.0
        self._counted_at = clock()

    @property
    def bytes_per_s_max(self) -> int | None:
        """The limit, or None where there is none."""
        return self._rate

    def limit(self, bytes_per_s_max: int | None) -> None:
        """Set another limit; debt so far stays owed at the new rate, None forgives it."""
        if bytes_per_s_max is not None and bytes_per_s_max <= 0:
            msg = f"bytes_per_s_max is {bytes_per_s_max}; give a positive number, or None for none"
            raise ValueError(msg)
        self._refill()
        self._rate = bytes_per_s_max
        if bytes_per_s_max is None:
            self._balance = 0.0

    def charge(self, size_bytes: int) -> None:
        """Book bytes that have passed."""
        if self._rate is not None:
            self._refill()
            self._balance -= size_bytes

    def debt_s(self) -> float:
        """Return the seconds until the next byte may pass; 0 when it may now."""
        if self._rate is None:
            return 0.0
        self._refill()
        return max(0.0, -self._balance / self._rate)

    async def settled(self) -> None:
        """Return when nothing is owed any more."""
        while (debt_s := self.debt_s()) > 0:  # noqa: ASYNC110 - time pays the debt, not an event
            await asyncio.sleep(min(debt_s, _LOOK_AGAIN_S))

    def _refill(self) -> None:
        now = self._clock()
        if self._rate is not None:
            earned = (now - self._counted_at) * self._rate
            self._balance = min(self._rate * _BURST_S, self._balance + earned)
        self._counted_at = now


class Window:
    """How many bytes go at once: as many as pass in seconds, learned from what has passed.

    Much more than that would, on a slow link, be under way for longer than the broker waits (for
    an ack, or for the next message of a batch); it would start all over again, and again.
    """

    def __init__(self, *, first: int, smallest: int, largest: int) -> None:
        self._size = first
        self._smallest = smallest
        self._largest = largest

    def size(self, pace: Pace, limit_s: float = 1.0) -> int:
        """Return the bytes that may go at once; under a limit, no more than pass in `limit_s`."""
        rate = pace.bytes_per_s_max
        size = self._size if rate is None else min(self._size, int(rate * limit_s))
        return max(self._smallest, size)

    def learn(self, passed_bytes: int, took_s: float) -> None:
        """See how long it took to pass so many bytes; few bytes prove nothing about many."""
        if took_s > _SLOW_S:
            self._size = max(self._size // 2, self._smallest)
        elif took_s < _QUICK_S and passed_bytes >= self._size // 2:
            self._size = min(2 * self._size, self._largest)

    def grow_to_fit(self, bytes_max: int) -> None:
        """See that not even one message fits; the smallest size grows, to `bytes_max` at most."""
        self._smallest = min(4 * max(self._smallest, self._size), bytes_max)

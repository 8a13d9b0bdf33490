"""How often each key or token may ask: a bucket for each, in this process. Pure.

A bucket holds ``BURST_S`` seconds' worth of requests and fills steadily. Who has asked least lately
is forgotten first, and then has a full one: so memory is bounded, and nobody is refused for others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shared.errors import SyncError

#: Seconds of the rate that may be asked at once.
BURST_S: Final = 4.0
#: Buckets that are remembered.
BUCKETS_MAX: Final = 10_000


class TooOften(SyncError):
    """The key or token asks too often."""

    def __init__(self, after_s: float) -> None:
        #: Then one request is free again.
        self.after_s = after_s
        super().__init__("the key or token asks too often; ask again after `Retry-After` seconds")


@dataclass(slots=True)
class Rates:
    """The buckets of all that ask."""

    #: Requests a second; 0 for as many as come.
    per_s: float = 0.0
    #: What is left in each, and when that was; who asked last stands last.
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, who: str, now_s: float) -> None:
        """Take one request out of somebody's bucket; raise TooOften where it is empty."""
        if not self.per_s:
            return
        most = max(1.0, self.per_s * BURST_S)
        left, at_s = self._buckets.pop(who, (most, now_s))
        left = min(most, left + (now_s - at_s) * self.per_s)
        taken = left >= 1
        self._buckets[who] = (left - 1 if taken else left, now_s)
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        if not taken:
            raise TooOften((1 - left) / self.per_s)

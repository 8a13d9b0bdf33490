"""Hybrid logical clock: wall time that never goes back and orders causally.

After Kulkarni et al., "Logical Physical Clocks" (2014). A stamp is one 63-bit integer, milliseconds
since 1970 in the upper bits and a counter in the lower 16, so that stamps compare as integers.
"""

from __future__ import annotations

COUNTER_BITS = 16
_COUNTER_MAX = (1 << COUNTER_BITS) - 1

#: A wall time further ahead than this of the broker's own clock is held to the bound (protocol 6).
DRIFT_MAX_MS = 5 * 60 * 1000


def stamp(wall_ms: int, counter: int = 0) -> int:
    """Return the stamp of a wall time."""
    return (wall_ms << COUNTER_BITS) | min(counter, _COUNTER_MAX)


def wall_ms(hlc: int) -> int:
    """Return the wall time in a stamp, in milliseconds since 1970."""
    return hlc >> COUNTER_BITS


def tick(last: int, now_ms: int) -> int:
    """Return a stamp later than ``last``, even when the wall clock went back."""
    return max(last + 1, stamp(now_ms))


def touch_ms(at_ms: int, offset_ms: int, stored_at_ms: int) -> tuple[int, bool]:
    """Return the corrected time of a touch, and whether it had to be held to the drift bound.

    ``offset_ms`` is the centre's clock minus the edge's at the last hello; ``stored_at_ms`` is the
    broker's clock when it took the message. Both travel with the message, so a replay of it comes
    to the same result.
    """
    corrected = at_ms + offset_ms
    latest = stored_at_ms + DRIFT_MAX_MS
    return (latest, True) if corrected > latest else (corrected, False)


def clock_offset_ms(asked_ms: int, theirs_ms: int, answered_ms: int, known_ms: int = 0) -> int:
    """Return their clock minus ours, from one question and its answer.

    The estimate of Cristian, "Probabilistic clock synchronization" (1989): their reading was taken
    half way between asking and answer, give or take half the round trip. Within that error what
    was known before stands, else none: a slow answer neither spoils what a fast one has measured
    nor parts two clocks that agree.
    """
    offset = theirs_ms - (asked_ms + answered_ms) // 2
    error = (answered_ms - asked_ms + 1) // 2 + 1  # and a millisecond, the clocks' own grain
    return next((each for each in (known_ms, 0) if abs(offset - each) <= error), offset)

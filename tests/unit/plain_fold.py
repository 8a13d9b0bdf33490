"""The fold of a row's touches as it is plainest: all are kept, and looked through at the end.

``edge.store.fold`` forgets them as it reads them, and has to say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.store.lasts import differs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge.store.lasts import Steps, Touch
    from shared.changes import Times, Value

OP, ID, SITE, CREATED, MASK, AT, OLD = range(7)
#: Beyond this many touches of a row its steps are not kept.
STEPS_MAX = 1_000


class Plain(NamedTuple):
    """What the touches of a row say, before anything is known of the row that stands."""

    id: str
    at_ms: int
    mask: int
    old: list[Value]
    key: tuple[Value, Value] | None
    kept: int


def plain(touches: Sequence[Touch]) -> Plain:
    first = touches[0]
    mask, old = 0, list(first[OLD:])
    if next((touch[OP] for touch in touches if touch[OP] not in "US"), "U") != "I":
        for touch in touches:
            for bit in _bits(touch[MASK] & ~mask):
                old[bit] = touch[OLD + bit]
            mask |= touch[MASK]
    keys = [(touch[SITE], touch[CREATED]) for touch in touches if touch[OP] in "DX"]
    kept = 0
    for touch in touches:
        kept |= touch[MASK] if touch[OP] == "S" else 0
    if len(touches) == 1:
        mask = first[MASK]
    return Plain(first[ID], touches[-1][AT], mask, old, keys[0] if keys else None, kept)


def plain_steps(touches: Sequence[Touch], mask: int) -> Mapping[int, Steps] | None:
    if any(touch[OP] in "DX" for touch in touches) or _at_once(touches):
        return None
    if len(touches) > STEPS_MAX:
        return None
    found = {
        bit: [(touch[AT], touch[OLD + bit]) for touch in touches if touch[MASK] >> bit & 1]
        for bit in _bits(mask)
    }
    return {bit: some for bit, some in found.items() if some} or None


def plain_times(
    touches: Sequence[Touch], live: Sequence[Value], changed: Iterable[int],
    form: Callable[[int, Value], Value],
) -> tuple[int, Times]:  # fmt: skip
    """Return the time of a row's last change, and the columns that are of another time."""
    if _at_once(touches):
        return touches[-1][AT], ()
    in_form = [
        (*touch[:OLD], *(form(bit, value) for bit, value in enumerate(touch[OLD:])))
        if touch[OP] in "DX"
        else touch
        for touch in touches
    ]
    last = [(columns, _last_change(in_form, columns, live)) for columns in changed]
    newest = max([place for _, place in last], default=-1)
    if newest < 0:
        return touches[-1][AT], ()
    at_ms = touches[newest][AT]
    times: dict[int, int] = {}
    for columns, place in last:
        at = at_ms if place < 0 else touches[place][AT]
        if at != at_ms:
            times[at] = times.get(at, 0) | columns
    return at_ms, tuple((columns, at) for at, columns in times.items())


def _last_change(touches: Sequence[Touch], columns: int, live: Sequence[Value]) -> int:
    """Return the place of the touch that gave any of the columns its value; -1 where none did."""
    inserted = -1
    for place in range(len(touches) - 1, -1, -1):
        touch = touches[place]
        if touch[OP] == "I":
            inserted = place
        elif touch[OP] in "US":
            if touch[MASK] & columns:
                return max(inserted, place)
        elif any(differs(touch[OLD + bit], live[bit]) for bit in _bits(columns)):
            return max(inserted, place)
        else:
            inserted = -1
    return inserted


def _at_once(touches: Sequence[Touch]) -> bool:
    return len({touch[AT] for touch in touches}) == 1


def _bits(columns: int) -> list[int]:
    return [bit for bit in range(columns.bit_length()) if columns >> bit & 1]

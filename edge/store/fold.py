"""Folds the log of a two-way table: several touches of a row become one change, or none.

Pure. The live row decides: it stands, so it was inserted or updated, or it does not, so it was
deleted. The log only says which columns may have changed and what stood in them before; a touch
that changed nothing in the end (a REPLACE that failed, a value set and set back) is no change,
unless a person decided that the value stands.
Each column is as old as the last touch that changed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.changes import Op, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.catalog import Table
    from shared.changes import Times

#: A row of the log: op, id, site_id, created_at, mask, at_ms, then an old value for each column.
Touch = tuple[Any, ...]
OP, _ID, _SITE, _CREATED, _MASK, _AT, OLD = range(7)


class Touched(NamedTuple):
    """What a batch of a row's log says of it."""

    id: str
    #: Wall time of the last touch.
    at_ms: int
    #: Columns whose value before the batch is known.
    mask: int
    #: Those values, one for each column of the table.
    old: Sequence[Value]
    #: site_id and created_at as they were before the row was deleted or displaced, where it was.
    key: tuple[Value, Value] | None
    #: All touches in order, where they were made at more than one time.
    touches: Sequence[Touch] = ()
    #: Columns that a person decided on: they are written also where nothing changed.
    kept: int = 0


#: Of a column, when it was touched and what stood there before, in order.
Steps = list[tuple[int, Value]]
#: Beyond this many touches of a row its steps are not kept.
_STEPS_MAX: Final = 1_000


class Decided(NamedTuple):
    """What was done to a row."""

    op: Op
    #: Columns that changed.
    mask: int


def fold(touches: Sequence[Touch]) -> Touched:
    """Return what the touches of one row, in order, say of it."""
    first = touches[0]
    if len(touches) == 1:
        key = (first[_SITE], first[_CREATED]) if first[OP] in "DX" else None
        kept = first[_MASK] if first[OP] == "S" else 0
        return Touched(first[_ID], first[_AT], first[_MASK], first[OLD:], key, kept=kept)
    mask, kept, old = 0, 0, list(first[OLD:])
    key = None
    # Where a row was inserted first, nothing stood there that a later touch could tell of; it may
    # have been out of sight, and what is inserted is another one. A trigger of the plant's may
    # have changed it at once, and been before ours.
    tells = next((touch[OP] for touch in touches if touch[OP] not in "US"), "U") != "I"
    for touch in touches:
        if key is None and touch[OP] in "DX":
            key = (touch[_SITE], touch[_CREATED])
        if touch[OP] == "S":
            kept |= touch[_MASK]
        fresh = touch[_MASK] & ~mask if tells else 0
        mask |= fresh
        while fresh:
            bit = (fresh & -fresh).bit_length() - 1
            old[bit] = touch[OLD + bit]
            fresh &= fresh - 1
    at_once = len({touch[_AT] for touch in touches}) == 1
    return Touched(first[_ID], touches[-1][_AT], mask, old, key, () if at_once else touches, kept)


def steps(touched: Touched, mask: int) -> dict[int, Steps] | None:
    """Return the steps of these columns by their bits; None where none was touched at two times.

    Nor of a row that was displaced or deleted meanwhile: it was not counted on.
    """
    if touched.key is not None or not mask or not 1 < len(touched.touches) <= _STEPS_MAX:
        return None
    bits = [bit for bit in range(len(touched.old)) if mask >> bit & 1]
    found: dict[int, Steps] = {
        bit: [(t[_AT], t[OLD + bit]) for t in touched.touches if t[_MASK] >> bit & 1]
        for bit in bits
    }
    return {bit: some for bit, some in found.items() if some} or None


def decide(
    touched: Touched, live: Sequence[Value] | None, *, existed: bool, writer_bit: int | None = None
) -> Decided | None:
    """Return what was done to a row, or None where nothing was.

    ``live`` are the row's values now; None where it is gone. ``existed`` says whether it stood
    before the batch, as far as the centre knows or will know.
    """
    if live is None:
        return Decided(Op.DELETE, 0) if existed else None
    if not existed or not touched.mask:
        return Decided(Op.INSERT, (1 << len(live)) - 1)
    mask, left = 0, touched.mask
    while left:
        bit = (left & -left).bit_length() - 1
        if touched.kept >> bit & 1 or differs(touched.old[bit], live[bit]):
            mask |= 1 << bit
        left &= left - 1
    if not mask:
        return None
    if writer_bit is not None and live[writer_bit] is not None:
        mask |= 1 << writer_bit  # who wrote goes along, also where the same person wrote before
    return Decided(Op.UPDATE, mask)


def dated(touched: Touched, live: Sequence[Value], changed: Iterable[int]) -> tuple[Touched, Times]:
    """Return a row with the time of its last change, and the columns that are of another time.

    ``changed`` are masks of the columns that changed, those that are edited as one thing together:
    the last change of any of them is that of all.
    """
    row_id, _, mask, old, key, touches, _ = touched
    last = [(columns, _last_change(touches, columns, live)) for columns in changed]
    newest = max([place for _, place in last], default=-1)
    if newest < 0:
        return touched, ()
    at_ms = touches[newest][_AT]
    times: dict[int, int] = {}
    for columns, place in last:
        at = at_ms if place < 0 else touches[place][_AT]
        if at != at_ms:
            times[at] = times.get(at, 0) | columns
    told = tuple([(columns, at) for at, columns in times.items()])
    return Touched(row_id, at_ms, mask, old, key), told


def _last_change(touches: Sequence[Touch], columns: int, live: Sequence[Value]) -> int:
    """Return the place of the touch that gave any of the columns its value; -1 where none did.

    What was displaced or deleted tells by its old values whether the row that took its place was
    another one in these columns.
    """
    inserted = -1
    for place in range(len(touches) - 1, -1, -1):
        touch = touches[place]
        if touch[OP] == "I":
            inserted = place
        elif touch[OP] in "US":
            if touch[_MASK] & columns:
                return max(inserted, place)
        elif _differ(touch, columns, live):
            return max(inserted, place)
        else:
            inserted = -1
    return inserted


def _differ(touch: Touch, columns: int, live: Sequence[Value]) -> bool:
    bits = (bit for bit in range(len(live)) if columns >> bit & 1)
    return any(differs(touch[OLD + bit], live[bit]) for bit in bits)


def differs(before: Value, now: Value) -> bool:
    """Return whether two values are not the same, to the type: 1, 1.0 and '1' are three."""
    return before is not now and (type(before) is not type(now) or before != now)


def whole_groups(table: Table, mask: int) -> int:
    """Return the mask with every column of the groups that it touches.

    Columns that are edited as one thing travel as one, so that whoever wins, wins whole.
    """
    touched = {table.group_of(name) for name in table.names_of(mask)}
    return mask | table.mask(name for group in touched for name in group.columns)

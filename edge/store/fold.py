"""Folds the log of a two-way table: several touches of a row become one change, or none.

Pure. The live row decides: it stands, so it was inserted or updated, or it does not, so it was
deleted. The log only says which columns may have changed and what stood in them before; a touch
that changed nothing in the end (a REPLACE that failed, a value set and set back) is no change,
unless a person decided that the value stands.
Each column is as old as the last touch that changed it.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from edge.store.lasts import (
    AT,
    CREATED,
    ID,
    MASK,
    NEVER,
    OLD,
    OP,
    SITE,
    Lasts,
    bits_of,
    differs,
    last_change,
)
from shared.changes import Op, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge.store.lasts import Form, Steps, Touch
    from shared.catalog import Table
    from shared.changes import Times

#: Touches of a row of which it is seen first whether they have one time: hardly any has more.
_SOME: Final = 16


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
    #: When its columns were changed; None where all touches were made at one time.
    lasts: Lasts | None = None
    #: Columns that a person decided on: they are written also where nothing changed.
    kept: int = 0


class Decided(NamedTuple):
    """What was done to a row."""

    op: Op
    #: Columns that changed.
    mask: int


def as_it_is(_bit: int, value: Value) -> Value:
    """Return the value of a column that stands in the log in its one form."""
    return value


def fold(touches: Iterable[Touch], counted: int = 0, form: Form = as_it_is) -> Touched:
    """Return what the touches of one row, in order, say of it; they are not kept.

    ``counted`` are the columns that count each write, ``form`` brings values to their one form.
    """
    rest = iter(touches)
    first, second = next(rest), next(rest, None)
    if second is None:
        key = (first[SITE], first[CREATED]) if first[OP] in "DX" else None
        kept = first[MASK] if first[OP] == "S" else 0
        return Touched(first[ID], first[AT], first[MASK], first[OLD:], key, kept=kept)
    some = [first, second, *islice(rest, _SOME)]
    if len(some) <= _SOME and len({touch[AT] for touch in some}) == 1:
        return _fold_all(some, rest, None)
    return _fold_all(some, rest, Lasts(counted, form, {}, {}))


def _fold_all(some: Sequence[Touch], rest: Iterator[Touch], lasts: Lasts | None) -> Touched:
    first, at_once = some[0], True
    mask, kept, old = 0, 0, list(first[OLD:])
    key = tells = None
    for place, touch in enumerate(chain(some, rest)):
        op, columns = touch[OP], touch[MASK]
        if key is None and op in "DX":
            key = (touch[SITE], touch[CREATED])
        if op == "S":
            kept |= columns
        elif tells is None and op != "U":
            # Where a row was inserted first, nothing stood there that a later touch could tell of;
            # it may have been out of sight, and what is inserted is another one. A trigger of the
            # plant's may have changed it at once, and been before ours.
            tells = op != "I"
            mask, old = (mask, old) if tells else (0, list(first[OLD:]))
        fresh = columns & ~mask if tells is not False else 0
        mask |= fresh
        while fresh:
            bit = (fresh & -fresh).bit_length() - 1
            old[bit] = touch[OLD + bit]
            fresh &= fresh - 1
        if lasts is not None:
            lasts.take(place, touch)
            at_once = at_once and touch[AT] == first[AT]
    told = None if at_once else lasts
    return Touched(first[ID], touch[AT], mask, old, key, told, kept)


def steps(touched: Touched, mask: int) -> dict[int, Steps] | None:
    """Return the steps of these columns by their bits; None where none was touched at two times.

    Nor of a row that was displaced or deleted meanwhile: it was not counted on.
    """
    found = touched.lasts.steps if touched.lasts else {}
    return {bit: found[bit] for bit in bits_of(mask) if bit in found} or None


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
    row_id, _, mask, old, key, lasts, *_ = touched
    if lasts is None:
        return touched, ()
    last = [(columns, last_change(lasts, columns, live)) for columns in changed]
    newest = max([moment for _, moment in last], default=NEVER)
    if newest == NEVER:
        return touched, ()
    _, at_ms = newest
    times: dict[int, int] = {}
    for columns, moment in last:
        at = at_ms if moment == NEVER else moment[1]
        if at != at_ms:
            times[at] = times.get(at, 0) | columns
    told = tuple([(columns, at) for at, columns in times.items()])
    return Touched(row_id, at_ms, mask, old, key), told


def whole_groups(table: Table, mask: int) -> int:
    """Return the mask with every column of the groups that it touches.

    Columns that are edited as one thing travel as one, so that whoever wins, wins whole.
    """
    touched = {table.group_of(name) for name in table.names_of(mask)}
    return mask | table.mask(name for group in touched for name in group.columns)

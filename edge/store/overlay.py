"""What a reader sees of a row: the centre's head, with the site's undecided writes laid over it.

The centre decides, but a program that wrote a value must go on seeing it until the decision is
here. So a head that comes while own writes on its row are undecided is kept in the row's *shadow*,
and the row shows head and writes together:

- a group of columns of which an undecided write touched any stays as the site left it, as one;
- a sum shows the head and the site's own differences, a set the head with its own additions and
  removals: the same calculation that the centre will make;
- an undecided insert shows the site's row, an undecided delete shows none;
- where the head is gone, an undecided update keeps the site's row in sight: whether it comes back
  is for the centre to say;
- a row that left the site's share is not shown, whatever was written on it. The writes stay owed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.catalog import Policy
from shared.changes import Fate, Op
from shared.errors import InvalidValue
from sync.policies import merge_both

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Table
    from shared.changes import Value

    Row = Mapping[str, Value]

_MERGED = (Policy.SUM, Policy.ADD_REMOVE_SET)


@dataclass(frozen=True, slots=True)
class OwnWrite:
    """What one of the site's own transactions did to a row."""

    n: int
    op: Op
    #: Touched columns.
    columns: frozenset[str]
    #: Column -> what the writer saw, and what it wrote; of sums and sets.
    deltas: Mapping[str, tuple[Value, Value]]
    #: The version that the writer saw under it; of its own undecided ones, the first one's.
    base: str | None = None


def shown(
    table: Table, fate: Fate, head: Row, *, local: Row | None, undecided: Sequence[OwnWrite]
) -> dict[str, Value] | None:
    """Return the row to show, or None for no row; columns left out are to stay as they are.

    ``head`` holds the columns that the centre sent. ``local`` is the row as the site sees it now,
    None where it sees none. ``undecided`` runs in the order of n.
    """
    stands = fate is Fate.PUT
    if fate is Fate.LEFT:
        return None
    if not undecided:
        return dict(head) if stands else None
    if undecided[-1].op is Op.DELETE:
        return None
    if local is None:
        # Nobody at the site sees it, so there is nothing of its own to keep in sight.
        return dict(head) if stands else None
    if not stands or any(write.op is not Op.UPDATE for write in undecided):
        return dict(local)
    return {**head, **_own_values(table, head, local, undecided)}


def _own_values(
    table: Table, head: Row, local: Row, undecided: Sequence[OwnWrite]
) -> dict[str, Value]:
    """Return the values that differ from the head's because of the site's own writes."""
    touched = {name for write in undecided for name in write.columns}
    kept = {name for column in touched for name in table.group_of(column).columns}
    return {
        name: _merged(table, name, head, local, undecided)
        if table.group_of(name).policy in _MERGED
        else local[name]
        for name in kept
        if name in head and name in local
    }


def _merged(table: Table, name: str, head: Row, local: Row, undecided: Sequence[OwnWrite]) -> Value:
    """Return the head with what each of the writes added or took away."""
    column, value = table.column(name), head[name]
    try:
        for write in undecided:
            if name in write.columns:
                old, new = write.deltas[name]
                value = merge_both(column, value, new, old)
    except (InvalidValue, ArithmeticError, ValueError, KeyError):
        # The sum can't be made; the centre will park the write. Until then the site sees its own.
        return local[name]
    return value

"""Times of columns in a block of changes: only those that are not the time of their row.

They lie in one field, three lists: the place of a row, a mask of places in the block's columns, and
their time. A block in which each row was touched once, or all of it at once, has no such field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import MalformedMessage
from sync.frames import check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.changes import Times


def pack_times(times: Sequence[Times | None]) -> list[list[list[int]]]:
    """Return the field, in a list that is empty where nothing is to be told."""
    told = [(row, *each) for row, some in enumerate(times) if some for each in some]
    return [[list(column) for column in zip(*told, strict=True)]] if told else []


def count_times(table: str, packed: Any) -> int:
    """Return how many numbers the field holds; it is None where a block has none."""
    if packed is None:
        return 0
    check(packed, (list, list, list), f"{table}: times of columns")
    return sum(map(len, packed))


def unpack_times(table: str, packed: Any, rows: int, columns: int) -> list[Times | None]:
    """Return the times of each row, which ``count_times`` has counted; empty where none is told."""
    if packed is None:
        return []
    places, masks, ats = packed
    if not places or not len(places) == len(masks) == len(ats):
        raise MalformedMessage(f"{table}: times of columns differ in length, or there are none")
    if set(map(type, (*places, *masks, *ats))) != {int}:
        raise MalformedMessage(f"{table}: times of columns must be numbers")
    if min(places) < 0 or max(places) >= rows or min(masks) < 1 or max(masks) >> columns:
        raise MalformedMessage(f"{table}: times of rows or columns that are not there")
    times: list[Times | None] = [None] * rows
    for row, mask, at in zip(places, masks, ats, strict=True):
        before = times[row] or ()
        if any(mask & other for other, _ in before):
            raise MalformedMessage(f"{table}: a column has two times")
        times[row] = (*before, (mask, at))
    return times

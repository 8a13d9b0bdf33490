"""When each column of a row was touched, where it was at another time than the row.

Pure. Rows that were touched once, nearly all, have none: then nothing here is asked for anything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.clock import touch_ms
from sync.decisions import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from central.store.changeset import Origin, RowTimes
    from shared.catalog import Table
    from shared.changes import Times
    from sync.decisions import ColumnTimes


def taken_in(
    times: Sequence[Times | None],
    origin: Origin,
    rows: Sequence[tuple[int, bool]],
    bits: Mapping[int, int],
) -> list[RowTimes | None]:
    """Return what a sender says of the times of columns in our terms, corrected as the rows' are.

    ``rows`` are the times of the rows, ``bits`` the bit of each of the sender's columns that we
    have, by its place.
    """
    if not any(times):
        return []
    ours = {mask: _our_mask(mask, bits) for each in times if each for mask, _ in each}

    def of_row(told: Times, row: tuple[int, bool]) -> RowTimes | None:
        found = [
            (ours[mask], Moment(*touch_ms(at, origin.offset_ms, origin.stored_at_ms)))
            for mask, at in told
        ]
        # Of a column that we don't have nothing is compared: nobody here can have written it yet.
        return tuple([(mask, each) for mask, each in found if mask and each != row]) or None

    return [of_row(told, row) if told else None for told, row in zip(times, rows, strict=True)]


def _our_mask(mask: int, bits: Mapping[int, int]) -> int:
    return sum(1 << bit for place, bit in bits.items() if mask >> place & 1)


def as_json(times: RowTimes | None) -> str | None:
    """Return the times as ``sync.version`` keeps them."""
    return None if times is None else json.dumps([[mask, *each] for mask, each in times])


def from_json(kept: list[list[Any]] | None) -> RowTimes | None:
    """Return the times that ``sync.version`` has kept."""
    if kept is None:
        return None
    return tuple((mask, Moment(at_ms, clamped)) for mask, at_ms, clamped in kept)


def by_columns(table: Table, times: RowTimes | None) -> ColumnTimes:
    """Return the times as a decision asks for them."""
    every = (1 << len(table.columns)) - 1
    return tuple((frozenset(table.names_of(mask & every)), each) for mask, each in times or ())

"""After a migration: what was kept for lack of a place goes where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.store import aside, cursor, extra
from edge.store.applying import Applying
from edge.store.heads import land
from edge.store.open import silent
from edge.store.puts import bring_back

if TYPE_CHECKING:
    from edge.store.apply import DrainedFirst
    from edge.store.open import Opened


_ANY_KEPT: Final = (
    "SELECT EXISTS (SELECT 1 FROM _sync_extra) OR EXISTS (SELECT 1 FROM _sync_aside WHERE code = ?)"
)


def materialise(opened: Opened, *, now_ms: int, drained: DrainedFirst) -> int:
    """Fill columns and tables that a migration added with what the centre sent for them before.

    Heads that SQLite refused are tried again, as a migration may have lifted the rule that they
    broke. Nothing of it is captured, so adding a column creates no traffic. Returns the number of
    values and rows that found their place.
    """
    connection = opened.connection
    (any_kept,) = connection.execute(_ANY_KEPT, (aside.REFUSED,)).fetchone()
    if not any_kept:
        return 0
    with drained():
        at = cursor.read(connection)
        applying = Applying(opened, at.epoch, at.acked_n, now_ms)
        with silent(connection):
            moved = extra.materialise_columns(applying)
            for block, schema in extra.take_rows(applying):
                land(applying, block, schema)
            bring_back(applying, aside.UNIQUE, aside.REFUSED)
            applying.note_asides()
    return moved + applying.rows

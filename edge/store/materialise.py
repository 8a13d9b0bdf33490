"""After a migration: what was kept for lack of a place goes where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.store import aside, cursor, extra, rollbacks, schema
from edge.store.applying import Applying
from edge.store.comeback import bring_back, bring_back_refused
from edge.store.heads import land
from edge.store.open import silent

if TYPE_CHECKING:
    from edge.store.apply import DrainedFirst
    from edge.store.open import Opened


_ANY_KEPT: Final = (
    "SELECT EXISTS (SELECT 1 FROM _sync_extra) OR EXISTS (SELECT 1 FROM _sync_aside WHERE code = ?)"
)

_ANY_REFUSED: Final = "SELECT 1 FROM _sync_aside WHERE code = ? LIMIT 1"


def materialise(opened: Opened, *, now_ms: int, drained: DrainedFirst) -> int:
    """Try again what had no place here before; return the number of values and rows that have now.

    A migration has done so itself; but a rule of the plant's may have been lifted since.
    """

    def within() -> int:
        with drained():
            return materialise_within(opened, now_ms)

    return rollbacks.done_anew(within) if _any_kept(opened) else 0


def try_refused(opened: Opened, *, now_ms: int, drained: DrainedFirst) -> None:
    """Try again what was refused, where tables or triggers have changed since it was last tried."""
    version = schema.version(opened.connection)
    if version == opened.seen.tried:
        return
    if opened.connection.execute(_ANY_REFUSED, (aside.REFUSED,)).fetchone():
        materialise(opened, now_ms=now_ms, drained=drained)
    opened.seen.tried = version


def materialise_within(opened: Opened, now_ms: int) -> int:
    """Fill columns and tables that a migration added with what the centre sent for them before.

    In the migration's own transaction, and after its drain: so no program can have written to what
    is new, and what was sent for it is older than any write to come. Heads that SQLite refused are
    tried again, as a migration may have lifted the rule that they broke. Nothing of it is captured,
    so adding a column creates no traffic. Returns the number of values and rows.
    """
    if not _any_kept(opened):
        return 0
    at = cursor.read(opened.connection)
    applying = Applying(opened, at.epoch, at.acked_n, now_ms)
    with silent(opened.connection):
        moved = extra.materialise_columns(applying)
        for block, schema in extra.take_rows(applying):
            with rollbacks.apart(applying, block.table):
                land(applying, block, schema)
        bring_back(applying, everywhere=True)
        bring_back_refused(applying)
        applying.note_asides()
    return moved + applying.rows


def _any_kept(opened: Opened) -> bool:
    return bool(opened.connection.execute(_ANY_KEPT, (aside.REFUSED,)).fetchone()[0])

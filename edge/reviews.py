"""A person decides: what the decision writes, and the one transaction that writes it.

The decision is a normal write of the site: the row and the review together, captured and sent like
any other. Triggers see only what changes, so that what is decided to stay as it is, is logged here.
Whoever decides on a row that was written meanwhile is refused and told what stands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge import capture
from edge.conflicts import Conflict, find_conflict
from edge.sql_text import quoted
from edge.store.open import writing
from shared import reviews
from shared.reviews import Decision, WrittenSince

if TYPE_CHECKING:
    import sqlite3

    from shared.catalog import Catalog, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(reviews.Choice):
    """What a person says, who may insist."""

    #: Decide although the row was written after the conflict came up.
    anyway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A decision, and the conflict as it stood before."""

    conflict: Conflict
    decision: Decision
    #: It had been decided so before, and nothing was written.
    again: bool = False


def _check_unwritten(table: Table, conflict: Conflict) -> None:
    """Refuse to decide on a row that nobody has looked at since it was written."""
    looked = reviews.look(table, conflict, conflict.stands)
    if looked.moved:
        raise WrittenSince(
            looked,
            f"Look again with `mes-sync conflicts show {conflict.short}`, and add --anyway if the"
            " decision still holds",
        )


def resolve(
    connection: sqlite3.Connection,
    catalog: Catalog,
    name: str,
    choice: Choice,
    *,
    now: str,
    dry_run: bool = False,
) -> Resolved:
    """Write a person's decision, the row and the review together, or neither.

    Deciding the same once more writes nothing. ``now`` is a canonical timestamp. Raises
    UnknownConflict, NothingToDecide, DecidedAlready, WrittenSince, BadDecision; and
    sqlite3.IntegrityError where the store refuses the row.
    """
    reviews.check_choice(choice)
    with writing(connection):
        conflict = find_conflict(connection, catalog, name)
        table = catalog.table(conflict.table)
        if reviews.decided_so(table, conflict, choice):
            return Resolved(conflict=conflict, decision=reviews.as_before(conflict), again=True)
        reviews.check_open(conflict, (conflict.review and conflict.review.decided_at) or "")
        if not choice.anyway:
            _check_unwritten(table, conflict)
        decision = reviews.decide(table, conflict, conflict.stands, choice)
        if not dry_run:
            _write_row(connection, table, conflict, decision, choice.by)
            _close(connection, conflict, decision, choice, now)
    return Resolved(conflict=conflict, decision=decision)


def _write_row(
    connection: sqlite3.Connection, table: Table, conflict: Conflict, decision: Decision, by: str
) -> None:
    changes = reviews.changed_by(table, decision, by)
    if decision.delete:
        connection.execute(f"DELETE FROM {quoted(table.name)} WHERE id = ?", (conflict.row_id,))
    elif changes:
        sets = ", ".join(f"{quoted(column)} = ?" for column in changes)
        connection.execute(
            f"UPDATE {quoted(table.name)} SET {sets} WHERE id = ?",
            (*changes.values(), conflict.row_id),
        )
    if decision.columns:
        statement = capture.log_decided(table, decision.columns)
        connection.execute(statement, (conflict.row_id,))


def _close(
    connection: sqlite3.Connection, conflict: Conflict, decision: Decision, choice: Choice, now: str
) -> None:
    assert conflict.review is not None
    taken = None if decision.taken is None else json.dumps(decision.taken, ensure_ascii=False)
    connection.execute(
        "UPDATE sync_reviews SET state = 'RESOLVED', take = ?, value = ?, decided_by = ?,"
        " reason = ?, decided_at = ?, changed_by = ? WHERE id = ? AND state = 'OPEN'",
        (choice.take, taken, choice.by, choice.reason, now, choice.by, conflict.review.id),
    )

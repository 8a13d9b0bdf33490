"""A person decides: what the decision writes, and the one transaction that writes it.

The decision is a normal write of the site: the row and the review together, captured and sent like
any other. Whoever decides on a row that was written meanwhile is refused and told what stands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.conflicts import Conflict, find_conflict
from edge.sql_text import quoted
from edge.store.open import writing
from shared.conflicts import group_columns
from shared.errors import InvalidValue, SyncError, UnknownColumn
from shared.values import canonical, rule_broken

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from shared.catalog import Catalog, Table
    from shared.changes import Value

#: Characters of who and why, as the catalogue has them.
BY_MAX: Final = 80
REASON_MAX: Final = 1_000
TAKES: Final = ("here", "central", "value")
#: Policy of a conflict in which one side deleted the row.
_DELETE: Final = "delete"


class NothingToDecide(SyncError):
    """The policy has decided this conflict; write the row itself if it is to be otherwise."""


class DecidedAlready(SyncError):
    """Somebody else has decided this conflict."""


class WrittenSince(SyncError):
    """The row was written since the conflict came up; look again."""


class BadDecision(SyncError):
    """The decision can't be written as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person says."""

    take: str
    #: With "value": by column, in any form that can mean one thing only.
    value: Mapping[str, Any] | None = None
    reason: str
    by: str
    #: Decide although the row was written after the conflict came up.
    anyway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a choice comes to."""

    #: Values that the row gets, by column; only those that it does not have already.
    changes: Mapping[str, Value]
    delete: bool
    #: What was taken, for the record; empty for a deletion, None where the row stays as it is.
    taken: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A decision, and the conflict as it stood before."""

    conflict: Conflict
    decision: Decision
    #: The very same had been decided before; nothing was written.
    before: bool = False


# --- deciding ------------------------------------------------------------------------------------


def decide(table: Table, conflict: Conflict, choice: Choice) -> Decision:
    """Return what a choice writes; raise the reason where it can't be written."""
    if conflict.review is None:
        raise NothingToDecide(
            f"policy {conflict.policy} has decided {conflict.short} ({conflict.verdict}); write the"
            " row itself if it is to be otherwise"
        )
    if not choice.anyway:
        _check_unwritten(table, conflict)
    if conflict.policy == _DELETE:
        return _decide_on_row(conflict, choice)
    taken = _taken(table, conflict, choice)
    # Of a row that has been deleted since there is nothing to change; the record stays.
    stands = conflict.stands
    changes = {} if stands is None else {c: v for c, v in taken.items() if stands[c] != v}
    return Decision(changes=changes, delete=False, taken=taken)


def _was_decided_so(table: Table, conflict: Conflict, choice: Choice) -> bool:
    """Return whether the very same was decided before; raise DecidedAlready where another was."""
    review = conflict.review
    if review is None or review.state == "OPEN":
        return False
    if review.take == choice.take and (
        choice.take != "value" or _given(table, conflict, choice.value) == dict(review.value or {})
    ):
        return True
    raise DecidedAlready(
        f"{review.decided_by or 'somebody'} took {review.take} at {review.decided_at or '?'}:"
        f" {review.reason or 'no reason given'}"
    )


def _check_choice(choice: Choice) -> None:
    if choice.take not in TAKES:
        raise BadDecision(f"take {', '.join(TAKES)}, not {choice.take!r}")
    for what, text, most in (
        ("who decides", choice.by, BY_MAX),
        ("why", choice.reason, REASON_MAX),
    ):
        if not text.strip() or len(text) > most:
            raise BadDecision(f"say {what}, in 1 to {most} characters")


def _check_unwritten(table: Table, conflict: Conflict) -> None:
    """Refuse to decide on a row that nobody has looked at since it was written."""
    review, stands = conflict.review, conflict.stands
    shown = {
        table.current_name(name): value
        for name, value in ((review.shown if review else None) or {}).items()
    }
    if stands is None:
        moved, now = bool(shown), None
    else:
        moved, now = any(stands[c] != v for c, v in shown.items()), {c: stands[c] for c in shown}
    if moved:
        raise WrittenSince(
            f"the row was written since: the review showed {_text(shown)}, now stands {_text(now)}."
            f" Look again with `mes-sync conflicts show {conflict.short}`, and add --anyway if the"
            " decision still holds"
        )


def _decide_on_row(conflict: Conflict, choice: Choice) -> Decision:
    """One side deleted the row, the other changed it: it goes, or it stays as it is now."""
    if choice.take == "value":
        raise BadDecision(
            "one side deleted the row: take here or central; values can be written afterwards"
        )
    site_deleted = not conflict.here.value
    if site_deleted == (choice.take == "here"):
        return Decision(changes={}, delete=conflict.stands is not None, taken={})
    if conflict.stands is None:
        raise BadDecision("the row is deleted: take the side that deleted it, or insert it anew")
    return Decision(changes={}, delete=False, taken=None)


def _taken(table: Table, conflict: Conflict, choice: Choice) -> Mapping[str, Value]:
    if choice.take == "value":
        return _given(table, conflict, choice.value)
    side = conflict.here if choice.take == "here" else conflict.central
    return {table.current_name(name): value for name, value in (side.value or {}).items()}


def _given(
    table: Table, conflict: Conflict, value: Mapping[str, Any] | None
) -> Mapping[str, Value]:
    allowed = group_columns(table, conflict)
    if not value:
        raise BadDecision(f"give a value for one or more of {', '.join(allowed)}")
    if unknown := sorted(set(value) - set(allowed)):
        raise BadDecision(
            f"{', '.join(unknown)}: not in conflict here; only {', '.join(allowed)} may be given"
        )
    return {name: _canonical(table, name, each) for name, each in value.items()}


def _canonical(table: Table, name: str, value: object) -> Value:
    try:
        column = table.column(name)
        form = canonical(column.type, value)
    except (InvalidValue, UnknownColumn) as why:
        raise BadDecision(f"{name} = {value!r}: {why}") from why
    if rule := rule_broken(column, form):
        raise BadDecision(f"{name} = {value!r}: {rule}")
    return form


def _text(value: object) -> str:
    return "no row" if value is None else json.dumps(value, ensure_ascii=False)


# --- writing -------------------------------------------------------------------------------------


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
    _check_choice(choice)
    with writing(connection):
        conflict = find_conflict(connection, catalog, name)
        table = catalog.table(conflict.table)
        if _was_decided_so(table, conflict, choice):
            review = conflict.review
            taken = review.value if review else None
            done = Decision(changes={}, delete=False, taken=taken)
            return Resolved(conflict=conflict, decision=done, before=True)
        decision = decide(table, conflict, choice)
        if not dry_run:
            _write_row(connection, table, conflict, decision, choice.by)
            _close(connection, conflict, decision, choice, now)
    return Resolved(conflict=conflict, decision=decision)


def _write_row(
    connection: sqlite3.Connection, table: Table, conflict: Conflict, decision: Decision, by: str
) -> None:
    changes = dict(decision.changes)
    if changes and table.writer_column is not None:
        changes[table.writer_column.name] = by
    if decision.delete:
        connection.execute(f"DELETE FROM {quoted(table.name)} WHERE id = ?", (conflict.row_id,))
    elif changes:
        sets = ", ".join(f"{quoted(column)} = ?" for column in changes)
        connection.execute(
            f"UPDATE {quoted(table.name)} SET {sets} WHERE id = ?",
            (*changes.values(), conflict.row_id),
        )


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

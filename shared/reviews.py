"""A person decides: what the decision comes to, at either end. Pure.

Each end writes the decision into its own store: the row and the review together, or neither.
Whoever decides on a row that was written meanwhile is refused and told what stands.

A decision is a write of the columns that it decides, also where they hold that value already. So
where the other end decided otherwise before it heard of it, the two meet as any two writes do, and
a new review asks which of them is to stand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from shared.catalog import Policy
from shared.conflicts import group_columns
from shared.errors import InvalidValue, SyncError, UnknownColumn
from shared.values import canonical, rule_broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.catalog import Table
    from shared.changes import Value
    from shared.conflicts import Record, Side

Take = Literal["here", "central", "value"]
TAKES: Final[tuple[Take, ...]] = get_args(Take)
#: Characters of who and why, as the catalogue has them.
BY_MAX: Final = 80
REASON_MAX: Final = 1_000
#: Policy of a conflict in which one side deleted the row.
_DELETE: Final = "delete"


class NothingToDecide(SyncError):
    """The policy has decided this conflict; write the row itself if it is to be otherwise."""


class DecidedAlready(SyncError):
    """Somebody else has decided this conflict."""


class BadDecision(SyncError):
    """The decision can't be written as it was given."""


class WrittenSince(SyncError):
    """The row was written since it was looked at; look again."""

    def __init__(self, looked: Looked, advice: str, *, version: str | None = None) -> None:
        self.shown, self.stands = looked.shown, looked.stands
        #: Of the row that stands, where this end tells versions.
        self.version = version
        super().__init__(
            f"the row was written since: the review showed {_text(self.shown)}, now stands"
            f" {_text(self.stands)}. {advice}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person says."""

    take: str
    #: With "value": by column, in any form that can mean one thing only.
    value: Mapping[str, Any] | None = None
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a choice comes to."""

    #: Values that the row gets, by column; only those that it does not have already.
    changes: Mapping[str, Value]
    #: Columns that it writes, whatever stands in them; none where the row goes, or is gone.
    columns: tuple[str, ...] = ()
    delete: bool
    #: What was taken, for the record: all columns of the side; empty for a deletion, None where the
    #: row stays as it is.
    taken: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What the review showed, and what stands in the same columns now, by their present names."""

    shown: Mapping[str, Value]
    #: None where the row is gone.
    stands: Mapping[str, Value] | None

    @property
    def moved(self) -> bool:
        """Return whether the row was written after the review was."""
        return self.shown != (self.stands or {})


def look(table: Table, conflict: Record[Any], stands: Mapping[str, Value] | None) -> Looked:
    """Return what was shown and what stands; the latter is all columns, None where there is no row.

    Raise BadDecision where the review showed a column that this catalogue does not know.
    """
    review = conflict.review
    shown = _renamed(table, review.shown if review else None)
    named = None if stands is None else {name: stands[name] for name in shown}
    return Looked(shown=shown, stands=named)


# --- whether there is something to decide --------------------------------------------------------


def check_choice(choice: Choice) -> None:
    """Raise BadDecision where what a person says can't be right whatever the conflict."""
    if choice.take not in TAKES:
        raise BadDecision(f"take {', '.join(TAKES)}, not {choice.take!r}")
    for what, text, most in (
        ("who decides", choice.by, BY_MAX),
        ("why", choice.reason, REASON_MAX),
    ):
        if not text.strip() or len(text) > most:
            raise BadDecision(f"say {what}, in 1 to {most} characters")


def decided_so(table: Table, conflict: Record[Any], choice: Choice) -> bool:
    """Return whether the conflict was decided just as the person says now, by whomever."""
    review = conflict.review
    if review is None or review.state == "OPEN" or review.take != choice.take:
        return False
    if choice.take != "value":
        return True
    return _given(table, conflict, choice.value) == _renamed(table, review.value)


def as_before(conflict: Record[Any]) -> Decision:
    """Return what writes nothing, since it was decided so before."""
    taken = conflict.review.value if conflict.review else None
    return Decision(changes={}, delete=False, taken=taken)


def check_open(conflict: Record[Any], decided_at: str) -> None:
    """Raise NothingToDecide or DecidedAlready where it waits for nobody.

    ``decided_at`` tells in words when it was decided; empty where nobody knows.
    """
    review = conflict.review
    if review is None:
        raise NothingToDecide(
            f"policy {conflict.policy} has decided {conflict.short} ({conflict.verdict}); write the"
            " row itself if it is to be otherwise"
        )
    if review.state != "OPEN":
        when = f" at {decided_at}" if decided_at else ""
        raise DecidedAlready(
            f"{review.decided_by or 'somebody'} took {review.take}{when}:"
            f" {review.reason or 'no reason given'}"
        )


# --- what a choice comes to ----------------------------------------------------------------------


def decide(
    table: Table, conflict: Record[Any], stands: Mapping[str, Value] | None, choice: Choice
) -> Decision:
    """Return what a choice writes; raise BadDecision where it can't be written.

    ``stands`` is the row, all its columns; None where there is none.
    """
    if conflict.policy == _DELETE:
        return _decide_on_row(table, conflict, choice, is_there=stands is not None)
    taken = _taken(table, conflict, choice)
    if stands is None:  # it has been deleted since: there is nothing to write, the record stays
        return Decision(changes={}, delete=False, taken=taken)
    changes = {c: v for c, v in taken.items() if stands[c] != v}
    return Decision(changes=changes, columns=tuple(taken), delete=False, taken=taken)


def _decide_on_row(
    table: Table, conflict: Record[Any], choice: Choice, *, is_there: bool
) -> Decision:
    """One side deleted the row, the other changed it: it goes, or it stays as it is now."""
    if choice.take == "value":
        raise BadDecision(
            "one side deleted the row: take here or central; values can be written afterwards"
        )
    site_deleted = not conflict.here.value
    if site_deleted == (choice.take == "here"):
        return Decision(changes={}, delete=is_there, taken={})
    if not is_there:
        raise BadDecision("the row is deleted: take the side that deleted it, or insert it anew")
    stays = conflict.central if site_deleted else conflict.here
    return Decision(changes={}, columns=_for_people(table, stays), delete=False, taken=None)


def _for_people(table: Table, side: Side[Any]) -> tuple[str, ...]:
    """Return the columns of a side that people decide on: on their account the row stays."""
    return tuple(
        column.name
        for column in table.columns
        if table.group_of(column.name).policy is Policy.REVIEW
        and not {column.name, *column.renamed_from}.isdisjoint(side.value or {})
    )


def _taken(table: Table, conflict: Record[Any], choice: Choice) -> Mapping[str, Value]:
    if choice.take == "value":
        return _given(table, conflict, choice.value)
    return _renamed(table, (conflict.here if choice.take == "here" else conflict.central).value)


def _renamed(table: Table, value: Mapping[str, Value] | None) -> dict[str, Value]:
    """Return a recorded value by the names that its columns have now."""
    try:
        return {table.current_name(name): each for name, each in (value or {}).items()}
    except UnknownColumn as why:
        raise BadDecision(f"it can't be decided here: {why}") from why


def _given(
    table: Table, conflict: Record[Any], value: Mapping[str, Any] | None
) -> Mapping[str, Value]:
    try:
        allowed = group_columns(table, conflict)
    except UnknownColumn as why:
        raise BadDecision(f"it can't be decided here: {why}") from why
    if not value:
        raise BadDecision(f"give a value for one or more of {', '.join(allowed)}")
    if unknown := sorted(set(value) - set(allowed)):
        raise BadDecision(
            f"{', '.join(unknown)}: not in conflict; give values of {', '.join(allowed)} only"
        )
    return {name: _canonical(table, name, each) for name, each in value.items()}


def _canonical(table: Table, name: str, value: object) -> Value:
    column = table.column(name)
    try:
        form = canonical(column.type, value)
    except InvalidValue as why:
        raise BadDecision(f"{name} = {value!r}: {why}") from why
    if rule := rule_broken(column, form):
        raise BadDecision(f"{name} = {value!r}: {rule}")
    return form


def changed_by(table: Table, decision: Decision, by: str) -> dict[str, Value]:
    """Return what the row gets: the changes, and who decided where the table has a place."""
    changes = dict(decision.changes)
    if decision.columns and table.writer_column is not None:
        changes[table.writer_column.name] = by
    return changes


def _text(value: object) -> str:
    return "no row" if value is None else json.dumps(value, ensure_ascii=False)

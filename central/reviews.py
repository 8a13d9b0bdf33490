"""A person decides: what the decision writes, and the one transaction that writes it.

The decision is a normal write of a client of the centre: it is made as mes_app, shows the versions
that were seen, and is captured like any other, so it reaches the sites by the feed. Whoever decides
on a row that was written meanwhile is refused and told what stands now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import psycopg
from psycopg import sql

from central.conflicts import Conflict, Standing, find_conflict, read_standing
from central.roles import APP
from shared.catalog import Kind
from shared.conflicts import group_columns
from shared.errors import InvalidValue, NotAuthorised, SyncError
from shared.values import canonical, rule_broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Table
    from shared.changes import Value

Take = Literal["here", "central", "value"]
#: Characters of who and why, as the catalogue has them.
BY_MAX: Final = 80
REASON_MAX: Final = 1_000
#: Policy of a conflict in which one side deleted the row.
_DELETE: Final = "delete"


class NothingToDecide(SyncError):
    """The policy has decided this conflict; write the row itself if it is to be otherwise."""


class DecidedAlready(SyncError):
    """Somebody else has decided this conflict."""


class WrittenSince(SyncError):
    """The row was written since it was looked at; look again."""

    def __init__(self, conflict: Conflict, standing: Standing) -> None:
        self.shown = (conflict.review.shown if conflict.review else None) or {}
        named = {k: v for k, v in (standing.values or {}).items() if k in self.shown}
        #: What stands now in the columns that the review showed; None where the row is gone.
        self.stands = None if standing.values is None else named
        self.version = standing.version
        super().__init__(
            f"the row was written since: the review showed {_text(self.shown)}, now stands"
            f" {_text(self.stands)}. Look again with `mes-central conflicts show {conflict.short}`,"
            f" and name what you saw: --seen {standing.version}"
        )


class BadDecision(SyncError):
    """The decision can't be written as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person says."""

    take: Take
    #: With "value": by column, in any form that can mean one thing only.
    value: Mapping[str, Any] | None = None
    reason: str
    by: str
    #: Version of the row that the person saw; None where they go by what the review shows.
    seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a choice comes to."""

    #: Values that the row gets, by column; only those that it does not have already.
    changes: Mapping[str, Value]
    delete: bool
    #: What was taken, for the record: all columns of the side; empty for a deletion.
    taken: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A decision, and the row as it stood before."""

    conflict: Conflict
    before: Mapping[str, Value] | None
    decision: Decision
    #: It had been decided so before, and nothing was written.
    again: bool = False


# --- what a choice comes to ----------------------------------------------------------------


def decide(table: Table, conflict: Conflict, standing: Standing, choice: Choice) -> Decision:
    """Return what a choice writes; raise BadDecision where it can't be written."""
    if conflict.policy == _DELETE:
        return _decide_on_row(conflict, standing, choice)
    taken = _taken(table, conflict, choice)
    stands = standing.values
    # Of a row that has been deleted since there is nothing to change; the record stays.
    changes = {} if stands is None else {c: v for c, v in taken.items() if stands[c] != v}
    return Decision(changes=changes, delete=False, taken=taken)


def _decide_on_row(conflict: Conflict, standing: Standing, choice: Choice) -> Decision:
    """One side deleted the row, the other changed it: it goes, or it stays as it is now."""
    if choice.take == "value":
        raise BadDecision(
            "one side deleted the row: take here or central; values can be written afterwards"
        )
    site_deleted = not conflict.here.value
    if site_deleted == (choice.take == "here"):
        return Decision(changes={}, delete=standing.values is not None, taken={})
    if standing.values is None:
        raise BadDecision("the row is deleted: take the side that deleted it, or insert it anew")
    return Decision(changes={}, delete=False, taken=None)


def _taken(table: Table, conflict: Conflict, choice: Choice) -> Mapping[str, Value]:
    if choice.take == "value":
        return _given(table, conflict, choice.value)
    side = conflict.here if choice.take == "here" else conflict.central
    # The columns of an older record may have been renamed since.
    return {table.current_name(name): value for name, value in (side.value or {}).items()}


def _given(
    table: Table, conflict: Conflict, value: Mapping[str, Any] | None
) -> Mapping[str, Value]:
    allowed = group_columns(table, conflict)
    if not value:
        raise BadDecision(f"give a value for one or more of {', '.join(allowed)}")
    if unknown := sorted(set(value) - set(allowed)):
        raise BadDecision(
            f"{', '.join(unknown)}: not in conflict; give values of {', '.join(allowed)} only"
        )
    return {name: _canonical(table, name, each) for name, each in value.items()}


def _canonical(table: Table, name: str, value: Any) -> Value:
    column = table.column(name)
    try:
        form = canonical(column.type, value)
    except InvalidValue as why:
        raise BadDecision(f"{name} = {value!r}: {why}") from why
    if rule := rule_broken(column, form):
        raise BadDecision(f"{name} = {value!r}: {rule}")
    return form


def moved_since(conflict: Conflict, standing: Standing, seen: str | None) -> bool:
    """Return whether the row was written after the person looked at it.

    Whoever names no version goes by what the review shows, so that must still stand.
    """
    if seen is not None:
        return seen != standing.version
    shown = (conflict.review.shown if conflict.review else None) or {}
    if standing.values is None:
        return bool(shown)
    stands = standing.values
    return any(stands.get(name) != value for name, value in shown.items() if name in stands)


# --- writing it ----------------------------------------------------------------------------


async def resolve(
    connection: AsyncConnection[Any], catalog: Catalog, name: str, choice: Choice,
    *, dry_run: bool = False,
) -> Resolved:  # fmt: skip
    """Write a person's decision, the row and the review together, or neither.

    What was decided so already, by whomever, is not written again.

    Raise UnknownConflict, NothingToDecide, DecidedAlready, WrittenSince, BadDecision; NotAuthorised
    where this login may not act as mes_app.
    """
    _check_choice(choice)
    try:
        async with connection.transaction():
            conflict = await find_conflict(connection, name)
            standing = await read_standing(connection, catalog, conflict)
            if decided_so(catalog, conflict, choice):
                return _as_before(conflict, standing)
            _check_open(conflict)
            if moved_since(conflict, standing, choice.seen):
                raise WrittenSince(conflict, standing)
            table = catalog.table(conflict.table)
            decision = decide(table, conflict, standing, choice)
            if not dry_run:
                await _act_as_person(connection, conflict.site, choice.by)
                await _write(connection, table, conflict, standing, decision, choice.by)
                await _close(connection, conflict, decision, choice)
    except psycopg.errors.SerializationFailure as error:
        conflict = await find_conflict(connection, name)
        _check_open(conflict)
        standing = await read_standing(connection, catalog, conflict)
        raise WrittenSince(conflict, standing) from error
    return Resolved(conflict=conflict, before=standing.values, decision=decision)


def decided_so(catalog: Catalog, conflict: Conflict, choice: Choice) -> bool:
    """Return whether the conflict was decided just as the person says now."""
    review = conflict.review
    if review is None or review.state == "OPEN" or review.take != choice.take:
        return False
    if choice.take != "value":
        return True
    return _given(catalog.table(conflict.table), conflict, choice.value) == review.value


def _as_before(conflict: Conflict, standing: Standing) -> Resolved:
    taken = conflict.review.value if conflict.review else None
    nothing = Decision(changes={}, delete=False, taken=taken)
    return Resolved(conflict=conflict, before=standing.values, decision=nothing, again=True)


def _check_choice(choice: Choice) -> None:
    for what, text, most in (
        ("who decides", choice.by, BY_MAX),
        ("why", choice.reason, REASON_MAX),
    ):
        if not text.strip() or len(text) > most:
            raise BadDecision(f"say {what}, in 1 to {most} characters")


def _check_open(conflict: Conflict) -> None:
    review = conflict.review
    if review is None:
        raise NothingToDecide(
            f"policy {conflict.policy} has decided {conflict.short} ({conflict.verdict}); write the"
            " row itself if it is to be otherwise"
        )
    if review.state != "OPEN":
        when = f" at {review.decided_at:%Y-%m-%d %H:%M %Z}" if review.decided_at else ""
        raise DecidedAlready(
            f"{review.decided_by or 'somebody'} took {review.take}{when}:"
            f" {review.reason or 'no reason given'}"
        )


def _text(value: object) -> str:
    return "no row" if value is None else json.dumps(value, ensure_ascii=False)


async def _act_as_person(connection: AsyncConnection[Any], site: str, person: str) -> None:
    """Be a client of the centre until the commit: captured, and bound to the rows of one site."""
    try:
        await connection.execute(f"SET LOCAL ROLE {APP}")
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAuthorised(
            f"{connection.info.user} may not act as {APP}; run `mes-central migrate`, or let a"
            f" superuser run: GRANT {APP} TO {connection.info.user} WITH INHERIT FALSE, SET TRUE"
        ) from error
    await connection.execute(
        "SELECT set_config('app.current_site_id', %s, true), set_config('app.person', %s, true)",
        [site, person],
    )


_SEEN: Final = "SELECT mes.seen(%s, %s, %s, %s)"


async def _write(
    connection: AsyncConnection[Any], table: Table, conflict: Conflict, standing: Standing,
    decision: Decision, by: str,
) -> None:  # fmt: skip
    """Hold the row at the version seen and change it; a row that is gone stays so."""
    if standing.values is None:
        return
    await connection.execute(_SEEN, [table.name, conflict.site, conflict.row_id, standing.version])
    changes = dict(decision.changes)
    if changes and table.writer_column is not None:
        changes[table.writer_column.name] = by
    key = [conflict.site, standing.created_at, conflict.row_id]
    where = sql.SQL("WHERE site_id = %s AND created_at = %s AND id = %s")
    name = sql.Identifier("mes", table.name)
    if decision.delete:
        await connection.execute(sql.SQL("DELETE FROM {} {}").format(name, where), key)
    elif changes:
        sets = sql.SQL(", ").join(
            sql.SQL("{} = %s").format(sql.Identifier(column)) for column in changes
        )
        values = [_stored(table, column, value) for column, value in changes.items()]
        statement = sql.SQL("UPDATE {} SET {} {}").format(name, sets, where)
        await connection.execute(statement, [*values, *key])


def _stored(table: Table, column: str, value: Value) -> object:
    """Return a canonical value as PostgreSQL's drivers take it."""
    if table.column(column).type.kind is Kind.BOOLEAN and value is not None:
        return bool(value)
    return value


async def _close(
    connection: AsyncConnection[Any], conflict: Conflict, decision: Decision, choice: Choice
) -> None:
    review = conflict.review
    assert review is not None
    seen = await connection.execute(
        "SELECT version, created_at FROM mes.row_versions"
        " WHERE table_name = 'sync_reviews' AND site_id = %s AND id = %s",
        [conflict.site, review.id],
    )
    version, created_at = await seen.fetchone() or (None, None)
    await connection.execute(_SEEN, ["sync_reviews", conflict.site, review.id, version])
    closed = await connection.execute(
        """UPDATE mes.sync_reviews
           SET state = 'RESOLVED', take = %s, value = %s, decided_by = %s, changed_by = %s,
               reason = %s, decided_at = date_trunc('milliseconds', now())
           WHERE site_id = %s AND created_at = %s AND id = %s AND state = 'OPEN'""",
        [
            choice.take, None if decision.taken is None else json.dumps(decision.taken),
            choice.by, choice.by, choice.reason, conflict.site, created_at, review.id,
        ],
    )  # fmt: skip
    if closed.rowcount != 1:
        raise DecidedAlready(f"somebody decided {conflict.short} a moment ago; look again")


def document(done: Resolved) -> dict[str, Any]:
    """Return what a decision wrote as JSON-ready values."""
    return {
        "schema": "mes-central.resolution/v1",
        "id": done.conflict.id,
        "site": done.conflict.site,
        "table": done.conflict.table,
        "row_id": done.conflict.row_id,
        "before": done.before,
        "changes": done.decision.changes,
        "deleted": done.decision.delete,
        "taken": done.decision.taken,
        "again": done.again,
    }

"""A person decides: what the decision writes, and the one transaction that writes it.

The decision is a normal write of a client of the centre: it is made as mes_app, shows the versions
that were seen, and is captured like any other, so it reaches the sites by the feed. What is decided
to stay as it is makes a version of the row as well: the capture is told of it. Whoever decides
on a row that was written meanwhile is refused and told what stands now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from central import capture
from central.acting import act_for, stored
from central.conflicts import Conflict, Standing, find_conflict, read_standing
from shared import reviews
from shared.reviews import DecidedAlready, Decision, WrittenSince

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Table
    from shared.changes import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(reviews.Choice):
    """What a person says, who may have looked at a version."""

    #: Version of the row that the person saw; None where they go by what the review shows.
    seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A decision, and the row as it stood before."""

    conflict: Conflict
    before: Mapping[str, Value] | None
    decision: Decision
    #: It had been decided so before, and nothing was written.
    again: bool = False


def _check_unwritten(
    table: Table, conflict: Conflict, standing: Standing, seen: str | None
) -> None:
    """Refuse to decide on a row that was written after the person looked at it.

    Whoever names no version goes by what the review shows, so that must still stand.
    """
    looked = reviews.look(table, conflict, standing.values)
    moved = looked.moved if seen is None else seen != standing.version
    if moved:
        raise _written_since(looked, conflict, standing)


def _written_since(looked: reviews.Looked, conflict: Conflict, standing: Standing) -> WrittenSince:
    again = f"Look again with `mes-central conflicts show {conflict.short}`"
    advice = f"{again}, and name what you saw: --seen {standing.version}"
    return WrittenSince(looked, advice, version=standing.version)


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
    reviews.check_choice(choice)
    try:
        async with connection.transaction():
            conflict = await find_conflict(connection, name)
            standing = await read_standing(connection, catalog, conflict)
            table = catalog.table(conflict.table)
            if reviews.decided_so(table, conflict, choice):
                done = reviews.as_before(conflict)
                return Resolved(
                    conflict=conflict, before=standing.values, decision=done, again=True
                )
            _check_open(conflict)
            _check_unwritten(table, conflict, standing, choice.seen)
            decision = reviews.decide(table, conflict, standing.values, choice)
            if not dry_run:
                await act_for(connection, conflict.site, choice.by)
                await _write(connection, table, conflict, standing, decision, choice.by)
                await _close(connection, conflict, decision, choice)
    except psycopg.errors.SerializationFailure as error:
        raise await _moved_meanwhile(connection, catalog, name) from error
    return Resolved(conflict=conflict, before=standing.values, decision=decision)


async def _moved_meanwhile(
    connection: AsyncConnection[Any], catalog: Catalog, name: str
) -> WrittenSince:
    """Return what was written while we decided; raise DecidedAlready where that was a decision."""
    conflict = await find_conflict(connection, name)
    _check_open(conflict)
    standing = await read_standing(connection, catalog, conflict)
    looked = reviews.look(catalog.table(conflict.table), conflict, standing.values)
    return _written_since(looked, conflict, standing)


def _check_open(conflict: Conflict) -> None:
    at = conflict.review.decided_at if conflict.review else None
    reviews.check_open(conflict, f"{at:%Y-%m-%d %H:%M %Z}" if at else "")


_SEEN: Final = "SELECT mes.seen(%s, %s, %s, %s)"


async def _write(
    connection: AsyncConnection[Any], table: Table, conflict: Conflict, standing: Standing,
    decision: Decision, by: str,
) -> None:  # fmt: skip
    """Hold the row at the version seen and change it; a row that is gone stays so."""
    if standing.values is None:
        return
    await connection.execute(_SEEN, [table.name, conflict.site, conflict.row_id, standing.version])
    changes = reviews.changed_by(table, decision, by)
    key = [conflict.site, standing.created_at, conflict.row_id]
    where = sql.SQL("WHERE site_id = %s AND created_at = %s AND id = %s")
    name = sql.Identifier("mes", table.name)
    if decision.delete:
        await connection.execute(sql.SQL("DELETE FROM {} {}").format(name, where), key)
    elif decision.columns:
        given = [capture.decided_setting(table), str(table.mask(decision.columns))]
        await connection.execute("SELECT set_config(%s, %s, true)", given)
        sets = [sql.SQL("{} = %s").format(sql.Identifier(column)) for column in changes]
        stay = [sql.Identifier(c) for c in decision.columns if c not in changes]
        sets += [sql.SQL("{0} = {0}").format(column) for column in stay]
        values = [stored(table, column, value) for column, value in changes.items()]
        statement = sql.SQL("UPDATE {} SET {} {}").format(name, sql.SQL(", ").join(sets), where)
        await connection.execute(statement, [*values, *key])


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

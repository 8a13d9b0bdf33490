"""What stands at the centre in rows that something is in the way of: read once for many rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from central.canonical import by_names_now, column_expressions, kept_expressions
from central.store.fixed import fixed
from central.store.literals import array
from central.store.statements import target
from central.store.times import by_columns, from_json
from shared.catalog import Kind, Table
from shared.changes import SHARED, Op, Value
from sync.decisions import CENTRE, Author, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from central.store.applying import Applying
    from central.store.changeset import Rows


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a row that is held until the commit."""

    version: str
    order: int
    deleted: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Parked:
    """An earlier change of the row that was not applied."""

    ticket: str
    tx_id: str
    #: The site goes on as if it had been applied.
    is_quiet: bool
    #: Its place among all that wait.
    place: int


@dataclass(slots=True)
class Standing:
    """All that a decision on one row asks for."""

    head: Head | None = None
    #: The row, or None where there is none.
    values: Mapping[str, Value] | None = None
    #: What it held when it was deleted, where that is known.
    last_values: Mapping[str, Value] | None = None
    #: The versions after the base, oldest first; None where the base is unknown.
    since: list[Version] | None = field(default_factory=list)
    #: The clock of the drain that each of them came in; 0 for the centre's.
    clocks: list[int] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)


async def read_standing(applying: Applying, rows: Rows) -> list[Standing]:
    """Hold the heads of the rows, and return what stands in each."""
    found = {each: Standing() for each in rows.ids}
    await _hold_heads(applying, rows, found)
    await _read_versions(applying, rows, found)
    present = {
        each: standing.head.created_at
        for each, standing in found.items()
        if standing.head and not standing.head.deleted
    }
    for each, values in await _values(applying, rows.table, present):
        found[each].values = values
    deleted = [each for each, standing in found.items() if standing.head and standing.head.deleted]
    for each, values in await _last_values(applying, rows.table, deleted):
        found[each].last_values = values
    if applying.waiting:
        await _read_parked(applying, rows, found)
    return [found[each] for each in rows.ids]


async def _hold_heads(applying: Applying, rows: Rows, found: dict[str, Standing]) -> None:
    cursor = await applying.connection.execute(
        fixed("lock_heads"), _place(applying, rows.table) | {"ids": array(Kind.UUID, rows.ids)}
    )
    for each, *head in await cursor.fetchall():
        found[each].head = Head(*head)


async def _read_versions(applying: Applying, rows: Rows, found: dict[str, Standing]) -> None:
    given = {"ids": array(Kind.UUID, rows.ids), "bases": array(Kind.UUID, rows.base)}
    cursor = await applying.connection.execute(
        fixed("read_versions"), _place(applying, rows.table) | given
    )
    bases = dict(zip(rows.ids, rows.base, strict=True))
    for each, unknown, version, *fields in await cursor.fetchall():
        standing = found[each]
        if unknown:
            seen = standing.head is not None and standing.head.version == bases[each]
            standing.since = [] if seen else None
        elif version is not None and standing.since is not None:
            standing.since.append(_version(rows.table, version, fields))
            standing.clocks.append(fields[-1])


def _version(table: Table, version: str, fields: list[Any]) -> Version:
    op, mask, overruled, contested, origin, writer, at_ms, clamped, times, lost, counts, _ = fields
    every = (1 << len(table.columns)) - 1
    return Version(
        id=version,
        op=Op(op),
        columns=frozenset(table.names_of(mask & every if op == Op.UPDATE else every)),
        author=Author(CENTRE if origin == SHARED else origin, writer, at_ms, clamped),
        overruled=frozenset(table.names_of(overruled & every)),
        contested=frozenset(table.names_of(contested & every)),
        lost=lost,
        counts=counts,
        times=by_columns(table, from_json(times)),
    )


async def _values(
    applying: Applying, table: Table, created: Mapping[str, str]
) -> Iterable[tuple[str, dict[str, Value]]]:
    if not created:
        return []
    into = target(table, applying.site, (each[:7] for each in created.values()))
    listed = column_expressions(table.columns)
    statement = (
        f"SELECT t.id::text, {listed} FROM unnest(%(ids)s::uuid[], %(created)s::timestamptz[])"
        f" AS k (id, created_at) JOIN {into} AS t"
        " ON t.site_id = %(site)s AND t.created_at = k.created_at AND t.id = k.id"
        " AND t.id = ANY(%(ids)s::uuid[])"
    )
    given = {
        "ids": array(Kind.UUID, list(created)),
        "created": array(Kind.TIMESTAMP, list(created.values())),
    }
    return await _named(applying, table, statement, given)


async def _last_values(
    applying: Applying, table: Table, ids: list[str]
) -> Iterable[tuple[str, dict[str, Value]]]:
    if not ids:
        return []
    kept = by_names_now(table, "v.replaced")
    statement = (
        f"SELECT DISTINCT ON (k.id) k.id::text, {kept_expressions(table, kept, 'r')}"
        " FROM unnest(%(ids)s::uuid[]) AS k (id) JOIN sync.version AS v"
        " ON v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = k.id"
        " AND v.op = 'D' AND v.replaced IS NOT NULL"
        f" CROSS JOIN LATERAL jsonb_populate_record(NULL::mes.{table.name}, {kept}) AS r"
        " ORDER BY k.id, v.ord DESC"
    )
    return await _named(applying, table, statement, {"ids": array(Kind.UUID, ids)})


async def _named(
    applying: Applying, table: Table, statement: str, given: dict[str, Any]
) -> list[tuple[str, dict[str, Value]]]:
    cursor = await applying.connection.execute(statement.encode(), _place(applying, table) | given)
    return [
        (each, dict(zip(table.names, values, strict=True)))
        for each, *values in await cursor.fetchall()
    ]


async def _read_parked(applying: Applying, rows: Rows, found: dict[str, Standing]) -> None:
    given = {"site": applying.site, "table": rows.table.name, "ids": array(Kind.TEXT, rows.ids)}
    parked: dict[str, list[Parked]] = defaultdict(list)
    cursor = await applying.connection.execute(fixed("read_waiting"), given)
    for each, *fields in await cursor.fetchall():
        parked[each].append(Parked(*fields))
    for each, some in parked.items():
        found[each].parked = some


def _place(applying: Applying, table: Table) -> dict[str, Any]:
    return {"site": applying.site, "table_no": applying.no(table)}

"""Two-way rows, many at once: those that nothing stands in the way of.

A row is moved only where its head is the version that its writer expects, which is the one decided
by the centre or the site's own undecided one before it. So whatever this overwrites, its writer had
seen. Everything else is left to ``central.store.conflicts``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from central.schema import natural_key
from central.store import statements
from central.store.applying import Setback
from central.store.literals import array
from central.store.times import as_json
from shared.catalog import Policy, Table
from shared.changes import Op
from sync.policies import goes_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from central.store.applying import Applying
    from central.store.changeset import Rows
    from shared.changes import Value

#: Rows in one statement; bounds its memory at both ends.
ROWS_MAX: Final = 5_000


class NotAsSeen(Setback):
    """Rows whose head is what the writer expects hold something else than it saw."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(f"{len(rows)} rows of {rows.table.name}")
        self.rows = rows


class KeyTaken(Setback):
    """Another row holds the natural key of one of these."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(f"{len(rows)} rows of {rows.table.name}")
        self.rows = rows


async def move(applying: Applying, rows: Rows) -> Rows:
    """Apply the rows that nothing stands in the way of, and return the others.

    Raises ``NotAsSeen`` or ``KeyTaken``; the caller then rolls back and leaves these rows out.
    """
    left = set(_to_be_looked_at(rows))
    clear = rows.without(left)
    for portion in clear.slices(ROWS_MAX):
        not_moved = await _move(applying, portion)
        if not_moved:
            left.update(row for row, each in enumerate(rows.ids) if each in not_moved)
    applying.tally.rows += len(rows) - len(left)
    return rows.take(sorted(left))


def _to_be_looked_at(rows: Rows) -> Iterable[int]:
    """Return the rows whose policies ask more than whether the version is the expected one."""
    if rows.op is not Op.UPDATE:
        return ()
    table, touched = rows.table, {column.name for column in rows.columns}
    policies = {table.group_of(name).policy for name in touched}
    if touched & key_columns(table) or Policy.APPEND_ONLY in policies:
        return range(len(rows))
    return _going_back(rows)


def key_columns(table: Table) -> set[str]:
    """Return the columns of a table's natural keys."""
    return {name for key in table.natural_keys for name in key}


def _going_back(rows: Rows) -> set[int]:
    back: set[int] = set()
    for column, new, old in zip(rows.columns, rows.new, rows.old, strict=True):
        group = rows.table.group_of(column.name)
        if group.policy is not Policy.LATTICE or group.columns[0] != column.name:
            continue
        steps = list(zip(old, new, strict=True))
        refused = {step for step in set(steps) if goes_back(column, *step)}
        back.update(row for row, step in enumerate(steps) if step in refused)
    return back


async def _move(applying: Applying, rows: Rows) -> set[str]:
    """Return the ids of the rows that were not moved."""
    table, op = rows.table, rows.op
    into = statements.target(table, applying.site, rows.months)
    given = parameters(applying, rows)
    if op is Op.INSERT:
        text = statements.insert_statement(table, rows.columns, into, timed=bool(rows.times))
    elif op is Op.UPDATE:
        text = statements.update_statement(
            table, rows.columns, into, _bounds(rows), timed=bool(rows.times)
        )
    else:
        text = statements.delete_statement(table, into, _bounds(rows))
    async with (
        applying.connection.pipeline()
    ):  # one round trip, also where it has to be planned for
        await applying.plan(indexed=op is not Op.INSERT)
        cursor = await applying.connection.execute(text.encode(), given)
    moved, done, ids, clashes = await cursor.fetchone()  # type: ignore[misc]
    if clashes:
        raise KeyTaken(rows)
    if done < moved:
        raise NotAsSeen(rows)
    left = set(rows.ids).difference(ids or ()) if moved < len(rows) else set()
    if op is Op.INSERT:
        applying.brought(table, (each for each in rows.ids if each not in left))
    return left


def _bounds(rows: Rows) -> str:
    """Return the range of created_at, by value, so that only its partitions are planned for."""
    if not rows.table.partitioned or len(rows.months) == 1:
        return ""
    first, last = min(rows.created), max(rows.created)
    return f" AND t.created_at >= '{first}' AND t.created_at <= '{last}'"


def parameters(applying: Applying, rows: Rows, origin: str | None = None) -> dict[str, Any]:
    """Return the parameters of the statement for these rows."""
    lists: dict[str, Sequence[Value]] = {
        "id": rows.ids,
        "created_at": rows.created,
        "version": rows.tx_ids,
        "hlc": rows.hlc,
        "at_ms": rows.at,
        "clamped": rows.clamped,
    }
    if rows.op is not Op.INSERT:
        lists["expected"] = rows.expected()
    if rows.times:
        lists["times"] = [as_json(each) for each in rows.times]
    lists |= {f"n_{c.name}": v for c, v in zip(rows.columns, rows.new, strict=True)}
    if rows.op is Op.INSERT:
        lists |= {f"k_{number}": keys for number, keys in enumerate(natural_keys(rows))}
    else:
        lists |= {f"o_{c.name}": v for c, v in zip(rows.columns, rows.old, strict=False)}
    kinds = statements.parameters(rows.op, rows.table, rows.columns, timed=bool(rows.times))
    given: dict[str, Any] = {name: array(kind, lists[name]) for name, kind in kinds}
    return given | {
        "site": applying.site,
        "table_no": applying.no(rows.table),
        "size": len(rows),
        "origin": origin or applying.site,
    }


def natural_keys(rows: Rows) -> list[list[str | None]]:
    """Return the texts of each natural key of whole rows; null where a row has none."""
    nothing: list[Value] = [None] * len(rows)
    found = []
    for number, names in enumerate(rows.table.natural_keys):
        columns = [rows.values(name) or nothing for name in names]
        keys = [natural_key(number, values) for values in zip(*columns, strict=True)]
        found.append(keys)
    return found

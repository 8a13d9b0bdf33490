"""The one place where a decided row of the centre is overwritten.

It demands that the writer saw what it displaces, or that the history keeps it: a record that is
missing is made here. All rows of a call change by a few statements, under locks held before.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from central.canonical import as_jsonb, sites_of
from central.schema import natural_key
from central.store import statements
from central.store.changeset import Reason, Refusal, Rows
from central.store.fixed import fixed
from central.store.literals import array
from central.store.records import keep_conflicts, queue_touched
from central.store.rows import key_columns
from central.store.times import as_json
from shared.catalog import Column, Kind, Table
from shared.changes import SHARED, Op
from shared.errors import StoreBusy
from sync.decisions import Conflict, Outcome
from sync.policies import same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from central.store.applying import Applying
    from central.store.decision import Decision
    from shared.changes import Value


class RowsMoved(StoreBusy):
    """Somebody else wrote at this very moment; the transaction is tried again at once."""


async def overwrite(applying: Applying, rows: Rows, decisions: Sequence[Decision]) -> list[Refusal]:
    """Write what was decided, or return the rows whose natural key is taken."""
    table = rows.table
    decisions = [recorded(table, decision) for decision in decisions]
    done = [decision for decision in decisions if not decision.is_nothing]
    if done:
        orders = await _move_heads(applying, rows, done)
        if clashes := await _move_keys(applying, rows, done):
            return clashes
        replaced = await _delete(applying, rows, [d for d in done if d.resolution.delete])
        await _insert(applying, rows, [d for d in done if d.resolution.revive])
        await _update(applying, rows, done)
        await _keep_versions(applying, rows, done, orders, replaced)
        await keep_conflicts(applying, rows, done)
    await _tell(applying, rows, decisions)
    return []


def recorded(table: Table, decision: Decision) -> Decision:
    """Return the decision with a record of each value that it displaces unseen by the writer."""
    write, what, values = decision.write, decision.resolution, decision.standing.values or {}
    covered = {column for conflict in what.conflicts for column in conflict.columns}
    unseen = [
        column
        for column, value in what.values.items()
        if column in write.old
        and column not in covered
        and not table.column(column).writer
        and not same(values.get(column), value)
        and not same(values.get(column), write.old[column])
    ]
    if not unseen or not values:
        return decision
    found = [_displaced(table, column, decision, values) for column in unseen]
    return replace(
        decision,
        resolution=replace(what, conflicts=(*what.conflicts, *found)),
        is_clean=False,
        tells_site=True,
    )


def _displaced(
    table: Table, column: str, decision: Decision, values: Mapping[str, Value]
) -> Conflict:
    group = table.group_of(column)
    wrote = [version for version in decision.standing.since or () if column in version.columns]
    return Conflict(
        columns=(column,),
        group=group.name,
        policy=group.policy,
        outcome=Outcome.HERE,
        base={column: decision.write.old[column]},
        here={column: decision.write.new.get(column)},
        central={column: values.get(column)},
        result={column: decision.resolution.values[column]},
        central_author=wrote[-1].author_of((column,)) if wrote else None,
        here_author=decision.write.author_of((column,)),
    )


# --- the steps -------------------------------------------------------------------------------


def _created(rows: Rows, decision: Decision) -> str:
    head = decision.standing.head
    if head is None or (decision.resolution.revive and decision.write.op is Op.INSERT):
        return rows.created[decision.row]
    return head.created_at


def _place(applying: Applying, table: Table) -> dict[str, Any]:
    return {"site": applying.site, "table_no": applying.no(table)}


def _keys(rows: Rows, decisions: Iterable[Decision]) -> dict[str, Any]:
    some = list(decisions)
    return {
        "id": array(Kind.UUID, [rows.ids[d.row] for d in some]),
        "created_at": array(Kind.TIMESTAMP, [_created(rows, d) for d in some]),
    }


async def _move_heads(applying: Applying, rows: Rows, done: Sequence[Decision]) -> dict[str, int]:
    given = _place(applying, rows.table) | _keys(rows, done)
    given["version"] = array(Kind.UUID, [d.version for d in done])
    given["deleted"] = array(Kind.BOOLEAN, [not d.stands for d in done])
    given["held"] = array(Kind.BOOLEAN, [d.standing.head is not None for d in done])
    cursor = await applying.connection.execute(fixed("move_heads"), given)
    orders = dict(await cursor.fetchall())
    if len(orders) < len(done):
        raise RowsMoved(f"a row of {rows.table.name} was made by somebody else at this moment")
    return orders


async def _move_keys(applying: Applying, rows: Rows, done: Sequence[Decision]) -> list[Refusal]:
    table, columns = rows.table, key_columns(rows.table)
    changed = [
        d
        for d in done
        if d.resolution.delete
        or d.resolution.revive
        or (d.stands and columns & d.resolution.values.keys())
    ]
    if not columns or not changed:
        return []
    ids = array(Kind.UUID, [rows.ids[d.row] for d in changed])
    place = _place(applying, table)
    await applying.connection.execute(fixed("delete_keys"), place | {"ids": ids})
    wanted: dict[str, Decision] = {}
    clashes: list[Refusal] = []
    for decision in changed:
        keys = _natural_keys(table, decision.content(table)) if decision.stands else ()
        twice = [key for key in keys if wanted.setdefault(key, decision) is not decision]
        clashes += [key_refusal(rows, decision.row, key) for key in twice]
    given = place | {
        "key": array(Kind.TEXT, list(wanted)),
        "id": array(Kind.UUID, [rows.ids[d.row] for d in wanted.values()]),
    }
    cursor = await applying.connection.execute(fixed("insert_keys"), given)
    taken = wanted.keys() - {row[0] for row in await cursor.fetchall()}
    return clashes + [key_refusal(rows, wanted[key].row, key) for key in sorted(taken)]


def _natural_keys(table: Table, content: Mapping[str, Value]) -> Iterable[str]:
    for number, names in enumerate(table.natural_keys):
        key = natural_key(number, [content[name] for name in names])
        if key is not None:
            yield key


def key_refusal(rows: Rows, row: int, key: str) -> Refusal:
    """Return the refusal of a row whose natural key belongs to another one."""
    number, _, values = key[1:-1].partition(",")
    names = ", ".join(rows.table.natural_keys[int(number)])
    message = f"{names} {values} is taken by another row of {rows.table.name}"
    return Refusal(rows.source(row), Reason.KEY_TAKEN, message)


async def _delete(applying: Applying, rows: Rows, gone: Sequence[Decision]) -> dict[str, str]:
    """Delete rows, and return what they held as JSON."""
    if not gone:
        return {}
    text = (
        f"DELETE FROM {_into(applying, rows, gone)} AS t USING {statements.rows_of(_KEYS)}"
        f" WHERE {_SAME} RETURNING t.id::text, {as_jsonb(rows.table, 't')}::text"
    )
    given = _keys(rows, gone) | {"site": applying.site}
    cursor = await applying.connection.execute(text.encode(), given)
    return dict(await cursor.fetchall())


async def _insert(applying: Applying, rows: Rows, made: Sequence[Decision]) -> None:
    if not made:
        return
    table = rows.table
    names = ", ".join(c.name for c in table.columns)
    text = (
        f"INSERT INTO {_into(applying, rows, made)} (site_id, created_at, id, {names})"
        f" SELECT %(site)s, i.created_at, i.id, {', '.join(f'i.{c.name}' for c in table.columns)}"
        f" FROM {statements.rows_of([*_KEYS, *_typed(table.columns)])}"
    )
    content = [decision.content(table) for decision in made]
    given = _keys(rows, made) | {"site": applying.site} | _arrays(table.columns, content)
    await applying.connection.execute(text.encode(), given)
    applying.brought(table, (rows.ids[d.row] for d in made))


async def _update(applying: Applying, rows: Rows, done: Sequence[Decision]) -> None:
    by_columns: dict[tuple[str, ...], list[Decision]] = defaultdict(list)
    for decision in done:
        what = decision.resolution
        if decision.stands and what.values and not what.revive:
            by_columns[tuple(sorted(what.values))].append(decision)
    for names, some in by_columns.items():
        columns = [rows.table.column(name) for name in names]
        text = (
            f"UPDATE {_into(applying, rows, some)} AS t"
            f" SET {', '.join(f'{name} = i.{name}' for name in names)}"
            f" FROM {statements.rows_of([*_KEYS, *_typed(columns)])} WHERE {_SAME}"
        )
        content = [decision.resolution.values for decision in some]
        given = _keys(rows, some) | {"site": applying.site} | _arrays(columns, content)
        await applying.connection.execute(text.encode(), given)


_KEYS = (("id", Kind.UUID), ("created_at", Kind.TIMESTAMP))
_SAME = "t.site_id = %(site)s AND t.created_at = i.created_at AND t.id = i.id"


def _into(applying: Applying, rows: Rows, some: Iterable[Decision]) -> str:
    months = (_created(rows, decision)[:7] for decision in some)
    return statements.target(rows.table, applying.site, months)


def _typed(columns: Sequence[Column]) -> list[tuple[str, Kind]]:
    return [(column.name, column.type.kind) for column in columns]


def _arrays(columns: Sequence[Column], content: Sequence[Mapping[str, Value]]) -> dict[str, str]:
    return {c.name: array(c.type.kind, [row[c.name] for row in content]) for c in columns}


async def _keep_versions(
    applying: Applying,
    rows: Rows,
    done: Sequence[Decision],
    orders: Mapping[str, int],
    replaced: Mapping[str, str],
) -> None:
    table = rows.table
    ids = [rows.ids[d.row] for d in done]
    # A deletion needs no mask: its operation says that it concerns all columns.
    touched = [table.names if d.write.op is Op.INSERT else tuple(d.write.new) for d in done]
    lists: dict[str, tuple[Kind, list[Any]]] = {
        "id": (Kind.UUID, ids),
        "ord": (Kind.INTEGER, [orders[each] for each in ids]),
        "version": (Kind.UUID, [d.version for d in done]),
        "op": (Kind.TEXT, [d.write.op.value for d in done]),
        "mask": (Kind.INTEGER, [table.mask(names) for names in touched]),
        "overruled": (Kind.INTEGER, [table.mask(d.resolution.overruled) for d in done]),
        "contested": (Kind.INTEGER, [table.mask(d.resolution.contested) for d in done]),
        "writer": (Kind.TEXT, [d.write.author.writer for d in done]),
        "at_ms": (Kind.INTEGER, [d.write.author.at_ms for d in done]),
        "hlc": (Kind.INTEGER, [rows.hlc[d.row] for d in done]),
        "clamped": (Kind.BOOLEAN, [d.write.author.clamped for d in done]),
        "counts": (Kind.BOOLEAN, [d.counts for d in done]),
        "replaced": (Kind.TEXT, [replaced.get(each) for each in ids]),
        "times": (
            Kind.TEXT,
            [as_json(rows.times[d.row] if rows.times else None) for d in done],
        ),
    }
    given = {name: array(kind, values) for name, (kind, values) in lists.items()}
    await applying.connection.execute(fixed("insert_versions"), _place(applying, table) | given)


async def _tell(applying: Applying, rows: Rows, decisions: Sequence[Decision]) -> None:
    """Queue the rows for the sites whose store does not show the outcome."""
    table = rows.table
    told = []
    for decision in decisions:
        scopes: set[str] = set()
        has_left = False
        if not decision.is_nothing:
            share = _share(applying, table, decision.content(table) if decision.stands else None)
            scopes |= _share(applying, table, decision.standing.values) | share
            has_left = decision.stands and share.isdisjoint((applying.site, SHARED))
        scopes.discard(applying.site)
        # Its own site knows what it wrote, but not that the row has left its share by that.
        if decision.tells_site or has_left:
            scopes.add(applying.site)
        if scopes:
            told.append((table, rows.ids[decision.row], _created(rows, decision), scopes))
    await queue_touched(applying, told)


def _share(applying: Applying, table: Table, content: Mapping[str, Value] | None) -> frozenset[str]:
    if not content:
        return frozenset()
    return sites_of(table, [content[name] for name in table.names], applying.site)

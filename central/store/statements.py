"""The text of the statements that move many rows at once: for each table, operation and columns.

Pure. The rows come as one array a column. The compare-and-set on ``sync.head`` goes first and names
the rows that the rest of the statement may touch: PostgreSQL looks again only at the target of an
UPDATE after it has waited for a lock, so the version must stand in the table that is updated. None
of the updates joins two sets of rows, so they are planned as one index look-up a row, however large
the tables are (``Applying.plan``); an insert joins what it got with what it was given, by a hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.canonical import as_jsonb
from central.schema import partition_name
from central.store.literals import ARRAYS
from shared.catalog import Column, Kind, Policy, Table
from shared.changes import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Policies whose result depends on what stands in the row even where nobody else wrote it.
_LOOKING: Final = frozenset({Policy.LATTICE, Policy.SUM, Policy.ADD_REMOVE_SET})

_KEY: Final = (("id", Kind.UUID), ("created_at", Kind.TIMESTAMP))
_STAMP: Final = (
    ("version", Kind.UUID),
    ("hlc", Kind.INTEGER),
    ("at_ms", Kind.INTEGER),
    ("clamped", Kind.BOOLEAN),
)
_EXPECTED: Final = ("expected", Kind.UUID)
_TIMES: Final = ("times", Kind.JSON)


def target(table: Table, site: str, months: Iterable[str]) -> str:
    """Return the smallest table that holds a site's rows of these months, as SQL names it.

    Partitions are written by their own name: a statement on the parent would take as long to plan
    as it has partitions, and fire the triggers of the parent.
    """
    if not table.partitioned:
        return f"mes.{table.name}"
    some = set(months)
    if len(some) == 1:
        return f'mes."{partition_name(table.name, site, some.pop())}"'
    return f'mes."{table.name}__{site.lower()}"'


def looked_at(table: Table, columns: Sequence[Column]) -> list[Column]:
    """Return the columns whose stored value must be what the writer saw, or a rule decides.

    Of a group it is the first one, which is the one that is compared.
    """
    groups = [table.group_of(column.name) for column in columns]
    return [
        column
        for column, group in zip(columns, groups, strict=True)
        if group.policy in _LOOKING and group.columns[0] == column.name
    ]


def parameters(
    op: Op, table: Table, columns: Sequence[Column], *, timed: bool = False
) -> list[tuple[str, Kind]]:
    """Return name and kind of each array that the statement takes."""
    names = [*_KEY, *_STAMP, *([_EXPECTED] if op is not Op.INSERT else [])]
    names += [_TIMES] if timed else []
    if op is Op.DELETE:
        return names
    names += [(f"n_{column.name}", column.type.kind) for column in columns]
    if op is Op.INSERT:
        return names + [(f"k_{number}", Kind.TEXT) for number in range(len(table.natural_keys))]
    return names + [(f"o_{column.name}", column.type.kind) for column in looked_at(table, columns)]


def rows_of(named: Sequence[tuple[str, Kind]]) -> str:
    """Return what gives the rows of these arrays, as ``i``."""
    arrays = ", ".join(f"%({name})s::{ARRAYS[kind]}" for name, kind in named)
    return f"unnest({arrays}) AS i ({', '.join(name for name, _ in named)})"


def _given(op: Op, table: Table, columns: Sequence[Column], *, timed: bool = False) -> str:
    return rows_of(parameters(op, table, columns, timed=timed))


# --- updates and deletes -----------------------------------------------------------------------


def update_statement(
    table: Table, columns: Sequence[Column], into: str, bounds: str = "", *, timed: bool = False
) -> str:
    """Return the statement that updates rows whose head is the version that the writer expects.

    ``timed`` where some of their columns have times of their own.
    """
    mask = table.mask(column.name for column in columns)
    sets = ", ".join(f"{c.name} = m.n_{c.name}" for c in columns)
    seen = "".join(
        f" AND t.{c.name} IS NOT DISTINCT FROM m.o_{c.name}" for c in looked_at(table, columns)
    )
    told = _told_to(table, "old", "new")
    done = (
        f"UPDATE {into} AS t SET {sets or 'site_id = t.site_id'} FROM moved AS m\n"
        f"    WHERE {_same_row(bounds)}{seen}\n"
        f"    RETURNING t.id, t.created_at{told and f', {told} AS scopes'}"
    )
    return _moving(
        _given(Op.UPDATE, table, columns, timed=timed),
        "",
        _noted("U", str(mask), _writer(table, columns), timed=timed),
        f"done AS (\n    {done}\n)",
        *_told(table),
    )


def delete_statement(table: Table, into: str, bounds: str = "") -> str:
    """Return the statement that deletes rows whose head is the version that the writer expects."""
    told = _told_to(table, "t", is_gone=True)
    done = (
        f"DELETE FROM {into} AS t USING moved AS m WHERE {_same_row(bounds)}\n"
        "    RETURNING t.id, t.created_at, m.ord, m.version, m.hlc, m.at_ms, m.clamped,\n"
        f"        {as_jsonb(table, 't')} AS replaced{told and f', {told} AS scopes'}"
    )
    freed = (
        "freed AS (\n    DELETE FROM sync.row_key AS k USING moved AS m\n"
        "    WHERE k.site_id = %(site)s AND k.table_no = %(table_no)s AND k.id = m.id\n)"
    )
    return _moving(
        _given(Op.DELETE, table, ()),
        ", deleted = true",
        f"done AS (\n    {done}\n)",
        _noted("D", "0", "NULL", "done", replaced="m.replaced"),
        *([freed] if table.natural_keys else []),
        *_told(table),
    )


def _moving(given: str, also: str, *steps: str) -> str:
    """Return the compare-and-set with the steps that follow from it; it answers by counts."""
    moved = (
        "moved AS (\n"
        "    UPDATE sync.head AS h\n"
        f"    SET version = i.version, ord = nextval('sync.version_order'){also}\n"
        # The whole key comes from the rows, so that there is no way to the heads but a look-up for
        # each: of a site that is new PostgreSQL thinks it has one head, and would read all of them.
        f"    FROM (SELECT *, %(site)s::text AS i_site, %(table_no)s::smallint AS i_table_no\n"
        f"          FROM {given} OFFSET 0) AS i\n"
        "    WHERE h.site_id = i.i_site AND h.table_no = i.i_table_no AND h.id = i.id\n"
        "      AND h.created_at = i.created_at AND h.version = i.expected AND NOT h.deleted\n"
        "    RETURNING h.ord, i.*\n)"
    )
    return (
        f"WITH {', '.join([moved, *steps])}\n"
        "SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM done),\n"
        "    CASE WHEN (SELECT count(*) FROM moved) < %(size)s\n"
        "         THEN (SELECT array_agg(id::text) FROM moved) END, 0"
    )


def _same_row(bounds: str) -> str:
    return f"t.site_id = %(site)s AND t.created_at = m.created_at AND t.id = m.id{bounds}"


# --- inserts -------------------------------------------------------------------------------------


def insert_statement(
    table: Table, columns: Sequence[Column], into: str, *, timed: bool = False
) -> str:
    """Return the statement that inserts rows of which there was never one; ``timed`` as above."""
    names = "".join(f", {c.name}" for c in columns)
    values = "".join(f", m.n_{c.name}" for c in columns)
    every = (1 << len(table.columns)) - 1
    told = _told_to(table, "t")
    given = _given(Op.INSERT, table, columns, timed=timed)
    headed = (
        "INSERT INTO sync.head AS h (site_id, table_no, id, created_at, version, ord)\n"
        "    SELECT %(site)s, %(table_no)s, i.id, i.created_at, i.version,\n"
        "        nextval('sync.version_order') FROM i\n"
        "    ON CONFLICT DO NOTHING RETURNING h.id, h.ord"
    )
    done = (
        f"INSERT INTO {into} AS t (site_id, created_at, id{names})\n"
        f"    SELECT %(site)s, m.created_at, m.id{values} FROM moved AS m\n"
        f"    RETURNING t.id, t.created_at{told and f', {told} AS scopes'}"
    )
    steps = [
        f"i AS MATERIALIZED (\n    SELECT * FROM {given}\n)",
        f"headed AS (\n    {headed}\n)",
        "moved AS (\n    SELECT i.*, h.ord FROM headed AS h JOIN i USING (id)\n)",
        _noted("I", str(every), _writer(table, columns), timed=timed),
        _keyed(table),
        f"done AS (\n    {done}\n)",
        *_told(table),
    ]
    return (
        f"WITH {', '.join(steps)}\n"
        "SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM done),\n"
        "    CASE WHEN (SELECT count(*) FROM moved) < %(size)s\n"
        "         THEN (SELECT array_agg(id::text) FROM moved) END,\n"
        "    (SELECT count(*) FROM keys) - (SELECT count(*) FROM keyed)"
    )


def _keyed(table: Table) -> str:
    """Return the steps that take the natural keys; one that is taken shows in the counts."""
    if not table.natural_keys:
        return "keys AS (SELECT WHERE false), keyed AS (SELECT WHERE false)"
    each = " UNION ALL ".join(
        f"SELECT m.id, m.k_{number} AS key FROM moved AS m WHERE m.k_{number} IS NOT NULL"
        for number in range(len(table.natural_keys))
    )
    return (
        f"keys AS (\n    {each}\n), keyed AS (\n"
        "    INSERT INTO sync.row_key (site_id, table_no, key, id)\n"
        "    SELECT %(site)s, %(table_no)s, key, id FROM keys\n"
        "    ON CONFLICT DO NOTHING RETURNING 1\n)"
    )


# --- what goes with each -------------------------------------------------------------------------


def _noted(
    op: str, mask: str, writer: str, rows: str = "moved", *,
    replaced: str = "NULL", timed: bool = False,
) -> str:  # fmt: skip
    names, values = (", times", ", m.times::jsonb") if timed else ("", "")
    return (
        "noted AS (\n"
        "    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin,\n"
        f"        writer, hlc, at_ms, clamped, replaced{names})\n"
        f"    SELECT %(site)s, %(table_no)s, m.id, m.ord, m.version, '{op}', {mask}, %(origin)s,\n"
        f"        {writer}, m.hlc, m.at_ms, m.clamped, {replaced}{values} FROM {rows} AS m\n)"
    )


def _told(table: Table) -> list[str]:
    """Return the step that tells the sites that ``_told_to`` names."""
    if not table.is_of_several:
        return []
    return [
        "told AS (\n"
        "    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)\n"
        "    SELECT %(table_no)s, %(site)s, id, created_at, scopes\n"
        "    FROM done WHERE scopes <> '{}'\n)"
    ]


def _told_to(table: Table, *states: str, is_gone: bool = False) -> str:
    """Return the expression of whom a row is told to: the others who had it or get it.

    Its own site knows what it wrote, but not that the row has left its share by that.
    """
    if not table.is_of_several:
        return ""
    others = f"array_remove({_scopes(table, *states)}, %(site)s)"
    if is_gone or "site_id" in table.share:
        return others
    shown = f"{_scopes(table, states[-1])} && ARRAY[%(site)s, '*']::text[]"
    return f"CASE WHEN {shown} THEN {others} ELSE {others} || %(site)s::text END"


def _scopes(table: Table, *states: str) -> str:
    names = ", ".join(f"{state}.{name}::text" for state in states for name in table.share)
    return f"sync.scopes({names})"


def _writer(table: Table, columns: Sequence[Column]) -> str:
    writer = table.writer_column
    return f"m.n_{writer.name}" if writer in columns and writer else "NULL"

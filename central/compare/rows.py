"""The centre's side of a comparison: sums, hashes and contents of rows in one site's share.

``shared.sums`` says what is summed up; PostgreSQL does it, in one pass over a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg import AsyncConnection, sql

from central.canonical import expression, sites_of
from central.feed import feed_position
from central.heads import Head, Touched, read_heads
from central.snapshot import in_share
from shared.catalog import COMMON, Column, Kind, Table
from shared.changes import SHARED, Value
from shared.sums import (
    BYTES_MARK,
    DAY_CHARACTERS,
    FREE,
    MINUTE_CHARACTERS,
    SEPARATOR,
    Cut,
    Sum,
    Sums,
    folded,
    instant_at,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Rows whose hashes are in one answer: some 800 KB.
ROWS_MAX: Final = 20_000
#: A table takes longer only where it holds tens of millions of rows.
_STATEMENT_MAX_MS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table that a question is about, and the columns that both ends have."""

    table: Table
    site: str
    columns: tuple[Column, ...]
    cut: Cut = field(default_factory=Cut)


@dataclass(frozen=True, slots=True)
class Hashed:
    """A row by its key and the hash of its content."""

    site_id: str
    created_at: str
    id: str
    hash: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A row as the centre has it, and whatever says that it can't be compared."""

    site_id: str
    created_at: str
    id: str
    #: None where it was never decided on, and for facts.
    version: str | None
    order: int
    deleted: bool
    #: In the order of the columns asked for; None where no row stands in the site's share.
    values: tuple[Value, ...] | None
    #: The sites in whose share it stands; none where it does not.
    share: frozenset[str]
    #: It was changed and is in no feed yet.
    queued: bool
    #: State of the parked item that holds a change of it; "" where there is none.
    parked: str

    @property
    def left(self) -> bool:
        """Return whether it stands in other sites' shares only."""
        return bool(self.share) and self.values is None


@dataclass(frozen=True, slots=True)
class Look:
    """Rows at one moment, and where the feeds and the site's chain stood then."""

    own: int
    shared: int
    #: Last transaction of the epoch asked for that is decided.
    applied_n: int
    rows: list[Standing]


# --- text -----------------------------------------------------------------------------------


def row_expression(columns: Sequence[Column], alias: str = "t") -> str:
    """Return the SQL expression of a row's text, its keys first."""
    values = (_text(c.type.kind, f'{alias}."{c.name}"') for c in (*COMMON, *columns))
    return f"concat_ws('{SEPARATOR}', {', '.join(values)})"


def _text(kind: Kind, column: str) -> str:
    form = expression(kind, column)
    if kind in FREE:
        form = f"octet_length({form}) || ':' || {form}"
    elif kind is Kind.BYTES:
        form = f"'{BYTES_MARK}' || encode({form}, 'hex')"
    elif kind is Kind.FLOAT:
        form = f"encode(float8send({form} + 0.0), 'hex')"
    elif kind in (Kind.INTEGER, Kind.BOOLEAN):
        form = f"({form})::text"
    return f"coalesce({form}, '')"


def _hash(columns: Sequence[Column]) -> str:
    return f"('x' || left(md5({row_expression(columns)}), 16))::bit(64)::bigint"


def _bucket(cut: Cut) -> str:
    if cut.digits:
        return f"right(t.id::text, {cut.digits:d})"
    created = expression(Kind.TIMESTAMP, "t.created_at")
    day = f"left({created}, {DAY_CHARACTERS})"
    if not cut.minutes_from:
        return day
    return (
        "CASE WHEN t.created_at < %(minutes_from)s::timestamptz"
        f" THEN {day} ELSE left({created}, {MINUTE_CHARACTERS}) END"
    )


def _where(part: Part) -> str:
    tests = [f"({in_share(part.table)})"]
    if part.cut.since:
        tests.append("t.created_at >= %(since)s::timestamptz")
    if part.cut.before:
        tests.append("t.created_at < %(before)s::timestamptz")
    if part.cut.endings:
        tests.append(f"right(t.id::text, {len(part.cut.endings[0]):d}) = ANY(%(endings)s)")
    return " AND ".join(tests)


def _query(part: Part, text: str) -> sql.Composed:
    return sql.SQL(text).format(
        table=sql.Identifier("mes", part.table.name),
        site=sql.Literal(part.site),
        element=sql.Literal(f'"{part.site}"'),
        everyone=sql.Literal(f'"{SHARED}"'),
    )


def _given(cut: Cut) -> dict[str, Any]:
    return {
        "since": instant_at(cut.since) if cut.since else None,
        "before": instant_at(cut.before) if cut.before else None,
        "minutes_from": instant_at(cut.minutes_from) if cut.minutes_from else None,
        "endings": list(cut.endings),
    }


# --- reading --------------------------------------------------------------------------------


async def read_sums(connection: AsyncConnection[Any], part: Part) -> Sums:
    """Return the sums of a table's buckets."""
    text = f"""SELECT bucket, count(*), sum(hash)::text FROM (
                   SELECT {_bucket(part.cut)} AS bucket, {_hash(part.columns)} AS hash
                   FROM {{table}} AS t WHERE {_where(part)}) AS r
               GROUP BY bucket"""
    async with connection.transaction():
        await _bound(connection)
        cursor = await connection.execute(_query(part, text), _given(part.cut))
        rows = await cursor.fetchall()
    return {bucket: Sum(count, folded(int(total))) for bucket, count, total in rows}


async def read_hashes(
    connection: AsyncConnection[Any], part: Part, after: str | None
) -> list[Hashed]:
    """Return the rows after an id, in the order of ids, with the hashes of their contents."""
    created = expression(Kind.TIMESTAMP, "t.created_at")
    text = f"""SELECT t.site_id, {created}, t.id::text, {_hash(part.columns)}
               FROM {{table}} AS t
               WHERE {_where(part)} AND (%(after)s::uuid IS NULL OR t.id > %(after)s::uuid)
               ORDER BY t.id LIMIT {ROWS_MAX}"""
    async with connection.transaction():
        await _bound(connection)
        given = _given(part.cut) | {"after": after}
        cursor = await connection.execute(_query(part, text), given)
        rows = await cursor.fetchall()
    return [Hashed(site, made, row_id, folded(number)) for site, made, row_id, number in rows]


async def kept_from(
    connection: AsyncConnection[Any], site: str, tables: Sequence[Table]
) -> dict[str, str]:
    """Return from which day on a site's rows are kept, by table, of those split by month.

    A partition that is missing was detached: one is made before the first row that needs it. What
    came late for a month in the archive is not all of it: nothing up to the last of these counts.
    """
    parents = {f"{table.name}__{site.lower()}": table.name for table in tables if table.partitioned}
    cursor = await connection.execute(_KEPT_FROM, {"parents": list(parents), "site": site})
    return {parents[name]: day for name, day in await cursor.fetchall()}


_KEPT_FROM: Final = """
SELECT p.relname, greatest(
    replace(min(right(c.relname, 7)), '_', '-') || '-01',
    (SELECT to_char((max(a.month) || '-01')::date + interval '1 month', 'YYYY-MM-DD')
     FROM sync.archive AS a
     WHERE a.site_id = %(site)s AND a.state <> 'attached'
       AND a.table_name = split_part(p.relname, '__', 1)))
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_class AS p ON p.oid = i.inhparent
WHERE p.relnamespace = 'mes'::regnamespace AND p.relname = ANY(%(parents)s) GROUP BY p.relname"""


async def _bound(connection: AsyncConnection[Any]) -> None:
    await connection.execute(f"SET LOCAL statement_timeout = {_STATEMENT_MAX_MS}".encode())


async def look(
    connection: AsyncConnection[Any], part: Part, keys: Sequence[tuple[str, str, str]],
    epoch: str,
) -> Look:  # fmt: skip
    """Return rows, given by site_id, created_at and id, all as of one moment."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        own = await feed_position(connection, part.site)
        shared = await feed_position(connection, SHARED)
        cursor = await connection.execute(
            "SELECT last_n FROM sync.epoch WHERE site = %s AND epoch = %s", [part.site, epoch]
        )
        applied = await cursor.fetchone()
        rows = await standing_of(connection, part, keys)
    return Look(own.n, shared.n, applied[0] if applied else 0, rows)


async def standing_of(
    connection: AsyncConnection[Any], part: Part, keys: Sequence[tuple[str, str, str]]
) -> list[Standing]:
    """Return rows, given by site_id, created_at and id, as they stand."""
    table = part.table
    touched = [
        Touched(table.name, site, row_id, created, frozenset()) for site, created, row_id in keys
    ]
    heads = await read_heads(connection, table, touched)
    notes = await _notes(connection, table, part.site, keys)
    return [_row(part, head, notes) for head in heads]


def _row(part: Part, head: Head, notes: _Notes) -> Standing:
    table, row = part.table, head.touched
    key = (row.site_id, row.row_id)
    share: frozenset[str] = frozenset()
    values: tuple[Value, ...] | None = None
    if head.values is not None:
        share = sites_of(table, head.values, row.site_id)
        if share & {part.site, SHARED}:
            values = tuple(head.values[table.bit(column.name)] for column in part.columns)
    return Standing(
        site_id=row.site_id,
        created_at=row.created_at,
        id=row.row_id,
        version=head.version if head.order else None,
        order=head.order,
        deleted=key in notes.deleted,
        values=values,
        share=share,
        queued=key in notes.queued,
        parked=notes.parked.get(row.row_id, ""),
    )


@dataclass(frozen=True, slots=True)
class _Notes:
    """What the bookkeeping says of rows, by site_id and id, or by id alone."""

    deleted: set[tuple[str, str]]
    queued: set[tuple[str, str]]
    parked: Mapping[str, str]


#: In this order: rows whose head is a deletion, rows in the queue of the feed, rows of which a
#: change is held back while their site goes on as if it had been applied.
_NOTES: Final = """
WITH k AS MATERIALIZED (
    SELECT * FROM unnest(%(sites)s::text[], %(ids)s::uuid[]) AS k (site_id, id)
), n AS MATERIALIZED (SELECT no FROM sync.table_no WHERE name = %(table)s)
SELECT 'deleted', k.site_id, k.id::text, '' FROM k CROSS JOIN n JOIN sync.head AS h
    ON h.site_id = k.site_id AND h.table_no = n.no AND h.id = k.id WHERE h.deleted
UNION ALL
SELECT 'queued', t.site_id, t.row_id::text, '' FROM n JOIN sync.touched AS t ON t.table_no = n.no
    WHERE t.row_id = ANY(%(ids)s::uuid[])
UNION ALL
SELECT 'parked', w.site_id, w.row_id, 'waiting' FROM sync.waiting AS w
    WHERE w.site_id = %(site)s AND w.table_name = %(table)s AND w.row_id = ANY(%(ids)s::text[])
      AND (w.quiet OR %(fact)s)"""

#: Facts that a person let go of stay at their site.
_GIVEN_UP: Final = """
UNION ALL
SELECT 'parked', g.site_id, g.row_id::text, 'discarded' FROM sync.let_go AS g
    WHERE g.site_id = %(site)s AND g.table_name = %(table)s AND g.row_id = ANY(%(ids)s::uuid[])
UNION ALL
SELECT 'parked', p.site_id, p.row_id::text, p.state FROM mes.sync_parked AS p
    WHERE p.site_id = %(site)s AND p.table_name = %(table)s AND p.row_id = ANY(%(ids)s::uuid[])
      AND p.state = 'discarded'"""


async def _notes(
    connection: AsyncConnection[Any], table: Table, site: str, keys: Sequence[tuple[str, str, str]]
) -> _Notes:
    given = {
        "table": table.name,
        "site": site,
        "sites": [owner for owner, _, _ in keys],
        "ids": [row_id for _, _, row_id in keys],
        "fact": table.fact,
    }
    text = _NOTES + (_GIVEN_UP if table.fact else "")
    notes = _Notes(set(), set(), parked := {})
    cursor = await connection.execute(text.encode(), given)
    async for what, owner, row_id, state in cursor:
        if what == "parked":
            parked[row_id] = state
        else:
            (notes.deleted if what == "deleted" else notes.queued).add((owner, row_id))
    return notes

"""Facts: rows that are made once and never change, copied straight into their partitions.

The values were checked by columns, so PostgreSQL refuses a batch only where an id is there already:
a replay of another epoch, or two rows under one id. Then the batch goes through a staging table,
equal rows are taken as the duplicates they are, and the others are parked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from central.store import statements
from central.store.applying import ROWS_AT_FAULT, TOO_LARGE
from central.store.changeset import Reason, Refusal, Rows
from central.store.literals import copy_text
from shared.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    from central.store.applying import Applying
    from shared.changes import Value

#: Rows whose COPY text is held at a time.
ROWS_MAX: Final = 500
#: Of SQLSTATE: a check, or a partition, that a row does not fit into; and a key that is taken.
_CHECK_VIOLATION: Final = "23514"
_UNIQUE_VIOLATION: Final = "23505"


async def apply_facts(applying: Applying, rows: Rows) -> list[Refusal]:
    """Insert facts, and return those that PostgreSQL refuses or that say otherwise than before."""
    if not rows.ids:
        return []
    names = ", ".join(["id", "site_id", "created_at", *(c.name for c in rows.columns)])
    into = statements.target(rows.table, applying.site, rows.months)
    refused: list[Refusal] = []
    try:
        async with applying.savepoint():
            await _copy(applying, f"COPY {into} ({names}) FROM STDIN", rows)
    except ROWS_AT_FAULT as why:
        if len(rows.months) > 1 and _lacks_partition(why):
            return await _apply_by_month(applying, rows)
        refused = await _apply_carefully(applying, rows, into, names)
    gone = {refusal.source.id for refusal in refused}
    applying.tally.rows += len(rows) - len(refused)
    applying.brought(rows.table, (each for each in rows.ids if each not in gone))
    applying.mark(rows.table, rows.created)
    return refused


def _lacks_partition(why: psycopg.Error) -> bool:
    """Return whether the parent had no partition for a row; a check that rows break has a name."""
    return why.sqlstate == _CHECK_VIOLATION and why.diag.constraint_name is None


async def _apply_by_month(applying: Applying, rows: Rows) -> list[Refusal]:
    """Insert facts into their partitions by name: one of these months was just being detached.

    Where it has gone by now, its partition is made anew with the next attempt.
    """
    refused = []
    for month in sorted(rows.months):
        some = [n for n, created in enumerate(rows.created) if created.startswith(month)]
        refused += await apply_facts(applying, rows.take(some))
    return refused


async def _copy(
    applying: Applying, text: str, rows: Rows, also: Sequence[tuple[Kind, range]] = ()
) -> None:
    columns: list[tuple[Kind, Sequence[Value]]] = [
        *also,
        (Kind.UUID, rows.ids),
        (Kind.TEXT, [applying.site] * len(rows)),
        (Kind.TIMESTAMP, rows.created),
        *((c.type.kind, v) for c, v in zip(rows.columns, rows.new, strict=True)),
    ]
    async with (
        applying.connection.cursor() as cursor,
        cursor.copy(text.encode()) as copy,
    ):
        for start in range(0, len(rows), ROWS_MAX):
            part = slice(start, min(start + ROWS_MAX, len(rows)))
            some = [(kind, values[part]) for kind, values in columns]
            await copy.write(copy_text(some, part.stop - part.start))


# --- where PostgreSQL refuses some of them -----------------------------------------------------

_STAGING: Final = "pg_temp.sync_staging"
_PLACE: Final = "sync_place"


async def _apply_carefully(applying: Applying, rows: Rows, into: str, names: str) -> list[Refusal]:
    """Insert what can be inserted, row by row where it must be."""
    execute = applying.connection.execute
    made = (
        f"CREATE TEMPORARY TABLE sync_staging ON COMMIT DROP AS"
        f" SELECT 0::bigint AS {_PLACE}, {names} FROM {into} WITH NO DATA"
    )
    await execute(f"DROP TABLE IF EXISTS {_STAGING}".encode())
    await execute(made.encode())
    copied = f"COPY {_STAGING} ({_PLACE}, {names}) FROM STDIN"
    refused: dict[int, Refusal] = {}
    staged: list[int] = []
    try:
        async with applying.savepoint():
            await _copy(applying, copied, rows, [(Kind.INTEGER, range(len(rows)))])
        staged = list(range(len(rows)))
    except ROWS_AT_FAULT:
        for row in range(len(rows)):
            try:
                async with applying.savepoint():
                    one = rows.take([row])
                    await _copy(applying, copied, one, [(Kind.INTEGER, range(row, row + 1))])
                staged.append(row)
            except ROWS_AT_FAULT as why:
                refused[row] = _refusal(rows, row, why)
    await execute(f"CREATE INDEX ON {_STAGING} ({_PLACE})".encode())
    refused |= await _insert_staged(applying, rows, into, names, staged)
    refused |= await _contradictions(applying, rows, into, refused)
    return [refused[row] for row in sorted(refused)]


async def _insert_staged(
    applying: Applying, rows: Rows, into: str, names: str, places: Sequence[int]
) -> dict[int, Refusal]:
    """Insert the staged rows; where that fails, halve them until the one to blame is alone."""
    if not places:
        return {}
    text = (
        f"INSERT INTO {into} ({names}) SELECT {names} FROM {_STAGING}"
        f" WHERE {_PLACE} = ANY(%s) ORDER BY {_PLACE} ON CONFLICT DO NOTHING"
    )
    try:
        async with applying.savepoint():
            await applying.connection.execute(text.encode(), [list(places)])
    except ROWS_AT_FAULT as why:
        if len(places) == 1:
            return {places[0]: _refusal(rows, places[0], why)}
        half = len(places) // 2
        refused = await _insert_staged(applying, rows, into, names, places[:half])
        return refused | await _insert_staged(applying, rows, into, names, places[half:])
    return {}


async def _contradictions(
    applying: Applying, rows: Rows, into: str, known: Iterable[int]
) -> dict[int, Refusal]:
    """Return the rows that say otherwise than the row that is there under their id."""
    text = (
        f"SELECT s.{_PLACE} FROM {_STAGING} AS s JOIN {into} AS t"
        " ON t.site_id = s.site_id AND t.created_at = s.created_at AND t.id = s.id"
        f" WHERE ROW({_compared('s', rows)}) IS DISTINCT FROM ROW({_compared('t', rows)})"
        f" AND s.{_PLACE} <> ALL(%s)"
    )
    cursor = await applying.connection.execute(text.encode(), [list(known)])
    table = rows.table.name
    return {
        row: Refusal(rows.source(row), Reason.ID_TAKEN, f"{table} has another row of this id")
        for (row,) in await cursor.fetchall()
    }


def _compared(alias: str, rows: Rows) -> str:
    # The type json has no equality, and jsonb refuses some of its texts.
    return ", ".join(
        f"{alias}.{c.name}{'::text' if c.type.kind is Kind.JSON else ''}" for c in rows.columns
    )


def _refusal(rows: Rows, row: int, why: psycopg.Error) -> Refusal:
    # A key that is taken here is passed over, so it is one that the archive has (0026_archive.sql).
    is_taken = why.sqlstate == _UNIQUE_VIOLATION
    return Refusal(rows.source(row), Reason.ID_TAKEN if is_taken else Reason.DATABASE, told(why))


def told(why: psycopg.Error) -> str:
    """Return what PostgreSQL says, with the rule by name where it names one."""
    said: Any = why.diag.message_primary or str(why)
    if isinstance(why, TOO_LARGE):
        said = f"a value or key is larger than PostgreSQL holds; shorten it: {said}"
    rule = why.diag.constraint_name
    return f"{said} ({rule})" if rule and rule not in said else str(said)

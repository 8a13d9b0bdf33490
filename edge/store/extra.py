"""What a newer centre sends and this store has no place for yet: kept until a migration makes one.

An unknown column of a known table is kept by its row; a row of an unknown table is kept whole,
under the column name ``""``.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations, repeat
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge.sql_text import quoted
from edge.store import aside, knock_on, position, rollbacks
from shared.changes import Fate, HeadBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.store.applying import Applying
    from edge.store.target import Target
    from shared.changes import Value

WHOLE: Final = ""
#: Rows of a table that is new here, materialised at a time.
PAGE_ROWS_MAX: Final = 2_000

_KEEP = (
    "INSERT OR REPLACE INTO _sync_extra (table_name, id, column_name, value, schema)"
    " VALUES (?, ?, ?, ?, ?)"
)
_FORGET = "DELETE FROM _sync_extra WHERE table_name = ? AND id = ?"
_FORGET_OUTDATED = """DELETE FROM _sync_extra AS e WHERE e.table_name = ? AND e.column_name = ?
    AND EXISTS (SELECT 1 FROM _sync_extra l
                WHERE l.table_name = e.table_name AND l.id = e.id AND l.column_name = ?
                  AND l.schema > e.schema)"""


def keep_columns(
    applying: Applying, block: HeadBlock, unknown: Sequence[tuple[int, str]], schema: int
) -> None:
    """Keep the columns of a block that our catalogue does not have.

    Under the name that each is sent by: that two are one column is known after a migration only.
    """
    for place, name in unknown:
        values = map(msgpack.packb, block.new[place])
        applying.connection.executemany(
            _KEEP, zip(repeat(block.table), block.ids, repeat(name), values, repeat(schema))
        )


def keep_rows(applying: Applying, block: HeadBlock, schema: int) -> None:
    """Keep the rows of a table that our catalogue does not have."""
    if block.fate is not Fate.PUT:
        forget(applying, block.table, block.ids)
        return
    keys = zip(block.sites, block.created, block.version, block.order, strict=True)
    rows = zip(*block.new, strict=True) if block.new else repeat((), len(block))
    wholes = (
        msgpack.packb([*key, list(block.columns), list(values)])
        for key, values in zip(keys, rows, strict=True)
    )
    applying.connection.executemany(
        _KEEP, zip(repeat(block.table), block.ids, repeat(WHOLE), wholes, repeat(schema))
    )


def forget(applying: Applying, table: str, ids: Sequence[str]) -> None:
    """Forget what was kept of rows that are gone."""
    applying.connection.executemany(_FORGET, zip(repeat(table), ids))


def materialise_columns(applying: Applying) -> int:
    """Put kept values into the columns that the store has by now; return how many."""
    _forget_outdated(applying)
    kept = applying.connection.execute(
        "SELECT DISTINCT table_name, column_name FROM _sync_extra WHERE column_name <> ?", (WHOLE,)
    ).fetchall()
    moved = 0
    for table, name in kept:
        target = applying.target(table)
        here = target.column_here(name) if target else None
        if target is not None and here is not None:
            with rollbacks.apart(applying, table):
                moved += _materialise_column(applying, target, name, here)
    return moved


def _forget_outdated(applying: Applying) -> None:
    """Leave of one column only what came last, by row, under whichever of its names.

    The schema tells which did: a column may have been given an earlier name back. And the others
    are not written first and then replaced: they could break a rule, or take a key.
    """
    applying.connection.executemany(
        _FORGET_OUTDATED,
        (
            (table.name, name, other)
            for table in applying.opened.catalog.tables
            for column in table.columns
            for name, other in permutations((*column.renamed_from, column.name), 2)
        ),
    )


def _materialise_column(applying: Applying, target: Target, name: str, here: str) -> int:
    """Move the values kept of one column to its rows, but not over what the site has written.

    What the plant's rules don't allow is told, and kept no longer: laid over the row once they are
    lifted, it might be older than what stands there.
    """
    rows = applying.connection.execute(
        "SELECT id, value FROM _sync_extra WHERE table_name = ? AND column_name = ?",
        (target.name, name),
    ).fetchall()
    hindered = rollbacks.is_hindered(applying, target.name)
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for row_id, packed in rows:
        value = msgpack.unpackb(packed)
        why = "a trigger rolls all back" if hindered else _fill(
            applying, target, row_id, here, value
        )  # fmt: skip
        if why is not None:
            refused[why].append(row_id)
        _into_shadow(applying, target, row_id, here, value)
        aside.add(applying, target, row_id, {here: value})
    for why, ids in refused.items():
        message = f"{target.name} {position.named(ids)}: column {here} could not be filled: {why}"
        position.note(applying.connection, "MES-COLUMN-REFUSED", message, applying.now_ms)
    applying.connection.execute(
        "DELETE FROM _sync_extra WHERE table_name = ? AND column_name = ?", (target.name, name)
    )
    return len(rows)


def _fill(
    applying: Applying, target: Target, row_id: str, column: str, value: Value
) -> str | None:  # fmt: skip
    """Fill the column of a row; return why it stands as it was, where the plant's rules kept it."""
    free = f"id = ? AND NOT EXISTS ({_WRITTEN})"
    place = (row_id, target.no, row_id, target.table.bit(column))
    update = f"UPDATE {target.quoted} SET {quoted(column)} = ? WHERE {free}"
    before = knock_on.standing(applying, target, [row_id])
    try:
        found = knock_on.put_row(applying, target, row_id, update, (value, *place))
    except aside.REFUSALS as error:
        return aside.reason_of(applying, target, error)
    knock_on.log_own(applying, target, before, {row_id: {column: value} if found else {}})
    other = f"SELECT 1 FROM {target.quoted} WHERE {free} AND {quoted(column)} IS NOT ?"
    if found or not target.stirred:
        return None
    passed = applying.connection.execute(other, (*place, value)).fetchone()
    return str(knock_on.ignored(target)) if passed else None


#: Whether the site wrote to a column, by its bit, what the centre has not decided.
_WRITTEN: Final = (
    "SELECT 1 FROM _sync_pending p WHERE p.table_no = ? AND p.id = ? AND p.mask >> ? & 1"
)


def _into_shadow(
    applying: Applying, target: Target, row_id: str, column: str, value: object
) -> None:
    shadow = applying.connection.execute(
        "SELECT head FROM _sync_shadow WHERE table_no = ? AND id = ?", (target.no, row_id)
    ).fetchone()
    if shadow is not None:
        head = msgpack.packb({**msgpack.unpackb(shadow[0]), column: value})
        applying.connection.execute(
            "UPDATE _sync_shadow SET head = ? WHERE table_no = ? AND id = ?",
            (head, target.no, row_id),
        )


def take_rows(applying: Applying) -> Iterator[tuple[HeadBlock, int]]:
    """Yield and forget the kept rows of tables that the store has by now, with their schema."""
    names = applying.connection.execute(
        "SELECT DISTINCT table_name FROM _sync_extra WHERE column_name = ?", (WHOLE,)
    ).fetchall()
    for (table,) in names:
        while applying.target(table) is not None and not rollbacks.is_hindered(applying, table):
            page = applying.connection.execute(
                "SELECT id, value, schema FROM _sync_extra WHERE table_name = ? AND column_name = ?"
                " LIMIT ?",
                (table, WHOLE, PAGE_ROWS_MAX),
            ).fetchall()
            if not page:
                break
            forget(applying, table, [row_id for row_id, _, _ in page])
            yield from (
                (_block(table, row_id, msgpack.unpackb(whole)), schema)
                for row_id, whole, schema in page
            )


def _block(table: str, row_id: str, whole: list[Any]) -> HeadBlock:
    site, created, version, order, columns, values = whole
    return HeadBlock(
        table=table, fate=Fate.PUT, columns=tuple(columns), sites=[site], created=[created],
        ids=[row_id], version=[version], order=[order], new=[[value] for value in values],
    )  # fmt: skip

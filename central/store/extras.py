"""Values of columns that a site's newer schema has and the centre's has not yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from central.store.fixed import fixed
from central.store.literals import array
from central.store.parking import plain
from shared.catalog import Kind
from shared.changes import Op

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from central.store.applying import Applying
    from central.store.changeset import Extra, Refusal, Rows


async def keep_extras(
    applying: Applying, extras: Sequence[Extra], refused: Collection[Refusal] = ()
) -> None:
    """Keep the values of applied rows aside; the migration that brings the column moves them in."""
    gone = {(id(each.source.block), each.source.place) for each in refused}
    # The last one of a row and column counts, as it would in the row.
    last = {
        (each.source.key, each.column): each
        for each in extras
        if not gone or (id(each.source.block), each.source.place) not in gone
    }
    if not last:
        return
    kept, numbers = list(last.values()), applying.table_nos
    lists: dict[str, tuple[Kind, list[Any]]] = {
        "table_name": (Kind.TEXT, [each.source.block.table for each in kept]),
        "table_no": (Kind.INTEGER, [numbers[each.source.block.table] for each in kept]),
        "id": (Kind.UUID, [each.source.id for each in kept]),
        "created_at": (
            Kind.TIMESTAMP,
            [each.source.block.created[each.source.place] for each in kept],
        ),
        "column_name": (Kind.TEXT, [plain(each.column, 63) for each in kept]),
        "value": (Kind.BYTES, [msgpack.packb(each.value) for each in kept]),
        "schema": (Kind.INTEGER, [each.source.origin.schema for each in kept]),
        "hlc": (Kind.INTEGER, [each.source.origin.hlc for each in kept]),
    }
    given = {name: array(kind, values) for name, (kind, values) in lists.items()}
    await applying.plan(indexed=True)
    await applying.connection.execute(fixed("insert_extra"), given | {"site": applying.site})


async def forget_extras(applying: Applying, pieces: Iterable[Rows]) -> None:
    """Forget values that wait for columns which these rows have been given since.

    A column that has come may still have values waiting: those that broke the rule that it had.
    """
    if not applying.has_extras:
        return
    for rows in pieces:
        if rows.op is Op.DELETE:
            continue  # with the row goes what waits for it
        names = [name for column in rows.columns for name in (column.name, *column.renamed_from)]
        given = {
            "site": applying.site,
            "table_name": rows.table.name,
            "names": array(Kind.TEXT, names),
            "id": array(Kind.UUID, rows.ids),
            "hlc": array(Kind.INTEGER, rows.hlc),
        }
        await applying.plan(indexed=True)
        await applying.connection.execute(fixed("delete_extra"), given)

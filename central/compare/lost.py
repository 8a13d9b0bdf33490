"""A row that was lost at the centre, though its head says that it stands, is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from central.schema import natural_key
from central.store import statements
from central.store.fixed import fixed
from central.store.literals import array
from shared.catalog import Kind
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from central.compare.rows import Part, Standing
    from central.store.applying import Applying
    from shared.catalog import Column
    from shared.changes import Value


async def put_back(applying: Applying, part: Part, row: Standing, here: Sequence[Value]) -> bool:
    """Insert a row as its site has it; False where it breaks a rule, or its key is taken.

    Where it stands after all, nothing is overwritten. What the site lacks gets its default.
    """
    values = dict(zip(part.columns, here, strict=True))
    given: dict[Column, Value] = {c: values.get(c, c.default) for c in part.table.columns}
    if any(rule_broken(column, value) for column, value in given.items()):
        return False
    try:
        async with applying.connection.transaction():
            await _insert(applying, part, row, given)
            await _take_keys(applying, part, row, given)
    except psycopg.IntegrityError:
        return False
    return True


async def _insert(
    applying: Applying, part: Part, row: Standing, given: Mapping[Column, Value]
) -> None:
    kinds = [("id", Kind.UUID), ("created_at", Kind.TIMESTAMP)]
    kinds += [(column.name, column.type.kind) for column in given]
    arrays = {"id": array(Kind.UUID, [row.id])}
    arrays["created_at"] = array(Kind.TIMESTAMP, [row.created_at])
    arrays |= {c.name: array(c.type.kind, [value]) for c, value in given.items()}
    names = "".join(f", {column.name}" for column in given)
    values = "".join(f", i.{column.name}" for column in given)
    text = (
        f"INSERT INTO mes.{part.table.name} (site_id, created_at, id{names})"
        f" SELECT %(site)s, i.created_at, i.id{values} FROM {statements.rows_of(kinds)}"
    )
    await applying.connection.execute(text.encode(), arrays | {"site": part.site})


async def _take_keys(
    applying: Applying, part: Part, row: Standing, given: Mapping[Column, Value]
) -> None:
    """Take the natural keys of the row anew; raise UniqueViolation where one is another row's."""
    named = {column.name: value for column, value in given.items()}
    place = {"site": part.site, "table_no": applying.no(part.table)}
    made = (
        natural_key(number, [named[name] for name in names])
        for number, names in enumerate(part.table.natural_keys)
    )
    keys = [key for key in made if key is not None]
    if not keys:
        return
    given_up = {"ids": array(Kind.UUID, [row.id])}
    await applying.connection.execute(fixed("delete_keys"), place | given_up)
    taken = {"key": array(Kind.TEXT, keys), "id": array(Kind.UUID, [row.id] * len(keys))}
    cursor = await applying.connection.execute(fixed("insert_keys"), place | taken)
    if len(await cursor.fetchall()) < len(keys):
        raise psycopg.errors.UniqueViolation

"""The steps from one catalogue to a later one; both ends migrate their business tables by them.

Only steps that lose nothing exist: a table or a column is added, a column is renamed, a column
takes more than it took. Whatever else differs either needs no step, such as a policy (the centre
decides by its own) or a help text, or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.catalog import Catalog, Column, ColumnType, Table


@dataclass(frozen=True, slots=True)
class AddTable:
    """A table is new."""

    table: Table


@dataclass(frozen=True, slots=True)
class AddColumn:
    """A column is new, at the end; rows there already get its default."""

    table: str
    column: Column


@dataclass(frozen=True, slots=True)
class RenameColumn:
    """A column has another name in the same place."""

    table: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class WidenType:
    """A column, under its new name, takes every value that it took; or has another default."""

    table: str
    before: Column
    after: Column


Change = AddTable | AddColumn | RenameColumn | WidenType


def differences(old: Catalog, new: Catalog) -> list[Change]:
    """Return the steps from ``old`` to ``new``, parents first, each column renamed before widened.

    Raise CatalogError with everything by which ``new`` would lose something.
    """
    changes: list[Change] = []
    losses = [
        f"table {table.name}: it is gone; put its declaration back, or name the folder it is in"
        for table in old.tables
        if table.name not in new
    ]
    for table in new.parents_first():
        if table.name not in old:
            changes.append(AddTable(table))
            continue
        before = old.table(table.name)
        found = [*_column_losses(before, table), *_table_losses(before, table)]
        losses += found
        if not found:
            changes += _table_changes(before, table)
    if changes and not losses and new.version <= old.version:
        losses = [f"{_place(changes[0])}: it changed; raise `version` at the top of its file"]
    if losses:
        lines = "\n".join(f"- {loss}" for loss in losses)
        message = f"the catalogue can't go from version {old.version} to {new.version}:\n{lines}"
        raise CatalogError(message)
    return changes


def _place(change: Change) -> str:
    match change:
        case AddTable(table):
            return f"table {table.name}"
        case AddColumn(table=name, column=column) | WidenType(table=name, after=column):
            return f"table {name}, column {column.name}"
        case RenameColumn(table=name, after=column_name):
            return f"table {name}, column {column_name}"


# --- what would be lost ----------------------------------------------------------------------


def _table_losses(old: Table, new: Table) -> Iterator[str]:
    for what, before, after in (
        ("direction", old.direction.value, new.direction.value),
        ("append_only", old.append_only, new.append_only),
        ("partitioned", old.partitioned, new.partitioned),
        ("share", [*_renamed(old.share, new)], [*new.share]),
        ("natural_keys", _keys(old, new), [list(key) for key in new.natural_keys]),
    ):
        if before != after:
            yield (
                f"table {new.name}: {what} was {before}, is {after}; rows there already were made"
                " under the old one, so put it back or declare a new table"
            )


def _keys(old: Table, new: Table) -> list[list[str]]:
    return [_renamed(key, new) for key in old.natural_keys]


def _renamed(names: Sequence[str], new: Table) -> list[str]:
    """Return the names that the columns have now."""
    now = {earlier: c.name for c in new.columns for earlier in c.renamed_from}
    return [now.get(name, name) for name in names]


def _column_losses(old: Table, new: Table) -> Iterator[str]:
    for place, before in enumerate(old.columns):
        here = f"table {new.name}, column {before.name}"
        after = new.columns[place] if place < len(new.columns) else None
        if after is None or not _is_same(before, after):
            moved = any(_is_same(before, column) for column in new.columns)
            rule = (
                "it moved; columns keep their places, put it back where it was"
                if moved
                else "it is gone; put it back, or name it in renamed_from of the one in its place"
            )
            yield f"{here}: {rule}"
        else:
            yield from (f"{here}: {loss}" for loss in _narrowings(before, after))
    newest = max((column.since for column in old.columns), default=1)
    for column in new.columns[len(old.columns) :]:
        here = f"table {new.name}, column {column.name}"
        if column.since <= newest:
            yield f"{here}: it is new, so it needs since = {newest + 1} or later"
        if not column.nullable and column.default is None:
            yield f"{here}: it is required; give it a default for the rows there are"


def _is_same(before: Column, after: Column) -> bool:
    return before.name == after.name or before.name in after.renamed_from


def _narrowings(before: Column, after: Column) -> Iterator[str]:
    if forgotten := set(before.renamed_from) - {after.name, *after.renamed_from}:
        # What was drained, parked or archived under it would find no column any more.
        names = ", ".join(sorted(forgotten))
        yield f"it was called {names} once, and so it is in what was sent; keep renamed_from"
    if before.nullable and not after.nullable:
        yield "it may hold null already; drop required"
    if before.references != after.references:
        yield f"it refers to rows of {before.references}; refer to others by a new column"
    if before.allowed and after.allowed and not set(before.allowed) <= set(after.allowed):
        gone = ", ".join(value for value in before.allowed if value not in after.allowed)
        yield f"the values {gone} are no longer allowed; put them back"
    elif after.allowed and not before.allowed:
        yield "it may hold other values than those listed; drop the list"
    if [state for state in after.order if state in before.order] != list(before.order):
        yield f"the states {', '.join(before.order)} must keep their order; add others between"
    yield from _type_narrowings(before.type, after.type)


def _type_narrowings(before: ColumnType, after: ColumnType) -> Iterator[str]:
    if before.kind is not after.kind:
        # Also from integer to decimal: the same number has two forms then, 12 and "12", and rows
        # written before would no longer compare equal to rows written after.
        yield f"its type was {before}, is {after}; add a new column of that type"
        return
    if after.length is not None and (before.length is None or before.length > after.length):
        yield f"its type was {before}, is {after}; text may only grow longer"
    before_point = (before.precision or 0) - (before.scale or 0)
    after_point = (after.precision or 0) - (after.scale or 0)
    if after_point < before_point or (after.scale or 0) < (before.scale or 0):
        yield f"its type was {before}, is {after}; digits may only be added"
    if after.low is not None and (before.low is None or before.low < after.low):
        yield f"values below low = {after.low} may be there already; put low back"
    if after.high is not None and (before.high is None or before.high > after.high):
        yield f"values above high = {after.high} may be there already; put high back"


# --- what is to be done ----------------------------------------------------------------------


def _table_changes(old: Table, new: Table) -> Iterator[Change]:
    for before, after in zip(old.columns, new.columns, strict=False):
        if before.name != after.name:
            yield RenameColumn(new.name, before.name, after.name)
        if _definition(before) != _definition(after):
            yield WidenType(new.name, before, after)
    for column in new.columns[len(old.columns) :]:
        yield AddColumn(new.name, column)


def _definition(column: Column) -> tuple[object, ...]:
    """Return what the definition of a database's table says of the column."""
    return column.type, column.nullable, column.default, frozenset(column.allowed)

"""The map of an import: which field of a CSV line goes into which column of which table.

The vocabulary only; ``map_file`` reads it, and ``docs/import.md`` tells how to write one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from shared.catalog import Direction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.csv_import.lines import Dialect
    from edge.csv_import.values import Reading
    from shared.catalog import Column, Table
    from shared.changes import Value


class Keep(StrEnum):
    """What becomes of a column of a row that several lines name."""

    FIRST = "first"  #: the line that made the row sets it
    LAST = "last"  #: every line sets it
    MIN = "min"  #: the smallest of all lines
    MAX = "max"  #: the largest


@dataclass(frozen=True, slots=True)
class FromText:
    """The value stands in a field of the line."""

    column: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Constant:
    """The value is the same for all lines."""

    value: Value


@dataclass(frozen=True, slots=True)
class RowOf:
    """The value is the id of the row that an earlier block found or made for the line."""

    block: str


@dataclass(frozen=True, slots=True)
class Counter:
    """The value is the number of the row in the file, or of the line."""

    counts: Literal["row", "line"]


Source = FromText | Constant | RowOf | Counter


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds for a line whose field is one of the texts; negated, for one whose field is none."""

    column: str
    texts: frozenset[str]
    negated: bool = False

    def holds(self, text: str) -> bool:
        """Return whether it holds for a line with this text in the column."""
        return (text.strip() in self.texts) is not self.negated


@dataclass(frozen=True, slots=True)
class Field:
    """Where a column's value comes from."""

    column: Column
    source: Source
    keep: Keep = Keep.FIRST
    #: Lines for which it does not hold get ``otherwise``.
    when: Condition | None = None
    otherwise: Value = None


@dataclass(frozen=True, slots=True)
class Block:
    """What one line puts into one table.

    With a key the row is looked up by it, in the site's rows and the shared ones, and made where
    there is none. Without a key every line makes a row of its own.
    """

    name: str
    table: Table
    #: Place among the blocks of the same table: part of a made row's id, so it must not change.
    place: int
    fields: tuple[Field, ...]
    key: tuple[str, ...] = ()
    #: Only for these lines.
    when: Condition | None = None
    #: Whether a row that is not there is made.
    create: bool = True
    #: Whether a line may go without: an empty key, or nothing found, gives a null reference.
    optional: bool = False
    #: Columns of a row of its own that tell it from all others, in place of file and line.
    identity: tuple[str, ...] = ()

    @property
    def found_fields(self) -> tuple[Field, ...]:
        """Return the fields that later lines may change in a row that stands."""
        return tuple(field for field in self.fields if field.keep is not Keep.FIRST)


@dataclass(frozen=True, slots=True)
class ImportMap:
    """A map that fits its catalogue."""

    #: SHA-256 of the map's text.
    digest: str
    dialect: Dialect
    blocks: tuple[Block, ...]
    #: Column whose number tells which part of the file a line belongs to.
    split_by: str | None = None

    def csv_columns(self) -> Iterator[tuple[str, str]]:
        """Yield each CSV column that is needed, with what needs it."""
        if self.split_by:
            yield self.split_by, "split_by"
        for block in self.blocks:
            if block.when:
                yield block.when.column, f"rows {block.name}, when"
            for field in block.fields:
                where = f"rows {block.name}, column {field.column.name}"
                if isinstance(field.source, FromText):
                    yield field.source.column, where
                if field.when:
                    yield field.when.column, f"{where}, when"


def writable(table: Table) -> bool:
    """Return whether a site may write rows of the table."""
    return table.direction is not Direction.DOWN

"""Rows of a CSV file, read together column by column; pure.

Most columns repeat few texts, so each distinct text of a batch is read once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from edge.csv_import.mapping import (
    Block,
    Condition,
    Constant,
    Counter,
    Field,
    FromText,
    ImportMap,
    RowOf,
)
from edge.csv_import.values import instead_of_null, reader_of
from shared.errors import InvalidValue
from shared.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge.csv_import.lines import Record
    from shared.catalog import Column
    from shared.changes import Value

#: What the reasons for one line may take together.
REASON_CHARS_MAX: Final = 1_000


@dataclass(slots=True)
class Batch:
    """Rows of the file; a *place* is a row's index in it."""

    records: list[Record]
    #: Each row's number in the file; the first is 1.
    numbers: list[int]
    #: The texts of each column of the file, one a row; those of a line that is no row are empty.
    columns: Mapping[str, Sequence[str]]
    #: Why the line at a place is not taken.
    reasons: dict[int, str] = field(default_factory=dict)

    def refuse(self, place: int, reason: str) -> None:
        """Note why a line is not taken; a line may have several reasons."""
        before = self.reasons.get(place)
        if before and reason in before:
            return
        text = f"{before}; {reason}" if before else reason
        self.reasons[place] = text[:REASON_CHARS_MAX]

    def good(self) -> list[int]:
        """Return the places of the lines that nothing is wrong with so far."""
        return [place for place in range(len(self.records)) if place not in self.reasons]


@dataclass(frozen=True, slots=True)
class BlockValues:
    """What the lines of a batch say of one block's columns.

    Columns that hold ids of other rows are not among them: those are known when the rows are.
    """

    block: Block
    #: Where the block applies, in order.
    places: list[int]
    #: One value a row of the batch.
    columns: dict[str, list[Value]]


class BatchReader:
    """Reads batches by a map; made once an import."""

    def __init__(self, plan: ImportMap, header: Sequence[str]) -> None:
        self._plan = plan
        self._needed = {name: header.index(name) for name, _ in plan.csv_columns()}
        # A line may go without an optional row: then its key is empty, and no row is looked up.
        self._takes_null = {
            id(each): each.column.nullable or (block.optional and each.column.name in block.key)
            for block in plan.blocks
            for each in block.fields
        }
        self._meanings: list[_Meanings] = []
        self._meanings_of = {
            id(each): self._shared(each.column, each.source)
            for block in plan.blocks
            for each in block.fields
            if isinstance(each.source, FromText)
        }

    def _shared(self, column: Column, source: FromText) -> _Meanings:
        """Return the meanings of a field's texts, one for all columns that read it alike."""
        fresh = _Meanings(column, source)
        for known in self._meanings:
            if known.reads_like(fresh):
                return known
        self._meanings.append(fresh)
        return fresh

    def batch(self, records: list[Record], numbers: list[int]) -> Batch:
        """Return the records as a batch; lines that are no rows are refused."""
        columns = {
            name: [record.fields[at] if record.fields else "" for record in records]
            for name, at in self._needed.items()
        }
        batch = Batch(records, numbers, columns)
        for place, record in enumerate(records):
            if record.reason:
                batch.refuse(place, record.reason)
        return batch

    def read(self, batch: Batch) -> list[BlockValues]:
        """Return the values of every block; lines whose texts don't fit are refused."""
        for each in self._meanings:
            each.forget()
        return [self._block(block, batch) for block in self._plan.blocks]

    def _block(self, block: Block, batch: Batch) -> BlockValues:
        places = _holding(block.when, batch.good(), batch)
        columns = {
            each.column.name: self._values(each, places, batch)
            for each in block.fields
            if not isinstance(each.source, RowOf)
        }
        return BlockValues(block, places, columns)

    def _values(self, each: Field, places: list[int], batch: Batch) -> list[Value]:
        values: list[Value] = [each.otherwise] * len(batch.records)
        places = _holding(each.when, places, batch)
        for place, value in zip(places, self._given(each, places, batch), strict=True):
            values[place] = value
        return values

    def _given(self, each: Field, places: list[int], batch: Batch) -> Iterable[Value]:
        match each.source:
            case Constant(value):
                return [value] * len(places)
            case Counter("row"):
                return [batch.numbers[place] for place in places]
            case Counter():
                return [batch.records[place].line for place in places]
            case FromText(column):
                meanings = self._meanings_of[id(each)]
                texts = batch.columns[column]
                found = meanings.read([texts[place] for place in places], places, batch)
                return found if self._takes_null[id(each)] else _whole(each, found, places, batch)
            case RowOf():
                raise AssertionError("ids are known when the rows are")


def _holding(when: Condition | None, places: list[int], batch: Batch) -> list[int]:
    if when is None:
        return places
    texts = batch.columns[when.column]
    holds = {text: when.holds(text) for text in set(texts)}
    return [place for place in places if holds[texts[place]]]


def _whole(each: Field, values: list[Value], places: list[int], batch: Batch) -> list[Value]:
    """Return the values with the column's default in the place of null, which it does not take."""
    if None not in values:
        return values
    try:
        default = instead_of_null(each.column)
    except InvalidValue as error:
        assert isinstance(each.source, FromText)
        for place, value in zip(places, values, strict=True):
            if value is None and place not in batch.reasons:
                batch.refuse(place, f"{each.source.column}: {error}")
        return values
    return [default if value is None else value for value in values]


class _Meanings:
    """What the texts of a batch's column mean to a column of a table; each is read once."""

    def __init__(self, column: Column, source: FromText) -> None:
        self._column = column
        self._source = source
        self._read = reader_of(column, source.reading)
        self._meaning: dict[str, Value] = {}
        self._wrong: dict[str, str] = {}

    def reads_like(self, other: _Meanings) -> bool:
        """Return whether equal texts mean the same to both."""
        same = attrgetter("type", "allowed")
        return self._source == other._source and same(self._column) == same(other._column)

    def forget(self) -> None:
        """Make room for the texts of another batch."""
        self._meaning.clear()
        self._wrong.clear()

    def read(self, texts: list[str], places: list[int], batch: Batch) -> list[Value]:
        """Return what the texts mean; refuse the lines of those that mean nothing."""
        meaning, wrong = self._meaning, self._wrong
        for text in set(texts).difference(meaning):
            try:
                meaning[text] = self._read(text)
            except InvalidValue as error:
                meaning[text] = None
                wrong[text] = str(error)
        if wrong:
            for place, text in zip(places, texts, strict=True):
                if text in wrong:
                    reason = f"{self._source.column} = {shown(text)}: {wrong[text]}"
                    batch.refuse(place, reason)
        return [meaning[text] for text in texts]

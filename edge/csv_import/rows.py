"""Puts a batch of CSV lines into the tables of a store, within a transaction of the caller.

Rows are found first and made then, and the ids of new rows are functions of what is imported: the
same line gives the same row, whatever became of an earlier run.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from edge.csv_import.mapping import Block, Keep, RowOf
from edge.store import imports
from shared.catalog import Kind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from edge.csv_import.batch import Batch, BlockValues
    from edge.csv_import.mapping import Field
    from shared.changes import Value

_VARIANTS: Final = "89ab"
Key = tuple["Value", ...]
#: Row id -> column -> value, of columns that several lines have a say in.
Kept = dict[str, dict[str, "Value"]]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a made row's id is made of, beside its place in the file."""

    site: str
    file_digest: str
    #: Stands in created_at where the map names no source.
    now: str


@dataclass(slots=True)
class Taken:
    """What became of lines, by table."""

    made: Tally[str] = field(default_factory=Tally)
    changed: Tally[str] = field(default_factory=Tally)
    #: Rows of their own that had been imported before.
    stood: Tally[str] = field(default_factory=Tally)

    def add(self, other: Taken) -> None:
        """Count the other's rows, too."""
        self.made += other.made
        self.changed += other.changed
        self.stood += other.stood


def take(
    connection: sqlite3.Connection, origin: Origin, batch: Batch, values: Sequence[BlockValues]
) -> Taken:
    """Put every good line of the batch into the tables; refuse those that lack a row they need.

    Raises sqlite3.IntegrityError where the store refuses a row.
    """
    taken = Taken()
    found = _find(connection, origin, batch, values)
    for each in found:
        each.write(connection, taken)
    return taken


def would_take(
    connection: sqlite3.Connection,
    origin: Origin,
    batch: Batch,
    values: Sequence[BlockValues],
    seen: set[Key],
) -> Taken:
    """Return what ``take`` would do, and do nothing; ``seen`` are rows that it would have made."""
    taken = Taken()
    for each in _find(connection, origin, batch, values):
        each.count(connection, taken, seen)
    return taken


def row_id(created_at: str, *parts: object) -> str:
    """Return a UUID of version 7 whose time is ``created_at`` and whose chance is the parts."""
    ms = int(datetime.fromisoformat(created_at).timestamp() * 1000)
    digest = sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
    time, variant = f"{max(0, ms):012x}"[-12:], _VARIANTS[int(digest[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{digest[:3]}-{variant}{digest[4:7]}-{digest[8:20]}"


def _find(
    connection: sqlite3.Connection, origin: Origin, batch: Batch, values: Sequence[BlockValues]
) -> list[_Rows | _KeyedRows]:
    """Return the rows of each block, found or to be made; again, while lines are refused."""
    while True:
        refused = len(batch.reasons)
        ids: dict[str, list[str | None]] = {}
        blocks: list[_Rows | _KeyedRows] = []
        for each in values:
            rows = (_KeyedRows if each.block.key else _Rows)(origin, batch, each, ids)
            ids[each.block.name] = rows.find(connection)
            blocks.append(rows)
        if len(batch.reasons) == refused:
            return blocks


class _Columns:
    """A block's values in a batch, with the ids that earlier blocks came to."""

    def __init__(
        self, origin: Origin, batch: Batch, values: BlockValues, ids: dict[str, list[str | None]]
    ) -> None:
        self.block: Block = values.block
        self.origin = origin
        self.batch = batch
        self.places = [place for place in values.places if place not in batch.reasons]
        self.columns: dict[str, Sequence[Value]] = dict(values.columns)
        for each in self.block.fields:
            if isinstance(each.source, RowOf):
                self.columns[each.column.name] = self._ids(each, ids[each.source.block])
        if "created_at" not in self.columns:
            self.columns["created_at"] = [origin.now] * len(batch.records)

    def _ids(self, each: Field, ids: list[str | None]) -> Sequence[Value]:
        assert isinstance(each.source, RowOf)
        if not each.column.nullable:
            for place in self.places:
                if ids[place] is None and place not in self.batch.reasons:
                    what = f"{self.block.table.name}.{each.column.name}"
                    self.batch.refuse(place, f"{what} needs a row of {each.source.block}")
        if each.when is None:
            return ids
        holds = each.when.holds
        texts = self.batch.columns[each.when.column]
        return [i if holds(text) else each.otherwise for i, text in zip(ids, texts, strict=True)]

    def key(self, names: Sequence[str], place: int) -> Key:
        return tuple(self.columns[name][place] for name in names)

    def new_id(self, place: int, *parts: object) -> str:
        """Return the id of the row that a line makes: the map's own, or one made of the parts."""
        if "id" in self.columns:
            return str(self.columns["id"][place])
        created_at = str(self.columns["created_at"][place])
        return row_id(created_at, self.origin.site, self.block.table.name, *parts)

    def insert(self, connection: sqlite3.Connection, rows: dict[str, int], kept: Kept) -> None:
        """Insert rows, id -> place of the line that makes it; ``kept`` goes before its values."""
        names = [name for name in self.columns if name != "id"]
        columns = [self.columns[name] for name in names]

        def values(row: str, place: int) -> Key:
            if own := kept.get(row):
                pairs = zip(names, columns, strict=True)
                return tuple(own.get(name, column[place]) for name, column in pairs)
            return tuple(column[place] for column in columns)

        imports.insert_rows(
            connection,
            self.block.table.name,
            ("id", "site_id", *names),
            ((row, self.origin.site, *values(row, place)) for row, place in rows.items()),
        )


class _Rows(_Columns):
    """Rows of their own: one a line."""

    def find(self, connection: sqlite3.Connection) -> list[str | None]:
        """Return the id of each line's row."""
        del connection
        ids: list[str | None] = [None] * len(self.batch.records)
        for place in self.places:
            ids[place] = self._id(place)
        self._found = ids
        return ids

    def _id(self, place: int) -> str:
        block, line = self.block, self.batch.records[place].line
        if block.identity:
            return self.new_id(place, block.place, *self.key(block.identity, place))
        return self.new_id(place, block.place, self.origin.file_digest, line)

    def write(self, connection: sqlite3.Connection, taken: Taken) -> None:
        """Insert the rows that are not there yet."""
        self.insert(connection, self._missing(connection, taken), {})

    def count(self, connection: sqlite3.Connection, taken: Taken, seen: set[Key]) -> None:
        """Count the rows that would be inserted."""
        del seen
        self._missing(connection, taken)

    def _missing(self, connection: sqlite3.Connection, taken: Taken) -> dict[str, int]:
        table = self.block.table.name
        places = [place for place in self.places if place not in self.batch.reasons]
        rows: dict[str, int] = {}
        for place in places:
            rows.setdefault(str(self._found[place]), place)
        for row in imports.standing_ids(connection, table, rows.keys()):
            del rows[row]
        taken.made[table] += len(rows)
        taken.stood[table] += len(places) - len(rows)
        return rows


class _KeyedRows(_Columns):
    """Rows looked up by their natural key, and made where there is none."""

    def find(self, connection: sqlite3.Connection) -> list[str | None]:
        """Return the id of each line's row: one that stands, or one that is to be made."""
        self._standing: dict[Key, imports.Standing] = {}
        self._new: dict[Key, tuple[str, int]] = {}
        self._wanted = [each.column.name for each in self.block.found_fields]
        ids: list[str | None] = [None] * len(self.batch.records)
        missing: set[Key] = set()
        for place in self.places:
            key = self.key(self.block.key, place)
            if key not in self._standing and key not in self._new and key not in missing:
                self._look_up(connection, key, place, missing)
            if key in self._standing:
                ids[place] = self._standing[key].id
            elif key in self._new:
                ids[place] = self._new[key][0]
            elif not self.block.optional:
                self.batch.refuse(place, self._why_missing(key))
        return ids

    def _look_up(
        self, connection: sqlite3.Connection, key: Key, place: int, missing: set[Key]
    ) -> None:
        table = self.block.table.name
        if None in key:
            missing.add(key)
            return
        found = imports.find_row(connection, table, self.block.key, key, wanted=self._wanted)
        if found is not None:
            self._standing[key] = found
        elif self.block.create:
            self._new[key] = (self.new_id(place, *key), place)
        else:
            missing.add(key)

    def _why_missing(self, key: Key) -> str:
        pairs = zip(self.block.key, key, strict=True)
        named = ", ".join(f"{name} = {value!r}" for name, value in pairs)
        if None in key:
            return f"the key of {self.block.table.name} is not whole: {named}"
        return f"no row of {self.block.table.name} has {named}"

    def write(self, connection: sqlite3.Connection, taken: Taken) -> None:
        """Make the rows that are missing, and bring the kept columns up to the last line."""
        table = self.block.table.name
        kept = self._kept() if self._wanted else {}
        rows = dict(self._new.values())
        self.insert(connection, rows, {row: kept.pop(row, {}) for row in rows})
        taken.made[table] += len(rows)
        before = {each.id: each for each in self._standing.values() if each.own}
        for row, values in kept.items():
            if row in before:
                old = dict(zip(self._wanted, before[row].values, strict=True))
                changed = {name: value for name, value in values.items() if value != old[name]}
                if changed:
                    imports.update_row(connection, table, row, changed)
                    taken.changed[table] += 1

    def count(self, connection: sqlite3.Connection, taken: Taken, seen: set[Key]) -> None:
        """Count the rows that would be made; each once, however many batches name it."""
        del connection
        table = self.block.table.name
        fresh = {(table, *key) for key in self._new} - seen
        taken.made[table] += len(fresh)
        seen |= fresh

    def _kept(self) -> Kept:
        """Return the kept columns of each row after all lines of the batch."""
        kept: Kept = {}
        for found in self._standing.values():
            kept[found.id] = dict(zip(self._wanted, found.values, strict=True))
        for place in self.places:
            key = self.key(self.block.key, place)
            if key in self._standing:
                row = kept[self._standing[key].id]
            elif key in self._new:
                row = kept.setdefault(self._new[key][0], {})
            else:
                continue
            for kept_field in self.block.found_fields:
                name = kept_field.column.name
                row[name] = _kept_value(kept_field, row.get(name), self.columns[name][place])
        return kept


def _kept_value(each: Field, before: Value, value: Value) -> Value:
    if value is None:
        return before
    if before is None or each.keep is Keep.LAST:
        return value
    if each.column.type.kind is Kind.DECIMAL:
        smaller = Decimal(str(value)) < Decimal(str(before))
    else:
        smaller = value < before  # type: ignore[operator]
    return value if smaller == (each.keep is Keep.MIN) else before

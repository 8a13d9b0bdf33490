"""Reads the map of an import from its TOML file and holds it against the catalogue.

All mistakes are told at once, each with its place and what to do, before any line of the CSV file
is looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from edge.csv_import.lines import Dialect
from edge.csv_import.map_rules import READERS, block_rules, dialect_rules, reading_rules
from edge.csv_import.mapping import (
    Block,
    Condition,
    Constant,
    Counter,
    Field,
    FromText,
    ImportMap,
    Keep,
    RowOf,
    Source,
    writable,
)
from edge.csv_import.values import Reading, fitting
from shared.catalog import CREATED_AT, ID, Catalog, Column, Kind, Table
from shared.errors import BadImport, InvalidValue
from shared.toml_text import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_VERSION: Final = 1
_TEXTS: Final = (list, str)
_SOURCES: Final = ("column", "constant", "row", "number", "site")
_TOP: Final = {"version": int, "help": str, "split_by": str, "csv": dict, "rows": list}
_DIALECT: Final = {"encoding": str, "delimiter": str, "quote": str, "skip_lines": int}
_READING: Final = {
    "nulls": list, "strip": bool, "zone": str, "ambiguous": str, "decimal_point": str,
    "thousands": str, "format": str,
}  # fmt: skip
_OF_COLUMN: Final = {
    "codes": dict, "patterns": list, "other": object, "duration": str, "unit": str,
    "spreadsheet_dates": bool, "times": (int, str),
}  # fmt: skip
_FIELD: Final = {
    "column": str, "constant": object, "row": str, "number": str, "site": bool,
    "keep": str, "when": dict, "otherwise": object,
}  # fmt: skip
_ROWS: Final = {
    "table": str, "name": str, "key": list, "when": dict, "create": bool, "optional": bool,
    "identity": list, "columns": dict,
}  # fmt: skip
_WHEN: Final = {"column": str, "is": _TEXTS, "is_not": _TEXTS}


def read_map(path: Path, catalog: Catalog, *, site: str) -> ImportMap:
    """Return the map in the file; raise BadImport that names every mistake."""
    try:
        content = path.read_bytes()
        plain = parse_toml(content)
    except (OSError, ValueError) as error:
        raise BadImport(f"the map {path} can't be read: {error}") from error
    errors: list[str] = []
    reader = _MapReader(catalog, site, _Place(errors, path.name))
    read = reader.read(plain)
    if errors:
        raise BadImport("\n- ".join((f"the map {path} is not valid:", *errors)))
    return replace(read, digest=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the file we are, and the mistakes so far."""

    errors: list[str]
    name: str

    def at(self, name: str) -> _Place:
        return _Place(self.errors, f"{self.name}, {name}")

    def wrong(self, what: str) -> None:
        self.errors.append(f"{self.name}: {what}")

    def taken(self, raw: object, shapes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the known keys of the right shape; every other one is a mistake."""
        if not isinstance(raw, dict):
            self.wrong("a table of keys and values is expected")
            return {}
        found = {}
        for key, value in raw.items():
            if key not in shapes:
                self.wrong(f"no such key: {key}{_close(key, shapes)}")
            elif isinstance(value, bool) and shapes[key] is int:
                self.wrong(f"{key} = {value}: a number is expected")
            elif not isinstance(value, shapes[key]):
                self.wrong(f"{key} = {value!r}: {_shape_name(shapes[key])} is expected")
            else:
                found[key] = value
        return found

    def one_of(self, what: str, value: str, known: Iterable[str]) -> bool:
        """Return whether the value is known; a mistake where it is not."""
        if value in known:
            return True
        self.wrong(f"{what} = {value!r}: one of {', '.join(known)} is expected")
        return False


def _close(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(sorted(known))}"


def _shape_name(shape: Any) -> str:
    names = {int: "a number", str: "a text", bool: "true or false", list: "a list", dict: "a table"}
    return " or ".join(names[each] for each in (shape if isinstance(shape, tuple) else (shape,)))


class _MapReader:
    """Reads one file; the mistakes are with its place."""

    def __init__(self, catalog: Catalog, site: str, place: _Place) -> None:
        self._catalog = catalog
        self._site = site
        self._place = place
        self._defaults = Reading()
        self._blocks: dict[str, Block] = {}

    def read(self, plain: dict[str, Any]) -> ImportMap:
        top = self._place.taken(plain, _TOP)
        if top.get("version") != _VERSION:
            self._place.wrong(f"version = {_VERSION} is expected on the first line")
        written = self._place.at("csv").taken(top.get("csv", {}), _DIALECT | _READING)
        dialect = self._dialect({key: written[key] for key in written if key in _DIALECT})
        self._defaults = self._reading(written, self._place.at("csv"))
        if not top.get("rows"):
            self._place.wrong("no [[rows]]: say which tables a line goes into")
        for number, raw in enumerate(top.get("rows", []), 1):
            self._read_block(raw, number)
        return ImportMap("", dialect, tuple(self._blocks.values()), top.get("split_by"))

    def _dialect(self, written: dict[str, Any]) -> Dialect:
        place, dialect = self._place.at("csv"), Dialect(**written)
        for rule in dialect_rules(dialect):
            place.wrong(rule)
        return dialect

    # --- blocks -----------------------------------------------------------------------------

    def _read_block(self, raw: object, number: int) -> None:
        place = self._place.at(f"rows {number}")
        taken = place.taken(raw, _ROWS)
        name = taken.get("name") or taken.get("table", str(number))
        place = self._place.at(f"rows {name}")
        named = str(taken.get("table"))
        if named not in self._catalog:
            known = [table.name for table in self._catalog.tables if writable(table)]
            place.wrong(f"no such table: {named}{_close(named, known)}")
            return
        if name in self._blocks:
            place.wrong("a second block of this name; give each a `name` of its own")
        table = self._catalog.table(named)
        columns = taken.get("columns", {})
        fields = [self._field(table, key, value, place) for key, value in columns.items()]
        block = Block(
            name=name,
            table=table,
            place=sum(other.table.name == table.name for other in self._blocks.values()),
            fields=tuple(field for field in fields if field is not None),
            key=tuple(map(str, taken.get("key", ()))),
            when=self._condition(taken["when"], place) if "when" in taken else None,
            create=taken.get("create", True),
            optional=taken.get("optional", False),
            identity=tuple(map(str, taken.get("identity", ()))),
        )
        for rule in block_rules(block):
            place.wrong(rule)
        self._blocks[name] = block

    def _field(self, table: Table, name: str, raw: object, place: _Place) -> Field | None:
        place = place.at(f"column {name}")
        column = _column(table, name)
        if column is None:
            wrong = "the store fills it in itself" if name == "site_id" else "no such column"
            place.wrong(f"{wrong}{_close(name, table.names)}")
            return None
        taken = place.taken(
            {"column": raw} if isinstance(raw, str) else raw, _FIELD | _READING | _OF_COLUMN
        )
        keep = taken.get("keep", "first")
        if not place.one_of("keep", keep, [*Keep]):
            keep = "first"
        source = self._source(column, taken, place)
        if source is None:
            return None
        return Field(
            column=column,
            source=source,
            keep=Keep(keep),
            when=self._condition(taken["when"], place) if "when" in taken else None,
            otherwise=_fitting(column, taken.get("otherwise"), place) if "when" in taken else None,
        )

    def _source(self, column: Column, taken: dict[str, Any], place: _Place) -> Source | None:
        given = [key for key in _SOURCES if key in taken]
        if len(given) != 1:
            place.wrong(f"exactly one of {', '.join(_SOURCES)} is expected, not {len(given)}")
            return None
        (kind,) = given
        if kind == "column":
            return FromText(taken["column"], self._reading(taken, place, column))
        if kind in ("constant", "site"):
            return Constant(_fitting(column, taken.get("constant", self._site), place))
        if kind == "number" and place.one_of("number", taken["number"], ["row", "line"]):
            return Counter(taken["number"])
        if kind == "row" and taken["row"] not in self._blocks:
            place.wrong(f"row = {taken['row']!r}: no block above has this name")
        if kind == "row" and column.type.kind is not Kind.UUID:
            place.wrong(f"row: the column takes {column.type}, not the id of a row")
        return RowOf(taken["row"]) if kind == "row" else None

    def _condition(self, raw: object, place: _Place) -> Condition | None:
        taken = place.at("when").taken(raw, _WHEN)
        given = [key for key in ("is", "is_not") if key in taken]
        if "column" not in taken or len(given) != 1:
            place.wrong('when = { column = "…", is = ["…"] } is expected, or is_not')
            return None
        texts = taken[given[0]]
        texts = [texts] if isinstance(texts, str) else texts
        return Condition(taken["column"], frozenset(map(str, texts)), given[0] == "is_not")

    def _reading(
        self, taken: dict[str, Any], place: _Place, column: Column | None = None
    ) -> Reading:
        """Return how texts are read: the keys given, over the defaults of the file."""
        plain: dict[str, Any] = {}
        for key in taken.keys() & READERS.keys():
            try:
                plain[key] = READERS[key](taken[key])
            except ValueError as error:
                place.wrong(f"{key} = {taken[key]!r}: {error}")
        reading = replace(self._defaults, **plain)
        if column is not None:
            for rule in reading_rules(column, reading):
                place.wrong(rule)
        return reading


def _fitting(column: Column, value: object, place: _Place) -> Any:
    try:
        return fitting(column, value)
    except InvalidValue as error:
        place.wrong(f"{value!r} does not fit the column: {error}")
        return None


def _column(table: Table, name: str) -> Column | None:
    known = {column.name: column for column in (ID, CREATED_AT, *table.columns)}
    return known.get(name)

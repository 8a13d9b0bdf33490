"""What planners write into central and two-way tables, held against the catalogue.

Pure. Values come as JSON has them and become canonical (``shared.values``); what breaks a rule is
told for all columns at once, each by its name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.canonical import sites_of
from shared.catalog import Direction, Kind
from shared.errors import SyncError
from shared.values import canonical_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.catalog import Catalog, Column, Table
    from shared.changes import Value

#: Columns that name a time zone, by their table.
ZONES: Final = {"sites": "timezone"}
#: What the sync itself tells: nobody plans it, and a review is decided at ``/v1/conflicts``.
_OF_THE_SYNC: Final = "sync_"


class UnknownPlan(SyncError):
    """There is no such table that planners read and write."""


class OnlyAdded(SyncError):
    """Rows of the table are only ever added; a correction is a new row."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A column with the rule that its value breaks."""

    column: str
    rule: str


class BadRow(SyncError):
    """The row breaks rules of the catalogue."""

    def __init__(self, *broken: Broken) -> None:
        super().__init__("; ".join(f"{each.column}: {each.rule}" for each in broken[:3]))
        self.broken = broken


def planned_tables(catalog: Catalog) -> tuple[Table, ...]:
    """Return the tables of which planners read and write rows: central and two-way ones."""
    return tuple(
        table
        for table in catalog.tables
        if table.direction is not Direction.UP and not table.name.startswith(_OF_THE_SYNC)
    )


def planned_table(catalog: Catalog, name: str) -> Table:
    """Return the table of that name; raise UnknownPlan where planners have none such."""
    for table in planned_tables(catalog):
        if table.name == name:
            return table
    raise UnknownPlan(f"no table {name[:40]} of central or two-way rows; see /v1/tables")


def check_changeable(table: Table) -> None:
    """Raise OnlyAdded where rows of a table never change."""
    if table.append_only:
        raise OnlyAdded(f"rows of {table.name} are only ever added; a correction is a new row")


def whole(table: Table, given: Mapping[str, Any]) -> dict[str, Value]:
    """Return a whole row, what is left out at its default; raise BadRow."""
    found, broken = _read(table, given)
    for column in _writable(table):
        if column.name not in given:
            found[column.name] = column.default
            if column.default is None and not column.nullable:
                broken.append(Broken(column.name, "a value is required"))
    return _unless(broken, found)


def changes(
    table: Table, given: Mapping[str, Any], before: Mapping[str, Value]
) -> dict[str, Value]:
    """Return what of a row becomes different by these values; raise BadRow.

    A state of a lattice never goes back: a site would refuse it, and hold another row than we do.
    """
    found, broken = _read(table, given)
    for column in table.lattice_columns:
        name = column.name
        if name in found and column.rank(found[name]) < column.rank(before[name]):
            broken.append(Broken(name, f"never goes back ({' < '.join(column.order)})"))
    return {name: value for name, value in _unless(broken, found).items() if value != before[name]}


def _unless(broken: list[Broken], found: dict[str, Value]) -> dict[str, Value]:
    if broken:
        raise BadRow(*broken)
    return found


def _writable(table: Table) -> list[Column]:
    return [column for column in table.columns if not column.writer]


def _read(table: Table, given: Mapping[str, Any]) -> tuple[dict[str, Value], list[Broken]]:
    """Return the canonical values of what is right, and what is wrong."""
    found: dict[str, Value] = {}
    broken: list[Broken] = []
    for name, value in given.items():
        if name not in table.names:
            broken.append(Broken(name, f"table {table.name} has no such column to write"))
        elif table.column(name).writer:
            broken.append(Broken(name, "is filled in with who writes"))
        else:
            rule = _put(table.column(name), value, found)
            broken += [Broken(name, rule)] if rule else []
    return found, broken


def _put(column: Column, value: Any, found: dict[str, Value]) -> str | None:
    """Put a value's canonical form into what was found; return the rule that it breaks."""
    kind = column.type.kind
    if isinstance(value, bool) and kind not in (Kind.BOOLEAN, Kind.JSON):
        return f"a value of the kind {kind} is expected, not true or false"
    if kind is Kind.BYTES and isinstance(value, str):
        try:
            value = bytes.fromhex(value)
        except ValueError:
            return "bytes are written as hexadecimal digits"
    (form,), problems = canonical_column(column, [value])
    found[column.name] = form
    return problems[0][1].rule if problems else None


def named_sites(table: Table, values: Mapping[str, Value], site: str) -> frozenset[str]:
    """Return the sites that get a row by what it says, ``*`` among them where all do."""
    return sites_of(table, [values.get(name) for name in table.names], site)


def told(table: Table, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return a row's values as JSON has them: decimals and JSON as text, sets as lists."""
    return {name: _told(table.column(name).type.kind, value) for name, value in values.items()}


def _told(kind: Kind, value: Value) -> Any:
    if value is None:
        return None
    if kind is Kind.BOOLEAN:
        return bool(value)
    if kind is Kind.SET:
        return json.loads(str(value))
    return value.hex() if isinstance(value, bytes) else value

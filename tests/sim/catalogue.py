"""The tables of the campaign: few, small, and with a column of every policy.

``OLD`` and ``NEW`` are one release apart: a column is new, and two were called otherwise. Ends
of either may meet.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from shared.catalog import Catalog, Column, ColumnType, Direction, Group, Kind, Policy, Table
from shared.catalog_file import load_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

SITES: Final = ("NORTH", "SOUTH", "WEST")
STATES: Final = ("planned", "released", "running", "done")
#: The largest counter; what both ends count together may go beyond it.
MADE_MAX: Final = 60
#: Facts are checked at the centre alone.
GOOD_MAX: Final = 100

_SYSTEM: Final = ("sync_conflicts", "sync_reviews", "sync_parked")


def _column(
    name: str, kind: Kind = Kind.TEXT, policy: Policy = Policy.LAST_WRITE, **more: object
) -> Column:
    high = more.pop("high", None)
    low = more.pop("low", None)
    type_ = ColumnType(
        kind,
        length=40 if kind is Kind.TEXT else None,
        low=None if low is None else Decimal(str(low)),
        high=None if high is None else Decimal(str(high)),
    )
    return Column(name, type_, policy=policy, **more)  # type: ignore[arg-type]


ORDERS: Final = Table(
    "orders",
    Direction.BOTH,
    columns=(
        _column("note"),
        _column("due", policy=Policy.CENTRAL),
        _column("shelf", policy=Policy.SITE),
        _column(
            "made", Kind.INTEGER, Policy.SUM, default=0, high=MADE_MAX, renamed_from=("counted",)
        ),
        _column("severity", Kind.INTEGER, Policy.MAX),
        _column("severity_by"),
        _column("earliest", Kind.INTEGER, Policy.MIN),
        _column("state", policy=Policy.LATTICE, order=STATES, default=STATES[0]),
        _column("holds", Kind.SET, Policy.ADD_REMOVE_SET, default="[]"),
        _column("dose", Kind.INTEGER, Policy.REVIEW, safe="smaller"),
        _column("worker"),
        _column("seat", Kind.INTEGER),
        _column("code", policy=Policy.SITE),
        _column("changed_by", writer=True, renamed_from=("worker_no",)),
        _column("extra", since=2),
    ),
    partitioned=True,
    natural_keys=(("code",),),
    groups=(
        Group("place", ("worker", "seat"), Policy.LAST_WRITE),
        Group("alarm", ("severity", "severity_by"), Policy.MAX),
    ),
    relax_by="releases",
)
STEPS: Final = Table(
    "steps",
    Direction.BOTH,
    columns=(
        _column("order_id", Kind.UUID, Policy.CENTRAL, references="orders", enforced=True),
        _column("seq", Kind.INTEGER, Policy.SITE),
        _column("note"),
        _column("limit_low", Kind.INTEGER, Policy.REVIEW, safe="keep_site"),
    ),
    natural_keys=(("order_id", "seq"),),
)
PEOPLE: Final = Table(
    "people",
    Direction.BOTH,
    columns=(
        _column("home", policy=Policy.CENTRAL),
        _column("sites", Kind.SET, Policy.CENTRAL, default="[]"),
        _column("name"),
        _column("phone", policy=Policy.SITE),
    ),
    share=("home", "sites"),
)
PARTS: Final = Table(
    "parts",
    Direction.DOWN,
    columns=(_column("code", policy=Policy.CENTRAL), _column("title", policy=Policy.CENTRAL)),
    natural_keys=(("code",),),
)
REPORTS: Final = Table(
    "reports",
    Direction.UP,
    columns=(
        _column("order_id", Kind.UUID, Policy.APPEND_ONLY, references="orders", enforced=True),
        _column("good", Kind.INTEGER, Policy.APPEND_ONLY, low=0, high=GOOD_MAX),
    ),
    append_only=True,
    partitioned=True,
)
RELEASES: Final = Table(
    "releases",
    Direction.UP,
    columns=(
        _column("order_id", Kind.UUID, Policy.APPEND_ONLY, references="orders"),
        _column("from_state", policy=Policy.APPEND_ONLY),
        _column("to_state", policy=Policy.APPEND_ONLY),
    ),
    append_only=True,
)
OWN: Final = (ORDERS, STEPS, PEOPLE, PARTS, REPORTS, RELEASES)
NEW: Final = Catalog(2, (*OWN, *(load_catalog().table(name) for name in _SYSTEM)))


def _old() -> Catalog:
    tables = [
        replace(table, columns=tuple(map(_as_old, (c for c in table.columns if c.since < 2))))
        for table in (replace(each, groups=()) for each in NEW.tables)
    ]
    given = tuple(
        replace(table, groups=tuple(g for g in table.groups if set(g.columns) <= set(table.names)))
        for table in tables
    )
    groups = {table.name: table.groups for table in OWN}
    return Catalog(
        1,
        tuple(
            replace(
                table, groups=tuple(g for g in groups.get(table.name, ()) if len(g.columns) > 1)
            )
            for table in given
        ),
    )


def _as_old(column: Column) -> Column:
    name = (*column.renamed_from, column.name)[0]
    return replace(column, name=name, renamed_from=())


OLD: Final = _old()
_NAMES: Final = {
    (table.name, name): {column.name, *column.renamed_from}
    for table in OWN
    for column in table.columns
    for name in (column.name, *column.renamed_from)
}


def as_in(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of either release by the names that a table has for their columns."""
    names = {alias: c for c in table.names for alias in _NAMES.get((table.name, c), ())}
    return {names.get(name, name): value for name, value in values.items()}


#: The month in which all rows of the campaign are made.
CREATED: Final = "2026-11-20T08:00:00.000Z"

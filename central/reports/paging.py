"""A statement with its parameters, and the page of it that is asked for: by keys, never by offset.

Pure. So an answer can be read on while rows are added, and no page is slower than the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from central.reports.question import BadQuestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def literals(sites: Iterable[str]) -> str:
    """Return names of sites as a list of SQL literals: they are letters, digits and _ alone."""
    return ", ".join("'{}'".format(site.replace("'", "''").replace("%", "%%")) for site in sites)


@dataclass(frozen=True, slots=True)
class Place:
    """A column that rows are sorted by, nulls last; all of them tell each row from any other."""

    column: str
    #: Its type, as SQL names it.
    kind: str = "text"
    descending: bool = False

    @property
    def sorted_by(self) -> str:
        """Return it as ``ORDER BY`` takes it."""
        return f't."{self.column}"{" DESC" if self.descending else ""} NULLS LAST'


@dataclass(slots=True)
class Statement:
    """Text, its parameters by name, and what it gives."""

    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    #: What its rows are taken from, as ``t``, and what follows that.
    source: str = ""
    ending: str = ""

    def take(self, value: Any) -> str:
        """Add a parameter, and return its place in the text."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"%({name})s"

    def page(
        self, rows: str, *, after: Sequence[object], limit: int | None, is_sorted: bool = True
    ) -> Statement:
        """Make it give the rows of a query after a place, one more than a limit; return it.

        All of them without a limit; only then they may be left as they come.
        """
        beyond = f" WHERE {self._beyond(after)}" if after else ""
        self.source = f"({rows}) AS t{beyond}"
        order = ", ".join(place.sorted_by for place in self.places) or "1"
        self.ending = f" ORDER BY {order}" if is_sorted else ""
        if limit is not None:
            self.ending += f" LIMIT {self.take(limit + 1)}"
        self.text = self.giving(", ".join(f't."{name}"' for name in self.columns))
        return self

    def giving(self, listed: str) -> str:
        """Return the text that gives what is made of the columns of ``t``, row for row.

        It is made before rows are sorted, so several processes of PostgreSQL may share the work.
        """
        return f"SELECT {listed} FROM {self.source}{self.ending}"

    def counting(self) -> str:
        """Return the text that gives how many rows there are, whatever the limit."""
        return f"SELECT count(*) FROM {self.source}"

    def _beyond(self, after: Sequence[object]) -> str:
        """Return the condition of rows after the one that has these values in the places."""
        if len(after) != len(self.places) or not all(map(_fits, self.places, after)):
            raise BadQuestion("cursor", "as an answer's `next` gave it")
        alternatives: list[str] = []
        same: list[str] = []
        for place, value in zip(self.places, after, strict=True):
            given, column = f"{self.take(value)}::{place.kind}", f'"{place.column}"'
            if value is not None:
                sign = "<" if place.descending else ">"
                later = f"({column} {sign} {given} OR {column} IS NULL)"
                alternatives.append(" AND ".join([*same, later]))
            same.append(f"{column} IS NOT DISTINCT FROM {given}")
        return " OR ".join(f"({each})" for each in alternatives) or "false"


def _fits(place: Place, value: object) -> bool:
    """Tell whether PostgreSQL takes a value for one of the place's type."""
    if value is None:
        return True
    text = str(value)
    try:
        if place.kind == "numeric":
            return Decimal(text).is_finite()
        if place.kind == "uuid":
            return str(UUID(text)) == text
        if place.kind == "timestamptz":
            return datetime.fromisoformat(text).tzinfo is not None
    except (ArithmeticError, ValueError):
        return False
    return "\x00" not in text

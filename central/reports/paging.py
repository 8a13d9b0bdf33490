"""A statement with its parameters, and the page of it that is asked for: by keys, never by offset.

Pure. So an answer can be read on while rows are added, and no page is slower than the first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
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
        if len(after) != len(self.places):
            raise BadQuestion("cursor", _AS_GIVEN)
        alternatives: list[str] = []
        same: list[str] = []
        for place, value in zip(self.places, map(_taken, self.places, after), strict=True):
            given, column = f"{self.take(value)}::{place.kind}", f'"{place.column}"'
            if value is not None:
                sign = "<" if place.descending else ">"
                later = f"({column} {sign} {given} OR {column} IS NULL)"
                alternatives.append(" AND ".join([*same, later]))
            same.append(f"{column} IS NOT DISTINCT FROM {given}")
        return " OR ".join(f"({each})" for each in alternatives) or "false"


_AS_GIVEN: Final = "as an answer's `next` gave it"
#: As `next` writes numbers: digits of no other script, and no exponent that makes millions of them.
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,200}(\.[0-9]{1,200})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_EXPONENT_MAX: Final = 400


def _taken(place: Place, value: object) -> str | None:
    """Return a value as PostgreSQL takes it for one of the place's type; raise BadQuestion.

    It is written anew from what was read of it: Python reads forms that PostgreSQL refuses.
    """
    if value is None:
        return None
    text = str(value)
    try:
        match place.kind:
            case "numeric":
                return _number(text)
            case "uuid":
                return str(UUID(text))
            case "timestamptz":
                return _instant(text)
            case _:
                text.encode()  # no half of a character
    except (ArithmeticError, ValueError):
        raise BadQuestion("cursor", _AS_GIVEN) from None
    if "\x00" in text:
        raise BadQuestion("cursor", _AS_GIVEN)
    return text


def _number(text: str) -> str:
    number = Decimal(text) if _NUMBER.fullmatch(text) else None
    if number is None or abs(number.adjusted()) > _EXPONENT_MAX:
        raise ValueError
    return str(number)


def _instant(text: str) -> str:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant.astimezone(UTC).isoformat()

"""What is asked of a report: read from text, and refused with the field and the rule it breaks.

Pure. Nothing of what a person wrote becomes SQL: names are looked up, values are parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from central.reports.dimensions import DIMENSIONS
from central.reports.kpis import (
    DISTINCTS,
    INTERVAL_MEASURES,
    KPIS,
    MACHINE_MEASURES,
    MEASURES,
    QTY_ORDERED,
)
from shared.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

#: Rows of an answer, and where none is asked for.
ROWS_MAX: Final = 10_000
ROWS_USUAL: Final = 1_000
#: Days between from and to, and values of one filter.
DAYS_MAX: Final = 3_700
VALUES_MAX: Final = 50
VALUE_CHARS_MAX: Final = 120
GROUPS_MAX: Final = 5


class BadQuestion(Fatal):
    """The question breaks a rule."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field, self.rule = field, rule


class Basis(StrEnum):
    """When a report counts."""

    END = "end"  #: wholly where it ended
    START = "start"  #: wholly where it started
    CLIP = "clip"  #: its minutes where they were; its pieces where it ended


class By(StrEnum):
    """What tells two things of one name apart."""

    CODE = "code"  #: nothing: machine 4 of two sites is one line
    ID = "id"  #: their ids


class Due(StrEnum):
    """Which orders by their due dates."""

    THEN = "then"  #: those that are due in the window
    OR_LATE = "or_late"  #: and those that were due before, and are late and not finished yet
    NEVER = "never"  #: those without a due date


class Match(StrEnum):
    """How a filter's values are compared."""

    IS = "is"
    IS_NOT = "not"
    CONTAINS = "contains"


@dataclass(frozen=True, slots=True)
class Filter:
    """Values that a dimension must have, or must not."""

    dimension: str
    match: Match
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A column that the answer is sorted by."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """From when, inclusive, until when, exclusive: business days of each site, or instants."""

    start: date | datetime | None = None
    end: date | datetime | None = None

    @property
    def by_instant(self) -> bool:
        """Tell whether it is bounded by instants."""
        return any(isinstance(each, datetime) for each in (self.start, self.end))


@dataclass(frozen=True, slots=True)
class Stale:
    """Keys, each with its site, of which what is kept says nothing: their facts are read."""

    #: Machines, and the business days on which their time is not known otherwise.
    busy: tuple[tuple[str, str, date], ...] = ()
    #: Machines, and the days of UTC in which their rates change.
    rated: tuple[tuple[str, str, date], ...] = ()
    orders: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A moment at which orders are judged, and until when each of the sites was complete then."""

    at: datetime
    #: In ms since 1970, in the order of the sites; None of one that was never heard.
    through_ms: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question on production."""

    sites: tuple[str, ...]
    window: Window = Window()
    bucket: str | None = None
    group_by: tuple[str, ...] = ()
    measures: tuple[str, ...] = ("reports", "qty_good", "qty_scrap", "qty_mrb")
    filters: tuple[Filter, ...] = ()
    sort: tuple[Order, ...] = ()
    by: By = By.CODE
    basis: Basis = Basis.END
    #: The measure that shares of all are told of, in the order of the answer.
    share_of: str | None = None
    #: A measure that must not be 0.
    nonzero: str | None = None
    #: It is about reports of production that were made, and their quantities and minutes.
    is_of_reports: bool = False
    #: It is about states of machines, by the events of their states.
    is_of_states: bool = False
    #: It is about the lives of orders, from their first start to their last end.
    is_of_lives: bool = False
    #: It is about orders by their due dates, of which the clock tells whether they are late.
    is_of_due: bool = False
    due: Due = Due.THEN
    #: At which moment they are judged; None for that of the answer.
    judged: Judged | None = None
    #: By what was known at that moment; None for all that is known.
    as_known_at: datetime | None = None
    #: Rows of a page; None for all rows at once.
    limit: int | None = ROWS_USUAL
    #: First days of the months of created_at that alone can hold what is asked for; None for all.
    months: tuple[date, ...] | None = None
    #: What is read from the facts, where what is kept of them is read; None to read facts alone.
    stale: Stale | None = None
    #: Months of sites that are in the archive, of those whose facts are to be read.
    archived: int = 0
    #: Where the answer goes on: the values of the columns that it is sorted by.
    after: tuple[object, ...] = field(default=())

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of the answer, in order."""
        named = (*((self.bucket,) if self.bucket else ()), *self.group_by)
        shares = ("share", "cum_share") if self.share_of else ()
        return (*named, *self.measures, *shares)

    def sorted(self, sort: tuple[Order, ...]) -> Question:
        """Return it with another order of its answer."""
        return replace(self, sort=sort)


#: The first and last moments of reports.
MOMENTS: Final = {
    "first_start": ("min", "started_at"),
    "last_start": ("max", "started_at"),
    "first_end": ("min", "ended_at"),
    "last_end": ("max", "ended_at"),
}


def names(field_name: str, text: str, known: Iterable[str], *, most: int = 40) -> tuple[str, ...]:
    """Return names that are parted by commas, each of which must be known and none twice."""
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    allowed = tuple(known)
    for each in found:
        if each not in allowed:
            raise BadQuestion(field_name, f"one of {', '.join(allowed)}")
    if len(set(found)) < len(found):
        raise BadQuestion(field_name, "no name twice")
    if len(found) > most:
        raise BadQuestion(field_name, f"at most {most} names")
    return found


_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def moment(field_name: str, text: str) -> date | datetime:
    """Return a business day, or an instant with its offset from UTC."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (
        ValueError,
        OverflowError,
    ):  # the first and last hours that there are may be none in UTC
        rule = "a day such as 2026-11-02, or an instant such as 2026-11-02T06:00:00Z"
        raise BadQuestion(field_name, rule) from None
    raise BadQuestion(field_name, "an instant has Z or an offset such as +01:00 at its end")


def window(start: str | None, end: str | None) -> Window:
    """Return from when until when; either may be open."""
    since = moment("from", start) if start else None
    until = moment("to", end) if end else None
    if since is not None and until is not None:
        if isinstance(since, datetime) != isinstance(until, datetime):
            raise BadQuestion("to", "a day where from is one, an instant where from is one")
        if until <= since:
            raise BadQuestion("to", "later than from")
        if until - since > timedelta(days=DAYS_MAX):
            raise BadQuestion("to", f"at most {DAYS_MAX} days after from")
    return Window(since, until)


def filters(
    given: Mapping[str, Sequence[str]], known: Collection[str] = DIMENSIONS.keys()
) -> tuple[Filter, ...]:
    """Return the filters of parameters such as ``machine`` or ``segment.contains``."""
    found = []
    for name, texts in given.items():
        dimension, _, how = name.partition(".")
        if dimension not in known:
            raise BadQuestion(name, "no parameter of this report")
        if how not in ("", Match.CONTAINS, Match.IS_NOT):
            raise BadQuestion(name, f"{dimension}, {dimension}.not or {dimension}.contains")
        values = tuple(text for text in texts if text != "")
        if not values or len(values) > VALUES_MAX:
            raise BadQuestion(name, f"1 to {VALUES_MAX} values, each in a parameter of its own")
        if any(len(value) > VALUE_CHARS_MAX or "\x00" in value for value in values):
            raise BadQuestion(name, f"at most {VALUE_CHARS_MAX} characters, and no zero byte")
        found.append(Filter(dimension, Match(how or Match.IS), values))
    return tuple(found)


def orders(text: str, columns: Sequence[str]) -> tuple[Order, ...]:
    """Return what to sort by: columns of the answer, each with ``-`` before it to go down."""
    found = [each.strip() for each in text.split(",") if each.strip()]
    if "-" in found:
        raise BadQuestion("sort", "a column's name after the -")
    plain = names("sort", ",".join(each.removeprefix("-") for each in found), columns)
    return tuple(Order(name, each.startswith("-")) for name, each in zip(plain, found, strict=True))


def known_measures() -> tuple[str, ...]:
    """Return the names of everything that can be counted."""
    return (
        *MEASURES, *DISTINCTS, QTY_ORDERED, *MOMENTS, *KPIS, *INTERVAL_MEASURES,
        *MACHINE_MEASURES,
    )  # fmt: skip


def one_name(field_name: str, text: str | None, known: Iterable[str]) -> str | None:
    """Return a name that must be known; None where none is given."""
    found = names(field_name, text or "", known, most=1)
    return found[0] if found else None


def counted(field_name: str, text: str | None, measures: Iterable[str]) -> str | None:
    """Return a measure of the answer that is a number: an instant is none."""
    found = one_name(field_name, text, measures)
    if found in MOMENTS:
        raise BadQuestion(field_name, f"a number: {found} is an instant")
    return found


def summed(field_name: str, text: str | None, measures: Iterable[str]) -> str | None:
    """Return a measure of the answer that has shares: a ratio is none of a sum, as it is one."""
    found = counted(field_name, text, measures)
    if found in KPIS:
        raise BadQuestion(field_name, f"a measure that adds up: {found} is a ratio")
    return found


def instants(field_name: str, texts: Sequence[str]) -> tuple[datetime, ...]:
    """Return instants."""
    found = tuple(moment(field_name, text) for text in texts)
    if not all(isinstance(each, datetime) for each in found):
        raise BadQuestion(field_name, "an instant such as 2026-11-02T06:00:00Z, and no day")
    return tuple(each for each in found if isinstance(each, datetime))

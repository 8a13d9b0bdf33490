"""How the text of a CSV field becomes the value of a column; pure.

Nothing is guessed: a date has a format and a zone, a number its decimal point, a code its meaning.
What does not fit is refused with the rule that it breaks, and the line goes to the rejects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from shared.catalog import Kind
from shared.errors import InvalidValue
from shared.values import canonical, rule_broken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.catalog import Column
    from shared.changes import Value

#: Stands for "not given" where null is a value that may be given.
ABSENT: Final = object()

#: Day 0 of spreadsheets and OLE dates, as CSV exports write a duration of a day or more.
SPREADSHEET_EPOCH: Final = datetime(1899, 12, 30, tzinfo=UTC)
#: A longer one is not a duration that a spreadsheet turned into a date but a date.
_SPREADSHEET_DAYS_MAX: Final = 366

NUMBERS: Final = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)
UNITS_S: Final = {"s": 1, "min": 60, "h": 3600}
DURATIONS: Final = {
    "H:MM": re.compile(r"(?P<h>[0-9]{1,6}):(?P<m>[0-5][0-9])", re.ASCII),
    "H:MM:SS": re.compile(r"(?P<h>[0-9]{1,6}):(?P<m>[0-5][0-9]):(?P<s>[0-5][0-9])", re.ASCII),
    "M:SS": re.compile(r"(?P<m>[0-9]{1,6}):(?P<s>[0-5][0-9])", re.ASCII),
}
FORMATS: Final = ("iso", "epoch_s", "epoch_ms")

_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation])
_DIGITS: Final = {
    "%Y": "([0-9]{4})",
    "%m": "([0-9]{1,2})",
    "%d": "([0-9]{1,2})",
    "%H": "([0-9]{1,2})",
    "%M": "([0-9]{1,2})",
    "%S": "([0-9]{1,2})",
    "%f": "([0-9]{1,9})",
}
_SPREADSHEET_DATE: Final = re.compile(
    r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})[ T]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a map says of the texts of one column."""

    #: Texts with a meaning of their own.
    codes: Mapping[str, Any] = field(default_factory=dict)
    #: (pattern, value): the first that is found in the text counts.
    patterns: tuple[tuple[re.Pattern[str], Any], ...] = ()
    #: The value of a text that is in neither; without it the text is refused.
    other: Any = ABSENT
    #: Texts that stand for "no value".
    nulls: tuple[str, ...] = ("",)
    strip: bool = True
    #: Of timestamps and dates: as strptime takes it, or one of ``FORMATS``.
    format: str | None = None
    zone: tzinfo = UTC
    #: What a local time means that the clocks showed twice: earlier, later, or reject.
    ambiguous: str = "reject"
    #: One of ``DURATIONS``: the text is a duration, the value a number of ``unit``.
    duration: str | None = None
    unit: str = "s"
    #: A spreadsheet has written durations of a day or more as dates around 1900.
    spreadsheet_dates: bool = False
    decimal_point: str = "."
    thousands: str = ""
    #: Factor for numbers.
    times: Decimal | None = None


def reader_of(column: Column, reading: Reading) -> Callable[[str], Value]:
    """Return the function from text to canonical value; it raises InvalidValue with the rule.

    A text that stands for "no value" gives null, whether the column takes it or not.
    """
    parse = _parser(column, reading)

    def read(text: str) -> Value:
        if reading.strip:
            text = text.strip()
        return _form(column, _meaning(reading, text, parse))

    return read


def fitting(column: Column, value: object) -> Value:
    """Return a value as the column takes it; null becomes the default where null is not allowed."""
    form = _form(column, value)
    return form if form is not None or column.nullable else instead_of_null(column)


def instead_of_null(column: Column) -> Value:
    """Return the default of a column that takes no null, or raise InvalidValue."""
    if column.default is None:
        raise InvalidValue("empty, and the column needs a value")
    return column.default


def _form(column: Column, value: object) -> Value:
    form = canonical(column.type, value)
    if form is not None and column.allowed and (rule := rule_broken(column, form)):
        raise InvalidValue(rule)
    return form


def _meaning(reading: Reading, text: str, parse: Callable[[str], object]) -> object:
    if text in reading.codes:
        return reading.codes[text]
    if text in reading.nulls:
        return None
    for pattern, value in reading.patterns:
        if pattern.search(text):
            return value
    if reading.other is not ABSENT:
        return reading.other
    if reading.codes or reading.patterns:
        known = ", ".join(map(repr, reading.codes)) or "any pattern"
        raise InvalidValue(f"the map has no meaning for it (known: {known})")
    return parse(text)


def _parser(column: Column, reading: Reading) -> Callable[[str], object]:
    """Return how a text without a meaning of its own is read."""
    kind = column.type.kind
    if reading.duration:
        return lambda text: _duration(text, reading)
    if kind in NUMBERS:
        return lambda text: _number(text, reading)
    if kind in (Kind.TIMESTAMP, Kind.DATE) and reading.format:
        instant = _instants(reading.format)
        if kind is Kind.DATE:
            return lambda text: instant(text).date()
        return lambda text: _utc(instant(text), reading)
    return lambda text: text


# --- numbers ---------------------------------------------------------------------------------


def _number(text: str, reading: Reading) -> Decimal | str:
    whole, point, fraction = text.partition(reading.decimal_point)
    if reading.thousands and reading.thousands in whole:
        groups = whole.lstrip("+-").split(reading.thousands)
        if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
            raise InvalidValue(f"{reading.thousands!r} does not part groups of three digits")
        whole = whole.replace(reading.thousands, "")
    if reading.decimal_point != "." and "." in whole + fraction:
        raise InvalidValue(f"the decimal point is {reading.decimal_point!r}, not '.'")
    plain = f"{whole}.{fraction}" if point else whole
    return plain if reading.times is None else _exact(_decimal(plain), reading.times)


def _decimal(text: str) -> Decimal:
    if not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", text, re.ASCII):
        raise InvalidValue("a number is expected")
    return Decimal(text)


def _exact(number: Decimal, times: Decimal) -> Decimal:
    try:
        return _EXACT.multiply(number, times)
    except ArithmeticError:
        raise InvalidValue("more digits than any column holds") from None


def _duration(text: str, reading: Reading) -> Decimal:
    assert reading.duration
    match = DURATIONS[reading.duration].fullmatch(text)
    if match:
        parts = {key: int(number) for key, number in match.groupdict().items()}
        seconds = parts.get("h", 0) * 3600 + parts["m"] * 60 + parts.get("s", 0)
    elif reading.spreadsheet_dates:
        seconds = _spreadsheet_seconds(text)
    else:
        raise InvalidValue(f"a duration such as {reading.duration} is expected")
    try:
        amount = _EXACT.divide(Decimal(seconds), Decimal(UNITS_S[reading.unit]))
    except Inexact:
        raise InvalidValue(f"{seconds} s are no exact number of {reading.unit}") from None
    return amount if reading.times is None else _exact(amount, reading.times)


def _spreadsheet_seconds(text: str) -> int:
    """Return the duration that a spreadsheet has written as a date around 1900."""
    match = _SPREADSHEET_DATE.fullmatch(text)
    if not match:
        raise InvalidValue("neither a duration nor one that a spreadsheet made a date of")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        date = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise InvalidValue(f"not a date: {error}") from None
    span = date - SPREADSHEET_EPOCH
    if not timedelta(0) <= span <= timedelta(days=_SPREADSHEET_DAYS_MAX):
        raise InvalidValue("a date, where a duration is expected")
    return int(span.total_seconds())


# --- instants --------------------------------------------------------------------------------


def _instants(format_: str) -> Callable[[str], datetime]:
    """Return how texts of this format are read; without an offset they stay without a zone."""
    if format_ == "iso":
        return _iso
    if format_ in ("epoch_s", "epoch_ms"):
        unit = 1000 if format_ == "epoch_s" else 1
        return lambda text: _since_1970(text, unit)
    directives = re.findall(r"%.", format_)
    if set(directives) <= _DIGITS.keys() and len(set(directives)) == len(directives):
        return _by_digits(format_)
    return lambda text: _strptime(text, format_)


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue("a date and time such as 2012-01-02T03:04:05 is expected") from None


def _since_1970(text: str, ms: int) -> datetime:
    try:
        span = timedelta(milliseconds=int(_exact(_decimal(text), Decimal(ms))))
        return datetime(1970, 1, 1, tzinfo=UTC) + span
    except OverflowError:
        raise InvalidValue("beyond the year 9999") from None


def _strptime(text: str, format_: str) -> datetime:
    try:
        return datetime.strptime(text, format_)  # noqa: DTZ007  (the map gives the zone)
    except ValueError:
        raise InvalidValue(f"not a date of the form {format_}") from None


def _by_digits(format_: str) -> Callable[[str], datetime]:
    """Read formats of digits only, several times as fast as strptime does."""
    parts = re.split(r"(%.)", format_)
    matches = re.compile("".join(_DIGITS.get(part, re.escape(part)) for part in parts)).fullmatch
    found = [part for part in parts if part in _DIGITS]
    # Places among the groups; one past the last is null, so that the default stands.
    year, month, day, hour, minute, second, fraction = (
        found.index(each) if each in found else len(found) for each in _DIGITS
    )

    def read(text: str) -> datetime:
        match = matches(text)
        if not match:
            raise InvalidValue(f"not a date of the form {format_}")
        group = (*match.groups(), None)
        try:
            return datetime(  # noqa: DTZ001  (the map gives the zone)
                int(group[year] or 1900), int(group[month] or 1), int(group[day] or 1),
                int(group[hour] or 0), int(group[minute] or 0), int(group[second] or 0),
                int(f"{group[fraction] or '0':0<6}"[:6]),
            )  # fmt: skip
        except ValueError as error:
            raise InvalidValue(f"not a date: {error}") from None

    return read


def _utc(moment: datetime, reading: Reading) -> str:
    """Return the instant in canonical form; refuse a time that the zone's clocks never showed."""
    try:
        if moment.tzinfo is None:
            moment = moment if reading.zone is UTC else _of_zone(moment, reading)
        if moment.tzinfo not in (None, UTC):
            moment = moment.astimezone(UTC)
    except OverflowError:
        raise InvalidValue("before the year 1 or beyond the year 9999 in UTC") from None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _of_zone(local: datetime, reading: Reading) -> datetime:
    first = local.replace(tzinfo=reading.zone, fold=0)
    second = local.replace(tzinfo=reading.zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(reading.zone).replace(tzinfo=None) != local:
        raise InvalidValue(f"the clocks of {reading.zone} left this time out")
    if reading.ambiguous == "reject":
        raise InvalidValue(
            f"the clocks of {reading.zone} showed this time twice;"
            ' say in the map whether ambiguous = "earlier" or "later"'
        )
    return first if reading.ambiguous == "earlier" else second

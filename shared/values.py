"""One form for every value, so that contents at both ends are equal exactly when they compare so.

| kind | canonical form |
|---|---|
| uuid | text, 36 characters, lower case |
| text | text without NUL or lone surrogates |
| integer | int of 64 bits |
| decimal | text without exponent, trailing zeros or ``-0``: ``12.5``, ``0``; never rounded |
| float | finite float, ``-0.0`` written ``0.0`` |
| boolean | 0 or 1 |
| timestamp | ``2012-01-02T03:04:05.678Z``, UTC, exactly milliseconds |
| date, time | ``2012-01-02``, ``03:04`` |
| json | text as it was written |
| set | JSON array of texts, sorted, unique, compact |
| bytes | bytes |

``canonical`` takes what people and drivers write, as long as it can mean one thing only. The checks
take canonical values and say what is wrong with them, a whole column at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Final
from uuid import UUID

from shared.catalog import COMMON, Column, ColumnType, Kind, Table
from shared.changes import Value as Value
from shared.errors import InvalidValue

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 63) - 1
#: Beyond it a float no longer tells whole numbers apart.
FLOAT_WHOLE_MAX: Final = 1 << 53
#: Any decimal of this many digits survives a binary float, so it can be read back from one.
FLOAT_DIGITS: Final = 15
SHOWN_MAX: Final = 40

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_UUID_BARE = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?", re.ASCII)
_DECIMAL_LOOSE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z", re.ASCII
)
_TIMESTAMP_LOOSE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9])(:[0-5][0-9])?"
    r"(?:\.([0-9]{1,9}))? ?(?:([Zz])|([+-][0-9]{2})(?::?([0-9]{2}))?)?",
    re.ASCII,
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
_BOOLEANS: Final = {"0": 0, "1": 1, "false": 0, "true": 1, "f": 0, "t": 1}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one value, in words for the person who has to mend it."""

    column: str
    #: The value, shortened.
    value: str
    rule: str

    def __str__(self) -> str:
        """Return one line naming column, value and rule."""
        return f"{self.column} = {self.value}: {self.rule}"


def shown(value: object) -> str:
    """Return a value short enough for a message."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"


def canonical(type_: ColumnType, value: object) -> Value:
    """Return the value in its one form, or raise InvalidValue naming the rule that it breaks."""
    if value is None:
        return None
    try:
        return _READERS[type_.kind](type_, value)
    except InvalidValue:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidValue(f"not a valid {type_.kind}: {error}") from error


# --- one reader a kind -----------------------------------------------------------------------


def _uuid(_: ColumnType, value: object) -> str:
    text = str(value) if isinstance(value, UUID) else value
    if isinstance(text, str):
        if _UUID.fullmatch(text):
            return text
        if _UUID_BARE.fullmatch(text):
            return str(UUID(text))
        if _UUID.fullmatch(text.lower()):
            return text.lower()
    raise InvalidValue("a uuid is 32 hexadecimal digits, in groups of 8-4-4-4-12")


def _text(type_: ColumnType, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidValue(f"text is expected, not {type(value).__name__}")
    if _UNENCODABLE.search(value):
        raise InvalidValue("text holds no NUL and no lone surrogates")
    if type_.length is not None and len(value) > type_.length:
        raise InvalidValue(f"{len(value)} characters, at most {type_.length} are allowed")
    return value


def _integer(type_: ColumnType, value: object) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    elif isinstance(value, float) and abs(value) <= FLOAT_WHOLE_MAX and value.is_integer():
        value = int(value)
    elif isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value) if value.adjusted() < len(str(INTEGER_MAX)) else INTEGER_MAX + 1
    if not isinstance(value, int):
        raise InvalidValue("a whole number is expected")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise InvalidValue("a whole number of 64 bits is expected")
    _in_range(type_, value)
    return int(value)


def _in_range(type_: ColumnType, value: float | Decimal) -> None:
    if type_.low is not None and value < type_.low:
        raise InvalidValue(f"below the least value allowed, {type_.low:f}")
    if type_.high is not None and value > type_.high:
        raise InvalidValue(f"above the largest value allowed, {type_.high:f}")


def _decimal(type_: ColumnType, value: object) -> str:
    number = _as_decimal(value)
    precision, scale = type_.precision or 0, type_.scale or 0
    if number == 0:
        number = Decimal(0)
    elif number.adjusted() >= precision - scale:
        raise InvalidValue(f"at most {precision - scale} digits may stand before the point")
    elif _last_place(number) < -scale:
        raise InvalidValue(f"at most {scale} digits may stand after the point; it is not rounded")
    _in_range(type_, number)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_decimal(value: object) -> Decimal:
    if isinstance(value, str) and _DECIMAL_LOOSE.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, float) and isfinite(value):
        number = Decimal(repr(value))
        # A binary float with more digits may be the shadow of another decimal.
        if len(number.as_tuple().digits) <= FLOAT_DIGITS:
            return number
        raise InvalidValue(f"a binary float of more than {FLOAT_DIGITS} digits; write it as text")
    raise InvalidValue("a decimal number such as 12.5 is expected")


def _last_place(number: Decimal) -> int:
    """Return the power of ten of the last digit that is not zero."""
    _, digits, exponent = number.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return int(exponent) + zeros


def _float(type_: ColumnType, value: object) -> float:
    if isinstance(value, str) and _DECIMAL_LOOSE.fullmatch(value):
        value = float(value)
    if isinstance(value, int) and abs(value) <= FLOAT_WHOLE_MAX:
        value = float(value)
    if not isinstance(value, float):
        raise InvalidValue("a number is expected; a whole number of more than 53 bits is not exact")
    if not isfinite(value):
        raise InvalidValue("a finite number is expected: no NaN, no infinity")
    _in_range(type_, value)
    return value + 0.0


def _boolean(_: ColumnType, value: object) -> int:
    if isinstance(value, str):
        value = _BOOLEANS.get(value.lower())
    if isinstance(value, int | float) and value in (0, 1):
        return int(value)
    raise InvalidValue("0 or 1 is expected")


def _timestamp(_: ColumnType, value: object) -> str:
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        datetime.fromisoformat(value)  # the pattern lets February 30 pass
        return value
    if isinstance(value, datetime):
        value = value.isoformat()
    if not isinstance(value, str) or not (match := _TIMESTAMP_LOOSE.fullmatch(value)):
        raise InvalidValue("a timestamp such as 2012-01-02T03:04:05.678Z is expected")
    day, minute, seconds, fraction, zulu, hours, minutes = match.groups()
    if not (zulu or hours):
        # SQLite's own functions mean UTC by this, people mean their wall clock: ambiguous.
        raise InvalidValue(
            "a timestamp without Z or offset could be of any zone;"
            " in SQLite write strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
        )
    offset = "+00:00" if zulu else f"{hours}:{minutes or '00'}"
    instant = datetime.fromisoformat(f"{day}T{minute}{seconds or ':00'}{offset}").astimezone(UTC)
    # Cut off, not rounded: a rounded instant could fall into the next month, another partition.
    return f"{instant.replace(tzinfo=None).isoformat()}.{(fraction or '0')[:3]:0<3}Z"


def _date(_: ColumnType, value: object) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and _DATE.fullmatch(value):
        return date.fromisoformat(value).isoformat()
    raise InvalidValue("a date such as 2012-01-02 is expected")


def _time(_: ColumnType, value: object) -> str:
    text = value.isoformat() if isinstance(value, time) and value.tzinfo is None else value
    if isinstance(text, str):
        while text.count(":") > 1 and text.endswith(":00"):
            text = text[:-3]
        if _TIME.fullmatch(text):
            return text
    raise InvalidValue("a time of day such as 06:30 is expected")


def _json(type_: ColumnType, value: object) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = _text(type_, value)
    json.loads(text, parse_constant=_refuse_constant)
    return text


def _refuse_constant(name: str) -> None:
    raise InvalidValue(f"JSON has no {name}")


def _set(_: ColumnType, value: object) -> str:
    members: object = json.loads(value) if isinstance(value, str) else value
    if not isinstance(members, list | tuple | set | frozenset):
        raise InvalidValue('a set of texts such as ["a","b"] is expected')
    if not all(isinstance(member, str) for member in members):
        raise InvalidValue("a set holds texts only")
    for member in members:
        _text(ColumnType(Kind.TEXT), member)
    return json.dumps(sorted(set(members)), ensure_ascii=False, separators=(",", ":"))


def members(value: Value) -> frozenset[str]:
    """Return the members of a canonical set; null has none."""
    return frozenset(json.loads(value)) if isinstance(value, str) else frozenset()


def set_of(texts: Iterable[str]) -> str:
    """Return the canonical set of these texts."""
    return _set(ColumnType(Kind.SET), list(texts))


def _bytes(_: ColumnType, value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidValue(f"bytes are expected, not {type(value).__name__}")


_READERS: Final[dict[Kind, Callable[[ColumnType, object], Value]]] = {
    Kind.UUID: _uuid,
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.JSON: _json,
    Kind.SET: _set,
    Kind.BYTES: _bytes,
}


# --- checks ----------------------------------------------------------------------------------

#: The Python type of a kind's canonical values.
TYPES: Final[dict[Kind, type]] = {
    **dict.fromkeys(Kind, str),
    Kind.INTEGER: int,
    Kind.BOOLEAN: int,
    Kind.FLOAT: float,
    Kind.BYTES: bytes,
}


def rule_broken(column: Column, value: object) -> str | None:
    """Return the rule of the column that a value breaks; None where it may be stored as it is."""
    if value is None:
        return None if column.nullable else "null is not allowed"
    if column.allowed and str(value) not in column.allowed:
        return f"one of {', '.join(column.allowed)} is expected"
    try:
        form = canonical(column.type, value)
    except InvalidValue as error:
        return str(error)
    if type(form) is not type(value) or repr(form) != repr(value):
        return f"not in canonical form, which is {shown(form)}"
    return None


def column_problems(column: Column, values: Sequence[object]) -> list[tuple[int, Problem]]:
    """Return what is wrong with a column's values, each with its place in the list."""
    broken: Callable[[object], str | None]
    if column.type.kind is not Kind.FLOAT and _of_one_type(column, values):
        # Most columns repeat few values, and most have nothing wrong. Not for floats, where
        # -0.0 and 0.0 are the same key; nor where types are mixed, as 1, 1.0 and True are.
        rules = {value: rule_broken(column, value) for value in set(values)}
        if not any(rules.values()):
            return []
        broken = rules.__getitem__
    else:
        broken = partial(rule_broken, column)
    return [
        (place, Problem(column.name, shown(value), rule))
        for place, value in enumerate(values)
        if (rule := broken(value))
    ]


def _of_one_type(column: Column, values: Iterable[object]) -> bool:
    return set(map(type, values)) <= {TYPES[column.type.kind], type(None)}


def canonical_column(
    column: Column, values: Sequence[object]
) -> tuple[list[Value], list[tuple[int, Problem]]]:
    """Return a column's values in canonical form, and what is wrong with those that have none.

    Where a value has none the list holds null.
    """
    forms: list[Value] = []
    problems: list[tuple[int, Problem]] = []
    for place, value in enumerate(values):
        try:
            form = canonical(column.type, value)
            rule = rule_broken(column, form)
        except InvalidValue as error:
            form, rule = None, str(error)
        forms.append(None if rule else form)
        if rule:
            problems.append((place, Problem(column.name, shown(value), rule)))
    return forms, problems


def check_row(
    table: Table, columns: Collection[str], values: Sequence[object], *, whole: bool = False
) -> list[Problem] | None:
    """Return everything in which a row of canonical values breaks the catalogue, or None.

    A whole row is an insert: what it leaves out must be nullable or have a default.
    """
    known = {column.name: column for column in (*COMMON, *table.columns)}
    problems: list[Problem] = []
    for name, value in zip(columns, values, strict=True):
        column = known.get(name)
        rule = rule_broken(column, value) if column else f"table {table.name} has no such column"
        if rule:
            problems.append(Problem(name, shown(value), rule))
    if whole:
        given = set(columns)
        problems += [
            Problem(column.name, "nothing", "a value is required")
            for column in table.columns
            if column.name not in given and not column.nullable and column.default is None
        ]
    return problems or None

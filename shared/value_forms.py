"""How each kind of value is brought into its one form; ``shared.values`` says what that form is.

Each reader takes what people, SQLite and the drivers write, and refuses what could mean two things.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeGuard
from uuid import UUID

from shared.catalog import ColumnType, Kind
from shared.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shared.changes import Value

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 63) - 1
#: Beyond it a float no longer tells whole numbers apart.
FLOAT_WHOLE_MAX: Final = 1 << 53
#: Any decimal of this many digits survives a binary float, so it can be read back from one.
FLOAT_DIGITS: Final = 15

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_UUID_BARE = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
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


def refuse(rule: str) -> NoReturn:
    """Refuse a value, naming the rule that it breaks."""
    raise InvalidValue(rule)


def _uuid(_: ColumnType, value: object) -> str:
    text = str(value) if isinstance(value, UUID) else value
    if isinstance(text, str):
        if _UUID.fullmatch(text):
            return text
        if _UUID_BARE.fullmatch(text):
            return str(UUID(text))
        if _UUID.fullmatch(text.lower()):
            return text.lower()
    refuse("a uuid is 32 hexadecimal digits, in groups of 8-4-4-4-12")


def _text(type_: ColumnType, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        refuse(f"text is expected, not {type(value).__name__}")
    if _UNENCODABLE.search(value):
        refuse("text holds no NUL and no lone surrogates")
    if type_.length is not None and len(value) > type_.length:
        refuse(f"{len(value)} characters, at most {type_.length} are allowed")
    return value if type(value) is str else str.__str__(value)


def _integer(type_: ColumnType, value: object) -> int:
    if (isinstance(value, str) and _INTEGER.fullmatch(value)) or _is_whole(value):
        value = int(value)
    if not isinstance(value, int):
        refuse("a whole number is expected")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        refuse("a whole number of 64 bits is expected")
    _in_range(type_, value)
    return int(value)


def _is_whole(value: object) -> TypeGuard[float | Decimal]:
    if isinstance(value, Decimal):
        # The bound comes first: 1E+999999 is whole, too, and takes a megabyte to write out.
        return value.is_finite() and value.adjusted() < 20 and value == value.to_integral_value()
    return isinstance(value, float) and abs(value) <= FLOAT_WHOLE_MAX and value.is_integer()


def _in_range(type_: ColumnType, value: float | Decimal) -> None:
    if type_.low is not None and value < type_.low:
        refuse(f"below the least value allowed, {type_.low:f}")
    if type_.high is not None and value > type_.high:
        refuse(f"above the largest value allowed, {type_.high:f}")


def _decimal(type_: ColumnType, value: object) -> str:
    number = _as_decimal(value)
    precision, scale = type_.precision or 0, type_.scale or 0
    if number == 0:
        number = Decimal(0)
    elif number.adjusted() >= precision - scale:
        refuse(f"at most {precision - scale} digits may stand before the point")
    elif _last_place(number) < -scale:
        refuse(f"at most {scale} digits may stand after the point; it is not rounded")
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
        refuse(f"a binary float of more than {FLOAT_DIGITS} digits; write it as text")
    refuse("a decimal number such as 12.5 is expected")


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
        refuse("a number is expected; a whole number of more than 53 bits is not exact")
    if not isfinite(value):
        refuse("a finite number is expected: no NaN, no infinity")
    _in_range(type_, value)
    return value + 0.0


def _boolean(_: ColumnType, value: object) -> int:
    if isinstance(value, str):
        value = _BOOLEANS.get(value.lower())
    if isinstance(value, int | float) and value in (0, 1):
        return int(value)
    refuse("0 or 1 is expected")


def _timestamp(_: ColumnType, value: object) -> str:
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        datetime.fromisoformat(value)  # the pattern lets February 30 pass
        return value
    if isinstance(value, datetime):
        value = value.isoformat()
    if not isinstance(value, str) or not (match := _TIMESTAMP_LOOSE.fullmatch(value)):
        refuse("a timestamp such as 2012-01-02T03:04:05.678Z is expected")
    day, minute, seconds, fraction, zulu, hours, minutes = match.groups()
    if not (zulu or hours):
        # SQLite's own functions mean UTC by this, people mean their wall clock: ambiguous.
        refuse(
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
    refuse("a date such as 2012-01-02 is expected")


def _time(_: ColumnType, value: object) -> str:
    text = value.isoformat() if isinstance(value, time) and value.tzinfo is None else value
    if isinstance(text, str):
        while text.count(":") > 1 and text.endswith(":00"):
            text = text[:-3]
        if _TIME.fullmatch(text):
            return text
    refuse("a time of day such as 06:30 is expected")


def _json(type_: ColumnType, value: object) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = _text(type_, value)
    json.loads(text, parse_constant=_refuse_constant)
    return text


def _refuse_constant(name: str) -> None:
    refuse(f"JSON has no {name}")


def _set(_: ColumnType, value: object) -> str:
    members: object = json.loads(value) if isinstance(value, str) else value
    if not isinstance(members, list | tuple | set | frozenset):
        refuse('a set of texts such as ["a","b"] is expected')
    if not all(isinstance(member, str) for member in members):
        refuse("a set holds texts only")
    for member in members:
        _text(ColumnType(Kind.TEXT), member)
    return json.dumps(sorted(set(members)), ensure_ascii=False, separators=(",", ":"))


def _bytes(_: ColumnType, value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    refuse(f"bytes are expected, not {type(value).__name__}")


READERS: Final[dict[Kind, Callable[[ColumnType, object], Value]]] = {
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


# --- whole columns ---------------------------------------------------------------------------


def surely_canonical(type_: ColumnType, values: Collection[Any]) -> bool:
    """Return whether it takes one look to see that all values are canonical.

    They are of the kind's own Python type. False says nothing of them.
    """
    if not values:
        return True
    look = _LOOKS.get(type_.kind)
    return look is not None and look(type_, values) and _all_in_range(type_, values)


def _all_in_range(type_: ColumnType, values: Collection[Any]) -> bool:
    if type_.low is None and type_.high is None:
        return True
    numbers = list(map(Decimal, values))
    above = type_.low is None or min(numbers) >= type_.low
    return above and (type_.high is None or max(numbers) <= type_.high)


def _all_texts(type_: ColumnType, values: Collection[str]) -> bool:
    short = type_.length is None or max(map(len, values)) <= type_.length
    return short and not _UNENCODABLE.search("".join(values))


def _all_integers(_: ColumnType, values: Collection[int]) -> bool:
    return min(values) >= INTEGER_MIN and max(values) <= INTEGER_MAX


def _all_uuids(_: ColumnType, values: Collection[str]) -> bool:
    laid = _laid_out(36, values)
    return laid.translate(_HEXADECIMAL) == b"00000000-0000-0000-0000-000000000000" * len(values)


def _laid_out(length: int, values: Collection[str]) -> bytes:
    """Return the values end to end, so that a stride of ``length`` is one place of all of them.

    Empty where one of them has another length, or characters that no code or figure has.
    """
    joined = "".join(values)
    return joined.encode() if joined.isascii() and set(map(len, values)) == {length} else b""


def _all_decimals(type_: ColumnType, values: Collection[str]) -> bool:
    return "-0" not in values and all(map(_decimal_pattern(type_).fullmatch, values))


def _all_timestamps(_: ColumnType, values: Collection[str]) -> bool:
    laid = _laid_out(24, values)
    if laid.translate(_FIGURES) != b"0000-00-00T00:00:00.000Z" * len(values):
        return False
    hours = set(map(_TO_THE_HOUR, values))
    in_a_day = all(hour[11:] < "24" for hour in hours)
    in_an_hour = not (laid[14::24] + laid[17::24]).strip(b"012345")
    return in_a_day and in_an_hour and _are_days({hour[:10] for hour in hours})


_FIGURES: Final = bytes.maketrans(b"123456789", b"000000000")
_HEXADECIMAL: Final = bytes.maketrans(b"123456789abcdef", b"000000000000000")
_TO_THE_HOUR: Final = itemgetter(slice(13))


def _are_days(texts: set[str]) -> bool:
    try:
        return all(map(date.fromisoformat, texts))
    except ValueError:
        return False


@cache
def _decimal_pattern(type_: ColumnType) -> re.Pattern[str]:
    """Return the pattern of canonical decimals with the digits that the type has."""
    precision, scale = type_.precision or 0, type_.scale or 0
    whole = f"[1-9][0-9]{{0,{precision - scale - 1}}}" if precision > scale else "0"
    fraction = f"(?:\\.[0-9]{{0,{scale - 1}}}[1-9])?" if scale else ""
    return re.compile(f"-?(?:0|{whole}){fraction}", re.ASCII)


_LOOKS: Final[dict[Kind, Callable[[ColumnType, Any], bool]]] = {
    Kind.TEXT: _all_texts,
    Kind.INTEGER: _all_integers,
    Kind.UUID: _all_uuids,
    Kind.DECIMAL: _all_decimals,
    Kind.TIMESTAMP: _all_timestamps,
}

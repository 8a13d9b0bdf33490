"""What a map of an import must hold to: its values one by one, its readings, its blocks. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from edge.csv_import.mapping import Block, writable
from edge.csv_import.values import ABSENT, DURATIONS, FORMATS, NUMBERS, UNITS_S, Reading, fitting
from shared.catalog import CREATED_AT, ID, Column, Kind
from shared.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge.csv_import.lines import Dialect


#: Lines before the header that may be passed over.
_SKIP_LINES_MAX: Final = 10_000


def dialect_rules(dialect: Dialect) -> Iterator[str]:
    """Yield what is wrong with how the file is said to be written."""
    marks = {"delimiter": dialect.delimiter, "quote": dialect.quote}
    for name, mark in marks.items():
        if len(mark) != 1 or not (mark == "\t" or " " <= mark <= "~"):
            yield f"{name}: one character of the keyboard, or a tab, is expected"
    if dialect.delimiter == dialect.quote:
        yield "delimiter and quote are the same character; each needs one of its own"
    if not 0 <= dialect.skip_lines <= _SKIP_LINES_MAX:
        yield f"skip_lines = {dialect.skip_lines}: 0 to {_SKIP_LINES_MAX} are expected"
    try:
        plain = "\n,;\"'\t|".encode(dialect.encoding) == b"\n,;\"'\t|"
    except (LookupError, ValueError):  # there are names that Python can't even look up
        yield f"encoding = {dialect.encoding!r}: Python knows no such encoding"
    else:
        if not plain:
            yield f"encoding = {dialect.encoding!r} can't be read; save the file as UTF-8"


def reading_rules(column: Column, reading: Reading) -> Iterator[str]:
    """Yield what is wrong with how a column's texts are to be read."""
    kind = column.type.kind
    if kind is Kind.TIMESTAMP and not reading.format:
        yield 'needs a format, such as "%Y-%m-%d %H:%M:%S" or "iso"'
    if (reading.duration or reading.times is not None) and kind not in NUMBERS:
        yield f"a duration or a factor makes a number, and the column takes {column.type}"
    values = [*reading.codes.values(), *(value for _, value in reading.patterns)]
    for value in [*values, *([] if reading.other is ABSENT else [reading.other])]:
        try:
            fitting(column, value)
        except InvalidValue as error:
            yield f"{value!r} does not fit the column: {error}"


def block_rules(block: Block) -> Iterator[str]:
    """Yield what is wrong with a block as a whole."""
    table, mapped = block.table, {field.column.name for field in block.fields}
    if block.create and not writable(table):
        yield f"sites do not write {table.name}; `create = false` looks rows up only"
    yield from _key_rules(block)
    for name in sorted({*block.key, *block.identity} - mapped):
        yield f"column {name} is part of the key and has no source"
    for field in block.found_fields:
        if table.append_only:
            yield f"column {field.column.name}: `keep` would change rows that never change"
        elif not block.key or field.column.name in block.key:
            yield f"column {field.column.name}: `keep` is for columns beside a key"
    if block.create:
        yield from _missing(block, mapped)


def _key_rules(block: Block) -> Iterator[str]:
    table = block.table
    if block.key and frozenset(block.key) not in {frozenset(key) for key in table.natural_keys}:
        known = " or ".join(str(list(key)) for key in table.natural_keys) or "none"
        yield f"key = {list(block.key)} is no natural key of {table.name}, which has {known}"
    if not block.key and not block.create:
        yield "`create = false` needs a key to look up by"
    if block.key and block.identity:
        yield "`identity` is for rows of their own, which have no key"


def _missing(block: Block, mapped: set[str]) -> Iterator[str]:
    for column in block.table.columns:
        if not column.nullable and column.default is None and column.name not in mapped:
            yield f"column {column.name} needs a source: the table requires a value"
    if CREATED_AT.name in mapped:
        return
    if block.table.append_only:
        yield "column created_at needs a source: the instant at which the fact happened"
    elif not block.key and ID.name not in mapped:
        yield (
            "column created_at needs a source: the ids of rows without a key follow from it, and"
            " the instant of an import is another one each time"
        )


# --- values ----------------------------------------------------------------------------------


def _as_it_is(written: Any) -> Any:
    return written


def _one_of(*known: str) -> Callable[[str], str]:
    def read(written: str) -> str:
        if written not in known:
            raise ValueError(f"one of {', '.join(known)} is expected")
        return written

    return read


def _texts(written: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, written))


def _format(written: str) -> str:
    if written in FORMATS:
        return written
    if "%" not in written:
        raise ValueError(f'such as "%Y-%m-%d %H:%M", or one of {", ".join(FORMATS)}, is expected')
    try:
        datetime.strptime("", written)  # noqa: DTZ007 - only whether it is a format
    except re.error as error:
        raise ValueError("each part of a date may stand in it once") from error
    except ValueError as error:
        if "does not match format" not in str(error):
            raise
    return written


def _zone(name: str) -> Any:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError("an IANA zone such as Europe/Budapest is expected") from error


#: No number that a column holds has more digits before or after its point.
_FACTOR_DIGITS_MAX: Final = 38


def _factor(written: int | str) -> Decimal:
    try:
        number = Decimal(written)
    except InvalidOperation:
        number = Decimal("NaN")
    if not (number.is_finite() and abs(number.adjusted()) <= _FACTOR_DIGITS_MAX):
        raise ValueError("a number, in quotes where it has a point, is expected")
    return number


def _patterns(written: list[Any]) -> tuple[tuple[re.Pattern[str], Any], ...]:
    try:
        return tuple((re.compile(pattern), value) for pattern, value in written)
    except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f'a list of ["pattern", value] is expected: {error}') from error


#: How each key of a reading is read; they raise ValueError with what is expected.
READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "codes": _as_it_is,
    "other": _as_it_is,
    "strip": _as_it_is,
    "spreadsheet_dates": _as_it_is,
    "thousands": _as_it_is,
    "nulls": _texts,
    "format": _format,
    "zone": _zone,
    "ambiguous": _one_of("reject", "earlier", "later"),
    "duration": _one_of(*DURATIONS),
    "unit": _one_of(*UNITS_S),
    "decimal_point": _one_of(".", ","),
    "times": _factor,
    "patterns": _patterns,
}

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

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from shared.catalog import COMMON, Column, ColumnType, Kind, Table
from shared.changes import Value
from shared.errors import InvalidValue
from shared.value_forms import READERS, refuse, surely_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = [
    "Problem",
    "Value",
    "canonical",
    "canonical_column",
    "check_row",
    "column_problems",
    "rule_broken",
    "shown",
]

SHOWN_MAX: Final = 40


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
        return READERS[type_.kind](type_, value)
    except InvalidValue:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        refuse(f"not a valid {type_.kind}: {error}")


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
    try:
        form = canonical(column.type, value)
    except InvalidValue as error:
        return str(error)
    # By their text, since 1, 1.0 and True compare equal, as do 0.0 and -0.0.
    if form is not value and (type(form) is not type(value) or repr(form) != repr(value)):
        return f"not in canonical form, which is {shown(form)}"
    return _not_allowed(column, form)


def _not_allowed(column: Column, form: Value) -> str | None:
    if form is None:
        return None if column.nullable else "null is not allowed"
    if column.allowed and str(form) not in column.allowed:
        return f"one of {', '.join(column.allowed)} is expected"
    return None


def column_problems(column: Column, values: Sequence[object]) -> list[tuple[int, Problem]]:
    """Return what is wrong with a column's values, each with its place in the list."""
    broken: Callable[[object], str | None] = partial(rule_broken, column)
    if _of_one_type(column, values):
        # Most columns repeat few values, and most have nothing wrong.
        distinct = set(values)
        if _surely_right(column, distinct):
            return []
        rules = {value: rule_broken(column, value) for value in distinct}
        if not any(rules.values()):
            return []
        broken = rules.__getitem__
    return [
        (place, Problem(column.name, shown(value), rule))
        for place, value in enumerate(values)
        if (rule := broken(value))
    ]


def _of_one_type(column: Column, values: Iterable[object]) -> bool:
    """Return whether equal values are one value: not where 1, 1.0 and True or 0.0 and -0.0 are."""
    kind = column.type.kind
    return kind is not Kind.FLOAT and set(map(type, values)) <= {TYPES[kind], type(None)}


def _surely_right(column: Column, distinct: set[object]) -> bool:
    present = distinct - {None}
    if len(present) < len(distinct) and not column.nullable:
        return False
    if column.allowed:
        return column.type.kind is Kind.TEXT and present <= set(column.allowed)
    return surely_canonical(column.type, present)


def canonical_column(
    column: Column, values: Sequence[object]
) -> tuple[list[Value], list[tuple[int, Problem]]]:
    """Return a column's values in canonical form, and what is wrong with those that have none.

    Where a value has none the list holds null.
    """
    if _of_one_type(column, values) and _surely_right(column, set(values)):
        return [*cast("Sequence[Value]", values)], []
    forms: list[Value] = []
    problems: list[tuple[int, Problem]] = []
    for place, value in enumerate(values):
        try:
            form = canonical(column.type, value)
            rule = _not_allowed(column, form)
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

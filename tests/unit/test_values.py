from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import Column, ColumnType, Direction, Kind, Policy, Table
from shared.errors import InvalidValue
from shared.value_forms import surely_canonical
from shared.values import canonical, canonical_column, check_row, column_problems, rule_broken

QUANTITY = ColumnType(Kind.DECIMAL, precision=18, scale=6)
TYPES = {
    **{kind: ColumnType(kind) for kind in Kind},
    Kind.DECIMAL: QUANTITY,
    Kind.TEXT: ColumnType(Kind.TEXT, length=8),
}

finite = st.floats(allow_nan=False, allow_infinity=False)
plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | plain_text,
    lambda inner: st.lists(inner) | st.dictionaries(plain_text, inner),
    max_leaves=8,
)
INDIA = timezone(timedelta(hours=5, minutes=30))
#: A day from either end of the calendar, so that every zone can tell them.
instants = st.datetimes(
    datetime.fromisoformat("0001-01-02"),
    datetime.fromisoformat("9999-12-30"),
    timezones=st.just(UTC),
)
#: What people and drivers write of each kind.
LOOSE = {
    Kind.UUID: st.uuids() | st.uuids().map(str) | st.uuids().map(lambda u: u.hex.upper()),
    Kind.TEXT: plain_text.filter(lambda t: len(t) <= 8) | st.integers(-9999, 9999),
    Kind.INTEGER: st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-99, 99).map(str),
    Kind.DECIMAL: st.decimals("-999999999999", "999999999999", places=6)
    | st.decimals(-99, 99, places=3).map(str)
    | st.integers(-(10**11), 10**11),
    Kind.FLOAT: finite | finite.map(repr) | st.integers(-(1 << 53), 1 << 53),
    Kind.BOOLEAN: st.booleans() | st.sampled_from([0, 1, "0", "1", "true", "False", "t", 1.0]),
    Kind.TIMESTAMP: instants | instants.map(lambda i: i.astimezone(INDIA).isoformat(" ")),
    Kind.DATE: st.dates() | st.dates().map(str),
    Kind.TIME: st.times().map(lambda t: time(t.hour, t.minute)),
    Kind.JSON: json_values.map(json.dumps) | st.lists(json_values),
    Kind.SET: st.sets(plain_text) | st.lists(plain_text).map(json.dumps),
    Kind.BYTES: st.binary() | st.binary().map(bytearray) | st.binary().map(memoryview),
}
kinds_and_values = st.sampled_from(list(Kind)).flatmap(
    lambda kind: st.tuples(st.just(kind), LOOSE[kind])
)
anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.binary()
    | st.lists(st.text())
    | st.sampled_from(["1e999999999", "2012-02-30T00:00:00.000Z", "[" * 9999, "\ud800", "NaN", ""])
)


def column(kind: Kind, **rest) -> Column:
    return Column("it", rest.pop("type", TYPES[kind]), **rest)


@given(kinds_and_values)
def test_the_canonical_form_of_a_canonical_value_is_itself(drawn):
    kind, value = drawn
    form = canonical(TYPES[kind], value)
    again = canonical(TYPES[kind], form)
    assert type(again) is type(form)
    assert repr(again) == repr(form)
    assert rule_broken(column(kind), form) is None


@given(st.sampled_from(list(Kind)), anything)
def test_any_input_has_a_canonical_form_or_is_refused_by_rule(kind, value):
    try:
        form = canonical(TYPES[kind], value)
    except InvalidValue:
        return
    assert form is None or isinstance(form, int | float | str | bytes)
    assert not isinstance(form, bool)


@given(st.decimals("-999999999999", "999999999999", places=6), st.integers(0, 8))
def test_equal_decimals_have_equal_forms_however_they_are_written(number, zeros):
    form = canonical(QUANTITY, str(number))
    written = f"{number:f}" + ("0" * zeros if "." in f"{number:f}" else "")
    assert canonical(QUANTITY, written) == form
    assert canonical(QUANTITY, f"{number:E}") == form
    assert Decimal(str(form)) == number
    assert "E" not in str(form)
    assert form != "-0"


@given(st.decimals("-99999999", "99999999", places=6))
def test_a_decimal_that_passed_through_a_binary_float_of_15_digits_comes_back(number):
    assert canonical(QUANTITY, float(number)) == canonical(QUANTITY, number)


@pytest.mark.parametrize(
    ("kind", "written", "form"),
    [
        (Kind.UUID, "0190F3C2-8F6B-7ABC-9DEF-0123456789AB", "0190f3c2-8f6b-7abc-9def-0123456789ab"),
        (Kind.UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Kind.TEXT, 1234, "1234"),
        (Kind.TEXT, "", ""),
        (Kind.INTEGER, "0012", 12),
        (Kind.INTEGER, 9007199254740993, 9007199254740993),
        (Kind.INTEGER, True, 1),
        (Kind.INTEGER, 3.0, 3),
        (Kind.INTEGER, Decimal("7.00"), 7),
        (Kind.DECIMAL, "12.50", "12.5"),
        (Kind.DECIMAL, 12, "12"),
        (Kind.DECIMAL, 12.5, "12.5"),
        (Kind.DECIMAL, "-0.000", "0"),
        (Kind.DECIMAL, "0E+999", "0"),
        (Kind.DECIMAL, "1e3", "1000"),
        (Kind.DECIMAL, ".5", "0.5"),
        (Kind.FLOAT, -0.0, 0.0),
        (Kind.FLOAT, "1.5", 1.5),
        (Kind.BOOLEAN, True, 1),
        (Kind.BOOLEAN, "false", 0),
        (Kind.TIMESTAMP, "2012-01-02T00:00:00Z", "2012-01-02T00:00:00.000Z"),
        (Kind.TIMESTAMP, "2012-01-02 02:30+02:30", "2012-01-02T00:00:00.000Z"),
        (Kind.TIMESTAMP, "2012-01-02 00:00:00.123999+00", "2012-01-02T00:00:00.123Z"),
        (Kind.DATE, date(2012, 1, 2), "2012-01-02"),
        (Kind.TIME, "06:30:00", "06:30"),
        (Kind.JSON, '{"a" : 1.10}', '{"a" : 1.10}'),
        (Kind.JSON, {"a": "é"}, '{"a":"é"}'),
        (Kind.SET, '["b", "a", "b"]', '["a","b"]'),
        (Kind.SET, {"é"}, '["é"]'),
        (Kind.BYTES, bytearray(b"\0\xff"), b"\0\xff"),
    ],
)
def test_sloppy_but_unambiguous_input_is_taken(kind, written, form):
    result = canonical(TYPES[kind], written)
    assert type(result) is type(form)
    assert repr(result) == repr(form)


@pytest.mark.parametrize(
    ("kind", "written", "rule"),
    [
        (Kind.UUID, "order 12", "32 hexadecimal digits"),
        (Kind.TEXT, "123456789", "9 characters, at most 8"),
        (Kind.TEXT, "a\0b", "no NUL"),
        (Kind.TEXT, "\udc80", "lone surrogates"),
        (Kind.TEXT, b"abc", "text is expected, not bytes"),
        (Kind.TEXT, 1.5, "text is expected, not float"),
        (Kind.INTEGER, 1 << 63, "64 bits"),
        (Kind.INTEGER, 1.5, "whole number"),
        (Kind.INTEGER, Decimal("1E+999999"), "whole number"),
        (Kind.DECIMAL, "1.0000001", "not rounded"),
        (Kind.DECIMAL, "1000000000000", "12 digits may stand before the point"),
        (Kind.DECIMAL, "1e999", "before the point"),
        (Kind.DECIMAL, 0.1 + 0.2, "binary float"),
        (Kind.DECIMAL, "1,5", "decimal number such as"),
        (Kind.DECIMAL, math.nan, "decimal number"),
        (Kind.DECIMAL, "٣", "decimal number"),
        (Kind.FLOAT, math.nan, "finite"),
        (Kind.FLOAT, -math.inf, "finite"),
        (Kind.FLOAT, "1e400", "finite"),
        (Kind.FLOAT, (1 << 53) + 1, "53 bits"),
        (Kind.BOOLEAN, 2, "0 or 1"),
        (Kind.BOOLEAN, "maybe", "0 or 1"),
        (Kind.TIMESTAMP, "2012-01-02T00:00:00", "without Z or offset"),
        (Kind.TIMESTAMP, datetime.fromisoformat("2012-01-02"), "without Z or offset"),
        (Kind.TIMESTAMP, "2012-02-30T00:00:00Z", "day is out of range"),
        (Kind.TIMESTAMP, "2012-02-30T00:00:00.000Z", "day is out of range"),
        (Kind.TIMESTAMP, "2012-01-02T24:00:00Z", "a timestamp such as"),
        (Kind.TIMESTAMP, "0001-01-01T00:00:00+05:00", "not a valid timestamp"),
        (Kind.TIMESTAMP, 1325462400, "a timestamp such as"),
        (Kind.DATE, "02/01/2012", "a date such as"),
        (Kind.DATE, datetime(2012, 1, 2, tzinfo=UTC), "a date such as"),
        (Kind.TIME, "06:30:01", "time of day"),
        (Kind.TIME, "24:00", "time of day"),
        (Kind.JSON, "{", "not a valid json"),
        (Kind.JSON, "[NaN]", "JSON has no NaN"),
        (Kind.JSON, "[" * 100_000, "not a valid json"),
        (Kind.SET, '["a", 1]', "texts only"),
        (Kind.SET, '{"a": 1}', "a set of texts"),
        (Kind.BYTES, "abc", "bytes are expected, not str"),
    ],
)
def test_input_that_could_mean_two_things_or_none_is_refused_by_rule(kind, written, rule):
    with pytest.raises(InvalidValue, match=rule.replace("(", r"\(")):
        canonical(TYPES[kind], written)


@pytest.mark.parametrize("value", ["4", 4, 4.0, Decimal(4)])
@pytest.mark.parametrize("kind", [Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT])
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(kind, value):
    def within(low, high):
        precision = {"precision": 9, "scale": 3} if kind is Kind.DECIMAL else {}
        limits = ColumnType(kind, low=Decimal(low), high=Decimal(high), **precision)
        return canonical(limits, value)

    if kind is Kind.FLOAT and isinstance(value, Decimal):
        value = 4.0
    assert float(within(4, 4)) == 4
    with pytest.raises(InvalidValue, match="below the least value allowed, 5"):
        within(5, 9)
    with pytest.raises(InvalidValue, match=r"above the largest value allowed, 3\.5"):
        within("0.5", "3.5")


ORDERS = Table(
    name="orders",
    direction=Direction.BOTH,
    columns=(
        Column("order_no", ColumnType(Kind.TEXT, length=8), nullable=False, policy=Policy.SITE),
        Column("qty", QUANTITY, nullable=False, default="0", policy=Policy.CENTRAL),
        Column(
            "state",
            ColumnType(Kind.TEXT, length=20),
            order=("CREATED", "DONE"),
            policy=Policy.LATTICE,
        ),
        Column("urgent", ColumnType(Kind.BOOLEAN), order=("0", "1"), policy=Policy.LATTICE),
    ),
)


def test_a_row_that_keeps_every_rule_has_no_problems():
    assert check_row(ORDERS, ("order_no", "qty", "state"), ("A1", "12.5", "DONE")) is None
    assert check_row(ORDERS, ("state", "urgent"), (None, 1)) is None
    assert check_row(ORDERS, ("order_no",), ("A1",), whole=True) is None


def test_every_breach_of_a_row_is_named_with_column_value_and_rule():
    problems = check_row(
        ORDERS,
        ("order_no", "qty", "state", "colour", "created_at", "urgent"),
        (None, "12.50", "GONE", "red", "yesterday" * 20, 2),
    )
    assert problems is not None
    assert [str(problem) for problem in problems] == [
        "order_no = null: null is not allowed",
        "qty = '12.50': not in canonical form, which is '12.5'",
        "state = 'GONE': one of CREATED, DONE is expected",
        "colour = 'red': table orders has no such column",
        f"created_at = {repr('yesterday' * 20)[:39]}…:"
        " a timestamp such as 2012-01-02T03:04:05.678Z is expected",
        "urgent = 2: 0 or 1 is expected",
    ]


def test_a_whole_row_without_a_required_column_is_a_problem():
    problems = check_row(ORDERS, ("qty",), ("1",), whole=True)
    assert [str(p) for p in problems or []] == ["order_no = nothing: a value is required"]


@given(
    st.sampled_from(list(Kind)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(LOOSE[kind] | anything))
    ),
    st.booleans(),
)
def test_checking_a_column_at_once_finds_what_checking_value_by_value_finds(drawn, nullable):
    kind, values = drawn
    values = [tuple(v) if isinstance(v, list) else v for v in values]
    it = column(kind, nullable=nullable)
    one_by_one = [(n, rule) for n, v in enumerate(values) if (rule := rule_broken(it, v))]
    assert [(n, problem.rule) for n, problem in column_problems(it, values)] == one_by_one


@given(
    st.sampled_from([Kind.TEXT, Kind.INTEGER, Kind.UUID, Kind.DECIMAL, Kind.TIMESTAMP]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(LOOSE[kind] | anything, max_size=3))
    ),
    st.integers(1, 5),
    st.integers(0, 5),
)
def test_what_one_look_says_of_a_column_holds_for_every_value(drawn, precision, scale):
    kind, values = drawn
    type_ = TYPES[kind]
    if kind is Kind.DECIMAL:
        type_ = ColumnType(kind, precision=max(precision, scale), scale=scale)
    values = [value for value in values if type(value) is (int if kind is Kind.INTEGER else str)]
    each = [rule_broken(column(kind, type=type_), value) is None for value in values]
    if surely_canonical(type_, values):
        assert all(each)
    if kind is not Kind.INTEGER and all(each):
        assert surely_canonical(type_, values)


def test_the_forms_of_a_column_are_the_forms_of_its_values():
    for kind, values in {
        Kind.DECIMAL: ["1", "1.50", "0.5", "-0", "999", None, "1e2"],
        Kind.TEXT: ["a", "", None, 7, "b" * 9],
        Kind.BOOLEAN: [True, 1, 0, "t"],
    }.items():
        forms, problems = canonical_column(column(kind), values)
        wrong = {place for place, _ in problems}
        for place, value in enumerate(values):
            if place not in wrong:
                assert repr(forms[place]) == repr(canonical(TYPES[kind], value))


def test_values_that_compare_equal_but_differ_in_type_are_told_apart():
    assert [place for place, _ in column_problems(column(Kind.INTEGER), [1, True, 1.0])] == [1, 2]
    assert [place for place, _ in column_problems(column(Kind.FLOAT), [0.0, -0.0])] == [1]


def test_a_column_is_made_canonical_and_what_can_not_be_is_named_by_its_place():
    it = column(Kind.DECIMAL, nullable=False)
    forms, problems = canonical_column(it, ["1.50", None, 7, "x"])
    assert forms == ["1.5", None, "7", None]
    assert [(place, problem.rule) for place, problem in problems] == [
        (1, "null is not allowed"),
        (3, "a decimal number such as 12.5 is expected"),
    ]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_in_a_column_of_every_kind(kind, value):
    """SQLite keeps infinity in a REAL column, and a message can hold either."""
    it = column(kind)
    for values in ([value], [value] * 3, [None, value]):
        bad = [place for place, each in enumerate(values) if each is value]
        assert [place for place, _ in column_problems(it, values)] == bad
        assert [place for place, _ in canonical_column(it, values)[1]] == bad

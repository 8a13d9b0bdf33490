"""A look at a whole column never lets pass what a look at each value would not."""

from __future__ import annotations

import uuid
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import Column, ColumnType, Kind
from shared.value_forms import surely_canonical
from shared.values import rule_broken

UUIDS = st.uuids().map(str)
TIMESTAMPS = st.builds(
    "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}.{:03d}Z".format,
    *(st.integers(0, top) for top in (9999, 13, 32, 26, 61, 61, 999)),
)
DECIMALS = st.decimals(-999, 999, places=2).map(lambda number: f"{number:f}")


@st.composite
def damaged(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """Return a value of which a character or two may be another, missing, or too much."""
    value = draw(values)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(value)))
        what = draw(st.sampled_from(["", *"0259aAfTZ:.- \n²é"]))
        value = value[:place] + what + value[place + draw(st.integers(0, 1)) :]
    return value


def all_right(type_: ColumnType, values: list[str]) -> bool:
    return not any(rule_broken(Column("x", type_), value) for value in values)


@given(st.lists(damaged(UUIDS), min_size=1, max_size=4))
def test_ids_are_surely_right_only_where_each_of_them_is(values: list[str]) -> None:
    type_ = ColumnType(Kind.UUID)
    assert surely_canonical(type_, values) == all_right(type_, values)


@given(st.lists(damaged(TIMESTAMPS), min_size=1, max_size=4))
def test_instants_are_surely_right_only_where_each_of_them_is(values: list[str]) -> None:
    type_ = ColumnType(Kind.TIMESTAMP)
    assert surely_canonical(type_, values) == all_right(type_, values)


@given(st.lists(damaged(DECIMALS), min_size=1, max_size=4), st.sampled_from([None, "-5", "0"]))
def test_numbers_are_surely_right_only_where_each_of_them_is(
    values: list[str], low: str | None
) -> None:
    limit = None if low is None else Decimal(low)
    type_ = ColumnType(Kind.DECIMAL, precision=5, scale=2, low=limit, high=Decimal(500))
    assert surely_canonical(type_, values) == all_right(type_, values)


def test_values_that_are_right_by_the_thousand_take_one_look() -> None:
    ids = [str(uuid.uuid4()) for _ in range(5_000)]
    assert surely_canonical(ColumnType(Kind.UUID), ids)
    assert not surely_canonical(ColumnType(Kind.UUID), [*ids, ids[0].upper()])

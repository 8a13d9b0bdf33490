"""Capability: published examples, and None wherever it is undefined."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.reports.capability import (
    BINS_MAX,
    Specification,
    histogram,
    indices,
    outside,
    overall,
)
from central.reports.spc import ChartType, sigma_within
from tests.unit.test_spc import RINGS

BOTH = Specification(73.95, 74.05)
VALUES = [value for ring in RINGS for value in ring]


def found(values, limits, within, *, of_one_machine=True):
    given = indices(values, limits, within, of_one_machine=of_one_machine)
    return {name: index.value for name, index in given.items()}


def test_the_capability_of_piston_rings_is_the_published_one():
    within = sigma_within(ChartType.XBAR_R, RINGS)
    made = found(VALUES, BOTH, within)
    # As qcc gives it of Montgomery's rings, by Rbar/d2.
    assert made["cp"] == pytest.approx(1.703, abs=5e-4)
    assert made["cpk"] == pytest.approx(1.663, abs=5e-4)
    s, mean = stdev(VALUES), fmean(VALUES)
    assert made["pp"] == made["cm"] == pytest.approx(0.1 / (6 * s))
    assert made["ppk"] == made["cmk"] == pytest.approx((74.05 - mean) / (3 * s))


def test_the_capability_of_the_nist_example_is_the_published_one():
    # NIST/SEMATECH e-Handbook 6.1.6: USL 20, LSL 8, mean 16, sigma 2: Cp 1.0, Cpk 0.6667.
    values = [14.0, 16.0, 18.0]
    made = found(values, Specification(8, 20), 2.0)
    assert (made["cp"], made["cpk"]) == (pytest.approx(1.0), pytest.approx(0.6667, abs=5e-5))


def test_a_one_sided_specification_has_an_index_of_its_side_alone():
    upper = found([1.0, 2.0, 3.0], Specification(None, 8), 1.0)
    assert (upper["cp"], upper["cpk"]) == (None, pytest.approx(2.0))
    assert (upper["pp"], upper["ppk"]) == (None, pytest.approx(2.0))
    lower = found([1.0, 2.0, 3.0], Specification(-1, None), 1.0)
    assert (lower["cp"], lower["cpk"], lower["cm"]) == (None, pytest.approx(1.0), None)
    assert indices([1.0], Specification(0, None), 1.0, of_one_machine=True)["cp"].because == (
        "the specification is one-sided"
    )


@pytest.mark.parametrize(
    ("values", "limits", "within", "because"),
    [
        ([1.0, 2.0], Specification(None, None), 1.0, "there is no specification limit"),
        ([1.0, 2.0], Specification(3, 3), 1.0, "not below the upper"),
        ([], Specification(0, 9), None, "too few values"),
        ([5.0], Specification(0, 9), None, "too few values"),
        ([0.1, 0.1, 0.1], Specification(0, 9), None, "none of them varies"),
    ],
)
def test_what_is_undefined_is_none_and_says_why(values, limits, within, because):
    made = indices(values, limits, within, of_one_machine=True)
    assert all(index.value is None for index in made.values())
    assert all(because in index.because for index in made.values())


def test_machine_capability_of_several_machines_is_undefined():
    made = found(VALUES, BOTH, 0.01, of_one_machine=False)
    assert (made["cm"], made["cmk"]) == (None, None)
    assert made["ppk"] is not None


def test_a_mean_outside_the_specification_has_a_negative_index():
    assert found([9.0, 11.0], Specification(0, 8), 1.0)["cpk"] == pytest.approx(-2 / 3)


def test_a_value_on_a_limit_is_within_the_specification():
    told = outside([0.9, 1.0, 1.5, 2.0, 2.1, 2.2], Specification(1, 2))
    assert (told.below, told.above, told.of) == (1, 2, 6)
    assert outside([0.0], Specification(None, None)).below == 0


def test_every_index_tells_its_formula_and_source():
    for index in indices(VALUES, BOTH, 0.01, of_one_machine=True).values():
        assert "usl" in index.formula
        assert "ISO 22400-2" in index.source


def test_overall_s_divides_by_one_less_than_the_number():
    assert overall([1.0, 3.0]) == pytest.approx(2**0.5)
    assert overall([1.0]) is overall([]) is overall([2.0, 2.0]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, BINS_MAX))
def test_every_value_is_in_exactly_one_bin_between_its_edges(values, bins):
    made = histogram(values, bins)
    assert sum(made.counts) == len(values)
    assert len(made.edges) == len(made.counts) + 1
    for n, count in enumerate(made.counts):
        low, high, is_last = made.edges[n], made.edges[n + 1], n == len(made.counts) - 1
        inside = [each for each in values if low <= each and (each < high or is_last)]
        assert len(inside) == count


def test_bins_are_as_many_as_sturges_says():
    assert len(histogram([float(n) for n in range(64)]).counts) == 7
    assert histogram([]).counts == ()
    assert histogram([4.0, 4.0]).counts == (2,)

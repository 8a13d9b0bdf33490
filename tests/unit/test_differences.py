"""A difference is what both ends had time to agree on, and nothing that waits anywhere."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge.differences import (
    NAMED_MAX,
    Cause,
    Difference,
    Here,
    Judged,
    Report,
    State,
    TableReport,
    There,
    cause_of,
    document,
    judge,
)

HERE = Here(values=("a",), key=("S", "c"), version="v1")
THERE = There(
    site_id="S", created_at="c", id="i", version="v1", order=7, deleted=False, left=False,
    queued=False, parked="", values=("a",),
)  # fmt: skip
GONE, NOTHING = replace(THERE, values=None, deleted=True), replace(HERE, values=None, key=None)
OTHER = replace(HERE, values=("b",))


def state(here, there, *, first=None, same=None):
    equal = [here.values == there.values] if here.values and there.values else []
    return judge(first or there, here, there, equal if same is None else same)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (HERE, THERE, State.EQUAL),
        (NOTHING, GONE, State.EQUAL),
        (OTHER, THERE, State.DIFFERENT),
        (NOTHING, THERE, State.MISSING),
        (HERE, GONE, State.EXTRA),
    ],
)
def test_rows_at_rest_are_equal_or_different_missing_or_extra(here, there, expected):
    assert state(here, there) is expected


@pytest.mark.parametrize(
    ("here", "first", "there"),
    [
        (replace(OTHER, moving=True), THERE, THERE),
        (OTHER, replace(THERE, queued=True), THERE),
        (OTHER, THERE, replace(THERE, queued=True)),
        (OTHER, replace(THERE, version="v0"), THERE),
        (OTHER, replace(THERE, order=6), THERE),
        (OTHER, replace(THERE, values=("b",)), THERE),
        (NOTHING, GONE, THERE),
    ],
)
def test_a_row_that_waits_or_was_written_between_two_looks_is_moving(here, first, there):
    assert state(here, there, first=first) is State.MOVING


def test_what_is_listed_elsewhere_is_no_difference_but_equal_rows_stay_equal():
    assert state(replace(NOTHING, aside="unique"), THERE) is State.ASIDE
    assert state(OTHER, replace(THERE, parked="waiting")) is State.PARKED
    assert state(replace(HERE, aside="unique"), replace(THERE, parked="waiting")) is State.EQUAL


def test_a_row_whose_keys_alone_differ_is_different():
    assert state(HERE, THERE, same=[False, True]) is State.DIFFERENT


def cause(here, there, **told):
    return cause_of(Judged(State.DIFFERENT, here, there), {"c": ("b", "a")}, told)


def test_the_cause_tells_an_altered_row_from_a_decision_that_did_not_arrive():
    assert cause(OTHER, THERE) is Cause.ALTERED
    assert cause(replace(OTHER, version="v0"), THERE) is Cause.BEHIND
    assert cause(replace(OTHER, version=None), replace(THERE, version=None)) is None


def test_whoever_does_not_have_what_an_old_message_says_was_altered():
    assert cause(OTHER, THERE, c="a") is Cause.ALTERED_HERE
    assert cause(OTHER, THERE, c="b") is Cause.ALTERED_THERE
    assert cause(OTHER, THERE, c="neither", d="a") is Cause.ALTERED
    assert cause(NOTHING, THERE) is Cause.ALTERED_HERE
    assert cause(HERE, GONE) is Cause.ALTERED_HERE
    assert cause(HERE, replace(GONE, deleted=False)) is Cause.ALTERED_THERE


def test_a_report_names_the_first_rows_and_counts_all_of_them():
    report = Report("run", "S", 0)
    table = TableReport("t", rows=900, different=500, extra=1, repaired=1)
    report.tables.append(table)
    for number in range(500):
        report.add(
            Difference(
                table="t", id=str(number), name="", state="different", cause=None,
                columns={"c": (b"\x00", "x" * 9_999), "d": ("a\x00b", None)},
            )
        )  # fmt: skip
    told = json.loads(json.dumps(document(report)))
    assert (told["found"], told["differing"]) == (501, 500)
    assert len(told["differences"]) == NAMED_MAX
    pair = told["differences"][0]["columns"]["c"]
    assert (pair["here"], len(pair["centre"])) == ("00", 200)
    assert told["differences"][0]["columns"]["d"] == {
        "here": "a\N{SYMBOL FOR NULL}b",
        "centre": None,
    }

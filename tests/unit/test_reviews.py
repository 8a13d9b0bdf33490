"""What a person's decision comes to, whichever end it is made at."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import Column, ColumnType, Direction, Kind, Policy, Table
from shared.conflicts import Record, Review, Side
from shared.reviews import (
    BadDecision,
    Choice,
    DecidedAlready,
    NothingToDecide,
    WrittenSince,
    as_before,
    changed_by,
    check_choice,
    check_open,
    decide,
    decided_so,
    look,
)

TEXT = ColumnType(Kind.TEXT, length=40)
TABLE = Table(
    "plans",
    Direction.BOTH,
    (
        Column(
            "size",
            ColumnType(Kind.INTEGER, low=Decimal(0)),
            policy=Policy.REVIEW,
            safe="larger",
            renamed_from=("sample",),
        ),
        Column("mode", TEXT, values=("FULL", "SKIP")),
        Column("changed_by", TEXT, writer=True),
    ),
)
STANDS: dict[str, Any] = {"size": 9, "mode": "FULL", "changed_by": "planner"}


def side(**value: Any) -> Side[str]:
    return Side(value=value, site="SITE_001", writer=None, at=None)


OPEN: Review[str] = Review(
    id="r", state="OPEN", shown={"sample": 9}, take=None, value=None, decided_by=None, reason=None,
    decided_at=None,
)  # fmt: skip
#: Recorded when the column still had its earlier name.
CONFLICT: Record[str] = Record(
    id="0" * 28 + "000c0001", table="plans", row_id="p", key="P-7", group="sample",
    policy="review", verdict="review", base={"sample": 5}, here=side(sample=7),
    central=side(sample=9), result={"sample": 9}, clock_clamped=False, tx_id=None, decided_at="",
    review=OPEN,
)  # fmt: skip
DELETED = replace(CONFLICT, policy="delete", here=side())


def choice(take: str = "here", **given: Any) -> Choice:
    return Choice(**({"take": take, "reason": "re-measured", "by": "j.kiss"} | given))


def closed(take: str, value: Any = None) -> Record[str]:
    review = replace(
        OPEN, state="RESOLVED", take=take, value=value, decided_by="q.chief", reason="recall"
    )
    return replace(CONFLICT, review=review)


# --- what it writes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("take", "value", "changes", "taken"),
    [
        ("here", None, {"size": 7}, {"size": 7}),
        ("central", None, {}, {"size": 9}),
        ("value", {"size": "8"}, {"size": 8}, {"size": 8}),
        ("value", {"size": None}, {"size": None}, {"size": None}),
    ],
)
def test_a_decision_changes_what_does_not_stand_already(take, value, changes, taken):
    made = decide(TABLE, CONFLICT, STANDS, choice(take, value=value))
    assert (made.changes, made.delete, made.taken) == (changes, False, taken)


@pytest.mark.parametrize(
    ("take", "value"), [("here", None), ("central", None), ("value", {"size": 9})]
)
def test_a_decision_writes_its_columns_also_where_they_hold_the_value_already(take, value):
    assert decide(TABLE, CONFLICT, STANDS, choice(take, value=value)).columns == ("size",)


def test_of_a_row_that_is_gone_there_is_nothing_to_write():
    made = decide(TABLE, CONFLICT, None, choice("here"))
    assert (made.changes, made.columns, made.delete) == ({}, (), False)
    assert made.taken == {"size": 7}


def test_the_person_stands_in_a_row_wherever_the_row_is_written():
    here, central = (decide(TABLE, CONFLICT, STANDS, choice(each)) for each in ("here", "central"))
    assert changed_by(TABLE, here, "j.kiss") == {"size": 7, "changed_by": "j.kiss"}
    assert changed_by(TABLE, central, "j.kiss") == {"changed_by": "j.kiss"}
    gone = decide(TABLE, CONFLICT, None, choice("here"))
    assert changed_by(TABLE, gone, "j.kiss") == {}


@pytest.mark.parametrize(
    ("side_left", "columns"),
    [
        (side(size=7, mode="SKIP"), ("size",)),
        (side(sample=7, mode="SKIP", colour="red"), ("size",)),
        (side(mode="SKIP"), ()),
    ],
)
@pytest.mark.parametrize("here_deleted", [True, False])
def test_a_row_that_is_to_stay_is_written_in_the_columns_on_whose_account_it_stays(
    side_left, columns, here_deleted
):
    sides = (side(), side_left) if here_deleted else (side_left, side())
    conflict = replace(DELETED, here=sides[0], central=sides[1])
    made = decide(TABLE, conflict, STANDS, choice("central" if here_deleted else "here"))
    assert (made.columns, made.changes, made.delete) == (columns, {}, False)


@given(st.sampled_from(("here", "central")), st.booleans(), st.booleans())
def test_a_row_goes_exactly_where_the_side_that_deleted_it_is_taken(take, here_deleted, is_there):
    sides = (side(), side(sample=9)) if here_deleted else (side(sample=7), side())
    conflict = replace(DELETED, here=sides[0], central=sides[1])
    stands = STANDS if is_there else None
    if here_deleted == (take == "here"):
        made = decide(TABLE, conflict, stands, choice(take))
        assert (made.delete, made.taken, made.changes) == (is_there, {}, {})
        assert made.columns == ()
    elif is_there:
        made = decide(TABLE, conflict, stands, choice(take))
        assert (made.delete, made.taken, made.changes) == (False, None, {})
    else:
        with pytest.raises(BadDecision, match="the row is deleted"):
            decide(TABLE, conflict, stands, choice(take))


# --- what can't be written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"size": -1}, "size = -1: below the least value allowed"),
        ({"size": "many"}, "size = 'many': a whole number is expected"),
        ({"mode": "SKIP"}, "mode: not in conflict; give values of size only"),
        ({}, "give a value for one or more of size"),
        (None, "give a value for one or more of size"),
    ],
)
def test_a_value_that_can_not_be_written_is_told_with_its_rule(value, told):
    with pytest.raises(BadDecision, match=told):
        decide(TABLE, CONFLICT, STANDS, choice("value", value=value))


def test_a_value_that_the_column_does_not_allow_is_told_with_those_that_it_does():
    sides = {"group": "mode", "here": side(mode="SKIP"), "central": side(mode="FULL")}
    with pytest.raises(BadDecision, match="mode = 'HALF': one of FULL, SKIP is expected"):
        decide(TABLE, replace(CONFLICT, **sides), STANDS, choice("value", value={"mode": "HALF"}))


def test_a_value_is_no_answer_to_a_deletion():
    with pytest.raises(BadDecision, match="take here or central"):
        decide(TABLE, DELETED, STANDS, choice("value", value={"size": 3}))


@pytest.mark.parametrize(
    "made", [choice("here"), choice("value", value={"colour": "red"})], ids=["side", "value"]
)
def test_a_column_of_a_newer_catalogue_makes_the_decision_a_bad_one(made):
    newer = replace(CONFLICT, here=side(colour="red"))
    with pytest.raises(BadDecision, match="table plans has no column colour"):
        decide(TABLE, newer, STANDS, made)


def test_a_review_that_showed_an_unknown_column_is_not_decided_here():
    newer = replace(CONFLICT, review=replace(OPEN, shown={"colour": "red"}))
    with pytest.raises(BadDecision, match="it can't be decided here: table plans has no column"):
        look(TABLE, newer, STANDS)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"take": "both"}, "take here, central, value, not 'both'"),
        ({"by": " "}, "say who decides, in 1 to 80 characters"),
        ({"by": "x" * 81}, "say who decides"),
        ({"reason": ""}, "say why, in 1 to 1000 characters"),
        ({"reason": "x" * 1001}, "say why"),
    ],
)
def test_who_and_why_are_asked_for_whatever_the_conflict(given, told):
    with pytest.raises(BadDecision, match=told):
        check_choice(choice(**given))


def test_who_and_why_may_be_as_long_as_the_catalogue_has_them():
    check_choice(choice("value", by="x" * 80, reason="x" * 1000))


# --- whether there is something to decide --------------------------------------------------------


def test_what_a_policy_decided_is_for_no_person():
    with pytest.raises(NothingToDecide, match=r"policy review has decided 000c0001 \(review\)"):
        check_open(replace(CONFLICT, review=None), "")


@pytest.mark.parametrize(
    ("at", "told"),
    [("noon", "q.chief took here at noon: recall"), ("", "q.chief took here: recall")],
)
def test_what_a_person_decided_is_told_with_who_when_and_why(at, told):
    with pytest.raises(DecidedAlready) as refused:
        check_open(closed("here"), at)
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("conflict", "made", "same"),
    [
        (CONFLICT, choice("here"), False),
        (replace(CONFLICT, review=None), choice("here"), False),
        (closed("here"), choice("here", by="another", reason="also"), True),
        (closed("here"), choice("central"), False),
        (closed("value", {"sample": 8}), choice("value", value={"size": "8"}), True),
        (closed("value", {"size": 8}), choice("value", value={"size": 9}), False),
    ],
)
def test_the_same_is_the_same_side_or_the_same_values_whoever_says_it(conflict, made, same):
    assert decided_so(TABLE, conflict, made) is same


def test_what_was_decided_before_writes_nothing_and_tells_what_was_taken():
    made = as_before(closed("value", {"size": 8}))
    assert (made.changes, made.delete, made.taken) == ({}, False, {"size": 8})


# --- who has not seen what stands ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "stands", "moved"),
    [
        ({"sample": 9}, STANDS, False),
        ({"sample": 9}, STANDS | {"mode": "SKIP"}, False),
        ({"sample": 9}, STANDS | {"size": 12}, True),
        ({"sample": None}, STANDS, True),
        ({"sample": 9}, None, True),
        ({}, None, False),
        (None, None, False),
        (None, STANDS, False),
    ],
)
def test_a_row_has_moved_where_a_column_that_was_shown_stands_otherwise(shown, stands, moved):
    conflict = replace(CONFLICT, review=replace(OPEN, shown=shown))
    assert look(TABLE, conflict, stands).moved is moved


@pytest.mark.parametrize(
    ("stands", "now"), [(STANDS | {"size": 12}, '{"size": 12}'), (None, "no row")]
)
def test_who_is_refused_is_told_both_what_was_shown_and_what_stands(stands, now):
    refused = WrittenSince(look(TABLE, CONFLICT, stands), "Look again.", version="v")
    told = f'the review showed {{"size": 9}}, now stands {now}. Look again.'
    assert str(refused) == f"the row was written since: {told}"
    assert (refused.shown, refused.version) == ({"size": 9}, "v")

"""Several touches of one row are one change, decided by the row as it stands."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.store.fold import Touched, dated, decide, fold
from edge.store.lasts import differs
from shared.changes import Op

ALL = 0b111


def touch(op, mask, *old, at=1, key=("S", "T")):
    """Return a row of the log of a table with three columns."""
    site, created = key if op in "DX" else (None, None)
    return (op, "row", site, created, mask, at, *old)


def test_one_update_says_its_columns_and_what_stood_in_them():
    assert fold([touch("U", 0b010, None, "b", None, at=7)]) == Touched(
        "row", 7, 0b010, (None, "b", None), None
    )


def test_the_first_old_value_of_a_column_counts_and_the_last_time():
    folded = fold(
        [
            touch("U", 0b001, "a0", None, None, at=1),
            touch("U", 0b011, "a1", "b1", None, at=2),
            touch("U", 0b010, None, "b2", None, at=3),
        ]
    )
    assert (folded.at_ms, folded.mask, list(folded.old)) == (3, 0b011, ["a0", "b1", None])


def test_the_key_before_a_delete_or_a_replace_is_kept():
    folded = fold(
        [touch("D", ALL, 1, 2, 3, key=("S", "first")), touch("I", 0), touch("X", ALL, 4, 5, 6)]
    )
    assert folded.key == ("S", "first")
    assert list(folded.old) == [1, 2, 3]


@pytest.mark.parametrize(
    ("ops", "stood"),
    [
        ("UU", True), ("DI", True), ("XI", True), ("XIXI", True), ("XDI", True), ("XU", True),
        ("UDI", True), ("UI", False), ("UIU", False), ("UIDI", False), ("IU", False),
        ("IDI", False), ("IX", False), ("IXU", False), ("IXI", False),
    ],
)  # fmt: skip
def test_of_a_row_that_was_inserted_first_nothing_is_known_to_have_stood(ops, stood):
    touches = [touch(op, 0 if op == "I" else ALL, 1, 2, 3, at=k) for k, op in enumerate(ops)]
    assert fold(touches).mask == (ALL if stood else 0)


def decided(touches, live, *, existed=True, writer_bit=None):
    return decide(fold(touches), live, existed=existed, writer_bit=writer_bit)


def test_a_row_that_stands_and_stood_was_updated_where_it_differs():
    assert decided([touch("X", ALL, "a", "b", "c")], ["a", "B", "c"]) == (Op.UPDATE, 0b010)


def test_a_row_that_is_the_same_in_the_end_did_not_change():
    assert decided([touch("X", ALL, "a", "b", "c")], ["a", "b", "c"]) is None
    assert decided([touch("U", 0b001, "a", None, None)], ["a", 1, 2]) is None


def test_a_row_that_did_not_stand_before_was_inserted_whatever_the_log_says():
    later_update = [touch("U", 0b001, "a", None, None), touch("I", 0)]
    assert decided(later_update, ["x", 1, 2], existed=False) == (Op.INSERT, ALL)


def test_a_row_that_is_gone_was_deleted_if_anyone_knew_it():
    gone = [touch("D", ALL, 1, 2, 3)]
    assert decided(gone, None) == (Op.DELETE, 0)
    assert decided(gone, None, existed=False) is None


@pytest.mark.parametrize(
    "touches",
    [
        [touch("S", 0b001, "a", None, None)],
        [touch("S", 0b001, "a", None, None), touch("S", 0b001, "a", None, None, at=2)],
        [touch("U", 0b001, "a", None, None), touch("S", 0b001, "a", None, None, at=2)],
        [touch("U", 0b001, "a", None, None), touch("U", 0b001, "x", None, None),
         touch("S", 0b001, "a", None, None)],
        [touch("S", 0b001, "a", None, None), touch("X", ALL, "a", "b", "c"), touch("I", 0)],
    ],
    ids=["alone", "twice", "changed", "set back", "replaced"],
)  # fmt: skip
def test_what_a_person_decided_is_written_though_nothing_changed(touches):
    assert decided(touches, ["a", "b", "c"]) == (Op.UPDATE, 0b001)
    assert decided(touches, ["a", "b", "anna"], writer_bit=2) == (Op.UPDATE, 0b101)
    assert decided(touches, ["A", "b", "c"]) == (Op.UPDATE, 0b001)
    assert decided(touches, None) == (Op.DELETE, 0)
    assert fold(touches).old[0] == "a"


def test_columns_that_changed_go_with_those_that_a_person_decided():
    touches = [touch("U", 0b110, None, "b", "c"), touch("S", 0b001, "a", None, None)]
    assert decided(touches, ["a", "B", "c"]) == (Op.UPDATE, 0b011)


def test_who_wrote_goes_along_only_with_a_change_and_only_where_it_is_known():
    touches = [touch("U", 0b001, "a", None, None)]
    assert decided(touches, ["b", 1, "anna"], writer_bit=2) == (Op.UPDATE, 0b101)
    assert decided(touches, ["b", 1, None], writer_bit=2) == (Op.UPDATE, 0b001)
    assert decided(touches, ["a", 1, "anna"], writer_bit=2) is None


def test_values_of_other_types_differ_though_they_compare_equal():
    assert differs(1, 1.0)
    assert differs(1, "1")
    assert differs("a", "A")
    assert differs(None, "")
    assert not differs("a", "".join(["a"]))


# --- when each column was changed ----------------------------------------------------------------

EACH_ALONE = (0b001, 0b010, 0b100)


def times(touches, live, *, mask=None, groups=EACH_ALONE):
    """Return the row's time, and by column that of each which has another."""
    folded = fold(touches)
    mask = decide(folded, live, existed=True).mask if mask is None else mask
    done, told = dated(folded, live, [group & mask for group in groups if group & mask])
    names = {1: "a", 2: "b", 4: "c"}
    return done.at_ms, {
        name: at for columns, at in told for bit, name in names.items() if columns & bit
    }


def test_each_column_is_as_old_as_its_own_last_touch():
    touches = [
        touch("U", 0b001, "a0", None, None, at=10),
        touch("U", 0b010, None, "b0", None, at=12),
    ]
    assert times(touches, ["a1", "b1", "c"]) == (12, {"a": 10})
    assert times([*touches, touch("U", 0b001, "a1", None, None, at=13)], ["a2", "b1", "c"]) == (
        13,
        {"b": 12},
    )


def test_a_column_is_as_old_as_the_decision_that_it_stands():
    touches = [
        touch("S", 0b001, "a", None, None, at=10),
        touch("U", 0b010, None, "b0", None, at=12),
        touch("S", 0b001, "a", None, None, at=13),
    ]
    assert times(touches, ["a", "b1", "c"]) == (13, {"b": 12})
    assert times(touches[:2], ["a", "b1", "c"]) == (12, {"a": 10})


def test_the_order_of_touches_counts_where_the_clock_goes_back():
    touches = [
        touch("U", 0b001, "a0", None, None, at=12),
        touch("U", 0b010, None, "b0", None, at=10),
    ]
    assert times(touches, ["a1", "b1", "c"]) == (10, {"a": 12})


def test_touches_of_one_moment_are_one_time_and_nothing_is_kept_to_tell_them_apart():
    touches = [touch("U", 0b001, "a0", None, None), touch("U", 0b010, None, "b0", None)]
    assert fold(touches).lasts is None
    assert times(touches, ["a1", "b1", "c"]) == (1, {})
    assert fold(touches[:1]).lasts is None


def test_a_column_that_was_set_back_does_not_date_the_row():
    touches = [
        touch("U", 0b001, "a0", None, None, at=10),
        touch("U", 0b010, None, "b0", None, at=11),
        touch("U", 0b010, None, "b1", None, at=12),
    ]
    assert times(touches, ["a1", "b0", "c"]) == (10, {})


def test_an_insert_that_was_ignored_dates_nothing():
    touches = [
        touch("U", 0b001, "a0", None, None, at=10),
        touch("X", ALL, "a1", "b", "c", at=12),
    ]
    assert times(touches, ["a1", "b", "c"]) == (10, {})


def test_a_replace_dates_the_columns_in_which_it_differs_from_what_it_displaced():
    touches = [
        touch("U", 0b001, "a0", None, None, at=10),
        touch("X", ALL, "a1", "b0", "c", at=12),
        touch("I", 0, None, None, None, at=12),
    ]
    assert times(touches, ["a1", "b1", "c"]) == (12, {"a": 10})


def test_a_row_that_was_deleted_and_inserted_again_is_dated_by_the_insert():
    touches = [
        touch("D", ALL, "a0", "b0", "c", at=10),
        touch("I", 0, None, None, None, at=12),
        touch("U", 0b010, None, "b1", None, at=14),
    ]
    assert times(touches, ["a1", "b2", "c"]) == (14, {"a": 12})


def test_a_new_row_is_as_old_as_its_insert_but_for_what_was_touched_since():
    touches = [
        touch("I", 0, None, None, None, at=10),
        touch("U", 0b010, None, "b0", None, at=12),
    ]
    assert times(touches, ["a", "b1", "c"], mask=ALL) == (12, {"a": 10, "c": 10})


def test_columns_of_a_group_have_the_time_of_the_one_that_was_touched_last():
    touches = [
        touch("U", 0b001, "a0", None, None, at=10),
        touch("U", 0b010, None, "b0", None, at=11),
        touch("U", 0b100, None, None, "c0", at=12),
    ]
    assert times(touches, ["a1", "b1", "c1"], groups=(0b011, 0b100)) == (12, {"a": 11, "b": 11})
    untouched = touches[::2]
    assert times(untouched, ["a1", "b", "c1"], mask=ALL, groups=(0b011, 0b100)) == (
        12,
        {"a": 10, "b": 10},
    )


def test_a_column_that_only_goes_along_has_the_time_of_the_row():
    touches = [
        touch("U", 0b001, "a0", None, None, at=10),
        touch("U", 0b010, None, "b0", None, at=12),
    ]
    assert times(touches, ["a1", "b1", "c"], mask=ALL) == (12, {"a": 10})


values = st.lists(st.sampled_from([None, 0, 1, "", "a", b"a", 1.0]), min_size=3, max_size=3)


@given(st.lists(values, min_size=2, max_size=6))
def test_folding_updates_gives_the_difference_of_first_and_last(versions):
    touches = []
    for before, after in pairwise(versions):
        changed = [differs(a, b) for a, b in zip(before, after, strict=True)]
        mask = sum(1 << bit for bit, yes in enumerate(changed) if yes)
        if mask:
            old = [value if yes else None for value, yes in zip(before, changed, strict=True)]
            touches.append(touch("U", mask, *old))
    if not touches:
        return
    first, last = versions[0], versions[-1]
    expected = sum(1 << bit for bit in range(3) if differs(first[bit], last[bit]))
    folded = fold(touches)
    outcome = decide(folded, last, existed=True)
    assert outcome == ((Op.UPDATE, expected) if expected else None)
    for bit in range(3):
        if expected >> bit & 1:
            assert not differs(folded.old[bit], first[bit])


steps = st.tuples(st.sampled_from(["update", "replace", "ignored", "again"]), values)


@given(values, st.lists(steps, min_size=1, max_size=6))
def test_each_column_is_dated_by_the_last_statement_that_changed_it(first, statements):
    row, touches, last = first, [], {}
    for at, (what, new) in enumerate(statements):
        changed = [bit for bit in range(3) if differs(row[bit], new[bit])]
        if what == "update":
            if changed:
                old = [row[bit] if bit in changed else None for bit in range(3)]
                touches.append(touch("U", sum(1 << bit for bit in changed), *old, at=10 * at))
        else:
            gone = "D" if what == "again" else "X"
            touches.append(touch(gone, ALL, *row, at=10 * at))
            if what == "ignored":
                continue
            at_ms = 10 * at + (5 if what == "again" else 0)
            touches.append(touch("I", 0, None, None, None, at=at_ms))
        last |= dict.fromkeys(changed, touches[-1][5] if changed else 0)
        row = new
    outcome = decide(fold(touches), row, existed=True) if touches else None
    if outcome is None:
        return
    at_ms, own = times(touches, row, mask=outcome.mask)
    told = {bit: own.get(name, at_ms) for bit, name in enumerate("abc") if outcome.mask >> bit & 1}
    assert told == {bit: last[bit] for bit in told}


@given(st.lists(st.tuples(values, st.integers(0, 5)), min_size=2, max_size=6))
def test_folding_updates_dates_each_column_by_its_last_update(versions):
    touches, last = [], {}
    for (before, _), (after, at) in pairwise(versions):
        changed = [bit for bit in range(3) if differs(before[bit], after[bit])]
        if changed:
            old = [before[bit] if bit in changed else None for bit in range(3)]
            touches.append(touch("U", sum(1 << bit for bit in changed), *old, at=at))
            last |= dict.fromkeys(changed, at)
    outcome = decide(fold(touches), versions[-1][0], existed=True) if touches else None
    if outcome is None:
        return
    at_ms, own = times(touches, versions[-1][0], mask=outcome.mask)
    for bit, name in enumerate("abc"):
        if outcome.mask >> bit & 1:
            assert own.get(name, at_ms) == last[bit]

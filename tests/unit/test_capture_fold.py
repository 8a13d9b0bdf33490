"""Several touches of one row are one change, decided by the row as it stands."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.store.fold import Touched, decide, differs, fold
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

"""A row's touches are folded as they are read, and nothing is kept that grows with them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store import fold as folding
from edge.store import lasts
from edge.store.fold import dated, fold, steps
from tests.unit import plain_fold
from tests.unit.plain_fold import plain, plain_steps, plain_times

COLUMNS = 4
ALL = (1 << COLUMNS) - 1
#: The first two are edited as one thing.
GROUPS = (0b0011, 0b0100, 0b1000)

values = st.sampled_from([None, 1, 1.0, "1", "1.0", b"1"])
rows = st.tuples(*[values] * COLUMNS)


def form(_bit, value):
    """Two ways to write one number, as in a table that the plant had before."""
    return "1" if value == "1.0" else value


def logged(op, mask, at_ms, key, row):
    """Return any row of a log: the fold relies on nothing that programs do or don't."""
    mask = {"I": 0, "D": ALL, "X": ALL}.get(op, mask)
    old = [value if mask >> bit & 1 else None for bit, value in enumerate(row)]
    return (op, "row", *(key if op in "DX" else (None, None)), mask, at_ms, *old)


touch = st.builds(
    logged,
    st.sampled_from("UUUSXXDI"),
    st.integers(1, ALL),
    st.integers(1, 3),
    st.sampled_from([("S", "C"), ("S", "D"), ("T", "C")]),
    rows,
)


def agree(touches, live, counted, changed):
    folded = fold(iter(touches), counted, form)
    said = (folded.id, folded.at_ms, folded.mask, list(folded.old), folded.key, folded.kept)
    assert repr(said) == repr(tuple(plain(touches)))  # to the type: 1 and 1.0 are equal
    told = steps(folded, counted & changed)
    assert repr(told) == repr(plain_steps(touches, counted & changed))
    if folded.lasts is not None and folded.lasts.displaced is not None:
        folded.lasts.displaced = [form(bit, v) for bit, v in enumerate(folded.lasts.displaced)]
    groups = [group & changed for group in GROUPS if group & changed]
    done, times = dated(folded, [form(0, value) for value in live], groups)
    expected = plain_times(touches, [form(0, value) for value in live], groups, form)
    assert (done.at_ms, times) == expected


columns = st.integers(0, ALL)


@given(st.lists(touch, min_size=1, max_size=12), rows, columns, columns)
@settings(max_examples=400)
def test_a_streamed_fold_says_what_one_that_keeps_all_touches_says(touches, live, counted, changed):
    agree(touches, live, counted, changed)


@given(st.lists(touch, min_size=1, max_size=20), rows, columns, columns)
@settings(max_examples=200)
def test_it_says_the_same_where_masks_and_steps_are_too_many_to_keep(
    touches, live, counted, changed
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "_SOME", 3)
        patch.setattr(lasts, "_MASKS_MAX", -8)
        for module, name in ((lasts, "_STEPS_MAX"), (plain_fold, "STEPS_MAX")):
            patch.setattr(module, name, 5)
        agree(touches, live, counted, changed)


def update(mask, at):
    return ("U", "row", None, None, mask, at, *[str(at)] * COLUMNS)


LOGS = {
    "updates": lambda at: [update(0b0011, at)],
    "any columns": lambda at: [update(1 + at % ALL, at)],
    "upserts": lambda at: [
        ("X", "row", "S", "C", ALL, at, *[str(at)] * COLUMNS),
        update(0b0001, at),
    ],
    "replaces": lambda at: [
        ("X", "row", "S", "C", ALL, at, *[str(at)] * COLUMNS),
        ("I", "row", None, None, 0, at, *[None] * COLUMNS),
    ],
}


@pytest.mark.parametrize("log", LOGS)
def test_what_is_kept_of_a_row_does_not_grow_with_its_touches(log):
    peaks = []
    for times in (2_000, 20_000):
        tracemalloc.start()
        try:
            folded = fold((one for at in range(times) for one in LOGS[log](at)), counted=0b0100)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert folded.at_ms == times - 1
    # The few steps that are kept, as of 1,000 touches, and no more of ten times as many.
    assert peaks[1] < peaks[0] + 20_000 < 400_000


def test_of_any_number_of_masks_as_many_are_kept_as_there_are_columns_and_some():
    wide = 12
    masks = range(1, 1 << wide)
    folded = fold(("U", "row", None, None, mask, mask, *[None] * wide) for mask in masks)
    assert len(folded.lasts.by_mask) < wide + 6 + lasts._MASKS_MAX + 1
    done, times = dated(folded, [1] * wide, [1 << bit for bit in range(wide)])
    assert (done.at_ms, times) == (masks[-1], ())


@pytest.mark.parametrize("more", [0, 1])
def test_steps_are_kept_of_a_thousand_touches_and_none_of_more(more):
    # The last one is of another column: it counts, too.
    touches = [*(update(0b0001, at) for at in range(999 + more)), update(0b0010, 5_000)]
    found = steps(fold(touches, counted=0b0001), 0b0001)
    assert found == (None if more else {0: [(at, str(at)) for at in range(999)]})
    assert found == plain_steps(touches, 0b0001)

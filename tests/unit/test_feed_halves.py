"""An entry that is too large for a message goes as two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from central.feed import halves
from shared.changes import Fate, HeadBlock


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_halves_hold_all_rows_in_order_and_neither_is_empty(sizes):
    blocks, number = [], 0
    for size in sizes:
        ids = [str(number + k) for k in range(size)]
        number += size
        blocks.append(HeadBlock("t", Fate.PUT, ("a",), ids, ids, ids, ids, [1] * size, [ids]))
    first, second = halves(blocks)
    assert [i for b in first + second for i in b.ids] == [str(k) for k in range(number)]
    if number > 1:
        assert first
        assert second

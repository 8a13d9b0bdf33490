"""Rows that are packed one by one take the room of rows that are packed together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.store import neighbours
from edge.store.neighbours import Neighbours
from shared.changes import ChangeBlock, Op

TIMED = [((1, 9),)]


def row(number: int, *, columns: tuple[str, ...] = ("notes",), timed: bool = False) -> ChangeBlock:
    return ChangeBlock(
        "orders", Op.UPDATE, columns, ["S"], ["2026"], [str(number)], at=[number], base=[None],
        after=[f"tx{number}"], new=[[number] for _ in columns], old=[[-number] for _ in columns],
        times=list(TIMED) if timed else [],
    )  # fmt: skip


def packed(*blocks: ChangeBlock) -> list[ChangeBlock]:
    found: list[ChangeBlock] = []
    rows = Neighbours(found.append)
    for block in blocks:
        rows.add(block)
    rows.flush()
    return found


def test_neighbouring_rows_of_one_shape_make_one_block() -> None:
    (block,) = packed(*map(row, range(5)))
    assert block.new == [[0, 1, 2, 3, 4]]
    assert block.old == [[0, -1, -2, -3, -4]]
    assert block.after == ["tx0", "tx1", "tx2", "tx3", "tx4"]
    assert block.times == []


def test_rows_of_another_table_shape_or_kind_stay_apart() -> None:
    other = row(1, columns=("notes", "made"))
    gone = replace(row(2), op=Op.DELETE, columns=(), new=[], old=[])
    made = replace(row(2), table="lines")
    assert [len(block) for block in packed(row(0), other, gone, made, row(3))] == [1] * 5


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 7))
def test_row_by_row_what_comes_out_is_what_went_in(shapes, size) -> None:
    rows = [
        row(number, columns=("notes", "made") if wide else ("notes",), timed=timed)
        for number, (wide, timed) in enumerate(shapes)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neighbours, "ROWS_MAX", size)
        blocks = packed(*rows)
    assert all(len(block) <= size for block in blocks)
    singles = [b.part(slice(at, at + 1)) for b in blocks for at in range(len(b))]
    assert [replace(one, times=one.times if any(one.times) else []) for one in singles] == rows

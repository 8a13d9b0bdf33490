"""Columns become COPY text that gives the same values back, whatever characters are in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.canonical import parse_copy
from central.store.literals import array, copy_text
from shared.catalog import Kind

if TYPE_CHECKING:
    from shared.changes import Value

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
KINDS: dict[Kind, st.SearchStrategy[Value]] = {
    Kind.TEXT: TEXTS | st.sampled_from(["\\N", "", "NULL", "\t", "a\\", '"', "{}", "\r\n"]),
    Kind.UUID: st.uuids().map(str),
    Kind.INTEGER: st.integers(-(1 << 63), (1 << 63) - 1),
    Kind.BOOLEAN: st.sampled_from([0, 1]),
    Kind.FLOAT: st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0),
    Kind.DECIMAL: st.sampled_from(["0", "-1.5", "123456789012.654321"]),
    Kind.BYTES: st.binary(max_size=8),
    Kind.SET: st.sampled_from(["[]", '["a\\"b","c,d"]']),
    Kind.JSON: st.sampled_from(['{"a": "\\n"}', "[1, 2]", '"\\\\"']),
}


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[Kind, list[Value]]]:
    rows = draw(st.integers(1, 6))
    return [
        (kind, draw(st.lists(st.none() | KINDS[kind], min_size=rows, max_size=rows)))
        for kind in draw(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=4))
    ]


@given(tables())
def test_copy_text_read_back_is_what_was_written(columns: list[tuple[Kind, list[Value]]]) -> None:
    rows = len(columns[0][1])
    text = copy_text(columns, rows).decode()
    assert text.count("\n") == rows
    assert parse_copy(text, [kind for kind, _ in columns]) == [values for _, values in columns]


def test_a_row_of_constants_is_one_row_and_no_rows_are_no_text() -> None:
    columns: list[tuple[Kind, list[Value]]] = [(Kind.TEXT, ["a"]), (Kind.UUID, [None])]
    assert copy_text(columns, 1) == b"a\t\\N\n"
    assert copy_text([(Kind.TEXT, [])], 0) == b""


@pytest.mark.parametrize(
    ("kind", "values", "literal"),
    [
        (Kind.TEXT, ["a", None, 'b"\\', "NULL"], '{"a",NULL,"b\\"\\\\","NULL"}'),
        (Kind.TEXT, [], "{}"),
        (Kind.INTEGER, [1, None, -2], "{1,NULL,-2}"),
        (Kind.UUID, [None, None], "{NULL,NULL}"),
        (Kind.BYTES, [b"\x00\xff", None], '{"\\\\x00ff",NULL}'),
        (Kind.BOOLEAN, [1, 0, True], "{1,0,1}"),
        (Kind.FLOAT, [0.1, 1e300], "{0.1,1e+300}"),
    ],
)
def test_array_literals_quote_what_must_be_quoted(
    kind: Kind, values: list[Value], literal: str
) -> None:
    assert array(kind, values).replace("True", "1") == literal

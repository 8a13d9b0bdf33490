"""Values of planners: each kind as JSON has it, there and back."""

from __future__ import annotations

import pytest

from central.row_values import BadRow, changes, told, whole
from central.row_writing import Writing
from shared.catalog import Column, ColumnType, Direction, Kind, Table
from shared.catalog_file import load_catalog

TABLE = Table(
    "plants",
    Direction.BOTH,
    (
        Column("picture", ColumnType(Kind.BYTES)),
        Column("tags", ColumnType(Kind.SET)),
        Column("weight", ColumnType(Kind.FLOAT)),
        Column("is_open", ColumnType(Kind.BOOLEAN), default=0),
        Column("plan", ColumnType(Kind.JSON)),
        Column("opens", ColumnType(Kind.TIME)),
        Column("made_on", ColumnType(Kind.DATE)),
        Column("by", ColumnType(Kind.TEXT, length=10), writer=True),
    ),
)
GIVEN = {
    "picture": "00ff", "tags": ["b", "a", "b"], "weight": 1, "is_open": True, "plan": {"a": [1]},
    "opens": "06:30", "made_on": "2026-11-27",
}  # fmt: skip


def test_values_are_kept_in_their_one_form_and_told_as_json_has_them():
    kept = whole(TABLE, GIVEN)
    assert kept == {
        "picture": b"\x00\xff", "tags": '["a","b"]', "weight": 1.0, "is_open": 1,
        "plan": '{"a":[1]}', "opens": "06:30", "made_on": "2026-11-27",
    }  # fmt: skip
    shown = told(TABLE, kept)
    assert shown == GIVEN | {"tags": ["a", "b"], "plan": '{"a":[1]}'}
    assert shown["is_open"] is True
    assert changes(TABLE, shown, kept) == {}


def test_null_is_null_in_all_kinds():
    empty = whole(TABLE, {})
    assert told(TABLE, empty) == dict.fromkeys(GIVEN) | {"is_open": False}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"picture": "0g"}, "hexadecimal"),
        ({"picture": 1}, "bytes are expected"),
        ({"weight": True}, "not true or false"),
        ({"tags": True}, "not true or false"),
        ({"tags": [1]}, "texts only"),
        ({"is_open": None, "opens": "25:00"}, "time of day"),
        ({"plan": {"a": "\ud800"}}, "surrogates"),
    ],
)
def test_what_is_no_value_of_its_kind_is_refused(given, rule):
    with pytest.raises(BadRow, match=rule):
        whole(TABLE, given)


def test_who_writes_is_cut_to_the_place_that_there_is():
    writing = Writing(load_catalog(), TABLE, "SITE_001", "user 248289761001")
    assert writing.signed({"weight": 1.0}) == {"weight": 1.0, "by": "user 24828"}

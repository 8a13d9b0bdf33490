"""A record of the history: what names it, what it is read from, and how people read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.conflict_lines import portrait, resolving
from shared.conflicts import Record, UnknownConflict, check_name, recorded, the_one

ROW: dict[str, Any] = {
    "id": "0" * 28 + "000c0001", "table_name": "plans", "row_id": "p", "column_group": "size",
    "policy": "review", "verdict": "review", "base_value": {"size": 5},
    "here_value": {"size": 7}, "here_site": "SITE_001", "here_writer": "j.kiss", "here_at": "noon",
    "central_value": {"size": 9}, "central_site": "*", "central_writer": None, "central_at": None,
    "result_value": {"size": 9}, "clock_clamped": 0, "tx_id": "t", "decided_at": "later",
    "review_id": "r", "state": "OPEN", "shown_value": {"size": 9}, "take": None, "taken": None,
    "decided_by": None, "reason": None, "taken_at": None,
}  # fmt: skip


def record(**changed: Any) -> Record[str]:
    return Record(key="P-7", **recorded(ROW | changed))


RESOLVED: dict[str, Any] = {
    "state": "RESOLVED", "take": "value", "taken": {"size": 8}, "decided_by": "q.chief",
    "reason": "recall", "taken_at": "evening",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "open"),
        ({"state": "RESOLVED"}, "resolved"),
        ({"review_id": None}, "decided"),
        ({"state": None}, "decided"),
    ],
)
def test_a_record_waits_for_a_person_until_its_review_is_closed(changed, state):
    assert record(**changed).state == state


def test_a_record_is_read_with_both_sides_and_its_review():
    found = record(**RESOLVED)
    assert (found.here.value, found.here.site, found.here.at) == ({"size": 7}, "SITE_001", "noon")
    assert (found.central.value, found.central.site, found.central.at) == ({"size": 9}, "*", None)
    assert found.review is not None
    assert (found.review.value, found.review.decided_at) == ({"size": 8}, "evening")
    assert (found.clock_clamped, found.row) == (False, "plans P-7")
    assert replace(found, key=None).row == "plans p"


@pytest.mark.parametrize("name", ["", "abc", "000C0001", "%", "c0001'", "0" * 37])
def test_what_can_be_no_id_and_no_end_of_one_names_no_conflict(name):
    with pytest.raises(UnknownConflict, match="names no conflict: give an id"):
        check_name(name)


def test_a_name_has_to_name_exactly_one_conflict():
    one, other = record(), record(id="f" * 36)
    check_name(one.short)
    assert the_one([one], one.short, command="mes-sync") is one
    with pytest.raises(UnknownConflict, match=r"no conflict 0001; see `mes-sync conflicts list"):
        the_one([], "0001", command="mes-sync")
    with pytest.raises(UnknownConflict, match=f"0001 names several: {one.id}, {other.id}"):
        the_one([one, other], "0001", command="mes-sync")


def test_a_conflict_that_waits_is_shown_with_both_sides_and_what_stands():
    lines = list(portrait("plans P-7", record(clock_clamped=1), {"size": 9, "mode": "x"}, str))
    assert lines == [
        "plans P-7, size: \x1b[33m\x1b[1mopen\x1b[0m",
        "  base     size = 5",
        "  here     size = 7  by j.kiss at SITE_001  noon",
        "  central  size = 9  at the centre",
        "  clock    one ran ahead and was held to 5 min",
        "  verdict  review by policy review, later",
        "  result   size = 9",
        "  stands   size = 9",
    ]


def test_a_decided_conflict_is_shown_with_who_decided_what():
    lines = list(portrait("plans P-7", record(**RESOLVED), None, str))
    assert lines[-3:] == [
        "  stands   no row",
        "  decided  value by q.chief, evening: recall",
        "  taken    size = 8",
    ]


def test_an_own_value_is_offered_only_where_no_side_deleted_the_row():
    typed = "mes-sync conflicts resolve 000c0001 --take here|central"
    assert resolving("mes-sync", record()) == f"{typed}|value=..."
    assert resolving("mes-sync", record(policy="delete")) == typed

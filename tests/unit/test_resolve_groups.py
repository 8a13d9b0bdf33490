"""Columns that are edited as one thing, and the column that holds the person who wrote."""

from __future__ import annotations

import pytest

from shared.catalog_file import load_catalog
from sync.resolve import CENTRE, Outcome, resolve
from tests.unit.resolve_cases import TABLE, Row, after, author, contest, head, update, wrote

AT = "2026-01-01T07:00:00.000Z"
CHARACTERISTICS = load_catalog().table("inspection_characteristics")
IN_MM, IN_INCHES = ("5", "4", "6", "mm"), ("0.16", "0.15", "0.17", "in")


def test_two_columns_of_one_group_are_never_torn_apart():
    write = update("S1", 90, old={"line": "L1", "slot": "1"}, line="L1", slot="2")
    row, conflict = contest(write, line="L2", slot="1")
    assert (row["line"], row["slot"]) == ("L2", "1")
    assert conflict.columns == ("line", "slot")


def test_different_columns_of_one_group_are_in_conflict():
    _, conflict = contest(update("S1", 200, slot="2"), line="L2")
    assert conflict.here == {"slot": "2"}
    assert conflict.central == {"line": "L2", "slot": None}


@pytest.mark.parametrize(("at_ms", "person"), [(200, "Ann"), (50, "Bo")])
def test_the_person_who_wrote_follows_the_side_that_stands(at_ms, person):
    there = update(CENTRE, 100, notes="there", changed_by="Bo")
    row = after([there, update("S1", at_ms, notes="here", changed_by="Ann")])
    assert row.head["changed_by"] == person
    assert [c.group for c in row.conflicts] == ["notes"]


def test_the_person_who_wrote_follows_a_write_of_which_only_a_part_takes_effect():
    there = update(CENTRE, 100, due="May", changed_by="Bo")
    row = after([there, update("S1", 101, due="June", notes="greased", changed_by="Ann")])
    assert (row.head["due"], row.head["notes"], row.head["changed_by"]) == ("May", "greased", "Ann")


def test_a_site_that_corrects_who_acknowledged_is_not_held_to_who_was_first():
    there = update(CENTRE, 100, acked_at="2026-01-01T08:00:00.000Z", acked_by="Bo")
    mine = update("S1", 101, acked_at=AT, acked_by="Ann")
    slip = update("S1", 102, old={"acked_at": AT, "acked_by": "Ann"}, acked_at=AT, acked_by="Anna")
    row = after([there, mine, slip])
    assert row.head["acked_by"] == "Anna"
    assert len(row.conflicts) == 1


def test_what_another_wrote_of_a_group_is_recorded_even_where_a_part_of_it_is_ones_own():
    since = [wrote("S2", 90, "line", "slot"), wrote("S1", 95, "slot")]
    stands = head(line="there", slot="mine")
    done = resolve(TABLE, stands, None, since, update("S1", 99, line="here", slot="mine"))
    assert done.values == {"line": "here"}
    [conflict] = done.conflicts
    assert (conflict.central["line"], conflict.central_author) == ("there", author("S2", 90))


def test_a_write_that_leaves_out_what_is_compared_gives_way_as_a_whole():
    row = after([update(CENTRE, acked_at=AT, acked_by="Bo"), update("S1", acked_by="Ann")])
    assert (row.head["acked_at"], row.head["acked_by"]) == (AT, "Bo")
    assert row.conflicts[0].outcome is Outcome.CENTRAL


@pytest.mark.parametrize("centre", [IN_INCHES, ("9", "8.9", "9.1", "mm")])
@pytest.mark.parametrize("site_first", [True, False])
def test_limits_of_two_units_or_with_no_room_between_them_are_the_sites_as_a_whole(
    centre, site_first
):
    limits = CHARACTERISTICS.group_of("lsl").columns
    writes = [
        update("S1", **dict(zip(limits, IN_MM, strict=True))),
        update(CENTRE, **dict(zip(limits, centre, strict=True))),
    ]
    row = Row(CHARACTERISTICS, head=dict.fromkeys(CHARACTERISTICS.names))
    for write in writes if site_first else writes[::-1]:
        row.take(write)
    assert tuple(row.head[name] for name in limits) == IN_MM
    assert [c.outcome for c in row.conflicts] == [Outcome.REVIEW]

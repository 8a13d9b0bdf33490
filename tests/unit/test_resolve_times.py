"""A column is as old as its own last touch, whatever else of its row was touched later."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.decisions import CENTRE, Moment, Outcome, Version, Write
from sync.resolve import resolve
from tests.unit.resolve_cases import TABLE, author, head, update, wrote

TEN, ELEVEN, NOON = 1000, 1100, 1200


def dated(made: Write | Version, at_ms: int, *columns: str, clamped: bool = False):
    """Return a write or a version in which these columns were touched at another time."""
    return replace(made, times=(*made.times, (frozenset(columns), Moment(at_ms, clamped))))


def test_a_column_touched_before_the_centres_write_loses_though_its_row_was_touched_after():
    write = dated(update("S1", NOON, notes="site", line="L2"), TEN, "notes")
    done = resolve(TABLE, head(notes="centre"), None, [wrote(CENTRE, ELEVEN, "notes")], write)
    assert (done.values, done.overruled) == ({"line": "L2"}, {"notes"})
    [conflict] = done.conflicts
    assert (conflict.outcome, conflict.here_author.at_ms) == (Outcome.CENTRAL, TEN)
    assert conflict.central_author == author(CENTRE, ELEVEN)


def test_a_column_touched_after_the_centres_write_wins_though_its_row_says_earlier():
    """The clock went back between the two touches."""
    write = dated(update("S1", TEN, notes="site", line="L2"), NOON, "notes")
    done = resolve(TABLE, head(notes="centre"), None, [wrote(CENTRE, ELEVEN, "notes")], write)
    assert done.values == {"notes": "site", "line": "L2"}
    assert done.conflicts[0].here_author.at_ms == NOON


def test_what_stands_is_as_old_as_its_column_not_as_its_version():
    there = dated(wrote(CENTRE, NOON, "notes", "due"), TEN, "notes")
    done = resolve(TABLE, head(notes="old"), None, [there], update("S1", ELEVEN, notes="site"))
    assert done.values == {"notes": "site"}
    assert done.conflicts[0].central_author.at_ms == TEN


def test_a_merged_version_counts_with_the_time_of_each_of_its_columns():
    """S1 touched the line at noon and the notes at ten, in which it was overruled at eleven."""
    merged = replace(
        dated(wrote("S1", NOON, "notes", "line"), TEN, "notes"), overruled=frozenset({"notes"})
    )
    since = [wrote("S2", ELEVEN, "notes"), merged]
    later = update("S3", ELEVEN + 1, notes="new", line="L9")
    done = resolve(TABLE, head(notes="S2's", line="L1"), None, since, later)
    assert (done.values, done.overruled) == ({"notes": "new"}, {"line"})


def test_a_sites_clock_counts_no_less_than_its_earlier_write_of_that_column_only():
    before = dated(wrote("S1", NOON, "notes", "line"), TEN, "notes")
    since = [before, wrote(CENTRE, ELEVEN, "notes")]
    write = update("S1", TEN + 1, notes="site")
    done = resolve(TABLE, head(notes="centre"), None, since, write)
    assert done.overruled == {"notes"}
    loses = resolve(TABLE, head(notes="centre"), None, [since[1], before], write)
    assert loses.overruled == {"notes"}


def test_a_group_is_as_late_as_the_latest_of_its_columns_that_was_written():
    write = dated(update("S1", NOON, line="L", slot="2", notes="n"), TEN, "line")
    stands = head(line="C", slot="1")
    done = resolve(TABLE, stands, None, [wrote(CENTRE, ELEVEN, "line", "slot")], write)
    assert (done.values["line"], done.values["slot"]) == ("L", "2")
    write = dated(write, TEN, "slot")
    done = resolve(TABLE, stands, None, [wrote(CENTRE, ELEVEN, "line", "slot")], write)
    assert done.overruled == {"line", "slot"}


@pytest.mark.parametrize("clamped", [True, False])
def test_a_record_says_whether_the_clock_of_its_own_column_was_held(clamped: bool):
    write = dated(update("S1", NOON, notes="site", line="L"), TEN, "notes", clamped=clamped)
    write = replace(write, author=replace(write.author, clamped=not clamped))
    done = resolve(TABLE, head(notes="centre"), None, [wrote(CENTRE, ELEVEN, "notes")], write)
    assert done.conflicts[0].here_author.clamped is clamped


COLUMNS = ("notes", "shelf", "line")
times = st.dictionaries(st.sampled_from(COLUMNS), st.integers(0, 9), max_size=3)


@given(st.integers(0, 9), times, st.integers(0, 9), times)
def test_columns_written_together_are_decided_as_if_each_were_written_alone(
    here_ms: int, here: dict[str, int], there_ms: int, there: dict[str, int]
):
    write = update("S1", here_ms, **dict.fromkeys(COLUMNS, "S1"))
    version = wrote("S2", there_ms, *COLUMNS)
    for name, at_ms in here.items():
        write = dated(write, at_ms, name)
    for name, at_ms in there.items():
        version = dated(version, at_ms, name)
    stands = head(**dict.fromkeys(COLUMNS, "S2"))
    together = resolve(TABLE, stands, None, [version], write)
    for name in COLUMNS:
        alone = resolve(
            TABLE,
            stands,
            None,
            [wrote("S2", there.get(name, there_ms), name)],
            update("S1", here.get(name, here_ms), **{name: "S1"}),
        )
        assert together.values.get(name) == alone.values.get(name)

"""What a comparison came to is told whole: what differs, what was left out, what to type next."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest

from central.cli.verify import _seat
from edge.cli.verify import _SEAT
from edge.differences import (
    NAMED_MAX,
    Cause,
    Difference,
    Report,
    State,
    TableReport,
    document,
)
from shared.compare_lines import Asked, is_equal, lines

SEATS = {"site": _SEAT, "centre": _seat("SITE_001")}
COLUMNS = {"priority": (3, 50), "notes": (None, "first shift")}
DIFFERS = Difference(
    table="work_orders", id="01a00000-0000-7000-8000-0000771204", name="WO-771204",
    state=State.DIFFERENT, cause=Cause.ALTERED_HERE, columns=COLUMNS,
)  # fmt: skip


def report(*tables: TableReport, differences: tuple[Difference, ...] = ()) -> dict:
    found = list(tables)
    return document(
        Report("run", "SITE_001", 0, 1_250, sent_bytes=900, received_bytes=4_000,
               tables=found, differences=list(differences))
    )  # fmt: skip


def told(seat: str, found: dict, *tables: str, repair: bool = False) -> list[str]:
    asked = Asked(tables=tables, repair=repair)
    return [click.unstyle(line) for line in lines(SEATS[seat], found, asked)]


@pytest.mark.parametrize("seat", SEATS)
def test_equal_tables_take_one_line_with_rows_and_cost(seat):
    found = report(TableReport("a", rows=12_000), TableReport("b", rows=1))
    assert told(seat, found) == [
        "EQUAL  SITE_001: 12 001 rows of 2 tables are the same at both ends (1.2 s, 4.9 kB)"
    ]
    assert is_equal(found)


def test_whatever_was_not_compared_is_told_at_the_centre_as_at_the_site():
    found = report(
        TableReport("a", rows=10, moving=3, aside=2, parked=4, unknown=("x", "y"), more=True),
        TableReport("b", skipped="the centre's catalogue has no such table yet"),
    )
    assert told("site", found) == [
        "PARTLY  SITE_001: 10 rows of 1 table are the same at both ends,"
        " but for what was left out (1.2 s, 4.9 kB)",
        "  left out  3 rows on the way, could not be compared; does the agent run?",
        "  left out  2 rows stand aside here: mes-sync parked list",
        "  left out  4 rows wait at the centre, or given up there: mes-sync parked list --all",
        "  left out  a: more rows differ; repair these, then go on",
        "  left out  a: the centre lacks x, y",
        "  left out  b: the centre's catalogue has no such table yet",
        "  next      mes-sync verify --repair",
    ]
    assert told("centre", found)[1:] == [
        "  left out  3 rows on the way, could not be compared; run it again",
        "  left out  2 rows stand aside at the site: mes-sync parked list there",
        "  left out  4 rows wait at the centre, or given up there:"
        " mes-central parked list --site SITE_001 --all",
        "  left out  a: more rows differ; repair these, then go on",
        "  left out  a: the centre lacks x, y",
        "  left out  b: the centre's catalogue has no such table yet",
        "  next      mes-central verify --site SITE_001 --repair",
    ]
    assert not is_equal(found)


@pytest.mark.parametrize("name", ["moving", "aside", "parked"])
def test_a_row_that_waits_is_left_out_and_no_difference(name):
    found = report(replace(TableReport("a", rows=10), **{name: 1}))
    first, second = told("centre", found)
    assert first.startswith("EQUAL  SITE_001: 10 rows of 1 table are the same at both ends, but")
    assert second.startswith("  left out  1 row ")
    assert is_equal(found)


def test_where_no_table_was_compared_nothing_is_called_equal():
    found = report(TableReport("a", skipped="the centre's catalogue has no such table yet"))
    assert told("site", found, "a")[0] == (
        "PARTLY  SITE_001: no table was compared (1.2 s, 4.9 kB)"
    )
    assert not is_equal(found)


def test_a_column_that_differs_is_named_with_both_values_and_the_cause():
    found = report(TableReport("work_orders", rows=2_000, different=1), differences=(DIFFERS,))
    assert told("centre", found) == [
        "DIFFERENT  SITE_001: 1 row differs, of 2 000 rows of 1 table (1.2 s, 4.9 kB)",
        "  work_orders: 1 different, 0 missing, 0 extra",
        "TABLE        ROW        COLUMN    SITE  CENTRE       WHAT",
        "work_orders  WO-771204  priority  3     50           other values",
        "work_orders  WO-771204  notes     null  first shift  other values",
        "  cause     both ends name the same version: the row was changed past the bookkeeping,"
        " at the site",
        "  next      mes-central verify --site SITE_001 --repair",
    ]
    assert "TABLE        ROW        COLUMN    HERE  CENTRE" in told("site", found)[2]
    assert told("site", found)[5].endswith("past the bookkeeping, here")


@pytest.mark.parametrize(
    ("state", "site", "centre"),
    [
        (State.MISSING, "only at the centre", "only at the centre"),
        (State.EXTRA, "only here", "only at the site"),
    ],
)
def test_a_row_that_one_end_lacks_is_named_without_values(state, site, centre):
    lone = replace(DIFFERS, state=state, name="", cause=None)
    found = report(replace(TableReport("a"), **{state.value: 1}), differences=(lone,))
    assert told("site", found)[3] == f"work_orders  00771204  *       -     -       {site}"
    assert told("centre", found)[3] == f"work_orders  00771204  *       -     -       {centre}"


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("seat", SEATS)
def test_every_cause_is_told_in_words(seat, cause):
    found = report(TableReport("a", different=1), differences=(replace(DIFFERS, cause=cause),))
    (line,) = [line for line in told(seat, found) if line.startswith("  cause")]
    assert " the " in line
    assert cause.value not in line.split()


@pytest.mark.parametrize("seat", SEATS)
def test_repairs_are_counted_by_what_was_done(seat):
    names = ("sent", "sent", "resend", "restored", "keys", "lost", "moved")
    rows = tuple(replace(DIFFERS, repair=name) for name in names)
    found = report(TableReport("a", rows=9, different=7, repaired=5), differences=rows)
    said = told(seat, found, repair=True)
    assert said[0].startswith("DIFFERENT  SITE_001: 7 rows differed, 2 differ still; of 9 rows")
    done = [line.removeprefix("  repair    ") for line in said if line.startswith("  repair")]
    here = SEATS[seat].here
    assert done == [
        f"2 rows: the centre sends its row; what stood {here} is in `{SEATS[seat].history}`",
        "1 row: sent to the centre again",
        f"1 row: lost at the centre; put back there as it stands {here}",
        "1 row: keys put right",
        "1 row: lost at the centre, and can't be put back from the site: restore it there",
        "1 row: written meanwhile; run it again",
    ]
    assert not [line for line in said if line.startswith("  next")]


def test_a_word_that_only_a_newer_site_knows_is_shown_as_it_is():
    found = report(TableReport("a", different=1), differences=(DIFFERS,))
    found["differences"][0] |= {"cause": "eclipse", "repair": "waited"}
    assert "  cause     eclipse" in told("centre", found)
    assert "  repair    1 row: waited" in told("centre", found)


@pytest.mark.parametrize("seat", SEATS)
def test_rows_beyond_those_named_are_counted(seat):
    found = report(
        TableReport("a", different=NAMED_MAX + 1_000), differences=(DIFFERS,) * NAMED_MAX
    )
    assert "and 1 000 rows more" in told(seat, found)


@pytest.mark.parametrize(
    ("seat", "command"),
    [("site", "mes-sync verify"), ("centre", "mes-central verify --site SITE_001")],
)
def test_the_next_step_repairs_no_other_tables_than_were_asked_for(seat, command):
    found = report(TableReport("a", different=1), differences=(DIFFERS,))
    assert told(seat, found, "a", "b")[-1] == f"  next      {command} --table a --table b --repair"


def test_what_was_too_much_for_one_repair_is_not_called_equal_and_goes_on():
    found = report(
        TableReport("a", rows=5, different=1, repaired=1, more=True), differences=(DIFFERS,)
    )
    said = told("site", found, repair=True)
    assert said[0].startswith("PARTLY  SITE_001: 1 row differed, none differs any more")
    assert said[-1] == "  next      mes-sync verify --repair"
    assert not is_equal(found)

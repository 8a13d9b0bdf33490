"""Mutants of reports on production: sums, names, cuts, shares, pages, and who sees what."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

STATEMENT: Final = "central/reports/statement.py"
SOURCES: Final = "central/reports/sources.py"
CLIPPED: Final = "central/reports/clipped.py"
DAYS: Final = "central/reports/machine_days.py"
PAGING: Final = "central/reports/paging.py"
TESTS: Final = "tests/integration/test_reports.py"
OEE: Final = "tests/integration/test_reports_oee.py"
UNIT: Final = "tests/unit/test_report_question.py"

OF_REPORTS: Final[tuple[Mutant, ...]] = (
    of(
        "reports: single reports are asked of a rollup",
        SOURCES, "and (each.is_facts or not wanted.reports)", "and True",
        f"{UNIT}::test_a_question_is_read_from_the_smallest_source_that_knows_all_of_it",
    ),
    of(
        "reports: a window of instants is taken for one of quarters",
        SOURCES, "reports or not _in_quarters(question)", "reports",
        f"{UNIT}::test_a_question_is_read_from_the_smallest_source_that_knows_all_of_it",
    ),
    of(
        "reports: an order's quantity is added for each of its reports",
        STATEMENT, "CASE WHEN {once} = 1 THEN o.qty_ordered END", "o.qty_ordered",
        f"{TESTS}::test_an_order_is_counted_once_however_often_it_is_reported_on",
    ),
    of(
        "reports: the last of a page comes again",
        PAGING, 'sign = "<" if place.descending else ">"',
        'sign = "<=" if place.descending else ">="',
        f"{TESTS}::test_pages_of_an_answer_are_the_answer",
    ),
    of(
        "reports: what has no value is on no later page",
        PAGING, 'f"({column} {sign} {given} OR {column} IS NULL)"', 'f"({column} {sign} {given})"',
        f"{TESTS}::test_pages_of_an_answer_are_the_answer",
    ),
    of(
        "reports: a cursor is taken as it comes",
        PAGING,
        "if len(after) != len(self.places) or not all(map(_fits, self.places, after)):",
        "if False:",
        f"{UNIT}::test_a_cursor_that_somebody_made_up_is_refused",
    ),
    of(
        "reports: pieces count in each part of a report",
        CLIPPED, 'ends = f"({AT} <@ c.whole)"', 'ends = "true"',
        f"{TESTS}::test_cut_minutes_and_pieces_add_up_over_any_division_of_time",
    ),
    of(
        "reports: days are cut at midnight",
        CLIPPED, '"(({day})::date + z.day_start) AT TIME ZONE z.zone"',
        '"(({day})::date)::timestamp AT TIME ZONE z.zone"',
        f"{TESTS}::test_minutes_are_cut_at_business_days_of_25_hours_as_the_calendar_has_them",
    ),
    of(
        "reports: a site is not named, so that all partitions are looked at",
        STATEMENT, 'f" WHERE r.site_id IN ({literals(question.sites)})"', '" WHERE true"',
        f"{UNIT}::test_a_question_names_its_sites_in_every_table_that_is_split",
    ),
    of(
        "oee: breaks are worked through",
        DAYS, "coalesce({levels}) - coalesce({off}, '{{}}') AS planned",
        "coalesce({levels}) AS planned",
        f"{OEE}::test_oee_is_availability_times_effectiveness_times_quality",
    ),
    of(
        "oee: the calendar of the site goes before that of a machine",
        DAYS, "for each in (of_machine, of_line, of_site))",
        "for each in (of_site, of_line, of_machine))",
        f"{OEE}::test_the_calendar_of_a_machine_goes_before_its_lines_and_the_sites",
    ),
    of(
        "oee: a line runs beside its machines",
        DAYS, "CASE WHEN z.is_leaf AND c.planned", "CASE WHEN c.planned",
        f"{OEE}::test_what_is_reported_on_a_line_adds_no_planned_time_to_that_of_its_machines",
    ),
    of(
        "oee: a rate that is to come counts now",
        DAYS, "q.effective_from <= {at}", "true",
        f"{OEE}::test_the_rate_of_a_part_and_operation_goes_before_a_general_one",
    ),
    of(
        "reports: an answer is complete until later than its rows",
        "central/reports/answer.py",
        "return any(through is None or through < min(until, as_of) for through in known.values())",
        "return False",
        f"{TESTS}::test_an_answer_says_until_when_it_is_complete",
    ),
)  # fmt: skip

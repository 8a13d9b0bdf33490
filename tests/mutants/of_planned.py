"""Mutants of planned time, of what it counts for, and of until when a site is complete."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

PLANNED: Final = "central/reports/planned.py"
DAYS: Final = "central/reports/machine_days.py"
KPIS: Final = "central/reports/kpis.py"
THROUGH: Final = "central/migrations/0038_complete_through.sql"
OEE: Final = "tests/integration/test_reports_oee.py"
TESTS: Final = "tests/integration/test_reports_planned.py"
HELLO: Final = "tests/integration/test_hello_completes.py"

OF_PLANNED: Final[tuple[Mutant, ...]] = (
    of(
        "oee: breaks are worked through",
        PLANNED, " coalesce(range_agg(d.work), '{}') - coalesce(range_agg(d.off), '{}') END",
        " coalesce(range_agg(d.work), '{}') END",
        f"{OEE}::test_oee_is_availability_times_effectiveness_times_quality",
    ),
    of(
        "oee: the calendar of the site goes before that of a machine",
        PLANNED, "array_agg(k.work ORDER BY k.level)", "array_agg(k.work ORDER BY k.level DESC)",
        f"{OEE}::test_the_calendar_of_a_machine_goes_before_its_lines_and_the_sites",
    ),
    of(
        "oee: one shift of its own takes a machine those of all other days",
        PLANNED, "SELECT k.site_id, k.id, k.day,", "SELECT k.site_id, k.id, NULL::date AS day,",
        f"{TESTS}::test_a_shift_of_its_own_on_saturday_leaves_a_machine_the_sites_shifts_of_other_"
        "days",
    ),
    of(
        "oee: an entry is of the day in which it begins, whatever day it names",
        PLANNED, "coalesce(r.business_date, {DAY_OF.format(at=starts)})",
        "{DAY_OF.format(at=starts)}",
        f"{TESTS}::test_an_entry_is_of_the_business_day_that_it_names",
    ),
    of(
        "oee: the calendar of a line is not that of machines in its cells",
        "central/reports/dimensions.py", "WHEN l.level <> 'LINE' AND h.level = 'LINE'",
        "WHEN false",
        f"{TESTS}::test_the_calendar_of_a_line_holds_for_machines_in_cells_of_it",
    ),
    of(
        "oee: what is planned for other weeks is known to be nothing in this one",
        PLANNED, "CASE WHEN bool_or(d.is_within) THEN", "CASE WHEN true THEN",
        f"{TESTS}::test_what_is_planned_for_other_weeks_leaves_planned_time_unknown",
    ),
    of(
        "oee: a line runs beside its machines",
        DAYS, '"z.is_leaf AND z.known', '"z.known',
        f"{OEE}::test_what_is_reported_on_a_line_adds_no_planned_time_to_that_of_its_machines",
    ),
    of(
        "oee: what comes is planned already",
        DAYS, "multirange(t.known * tstz", "multirange(tstz",
        f"{TESTS}::test_planned_and_calendar_time_end_where_nothing_more_of_the_site_is_known",
    ),
    of(
        "oee: a machine is planned before it is there",
        DAYS, "tstzrange(z.commissioned_at, NULL)", "tstzrange(NULL, NULL)",
        f"{TESTS}::test_nothing_is_planned_for_areas_retired_machines_and_those_to_come",
    ),
    of(
        "oee: a machine that is retired never was there",
        DAYS, "(NOT z.is_retired OR x.reports > 0 OR y.busy IS NOT NULL)", "NOT z.is_retired",
        f"{TESTS}::test_a_retired_machine_counts_on_the_days_on_which_it_still_reported",
    ),
    of(
        "oee: a rate of one part counts for all",
        DAYS, "(q.material_id IS NULL OR q.material_id = w.material_id)", "true",
        f"{TESTS}::test_a_rate_of_a_part_counts_for_that_part_alone",
    ),
    of(
        "oee: nobody knows what a machine could have made that made nothing",
        KPIS, "THEN 0 END", "THEN NULL END",
        f"{TESTS}::test_a_planned_machine_that_made_nothing_has_an_oee_of_zero",
    ),
    of(
        "states: a planned stop is planned busy time",
        KPIS, " FILTER (WHERE k.element NOT IN ('PLANNED', 'UNSCHEDULED'))", "",
        "tests/integration/test_reports_states_told.py"
        "::test_a_planned_stop_is_no_part_of_planned_busy_time",
    ),
    of(
        "states: a share is of the page alone",
        "central/reports/states.py", "round({upto} / {total}", "round({of} / {total}",
        "tests/integration/test_reports_annotated.py"
        "::test_a_pareto_of_reasons_tells_the_share_of_each_and_of_those_before_it",
    ),
    of(
        "days: the first of two equal hours is of the day that begins with the second",
        "central/rollups.py", "({_BY_CLOCK} - ({{at}} < {BEGINS.format(day=_BY_CLOCK)})::integer)",
        "({_BY_CLOCK})",
        f"{TESTS}::test_pieces_and_minutes_of_the_repeated_hour_are_of_one_day",
    ),
    of(
        "a site is complete through its hello, whatever of it is not applied",
        THROUGH, "AND (s.hello ->> 'n')::bigint <= coalesce(l.last_n, 0)\n", "\n",
        f"{HELLO}::test_a_hello_of_a_site_with_more_than_is_applied_completes_nothing",
    ),
    of(
        "a hello changes no answer that is kept",
        "central/handshake.py", "if _minute(before) != _minute(kept.get(\"drained_ms\")):",
        "if False:",
        f"{HELLO}::test_a_hello_of_another_minute_alone_is_another_revision_of_its_site",
    ),
)  # fmt: skip

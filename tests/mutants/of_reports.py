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
CACHE: Final = "central/api/cache.py"
MONTHS: Final = "tests/integration/test_reports_months.py"
WHOLE: Final = "central/reports/whole.py"
KEPT: Final = "tests/integration/test_api_cache.py"
STREAMS: Final = "tests/integration/test_reports_whole.py"
DUE: Final = "central/reports/due.py"
JUDGED: Final = "tests/integration/test_reports_due_judged.py"
UNIT: Final = "tests/unit/test_report_question.py"
CURSORS: Final = "tests/integration/test_reports_cursors.py"
NAMES: Final = "central/reports/dimensions.py"
OF_OTHERS: Final = "tests/integration/test_reports_of_others.py"
ASKED: Final = "tests/integration/test_reports_asked.py"

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
        "map(_taken, self.places, after)",
        "after",
        f"{UNIT}::test_a_cursor_that_somebody_made_up_is_refused",
    ),
    of(
        "reports: an instant of a cursor is passed on in whichever form it came",
        PAGING,
        "return instant.astimezone(UTC).isoformat()",
        "return text",
        f"{CURSORS}::test_whatever_a_cursor_was_made_to_say_is_refused_or_taken_by_the_database",
    ),
    of(
        "reports: pieces count in each part of a report",
        CLIPPED, 'ends = f"({AT} <@ c.whole)"', 'ends = "true"',
        f"{TESTS}::test_cut_minutes_and_pieces_add_up_over_any_division_of_time",
    ),
    of(
        "reports: days are cut at midnight",
        "central/rollups.py", '"(({day})::date + z.day_start) AT TIME ZONE z.zone"',
        '"(({day})::date)::timestamp AT TIME ZONE z.zone"',
        f"{TESTS}::test_minutes_are_cut_at_business_days_of_25_hours_as_the_calendar_has_them",
    ),
    of(
        "reports: a site is not named, so that all partitions are looked at",
        STATEMENT, 'f" WHERE r.site_id IN ({literals(question.sites)})"', '" WHERE true"',
        f"{UNIT}::test_a_question_names_its_sites_in_every_table_that_is_split",
    ),
    of(
        "oee: a rate that is to come counts now",
        DAYS, "q.effective_from <= {at}", "true",
        f"{OEE}::test_the_rate_of_a_part_and_operation_goes_before_a_general_one",
    ),
    of(
        "reports: an answer is complete until later than its rows",
        "central/reports/answer.py",
        "return any(each is None or each < until(site) for site, each in fresh.through.items())",
        "return False",
        f"{TESTS}::test_an_answer_says_until_when_it_is_complete",
    ),
    of(
        "kept answers: one is given on though something was committed since",
        "central/api/kept.py", "if kept.revisions != self.live.current(kept.sites):", "if False:",
        f"{KEPT}::test_an_answer_is_read_once_and_given_again_until_something_is_applied",
    ),
    of(
        "kept answers: whoever asks the same gets it, of whatever sites",
        CACHE, "key = Key(asker.group, life", "key = Key(0, life",
        f"{KEPT}::test_who_reads_the_same_sites_shares_an_answer_and_nobody_else_gets_it",
    ),
    of(
        "kept answers: all forms are one",
        CACHE, 'scope["query_string"], accept)', 'scope["query_string"], b"")',
        f"{KEPT}::test_forms_of_one_answer_are_kept_apart",
    ),
    of(
        "kept answers: they are given on while nobody can look whether they are current",
        "central/api/live.py", "time.monotonic() - self._looked_at_s <= LOOK_FRESH_S", "True",
        f"{KEPT}::test_nothing_is_given_again_where_the_last_look_is_too_old",
    ),
    of(
        "kept answers: who asks too often gets them all the same",
        CACHE, "self.reach.guard.rates.take(asker.one.name, time.monotonic())", "pass",
        f"{KEPT}::test_who_asks_too_often_is_refused_what_is_kept_as_well",
    ),
    of(
        "kept answers: nobody notes who got them",
        CACHE, "        self.reach.audit.note(asked)\n", "",
        f"{KEPT}::test_a_kept_answer_is_noted_in_the_audit_log_with_who_got_it",
    ),
    of(
        "revisions: what is applied changes none",
        "central/store/finish.py",
        """await execute(b"SELECT sync.count_change(%s, 'applied')", [applying.site])""", "pass",
        f"{KEPT}::test_the_revision_of_a_site_alone_is_another_one_after_a_change",
    ),
    of(
        "revisions: what was told between two looks changes none",
        "central/feed.py", "for site in sorted(changed):", "for site in ():",
        f"{KEPT}::test_the_revision_is_another_one_though_a_change_was_told_between_two_looks",
    ),
    of(
        "revisions: rollups that are made anew change none",
        "central/rolled.py",
        """await connection.execute("SELECT sync.count_change(%s, 'kept')", [site])""", "pass",
        f"{KEPT}::test_the_revision_of_a_site_alone_is_another_one_after_a_change",
    ),
    of(
        "whole answers: a cell is computed by a spreadsheet",
        WHOLE, "_TEXT: _AS_NO_FORMULA, _VARCHAR: _AS_NO_FORMULA,", "",
        f"{STREAMS}::test_every_form_holds_the_rows_of_all_pages_in_their_order",
    ),
    of(
        "whole answers: an empty text is none in Arrow",
        WHOLE, "quoted_strings_can_be_null=False", "quoted_strings_can_be_null=True",
        f"{STREAMS}::test_every_form_holds_the_rows_of_all_pages_in_their_order",
    ),
    of(
        "whole answers: they are of all sites",
        WHOLE, 'given = [",".join(question.sites), f"{longest_s}s", _WORK_MEM]',
        'given = ["*", f"{longest_s}s", _WORK_MEM]',
        f"{STREAMS}::test_a_whole_answer_holds_nothing_of_a_site_that_its_asker_does_not_reach",
    ),
    of(
        "whole answers: one that fails on its way ends as if it were whole",
        WHOLE, "if result.status == ExecStatus.FATAL_ERROR:", "if False:",
        f"{STREAMS}::test_an_answer_that_fails_on_its_way_does_not_end_as_if_it_were_whole",
    ),
    of(
        "whole answers: nobody makes room",
        "central/api/streams.py",
        "            self._ended()\n", "",
        f"{STREAMS}"
        "::test_a_reader_who_goes_before_the_first_block_makes_room",
    ),
    of(
        "kept answers: all wait for the line of who asked first",
        "central/api/cache.py",
        "            self._event.set()\n        await self._send(message)",
        "            await self._send(message)\n            self._event.set()\n            return\n"
        "        await self._send(message)",
        "tests/integration/test_api_cache.py"
        "::test_nobody_waits_for_the_slow_line_of_who_asked_first",
    ),
    of(
        "months: one is left out whose reports began before the window",
        "central/reports/months.py",
        '"last_day >= %(first)s", -_MARGIN)', '"first_day >= %(first)s", -_MARGIN)',
        f"{MONTHS}::test_an_answer_is_the_same_as_from_the_facts_of_all_months",
    ),
    of(
        "months: a report touches its first day alone",
        "central/rollups.py",
        'f"greatest({_TOUCHED})"', 'f"least({_TOUCHED})"',
        f"{MONTHS}::test_an_answer_is_the_same_as_from_the_facts_of_all_months",
    ),
    of(
        "months: all are read",
        "central/reports/sources.py",
        "    if question.months is None:", "    if True:",
        f"{MONTHS}::test_partitions_of_other_months_are_left_out_before_a_statement_starts",
    ),
    of(
        "months: facts are read of a later moment than the months",
        "central/api/asking.py",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SET TRANSACTION READ ONLY",
        f"{MONTHS}::test_all_that_an_answer_reads_is_of_one_moment",
    ),
    of(
        "reports: a report counts once for each row that tells of its site",
        NAMES, "ON s.code = i.site_id AND s.site_id = '*'", "ON s.code = i.site_id",
        f"{OF_OTHERS}"
        "::test_a_row_that_a_site_has_of_sites_changes_no_day_and_counts_nothing_twice",
    ),
    of(
        "reports: a report that is cut counts once for each row that tells of its site",
        CLIPPED, "ON s.code = r.site_id AND s.site_id = '*'", "ON s.code = r.site_id",
        f"{OF_OTHERS}"
        "::test_a_row_that_a_site_has_of_sites_changes_no_day_and_counts_nothing_twice",
    ),
    of(
        "reports: hours go by a zone that was not checked",
        NAMES, "AT TIME ZONE coalesce(y.zone, 'UTC'))",
        "AT TIME ZONE coalesce((SELECT s.timezone FROM mes.sites AS s WHERE s.code = i.site_id),"
        " y.zone))",
        f"{OF_OTHERS}::test_a_zone_that_nobody_knows_breaks_no_report_by_the_hour",
    ),
    of(
        "reports: a person of any site is one by the id",
        NAMES, "ON q.site_id = i.site_id AND q.id", "ON q.id",
        f"{OF_OTHERS}::test_a_person_of_one_site_is_none_of_another_and_counts_no_report_twice",
    ),
    of(
        "reports: a badge is good at its own site alone",
        NAMES, "w.site <> p.site_id GROUP BY", "false GROUP BY",
        f"{OF_OTHERS}::test_a_badge_that_one_site_made_for_another_is_known_there",
    ),
    of(
        "reports: an operation is of the kind that any site says",
        NAMES, """" AND g.site_id IN (i.site_id, '*')) AS g ON true",""", '") AS g ON true",',
        f"{OF_OTHERS}::test_an_operation_is_of_the_kind_that_its_own_site_or_the_centre_says",
    ),
    of(
        "reports: an instant has shares",
        "central/reports/question.py", "    if found in MOMENTS:\n", "    if False:\n",
        f"{ASKED}::test_shares_are_of_what_adds_up_and_no_instant_is_zero",
    ),
    of(
        "reports: zeros of ratios are looked for before there are ratios",
        STATEMENT, "return f\"SELECT {', '.join(['g.*', *figures])} FROM g\"",
        "return f\"SELECT {', '.join(['g.*', *figures])} FROM g WHERE g.{measures[-1]} <> 0\"",
        f"{ASKED}::test_rows_are_left_out_where_a_ratio_is_zero_or_undefined",
    ),
    of(
        "reports: a part of a text is looked for in its very case",
        STATEMENT, "strpos(lower({expression}), lower(asked.part))",
        "strpos({expression}, asked.part)",
        f"{ASKED}::test_texts_are_found_by_a_part_of_them_in_any_case",
    ),
    of(
        "reports: the log is filtered by codes where ids are asked for",
        "central/reports/log.py", "condition(each, compared(question, each), made)",
        "condition(each, DIMENSIONS[each.dimension].code, made)",
        f"{ASKED}::test_the_log_by_ids_is_filtered_by_ids",
    ),
    of(
        "reports: units are asked for as known at a moment, of which none are kept",
        "central/reports/known.py",
        "        if not set(DIMENSIONS[name].keys) <= set(LATE_COLUMNS):", "        if False:",
        f"{ASKED}::test_quantities_are_told_apart_by_their_units",
    ),
    of(
        "reports: first attempts are held against all of them",
        "central/reports/kpis.py", '"qty_produced - qty_rework"', '"qty_produced"',
        f"{ASKED}::test_first_pass_yield_without_rework_is_of_first_attempts_alone",
    ),
    of(
        "judged: each page is of a moment of its own",
        "central/reports/answer.py",
        "question = replace(question, judged=judged.told(moment, question.sites))",
        "judged.told(moment, question.sites)",
        f"{JUDGED}::test_all_late_orders_are_on_some_page_though_all_of_them_get_later",
    ),
    of(
        "judged: until when a site was complete is another one on each page",
        DUE, 'f"unnest({given[0]}::text[], {given[1]}::bigint[]) AS c(site, through_ms)"',
        'f"{THROUGH} AS c"',
        f"{JUDGED}::test_all_late_orders_are_on_some_page_though_all_of_them_get_later",
    ),
    of(
        "judged: a moment that somebody made up is taken",
        "central/reports/judged.py",
        "is_own = len(found.through_ms) == len(sites) and texts_of(found) == (at_text, behind)",
        "is_own = True", f"{JUDGED}::test_a_moment_that_no_answer_gave_is_refused",
    ),
    of(
        "due: an order of a dark site is late by the clock",
        DUE, "least({at}, to_timestamp(c.through_ms / 1000.0)) AS known_at", "{at} AS known_at",
        f"{JUDGED}::test_an_unfinished_order_is_late_as_far_as_its_site_is_known",
    ),
    of(
        "due: what a plant adds to a shared definition counts everywhere",
        DUE, "g.site_id IN (w.site_id, '*') AND ", "",
        f"{JUDGED}::test_what_a_plant_adds_to_a_shared_definition_counts_for_no_other",
    ),
    of(
        "due: all open orders are shown beside those of the days",
        DUE, "(i.is_in_window OR i.is_open AND i.is_late)", "(i.is_in_window OR i.is_open)",
        f"{JUDGED}::test_orders_that_are_late_and_open_are_asked_for_beside_those_of_the_days",
    ),
)  # fmt: skip

"""Mutants of what is merged of facts: what makes it stale, who mends it, and who reads it when."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

TEXT: Final = "central/unions.py"
DAYS: Final = "central/reports/machine_days.py"
ORDERS: Final = "central/reports/orders.py"
ASKED: Final = "central/reports/months.py"
TESTS: Final = "tests/integration/test_unions.py"
ANY: Final = f"{TESTS}::test_answers_are_those_of_the_facts_after_any_history"
EACH: Final = f"{TESTS}::test_answers_are_those_of_the_facts_before_and_after_each_fold_and_mend"
ARCHIVED: Final = "tests/integration/test_unions_archive.py"
KNOWN: Final = "tests/integration/test_reports_as_known.py"
LIVED: Final = "tests/integration/test_reports_orders.py"
UNDER_WAY: Final = (
    f"{LIVED}::test_an_order_is_under_way_until_it_is_finished_whatever_was_reported_last"
)
ENDED: Final = (
    "tests/integration/test_reports_archived.py"
    "::test_an_order_ended_with_its_last_report_wherever_that_is"
)

OF_UNIONS: Final[tuple[Mutant, ...]] = (
    of(
        "unions: what came and went before it was folded is merged",
        TEXT, "' FILTER (WHERE more > 0)'", "''",
        f"{TESTS}::test_what_came_and_went_before_it_was_folded_was_never_there",
    ),
    of(
        "unions: what went makes nothing stale",
        TEXT, "bool_or(more < 0) AS is_stale", "false AS is_stale", EACH,
    ),
    of(
        "unions: a key is stale until something else comes",
        TEXT, "is_stale = t.is_stale OR excluded.is_stale", "is_stale = excluded.is_stale", EACH,
    ),
    of(
        "unions: what went is missed, though the same came back with it",
        TEXT, "sum(sign) AS more", "min(sign) AS more",
        f"{TESTS}::test_a_quantity_that_is_mended_makes_nothing_stale",
    ),
    of(
        "unions: a key is mended while something of it waits to be folded",
        TEXT, "NOT EXISTS (SELECT FROM ({_rows(union, _deltas(union))}) AS d WHERE {same})", "true",
        f"{TESTS}::test_what_comes_is_not_merged_after_it_went",
    ),
    of(
        "unions: a clock that is wrong by years makes a row for each of their days",
        TEXT, "interval '7 days'", "interval '900000 days'",
        f"{TESTS}::test_a_wrong_clock_makes_no_row_for_each_day_of_its_years",
    ),
    of(
        "unions: made anew, what was merged of what is gone stays",
        TEXT,
        "for name in (deltas_of(table), *tables_of(table)):",
        "for name in [deltas_of(table)]:",
        f"{TESTS}::test_made_anew_it_is_what_it_was_and_nothing_is_stale",
    ),
    of(
        "unions: those of facts that were there are not filled in",
        TEXT,
        "    for union in unions_of(table):\n        yield _add(union, f",
        "    for union in ():\n        yield _add(union, f",
        "tests/integration/test_rollups.py"
        "::test_facts_that_were_there_before_are_in_the_rollups_once_they_are_made",
    ),
    of(
        "unions: the months of what lasts long are those of its key",
        TEXT, "r.last_day - r.first_day >= {_LONG_DAYS}", "r.last_day < r.first_day", EACH,
    ),
    of(
        "unions: a rate counts from the beginning of its day of UTC on",
        ASKED, 'f" AND {_RATE_CHANGES} LIMIT', 'f" AND false LIMIT', EACH,
    ),
    of(
        "unions: pieces of days in which a rate changes count twice",
        DAYS, "{span.kept('r.day')}{left.format(of='r', day='r.utc_day')}", "{span.kept('r.day')}",
        EACH,
    ),
    of(
        "unions: the time of a machine whose key is stale is read as well",
        DAYS, "{left.format(of='k', day='k.day')}", "", EACH,
    ),
    of(
        "unions: what lasts longer than a week is in no day",
        DAYS, "AND r.day = {NEVER}", "AND r.day < '-infinity'", EACH,
    ),
    of(
        "unions: the life of an order whose key is stale is read as well",
        ORDERS, "{among and f' AND NOT {among}'}", "", EACH,
    ),
    of(
        "unions: an order that ended long ago has ended, whatever is not folded yet",
        TEXT, "({is_since}) IS NOT TRUE", "false", EACH,
    ),
    of(
        "unions: where too much is stale some of it is left out",
        ASKED, "if len(orders) > STALE_MAX:", "if False:",
        f"{TESTS}::test_where_too_much_is_stale_all_facts_are_read",
    ),
    of(
        "unions: what is stale is mended without the facts in the archive",
        "central/mending.py", "union.table, site, archived)", "union.table, site, ())",
        f"{ARCHIVED}::test_what_an_archived_month_is_part_of_is_made_anew_with_its_file",
    ),
    of(
        "unions: nobody mends",
        "central/upkeep.py", "mended = await mend(connection, shelf)", "mended = 0",
        "tests/integration/test_upkeep.py::test_upkeep_mends_what_is_stale",
    ),
    of(
        "unions: a stream reads all facts",
        "central/reports/whole.py", "question = located_at_once(connection, question)", "pass",
        f"{TESTS}::test_a_whole_answer_reads_no_fact_either",
    ),
    of(
        "known: an order that went on since was under way then",
        "central/reports/known.py", "LATE_AFTER: Final = timedelta(hours=12)",
        "LATE_AFTER: Final = timedelta(hours=-12)",
        f"{KNOWN}::test_of_an_order_that_goes_on_nothing_after_the_moment_is_known",
    ),
    of(
        "known: of instants a moment is told before they are over",
        "central/reports/named.py", "until or plain.window", "plain.window",
        f"{KNOWN}::test_of_work_in_progress_a_moment_is_two_days_after_the_last_instant",
    ),
    of(
        "unions: an order that was finished ended with the last report that is not in the archive",
        "central/reports/due.py", "CASE WHEN l.is_stale THEN {last} ELSE l.last_end END", "{last}",
        ENDED,
    ),
    of(
        "unions: an order that was finished ended with a report that is gone",
        "central/reports/due.py", "CASE WHEN l.is_stale THEN {last} ELSE l.last_end END",
        "l.last_end", ENDED,
    ),
    of(
        "unions: what is not folded yet is not kept of a key that is asked for",
        TEXT, "{m.both.format(f't.{m.name}', f'd.{m.name}')} AS {m.name}",
        "t.{m.name} AS {m.name}", ENDED,
    ),
    of(
        "unions: what went and is not folded yet leaves a key that is asked for as it was",
        TEXT, "true IN (t.is_stale, d.is_stale)", "t.is_stale", ENDED,
    ),
    of(
        "lives of orders: a correction prolongs an order",
        "central/rollups.py", "\"r.report_type IS DISTINCT FROM 'CORRECTION'\"", '"true"',
        f"{LIVED}::test_a_correction_is_no_work_and_prolongs_no_order",
    ),
    of(
        "lives of orders: an order that goes on ended with its last report",
        ORDERS, "CASE WHEN {_IS_OPEN} THEN", "CASE WHEN false THEN", UNDER_WAY,
    ),
    of(
        "lives of orders: an order that goes on is found if something was reported of it lately",
        TEXT, "({_rows(union, deltas)}) AS e{also}", "({_rows(union, deltas)}) AS e", UNDER_WAY,
    ),
    of(
        "lives of orders: an order begins with its first report",
        ORDERS, "least(u.first_start, o.actual_start)", "u.first_start", UNDER_WAY,
    ),
)  # fmt: skip

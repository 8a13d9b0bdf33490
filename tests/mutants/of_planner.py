"""Mutants of what planners read and write: rows of central and two-way tables."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

PLANS: Final = "central/api/plans.py"
ROWS: Final = "central/api/rows.py"
VALUES: Final = "central/row_values.py"
READING: Final = "central/row_reading.py"
WRITING: Final = "central/row_writing.py"
WRITES: Final = "tests/integration/test_planner_writes.py"
ACCESS: Final = "tests/integration/test_planner_access.py"
UNIT: Final = "tests/unit/test_row_values.py"
DUE: Final = "central/reports/due.py"
KPIS: Final = "central/reports/kpis_of_orders.py"
ORDERS: Final = "tests/integration/test_reports_due.py"
JUDGED: Final = (
    f"{ORDERS}::test_orders_that_were_due_are_on_time_or_late_and_nothing_unknown_counts"
)
OF_OTHERS: Final = "tests/integration/test_reports_of_others.py"

OF_PLANNER: Final[tuple[Mutant, ...]] = (
    of(
        "planner: who reads writes, too",
        PLANS,
        "asks(reach.guard, Scope.PLAN)",
        "asks(reach.guard, Scope.READ)",
        f"{ACCESS}::test_who_has_no_scope_to_plan_writes_nothing",
    ),
    of(
        "planner: a write need not name what it builds on",
        PLANS,
        "        if if_match is None:\n",
        "        if False:\n",
        f"{WRITES}::test_a_write_that_names_no_version_is_refused",
    ),
    of(
        "planner: a version that was seen is taken for the one that stands",
        PLANS,
        """    if if_match != f'"{found.version}"':""",
        "    if False:",
        f"{WRITES}::test_nobodys_write_is_lost_by_a_write_that_had_not_seen_it",
    ),
    of(
        "planner: a row that is changed is not held at its version",
        WRITING,
        "        await _hold(connection, table, found)\n        if changed:",
        "        if changed:",
        f"{WRITES}::test_a_row_that_is_written_between_the_look_and_the_write_is_not_overwritten",
    ),
    of(
        "planner: rows of all sites are anybody's to write",
        "central/api/asking.py",
        "self.who.reach[scope].every and not self.narrowed",
        "not self.narrowed",
        f"{ACCESS}::test_rows_of_all_sites_are_written_by_who_plans_for_every_site",
    ),
    of(
        "planner: a header of sites lets rows of all sites be written",
        "central/api/asking.py",
        "self.who.reach[scope].every and not self.narrowed",
        "self.who.reach[scope].every",
        f"{ACCESS}::test_a_header_narrows_what_is_read_and_written",
    ),
    of(
        "planner: a row is added for any site",
        PLANS,
        "        plan.check_owner(site)\n        if of",
        "        if of",
        f"{ACCESS}::test_nobody_hands_a_row_to_a_site_that_they_do_not_reach",
    ),
    of(
        "planner: a row that is added goes to any site",
        PLANS,
        "        plan.check_share(named_sites(of, values, site))\n",
        "",
        f"{ACCESS}::test_nobody_hands_a_row_to_a_site_that_they_do_not_reach",
    ),
    of(
        "planner: a row that is changed goes to any site",
        PLANS,
        "        plan.check_share(named - named_sites(of, before, found.site))\n",
        "",
        f"{ACCESS}::test_nobody_hands_a_row_to_a_site_that_they_do_not_reach",
    ),
    of(
        "planner: what others shared is judged again",
        PLANS,
        "named - named_sites(of, before, found.site)",
        "named",
        f"{ACCESS}::test_nobody_hands_a_row_to_a_site_that_they_do_not_reach",
    ),
    of(
        "planner: a person is found by who does not share them",
        READING,
        "        if is_deleted or values is not None:\n",
        "        if True:\n",
        f"{ACCESS}::test_a_person_is_shown_to_the_sites_that_share_them",
    ),
    of(
        "planner: facts are planned",
        VALUES,
        "if table.direction is not Direction.UP and",
        "if",
        f"{ACCESS}::test_rows_of_facts_and_of_the_sync_itself_are_nobodys_to_plan",
    ),
    of(
        "planner: what the sync tells is planned",
        VALUES,
        " and not table.name.startswith(_OF_THE_SYNC)",
        "",
        f"{ACCESS}::test_rows_of_facts_and_of_the_sync_itself_are_nobodys_to_plan",
    ),
    of(
        "planner: a state goes back",
        VALUES,
        "if name in found and column.rank(found[name]) < column.rank(before[name]):",
        "if False:",
        f"{WRITES}::test_a_state_never_goes_back_whichever_way_it_is_written",
    ),
    of(
        "planner: what a row needs may be left out",
        VALUES,
        "if column.default is None and not column.nullable:",
        "if False:",
        f"{WRITES}::test_all_that_is_wrong_with_a_row_is_told_at_once",
    ),
    of(
        "planner: anybody is named as who wrote",
        VALUES,
        "elif table.column(name).writer:",
        "elif False:",
        f"{WRITES}::test_a_value_that_breaks_a_rule_is_refused_by_its_column",
    ),
    of(
        "planner: true is 1",
        VALUES,
        "if isinstance(value, bool) and kind not in",
        "if False and kind not in",
        f"{UNIT}::test_what_is_no_value_of_its_kind_is_refused",
    ),
    of(
        "planner: what is no different is written again",
        VALUES,
        "for name, value in _unless(broken, found).items() if value != before[name]",
        "for name, value in _unless(broken, found).items()",
        f"{WRITES}::test_what_becomes_no_different_makes_no_version_and_no_line_of_the_log",
    ),
    of(
        "planner: who writes is cut nowhere",
        WRITING,
        "self.person[: writer.type.length]",
        "self.person",
        f"{UNIT}::test_who_writes_is_cut_to_the_place_that_there_is",
    ),
    of(
        "planner: a row refers to what is not there",
        WRITING,
        "        if await cursor.fetchone() is None:\n",
        "        if False:\n",
        f"{WRITES}::test_a_reference_to_nothing_or_to_another_sites_row_is_refused_by_its_column",
    ),
    of(
        "planner: a row refers to what is deleted",
        WRITING,
        "AND h.id = %s AND NOT h.deleted",
        "AND h.id = %s",
        f"{WRITES}::test_a_row_that_others_refer_to_is_not_deleted",
    ),
    of(
        "planner: a row is deleted under those that refer to it",
        WRITING,
        "    await _check_alone(connection, writing, found)\n",
        "",
        f"{WRITES}::test_a_row_that_others_refer_to_is_not_deleted",
    ),
    of(
        "planner: an order is deleted under its reports",
        WRITING,
        "(is_indexed or not child.fact)",
        "not child.fact",
        f"{WRITES}::test_an_order_that_was_reported_on_is_not_deleted",
    ),
    of(
        "planner: a shared row is deleted under the rows of sites",
        WRITING,
        'sql.SQL("" if found.site == SHARED else " AND site_id = {}")',
        'sql.SQL(" AND site_id = {}")',
        f"{WRITES}::test_a_shared_row_that_any_site_refers_to_is_not_deleted",
    ),
    of(
        "planner: a key that is taken breaks the answer",
        WRITING,
        "        if not is_ours:\n            raise\n",
        "        if is_ours:\n            raise\n",
        f"{WRITES}::test_a_key_that_another_row_of_the_site_has_is_refused_by_its_columns",
    ),
    of(
        "planner: rows that are only added are changed",
        PLANS,
        "        check_changeable(self.table)\n",
        "",
        f"{WRITES}::test_rows_that_are_only_added_are_neither_changed_nor_deleted",
    ),
    of(
        "planner: a write is noted beside it",
        PLANS,
        "                await note_change(connection, asked, about | done.noted)\n",
        "                async with self.reach.pool.connection() as other:\n"
        "                    await note_change(other, asked, about | done.noted)\n",
        f"{ACCESS}::test_a_write_that_can_not_be_kept_is_not_noted",
    ),
    of(
        "planner: a write is not noted",
        PLANS,
        "            if done.noted is not None:\n",
        "            if False:\n",
        f"{ACCESS}::test_a_write_is_in_the_audit_log_with_what_it_changed_or_is_not_made",
    ),
    of(
        "planner: a write that comes twice is done twice",
        PLANS,
        "            await once.keep(connection, self.named, done.document, status)\n",
        "",
        f"{ACCESS}::test_the_same_key_has_the_same_answer_and_nothing_is_written_again",
    ),
    of(
        "planner: an order wants a partition that is there already",
        PLANS,
        "    if plan.table.partitioned:\n",
        "    if False:\n",
        f"{WRITES}::test_an_order_of_a_month_without_a_partition_finds_one",
    ),
    of(
        "planner: a list shows rows of one page on the next",
        READING,
        "(t.site_id, t.created_at, t.id) > (%s, %s, %s)",
        "(t.site_id, t.created_at, t.id) >= (%s, %s, %s)",
        f"{ACCESS}::test_a_list_is_read_page_by_page_while_rows_are_added",
    ),
    of(
        "planner: part of a member's name finds a set",
        READING,
        'looked = "to_json(%s::text)::text" if',
        'looked = "%s::text" if',
        f"{ACCESS}::test_a_member_of_a_set_is_found_by_its_whole_name",
    ),
    of(
        "planner: an address tells one of the things that can be done there",
        "central/api/problems.py",
        "if error.status_code == 405 and",
        "if error.status_code == 406 and",
        f"{ACCESS}::test_what_can_be_done_at_an_address_is_told_in_full",
    ),
    of(
        "due: an order that was cancelled is late",
        DUE,
        "(r.cancel_requested AND r.exec_state IN ('CREATED', 'RELEASED'))",
        "false",
        JUDGED,
    ),
    of(
        "due: an order that is under way is cancelled at once",
        DUE,
        "(r.cancel_requested AND r.exec_state IN ('CREATED', 'RELEASED'))",
        "r.cancel_requested",
        JUDGED,
    ),
    of(
        "due: an end that nobody knows is late",
        DUE,
        "THEN f.finished_at IS NOT NULL",
        "THEN true",
        JUDGED,
    ),
    of(
        "due: an order is late before it is due",
        DUE,
        "ELSE coalesce(f.due_at <= f.known_at, false) END",
        "ELSE true END",
        JUDGED,
    ),
    of(
        "due: the very moment is late",
        DUE,
        "coalesce(f.finished_at <= f.due_at, false)",
        "coalesce(f.finished_at < f.due_at, false)",
        JUDGED,
    ),
    of(
        "due: an end that was not noted is not looked for in the reports",
        DUE,
        "coalesce(w.actual_end, CASE WHEN l.is_stale THEN {last} ELSE l.last_end END) END",
        "w.actual_end END",
        JUDGED,
    ),
    of(
        "due: the output of any definition counts",
        DUE,
        "(g.definition_id = w.definition_id",
        "(true",
        f"{ORDERS}::test_the_output_of_another_definition_does_not_count",
    ),
    of(
        "due: every operation counts",
        DUE,
        "AS s WHERE s.is_output)",
        "AS s)",
        f"{ORDERS}::test_an_order_is_as_far_as_its_output_operation",
    ),
    of(
        "due: days are those of UTC",
        DUE,
        'DAY_OF.format(at="r.due_at")',
        "\"(r.due_at AT TIME ZONE 'UTC')::date\"",
        f"{ORDERS}::test_a_window_and_a_bucket_go_by_the_sites_own_day",
    ),
    of(
        "due: orders of which nothing is known count as begun",
        KPIS,
        'Kpi("progress", "qty_made", "qty_to_make"',
        'Kpi("progress", "qty_made", "qty_ordered"',
        f"{ORDERS}::test_progress_of_several_is_the_ratio_of_sums_over_orders_that_are_counted",
    ),
    of(
        "due: orders that are not due count",
        KPIS,
        'Kpi("on_time_delivery", "orders_on_time", "orders_due"',
        'Kpi("on_time_delivery", "orders_on_time", "orders"',
        JUDGED,
    ),
    of(
        "due: an order that has all its pieces is on time",
        DUE,
        "{_IS_COUNTED} AND {_IS_ON_TIME} AND f.qty_made",
        "{_IS_COUNTED} AND f.qty_made",
        f"{ORDERS}::test_an_order_that_is_late_with_all_its_pieces_is_not_in_full_on_time",
    ),
    of(
        "due: setup and breakdowns are not busy",
        KPIS,
        "sum(k.busy_s), 0) / 3600",
        "sum(k.production_s), 0) / 3600",
        f"{ORDERS}::test_allocation_is_the_sum_of_busy_times_over_that_of_lives",
    ),
    of(
        "planner: a site has rows of its own that tell of sites",
        PLANS,
        "if of.shared_only and site != SHARED:",
        "if False:",
        f"{OF_OTHERS}::test_a_planner_of_a_site_writes_no_row_that_tells_of_sites",
    ),
    of(
        "planner: a row that a site has of sites may be changed",
        PLANS,
        "if of.shared_only and found.site != SHARED:",
        "if False:",
        f"{OF_OTHERS}::test_a_planner_of_a_site_writes_no_row_that_tells_of_sites",
    ),
    of(
        "planner: any text is a zone",
        WRITING,
        "    if zone is None:",
        "    if True:",
        f"{OF_OTHERS}::test_a_zone_that_nobody_knows_is_refused_with_the_field_and_the_rule",
    ),
    of(
        "planner: a site adds a step to a version that is shared",
        WRITING,
        "is_of_version and column.enforced",
        "False",
        f"{OF_OTHERS}::test_a_site_adds_no_step_to_a_version_that_is_shared",
    ),
)

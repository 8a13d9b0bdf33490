"""Mutants of the archive: what is given up, counted twice, left out, or shown to the wrong site."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

STEPS: Final = "central/archive.py"
WRITING: Final = "central/archive_writing.py"
STATE: Final = "central/archive_state.py"
LOADING: Final = "central/archive_loading.py"
READING: Final = "central/archive_reading.py"
MIGRATION: Final = "central/migrations/0026_archive.sql"
TESTS: Final = "tests/integration/test_archive.py"
READ: Final = "tests/integration/test_archive_reading.py"
BY_ITSELF: Final = "tests/integration/test_archiving.py"
KILLED: Final = "tests/faults/test_archiving_killed.py"
NOT_COUNTED: Final = "tests/integration/test_reports_archived.py"
STAYS: Final = "tests/integration/test_archive_stays.py"

OF_ARCHIVE: Final[tuple[Mutant, ...]] = (
    of(
        "archive: what is in no file may be dropped",
        STEPS,
        "if month is None or month.state is not State.ARCHIVED:",
        "if month is None:",
        f"{TESTS}::test_steps_in_the_wrong_order_are_refused_and_change_nothing",
    ),
    of(
        "archive: a file is not read again before the rows are dropped",
        STEPS,
        "        await _verify(bench, table, partition)\n\n        async def noted",
        "        async def noted",
        f"{TESTS}::test_a_file_that_is_not_what_was_written_drops_nothing",
        f"{TESTS}::test_rows_that_were_changed_aside_are_not_dropped",
    ),
    of(
        "archive: what a site sends again is new",
        MIGRATION,
        "    IF _here = _there THEN\n        RETURN NULL;",
        "    IF _here = _there THEN\n        RETURN NEW;",
        f"{TESTS}::test_what_an_older_copy_sends_again_is_known_and_counted_once",
    ),
    of(
        "archive: what says otherwise is taken for the same",
        MIGRATION,
        "    IF _here = _there THEN",
        "    IF true THEN",
        f"{TESTS}::test_what_says_otherwise_than_the_archive_is_parked",
    ),
    of(
        "archive: only the ids of the last file are known",
        MIGRATION,
        "generate_series(1, a.generation) AS g",
        "generate_series(a.generation, a.generation) AS g",
        f"{TESTS}::test_late_rows_are_merged_into_a_new_file_and_the_old_one_stays",
    ),
    of(
        "archive: the next file holds the late rows alone",
        WRITING,
        "            await _add_file(writing, month.path(root), month.sha256)\n",
        "            pass\n",
        f"{TESTS}::test_late_rows_are_merged_into_a_new_file_and_the_old_one_stays",
    ),
    of(
        "archive: rows that come back are added to the sums once more",
        STEPS,
        '[f"ALTER TABLE {into} DISABLE TRIGGER USER"]',
        '[f"DROP TRIGGER IF EXISTS a_refuse_archived ON {into}"]',
        f"{TESTS}::test_sums_of_reports_stay_whatever_step_a_month_is_at",
    ),
    of(
        "archive: a month that came back is guarded for good",
        STEPS,
        'f"DROP TRIGGER IF EXISTS a_refuse_archived ON {into}",',
        "",
        f"{TESTS}::test_a_month_that_came_back_takes_rows_as_any_other",
    ),
    of(
        "archive: the file of a month that came back counts once more",
        STEPS,
        "state=State.ATTACHED, **nothing)",
        "state=State.ATTACHED)",
        f"{TESTS}::test_a_month_that_came_back_can_go_again",
    ),
    of(
        "archive: sums are made anew without the archive",
        LOADING,
        "({live} UNION ALL SELECT * FROM pg_temp.{_beside(table)})",
        "({live})",
        f"{TESTS}::test_sums_of_reports_stay_whatever_step_a_month_is_at",
    ),
    of(
        "archive: a batch over months is parked for the one that went",
        "central/store/facts.py",
        "if len(rows.months) > 1 and _lacks_partition(why):",
        "if False and _lacks_partition(why):",
        f"{TESTS}::test_a_batch_over_months_is_not_parked_for_one_that_was_detached",
    ),
    of(
        "archive: what came late is all that a site is compared with",
        "central/compare/rows.py",
        "a.state <> 'attached'",
        "false",
        f"{TESTS}::test_a_month_in_the_archive_is_no_difference_to_its_site",
    ),
    of(
        "archive: DuckDB opens what it is told to",
        READING,
        '        "SET enable_external_access = false",\n',
        "",
        f"{READ}::test_duckdb_opens_the_files_that_are_named_and_nothing_else",
    ),
    of(
        "archive: rows that stand aside are for everybody who asks",
        STEPS,
        "FOR SELECT TO {API} USING ({sites})",
        "FOR SELECT TO {API} USING (true)",
        f"{READ}::test_rows_aside_of_another_site_are_hidden_by_the_database_itself",
    ),
    of(
        "archive: which files a site has is for everybody who asks",
        "central/roles.py",
        'for name in ("archive", "head", "row_key")',
        'for name in ("head", "row_key")',
        f"{READ}::test_the_database_itself_hides_which_files_another_site_has",
    ),
    of(
        "archive: a page is of the table alone",
        READING,
        "rows = await _files(root, table, found, sites, wanted)",
        "rows: list[Row] = []",
        f"{READ}::test_pages_hold_every_row_once_across_file_and_table",
    ),
    of(
        "archive: the months are looked at as they were before they were read",
        "central/api/archive.py",
        "of_one_moment=False",
        "of_one_moment=True",
        f"{READ}::test_a_month_that_goes_to_the_archive_meanwhile_is_read_whole",
    ),
    of(
        "archive: a file is read whatever was done to it",
        READING,
        "        check_bytes(path, month.sha256)\n",
        "",
        f"{READ}::test_a_byte_that_was_changed_is_found_though_the_size_is_the_same",
    ),
    of(
        "archive: a file gives whatever rows are in it",
        READING,
        """ WHERE "{name}" = {_quoted(site)}""",
        "",
        f"{READ}::test_a_row_of_another_site_is_none_of_a_file_however_it_came_there",
    ),
    of(
        "archive: half of a detaching is passed over",
        READING,
        "await standing(connection, partition) is not Standing.ATTACHED",
        "await standing(connection, partition) is Standing.ABSENT",
        f"{KILLED}::test_a_part_that_was_detached_and_not_put_aside_takes_late_rows",
    ),
    of(
        "archive: one that fails holds up all others",
        "central/archiving.py",
        "            turns.put_off(partition, now_s)\n",
        "            raise\n",
        f"{BY_ITSELF}::test_a_month_that_fails_is_told_put_off_and_holds_up_no_other",
    ),
    of(
        "archive: a zero of a large scale is written as PostgreSQL does not",
        "central/archive_file.py",
        'text = f"{value:f}"',
        "text = str(value)",
        "tests/integration/test_archive_forms.py::test_a_file_gives_back_what_was_written_to_the_letter",
    ),
    of(
        "archive: a file has its name before it was read",
        WRITING,
        "        _check(path, sealed.contents, aside + month.contents)\n",
        "",
        f"{TESTS}::test_a_file_that_lacks_a_row_gets_no_name_and_is_not_recorded",
    ),
    of(
        "archive: an answer of single reports says nothing of the months that it lacks",
        "central/reports/months.py",
        "    if not _reads_facts(found):",
        "    if True:",
        f"{NOT_COUNTED}::test_a_list_tells_how_many_months_of_its_window_it_lacks",
    ),
    of(
        "archive: months of other times than the window are told as lacking",
        "central/reports/months.py",
        "AND (%(months)s::text[] IS NULL OR month = ANY (%(months)s))",
        "",
        f"{NOT_COUNTED}::test_a_list_tells_how_many_months_of_its_window_it_lacks",
    ),
    of(
        "archive: months of sites that nobody asked for are told as lacking",
        "central/reports/months.py",
        '"sites": sites_of(found), "months"',
        '"sites": list(found.sites), "months"',
        f"{NOT_COUNTED}::test_it_is_told_of_sites_that_are_asked_for_alone",
    ),
    of(
        "archive: sums are said to lack what they count",
        "central/reports/months.py",
        "return found.stale is not None or reads_facts(found)",
        "return True",
        f"{NOT_COUNTED}::test_sums_count_what_is_in_the_archive_and_lack_nothing",
    ),
    of(
        "archive: a month that was brought back is told as lacking",
        "central/reports/months.py",
        " AND state <> %(there)s",
        " AND %(there)s <> ''",
        f"{NOT_COUNTED}::test_a_month_that_was_brought_back_is_not_lacking",
    ),
    of(
        "archive: whole answers say nothing of the months that they lack",
        "central/reports/whole.py",
        "return cls(connection, statement, fresh, columns, question.archived)",
        "return cls(connection, statement, fresh, columns)",
        f"{NOT_COUNTED}::test_csv_and_whole_answers_tell_it_beside_themselves",
    ),
    of(
        "archive: movements leave, and stock without them",
        "central/archive_bench.py",
        "if why := STAY.get(table.name):",
        "if why := '':",
        f"{STAYS}::test_what_answers_rest_on_as_a_whole_is_not_archived_by_hand_nor_by_itself",
    ),
    of(
        "archive: a month that was on its way out goes on",
        "central/archiving.py",
        "        and partition.table not in STAY\n",
        "",
        f"{STAYS}::test_a_month_that_was_on_its_way_out_goes_no_further_by_itself",
    ),
    of(
        "archive: stock does not say what it lacks",
        "central/reports/reading.py",
        'return int(found[0]["months"])',
        "return 0",
        f"{STAYS}::test_stock_says_that_months_left_before_until_they_are_brought_back",
        f"{STAYS}::test_charts_say_that_months_left_before_until_they_are_brought_back",
    ),
)

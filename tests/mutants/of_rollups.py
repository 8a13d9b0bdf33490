"""Mutants of the rollups: what is added, taken away, and by which day."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

TEXT: Final = "central/rollups.py"
KEPT: Final = "central/rolled.py"
STEPS: Final = "central/migrations/0023_rollups.sql"
TESTS: Final = "tests/integration/test_rollups.py"
FOLDS: Final = "tests/integration/test_rollup_folding.py"
OF_OTHERS: Final = "tests/integration/test_reports_of_others.py"

OF_ROLLUPS: Final[tuple[Mutant, ...]] = (
    of(
        "rollups: what is deleted is added once more",
        TEXT,
        '"delete": (("stale", -1),),',
        '"delete": (("stale", 1),),',
        f"{TESTS}::test_a_partition_is_rolled_up_also_where_it_is_written_by_its_own_name",
    ),
    of(
        "rollups: what is changed is added and never taken away",
        TEXT,
        '"update": (("fresh", 1), ("stale", -1)),',
        '"update": (("fresh", 1),),',
        f"{TESTS}::test_a_partition_is_rolled_up_also_where_it_is_written_by_its_own_name",
    ),
    of(
        "rollups: only the parent's statements are seen",
        STEPS,
        "SELECT relation UNION SELECT relid FROM pg_partition_tree(relation) ORDER BY 1",
        "SELECT relation ORDER BY 1",
        f"{TESTS}::test_facts_that_were_there_before_are_in_the_rollups_once_they_are_made",
        f"{TESTS}::test_sums_are_those_of_the_facts_after_any_history",
        f"{TESTS}::test_a_partition_made_before_the_rollups_is_rolled_up_by_its_own_name",
    ),
    of(
        "rollups: a new partition is not rolled up",
        STEPS,
        "PERFORM sync.keep_rollups(format('mes.%I', child)::regclass, _table);",
        "NULL;",
        f"{TESTS}::test_sums_are_those_of_the_facts_after_any_history",
    ),
    of(
        "rollups: the second of two sums takes the place of the first",
        TEXT,
        'f"{name} = t.{name} + excluded.{name}"',
        'f"{name} = excluded.{name}"',
        f"{FOLDS}::test_folding_changes_no_sum_and_leaves_nothing_to_fold",
    ),
    of(
        "rollups: keys that are null are rows of their own each time",
        TEXT,
        '" NULLS NOT DISTINCT"',
        '""',
        f"{FOLDS}::test_what_is_folded_goes_into_the_row_that_there_is_for_its_key",
    ),
    of(
        "rollups: a day begins at midnight",
        TEXT,
        "(({at} AT TIME ZONE z.zone) - z.day_start::interval)::date",
        "({at} AT TIME ZONE z.zone)::date",
        f"{TESTS}::test_a_report_belongs_to_the_business_day_of_its_site",
    ),
    of(
        "rollups: a day is one of UTC",
        TEXT,
        "({at} AT TIME ZONE z.zone)",
        "({at} AT TIME ZONE 'UTC')",
        f"{TESTS}::test_a_report_belongs_to_the_business_day_of_its_site",
    ),
    of(
        "rollups: a zone that was mended counts for new reports only",
        KEPT,
        "                await _rebuild(connection, site, sources)\n        except",
        "                pass\n        except",
        f"{TESTS}::test_rollups_follow_a_site_whose_zone_was_mended_and_are_right_until_then",
    ),
    of(
        "rollups: a zone that there is not stops the upkeep",
        KEPT,
        "except psycopg.errors.InvalidParameterValue:",
        "except psycopg.errors.DivisionByZero:",
        f"{TESTS}::test_a_zone_that_there_is_not_stops_nothing",
    ),
    of(
        "rollups: facts that were there are not filled in",
        "central/migrate.py",
        'yield Step(f"{what} filled", (*sums, due), by=capture.INGEST)',
        'yield Step(f"{what} filled", (due,), by=capture.INGEST)',
        f"{TESTS}::test_facts_that_were_there_before_are_in_the_rollups_once_they_are_made",
    ),
    of(
        "rollups: those of archived months go with each release that has other triggers",
        "central/migrate.py",
        "if made.get(what) != of_tables:",
        "if made.get(what) != of_tables or made.get(how) != of_triggers:",
        "tests/integration/test_archive.py"
        "::test_a_release_with_other_triggers_keeps_the_sums_of_archived_months",
    ),
    of(
        "rollups: nobody looks at sums that a release made anew",
        "central/migrate.py",
        '"DELETE FROM sync.rollup_check"',
        '"SELECT 1"',
        "tests/integration/test_archive.py"
        "::test_sums_that_a_release_made_anew_are_held_against_all_facts_at_once",
    ),
    of(
        "rollups: one of a site is compared with the facts of all",
        TEXT,
        "source)} WHERE r.site_id = %(site)s) AS f",
        "source)}) AS f",
        f"{TESTS}::test_sums_are_those_of_the_facts_after_any_history",
    ),
    of(
        "rollups: what is folded stays to be folded",
        TEXT,
        "WITH taken AS (DELETE FROM {deltas} WHERE ctid = ANY (ARRAY({some})) RETURNING *),",
        "WITH taken AS (SELECT * FROM {deltas} WHERE ctid = ANY (ARRAY({some}))),",
        f"{FOLDS}::test_folding_changes_no_sum_and_leaves_nothing_to_fold",
    ),
    of(
        "rollups: what was taken away is folded as if it were added",
        TEXT,
        '_add(each, _rows(each, "taken", sign=_SIGN, day=_NOTED_DAY))',
        '_add(each, _rows(each, "taken", day=_NOTED_DAY))',
        f"{FOLDS}::test_what_is_taken_away_before_it_is_folded_and_after_is_gone",
    ),
    of(
        "rollups: what is not folded yet is not read",
        TEXT,
        'return f"(SELECT {named} FROM mes.{rollup.folded} UNION ALL {deltas}{less})"',
        'return f"(SELECT {named} FROM mes.{rollup.folded} UNION ALL {deltas} WHERE false{less})"',
        f"{FOLDS}::test_folding_changes_no_sum_and_leaves_nothing_to_fold",
    ),
    of(
        "rollups: a rollup made anew keeps what was not folded",
        "central/unions.py",
        "for name in (deltas_of(table), *tables_of(table)):",
        "for name in tables_of(table):",
        f"{FOLDS}::test_rollups_made_anew_while_others_fold_are_those_of_the_facts",
    ),
    of(
        "rollups: two fold at once",
        KEPT,
        "        if not (await cursor.fetchone() or [False])[0]:\n            return 0\n"
        "        cursor = await connection.execute(fold_statement",
        "        cursor = await connection.execute(fold_statement",
        f"{FOLDS}::test_one_at_a_time_folds",
    ),
    of(
        "rollups: nobody checks the sums",
        "central/agent.py",
        "        await keep_checking(connection, settings.rollup_check_hours, shelf)\n",
        "        await asyncio.get_running_loop().create_future()\n",
        "tests/integration/test_agent_folds.py",
    ),
    of(
        "rollups: where nobody could look all is taken for right",
        "central/rollup_checks.py",
        "CASE WHEN excluded.why = '' THEN excluded.differing ELSE c.differing END",
        "excluded.differing",
        "tests/integration/test_rollup_checks.py::test_a_site_whose_archive_is_away_holds_up_no_other",
    ),
    of(
        "rollups: nobody folds",
        "central/agent.py",
        "        await keep_folding(connection)\n",
        "        await asyncio.get_running_loop().create_future()\n",
        "tests/integration/test_agent_folds.py",
    ),
    of(
        "rollups: what was folded is never cleared away",
        KEPT,
        "        if dead >= FOLD_ROWS:",
        "        if dead < 0:",
        f"{FOLDS}::test_what_was_folded_is_cleared_away_for_those_who_read",
    ),
    of(
        "rollups: days of a site follow a row that another has",
        KEPT,
        "WHERE s.site_id = '*' AND (coalesce",
        "WHERE (coalesce",
        f"{OF_OTHERS}::test_a_row_that_a_site_has_of_sites_changes_no_day_and_counts_nothing_twice",
    ),
)

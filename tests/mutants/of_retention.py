"""Mutants of what the centre forgets of the past."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

RETENTION: Final = "central/retention.py"
TESTS: Final = "tests/integration/test_central_retention.py"
BUILT_ON: Final = f"{TESTS}::test_nothing_is_forgotten_that_the_site_may_still_build_on"
STEP: Final = f"{TESTS}::test_an_entry_counts_as_seen_only_with_all_that_its_step_waits_for"
OPEN: Final = f"{TESTS}::test_history_is_kept_for_its_time_and_what_is_open_longer"

OF_RETENTION: Final[tuple[Mutant, ...]] = (
    of(
        "a site that is to take a snapshot has seen what it says",
        RETENTION,
        " AND s.hello -> 'needs_snapshot' = 'false'",
        "",
        BUILT_ON,
    ),
    of(
        "what a site had drained when it looked need not be applied",
        RETENTION,
        "AND e.last_n >= t.n)",
        "AND e.last_n >= 0)",
        BUILT_ON,
    ),
    of(
        "a new epoch is as settled as the last one was",
        RETENTION,
        "settled_at = CASE WHEN t.epoch = excluded.epoch THEN t.known_at END",
        "settled_at = t.known_at",
        f"{TESTS}::test_a_site_that_goes_on_in_a_new_epoch_has_to_settle_anew",
    ),
    of(
        "an entry counts as seen without the rest of its step",
        RETENTION,
        "more.made_at <= f.made_at",
        "more.made_at < f.made_at",
        STEP,
    ),
    of(
        "an entry counts as seen without the shared rows of its step",
        RETENTION,
        "b.made_at > f.made_at",
        "b.made_at >= f.made_at",
        STEP,
    ),
    of(
        "shared entries that are gone are taken for seen",
        RETENTION,
        "b.pos = s.shared + 1 AND ",
        "",
        STEP,
    ),
    of(
        "what was made since a site looked is forgotten when it is old",
        RETENTION,
        "least(s.until, now() - make_interval(secs => %(version_s)s))",
        "(now() - make_interval(secs => %(version_s)s))",
        f"{TESTS}::test_what_was_made_since_the_site_said_hello_stays",
    ),
    of(
        "what is settled is forgotten at once",
        RETENTION,
        "least(s.until, now() - make_interval(secs => %(version_s)s))",
        "s.until",
        f"{TESTS}::test_versions_stay_for_their_time_though_their_site_has_passed_them",
    ),
    of(
        "a version that was under way at a mark stands for those before it",
        RETENTION,
        "\n                 - make_interval(secs => %(mark_s)s)) AS ord",
        ") AS ord",
        f"{TESTS}::test_a_version_under_way_while_its_site_looked_forgets_none_before_it",
    ),
    of(
        "the history of a row of which a write waits is forgotten",
        RETENTION,
        "WHERE w.site_id = v.site_id AND w.row_id = v.id::text",
        "WHERE false AND w.row_id = v.id::text",
        f"{TESTS}::test_the_history_of_a_row_of_which_a_write_waits_stays_whole",
    ),
    of(
        "the history of a row with columns of a later release is forgotten",
        RETENTION,
        "WHERE e.site_id = v.site_id AND e.id = v.id",
        "WHERE false AND e.id = v.id",
        f"{TESTS}::test_a_row_of_which_a_later_release_knows_more_keeps_its_history",
    ),
    of(
        "the version that stays counts for what it wrote alone",
        RETENTION,
        "SET op = 'I'",
        "SET op = v.op",
        f"{TESTS}::test_of_old_versions_the_newest_stays_and_counts_for_all_that_is_gone",
        f"{TESTS}::test_a_write_on_a_forgotten_version_is_in_conflict_in_every_column",
    ),
    of(
        "no version of a row stays",
        RETENTION,
        "v.ord < r.floor",
        "v.ord <= r.floor",
        f"{TESTS}::test_of_old_versions_the_newest_stays_and_counts_for_all_that_is_gone",
    ),
    of(
        "what plain SQL replaced is forgotten with its version",
        RETENTION,
        "FROM gone WHERE replaced IS NOT NULL",
        "FROM gone WHERE false",
        f"{TESTS}::test_what_plain_sql_replaced_is_kept_for_as_long_as_the_history",
    ),
    of(
        "a conflict is forgotten before its review",
        RETENTION,
        '"NOT EXISTS (SELECT FROM mes.sync_reviews AS v"',
        '"true OR EXISTS (SELECT FROM mes.sync_reviews AS v"',
        OPEN,
    ),
    of(
        "a review that waits for a person is forgotten",
        RETENTION,
        "\"r.state <> 'OPEN'\"",
        '"true"',
        OPEN,
    ),
    of(
        "a parked row that waits is forgotten",
        RETENTION,
        "\"r.state IN ('applied', 'discarded')\"",
        '"true"',
        f"{TESTS}::test_only_parked_rows_that_are_settled_are_forgotten",
    ),
)

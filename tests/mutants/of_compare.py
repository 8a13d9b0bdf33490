"""Mutants of comparing and repairing, and of the centre's capture."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

CONFIRM: Final = "edge/compare/confirm.py"
SCOPE: Final = "edge/compare/scope.py"
LOOKER: Final = "edge/store/compare.py"
SUMS: Final = "shared/sums.py"
REPAIR: Final = "central/compare/repair.py"
CAPTURE: Final = "central/capture.py"

COMPARE: Final = "tests/integration/test_compare.py"
APART: Final = "tests/integration/test_compare_apart.py"
BUSY: Final = "tests/integration/test_compare_busy.py"
COST: Final = "tests/integration/test_compare_cost.py"
FOLLOWED: Final = "tests/integration/test_compare_followed.py"
FORMS: Final = "tests/integration/test_compare_forms.py"
HELD: Final = "tests/integration/test_compare_held.py"
MEANWHILE: Final = "tests/integration/test_compare_meanwhile.py"
OF_SUMS: Final = "tests/unit/test_sums.py"
CAPTURED: Final = "tests/integration/test_central_capture.py"
REFUSALS: Final = "tests/integration/test_central_capture_refusals.py"

_COMPARING: Final = (
    of(
        "a comparison does not wait for the feeds",
        CONFIRM,
        "scope.looker.shows, look.own, look.shared)",
        "scope.looker.shows, 0, 0)",
        f"{FOLLOWED}::test_a_row_that_is_on_its_way_down_for_seconds_is_no_difference",
    ),
    of(
        "what is only kept of a feed counts as followed",
        LOOKER,
        "shown.own >= own and",
        "at.own.n >= own and",
        f"{FOLLOWED}::test_entries_that_are_only_kept_are_not_followed_yet",
    ),
    of(
        "a store that needs a snapshot is compared",
        LOOKER,
        "return not at.needs_snapshot and",
        "return",
        f"{FOLLOWED}::test_nothing_is_followed_while_a_snapshot_is_needed",
    ),
    of(
        "a fact that is not drained is a difference",
        LOOKER,
        "elif table.fact:",
        "elif not table.fact:",
        f"{BUSY}::test_undecided_writes_are_counted_and_not_taken_for_differences",
    ),
    of(
        "a row that was written and is not drained is a difference",
        LOOKER,
        "FROM {quoted(capture.log_name(table))} WHERE {wanted}",
        "FROM {quoted(capture.log_name(table))} WHERE 0 AND {wanted}",
        f"{BUSY}::test_undecided_writes_are_counted_and_not_taken_for_differences",
    ),
    of(
        "a page is read from the row before on",
        LOOKER,
        "after = page[-1][0]",
        "after = page[-1][0] - 1",
        f"{COST}::test_no_page_is_read_while_others_wait_to_take_the_log_back",
    ),
    of(
        "the length of a text is counted in characters",
        LOOKER,
        "length(CAST({value} AS BLOB))",
        "length({value})",
        f"{FORMS}::test_a_row_is_the_same_text_at_both_ends_whatever_kinds_of_values_it_holds",
    ),
    of(
        "rows that lie where both ends differ are all hashed at once",
        SCOPE,
        "some and (len(some) == count_max or held + each.rows > _HASHED_ROWS_MAX)",
        "some and len(some) == count_max",
        f"{HELD}::test_rows_that_differ_all_over_a_table_are_hashed_some_at_a_time",
    ),
    of(
        "the rows of one ending are all hashed at once where a store lost its own",
        SCOPE,
        "if cut.digits < sums.DIGITS_MAX and any(",
        "if False and any(",
        f"{HELD}::test_where_a_store_lost_its_rows_those_of_the_centre_are_hashed_some_at_a_time",
        f"{HELD}::test_a_store_that_lost_its_rows_asks_any_centre_for_some_at_a_time",
    ),
    of(
        "buckets of many rows are cut finer though they are the same",
        SCOPE,
        "any(e.rows > _HASHED_ROWS_MAX for e in sized)",
        "any(e.rows > _HASHED_ROWS_MAX for e in there.values())",
        f"{HELD}::test_buckets_of_many_rows_that_are_the_same_are_cut_no_finer",
    ),
    of(
        "the whole of an id that is none is an ending",
        SCOPE,
        "return len(bucket) == digits and all(",
        "return all(",
        f"{HELD}::test_a_store_that_lost_its_rows_asks_any_centre_for_some_at_a_time",
    ),
    of(
        "facts of one minute that are few to each ending count as none",
        SCOPE,
        "mean = -(-minute.rows // len(endings))",
        "mean = minute.rows // len(endings)",
        f"{HELD}::test_facts_of_one_minute_that_a_store_lost_are_hashed_some_at_a_time",
    ),
    of(
        "the facts of one minute are all hashed at once",
        SCOPE,
        "large = each.rows > _HASHED_ROWS_MAX",
        "large = False",
        f"{HELD}::test_facts_of_one_day_or_of_one_minute_are_told_apart_whatever_is_held",
    ),
    of(
        "of a day of many facts the end is not looked at",
        SCOPE,
        "zip(some, pairwise(bounds), strict=True)",
        "zip(some[:-1], pairwise(bounds), strict=False)",
        f"{HELD}::test_facts_of_one_day_or_of_one_minute_are_told_apart_whatever_is_held",
    ),
    of(
        "facts of one minute whose ids are none are not counted",
        SCOPE,
        "self.report.parked += sum(no_ids)",
        "pass",
        f"{HELD}::test_facts_of_one_day_or_of_one_minute_are_told_apart_whatever_is_held",
    ),
    of(
        "of many days that differ only the first are looked at",
        SCOPE,
        "in _packed(cuts, _CUTS_MAX):",
        "in list(_packed(cuts, _CUTS_MAX))[:1]:",
        f"{COST}::test_days_that_differ_are_read_in_one_pass_some_at_a_time",
    ),
    of(
        "of two pieces only one is read",
        LOOKER,
        "{' OR '.join(tests)}",
        "{tests[0]}",
        f"{COST}::test_pieces_together_are_the_whole",
    ),
    of(
        "facts that a new store never had are missing",
        SCOPE,
        "dropped = key[1] < self.kept_from and",
        "dropped = key[1] < self.kept_from and not",
        f"{BUSY}::test_facts_that_a_new_store_never_had_are_no_difference_but_altered_ones_are",
    ),
    of(
        "facts that the centre has put away are sent again",
        SCOPE,
        "whole = Cut(minutes_from=self.minutes_from, since=first)",
        "whole = Cut(minutes_from=self.minutes_from)",
        f"{BUSY}::test_facts_that_the_centre_has_put_away_are_no_difference_and_not_sent_again",
    ),
    of(
        "a bucket that only the site has is the same",
        SUMS,
        "return sorted(b for b in one.keys() | other.keys()",
        "return sorted(b for b in other.keys()",
        f"{OF_SUMS}::test_buckets_differ_exactly_where_either_end_holds_another_sum",
        f"{COMPARE}::test_a_row_that_nobody_captured_is_sent_up",
    ),
    of(
        "the sign of a hash is kept in a sum",
        SUMS,
        "return total % _MODULUS",
        "return total",
        f"{OF_SUMS}::test_a_sum_is_the_same_whatever_the_order_and_signs_of_its_hashes",
        f"{FORMS}::test_bucket_sums_are_the_same_at_both_ends_and_in_words",
    ),
    of(
        "the day on which minutes begin ends with the day",
        SUMS,
        "bucket <= cut.minutes_from < end",
        "end <= cut.minutes_from < end",
        f"{OF_SUMS}::test_a_day_ends_where_its_minutes_begin",
    ),
    of(
        "a piece holds a day too many",
        SUMS,
        "held + rows > rows_max",
        "held > rows_max",
        f"{OF_SUMS}::test_pieces_cover_all_of_time_once_and_hold_few_rows_each",
    ),
    of(
        "rows of other sites are compared",
        "central/compare/rows.py",
        'tests = [f"({in_share(part.table)})"]',
        'tests = [f"({in_share(part.table)}) IS NOT NULL"]',
        f"{APART}::test_no_question_brings_a_row_of_another_site",
    ),
    of(
        "a row whose change is in no feed yet is a difference",
        "central/compare/rows.py",
        "    WHERE t.row_id = ANY(%(ids)s::uuid[])",
        "    WHERE false AND t.row_id = ANY(%(ids)s::uuid[])",
        f"{APART}::test_a_change_of_the_centre_that_is_in_no_feed_yet_is_told_as_queued",
    ),
)

_REPAIRING: Final = (
    of(
        "a row that its site wrote since it was judged is repaired",
        "edge/compare/mend.py",
        "and now != judged.here",
        "and now == judged",
        f"{MEANWHILE}::test_a_row_written_after_it_was_judged_is_left_to_the_next_comparison",
    ),
    of(
        "a repair is a write of every column",
        "central/sql/renew_heads.sql",
        "::\"char\", 0, '*', %(writer)s",
        "::\"char\", -1, '*', %(writer)s",
        f"{MEANWHILE}::"
        "test_a_write_that_is_made_while_a_repair_is_under_way_stands_whatever_the_policy",
    ),
    of(
        "two repairs at once leave two records of a row",
        REPAIR,
        "day, had = began_at[: sums.DAY_CHARACTERS]",
        "day, had = str(uuid.uuid4())",
        f"{MEANWHILE}::test_two_repairs_at_once_keep_one_record_of_each_row",
    ),
    of(
        "a row that was repaired since is repaired again",
        REPAIR,
        "if standing.version != item.version or (",
        "if (",
        f"{APART}::test_a_repair_that_is_asked_for_twice_has_one_effect",
    ),
    of(
        "a site renews rows that other sites have deleted",
        REPAIR,
        "not standing.left and standing.site_id in (part.site, SHARED)",
        "not standing.left or standing.site_id in (part.site, SHARED)",
        f"{APART}::test_no_question_brings_a_row_of_another_site",
    ),
    of(
        "a site renews rows that stand in other sites' shares",
        REPAIR,
        "and standing.version is not None and own",
        "and standing.version is not None",
        f"{APART}::test_no_question_brings_a_row_of_another_site",
    ),
    of(
        "what was lost at the centre is deleted at its site",
        REPAIR,
        "if stands or standing.deleted:",
        "if stands or standing.version:",
        f"{COMPARE}::test_a_row_that_was_lost_at_the_centre_comes_back_from_its_site",
    ),
    of(
        "a row put back at the centre does not take its natural key",
        "central/compare/lost.py",
        "            await _take_keys(applying, part, row, given)\n",
        "",
        f"{COMPARE}::test_the_natural_key_of_a_row_that_was_put_back_is_its_own_again",
    ),
    of(
        "the keys of a fact are left as they were changed",
        "edge/compare/mend.py",
        'if done[row_id] in ("sent", "keys")',
        'if done[row_id] in ("sent",)',
        f"{COMPARE}::test_created_at_changed_past_the_guards_is_put_right",
    ),
    of(
        "a row that is to be sent again is not",
        "edge/store/mend.py",
        "return _log_again(connection, table, ids)",
        "return len(ids)",
        f"{COMPARE}::test_a_row_that_nobody_captured_is_sent_up",
        f"{COMPARE}::test_a_row_that_stands_under_a_version_nobody_knows_is_sent_as_new",
    ),
)

_CAPTURE: Final = (
    of(
        "a write that changes nothing is a version",
        CAPTURE,
        "WHERE c.mask <> 0",
        "WHERE c.mask >= 0",
        f"{CAPTURED}::test_an_update_that_changes_nothing_leaves_nothing_behind",
    ),
    of(
        "a site is not told that a row has left its share",
        CAPTURE,
        'scopes=_scopes(table, "o", "n")',
        'scopes=_scopes(table, "n")',
        f"{CAPTURED}::test_a_row_that_enters_or_leaves_a_share_is_queued_for_both_sides",
    ),
    of(
        "nobody is told of a write at the centre",
        CAPTURE,
        "{body}    PERFORM pg_notify('mes_feed', '');",
        "{body}    PERFORM pg_notify('mes_feeds', '');",
        f"{CAPTURED}::test_listeners_hear_of_a_write_once_it_is_committed",
    ),
    of(
        "writes of the ingest are captured",
        CAPTURE,
        "(current_user <> '{INGEST}')",
        "(current_user <> '{INGEST}s')",
        f"{REFUSALS}::test_writes_of_the_ingest_are_not_captured",
    ),
    of(
        "an id stands twice, under two created_at",
        CAPTURE,
        'where="\\n        WHERE h.deleted")',
        'where="")',
        f"{REFUSALS}::test_an_id_that_stands_under_another_created_at_is_refused",
    ),
    of(
        "whoever wrote a row before is named as its writer",
        CAPTURE,
        "CASE WHEN {_differs(writer)} THEN n.{writer.name}::text END",
        "CASE WHEN true THEN n.{writer.name}::text END",
        f"{REFUSALS}::test_the_writer_is_whom_the_row_names_where_this_write_named_one",
    ),
    of(
        "the natural key of a deleted row stays taken",
        CAPTURE,
        "(_DROP_KEYS if table.natural_keys",
        "(_DROP_KEYS if not table.natural_keys",
        f"{REFUSALS}::test_a_natural_key_moves_with_its_row_and_is_free_after_a_delete",
    ),
    of(
        "new keys are taken before the old ones are let go",
        CAPTURE,
        "return let_go + _take_key(table, number, rows)",
        "return _take_key(table, number, rows) + let_go",
        f"{REFUSALS}::test_two_rows_can_swap_their_natural_keys_in_one_statement",
    ),
)

OF_COMPARE: Final[tuple[Mutant, ...]] = (*_COMPARING, *_REPAIRING, *_CAPTURE)

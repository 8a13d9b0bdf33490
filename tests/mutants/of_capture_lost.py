"""Mutants of what is done where our triggers were away: it is told, kept, and compared at once."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

LOST: Final = "tests/integration/test_edge_capture_lost.py"

OF_CAPTURE_LOST: Final[tuple[Mutant, ...]] = (
    of(
        "nobody is told that a table's triggers were gone",
        "edge/store/watch.py",
        "_note_lost(connection, table.name, now_ms)",
        "pass",
        f"{LOST}::test_that_nobody_watched_is_told_once_and_what_is_written_from_then_on_is_sent",
    ),
    of(
        "triggers that read otherwise are taken for lost",
        "edge/store/watch.py",
        "if not ours.keys() <= schema.triggers_on(connection, table.name):",
        "if not ours.items() <= found.items():",
        f"{LOST}::test_an_index_of_the_plants_that_changes_our_triggers_is_no_loss",
    ),
    of(
        "a head takes the place of what was not captured without a trace",
        "edge/store/heads.py",
        "one_by_one = target.table.fact or target.loss > 0",
        "one_by_one = target.table.fact",
        f"{LOST}::test_a_head_that_takes_the_place_of_what_was_not_captured_leaves_it_aside",
    ),
    of(
        "the second head overwrites what the first has left aside",
        "edge/store/uncaptured.py",
        '"INSERT OR IGNORE INTO _sync_aside (table_name',
        '"INSERT OR REPLACE INTO _sync_aside (table_name',
        f"{LOST}::test_the_first_of_several_heads_keeps_what_was_not_captured",
    ),
    of(
        "a snapshot takes what was not captured away without a trace",
        "edge/store/target.py",
        "return self.stirred or self.loss > 0",
        "return self.stirred",
        f"{LOST}::test_a_row_that_a_snapshot_lacks_is_kept_aside_as_it_stood",
    ),
    of(
        "any comparison ends the mark of what was not captured",
        "edge/store/mend.py",
        "return not (any(table[each] for each in left_out)"
        ' or table["differing"] - table["repaired"])',
        "return True",
        f"{LOST}::test_a_comparison_that_did_not_find_all_of_it_the_same_does_not",
    ),
    of(
        "a table of which capture was lost waits for the night to be compared",
        "edge/compare/schedule.py",
        "return not self._store.losses().items() <= self._seen.items()",
        "return False",
        "tests/integration/test_compare_commands.py"
        "::test_what_was_written_past_triggers_that_a_tool_took_away_is_found_told_and_mended",
    ),
    of(
        "triggers that went along with a renamed table are taken for ours still",
        "edge/store/watch.py",
        "schema.triggers_on(connection, table.name)",
        "found.keys()",
        f"{LOST}::test_a_table_that_is_renamed_away_and_made_anew_has_lost_them",
    ),
    of(
        "what is put over a row that was not captured leaves no trace",
        "edge/store/puts.py",
        "    uncaptured.keep_changed(applying, target, stood, put.row)\n",
        "",
        f"{LOST}::test_a_refused_head_that_is_tried_again_leaves_what_was_not_captured_aside",
        f"{LOST}::test_a_head_that_waited_for_its_key_leaves_what_was_not_captured_aside",
    ),
    of(
        "what is taken away and was not captured leaves no trace",
        "edge/store/knock_on.py",
        "    uncaptured.keep(applying, target, stood)\n",
        "",
        f"{LOST}::test_a_refused_removal_that_is_tried_again_leaves_what_was_not_captured_aside",
    ),
    of(
        "a second loss is taken for the first",
        "edge/store/watch.py",
        "losses = losses + 1",
        "losses = 1",
        f"{LOST}::test_of_two_losses_both_are_kept",
        f"{LOST}::test_what_was_lost_once_more_is_compared_once_more",
    ),
    of(
        "a row that was deleted unseen comes back without a word",
        "edge/store/heads.py",
        "            uncaptured.keep_missing(applying, target, head.id)\n",
        "            pass\n",
        f"{LOST}::test_a_row_that_was_deleted_unseen_comes_back_with_a_note_that_it_was_gone",
    ),
    of(
        "a comparison ends the mark of a loss that came after it",
        "edge/store/mend.py",
        "WHERE name = ? AND losses = ?",
        "WHERE name = ? AND losses >= ?",
        f"{LOST}::test_a_comparison_that_began_before_a_loss_does_not_end_it",
    ),
    of(
        "columns that were not compared count as the same",
        "edge/store/mend.py",
        '"parked", "unknown")',
        '"parked")',
        f"{LOST}::test_a_comparison_that_did_not_find_all_of_it_the_same_does_not",
    ),
    of(
        "a comparison for a loss that fails is begun again and again",
        "edge/compare/schedule.py",
        "        if nightly:\n            self._seen = seen\n",
        "",
        f"{LOST}::test_a_comparison_that_fails_is_not_begun_again_and_again",
    ),
    of(
        "what a repair has put on record stands aside as well",
        "edge/store/mend.py",
        'if each["repair"] == "sent"',
        'if each["repair"] == "never"',
        "tests/integration/test_compare_commands.py"
        "::test_what_was_written_past_triggers_that_a_tool_took_away_is_found_told_and_mended",
    ),
)

"""Mutants of restores that are cut short by the next one, and of how long the store is held."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

TAKEN: Final = "edge/store/taken.py"
DONE: Final = "edge/store/again.py"
TIPS: Final = "edge/store/tips.py"
UNDONE: Final = "edge/store/undone.py"
LOADING: Final = "edge/loading.py"
LANES: Final = "edge/lanes.py"
CUT: Final = "tests/sim/test_restores_cut_short.py"
ANSWERS: Final = "tests/sim/test_answers_of_a_lost_centre.py"
FEEDS: Final = "tests/integration/test_edge_lanes.py"
WORK: Final = "tests/integration/test_edge_restore_work.py"
_LOST: Final = (
    f"{CUT}::test_what_both_lives_of_a_store_wrote_is_sent_again_where_the_centre_lost_the_first"
)

OF_RESTORES_CUT_SHORT: Final[tuple[Mutant, ...]] = (
    of(
        "home: each row is looked up in the whole outbox, while programs wait",
        TIPS, "LEFT JOIN _sync_out o INDEXED BY _sync_out_by_tx ON", "LEFT JOIN _sync_out o ON",
        f"{WORK}::test_reading_tips_takes_the_same_steps_however_much_was_sent",
    ),
    of(
        "home: programs wait until a tip is found",
        TIPS, "ORDER BY id LIMIT :looked_at", "ORDER BY id",
        f"{WORK}"
        "::test_a_large_table_is_looked_through_in_pieces_between_which_programs_may_write",
    ),
    of(
        "again: what a snapshot does not decide is forgotten with it",
        DONE, "WHERE o.n > :decided_n AND", "WHERE :number >= 0 AND o.n > :decided_n AND",
        f"{CUT}"
        "::test_what_is_parked_is_parked_again_though_a_snapshot_came_before_it_was_sent_again",
    ),
    of(
        "again: what a half loaded snapshot brought is taken for decided in it",
        DONE, "AND NOT (o.n <= :brought_n AND", "AND NOT (",
        f"{CUT}"
        "::test_what_is_parked_on_a_row_that_a_half_loaded_snapshot_brought_is_parked_again",
    ),
    of(
        "again: the ack of a lost history is taken for one of this",
        DONE, "0 if void else at.acked_n", "at.acked_n",
        "tests/integration/test_edge_again.py"
        "::test_what_was_told_is_told_again_until_a_snapshot_says_what_became_of_it",
    ),
    of(
        "new epoch: what was done again is told again under its new number",
        "edge/store/epochs.py", "again.forget_done(connection, snapshot.brought(connection))",
        "pass",
        "tests/integration/test_edge_again.py"
        "::test_what_an_ack_has_passed_is_not_told_again_in_the_next_epoch",
    ),
    of(
        "new epoch: what is taken out as sent before is forgotten at once",
        "edge/store/epochs.py", "keep(connection, closed.closure, taken)", "pass", _LOST,
    ),
    of(
        "hello: after an answer was lost nobody asks for what was taken out",
        "edge/store/epochs.py",
        "WHEN void_since IS NULL AND NOT EXISTS (SELECT 1 FROM _sync_taken)",
        "WHEN void_since IS NULL",
        f"{CUT}::test_what_was_taken_out_is_asked_after_until_an_answer_comes",
        f"{CUT}"
        "::test_what_was_taken_out_is_asked_after_where_the_backup_holds_the_epoch_as_closed",
    ),
    of(
        "a hello that was under way before says that there is nothing to mend",
        "edge/agent.py", "self._unmended = forked", "self._unmended = self._forked",
        "tests/sim/test_answers_of_a_lost_centre.py"
        "::test_only_a_hello_that_was_begun_since_says_that_there_is_nothing_to_mend",
    ),
    of(
        "new epoch: an order of the lost time comes out of the shadow",
        "edge/store/epochs.py", "connection.execute(_VOID_ORDERS)", "pass",
        f"{CUT}::test_a_head_of_the_lost_time_that_lay_in_the_shadow_keeps_no_later_one_away",
    ),
    of(
        "snapshot: what it shows is kept to be sent again",
        "edge/store/snapshot.py", "taken.forget(connection)", "pass", _LOST,
    ),
    of(
        "home: what was taken out is told with the tips, as if the centre could not have it",
        UNDONE, "enumerate(taken.blocks(opened))", "enumerate(())",
        f"{CUT}::test_a_row_that_both_lives_made_is_sent_again_only_where_the_centre_lost_it",
    ),
    of(
        "sent again: the centre is not asked whether it has it",
        TAKEN, "left = left_of(table, one, sent)", "left = left_of(table, one, ())",
        f"{CUT}::test_what_both_lives_wrote_counts_once_where_the_centre_went_back_and_has_it",
    ),
    of(
        "sent again: what a half loaded snapshot brought comes twice",
        TAKEN, "if (one.table, one.ids[0]) in brought:", "if False:",
        f"{CUT}::test_what_a_half_loaded_snapshot_brought_of_it_counts_once",
    ),
    of(
        "snapshot: it ends amid a homecoming, and what that asks after is gone",
        LOADING, "await taking.take(store.finish_snapshot, now_ms())",
        "await thread.run(store.finish_snapshot, now_ms())",
        f"{CUT}"
        "::test_a_snapshot_that_ends_amid_a_homecoming_takes_nothing_of_what_is_asked_after",
        "tests/integration/test_edge_loading.py"
        "::test_a_load_does_not_end_while_the_two_ends_do_not_agree",
    ),
    of(
        "snapshot: what a lost centre gave is written when both have agreed since",
        LOADING, "if _last_met(self.store) != self.met:", "if False:",
        f"{ANSWERS}::test_what_the_lost_centre_gave_of_a_snapshot_is_not_written_once_both_agree",
        "tests/integration/test_edge_loading.py"
        "::test_what_was_asked_for_in_an_earlier_life_of_the_centre_is_asked_for_again",
    ),
    of(
        "hello: what a lost centre gave is written after the store said its order",
        "edge/handshake.py",
        "                self.down.agreed.clear()\n                tell = True\n",
        "                tell = True\n",
        f"{ANSWERS}"
        "::test_what_the_lost_centre_gave_is_not_written_between_the_hello_and_its_answer",
    ),
    of(
        "feed: one that ends before what came of it is taken for level",
        LANES, 'await self._check_end(scope, after, answer.get("hash"))', "pass",
        f"{FEEDS}"
        "::test_a_feed_that_ends_before_what_came_of_it_is_of_a_centre_that_went_back",
    ),
    of(
        "feed: what was followed is held against a centre though a snapshot is wanted",
        LANES, "or after != at or position.needs_snapshot:", "or after != at:",
        f"{FEEDS}"
        "::test_a_feed_that_ends_before_what_came_of_it_is_of_a_centre_that_went_back",
    ),
    of(
        "feed: half a step is shown where its other half is beyond the end of its feed",
        LANES, "end < waits.run.beside", "False",
        f"{FEEDS}::test_what_waits_for_an_entry_beyond_the_end_of_its_feed_is_not_shown",
    ),
    of(
        "control: nothing tells where a feed ends of which nothing is missing",
        "central/control.py", 'return {"entries": [], "end": end, ', 'return {"entries": [], ',
        "tests/sim/test_found.py"
        "::test_half_a_step_is_not_shown_where_the_centre_went_back_behind_both_halves",
        "tests/sim/test_found.py"
        "::test_steps_that_a_centre_lost_while_half_of_them_was_here_are_not_shown_by_half",
    ),
    of(
        "sent again: an older write goes over a later one of the site's own",
        TAKEN, "or not over >> table.bit(name) & 1", "or True",
        f"{CUT}::test_what_the_store_wrote_over_what_had_been_sent_before_stands",
    ),
    of(
        "sent again: it is out of sight until it is decided",
        TAKEN, "_show(opened, record(opened, at, packer, now_ms).n, lost)",
        "record(opened, at, packer, now_ms)", _LOST,
    ),
    of(
        "home: what is not decided is read again for each page of tips",
        UNDONE, "set(numbers) - self._read", "set(numbers)",
        f"{WORK}::test_each_body_is_read_once_however_many_pages_of_tips_there_are",
    ),
    of(
        "home: the first own write on a row is undone before the later ones",
        UNDONE, "ORDER BY id, n DESC, turn DESC", "ORDER BY id, n, turn",
        f"{WORK}::test_of_a_row_that_shows_several_own_writes_the_last_is_undone_first",
    ),
    of(
        "home: what a snapshot brought of what was taken out is told without it",
        UNDONE, "if (block.table, row_id) not in brought", "if True",
        f"{WORK}::test_what_a_snapshot_brought_of_it_is_told_as_it_is",
    ),
    of(
        "sent again: it goes over what was drained while it was prepared",
        TAKEN, "_later(opened, before, known_n + 1)", "{}",
        f"{WORK}::test_what_was_written_over_it_until_it_is_in_the_outbox_stands",
    ),
    of(
        "sent again: all own writes that wait are looked through while programs wait",
        TAKEN, "_later(opened, before, known_n + 1)", "_later(opened, before, kept.before_n)",
        f"{WORK}::test_what_programs_wait_for_does_not_grow_with_what_they_wrote_since",
    ),
    of(
        "sent again: each row is packed by itself",
        "edge/store/neighbours.py", "self._rows + len(block) > ROWS_MAX", "True",
        "tests/unit/test_neighbours.py::test_neighbouring_rows_of_one_shape_make_one_block",
    ),
    of(
        "what came in the millisecond in which a life was noted is taken for one of that life",
        LANES,
        "each[0].made_at_ms > self.made_from_ms]",
        "each[0].made_at_ms >= self.made_from_ms]",
        "tests/sim/test_found.py::"
        "test_an_entry_of_the_millisecond_in_which_the_next_life_was_noted_may_be_of_the_last_one",
    ),
)  # fmt: skip

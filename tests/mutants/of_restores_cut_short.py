"""Mutants of restores that are cut short by the next one, and of how long the store is held."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

DONE: Final = "edge/store/again.py"
TIPS: Final = "edge/store/tips.py"
CUT: Final = "tests/sim/test_restores_cut_short.py"
WORK: Final = "tests/integration/test_edge_restore_work.py"

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
)  # fmt: skip

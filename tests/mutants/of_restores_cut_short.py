"""Mutants of restores that are cut short by the next one, and of how long the store is held."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

TIPS: Final = "edge/store/tips.py"
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
)  # fmt: skip

"""Mutants of how sessions are ended that stand still amid a statement."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

ABANDONED: Final = "central/store/abandoned.py"
HELD: Final = "tests/integration/test_central_abandoned.py"
ENDED: Final = (
    f"{HELD}::test_a_session_that_stands_still_amid_a_copy_is_ended_and_lets_go_of_its_chain"
)

OF_ABANDONED: Final[tuple[Mutant, ...]] = (
    of(
        "abandoned: no worker looks at what others left standing",
        "central/ingest.py",
        "                    await self._end_abandoned()\n",
        "",
        "tests/integration/test_ingest_worker.py"
        "::test_a_worker_ends_what_another_has_left_standing_amid_a_copy",
    ),
    of(
        "abandoned: what stood still a moment ago is ended",
        ABANDONED, "if now_s - since >= STILL_MAX_S]", "if now_s - since >= 0]", ENDED,
    ),
    of(
        "abandoned: what was not seen in between has stood still",
        ABANDONED,
        "self._since = {each: self._since.get(each, now_s) for each in found}",
        "self._since |= {each: self._since.get(each, now_s) for each in found}",
        f"{HELD}::test_what_was_not_seen_in_between_begins_anew",
    ),
    of(
        "abandoned: a copy that goes on has stood still",
        ABANDONED, "coalesce(p.bytes_processed, 0)", "0 * p.bytes_processed",
        f"{HELD}::test_a_copy_that_goes_on_is_left_alone_however_long_it_takes",
    ),
    of(
        "abandoned: one that moved since is ended",
        ABANDONED, "WHERE (pid, query_start, bytes) = (%s, %s, %s)",
        "WHERE pid = %s AND query_start = %s AND (bytes = %s OR true)",
        f"{HELD}::test_one_that_moved_since_it_was_looked_at_is_left_alone",
    ),
    of(
        "abandoned: a session that holds no chain is ended",
        ABANDONED, "AND EXISTS (SELECT FROM pg_locks", "AND true OR EXISTS (SELECT FROM pg_locks",
        f"{HELD}::test_a_copy_that_holds_no_chain_is_nobodys_business",
    ),
    of(
        "abandoned: the role that was taken on sees nobody's session",
        ABANDONED, 'b"SET LOCAL ROLE NONE"', 'b"SELECT"', ENDED,
    ),
)  # fmt: skip

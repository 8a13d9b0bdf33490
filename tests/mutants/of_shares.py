"""Mutants of who gets a row, and of what a plant calls its own tables and rows."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

SHARES: Final = "tests/integration/test_family_shares.py"
REPAIR: Final = "tests/integration/test_family_repair.py"
AT_THE_EDGE: Final = "tests/integration/test_edge_acceptance.py"

OF_SHARES: Final[tuple[Mutant, ...]] = (
    of(
        "a site is told back what it wrote cleanly on a row that others see",
        "central/heads.py",
        "scope in share or SHARED in share else Fate.LEFT for scope in scopes}",
        "scope in share or SHARED in share else Fate.LEFT for scope in scopes | share}",
        f"{SHARES}::test_what_a_site_wrote_goes_on_to_others_and_never_back_to_it",
    ),
    of(
        "who keeps a row that all had is not told so",
        "central/heads.py",
        "if SHARED in scopes - share:",
        "if SHARED in scopes - scopes:",
        f"{SHARES}::test_a_row_shown_to_all_and_then_to_one_stays_there_and_with_its_owner",
    ),
    of(
        "a site is not told that its own write took a row out of its share",
        "central/store/statements.py",
        'if is_gone or "site_id" in table.share:',
        'if is_gone or "site_id" not in table.names:',
        f"{SHARES}::test_a_row_that_its_own_site_gives_to_another_leaves_its_store",
    ),
    of(
        "a row that left the share of all is taken away though its own feed keeps it",
        "edge/store/heads.py",
        "known[row_id] == (order, version, 1)",
        "known[row_id] == (order, version, 2)",
        f"{AT_THE_EDGE}::test_a_row_that_leaves_the_share_of_all_stays_where_its_own_feed_keeps_it",
    ),
    of(
        "a row that its site deleted comes back by the version it deleted",
        "edge/store/heads.py",
        "known[row_id] == (order, version, 1)",
        "known[row_id][::2] == (order, 1)",
        f"{AT_THE_EDGE}::test_a_row_that_the_site_deleted_does_not_come_back_by_the_version_it_deleted",
    ),
    of(
        "a plant's column is another one in another case",
        "edge/store/target.py",
        "lower = column.lower() if column.isascii() else column",
        "lower = column",
        f"{AT_THE_EDGE}::"
        "test_a_table_whose_names_are_written_in_another_case_is_one_with_its_declaration",
    ),
    of(
        "a parent that is on its way is sent once more for its child",
        "edge/store/unsent.py",
        "p.table_no = :no AND p.id = d.id",
        "p.table_no = -1 AND p.id = d.id",
        f"{AT_THE_EDGE}::test_only_a_parent_that_was_never_sent_is_sent_for_its_child",
    ),
)

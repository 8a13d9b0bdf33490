"""Mutants of what outlives one restore until the next: what is done again, what has come home."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

JUDGE: Final = "sync/handshake.py"
JUDGED: Final = "tests/unit/test_handshake.py"
EPOCHS: Final = "central/store/epochs.py"
HOMECOMING: Final = "central/store/homecoming.py"
SALVAGE: Final = "central/store/salvage.py"
EDGE: Final = "edge/handshake.py"
MOVE: Final = "edge/store/epochs.py"
DONE: Final = "edge/store/again.py"
HOME: Final = "edge/store/homecoming.py"
AGAIN: Final = "tests/integration/test_edge_again.py"
_FORWARD: Final = "tests/sim/test_centre_restored_forward.py"
IN_A_ROW: Final = "tests/sim/test_restores_in_a_row.py"
SENT: Final = "central/store/sent.py"
TWICE: Final = "tests/sim/test_copies_put_back_twice.py"
_COPY_OF_A_COPY: Final = (
    f"{TWICE}::test_a_copy_of_a_copy_from_before_its_first_hello_counts_its_log_once"
)
_APPLIED: Final = "SELECT tx_id, site, epoch, n FROM sync.applied UNION ALL"

OF_RESTORES_IN_A_ROW: Final[tuple[Mutant, ...]] = (
    of(
        "home: what was to be done again is forgotten when it was told",
        HOME, "undone += again.left(", "undone or again.left(",
        f"{AGAIN}::test_what_was_told_is_told_again_until_a_snapshot_says_what_became_of_it",
    ),
    of(
        "home: what was done again is told again for ever",
        "edge/store/snapshot.py", "again.forget_done(connection, Brought())", "pass",
        f"{AGAIN}::test_what_was_told_is_told_again_until_a_snapshot_says_what_became_of_it",
    ),
    of(
        "home: what a half loaded snapshot brought is done again",
        DONE, "AND coalesce(r.seen, 0) = :number", "AND coalesce(r.seen, 0) = :number + 1",
        f"{AGAIN}::test_of_a_snapshot_under_way_only_what_it_has_not_brought_is_told_again",
    ),
    of(
        "home: what is not acked is kept to be told again",
        DONE, "part = 0 AND n <= told_n", "part = 0",
        f"{AGAIN}::test_what_was_not_acked_is_sent_as_ever_and_not_told_again",
    ),
    of(
        "hello: what was healed before the line went is not told",
        EDGE, "self._healed |= await self._mend(said, answer)", "await self._mend(said, answer)",
        "tests/integration/test_edge_handshake.py"
        "::test_what_was_healed_before_the_line_went_is_told_when_both_agree",
    ),
    of(
        "hello: that the centre has all rows is taken for a restart, though no feed vouches",
        JUDGE, "if said.needs_snapshot or None in (", "if None in (",
        f"{JUDGED}::test_what_no_feed_vouches_for_is_told_whole_after_a_start_of_the_server",
    ),
    of(
        "hello: another decided transaction of that number is taken for a centre that went back",
        JUDGE, "if chain and None is not chain.acked_hash != said.acked_hash is not None:",
        "if chain and None is chain.acked_hash != said.acked_hash:",
        f"{JUDGED}"
        "::test_two_transactions_of_one_number_that_both_were_decided_are_two_lives_of_a_store",
    ),
    of(
        "hello: a copy from before a homecoming hears of nothing that came home",
        HOMECOMING, "SET home_no = l.no", "SET home_no = 0",
        f"{IN_A_ROW}"
        "::test_a_copy_from_before_a_homecoming_gets_what_came_home_though_its_numbers_fit",
    ),
    of(
        "new epoch: what its rows hold is not remembered",
        MOVE, "coalesce((SELECT max(to_n) FROM temp.moved WHERE n <= ?), 0)",
        "0 * coalesce((SELECT max(to_n) FROM temp.moved WHERE n <= ?), 0)",
        f"{IN_A_ROW}::test_a_sum_counts_once_where_the_centre_goes_back_after_a_store_did",
    ),
    of(
        "home: what a half loaded snapshot brought is forgotten when it was told",
        HOME, '"UPDATE _sync_site SET told_n = ?", (_upto(connection),)',
        '"UPDATE _sync_site SET told_n = ?", (0,)',
        f"{IN_A_ROW}"
        "::test_a_sum_in_a_half_loaded_snapshot_counts_once_however_often_the_centre_goes_back",
    ),
    of(
        "known: what came home does not count",
        EPOCHS, "SELECT FROM sync.again AS a WHERE a.site = i.site AND a.tx_id = i.tx_id)",
        "SELECT 1)",
        "tests/integration/test_central_included.py"
        "::test_one_is_known_by_its_id_unless_rows_of_it_are_to_be_done_again",
    ),
    of(
        "included: what a backup was still to do again is done again",
        HOMECOMING, "DELETE FROM sync.again WHERE site",
        "DELETE FROM sync.again WHERE false AND site",
        f"{IN_A_ROW}"
        "::test_what_was_to_be_done_again_at_a_later_backup_and_was_done_is_not_done_twice",
    ),
    of(
        "home: what was settled in the lost time goes on waiting",
        SALVAGE, 'if tips.table.name == "sync_parked":', "if False:",
        "tests/faults/test_centre_restored_from_a_backup.py"
        "::test_what_was_parked_at_the_backup_and_settled_since_waits_no_more",
    ),
    of(
        "home: a fact that was applied in the lost time is let go of",
        "central/store/settled.py",
        'if told[ticket] == "applied" and is_never_home(table, applying.catalog):', "if False:",
        "tests/faults/test_centre_restored_from_a_backup.py"
        "::test_a_report_that_waited_at_the_backup_and_was_applied_since_is_applied_again",
    ),
    of(
        "new epoch: a parked write of the lost life stays in sight",
        "edge/store/puts.py", "SET seen = -1 WHERE", "SET seen = 0 WHERE",
        "tests/sim/test_stores_that_went_back.py::test_a_write_of_which_the_lost_life_was_told"
        "_that_it_is_parked_goes_out_of_sight",
    ),
    of(
        "life: histories part where our own next life began, whatever was restored before",
        "central/store/lives.py",
        "order = self.other.parted_order if self.other else None", "order = None",
        f"{_FORWARD}::test_what_was_written_between_comes_home",
    ),
    of(
        "home: a site has seen all of a newer backup than the one that it parted at",
        "central/handshake.py", "life = life.from_order(int(order))", "pass",
        f"{_FORWARD}::test_what_the_newer_backup_alone_has_is_kept_beside_what_was_written_between",
    ),
    of(
        "hello: a life of the server that is lost is taken for one of ours",
        "sync/handshake.py", "if known.is_other_history:", "if False:",
        "tests/unit/test_handshake.py"
        "::test_a_site_that_met_a_life_which_is_lost_brings_home_what_it_knows",
    ),
    of(
        "life: a server that was never stopped goes on in a life that others left",
        "central/handshake.py", "if parted.is_beside and", "if False and",
        f"{_FORWARD}"
        "::test_a_server_that_another_took_the_place_of_for_a_while_gets_what_that_one_decided",
    ),
    of(
        "lives: each follows the one that was met before it",
        "edge/store/lives.py", "(SELECT no FROM _sync_life WHERE life = ?)",
        "(SELECT max(no) FROM _sync_life WHERE ? IS NOT NULL)",
        "tests/integration/test_edge_lives.py"
        "::test_a_life_that_the_server_knows_nothing_of_leads_nowhere",
    ),
    of(
        "closing: what the store has of a later epoch as applied is lost",
        EPOCHS, _APPLIED, f"{_APPLIED[:-9]}WHERE false UNION ALL",
        f"{TWICE}::test_the_same_copy_put_back_on_both_sides_of_a_restore_counts_its_log_once",
    ),
    of(
        "sent before: a store is told of what it has as applied for a lost life's",
        SENT, _APPLIED, f"{_APPLIED[:-9]}WHERE false UNION ALL",
        f"{TWICE}::test_what_a_copy_holds_is_its_own_though_it_came_home_in_an_epoch_that_ended",
    ),
    of(
        "sent before: of all lives only the first is told of",
        SENT, "or (epoch is not None and each.hlc == first[epoch])", "", _COPY_OF_A_COPY,
    ),
    of(
        "sent before: the first life hides what a later one sent of a row",
        SENT, "DISTINCT ON (k.place, d.epoch)", "DISTINCT ON (k.place)", _COPY_OF_A_COPY,
    ),
    of(
        "sent before: later drains of a life count that the log of no copy of it held",
        "edge/store/sent.py", "if each.hlc in drains:", "if True:",
        "tests/unit/test_sent_before.py"
        "::test_the_first_drain_of_each_closed_epoch_counts_over_all_answers",
    ),
)  # fmt: skip

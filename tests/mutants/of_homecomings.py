"""Mutants of homecomings that are cut off, and of stores that are put back beside them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

HOMECOMING: Final = "central/store/homecoming.py"
SALVAGE: Final = "central/store/salvage.py"
EPOCHS: Final = "central/store/epochs.py"
HELD: Final = "central/store/held.py"
SETTLED: Final = "central/store/settled.py"
UPKEEP: Final = "central/upkeep.py"
EDGE: Final = "edge/homecoming.py"
STORIES: Final = "tests/sim/test_homecomings_cut_short.py"
ASKED: Final = "tests/unit/test_homecoming_questions.py"
INCLUDED: Final = "tests/integration/test_central_included.py"
PRUNED: Final = "tests/integration/test_upkeep_restores.py"
AHEAD: Final = "edge/store/ahead.py"
RECORDS: Final = "tests/sim/test_records_and_rows.py"
AGAIN: Final = "tests/sim/test_tips_refused_again.py"
TIPS: Final = "tests/sim/test_tips_that_wait.py"
MOVED: Final = "tests/sim/test_rows_that_moved_on.py"
WAITING: Final = "tests/sim/test_parked_and_told_again.py"
DECIDED: Final = "tests/sim/test_decided_and_told_again.py"
APPLIED: Final = f"{WAITING}::test_what_was_applied_in_a_lost_history_comes_home_with_its_record"
BEFORE: Final = (
    f"{WAITING}::test_an_agent_of_before_that_does_not_tell_what_took_effect_brings_it_home"
)
ONCE_PARKED: Final = f"{DECIDED}::test_what_was_parked_once_stays_as_it_was_decided_since"
ITS_OWN: Final = (
    "tests/sim/test_copies_put_back_twice.py"
    "::test_what_another_life_wrote_is_not_the_stores_own_where_its_own_change_is_parked"
)
ALIKE: Final = (
    "tests/sim/test_copies_put_back_twice.py"
    "::test_a_deletion_of_what_another_life_wrote_with_the_same_clock_is_for_a_person"
)
COPIED: Final = (
    "tests/sim/test_copies_put_back_twice.py"
    "::test_what_a_copy_held_unsent_is_its_own_though_another_life_has_sent_it_since"
)
ANOTHER: Final = (
    "tests/sim/test_copies_put_back_twice.py"
    "::test_what_a_life_has_sent_that_no_copy_held_is_not_its_own"
)
UNDOES: Final = f"{STORIES}::test_an_older_copy_undoes_nothing_that_came_home_before_it"
_TOLD_ONCE: Final = (
    f"{PRUNED}::test_what_moved_on_and_never_came_again_is_forgotten_and_told_of_once"
)

OF_HOMECOMINGS: Final[tuple[Mutant, ...]] = (
    of(
        "home: that rows come home is noted at the end only",
        SALVAGE, "        if rows or parked:\n", "        if False:\n",
        f"{STORIES}::test_a_copy_put_back_while_its_rows_come_home_gets_those_that_had",
    ),
    of(
        "home: a transaction is told without its rows that did not come",
        EDGE, "        rows += own\n", "",
        f"{ASKED}::test_all_rows_of_a_transaction_are_told_before_it_or_with_it",
    ),
    of(
        "home: rows that are too many for one question are told after their transaction",
        EDGE, "while len(own) >= _LINES_MAX:", "while False:",
        f"{ASKED}::test_all_rows_of_a_transaction_are_told_before_it_or_with_it",
    ),
    of(
        "home: a transaction is known before its rows that did not come",
        HOMECOMING, "    await try_again(connection, told, rows)\n", "",
        f"{STORIES}::test_what_was_parked_is_parked_again_where_only_its_first_question_came",
    ),
    of(
        "home: what an earlier homecoming told of is done again for ever",
        HOMECOMING, "OR home IS DISTINCT FROM %(home)s::uuid)", "OR false)",
        f"{INCLUDED}::test_what_a_later_homecoming_does_not_tell_has_come_home",
    ),
    of(
        "home: rows told ahead are forgotten with their transaction",
        HOMECOMING, "DO UPDATE SET home = excluded.home, at", "DO UPDATE SET at",
        f"{INCLUDED}::test_what_a_later_homecoming_does_not_tell_has_come_home",
    ),
    of(
        "upkeep: what moved to another epoch is forgotten before it came again",
        UPKEEP, "coalesce(i.n <= e.last_n, false) OR",
        "coalesce(e.closed_at_n IS NOT NULL OR i.n <= e.last_n, false) OR",
        f"{STORIES}::test_a_sum_that_moved_to_a_new_epoch_counts_once_however_late_it_comes",
    ),
    of(
        "upkeep: what came again in a later epoch is kept",
        UPKEEP, "WHERE a.tx_id = i.tx_id AND a.site = i.site) AS again",
        "WHERE a.tx_id = i.tx_id AND a.epoch = i.epoch) AS again",
        f"{PRUNED}::test_what_came_home_is_forgotten_when_it_came_again_in_a_later_epoch",
    ),
    of(
        "upkeep: what never came again is forgotten, and nobody is told",
        UPKEEP, "FROM old WHERE NOT is_beyond GROUP", "FROM old WHERE false GROUP",
        f"{PRUNED}"
        "::test_people_are_told_of_what_came_home_and_is_forgotten_though_it_never_came_again",
    ),
    of(
        "upkeep: people are told of what nobody can send any more",
        UPKEEP, "FROM old WHERE NOT is_beyond GROUP", "FROM old WHERE true GROUP",
        f"{PRUNED}::test_nobody_is_told_of_what_lies_beyond_a_fork_and_never_came_again",
    ),
    of(
        "upkeep: what moved on and never came again is told of once an epoch",
        UPKEEP, "'forgotten', count(DISTINCT tx_id)", "'forgotten', count(*)", _TOLD_ONCE,
    ),
    of(
        "upkeep: what moved on is told of while it is still remembered",
        UPKEEP, "AND l.at >= now()", "AND false AND l.at >= now()", _TOLD_ONCE,
    ),
    of(
        "included: a transaction has a link in its first epoch only",
        "central/migrations/0020_homecomings.sql", "ADD PRIMARY KEY (site, tx_id, epoch)",
        "ADD PRIMARY KEY (site, tx_id)",
        f"{STORIES}::test_a_copy_of_an_epoch_into_which_what_came_home_had_moved_finds_its_fork",
    ),
    of(
        "closing: what moved on from the epoch that is kept is lost",
        EPOCHS, ' AND """\n    + _NOT_KEPT\n    + b")"', ')"""',
        f"{PRUNED}::test_what_moved_on_from_a_copy_that_is_put_back_twice_is_not_lost",
    ),
    of(
        "gate: what its site sends again is kept as refused",
        "central/store/gate.py", "link.tx_id in gate.included and link.n <= gate.fork_n", "False",
        f"{INCLUDED}::test_a_late_original_of_what_moved_on_is_not_kept_as_refused",
    ),
    of(
        "gate: what a lost life has sent late is acked unseen",
        "central/store/gate.py", "link.tx_id in gate.included and link.n <= gate.fork_n",
        "link.tx_id in gate.included",
        f"{INCLUDED}::test_a_late_original_of_what_moved_on_is_not_kept_as_refused",
    ),
    of(
        "spool: parts beyond the closing are kept as if they were to come whole",
        "central/store/spool.py", "if await fenced.fetchone() is not None:",
        "if await fenced.fetchone():",
        f"{INCLUDED}::test_a_late_original_of_what_moved_on_is_not_kept_as_refused",
    ),
    of(
        "home: an older copy's decisions of the lost time undo later ones",
        HELD, "k.lost_ord > 0 AND (o.lost_ord = 0 OR o.lost_ord >= k.lost_ord)", "false", UNDOES,
    ),
    of(
        "home: an older copy's own writes undo later ones",
        HELD, "WHERE i.site = h.site_id AND i.tx_id = k.version)", "WHERE false)", UNDOES,
    ),
    of(
        "home: what a site wrote after its homecoming is taken for an older copy's",
        HELD, "WHERE i.site = h.site_id AND i.tx_id = k.version)", "WHERE true)",
        f"{STORIES}"
        "::test_what_a_site_wrote_after_its_homecoming_comes_home_from_a_backup_amid_that",
    ),
    of(
        "home: what was decided otherwise stands by the word of a store that went back",
        HELD, "OR %(says)s AND k.ord = 0 AND EXISTS (", "OR %(says)s AND false AND EXISTS (",
        f"{WAITING}::test_what_waits_stays_away_though_a_store_that_went_back_tells_of_it",
        f"{DECIDED}::test_what_was_merged_stays_as_it_was_decided",
        f"{DECIDED}::test_what_a_person_discarded_stays_away",
    ),
    of(
        "home: what a lost history had applied is known, since it waits",
        HELD, "AND NOT (k.id = ANY(%(took)s::uuid[]) AND EXISTS (",
        "AND NOT (false AND EXISTS (", APPLIED,
    ),
    of(
        "home: what was parked and applied before the backup is taken from a tip",
        HELD, "AND NOT (k.id = ANY(%(took)s::uuid[]) AND EXISTS (",
        "AND NOT (k.id = ANY(%(took)s::uuid[]) OR EXISTS (", ONCE_PARKED,
    ),
    of(
        "home: a change waits on until its record comes, though its row is home",
        SALVAGE, "    await settle_tips(applying, tips)\n", "",
        f"{WAITING}::test_a_person_who_tries_it_between_its_row_and_its_record_has_it_counted_once",
    ),
    of(
        "home: what a row that came home has to wait for is forgotten with what it took effect in",
        SETTLED, "AND NOT (w.n = 0 AND w.stored_at_ms >= %s)", "AND %s > 0",
        f"{TIPS}::test_it_waits_under_one_ticket_though_it_is_refused_again_and_its_record_is_yet"
        "_to_come",
    ),
    of(
        "home: a record that was tried in vain stays as it was, though its row came home",
        SETTLED, "(w.ticket IS NOT NULL OR p.state IN ('parked', 'waiting'))",
        "w.ticket IS NOT NULL",
        f"{TIPS}::test_a_person_who_tries_in_vain_what_the_site_is_about_to_bring_home_has_it"
        "_counted_once",
    ),
    of(
        "home: that a change of a row was applied settles it, though the row has left us",
        AHEAD, "(*untold, *came_ahead)", "came_ahead",
        f"{MOVED}::test_a_change_of_a_row_that_is_not_here_any_more_waits_on_and_can_be_tried",
    ),
    of(
        "home: what the outbox sends again is told as it was before it was applied",
        AHEAD, '"AND p.n <= :n" if', '"" if', MOVED,
    ),
    of(
        "home: a store does not tell what took effect",
        "edge/homecoming.py", "if (block.table, row_id, tx_id) in took_effect", "if False",
        APPLIED,
    ),
    of(
        "home: a record of which a load brings no news counts as ahead of its row",
        AHEAD, "for each in after - before],", "for each in after],",
        f"{RECORDS}::test_a_record_whose_row_the_site_had_before_the_load_settles_it",
    ),
    of(
        "home: a row that a load brings does not catch up with its record",
        AHEAD, "        _forget(opened.connection, block)\n", "",
        f"{RECORDS}"
        "::test_a_record_whose_row_the_load_had_brought_settles_it_though_the_load_has_not_ended",
    ),
    of(
        "home: what was parked, and applied ahead of its row, is not decided again",
        "edge/store/tips.py", "    OR p.id IN (SELECT record FROM _sync_ahead)) AND EXISTS (",
        "    ) AND EXISTS (",
        f"{RECORDS}::test_a_change_that_was_parked_and_applied_after_the_backup_is_decided_again",
    ),
    of(
        "home: a row that waits at the centre since it came home is sent again as its transaction",
        "edge/store/tips.py", "p.n > 0 AND (p.state", "(p.state",
        f"{TIPS}::test_the_record_of_a_row_that_was_refused_comes_home_where_the_centre_goes_back_once_more",
    ),
    of(
        "home: a record that a load brought without its row settles it",
        "edge/store/tips.py", "_as_before(tip, undecided)", "tip",
        f"{RECORDS}::test_a_record_that_a_load_brought_without_its_row_settles_nothing",
        f"{RECORDS}::test_a_review_of_which_a_load_brought_the_decision_alone_is_asked_again",
    ),
    of(
        "home: a row that can't be taken yet loses its version",
        HELD, "n=0, tx_id=version,", "n=0, tx_id=NOBODY,",
        f"{TIPS}::test_what_the_site_had_built_on_it_waits_behind_it",
    ),
    of(
        "home: what waits counts as what the row was when more comes home",
        HELD, "AND v.ord <= s.ord AND (v.counts OR NOT v.lost)", "AND v.ord <= s.ord",
        f"{TIPS}::test_what_was_written_beside_it_stands_though_the_centre_goes_back_once_more",
    ),
    of(
        "home: what waited in the backup and took effect since is known by its note",
        HELD, "SELECT FROM sync.waiting AS w WHERE w.site_id = %(site)s AND w.n = 0",
        "SELECT FROM sync.waiting AS w WHERE w.site_id = %(site)s AND w.n < 0",
        f"{TIPS}::test_it_takes_effect_once_though_the_centre_goes_back_to_when_it_waited",
    ),
    of(
        "home: a row of the centre's that can't be taken yet never can",
        "central/store/intake.py",
        "if table.direction is Direction.DOWN and not origin.is_home:",
        "if table.direction is Direction.DOWN:",
        f"{TIPS}"
        "::test_a_row_of_the_centres_that_a_site_brought_home_is_taken_when_its_key_is_free",
    ),
    of(
        "home: a record that lost to a try in vain does not settle its row",
        SETTLED, 'if told[ticket] not in ("applied", "discarded"):',
        'if state not in ("applied", "discarded"):',
        f"{TIPS}::test_a_person_who_tries_in_vain_what_the_site_is_about_to_bring_home_has_it"
        "_counted_once",
    ),
    of(
        "home: what became of a row in an earlier life settles it in the next",
        HELD, 'row_id, self.life.id, "home"),', 'row_id, "home"),',
        f"{AGAIN}::test_that_it_was_applied_in_an_earlier_life_settles_nothing_in_the_next",
    ),
    of(
        "home: the place of a row that waits counts as a change of its columns",
        SALVAGE, "NOT k.waits", "true",
        f"{AGAIN}::test_when_it_comes_home_at_last_it_is_in_no_conflict_with_its_own_note",
    ),
    of(
        "home: a row that waited takes the place of what its site wrote since",
        "central/store/conflicts.py",
        "clock = _BEFORE_ALL if rows.source(row).origin.is_home else rows.hlc[row]",
        "clock = rows.hlc[row]",
        f"{TIPS}::test_what_was_written_beside_it_stands_though_the_centre_goes_back_once_more",
    ),
    of(
        "home: records are told before the rows of later tables",
        "edge/store/tips.py", 'key=lambda table: table.name.startswith("sync_"))',
        "key=lambda table: 0)",
        f"{RECORDS}::test_what_was_applied_since_comes_home_whatever_the_place_of_its_table",
    ),
    of(
        "home: what an agent of before tells of its own is left away, and its record settles it",
        "central/handshake.py", "took_effect=None if took is None else frozenset(",
        "took_effect=frozenset() if took is None else frozenset(", BEFORE,
    ),
    of(
        "new epoch: what another life has sent of a copy stays lost to the copy",
        "central/store/apply.py",
        "[each for each in sources if each.origin.tx_id in gate.applied]", "[]", COPIED,
    ),
    of(
        "new epoch: all that lives of a store have written of a row is its own again",
        EPOCHS, "AND v.hlc = k.hlc AND v.hlc > 0", "AND v.hlc > 0", ANOTHER,
    ),
    of(
        "new epoch: what has the same clock is of the same life",
        EPOCHS, "AND o.hlc = v.hlc AND o.ord <> v.ord", "AND false", ALIKE,
    ),
    of(
        "new epoch: what has the clock of a change that is parked is that change",
        EPOCHS, "AND p.tx_id = k.tx AND p.row_id = k.id", "AND false", ITS_OWN,
    ),
    of(
        "new epoch: of a transaction in parts that moved the clock is forgotten",
        "central/sql/insert_applied.sql", "CASE WHEN i.hlc > 0", "CASE WHEN true",
        "tests/sim/test_found.py"
        "::test_a_transaction_in_parts_that_moved_to_a_later_epoch_has_the_clock_that_it_had",
    ),
    of(
        "hello: where its entry was pruned a place of any feed is one of ours",
        "central/handshake.py", "[scope, at.n, scope, at.n + 1]", "[scope, at.n, scope, 0]",
        "tests/sim/test_found.py"
        "::test_a_site_at_a_place_of_a_lost_feed_is_told_apart_by_the_entry_after_it",
    ),
)  # fmt: skip

"""Mutants of the handshake: who went back, where chains part, what comes home, and what counts."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

JUDGE: Final = "sync/handshake.py"
JUDGED: Final = "tests/unit/test_handshake.py"
CENTRE: Final = "central/handshake.py"
EPOCHS: Final = "central/store/epochs.py"
HOMECOMING: Final = "central/store/homecoming.py"
SALVAGE: Final = "central/store/salvage.py"
HELD: Final = "central/store/held.py"
LIVES: Final = "central/store/lives.py"
EDGE: Final = "edge/handshake.py"
HELD_IN_A_LOG: Final = "tests/faults/test_copy_held_writes_in_its_log.py"
HOME: Final = "edge/homecoming.py"
MOVE: Final = "edge/store/epochs.py"
ANEW: Final = "edge/store/homecoming.py"
TIPS: Final = "edge/store/tips.py"
ACK: Final = "edge/store/outbox.py"
TOLD: Final = "tests/integration/test_salvage.py"
STORIES: Final = "tests/sim/test_restores.py"
STORES: Final = "tests/sim/test_stores_that_went_back.py"
QUESTIONS: Final = "tests/integration/test_central_epochs.py"

_BACK: Final = f"{JUDGED}::test_a_centre_that_went_back_is_found_by_what_the_site_has_of_it"
_STORE_BACK: Final = f"{JUDGED}::test_a_store_that_went_back_is_found_by_its_chain"
_COUNTS_ONCE: Final = (
    f"{STORIES}::test_what_a_site_sent_since_the_backup_comes_again_and_counts_once"
)
_HOME: Final = (
    f"{STORIES}::test_what_only_the_centre_wrote_in_the_lost_time_comes_home_from_the_site"
)
_MEETS: Final = (
    f"{STORIES}::test_what_is_written_at_the_restored_centre_meets_what_comes_home_column_by_column"
)
_LOST_LIFE: Final = f"{STORES}::test_what_a_lost_life_and_the_store_after_it_wrote_is_in_conflict"
_UNDECIDED: Final = (
    f"{STORES}::test_undecided_writes_of_a_copy_go_on_in_the_new_epoch_and_stay_in_sight"
)
_STARTED: Final = (
    f"{STORIES}::test_a_server_that_was_only_started_is_met_and_nobody_brings_anything"
)
_TWICE_STARTED: Final = (
    f"{STORIES}::test_a_server_that_went_back_and_was_started_again_is_healed_as_of_its_first_start"
)
_BOTH: Final = f"{STORIES}::test_a_centre_that_no_longer_knows_of_a_sites_new_epoch_takes_it_up"
_TWICE: Final = f"{STORES}::test_a_store_that_is_put_back_twice_to_one_copy_closes_both_lives"
_MISSING: Final = f"{STORIES}::test_what_was_called_safe_and_is_in_no_backup_is_told_as_missing"

OF_RESTORES: Final[tuple[Mutant, ...]] = (
    # --- who went back ---------------------------------------------------------------------------
    of(
        "hello: a centre that knows fewer transactions is not noticed",
        JUDGE, "if said.acked_n > decided_n:", "if said.acked_n > decided_n + 1:", _BACK,
    ),
    of(
        "hello: what came home counts but for the last",
        JUDGE, "max(chain.last.n, chain.included.n) if chain else 0",
        "max(chain.last.n, chain.included.n - 1) if chain else 0",
        f"{JUDGED}::test_what_came_home_counts_as_known",
    ),
    of(
        "hello: closed epochs are taken for known",
        JUDGE, "if not all(each and each.is_closed for each in before):", "if False:", _BACK,
    ),
    of(
        "hello: a feed that ends before where the site stands is not noticed",
        JUDGE, "if at.n > feed.end.n:", "if at.n > feed.end.n + 1:", _BACK,
    ),
    of(
        "hello: another entry at the site's place is not noticed",
        JUDGE, "if feed.hash_there not in (None, at.hash):", "if False:", _BACK,
    ),
    of(
        "hello: what a store followed before its snapshot counts",
        JUDGE, 'return "" if said.needs_snapshot else _feeds', 'return "" if False else _feeds',
        f"{JUDGED}::test_a_store_that_begins_with_a_snapshot_has_followed_nothing",
    ),
    of(
        "hello: a store one transaction behind is not noticed",
        JUDGE, "if said.n < known_n:", "if said.n < known_n - 1:", _STORE_BACK,
    ),
    of(
        "hello: the fork check is dropped",
        JUDGE, "if said.n == chain.last.n and said.hash != chain.last.hash:", "if False:",
        _STORE_BACK,
    ),
    of(
        "hello: a store is behind only what was applied",
        JUDGE, "known_n = max(chain.last.n, chain.included.n)", "known_n = chain.last.n",
        _STORE_BACK,
    ),
    of(
        "hello: a store may go on in a closed epoch",
        JUDGE, "if chain.is_closed:", "if False:", _STORE_BACK,
    ),
    of(
        "hello: a new store speaks for the site as if it were the first",
        JUDGE, 'return f"a new store speaks for {site}" if known.chains else ""', 'return ""',
        _STORE_BACK,
    ),
    of(
        "hello: a copy in another place may speak",
        JUDGE, "if known.instance not in (None, said.instance, said.moved_from):", "if False:",
        f"{JUDGED}::test_a_copy_is_sent_away_until_a_person_says_that_it_was_moved",
    ),
    of(
        "hello: of both that went back the store is healed first",
        JUDGE, "if why := _centre_went_back(site, said, known):",
        "if (why := _centre_went_back(site, said, known)) and not _edge_went_back("
        "site, said, known):",
        f"{JUDGED}::test_where_both_went_back_the_centre_is_healed_first",
    ),
    of(
        "hello: a started server asks for nothing",
        JUDGE, "if known.held_order is not None and said.max_order is None:", "if False:",
        f"{JUDGED}::test_a_server_that_was_started_since_asks_for_the_highest_order_once",
    ),
    of(
        "hello: later decisions than the server had at its start count as known",
        JUDGE, "(said.max_order or 0) > known.held_order", "(said.max_order or 0) < 0",
        f"{JUDGED}::test_a_server_that_was_started_since_asks_for_the_highest_order_once",
    ),
    # --- the centre's answers --------------------------------------------------------------------
    of(
        "hello: a site is verified before it has brought home what it knows",
        CENTRE, "if welcome in (Welcome.OK, Welcome.BEHIND):", "if True:",
        f"{STORIES}::test_nothing_of_a_site_is_taken_before_it_has_brought_home_what_it_knows",
    ),
    of(
        "close: not the first thing, messages may still be under way",
        CENTRE, "if waiting := await self.waiting(site):  #",
        "if (waiting := await self.waiting(site)) > 10**9:  #",
        f"{QUESTIONS}::test_an_epoch_is_not_closed_while_something_of_it_is_under_way",
    ),
    of(
        "home: a site that has agreed may still tell of shared rows",
        CENTRE, "only_own=bool(verified and verified[0])", "only_own=False",
        f"{TOLD}::test_a_site_that_has_agreed_has_no_say_in_shared_rows",
    ),
    of(
        "life: what is lost begins with the last start",
        CENTRE, "life = (await parting(connection, read_met(asked))).since or now", "life = now",
        _TWICE_STARTED,
    ),
    # --- epochs ----------------------------------------------------------------------------------
    of(
        "close: versions of a lost life stay the site's own",
        EPOCHS, "hlc >= %(hlc)s AND ord", "hlc >= %(hlc)s AND false AND ord", _LOST_LIFE,
    ),
    of(
        "close: the first transaction of a lost life stays the site's own",
        EPOCHS, "AND NOT lost AND hlc >= %", "AND NOT lost AND hlc > %", _LOST_LIFE,
    ),
    of(
        "close: what moved into a later epoch is lost with it, though the copy has it",
        EPOCHS, "AND k.epoch = %(kept_epoch)s AND k.n <= %(kept_n)s", "AND k.n < 0",
        f"{QUESTIONS}::test_what_moved_into_a_later_epoch_and_the_copy_has_stays_the_sites_own",
    ),
    of(
        "close: later epochs of the site stay open",
        EPOCHS, "    for each in later:\n", "    for each in later[:0]:\n", _TWICE,
    ),
    of(
        "close: asked again, it opens one more epoch",
        EPOCHS,
        'if newest is not old and old["fork_n"] == fork.n and not newest["last_n"]:', "if False:",
        f"{QUESTIONS}::test_an_epoch_that_is_closed_again_goes_on_where_it_did",
    ),
    of(
        "close: a fork that the centre remembers otherwise is believed",
        EPOCHS, "if None is not known != fork.hash is not None:", "if False:",
        f"{QUESTIONS}::test_a_fork_at_another_transaction_than_was_applied_stops_the_site",
    ),
    of(
        "close: stores that take turns are never stopped",
        EPOCHS, "if row and row[0] >= _CLOSURES_MAX:", "if row and row[0] >= 10**6:",
        f"{QUESTIONS}::test_a_store_that_goes_back_again_and_again_stops_the_site",
    ),
    of(
        "close: a fork beyond what is remembered is believed",
        EPOCHS, 'if old["last_n"] > fork.n and not await _remembers_first(connection, fork):',
        "if False:",
        f"{QUESTIONS}::test_a_store_older_than_what_is_remembered_stops_the_site",
    ),
    of(
        "take up: what can't come again is waited for",
        EPOCHS, "missing = max(0, known.before_first.n - last_n)", "missing = 0", _MISSING,
    ),
    of(
        "take up: how far rows came home is not kept",
        EPOCHS, "AND included_n < %s", "AND included_n > %s", _COUNTS_ONCE,
    ),
    of(
        "take up: an epoch that the site had closed stays unknown",
        EPOCHS, "VALUES (%s, %s, 0, clock_timestamp())", "SELECT %s, %s, 0, now() WHERE false",
        f"{QUESTIONS}::test_epochs_that_the_centre_no_longer_knows_are_closed_when_it_is_taken_up",
    ),
    of(
        "include: no transaction is noted whose rows came home",
        HOMECOMING, "_columns(links)", "_columns(links[:0])", _COUNTS_ONCE,
    ),
    of(
        "again: what was parked in the lost time is forgotten",
        HOMECOMING, "_columns(rows)", "_columns(rows[:0])",
        f"{STORIES}::test_what_was_parked_in_the_lost_time_is_parked_again_once",
    ),
    # --- salvage ---------------------------------------------------------------------------------
    of(
        "salvage: a site may tell that a row of others is gone",
        SALVAGE, "return shared and fate is Fate.PUT", "return shared",
        f"{TOLD}::test_no_site_tells_that_a_shared_row_is_gone",
    ),
    of(
        "salvage: a site may tell of rows that it does not get",
        SALVAGE, "_rows(tips, found, known | whole)", "_rows(tips, found, known)",
        f"{TOLD}::test_no_site_gets_a_row_of_another_by_telling_who_gets_it",
    ),
    of(
        "salvage: a row that the backup lacks comes home without who gets it",
        SALVAGE, "tips.owner != tips.site and found[row_id].here is not None",
        "tips.owner != tips.site",
        f"{TOLD}::test_a_row_of_several_sites_that_the_backup_lacks_comes_home_with_who_gets_it",
    ),
    of(
        "salvage: rows come home without the version that they had",
        SALVAGE, "base=[each.base for each in standing],", "base=[None] * count,", _HOME,
    ),
    of(
        "salvage: versions that were overruled leave no record",
        SALVAGE, "await _note(applying, tips, pieces, waits)",
        "await _note(applying, tips, [], waits)",
        f"{STORIES}::test_one_column_written_in_the_lost_time_and_after_it_is_a_conflict_on_record",
    ),
    of(
        "salvage: whole rows come home, with what the backup had as well",
        SALVAGE, "for name, value in new.items() if held.get(name) != value)",
        "for name, value in new.items())", _MEETS,
    ),
    of(
        "salvage: a row that the backup had comes home as a new one",
        SALVAGE, "return Op.UPDATE, tuple(name", "return Op.INSERT, tuple(name", _MEETS,
    ),
    of(
        "held: any row that stands is taken for known",
        HELD, "AND v.id = k.id AND v.version = k.version", "AND v.id = k.id", _HOME,
    ),
    of(
        "held: what clients wrote since counts as in the backup",
        HELD, "AND v.replaced IS NOT NULL ORDER BY v.id", "AND false ORDER BY v.id", _MEETS,
    ),
    of(
        "held: of two writes since, the second tells what the backup had",
        HELD, "ORDER BY v.id, v.ord DESC", "ORDER BY v.id, v.ord",
        _MEETS,
    ),
    of(
        "lives: the last life that was met counts as unmet",
        LIVES, "l.no > %%s", "l.no >= %%s", _STARTED,
    ),
    of(
        "lives: the last unmet life counts, not the first",
        LIVES, "no LIMIT 1", "no DESC LIMIT 1", _TWICE_STARTED,
    ),
    # --- the edge --------------------------------------------------------------------------------
    of(
        "agree: what the centre has is not compared with the store's own",
        EDGE, "in (Welcome.OK, Welcome.SNAPSHOT) and await self._has(answer):",
        "in (Welcome.OK, Welcome.SNAPSHOT):",
        f"{STORES}::test_a_store_that_has_sent_again_as_much_as_its_lost_life_is_found",
    ),
    of(
        "agree: a life that both met is forgotten",
        EDGE, "if all(each.life != life.life for each in said.lives):", "if False:", _STARTED,
    ),
    of(
        "fork: all beyond the ack counts as lost",
        EDGE, "low, high = said.acked_n, max(said.acked_n, min(said.n, known_n))",
        "low, high = said.acked_n, said.acked_n",
        f"{STORES}::test_what_both_have_beyond_the_ack_is_common_when_a_store_goes_back",
    ),
    of(
        "ack: one of another transaction of that number is believed",
        ACK, "return ack is None or None in (own, ack.hash) or own == ack.hash", "return True",
        "tests/integration/test_edge_apply_feed.py"
        "::test_an_ack_of_another_transaction_of_that_number_is_a_fork",
    ),
    of(
        "home: what was safe is let go of before it is sent again",
        HOME, "        if whole:\n", "        if False:\n",
        f"{STORIES}::test_what_is_called_safe_goes_back_with_the_centre",
    ),
    of(
        "home: the store goes on at its place of the lost feed",
        ANEW, '"UPDATE _sync_site SET own_pos = 0, own_hash = ?, shared_pos = 0, shared_hash = ?,"',
        '"UPDATE _sync_site SET own_hash = ?, shared_hash = ?,"',
        "tests/integration/test_edge_again.py"
        "::test_a_store_that_follows_the_centre_anew_stands_at_the_beginning_of_both_feeds",
    ),
    of(
        "home: transactions of the store whose version stands stay behind",
        TIPS, "WHERE (o.n IS NOT NULL OR r.ord > :max_order OR :whole AND r.ord = 0)",
        "WHERE (r.ord > :max_order)", _MISSING,
    ),
    of(
        "home: the last transaction of the backup is told as lost",
        ANEW, "AND part = 0 AND n > ? AND n <= ?", "AND part = 0 AND n >= ? AND n <= ?",
        f"{STORIES}::test_only_what_the_backup_lacks_is_told_as_included",
    ),
    of(
        "home: writes that are not decided are told as the centre's",
        TIPS, "yield replace(tip, values=row)", "yield tip",
        f"{STORIES}::test_a_write_that_is_not_decided_is_not_told_as_the_centres",
    ),
    of(
        "new epoch: what is not decided stands where the old one ended",
        MOVE, "acked_n = 0, safe_n = 0\"", 'safe_n = 0"', _UNDECIDED,
    ),
    of(
        "new epoch: undecided writes do not follow their transactions",
        MOVE, '"UPDATE _sync_pending SET n = -n"',
        '"UPDATE _sync_pending SET n = -n + 1000"',
        f"{STORES}"
        "::test_undecided_writes_that_no_lost_life_has_sent_are_decided_in_the_new_epoch",
    ),
    of(
        "new epoch: the store tells nobody which one it has left",
        MOVE, "            _remember(connection, closed.closure, now_ms)\n", "",
        _BOTH, _LOST_LIFE,
    ),
    of(
        "new epoch: what the centre has of the lost time is not fetched",
        MOVE,
        'snapshot.want(connection, "the store went back to an older copy of itself", now_ms)',
        "pass",
        f"{STORES}"
        "::test_what_a_lost_life_wrote_on_rows_of_which_the_outbox_has_nothing_comes_home",
    ),
    of(
        "new epoch: what is applied there already lies over the heads",
        MOVE, "kept.known_n, now_ms))", "0, now_ms))",
        f"{HELD_IN_A_LOG}"
        "::test_what_an_earlier_life_had_moved_and_sent_hides_nothing_that_was_written_on_it",
    ),
    of(
        "sent before: drains count that the store has itself",
        "central/store/sent.py", "max(first[0], beyond.after_hlc + 1)", "first[0]",
        f"{HELD_IN_A_LOG}"
        "::test_a_copy_with_writes_unsent_and_undrained_counts_each_once_when_put_back_twice",
    ),
)  # fmt: skip

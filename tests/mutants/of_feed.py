"""Mutants of what goes down: sequencer, heads, relay, snapshots, and what the centre answers."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

FEED: Final = "central/feed.py"
SNAPSHOT: Final = "central/snapshot.py"
CONTROL: Final = "central/control.py"
RELAY: Final = "central/relay.py"
OF_THE_FEED: Final = "tests/integration/test_feed.py"
OF_ORDER: Final = "tests/integration/test_feed_order.py"
RELAYED: Final = "tests/integration/test_relay.py"
SNAPSHOTS: Final = "tests/integration/test_central_snapshot.py"

OF_FEED: Final[tuple[Mutant, ...]] = (
    of(
        "a page of the queue gives its rows twice",
        FEED,
        "[after, PAGE_ROWS_MAX],",
        "[0, PAGE_ROWS_MAX],",
        f"{OF_THE_FEED}::test_a_large_update_is_sequenced_in_the_memory_of_a_page_and_read_once",
    ),
    of(
        "what is sequenced stays in the queue",
        FEED,
        "DELETE FROM sync.touched WHERE id IN",
        "UPDATE sync.touched SET id = id WHERE id IN",
        f"{OF_THE_FEED}::test_a_plain_insert_at_the_centre_reaches_the_feed_of_its_site_only",
    ),
    of(
        "heads are read in another snapshot than the queue",
        FEED,
        "await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)",
        "await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)",
        f"{OF_THE_FEED}::test_what_commits_while_a_page_is_sequenced_is_not_seen_in_part",
    ),
    of(
        "two sequencers number at once",
        FEED,
        "if not (await locked.fetchone() or [False])[0]:",
        "if await locked.fetchone() is None:",
        f"{OF_THE_FEED}::test_a_sequencer_does_nothing_while_another_is_at_work",
    ),
    of(
        "a transaction of the centre is sent in pieces",
        FEED,
        "self._append(feeds[scope], now_ms, None)",
        "self._append(feeds[scope], now_ms, {})",
        f"{OF_THE_FEED}::test_a_large_transaction_is_one_run_of_entries_that_ends_once",
    ),
    of(
        "an ack comes before the heads it decides on",
        FEED,
        "ack=None if beside is None else opened.ack,",
        "ack=opened.ack,",
        f"{OF_THE_FEED}::test_of_a_run_of_entries_only_the_last_has_the_ack_that_decides_on_them",
    ),
    of(
        "an ack alone makes no entry",
        FEED,
        "if opened.held or opened.ack:",
        "if opened.held:",
        f"{OF_THE_FEED}::test_an_ack_is_an_entry_even_without_rows",
    ),
    of(
        "entries name the shared feed as it was before",
        FEED,
        "shared_end = shared.position.n + bool(shared.held)",
        "shared_end = shared.position.n",
        f"{OF_ORDER}::test_rows_of_one_step_name_the_place_of_the_other_feed_at_its_end",
    ),
    of(
        "a shared run that is too large for a message ends behind what others name",
        FEED,
        "self._make_fit(shared, now_ms)",
        "self._make_fit",
        f"{OF_ORDER}::test_a_step_of_many_entries_names_at_its_end_where_the_other_feed_ends",
    ),
    of(
        "the shared feed names no site that has not moved in the same step",
        FEED,
        "SET named_pos = pos WHERE named_pos <> pos",
        "SET named_pos = 0 WHERE named_pos <> 0",
        f"{OF_ORDER}::test_the_shared_feed_names_each_site_that_has_moved_since_it_named_it_last",
    ),
    of(
        "the chain of a feed does not move",
        FEED,
        "opened.position = Position(pos, own)",
        "opened.position = Position(pos, previous)",
        f"{OF_THE_FEED}::test_a_large_update_is_sequenced_in_the_memory_of_a_page_and_read_once",
    ),
    of(
        "of two who must hear of a row one does",
        FEED,
        "scopes = each.scopes | known.scopes if known else each.scopes",
        "scopes = each.scopes",
        f"{OF_THE_FEED}::test_whoever_a_row_left_between_two_steps_hears_of_it",
    ),
    of(
        "the last entry is answered again",
        FEED,
        "WHERE scope = %s AND pos > %s",
        "WHERE scope = %s AND pos >= %s",
        f"{OF_THE_FEED}::test_a_plain_insert_at_the_centre_reaches_the_feed_of_its_site_only",
    ),
    of(
        "a row is sent to a site whose share it left",
        "central/heads.py",
        "Fate.PUT if scope in share or SHARED in share else Fate.LEFT",
        "Fate.PUT",
        f"{OF_THE_FEED}::test_a_person_who_moves_leaves_one_share_and_enters_another",
    ),
    of(
        "a row that is gone is sent as one that left",
        "central/heads.py",
        "return dict.fromkeys(head.touched.scopes, Fate.GONE)",
        "return dict.fromkeys(head.touched.scopes, Fate.LEFT)",
        f"{OF_THE_FEED}::test_a_deleted_row_is_gone_and_a_deletion_is_not_sent_twice",
    ),
    of(
        "a share holds the rows of all sites",
        SNAPSHOT,
        'tests.append(f"t.\\"{name}\\" IN ({{site}}, \'*\')")',
        'tests.append("true")',
        f"{SNAPSHOTS}::test_a_snapshot_holds_a_sites_own_rows_and_the_shared_ones_and_no_others",
    ),
    of(
        "a share holds the rows of a site named alike",
        SNAPSHOT,
        "f'strpos(t.\"{name}\", {each}) > 0'",
        "f't.\"{name}\" LIKE \\'%%\\' || {each} || \\'%%\\''",
        f"{SNAPSHOTS}::test_a_site_whose_name_has_an_underscore_gets_no_row_of_one_named_alike",
    ),
    of(
        "a snapshot is of no one moment",
        SNAPSHOT,
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        f"{SNAPSHOTS}::test_what_commits_after_a_snapshot_has_begun_is_not_in_it",
    ),
    of(
        "a snapshot says nothing of what is decided",
        SNAPSHOT,
        '"ack": list(ack[:3]) if ack else None,',
        '"ack": None,',
        f"{SNAPSHOTS}::test_a_snapshot_says_what_of_its_site_is_decided_in_it",
    ),
    of(
        "a snapshot is not in the order of parents",
        SNAPSHOT,
        "sorted(catalog.parents_first(), key",
        "sorted(reversed(catalog.parents_first()), key",
        f"{SNAPSHOTS}::test_parents_come_before_their_children",
    ),
    of(
        "a site may follow the feed of another",
        CONTROL,
        "if scope not in (site, SHARED):",
        "if not scope:",
        f"{SNAPSHOTS}::test_a_site_may_not_follow_the_feed_of_another",
    ),
    of(
        "a site may fetch the snapshot of another",
        CONTROL,
        "if owner is None or owner[0] != site:",
        "if owner is None:",
        f"{SNAPSHOTS}::test_a_snapshot_is_fetched_by_its_site_alone_and_resumed_by_its_id",
    ),
    of(
        "a feed that was pruned is answered as if it were whole",
        CONTROL,
        "gone(connection, scope, after):",
        "gone(connection, scope, after) and after < 0:",
        f"{SNAPSHOTS}::test_a_pruned_feed_answers_that_a_snapshot_is_needed",
    ),
    of(
        "a feed that ends in another entry is taken for ours",
        "edge/lanes.py",
        "if end == at.n and theirs is not None and bytes(theirs) != at.hash:",
        "if False:",
        "tests/integration/test_edge_lanes.py"
        "::test_a_feed_that_ends_in_another_entry_is_of_a_centre_that_went_back",
    ),
    of(
        "what is committed goes out at the next look",
        RELAY,
        "notifies():\n            bell.set()",
        "notifies():\n            bell.clear()",
        f"{RELAYED}::test_what_is_committed_goes_out_though_nobody_looks",
    ),
    of(
        "without a notification nothing goes out",
        RELAY,
        "await _first(bell, _LOOK_EVERY_S)",
        "await bell.wait()",
        f"{RELAYED}::test_what_nobody_was_told_of_goes_out_at_the_next_look",
    ),
    of(
        "the feed of all goes out where nobody listens",
        RELAY,
        "'all' if self.scope == SHARED else self.scope",
        "'all' if self.scope != SHARED else self.scope",
        f"{RELAYED}::test_each_feed_goes_out_on_its_own_subject_in_order",
    ),
    of(
        "a relay that starts anew sends its feeds from the beginning",
        RELAY,
        "FeedLane(self._publishing, scope, published)",
        "FeedLane(self._publishing, scope, 0)",
        f"{RELAYED}::test_a_relay_that_starts_anew_sends_nothing_again",
    ),
    of(
        "how far a feed is published is not noted",
        RELAY,
        "self.published += count",
        "self.published += 0 * count",
        f"{RELAYED}::test_how_far_a_feed_is_published_is_noted",
    ),
    of(
        "a broker that is away ends the relay",
        RELAY,
        "self._held_up_by = str(why)\n                return",
        "self._held_up_by = str(why)\n                raise",
        f"{RELAYED}::test_while_the_broker_is_away_entries_wait_and_then_go_out",
    ),
    of(
        "a relay says with each step that the broker is away",
        RELAY,
        "if str(why) != self._held_up_by:",
        "if True:",
        f"{RELAYED}::test_that_the_broker_is_away_is_said_once_and_of_the_next_time_again",
    ),
    of(
        "a relay goes on deaf",
        RELAY,
        "listening.result()  # raises why it ended",
        "pass",
        f"{RELAYED}::test_a_lost_connection_of_the_listener_ends_the_relay",
    ),
)

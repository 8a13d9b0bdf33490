"""Mutants of how a site takes what the centre decided."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

APPLY: Final = "edge/store/apply.py"
STEPS: Final = "edge/store/steps.py"
ACK: Final = "edge/store/ack.py"
CURSOR: Final = "edge/store/cursor.py"
HEADS: Final = "edge/store/heads.py"
REMOVALS: Final = "edge/store/removals.py"
OVERLAY: Final = "edge/store/overlay.py"
PUTS: Final = "edge/store/puts.py"
SNAPSHOT: Final = "edge/store/snapshot.py"
FEED: Final = "tests/integration/test_edge_apply_feed.py"
LANES: Final = "edge/lanes.py"
OF_LANES: Final = "tests/integration/test_edge_lanes.py"
STEP: Final = "tests/integration/test_edge_steps.py"
ROWS: Final = "tests/integration/test_edge_apply_rows.py"
SHOWN: Final = "tests/unit/test_edge_overlay.py"
COVERED: Final = "tests/integration/test_edge_overlay_rows.py"
CLASHES: Final = "tests/integration/test_edge_apply_clashes.py"
LOADS: Final = "tests/integration/test_edge_snapshot.py"
PENDING: Final = "tests/integration/test_edge_snapshot_pending.py"
TOMBSTONES: Final = "tests/integration/test_edge_tombstones.py"

OF_EDGE: Final[tuple[Mutant, ...]] = (
    of(
        "an entry whose bytes are other ones is applied",
        APPLY,
        "if entry_hash(entry.previous, entry.scope, entry.pos, body) != entry.hash:",
        "if not body:",
        f"{FEED}::test_an_entry_whose_bytes_do_not_match_its_hash_is_asked_for_again",
    ),
    of(
        "an ack of what was never made is no fork",
        APPLY,
        "and ack.epoch == at.epoch and ack.n > at.last_n:",
        "and ack.n < 0:",
        f"{FEED}::test_an_ack_of_what_the_store_never_made_is_a_fork",
    ),
    of(
        "entries of another site's feed are applied",
        APPLY,
        "if entry.scope not in (at.site, SHARED):",
        "if not entry.scope:",
        f"{FEED}::test_an_entry_of_another_sites_feed_is_refused_and_the_queue_goes_on",
    ),
    of(
        "the feed goes on while a snapshot is needed",
        APPLY,
        "if at.needs_snapshot:",
        "if at.needs_snapshot and at.own.n < 0:",
        f"{FEED}::test_the_feed_waits_while_a_snapshot_is_needed",
        f"{LOADS}::test_the_feed_waits_while_the_load_is_under_way",
    ),
    of(
        "the cursor does not move with what is applied",
        APPLY,
        "step.at.follow(entry.scope, link)",
        "step.at.of(entry.scope)",
        f"{FEED}::test_an_entry_brings_its_rows_with_cursor_and_hash_in_one_transaction",
    ),
    of(
        "a run is applied one before the shared rows that it needs",
        STEPS,
        "if own and own.beside <= shown.shared:",
        "if own and own.beside <= shown.shared + 1:",
        f"{STEP}::test_rows_of_a_site_and_shared_rows_of_one_step_are_shown_at_once",
    ),
    of(
        "shared rows do not wait for rows of the site that their writer had seen",
        STEPS,
        "if shared and shared.beside <= shown.own:",
        "if shared:",
        f"{STEP}::test_a_shared_row_does_not_overtake_rows_of_the_site_that_its_writer_had_seen",
    ),
    of(
        "the two runs of one step wait for one another for ever",
        STEPS,
        "return (shared, own)",
        "return ()",
        f"{STEP}::test_rows_of_a_site_and_shared_rows_of_one_step_are_shown_at_once",
    ),
    of(
        "what was kept counts as shown",
        STEPS,
        "at.own.n if own is None else own",
        "at.own.n",
        f"{STEP}::test_a_reader_sees_both_feeds_of_a_step_in_one_commit",
    ),
    of(
        "the ack of a step that waits decides at once",
        APPLY,
        "    if fresh not in runs:\n",
        "    step.at.decide(entry.ack, step.now_ms)\n    if fresh not in runs:\n",
        f"{STEP}::test_an_ack_that_waits_for_shared_rows_decides_on_nothing_before",
    ),
    of(
        "a run waits for the other feed for ever",
        APPLY,
        "if not runs and not step.is_patient and (run := own or shared):",
        "if not runs and not step.is_patient and (run := None):",
        f"{STEP}::test_what_the_centre_can_not_complete_is_shown_on_the_word_that_it_can_not",
    ),
    of(
        "what waits for the other feed is shown before the centre was asked for it",
        LANES,
        "while refused is None and await self._fetch(other):",
        "while False:",
        f"{OF_LANES}::test_asking_ends_though_somebody_writes_each_time_that_the_centre_is_asked",
    ),
    of(
        "what waited when the agent was started is not heard of",
        LANES,
        "await self.apply(())  # to hear what waits here already",
        "pass",
        f"{OF_LANES}"
        "::test_what_waited_when_the_agent_was_started_and_can_not_be_completed_is_shown",
    ),
    of(
        "asking goes on for as long as the centre writes",
        LANES,
        "return verdict in (Verdict.APPLY, Verdict.SKIP) and not is_level",
        "return verdict in (Verdict.APPLY, Verdict.SKIP)",
        f"{OF_LANES}::test_asking_ends_though_somebody_writes_each_time_that_the_centre_is_asked",
    ),
    of(
        "what was written since one feed was asked for is taken for lost",
        LANES,
        "while refused is None and await self._fetch(other):",
        "while False:",
        f"{OF_LANES}::test_asking_ends_though_somebody_writes_each_time_that_the_centre_is_asked",
    ),
    of(
        "a feed that can't be read ends the other one",
        LANES,
        "refused = why",
        "raise",
        f"{OF_LANES}::test_a_feed_that_can_not_be_read_holds_up_the_other_no_longer_than_a_question",
    ),
    of(
        "what waits is shown in part where the centre has just asked for a snapshot",
        LANES,
        "if (await self.thread.run(self.store.position)).needs_snapshot:  # it will be newer",
        "if False:",
        f"{OF_LANES}"
        "::test_what_waits_is_not_shown_in_part_where_the_centre_answers_that_a_snapshot_is_needed",
    ),
    of(
        "nobody notices that one feed waits for the other",
        LANES,
        "if before is not None and self._waits == before:",
        "if before is not None and self._waits is None:",
        f"{OF_LANES}::test_it_is_noticed_when_one_feed_waits_for_the_other_which_brings_nothing",
    ),
    of(
        "a feed is asked for again only where the other stands still, too",
        "edge/agent.py",
        "if any(a is not None and a == b for a, b in zip(behind, before, strict=True)):",
        "if all(a is not None and a == b for a, b in zip(behind, before, strict=True)):",
        "tests/faults/test_feed_entry_lost.py"
        "::test_a_busy_site_asks_for_a_shared_entry_that_its_own_feed_waits_for",
    ),
    of(
        "a reader sees part of a transaction of the centre",
        APPLY,
        "None if entry.more else run_of",
        "None if entry.more and not entry.blocks else run_of",
        f"{FEED}::test_a_transaction_of_the_centre_in_several_entries_is_shown_at_once",
    ),
    of(
        "an ack of another epoch decides",
        CURSOR,
        "if ack is None or ack.epoch != self.epoch:",
        "if ack is None:",
        f"{FEED}::test_an_ack_of_another_epoch_decides_on_nothing",
    ),
    of(
        "what is decided is taken for safe",
        CURSOR,
        "self.safe_n = max(self.safe_n, min(ack.safe_n, ack.n))",
        "self.safe_n = max(self.safe_n, ack.n)",
        f"{ROWS}::test_what_is_decided_and_not_yet_safe_stays_in_the_outbox",
    ),
    of(
        "what is safe goes back",
        CURSOR,
        "self.safe_n = max(self.safe_n, min(ack.safe_n, ack.n))",
        "self.safe_n = min(ack.safe_n, ack.n)",
        f"{ROWS}::test_what_is_safe_is_never_more_than_what_is_decided_and_never_goes_back",
    ),
    of(
        "a row goes back to an older head",
        HEADS,
        "not 0 < order <= known.get(row_id, _UNKNOWN)[0]",
        "order >= 0",
        f"{ROWS}::test_a_head_that_is_no_later_than_what_stands_is_left_alone",
    ),
    of(
        "a head of the very order that stands is put again",
        HEADS,
        "not 0 < order <= known.get(row_id, _UNKNOWN)[0]",
        "not 0 < order < known.get(row_id, _UNKNOWN)[0]",
        f"{ROWS}::test_a_head_that_is_no_later_than_what_stands_is_left_alone",
    ),
    of(
        "a deletion of the centre is forgotten at once",
        HEADS,
        "_note_versions(applying, target, _rows(block, decided), gone=True)",
        "_rows(block, decided)",
        f"{ROWS}::test_a_deleted_row_does_not_come_back_by_an_older_head",
    ),
    of(
        "the overlay is forgotten",
        HEADS,
        "undecided = [write for write in writes if write.n > decided_n]",
        "undecided = []",
        f"{COVERED}::test_an_own_value_stays_visible_under_a_later_head_until_the_ack",
    ),
    of(
        "an own version on the shared feed decides nothing",
        HEADS,
        "return max(applying.decided_n, own[0]) if own else applying.decided_n",
        "return applying.decided_n",
        f"{ROWS}::test_an_own_version_on_the_shared_feed_decides_on_the_write_before_its_ack",
    ),
    of(
        "the head under own writes is not kept",
        HEADS,
        "_keep_shadow(applying, target, head, keep=bool(undecided))",
        "_keep_shadow(applying, target, head, keep=False)",
        f"{COVERED}::test_an_ack_without_a_head_uncovers_the_shadow",
    ),
    of(
        "a row with own writes goes without being kept",
        REMOVALS,
        "if code is not None:",
        "if code is None and not local:",
        f"{ROWS}::test_an_insert_that_the_centre_parked_is_taken_out_and_kept_whole",
    ),
    of(
        "facts from the centre are sent back",
        HEADS,
        "applying.connection.execute(target.mark_facts, (target.no,))",
        'applying.connection.execute("SELECT 1")',
        f"{ROWS}::test_facts_from_the_centre_are_not_sent_back",
    ),
    of(
        "own differences are shown for the sum",
        OVERLAY,
        "value = merge_both(column, value, new, old)",
        "value = new",
        SHOWN,
    ),
    of(
        "a group of columns is shown torn",
        OVERLAY,
        "kept = {name for column in touched for name in table.group_of(column).columns}",
        "kept = touched",
        SHOWN,
    ),
    of(
        "a row that left the share stays in sight",
        OVERLAY,
        "if fate is Fate.LEFT:",
        "if fate is Fate.LEFT and not undecided:",
        SHOWN,
    ),
    of(
        "an own deletion comes back under a head",
        OVERLAY,
        "if undecided[-1].op is Op.DELETE:",
        "if undecided[-1].op is Op.DELETE and not stands:",
        SHOWN,
    ),
    of(
        "the last write that an ack decides stays pending",
        ACK,
        '"DELETE FROM _sync_pending WHERE n <= :n"',
        '"DELETE FROM _sync_pending WHERE n < :n"',
        f"{ROWS}::test_an_ack_alone_makes_the_sites_own_transaction_the_head",
    ),
    of(
        "an ack alone makes no head",
        ACK,
        "applying.connection.execute(_OWN_VERSIONS, given)",
        "applying.connection.execute(_SPENT_SHADOWS, given)",
        f"{ROWS}::test_an_ack_alone_makes_the_sites_own_transaction_the_head",
    ),
    of(
        "what the centre merged is not shown by the ack",
        ACK,
        "if lost or head.version != decided[0].base:",
        "if lost:",
        f"{COVERED}::test_an_ack_without_a_head_uncovers_the_shadow",
    ),
    of(
        "a row that makes way is dropped",
        PUTS,
        "aside.keep(applying, target, row, why)",
        "aside.drop(applying, target, row_id)",
        f"{CLASHES}::test_an_undecided_row_makes_way_for_a_row_of_the_centre_with_its_key",
    ),
    of(
        "a head that was refused is a base all the same",
        PUTS,
        "mark_seen(applying, target, [put.id])",
        "note_version(applying, target, put)",
        f"{CLASHES}::test_a_refused_head_is_not_taken_as_the_base_of_a_write",
    ),
    of(
        "a chunk that comes twice has its effect twice",
        SNAPSHOT,
        "if k < under_way.next_chunk:",
        "if k < 0:",
        f"{LOADS}::test_a_chunk_that_comes_twice_has_one_effect",
    ),
    of(
        "a chunk after a missing one is taken",
        SNAPSHOT,
        "if k > under_way.next_chunk:",
        "if k < 0:",
        f"{LOADS}::test_a_chunk_after_a_missing_one_is_refused",
    ),
    of(
        "a snapshot older than what is decided is loaded",
        SNAPSHOT,
        "if decided_n < at.acked_n:",
        "if decided_n < 0:",
        f"{PENDING}::test_a_snapshot_older_than_what_is_decided_is_refused",
    ),
    of(
        "the watermark of a snapshot is not taken",
        SNAPSHOT,
        "at.decide(manifest.ack, now_ms)",
        "at.decide(None, now_ms)",
        f"{PENDING}::test_the_ack_of_the_manifest_is_taken_at_the_end",
    ),
    of(
        "a deletion that a snapshot left out is no news when the feed brings it",
        SNAPSHOT,
        "max(r.ord, 1)",
        "max(r.ord, :max_order)",
        f"{PENDING}::test_a_row_made_anew_is_based_on_its_deletion_once_the_feed_tells_which_that_is",
    ),
    of(
        "a snapshot takes away what came after it",
        SNAPSHOT,
        "AND r.ord <= :max_order",
        "AND :max_order >= 0",
        f"{LOADS}::test_a_row_known_by_a_later_version_is_neither_set_back_nor_taken_away",
    ),
    of(
        "a snapshot takes away what the site wrote",
        SNAPSHOT,
        '_UNTOUCHED: Final = """AND NOT EXISTS',
        '_UNTOUCHED: Final = """AND 1 OR EXISTS',
        f"{PENDING}::test_a_snapshot_is_taken_with_own_writes_pending",
    ),
    of(
        "a row that stands is forgotten as a deletion",
        "edge/store/tombstones.py",
        "AND gone BETWEEN 1 AND :before_ms",
        "AND gone BETWEEN 0 AND :before_ms",
        f"{TOMBSTONES}::test_a_row_that_stands_is_never_forgotten",
    ),
    of(
        "deletions are forgotten while a snapshot loads",
        "edge/store/tombstones.py",
        "AND NOT (SELECT needs_snapshot FROM _sync_site)",
        "AND 1",
        f"{TOMBSTONES}::test_nothing_is_forgotten_while_a_snapshot_is_loaded",
    ),
)

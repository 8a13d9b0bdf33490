"""Mutants of how the centre takes what a site sent."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

STORE: Final = "central/store"
APPLY: Final = "tests/integration/test_central_apply.py"
CONFLICTS: Final = "tests/integration/test_central_conflicts.py"
BY_ROW: Final = "tests/integration/test_central_conflicts_rows.py"
FACTS: Final = "tests/integration/test_central_facts.py"
LARGE: Final = "tests/integration/test_central_facts_large.py"
PARKING: Final = "tests/integration/test_central_parking.py"
RETRY: Final = "tests/integration/test_central_parking_retry.py"
BATCH: Final = "tests/unit/test_store_batch.py"
COUNTED: Final = "tests/sim/test_parked_and_counted_on.py"
INTAKE: Final = "tests/unit/test_store_intake.py"
PARTS: Final = "tests/integration/test_ingest_parts.py"

OF_APPLY: Final[tuple[Mutant, ...]] = (
    of(
        "a known transaction has a second effect",
        f"{STORE}/apply.py",
        "if sent.tx_id not in gate.applied and first",
        "if first",
        f"{APPLY}::test_a_transaction_moved_to_a_new_epoch_has_no_second_effect",
    ),
    of(
        "a transaction twice in a run has two effects",
        f"{STORE}/apply.py",
        "and first[sent.tx_id] == sent.hash",
        "",
        "tests/integration/test_central_parking_garbage.py"
        "::test_one_transaction_twice_in_a_run_has_one_effect",
    ),
    of(
        "a worker that lost its lease goes on",
        f"{STORE}/gate.py",
        "if (holder, token) != (lease.holder, lease.token):",
        "if holder is None:",
        f"{APPLY}::test_a_worker_without_the_lease_applies_nothing",
    ),
    of(
        "the token of a lease fences nobody",
        f"{STORE}/gate.py",
        "if (holder, token) != (lease.holder, lease.token):",
        "if holder != lease.holder:",
        "tests/integration/test_central_leases.py"
        "::test_an_older_token_is_fenced_though_the_name_of_its_worker_is_right",
    ),
    of(
        "an epoch is closed one too early",
        f"{STORE}/gate.py",
        "link.n > gate.closed_at_n",
        "link.n >= gate.closed_at_n",
        BATCH,
    ),
    of(
        "stragglers of a closed epoch are applied",
        f"{STORE}/gate.py",
        "return gate.closed_at_n is not None and link.n > gate.closed_at_n",
        "return False",
        BATCH,
    ),
    of(
        "a site that was stopped is applied",
        f"{STORE}/gate.py",
        "if gate.stopped_because",
        "if gate.stopped_because and not run",
        BATCH,
    ),
    of(
        "the watermark is off by one",
        f"{STORE}/finish.py",
        '"last_n": judged.position.n,',
        '"last_n": judged.position.n + 1,',
        f"{APPLY}::test_a_chain_of_undecided_writes_is_not_in_conflict_with_itself",
        f"{APPLY}::test_the_same_batch_delivered_twice_has_one_effect",
    ),
    of(
        "the watermark does not move",
        f"{STORE}/finish.py",
        'await execute(fixed("move_epoch"), site | {"epoch": epoch} | watermark)',
        "assert watermark",
        f"{APPLY}::test_a_chain_of_undecided_writes_is_not_in_conflict_with_itself",
    ),
    of(
        "what was applied is not remembered",
        f"{STORE}/finish.py",
        'await execute(fixed("insert_applied"), site | given)',
        "assert given",
        f"{APPLY}::test_a_transaction_moved_to_a_new_epoch_has_no_second_effect",
    ),
    of(
        "the base is not checked",
        f"{STORE}/statements.py",
        "AND h.created_at = i.created_at AND h.version = i.expected AND NOT h.deleted",
        "AND h.created_at = i.created_at AND NOT h.deleted",
        f"{CONFLICTS}::test_the_due_date_of_the_centre_stands",
    ),
    of(
        "a row that holds something else than was seen is overwritten",
        f"{STORE}/statements.py",
        'f" AND t.{c.name} IS NOT DISTINCT FROM m.o_{c.name}"',
        '""',
        f"{CONFLICTS}::test_a_difference_is_added_though_the_row_has_the_version_that_was_seen",
    ),
    of(
        "a natural key may be held twice",
        f"{STORE}/rows.py",
        "if clashes:",
        "if clashes is None:",
        f"{PARKING}::test_two_orders_of_one_number_keep_the_first_on_either_path",
    ),
    of(
        "many at once move a lattice back",
        f"{STORE}/rows.py",
        "return _going_back(rows)",
        "return set()",
        f"{BY_ROW}::test_a_lattice_does_not_go_back_even_where_nobody_else_wrote",
    ),
    of(
        "a merged version has no id of its own",
        f"{STORE}/conflicts.py",
        "version=write.tx_id if is_clean else str(uuid.uuid4()),",
        "version=write.tx_id,",
        f"{CONFLICTS}::test_a_merged_version_has_an_id_of_its_own_and_goes_to_the_site",
    ),
    of(
        "a site is not told of what was decided against it",
        f"{STORE}/conflicts.py",
        "tells_site=again or not is_clean,",
        "tells_site=again,",
        f"{CONFLICTS}::test_a_merged_version_has_an_id_of_its_own_and_goes_to_the_site",
    ),
    of(
        "a change of a parked row does not wait behind it",
        f"{STORE}/conflicts.py",
        "return found[-1] if found else None",
        "return None",
        f"{PARKING}::test_changes_of_a_parked_insert_wait_behind_it_and_others_go_on",
    ),
    of(
        "a change may alter created_at",
        f"{STORE}/conflicts.py",
        "head.created_at != rows.created[row]:",
        "not head.created_at:",
        f"{PARKING}::test_a_change_that_alters_created_at_is_parked",
    ),
    of(
        "a row of the history is skipped",
        f"{STORE}/overwrite.py",
        "await keep_conflicts(applying, rows, done)",
        "assert done",
        f"{CONFLICTS}::test_the_due_date_of_the_centre_stands",
    ),
    of(
        "a value is displaced unseen and unrecorded",
        f"{STORE}/overwrite.py",
        "if not unseen or not values:",
        "if unseen is not None:",
        "tests/unit/test_store_overwrite.py",
    ),
    of(
        "a row made by somebody else meanwhile is overwritten",
        f"{STORE}/overwrite.py",
        "if len(orders) < len(done):",
        "if len(orders) > len(done):",
        f"{RETRY}"
        "::test_a_row_that_the_centre_makes_at_the_moment_of_its_retry_is_not_overwritten_unseen",
    ),
    of(
        "sites whose share a row leaves are not told",
        f"{STORE}/overwrite.py",
        "scopes |= _share(applying, table, decision.standing.values)",
        "scopes |= set()",
        f"{CONFLICTS}"
        "::test_a_site_whose_share_a_merged_row_leaves_is_told_and_so_is_the_one_it_enters",
    ),
    of(
        "the version of a conflict is not kept",
        f"{STORE}/overwrite.py",
        "await _keep_versions(applying, rows, done, orders, replaced)",
        "assert replaced is not None",
        f"{CONFLICTS}::test_a_write_on_a_merged_version_merges_with_what_the_centre_wrote_upon_it",
    ),
    of(
        "a savepoint is not taken back",
        f"{STORE}/applying.py",
        "            async with self.connection.transaction():\n                yield",
        "            yield",
        f"{PARKING}::test_what_only_postgresql_can_refuse_is_found_row_by_row",
    ),
    of(
        "what an undone attempt did is counted",
        f"{STORE}/applying.py",
        "before, self.tally = self.tally, Tally(before=self.tally)",
        "before = self.tally",
        f"{PARKING}::test_what_only_postgresql_can_refuse_is_found_row_by_row",
    ),
    of(
        "a fact of a known id with other content is swallowed",
        f"{STORE}/facts.py",
        "refused |= await _contradictions(applying, rows, into, refused)",
        "refused |= {}",
        f"{FACTS}::test_the_same_id_with_other_content_is_parked_and_never_overwritten",
    ),
    of(
        "rows of another site are taken",
        f"{STORE}/intake.py",
        "if block.sites.count(origin.site) != len(block):",
        "if block.sites.count(origin.site) > len(block):",
        f"{FACTS}::test_rows_of_another_site_are_parked_and_reach_nobody_else",
    ),
    of(
        "what is parked is not kept",
        f"{STORE}/parking.py",
        "await _keep(applying, some)",
        "assert some",
        f"{RETRY}::test_a_poison_row_mended_and_retried_is_applied_with_all_that_waited_for_it",
    ),
    of(
        "a site does not see that its row was parked",
        f"{STORE}/parking.py",
        "await tell(applying, [each for _, each in some])",
        "assert some",
        f"{PARKING}::test_one_bad_order_is_parked_and_the_rest_of_its_transaction_goes_on",
    ),
    of(
        "a retry beats a later write of its own site",
        f"{STORE}/later.py",
        "and at > clock",
        "and at < clock",
        BATCH,
    ),
    of(
        "a retry's count gives way to a later one of its own site",
        f"{STORE}/later.py",
        "if not wrote or (group.policy in _JOINED and not is_anew):",
        "if not wrote:",
        f"{COUNTED}::test_a_parked_count_and_a_later_one_of_its_site_both_count",
    ),
    of(
        "a retry is held to have seen what its site wrote later",
        f"{STORE}/conflicts.py",
        "since = unseen(since, later)",
        "assert unseen(since, later) is not later",
        f"{COUNTED}::test_a_parked_count_and_a_later_one_of_its_site_both_count",
    ),
    of(
        "a retry counts on a row that its site made anew",
        f"{STORE}/later.py",
        "any(version.op is not Op.UPDATE for version in later)",
        "not later",
        f"{COUNTED}::test_a_count_on_a_row_that_its_site_made_anew_is_on_record_and_does_not_count",
    ),
    of(
        "a retry's count that equals what stands is dropped without a record",
        f"{STORE}/later.py",
        "(bool(values) and group.policy is Policy.SUM)",
        "(not values and group.policy is Policy.SUM)",
        BATCH,
    ),
    of(
        "a row that is applied goes on waiting",
        f"{STORE}/retry.py",
        "await forget(applying, [each.ticket for each in group])",
        "assert group",
        f"{RETRY}::test_a_child_waits_quietly_with_what_its_site_builds_on_it",
    ),
    of(
        "a release may be used twice",
        f"{STORE}/releases.py",
        "used.append((release.id, decision.write.tx_id))",
        "assert release.id",
        f"{BY_ROW}::test_a_signed_release_lets_a_lot_go_back_once",
    ),
    of(
        "a transaction is applied before all its parts are there",
        f"{STORE}/spool.py",
        "if count < part.parts:",
        "if count < 1:",
        f"{LARGE}::test_a_transaction_in_parts_is_applied_when_the_last_has_come",
    ),
    of(
        "parts of another history complete a transaction",
        f"{STORE}/spool.py",
        "WHERE site = %(site)s AND epoch = %(epoch)s AND n = %(n)s AND hash = %(hash)s",
        "WHERE site = %(site)s AND epoch = %(epoch)s AND n = %(n)s",
        f"{LARGE}::test_a_part_of_another_history_does_not_complete_a_transaction",
    ),
    of(
        "a damaged part is kept",
        f"{STORE}/spool.py",
        "codec.open_body(part)",
        "assert part",
        f"{LARGE}::test_a_part_whose_bytes_are_other_ones_is_not_kept_and_the_right_one_is",
    ),
    of(
        "the beginning of a transaction is taken for all of it",
        "central/runs.py",
        "not len(parts) == parts[0].parts <= PARTS_MAX",
        "not len(parts) <= parts[0].parts <= PARTS_MAX",
        f"{PARTS}::test_a_beginning_of_which_nothing_more_comes_is_spooled_and_acked",
    ),
    of(
        "parts that do not follow one another make a transaction",
        "central/runs.py",
        "and before.part + 1 == part.part:",
        "and before.part <= part.part:",
        "tests/unit/test_runs.py::test_only_parts_that_follow_one_another_go_together",
    ),
    of(
        "a message is acked before its transaction is committed",
        "central/ingest.py",
        "verdict: Verdict = await _retrying()(receiver.receive_next, deliveries)",
        "await self._link.ack(deliveries)\n"
        "            verdict = await _retrying()(receiver.receive_next, deliveries)",
        f"{PARTS}::test_a_worker_acks_what_is_committed_and_nothing_before",
    ),
    of(
        "the beginning of a transaction is acked before it is applied",
        "central/ingest.py",
        "settled = min(inbox.settled(unsettled), receiver.settled(unsettled))",
        "settled = len(unsettled)",
        f"{PARTS}::test_a_worker_acks_what_is_committed_and_nothing_before",
    ),
    of(
        "what is held is said to be settled",
        "central/ingest.py",
        "held = {id(message.payload) for _, message in self._beginning}",
        "held = set()",
        f"{PARTS}::test_parts_in_several_deliveries_are_applied_unspooled_and_acked_when_applied",
    ),
    of(
        "a message may speak for another site",
        "central/ingest.py",
        "if part.site != self.site:",
        "if not part.site:",
        f"{PARTS}::test_a_message_that_speaks_for_another_site_is_refused_and_stops_nothing",
    ),
    of(
        "a hash that does not follow from its message is taken",
        "central/ingest.py",
        "if own != part.hash:",
        "if not own:",
        f"{PARTS}::test_a_part_that_its_own_hash_does_not_follow_from_is_refused_and_stops_nothing",
    ),
    of(
        "a store is lent to two at once",
        "central/ingest.py",
        "finally:\n            self._free.put_nowait(store)",
        "finally:\n            for _ in (1, 2):\n                self._free.put_nowait(store)",
        "tests/integration/test_ingest_worker.py"
        "::test_a_store_that_came_back_is_lent_to_one_at_a_time",
    ),
    of(
        "a change that is tried again waits for one that was sent after it",
        "central/store/conflicts.py",
        "if place is None or parked.place < place]",
        "if True]",
        "tests/integration/test_central_parking_retry.py"
        "::test_what_waited_behind_a_discarded_insert_does_not_wait_for_each_other",
    ),
)

"""Mutants of how a site's writes are guarded, captured, drained and kept until they are safe."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

CAPTURE: Final = "edge/capture.py"
GUARD: Final = "edge/guard.py"
DRAIN: Final = "edge/store/drain.py"
TOUCHES: Final = "edge/store/touches.py"
FOLD: Final = "edge/store/fold.py"
LASTS: Final = "edge/store/lasts.py"
OUTBOX: Final = "edge/store/outbox.py"
ROWS: Final = "tests/integration/test_edge_capture_rows.py"
GUARDS: Final = "tests/integration/test_edge_capture_guards.py"
DRAINS: Final = "tests/integration/test_edge_drain.py"
FOLDS: Final = "tests/unit/test_capture_fold.py"
STREAMED: Final = "tests/unit/test_capture_fold_streamed.py"
HEADS: Final = "tests/integration/test_edge_apply_rows.py"
JOURNAL: Final = "tests/integration/test_edge_journal.py"

OF_CAPTURE: Final[tuple[Mutant, ...]] = (
    of(
        "what is applied is echoed",
        CAPTURE,
        '"(SELECT flag FROM _sync_applying) = 0"',
        '"1"',
        f"{HEADS}::test_what_is_applied_is_not_sent_back",
    ),
    of(
        "a row that a replace displaced is lost",
        CAPTURE,
        'return _guard(table, "INSERT", rules, then=_log_displaced(table, form))',
        'return _guard(table, "INSERT", rules)',
        f"{ROWS}::test_a_replace_through_a_natural_key_deletes_the_row_it_displaced",
    ),
    of(
        "a replace displaces one row only",
        CAPTURE,
        'return _log(table, "X", "d", f"FROM {quoted(table.name)} d WHERE {clashes}")',
        'return _log(table, "X", "d", f"FROM {quoted(table.name)} d WHERE {clashes} LIMIT 1")',
        f"{ROWS}::test_a_replace_may_displace_two_rows_at_once",
    ),
    of(
        "a changed primary key leaves the old row at the centre",
        CAPTURE,
        'rekeyed = [displaced, _log(table, "D", "OLD"), _log_inserted(table, \'NEW."id"\')]',
        "rekeyed = [displaced, _log_inserted(table, 'NEW.\"id\"')]",
        f"{ROWS}::test_a_changed_primary_key_is_a_delete_of_the_old_and_an_insert_of_the_new",
    ),
    of(
        "the log keeps the new value for the old",
        CAPTURE,
        'f"CASE WHEN {test} THEN OLD.{quoted(name)} END"',
        'f"CASE WHEN {test} THEN NEW.{quoted(name)} END"',
        f"{ROWS}::test_an_update_sends_the_touched_columns_and_what_stood_in_them",
    ),
    of(
        "an update or replace is not watched",
        CAPTURE,
        "yield _log_displaced_by_update(table, form)",
        "yield from ()",
        f"{ROWS}::test_an_update_or_replace_deletes_the_row_it_displaced",
    ),
    of(
        "deletions are not captured",
        CAPTURE,
        '"log_delete", "BEFORE DELETE", [_log(table, "D", "OLD")]',
        '"log_delete", "BEFORE DELETE", ["SELECT 1"]',
        f"{ROWS}::test_a_delete_sends_the_whole_key",
    ),
    of(
        "facts may be changed and deleted",
        CAPTURE,
        "found += _refusing(table, why, inserts=False, adopted=form.adopted)",
        "found += ()",
        f"{GUARDS}::test_a_fact_is_neither_changed_nor_deleted",
    ),
    of(
        "rows of other sites may be written",
        GUARD,
        "return Rule(f'{row}.\"site_id\" <> {literal(site)}', message)",
        'return Rule("0", message)',
        f"{GUARDS}::test_a_row_of_another_site_or_of_all_is_refused",
    ),
    of(
        "a state moves back at the site",
        GUARD,
        'back = f"{_rank(column, new)} < {_rank(column, old)}"',
        'back = "0"',
        f"{GUARDS}::test_a_state_moves_on_but_never_back",
    ),
    of(
        "a signed release allows any step",
        GUARD,
        'f\' AND r."from_state" IS {old} AND r."to_state" IS {new}\'',
        "''",
        f"{GUARDS}::test_a_signed_row_lets_a_lot_go_back_just_that_step",
    ),
    of(
        "a replace changes a fact",
        GUARD,
        'f\'EXISTS (SELECT 1 FROM {name} d WHERE d."id" = NEW."id" AND (\\n      {differs}))\',',
        '"0",',
        f"{GUARDS}::test_a_replace_does_not_get_past_the_guard_of_facts",
    ),
    of(
        "a program chooses a number of the journal",
        GUARD,
        'yield Rule(f"NEW.{quoted(journal)} <> -1", message)',
        'yield Rule("0", message)',
        f"{GUARDS}::test_a_replace_through_the_journal_number_is_refused",
    ),
    of(
        "a row moves to another month",
        GUARD,
        'for column in ("site_id", "created_at"):',
        'for column in ("site_id",):',
        f"{GUARDS}::test_a_row_never_moves_to_another_month_or_site",
    ),
    of(
        "the last old value counts for the first",
        FOLD,
        "fresh = columns & ~mask",
        "fresh = columns",
        f"{FOLDS}::test_the_first_old_value_of_a_column_counts_and_the_last_time",
    ),
    of(
        "a change is dated by its first touch",
        FOLD,
        "return Touched(first[ID], touch[AT], mask",
        "return Touched(first[ID], first[AT], mask",
        f"{FOLDS}::test_the_first_old_value_of_a_column_counts_and_the_last_time",
    ),
    of(
        "all touches of a row are held until it is folded",
        FOLD,
        "*islice(rest, _SOME)]",
        "*rest]",
        f"{STREAMED}::test_what_is_kept_of_a_row_does_not_grow_with_its_touches",
    ),
    of(
        "the steps of a counted column are kept however many they are",
        LASTS,
        "if place >= _STEPS_MAX or self.displaced is not None:",
        "if self.displaced is not None:",
        f"{STREAMED}::test_steps_are_kept_of_a_thousand_touches_and_none_of_more",
    ),
    of(
        "the steps of a whole page of rows are held at once",
        TOUCHES,
        "if len(page) == PAGE_ROWS or held >= _PAGE_STEPS:",
        "if len(page) == PAGE_ROWS:",
        "tests/integration/test_edge_drain_times.py"
        "::test_many_steps_are_held_some_rows_at_a_time_and_all_of_them_are_kept",
    ),
    of(
        "a row that nobody knew is deleted at the centre",
        FOLD,
        "return Decided(Op.DELETE, 0) if existed else None",
        "return Decided(Op.DELETE, 0)",
        FOLDS,
    ),
    of(
        "a value set and set back is a change",
        FOLD,
        "if touched.kept >> bit & 1 or differs(touched.old[bit], live[bit]):",
        "if live:",
        FOLDS,
    ),
    of(
        "values of other types are one",
        LASTS,
        "(type(before) is not type(now) or before != now)",
        "before != now",
        FOLDS,
    ),
    of(
        "columns of one group travel apart",
        FOLD,
        "return mask | table.mask(name for group in touched for name in group.columns)",
        "return mask",
        f"{ROWS}::test_columns_that_are_edited_as_one_thing_travel_as_one",
    ),
    of(
        "the base of a write is forgotten",
        TOUCHES,
        "Change(decided, touched, live, base, after_n)",
        "Change(decided, touched, live, None, after_n)",
        f"{ROWS}::test_a_write_on_an_undecided_one_names_it_and_keeps_the_base",
    ),
    of(
        "a write on an undecided one does not name it",
        TOUCHES,
        "after_n = pending[touched.id][0] if touched.id in pending else None",
        "after_n = None",
        f"{ROWS}::test_a_write_on_an_undecided_one_names_it_and_keeps_the_base",
    ),
    of(
        "a row made again gets another created_at",
        TOUCHES,
        "if live[1] != touched.key[1]:",
        "if live[1] is None:",
        f"{ROWS}::test_its_created_at_stays_though_the_insert_named_none",
    ),
    of(
        "a log is drained and not forgotten",
        DRAIN,
        "touches.clear()",
        "touches.pages()",
        f"{HEADS}::test_an_ack_alone_makes_the_sites_own_transaction_the_head",
    ),
    of(
        "facts are drained again and again",
        DRAIN,
        "move_mark(self._connection, table, mark)",
        "mark_of(self._connection, table)",
        "tests/integration/test_edge_snapshot.py::test_facts_that_the_snapshot_does_not_hold_stay",
    ),
    of(
        "deletions go before what they depend on",
        DRAIN,
        "for table in reversed(tables):",
        "for table in tables:",
        f"{ROWS}::test_parents_go_before_their_children_and_children_are_deleted_first",
    ),
    of(
        "the chain of a site does not move",
        DRAIN,
        "(n, own, packer.hlc)",
        "(n, at.last_hash, packer.hlc)",
        f"{DRAINS}::test_transactions_are_numbered_without_gaps_and_chained_by_hash",
    ),
    of(
        "a number is left out",
        DRAIN,
        "n, tx_id = at.last_n + 1, uuid7(now_ms, opened.chance)",
        "n, tx_id = at.last_n + 2, uuid7(now_ms, opened.chance)",
        f"{DRAINS}::test_transactions_are_numbered_without_gaps_and_chained_by_hash",
    ),
    of(
        "the stamp of a transaction goes back with the clock",
        DRAIN,
        "hlc = clock.tick(at.hlc, now_ms)",
        "hlc = clock.tick(0, now_ms)",
        f"{DRAINS}::test_the_stamp_of_a_transaction_grows_though_the_clock_goes_back",
    ),
    of(
        "the drain comes after the apply",
        DRAIN,
        "drained = drain_within(opened, now_ms, early, whole=True)\n        yield",
        "yield\n        drained = drain_within(opened, now_ms, early, whole=True)",
        f"{HEADS}::test_a_write_of_a_program_before_the_entry_is_based_on_what_it_saw",
    ),
    of(
        "what a drain began is not taken back before it begins anew",
        DRAIN,
        'connection.execute("ROLLBACK TO drain")',
        'connection.execute("SELECT 1")',
        f"{DRAINS}"
        "::test_a_drain_that_meets_a_text_that_is_no_utf8_sends_what_it_had_begun_with_once",
    ),
    of(
        "what a site did to a sum is not noted",
        DRAIN,
        "_deltas(change, counted) if counted and op is Op.UPDATE else None,",
        "None,",
        f"{DRAINS}::test_pending_writes_say_what_was_added_to_a_sum_and_a_set",
    ),
    of(
        "the outbox is pruned beyond what is safe",
        OUTBOX,
        "WHERE o.n <= min(s.safe_n, s.acked_n))",
        "WHERE o.n <= min(s.safe_n, s.acked_n) + 1)",
        f"{DRAINS}::test_prune_removes_what_is_safe_and_never_more",
    ),
    of(
        "the outbox is pruned at the commit",
        OUTBOX,
        "WHERE o.n <= min(s.safe_n, s.acked_n))",
        "WHERE o.n <= s.acked_n)",
        f"{DRAINS}::test_prune_removes_what_is_safe_and_never_more",
    ),
    of(
        "a part is handed out again and again",
        OUTBOX,
        "AND (n, part) > (?, ?)",
        "AND (n, part) >= (?, ?)",
        f"{DRAINS}::test_the_outbox_hands_out_parts_in_order_within_a_bound_but_always_one",
    ),
    of(
        "a journal that began anew is not noticed",
        "edge/store/early.py",
        "coalesce(d.id = journal_id,",
        "coalesce(d.id = d.id,",
        f"{JOURNAL}::test_a_journal_that_grows_back_to_its_mark_is_sent_all_the_same",
    ),
    of(
        "a row made anew over one out of sight is sent as what was changed of it",
        FOLD,
        'tells = op != "I"',
        "tells = True",
        "tests/integration/test_edge_apply_clashes.py"
        "::test_a_row_made_anew_over_one_that_made_way_is_sent_whole_however_it_is_changed_then",
    ),
    of(
        "a row that is given another's id is logged before that one",
        "edge/capture.py",
        'rekeyed = [displaced, _log(table, "D", "OLD"), _log_inserted(table, \'NEW."id"\')]',
        'rekeyed = [_log(table, "D", "OLD"), _log_inserted(table, \'NEW."id"\'), displaced]',
        "tests/integration/test_edge_capture_rows.py"
        "::test_an_update_or_replace_of_the_id_overwrites_the_row_of_that_id",
    ),
)

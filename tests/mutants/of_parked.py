"""Mutants of what becomes of a parked change, and of what its site built on it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

STORE: Final = "central/store"
RETRY: Final = "tests/integration/test_central_parking_retry.py"
SIM: Final = "tests/sim/test_parked_and_overruled.py"
EXTRA: Final = "tests/integration/test_central_extra.py"
_HID: Final = f"{SIM}::test_a_value_that_a_discarded_change_hid_is_decided_on_by_its_policy"

OF_PARKED: Final[tuple[Mutant, ...]] = (
    of(
        "parked: what the change hid counts as seen by who built on it",
        f"{STORE}/parking.py",
        "await overrule(applying, [each.source for each in news if each.reason not in UNREADABLE])",
        "pass",
        _HID,
    ),
    of(
        "parked: what nobody else wrote counts as unseen, too",
        f"{STORE}/overrule.py",
        "concurrent(rows.table, standing.since, write) & write.new.keys()",
        "frozenset(write.new)",
        f"{SIM}::test_a_value_that_nobody_else_wrote_is_not_in_conflict_with_what_was_built_on_a"
        "_parked_one",
    ),
    of(
        "parked: its version is one that took effect",
        f"{STORE}/overrule.py",
        "Resolution({}, overruled=unseen)",
        "Resolution({})",
        _HID,
    ),
    of(
        "retry: it gives way to a later change that is parked, too",
        f"{STORE}/later.py",
        "if v.counts or at <= clock]",
        "]",
        f"{RETRY}::test_a_retry_gives_way_to_no_later_write_of_its_site_that_is_parked_itself",
    ),
    of(
        "discard: a change that its site shows no more is overruled once more",
        f"{STORE}/retry.py",
        "for each in some if each.is_quiet for source",
        "for each in some for source",
        f"{SIM}::test_what_a_site_writes_once_it_has_heard_of_the_parked_change_is_in_no_conflict",
    ),
    of(
        "discard: what a change hid that only waited counts as seen",
        f"{STORE}/retry.py",
        "await overrule(applying, _shown(found), is_shown=True)",
        "pass",
        f"{RETRY}"
        "::test_what_a_discarded_change_hid_while_it_only_waited_is_held_against_what_came_after",
    ),
    of(
        "discard: what waits behind another change may go before that",
        f"{STORE}/retry.py",
        "if front := await _front(applying, found):",
        "if front := None and await _front(applying, found):",
        f"{RETRY}::test_what_waits_behind_another_change_is_not_discarded_before_that",
    ),
    of(
        "migration: no site hears that a value does not count, of a column that came",
        "central/migrate.py",
        "await extra.tell_of_parked(connection, catalog)",
        "pass",
        f"{EXTRA}::test_a_site_learns_that_the_value_of_a_parked_change_does_not_count_with_the"
        "_column",
    ),
    of(
        "migration: a site does not hear that a value does not count, under an earlier name",
        "central/extra.py",
        "for n in (*c.renamed_from, c.name)]",
        "for n in (c.name,)]",
        f"{EXTRA}::test_a_site_learns_that_a_parked_value_does_not_count_where_we_skipped_a_release",
    ),
    of(
        "parked: what is parked again after a restore counts as news to its site",
        "central/store/parking.py",
        "if each.source.origin.tx_id not in applying.came_home]",
        "if True]",
        "tests/sim/test_parked_and_restored.py"
        "::test_what_a_site_wrote_once_it_had_heard_is_in_no_conflict_though_the_centre_went_back",
    ),
    of(
        "home: a fact that a person let go of is applied after all",
        "central/store/settled.py",
        "    await note_let_go(applying, list(told))\n",
        "",
        "tests/sim/test_parked_and_restored.py"
        "::test_a_report_that_was_discarded_in_the_time_that_the_centre_lost_stays_away",
    ),
    of(
        "again: a fact that a person let go of is applied where it comes again",
        "central/store/run.py",
        "batch = await without_let_go(applying, batch)",
        "pass",
        "tests/sim/test_parked_and_restored.py"
        "::test_a_report_that_was_discarded_stays_away_though_its_store_goes_back_and_sends_it_anew",
    ),
    of(
        "again: a fact is left out whatever it says, once one of its id was let go of",
        "central/store/let_go.py",
        "return bool(hashes) and not hashes.isdisjoint(_hashes_of(applying, source))",
        "return bool(hashes)",
        "tests/sim/test_parked_and_restored.py"
        "::test_a_report_that_says_otherwise_than_the_one_discarded_was_let_go_of_by_nobody",
    ),
    of(
        "again: a fact that could not be read, and was let go of, is parked once more",
        "central/store/let_go.py",
        "refused=[each for each in batch.refused if not is_gone(each.source)],",
        "refused=batch.refused,",
        "tests/integration/test_central_let_go.py"
        "::test_what_could_not_be_read_then_is_not_parked_once_more",
    ),
    of(
        "again: a fact of another date is taken for the one that was let go of",
        "central/store/parking.py",
        'key["created_at"] = block.created[source.place]',
        "pass",
        "tests/integration/test_central_let_go.py::test_one_that_was_dated_right_is_another_one",
    ),
    of(
        "again: a column more makes another fact of one that was let go of",
        "central/store/let_go.py",
        "return {name: value for name, value in own.items() if value != defaults.get(name)}",
        "return own",
        "tests/integration/test_central_let_go.py"
        "::test_a_column_more_that_has_no_value_makes_no_other_fact_of_it",
    ),
    of(
        "home: a record that holds no values stops what its site tells",
        "central/store/let_go.py",
        "if not isinstance(content, dict):",
        "if False:",
        "tests/integration/test_central_let_go.py"
        "::test_a_record_that_holds_no_values_lets_go_of_nothing_and_stops_nothing",
    ),
    of(
        "discard: the same fact goes on waiting under another ticket",
        "central/store/retry.py",
        "    found += await _same_facts(applying, found)\n",
        "",
        "tests/sim/test_parked_and_restored.py"
        "::test_a_report_that_waits_twice_is_let_go_of_as_a_whole",
    ),
    of(
        "discard: a value of a fact goes on waiting for its column",
        "central/store/let_go.py",
        "WHERE e.site_id = %(site)s AND e.table_name = f.table_name AND e.id = f.row_id)",
        "WHERE false)",
        "tests/integration/test_central_let_go.py"
        "::test_no_value_of_it_waits_for_a_column_that_is_to_come",
    ),
    of(
        "again: what was let go of leaves a value that waits for its column",
        "central/store/let_go.py",
        "extras=[each for each in batch.extras if not is_gone(each.source)],",
        "extras=batch.extras,",
        "tests/integration/test_central_let_go.py"
        "::test_no_value_of_it_waits_for_a_column_that_is_to_come",
    ),
    of(
        "home: what no tip can tell of, and this catalogue can't take, is dropped",
        "central/store/batch.py",
        "if each.source.key in rows or is_never_home(each.source.block.table, catalog)",
        "if each.source.key in rows",
        "tests/integration/test_central_included.py"
        "::test_what_no_tip_can_tell_of_waits_again_where_the_centre_is_older_than_it_was",
    ),
    of(
        "compare: what was let go of is sent again once its record is forgotten",
        "central/compare/rows.py",
        'text = _NOTES + (_GIVEN_UP if table.fact else "")',
        "text = _NOTES",
        "tests/integration/test_compare_busy.py"
        "::test_rows_that_wait_or_were_given_up_at_the_centre_are_no_difference",
    ),
)

"""Mutants of what the plant's own rules refuse, pass over or undo: listed, and nothing stops."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

ASIDE: Final = "edge/store/aside.py"
REMOVALS: Final = "edge/store/removals.py"
KNOCK_ON: Final = "edge/store/knock_on.py"
PUTS: Final = "edge/store/puts.py"
CANON: Final = "edge/store/canon.py"
KEPT: Final = "tests/integration/test_edge_removals_refused.py"
ROLLBACKS: Final = "edge/store/rollbacks.py"
ROLLS_BACK: Final = "tests/integration/test_edge_rules_that_roll_back.py"
SCHEMAS: Final = "tests/integration/test_edge_apply_schema.py"
SNAPSHOT: Final = "edge/store/snapshot.py"
LOADS: Final = "tests/integration/test_edge_snapshot.py"
MEND: Final = "edge/store/mend.py"
REPAIRS: Final = "tests/integration/test_edge_rules_and_repairs.py"
INSTEAD: Final = "tests/integration/test_edge_written_instead.py"
RULES: Final = "tests/integration/test_edge_rules_of_the_plant.py"
GOES_ON: Final = f"{KEPT}::test_what_comes_after_a_removal_that_the_plant_does_not_allow_is_applied"

OF_REFUSALS: Final[tuple[Mutant, ...]] = (
    of(
        "refusals: one deletion that is refused stops the feed",
        KNOCK_ON, "        reason = aside.reason_of(applying, target, error)\n",
        "        reason = str(error)\n        raise\n", GOES_ON,
    ),
    of(
        "refusals: a row that a trigger keeps counts as gone",
        KNOCK_ON, 'return reason or f"a trigger on {target.name} keeps it"', "return None",
        GOES_ON,
    ),
    of(
        "refusals: a removal is not listed",
        REMOVALS, "aside.keep_removal(applying, target, row_id, why, named or (\"\", 0))",
        "del why, named", GOES_ON,
    ),
    of(
        "refusals: a removal that is refused counts as seen",
        "edge/store/heads.py", "block = _rows(block, [row_id not in kept for row_id in block.ids])",
        "del kept", f"{KEPT}::test_a_write_on_a_row_that_stays_is_sent_as_made_on_what_it_saw",
    ),
    of(
        "refusals: an older head takes the place of a removal",
        "edge/store/heads.py", "if order - 1 > known.get(row_id, _UNKNOWN)[0]:", "if order < 0:",
        f"{KEPT}::test_an_older_head_does_not_take_the_place_of_a_refused_removal",
    ),
    of(
        "refusals: a row goes while the centre decides on a write on it",
        REMOVALS, "    if is_undecided(applying, target, row_id):\n        return\n", "",
        f"{KEPT}::test_a_row_that_stays_is_not_taken_away_while_the_centre_decides_on_a_write_on_it",
    ),
    of(
        "refusals: a removal outlives what the site made anew",
        "edge/store/ack.py", "    removals.forget_overtaken(applying)\n", "",
        f"{KEPT}::test_a_row_that_the_centre_took_as_the_site_made_it_anew_is_not_taken_away",
    ),
    of(
        "refusals: a removal outlives a fact that was accepted after all",
        "edge/store/heads.py", "    aside.forget_removals(applying, target, block.ids)\n", "",
        f"{KEPT}::test_a_fact_that_was_not_accepted_and_stays_is_not_taken_away_once_it_is",
    ),
    of(
        "refusals: a removal comes home as a row",
        "edge/store/tips.py", "Fate.GONE if content == aside.NO_ROW else Fate.PUT", "Fate.PUT",
        f"{KEPT}::test_a_refused_removal_comes_home_as_the_deletion_that_it_is",
    ),
    of(
        "refusals: a row that is kept from making way stops the feed",
        PUTS, "    if not knock_on.clear(applying, target, row_id):\n        return False\n",
        "    knock_on.put_row(applying, target, row_id, target.delete, (row_id,))\n",
        f"{KEPT}::test_a_head_waits_for_its_key_where_the_row_that_has_it_does_not_make_way",
    ),
    of(
        "refusals: a rule that is lifted changes nothing until the agent is started anew",
        "edge/store/materialise.py", "    if version == opened.seen.tried:\n",
        "    if version:\n",
        f"{KEPT}::test_a_row_goes_when_the_plant_lifts_its_rule_and_its_deletion_is_known",
    ),
    of(
        "refusals: what was refused is tried over and over",
        "edge/store/materialise.py", "opened.seen.tried = version", "opened.seen.tried = -1",
        f"{KEPT}::test_what_was_refused_is_not_tried_again_and_again_where_no_rule_changed",
    ),
    of(
        "refusals: a full disk is a row's fault",
        ASIDE, "return plain or code == sqlite3.SQLITE_CORRUPT_VTAB", "return True",
        f"{RULES}::test_trouble_with_the_store_is_no_refusal_of_a_row",
        f"{RULES}::test_a_full_store_lists_no_row",
    ),
    of(
        "refusals: a function of the plant's stops the drain",
        CANON, "            words_of(connection, table.name, error)\n            return False\n",
        "            raise\n",
        f"{RULES}::test_the_drain_goes_on_where_a_value_cannot_be_brought_to_its_form",
    ),
    of(
        "refusals: a row that a trigger passes over counts as put",
        KNOCK_ON, "        raise ignored(target)\n", "        return\n",
        f"{RULES}::test_a_row_that_a_trigger_passes_over_is_refused_and_comes_when_it_no_longer_does",
    ),
    of(
        "refusals: nobody hears of a row that a trigger takes away again",
        PUTS, "        knock_on.log_gone(applying, target, put.row)\n", "        pass\n",
        f"{RULES}::test_a_row_that_a_trigger_takes_away_again_is_deleted_by_the_site",
    ),
    of(
        "refusals: a write under way when a row went has the next one make it anew",
        "edge/store/heads.py",
        "Put(head.id, {}, decided[0].base, 0)", "put",
        f"{KEPT}::test_after_a_write_that_was_under_way_when_the_row_went_the_next_one_makes_no_row_anew",
    ),
    of(
        "refusals: a head that waited for its key is laid over what the site wrote since",
        "edge/store/comeback.py",
        "if version[0] is not None and is_undecided(applying, target, row_id):", "if False:",
        f"{KEPT}::test_a_head_that_waited_for_its_key_is_not_laid_over_what_the_site_wrote_since",
    ),
    of(
        "refusals: a head that was refused is laid over what the site wrote since",
        "edge/store/comeback.py", "elif not is_undecided(applying, target, row_id):", "else:",
        f"{RULES}::test_a_head_that_was_refused_is_not_laid_over_what_the_site_wrote_since",
    ),
    of(
        "refusals: a rule that rolls back what is tried again ends the agent",
        ROLLBACKS, "except aside.RolledBack as error:", "except ZeroDivisionError as error:",
        f"{ROLLS_BACK}::test_a_store_opens_though_what_was_refused_is_rolled_back_now",
        f"{ROLLS_BACK}::test_the_outbox_is_pruned_though_what_was_refused_is_rolled_back_now",
    ),
    of(
        "refusals: what was rolled back along with a row that came back is not done anew",
        ROLLBACKS, "        with suppress(Hindered):\n            return work()\n",
        "        return work()\n",
        f"{ROLLS_BACK}::test_the_feed_goes_on_where_a_row_that_comes_back_would_roll_all_back",
        f"{ROLLS_BACK}::test_a_snapshot_ends_where_a_row_that_comes_back_would_roll_all_back",
    ),
    of(
        "refusals: what came back and was rolled back counts as looked at",
        ROLLBACKS, "    opened.seen.brought_back = None", "    opened.bounds.clear()",
        f"{ROLLS_BACK}::test_a_row_that_had_come_back_before_all_was_rolled_back_comes_back_anew",
    ),
    of(
        "refusals: what was told in a transaction that was rolled back counts as told",
        ROLLBACKS, "    opened.seen.version = 0", "    opened.bounds.clear()",
        f"{ROLLS_BACK}::test_an_index_that_was_told_of_as_all_was_rolled_back_is_told_of_anew",
    ),
    of(
        "refusals: a table whose rule rolled all back is left out for good",
        ROLLBACKS, "hindered[table] == schema.version(applying.connection)", "hindered[table]",
        f"{ROLLS_BACK}::test_a_row_goes_once_the_rule_no_longer_rolls_all_back",
    ),
    of(
        "refusals: a migration waits for a rule that rolls all back",
        "edge/store/migrate.py", "        return change(fill=False)\n", "        raise\n",
        f"{SCHEMAS}::test_a_migration_waits_for_no_rule_of_the_plants_and_tells_what_it_could_not_fill",
    ),
    of(
        "refusals: nobody hears of a column that a trigger passes over",
        "edge/store/extra.py", "if passed else None", "if False else None",
        f"{SCHEMAS}::test_a_migration_waits_for_no_rule_of_the_plants_and_tells_what_it_could_not_fill",
    ),
    of(
        "refusals: what a trigger writes as a column is filled is nobody's",
        "edge/store/extra.py", "{row_id: {column: value} if found else {}}", "{}",
        f"{SCHEMAS}::test_what_a_trigger_writes_as_a_migration_fills_a_column_is_sent",
    ),
    of(
        "refusals: a head that a snapshot lacks comes back though the centre has none",
        SNAPSHOT, "        \" AND ord BETWEEN 1 AND :max_order AND seen < :number\",\n",
        "        \" AND 0\",\n",
        f"{LOADS}::test_a_head_that_never_stood_and_that_the_snapshot_lacks_does_not_come_back",
    ),
    of(
        "refusals: a head aside is forgotten though the snapshot brought it",
        SNAPSHOT, "BETWEEN 1 AND :max_order AND seen < :number", "BETWEEN 1 AND :max_order",
        f"{LOADS}::test_a_head_that_never_stood_and_that_the_snapshot_holds_waits_still",
    ),
    of(
        "refusals: a head aside is forgotten though the snapshot is older",
        SNAPSHOT, "AND ord BETWEEN 1 AND :max_order AND seen", "AND ord >= 1 AND seen",
        f"{LOADS}::test_a_head_aside_that_is_later_than_the_snapshot_waits_still",
    ),
    of(
        "refusals: a head that comes back while a snapshot loads is missing in it",
        "edge/store/comeback.py", "        keep_seen(applying, target, row_id)\n", "",
        f"{LOADS}::test_a_head_that_was_refused_and_comes_while_a_snapshot_loads_is_not_missing_in_it",
    ),
    of(
        "refusals: a row gets the content of a head whose date it may not get",
        PUTS, "            changes[\"created_at\"] = date\n", "            pass\n",
        f"{RULES}::test_a_row_whose_new_date_is_not_allowed_stays_as_it_was_whole",
    ),
    of(
        "refusals: a rule on the date keeps heads out that have the same",
        PUTS, "        if applying.connection.execute(query, (put.id, date)).fetchone():\n",
        "        if query:\n",
        f"{RULES}::test_a_rule_on_the_date_says_nothing_to_a_head_that_has_the_same",
    ),
    of(
        "refusals: a comparison stops where a rule keeps a row from being repaired",
        MEND, "            found, why = 0, aside.words_of(connection, table.name, error)\n",
        "            raise\n",
        f"{REPAIRS}::test_a_fact_that_may_not_be_sent_again_is_told_and_the_others_are_sent",
        f"{REPAIRS}::test_a_row_that_may_not_have_the_centres_date_is_told_and_the_others_get_theirs",
    ),
    of(
        "refusals: a comparison stops where a rule rolls back a repair",
        MEND, "    except aside.RolledBack as error:\n", "    except ZeroDivisionError as error:\n",
        f"{REPAIRS}::test_a_fact_that_may_not_be_sent_again_is_told_and_the_others_are_sent",
    ),
    of(
        "refusals: nobody hears of a repair that a trigger passes over",
        MEND, "if not found and connection", "if found and connection",
        f"{REPAIRS}::test_a_fact_that_may_not_be_sent_again_is_told_and_the_others_are_sent",
    ),
    of(
        "refusals: a row that a snapshot lacked comes home as one that stands",
        "edge/store/tips.py", "OR a.code = '{aside.REFUSED}' AND", "OR 0 AND",
        f"{KEPT}::test_a_row_that_a_snapshot_lacked_and_the_plant_keeps_does_not_come_home",
    ),
    of(
        "refusals: a full-text index that is out of step stops the feed",
        ASIDE, "return plain or code == sqlite3.SQLITE_CORRUPT_VTAB", "return plain",
        f"{RULES}::test_a_full_text_index_of_the_plants_that_is_out_of_step_stops_only_its_row",
        f"{RULES}::test_the_drain_goes_on_where_a_full_text_index_is_out_of_step",
    ),
    of(
        "refusals: a full-text index that is out of step ends the agent as a damaged file",
        "edge/store/open.py", "return damage and code != sqlite3.SQLITE_CORRUPT_VTAB",
        "return damage", f"{RULES}::test_only_the_file_counts_as_damaged_not_a_table_of_the_plants",
    ),
    of(
        "refusals: what a trigger writes instead of making way is nobody's",
        KNOCK_ON, "    log_own(applying, target, before, {row_id: {}})\n    return False\n",
        "    return False\n",
        f"{INSTEAD}::test_what_a_trigger_writes_instead_of_making_way_is_sent",
        f"{INSTEAD}::test_what_a_trigger_writes_instead_of_taking_an_own_row_away_is_sent",
    ),
)  # fmt: skip

"""Mutants of what a site tells of rows of others, and is not taken on its word."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

WITHHELD: Final = "central/store/withheld.py"
DECIDED: Final = "central/withheld.py"
SETTLED: Final = "central/store/settled.py"
HELD: Final = "central/store/held.py"
AHEAD: Final = "edge/store/ahead.py"
WORDS: Final = "tests/sim/test_words_on_rows_of_others.py"
REFUSED: Final = "tests/sim/test_words_refused.py"
MOVED: Final = "tests/sim/test_rows_that_moved_on.py"
COMMAND: Final = "tests/integration/test_central_withheld.py"
PRUNED: Final = (
    "tests/integration/test_upkeep_restores.py"
    "::test_what_was_withheld_is_forgotten_once_somebody_has_decided"
)

OF_WITHHELD: Final[tuple[Mutant, ...]] = (
    of(
        "withheld: what a site tells of a row that it does not get is dropped",
        WITHHELD,
        "if is_whole or news:",
        "if news and not is_whole:",
        f"{WORDS}::test_what_was_written_on_a_row_that_another_site_got_since_is_withheld_and_kept",
    ),
    of(
        "withheld: who else gets a row is dropped",
        WITHHELD,
        "(stands is not None and name in table.share)",
        "False",
        f"{WORDS}::test_who_else_gets_a_row_of_all_is_withheld_and_the_rest_of_it_comes_home",
    ),
    of(
        "withheld: what the own site tells as well is not written",
        WITHHELD,
        "(may and await _written(applying, tips, row_id, told, held))",
        "may",
        f"{WORDS}::test_who_else_gets_a_row_comes_home_whichever_of_its_sites_is_the_first_to_tell",
    ),
    of(
        "withheld: what the own site tells as well takes the place of what was written since",
        WITHHELD,
        "may = not is_beside",
        "may = True",
        f"{WORDS}::test_who_gets_a_row_is_for_a_person_where_somebody_wrote_that_since_the_restore",
    ),
    of(
        "withheld: what is too long for an index holds up the homecoming",
        WITHHELD,
        "except (*ROWS_AT_FAULT, ValueError, NotAuthorised):",
        "except (ValueError, NotAuthorised):",
        f"{REFUSED}::test_a_word_too_long_for_an_index_holds_up_no_homecoming",
    ),
    of(
        "what a trigger of the plant's at the centre refuses stops the site",
        "central/store/applying.py",
        "psycopg.errors.RaiseException,",
        "",
        "tests/integration/test_central_parking.py"
        "::test_what_a_trigger_of_the_plants_at_the_centre_refuses_is_parked",
    ),
    of(
        "withheld: an earlier word settles a later one",
        WITHHELD,
        "'open' AND w.history = %(history)s AND w.lost_ord > 0 AND w.lost_ord < k.ord",
        "'open' AND w.history = %(history)s AND w.lost_ord > 0 AND w.lost_ord <> k.ord",
        f"{WORDS}::test_a_later_word_stays_withheld_where_the_own_site_knows_an_earlier_one",
    ),
    of(
        "withheld: a word without an order is settled by any other",
        WITHHELD,
        "'open' AND w.history = %(history)s AND w.lost_ord > 0 AND",
        "'open' AND w.history = %(history)s AND",
        f"{WORDS}::test_what_is_told_again_without_an_order_is_settled_by_no_earlier_word",
    ),
    of(
        "withheld: an earlier word stays beside a later one",
        WITHHELD,
        "SET state = 'superseded', settled_at",
        "SET state = 'open', settled_at",
        f"{WORDS}::test_of_two_lost_words_the_later_counts_though_the_own_site_knows_the_earlier_one_alone",
    ),
    of(
        "withheld: of what is narrowed all stays",
        WITHHELD,
        "SET told = excluded.told, held",
        "SET told = w.told, held",
        f"{WORDS}::test_who_else_gets_a_row_of_all_is_withheld_and_the_rest_of_it_comes_home",
    ),
    of(
        "withheld: what a person takes stands over what was written since",
        DECIDED,
        "else is_moved or word.is_beside:",
        "else False:",
        COMMAND,
    ),
    of(
        "withheld: whatever a person has seen is taken",
        DECIDED,
        "if found.version != seen if seen",
        "if False if seen",
        COMMAND,
    ),
    of(
        "withheld: the record of such a row settles what waits",
        SETTLED,
        'if told[ticket] == "applied" and is_withheld:',
        "if False:",
        f"{WORDS}::test_what_waits_is_not_settled_by_the_record_of_a_row_that_is_withheld",
    ),
    of(
        "withheld: a row that is told again is parked again, where another version was noted",
        HELD,
        "WHERE w.n = 0 AND w.stored_at_ms >=",
        "WHERE w.n < 0 AND w.stored_at_ms >=",
        f"{WORDS}::test_what_two_sites_told_of_one_row_and_has_to_wait_is_parked_once_each",
    ),
    of(
        "withheld: the record of a row of all that was deleted settles what waits",
        AHEAD,
        "(p.site_id = :everyone",
        "(p.site_id > :everyone AND false",
        f"{MOVED}::test_a_change_of_a_row_of_all_that_was_deleted_since_waits_on_and_can_be_tried",
    ),
    of(
        "withheld: the record of a removal that the plant refused settles what waits",
        AHEAD,
        "AND (a.version = '' OR {_IS_OF_SEVERAL})",
        "AND false",
        f"{MOVED}::test_a_removal_that_a_rule_of_the_plant_refused_comes_home_or_waits_on",
    ),
    of(
        "withheld: what is decided can be decided again",
        DECIDED,
        'if row is None or row[0] != "open":',
        "if row is None:",
        COMMAND,
    ),
    of(
        "withheld: what is let go of is written",
        DECIDED,
        '"discarded", by)',
        '"taken", by)',
        COMMAND,
    ),
    of(
        "withheld: what is open is forgotten by time",
        "central/upkeep.py",
        "FROM sync.withheld WHERE state <> 'open'\n    AND settled_at",
        "FROM sync.withheld WHERE true\n    AND noted_at",
        PRUNED,
    ),
    of(
        "withheld: what a later word takes back is dropped",
        WITHHELD,
        "row_id in confirmed or name",
        "name",
        f"{WORDS}::test_a_later_word_that_takes_back_what_was_confirmed_since_is_withheld_itself",
    ),
    of(
        "withheld: what the backup holds is taken for a word of the lost history",
        WITHHELD,
        " or name not in before or before[name] != value",
        " or True",
        f"{WORDS}::test_what_a_site_saw_before_and_after_is_no_word_of_the_lost_history",
    ),
    of(
        "withheld: what a trigger refuses ends the command",
        DECIDED,
        "except (*ROWS_AT_FAULT, ValueError) as why:",
        "except ValueError as why:",
        COMMAND,
    ),
    of(
        "withheld: a trigger that fails holds up the homecoming",
        WITHHELD,
        "    except psycopg.Error:\n        return False\n",
        "",
        f"{REFUSED}::test_a_rule_that_refuses_who_gets_a_row_holds_up_no_homecoming",
    ),
)

"""Mutants of what a person's decision comes to."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

REVIEWS: Final = "shared/reviews.py"
OF_THEM: Final = "tests/unit/test_reviews.py"
BOTH: Final = "tests/sim/test_decisions.py"
DIFFER: Final = f"{BOTH}::test_of_two_decisions_that_differ_the_safer_stands_and_a_person_is_asked"
KEPT: Final = f"{BOTH}::test_a_row_that_one_lets_go_and_the_other_keeps_stays_and_a_person_is_asked"
FOLDS: Final = "tests/unit/test_capture_fold.py"

OF_REVIEWS: Final[tuple[Mutant, ...]] = (
    of(
        "a person decides on a row that was written meanwhile",
        REVIEWS,
        "return self.shown != (self.stands or {})",
        "return False",
        f"{OF_THEM}::test_a_row_has_moved_where_a_column_that_was_shown_stands_otherwise",
    ),
    of(
        "the side that deleted the row is taken for the other",
        REVIEWS,
        "site_deleted = not conflict.here.value",
        "site_deleted = bool(conflict.here.value)",
        f"{OF_THEM}::test_a_row_goes_exactly_where_the_side_that_deleted_it_is_taken",
    ),
    of(
        "a decision that another person made is made once more",
        REVIEWS,
        'if review.state != "OPEN":',
        "if False:",
        f"{OF_THEM}::test_what_a_person_decided_is_told_with_who_when_and_why",
    ),
    of(
        "another value is taken for the one that was decided",
        REVIEWS,
        "return _given(table, conflict, choice.value) == _renamed(table, review.value)",
        "return True",
        f"{OF_THEM}::test_the_same_is_the_same_side_or_the_same_values_whoever_says_it",
    ),
    of(
        "a person may write a value that the catalogue refuses",
        REVIEWS,
        "if rule := rule_broken(column, form):",
        "if rule := None:",
        f"{OF_THEM}::test_a_value_that_the_column_does_not_allow_is_told_with_those_that_it_does",
    ),
    of(
        "a decision names no person in the row",
        REVIEWS,
        "changes[table.writer_column.name] = by",
        "pass",
        f"{OF_THEM}::test_the_person_stands_in_a_row_wherever_the_row_is_written",
    ),
    of(
        "a person who takes what stands has written nothing",
        REVIEWS,
        "if decision.columns and table.writer_column",
        "if changes and table.writer_column",
        f"{OF_THEM}::test_the_person_stands_in_a_row_wherever_the_row_is_written",
    ),
    of(
        "a decision is a write only of what changes",
        REVIEWS,
        "columns=tuple(taken)",
        "columns=tuple(changes)",
        f"{OF_THEM}::test_a_decision_writes_its_columns_also_where_they_hold_the_value_already",
        DIFFER,
    ),
    of(
        "that a row is to stay is written nowhere",
        REVIEWS,
        "columns=_for_people(table, stays)",
        "columns=()",
        f"{OF_THEM}::test_a_row_that_is_to_stay_is_written_in_the_columns_on_whose_account_it_stays",
        KEPT,
    ),
    of(
        "a row that is to stay is written in the columns of the side that deleted it",
        REVIEWS,
        "stays = conflict.central if site_deleted else conflict.here",
        "stays = conflict.here if site_deleted else conflict.central",
        KEPT,
    ),
    of(
        "that a row is to stay is a write of columns that nobody decides on",
        REVIEWS,
        "table.group_of(column.name).policy is Policy.REVIEW",
        "True",
        f"{OF_THEM}::test_a_row_that_is_to_stay_is_written_in_the_columns_on_whose_account_it_stays",
    ),
    of(
        "a site that takes what stands already tells the centre nothing of the row",
        "edge/reviews.py",
        "connection.execute(statement, (conflict.row_id,))",
        "pass",
        DIFFER,
    ),
    of(
        "what a person decided is drained only where it changed",
        "edge/store/fold.py",
        "touched.kept >> bit & 1 or ",
        "",
        f"{FOLDS}::test_what_a_person_decided_is_written_though_nothing_changed",
        DIFFER,
    ),
    of(
        "a decision is forgotten where the row was written in the same batch",
        "edge/store/fold.py",
        "kept |= columns",
        "pass",
        f"{FOLDS}::test_what_a_person_decided_is_written_though_nothing_changed",
    ),
    of(
        "a decision does not date what it decides",
        "edge/store/lasts.py",
        'if op in "US":',
        'if op == "U":',
        f"{FOLDS}::test_a_column_is_as_old_as_the_decision_that_it_stands",
    ),
    of(
        "a decision at the centre for what stands makes no version of its columns",
        "central/reviews.py",
        'await connection.execute("SELECT set_config(%s, %s, true)", given)',
        "pass",
        "tests/integration/test_central_reviews.py"
        "::test_a_value_that_stands_already_is_written_as_decided",
        DIFFER,
    ),
    of(
        "the capture does not hear what a client decided to stay as it is",
        "central/capture.py",
        """coalesce(nullif(current_setting('{decided}', true), '')::bigint, 0)""",
        "coalesce(length('{decided}') * 0, 0)",
        DIFFER,
    ),
)

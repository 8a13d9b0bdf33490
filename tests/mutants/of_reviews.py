"""Mutants of what a person's decision comes to."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

REVIEWS: Final = "shared/reviews.py"
OF_THEM: Final = "tests/unit/test_reviews.py"

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
        f"{OF_THEM}::test_the_person_stands_in_a_row_only_where_the_row_changes",
    ),
)

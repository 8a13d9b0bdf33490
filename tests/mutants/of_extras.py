"""Mutants of what becomes of values that came before their column."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

EXTRA: Final = "central/extra.py"
STORE: Final = "central/store/extras.py"
TESTS: Final = "tests/integration/test_central_extra.py"
LOST: Final = f"{TESTS}::test_a_value_of_a_lost_life_that"

OF_EXTRAS: Final[tuple[Mutant, ...]] = (
    of(
        "extras: what the centre wrote gives way to a value that waited",
        EXTRA,
        "await _standing(connection, table, column, batch)",
        "batch",
        f"{TESTS}::test_a_value_that_waited_never_overwrites_what_the_centre_wrote_later",
    ),
    of(
        "extras: a value that gives way to the centre's is not on record",
        EXTRA,
        "await record_conflicts(replace(applying, site=site), found)",
        "assert found",
        f"{TESTS}::test_a_value_that_waited_never_overwrites_what_the_centre_wrote_later",
    ),
    of(
        "extras: a value of a lost life makes room unrecorded",
        STORE,
        "and (stays or old.is_lost)",
        "and stays",
        f"{LOST}_waited_is_on_record_when_another_takes_its_place",
    ),
    of(
        "extras: a parked value gives way unrecorded",
        STORE,
        "and (stays or old.is_lost)",
        "and old.is_lost",
        f"{TESTS}::test_a_retry_leaves_the_value_that_its_site_wrote_later",
    ),
    of(
        "extras: what a site had seen itself is a conflict",
        STORE,
        "and (stays or old.is_lost)",
        "and old",
        f"{LOST}_waited_is_on_record_when_another_takes_its_place",
    ),
    of(
        "extras: equal values are a conflict",
        STORE,
        "old.packed != packed and",
        "old.packed and",
        f"{LOST}_waited_is_on_record_when_another_takes_its_place",
    ),
    of(
        "extras: what a site had seen itself is a conflict when the column is there",
        "central/sql/delete_extra.sql",
        "\nWHERE v.lost",
        "",
        f"{TESTS}::test_a_value_that_waited_never_overwrites_what_its_site_wrote_later",
    ),
)

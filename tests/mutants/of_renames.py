"""Mutants of renamed columns: what was frozen under the name of then is read by the name of now."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

FROZEN: Final = "edge/store/frozen.py"
RENAMED: Final = "tests/integration/test_edge_renamed.py"
READ: Final = "tests/unit/test_frozen.py"
EXTRA: Final = "edge/store/extra.py"
SCHEMA: Final = "tests/integration/test_edge_apply_schema.py"
LATER_NAME: Final = (
    f"{SCHEMA}::test_a_store_two_releases_behind_shows_the_value_under_the_later_name"
)
STORIES: Final = "tests/sim/test_renamed_and_restored.py"

OF_RENAMES: Final[tuple[Mutant, ...]] = (
    of(
        "frozen: what own writes replaced is undone under the name of then",
        "edge/store/undone.py",
        "yield from read_back(body, opened.catalog).blocks",
        "yield from read_back(body, type(opened.catalog)(1, ())).blocks",
        f"{RENAMED}::test_a_tip_is_without_an_own_write_that_was_drained_under_another_name",
        f"{STORIES}"
        "::test_a_count_that_is_owed_counts_once_where_its_column_is_renamed_and_the_centre_goes_back",
    ),
    of(
        "frozen: a copy of before a rename is asked about by names that are gone",
        "edge/store/asked.py",
        "return read_back(body, opened.catalog)",
        "return read_back(body, type(opened.catalog)(1, ()))",
        f"{RENAMED}"
        "::test_what_a_lost_life_sent_is_taken_out_though_its_column_has_another_name_now",
        f"{STORIES}::test_a_store_put_back_to_a_copy_of_before_a_rename_agrees_and_counts_once",
    ),
    of(
        "frozen: what was taken out is judged under the name of then",
        "edge/store/taken.py",
        "yield read_back(body, opened.catalog)",
        "yield read_back(body, type(opened.catalog)(1, ()))",
        f"{RENAMED}::test_what_was_taken_out_before_a_rename_is_sent_again_where_the_centre_lost_it",
        f"{RENAMED}::test_of_what_was_taken_out_before_a_rename_a_later_write_of_the_site_stands",
    ),
    of(
        "frozen: only the last rename counts",
        "shared/catalog.py",
        "if name == column.name or name in column.renamed_from:",
        "if name == column.name or name in column.renamed_from[-1:]:",
        f"{READ}::test_a_body_is_read_by_the_names_of_now_however_often_they_changed",
    ),
    of(
        "frozen: what is packed by the names of now says that it is of then",
        FROZEN,
        "return replace(body, schema=catalog.version, blocks=blocks)",
        "return replace(body, blocks=blocks)",
        f"{RENAMED}"
        "::test_what_was_taken_out_before_a_rename_and_the_centre_has_is_kept_by_its_names_of_now",
    ),
    of(
        "frozen: a name that no catalogue had stops the site",
        FROZEN,
        "except UnknownColumn:",
        "except UnicodeError:",
        f"{READ}::test_what_the_catalogue_never_had_is_read_as_it_stands",
    ),
    of(
        "frozen: the comparison knows what was sent by the name of then",
        "edge/store/compare.py",
        "for block in read_back(packed, self._opened.catalog).blocks:",
        "for block in read_back(packed, type(self._opened.catalog)(1, ())).blocks:",
        f"{RENAMED}::test_a_comparison_knows_what_was_sent_by_its_names_of_now",
    ),
    of(
        "a parked child names no parent once the column is renamed",
        "edge/store/unsent.py",
        "content = dict(zip(names_now(table, content), content.values(), strict=True))",
        "content = dict(content)",
        "tests/integration/test_edge_acceptance.py"
        "::test_a_parent_is_sent_for_a_child_that_named_it_before_the_column_was_renamed",
    ),
    of(
        "a catalogue may forget what a column was called",
        "shared/catalog_steps.py",
        "if forgotten := set(before.renamed_from) - {after.name, *after.renamed_from}:",
        "if gone := set[str]():",
        "tests/unit/test_catalog_steps.py"
        "::test_a_name_that_a_column_had_is_kept_for_what_was_sent_under_it",
    ),
    of(
        "the centre does not tell what is parked under an earlier name",
        "central/store/sent.py",
        "for name in (*c.renamed_from, c.name)}",
        "for name in (c.name,)}",
        f"{STORIES}"
        "::test_a_count_that_is_parked_under_an_earlier_name_is_not_sent_again_by_a_copy_that_held_it",
    ),
    of(
        "what an older release brings home is dropped where its column was renamed",
        "central/store/salvage.py",
        "for name in (*c.renamed_from, c.name)",
        "for name in (c.name,)",
        f"{STORIES}"
        "::test_what_a_site_of_the_release_before_brings_home_stands_under_the_names_of_now",
    ),
    of(
        "of two names of one column a site brings home the value under the first",
        "central/store/salvage.py",
        "ours = {name: here for here, name in there.items()}",
        "ours = {name: c.name for c in table.columns for name in (*c.renamed_from, c.name)}",
        "tests/integration/test_salvage.py"
        "::test_a_site_two_releases_behind_brings_home_the_value_under_the_latest_name_it_has",
    ),
    of(
        "what a later release brings home is dropped where its column was renamed",
        "central/store/salvage.py",
        "if len(names) >= len(table.names):",
        "if len(names) < 0:",
        "tests/integration/test_salvage.py"
        "::test_what_a_site_of_a_later_release_brings_home_is_known_by_its_place",
    ),
    of(
        "what comes home meets nothing that was replaced before a rename",
        "central/store/held.py",
        'kept = by_names_now(table, "v.replaced")',
        'kept = "v.replaced"',
        f"{STORIES}::test_what_comes_home_meets_a_count_of_the_centre_from_before_a_rename",
    ),
    of(
        "a row that is brought back lacks what it held before a rename",
        "central/store/standing.py",
        'kept = by_names_now(table, "v.replaced")',
        'kept = "v.replaced"',
        f"{STORIES}::test_a_row_that_a_review_brings_back_holds_what_was_counted_before_a_rename",
    ),
    of(
        "what was written over in a document is read as another document",
        "central/canonical.py",
        "f\"{kept}->>'{c.name}'\" if c.type.kind is Kind.JSON else column_expressions([c], alias)",
        "column_expressions([c], alias)",
        "tests/faults/test_centre_restored_while_clients_write.py"
        "::test_a_document_that_a_client_wrote_over_meets_no_other_than_the_one_that_stood",
    ),
    of(
        "of two names of one column a store shows the value under whichever",
        EXTRA,
        "    _forget_outdated(applying)\n",
        "",
        LATER_NAME,
        f"{SCHEMA}::test_of_a_column_renamed_twice_no_value_but_the_last_is_put_into_it",
    ),
    of(
        "of two names of one column a store shows the value that came first",
        EXTRA,
        "l.schema > e.schema",
        "l.schema < e.schema",
        LATER_NAME,
    ),
    of(
        "a name that a column is given back brings back a value of before",
        EXTRA,
        "for name, other in permutations((*column.renamed_from, column.name), 2)",
        "for name, other in [(each, column.name) for each in column.renamed_from]",
        f"{SCHEMA}::test_where_a_column_is_given_its_first_name_back_the_last_value_is_shown",
    ),
    of(
        "a later name in one row takes the value under the earlier one from all",
        EXTRA,
        "l.table_name = e.table_name AND l.id = e.id AND",
        "l.table_name = e.table_name AND",
        LATER_NAME,
    ),
)

"""Mutants of what a person let go of: which facts these are, and which are others."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

LET_GO: Final = "central/store/let_go.py"
RETRYING: Final = "central/store/retry.py"
DUE: Final = "central/store/due.py"
RETRY_DUE: Final = "central/store/retrying.py"
AGAIN: Final = "tests/integration/test_central_let_go.py"
TESTS: Final = "tests/integration/test_central_let_go_told.py"
MANY: Final = "tests/integration/test_central_parking_many.py"
BESIDE: Final = f"{TESTS}::test_it_is_discarded_though_another_record_of_it_came_home_before"
LIES: Final = f"{TESTS}::test_a_record_of_whatever_content_stops_no_homecoming"

OF_LET_GO: Final[tuple[Mutant, ...]] = (
    of(
        "let go: a record of the same fact beside it goes on waiting",
        RETRYING, "    tickets += await bare_of(applying, tickets)\n", "", BESIDE,
    ),
    of(
        "let go: a fact is not, where any other record of it is",
        LET_GO, 'gone = [each for each in records if each.state == "discarded"]',
        'gone = records if {each.state for each in records} == {"discarded"} else []', BESIDE,
    ),
    of(
        "let go: what comes home takes a person's word back",
        LET_GO, "await _write(applying, _WITHDRAW, [each for each in gone if each.fact in kept])",
        'kept |= {each.fact for each in records if each.state != "discarded"}\n'
        "    await _write(applying, _WITHDRAW, [each for each in gone if each.fact in kept])",
        f"{TESTS}::test_a_record_that_comes_home_takes_no_person_s_word_back",
    ),
    of(
        "let go: one that waits here is, by the record of another time",
        LET_GO, "waits = {each.fact for each in records if each.is_here}",
        "waits = {each.fact for each in records if False}",
        f"{TESTS}::test_one_that_waits_is_not_let_go_of_by_another_s_record",
    ),
    of(
        "let go: one of another site is taken for the site's own",
        "central/store/parking.py", 'key["site_id"] = owner', "pass",
        f"{TESTS}::test_one_of_another_site_is_another_one",
    ),
    of(
        "let go: a default makes another fact of one",
        LET_GO, "if value != defaults.get(name)}", "if value is not None}",
        f"{TESTS}::test_a_column_more_with_its_default_makes_no_other_fact_of_it",
    ),
    of(
        "let go: one whose id another one has is taken for that one, which stands",
        LET_GO, "if each.reason == Reason.ID_TAKEN or", "if",
        f"{TESTS}::test_one_whose_id_another_one_has_is_let_go_of_for_itself",
    ),
    of(
        "let go: a table whose name is cut is asked for by the whole of it",
        LET_GO, "ids[plain(source.block.table, NAME_MAX)]", "ids[source.block.table]",
        f"{TESTS}::test_a_row_of_a_table_with_a_long_name_is_known_again",
    ),
    of(
        "let go: a record that is too deep stops what its site tells",
        LET_GO, "except (ValueError, RecursionError):", "except ZeroDivisionError:", LIES,
    ),
    of(
        "let go: a record of no site stops what its site tells",
        LET_GO, "FROM f JOIN sync.site AS s ON s.site = %(site)s",
        "FROM f CROSS JOIN (SELECT %(site)s::text AS site) AS s",
        f"{TESTS}::test_a_record_of_nobody_s_stops_no_homecoming",
    ),
    of(
        "wake: a run wakes all that waited, however many",
        DUE, "if applying.woken >= WOKEN_MAX:", "if applying.woken < 0:",
        f"{MANY}::test_what_thousands_wait_for_is_applied_in_bounded_time_and_they_soon_after",
    ),
    of(
        "due: what PostgreSQL refused waits for a person whatever is migrated",
        "central/sql/read_due.sql", ", 'database')", ")",
        f"{TESTS}::test_a_row_that_postgresql_refused_is_tried_again_by_another_catalogue",
    ),
    of(
        "due: a row of another table is taken for the one that is missing",
        "central/sql/read_due.sql", " AND h.table_no = w.needs_no", "",
        f"{MANY}::test_rows_that_name_a_row_of_another_table_starve_none_that_is_due",
    ),
    of(
        "due: a row of which nobody noted what it needs waits for a person",
        "central/sql/read_due.sql", "w.needs_no IS NULL", "false",
        f"{MANY}::test_a_row_of_which_nobody_noted_in_which_table_its_parent_is_missing_is_tried_once",
    ),
    of(
        "due: what a retry learned it needs is not noted",
        RETRYING, "needs_no(applying, why), why.behind", "None, why.behind",
        f"{MANY}::test_a_row_of_which_nobody_noted_in_which_table_its_parent_is_missing_is_tried_once",
    ),
    of(
        "due: what fails each time goes first for ever",
        "central/sql/read_due.sql", "ORDER BY w.tries, w.ord", "ORDER BY w.ord",
        f"{MANY}::test_rows_that_fail_whenever_they_are_tried_starve_none_that_is_due",
    ),
    of(
        "due: a try that left nothing behind is not counted",
        RETRY_DUE, "await session.transaction(partial(note_try, ticket), is_short=True)", "pass",
        f"{MANY}::test_rows_that_fail_whenever_they_are_tried_starve_none_that_is_due",
    ),
    of(
        "retry: what failed for the same reason goes down to its site each time",
        "central/sql/update_parked.sql", "(%(anyway)s OR", "(%(anyway)s OR true OR",
        f"{MANY}::test_only_a_person_who_asks_is_told_that_a_row_failed_for_the_same_reason_again",
    ),
    of(
        "retry: a person who asks is not told that the reason is the same",
        RETRY_DUE, "is_asked: bool = True", "is_asked: bool = False",
        f"{MANY}::test_only_a_person_who_asks_is_told_that_a_row_failed_for_the_same_reason_again",
    ),
    of(
        "due: of a plant's own facts nobody asks who waits for them",
        DUE, "for name in waited_for(applying.catalog):", 'for name in ["inspection_results"]:',
        f"{MANY}::test_all_that_wait_for_a_fact_of_a_plants_own_are_applied",
    ),
    of(
        "migrate: facts that others wait for are looked for without an index",
        "central/migrate.py", "*index_steps(catalog, made), ", "",
        f"{MANY}::test_facts_are_found_by_their_id_from_the_catalogue_on_by_which_others_wait_for"
        "_them",
    ),
    of(
        "archive: a month of facts that others wait for leaves",
        "central/archive.py", "bench.may_leave(partition)", "bench.table(partition)",
        "tests/integration/test_archive.py::test_facts_that_others_wait_for_are_never_detached",
    ),
    of(
        "due: a row that a client holds has all after it wait",
        RETRY_DUE, "if not (isinstance(why, StoreBusy) or _is_its_own(why)):",
        "if not _is_its_own(why):",
        f"{MANY}::test_a_row_that_a_client_holds_starves_none_that_is_due",
    ),
    of(
        "due: a pass waits for all rows that clients hold, however many",
        RETRY_DUE, "if held >= HELD_MAX:", "if False:",
        f"{MANY}::test_a_row_that_a_client_holds_starves_none_that_is_due",
    ),
    of(
        "let go: a fact is another one by a later catalogue",
        LET_GO, "_Hashes(_hash(by_first_name), as_sent, ",
        "_Hashes(_hash(by_first_name), _hash(by_first_name), ",
        f"{AGAIN}::test_what_comes_again_as_it_was_sent_stays_away_whatever_the_catalogue_became",
    ),
    of(
        "let go: a fact is another one by a later name of a column",
        LET_GO, "return first_name(table.column(name)) if name in table.names else name",
        "return name", f"{AGAIN}::test_what_a_store_makes_anew_by_later_names_stays_away",
    ),
    of(
        "let go: what was noted by the names of the day is forgotten",
        LET_GO, "as_sent, _hash(said))", "as_sent, as_sent)",
        f"{AGAIN}::test_what_was_noted_by_the_names_of_the_day_alone_stays_away",
    ),
)  # fmt: skip

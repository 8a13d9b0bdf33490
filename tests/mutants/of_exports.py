"""Mutants of exports: whose they are, and what becomes of a file that is half written."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

WORK: Final = "central/exporting.py"
FAIR: Final = "tests/integration/test_api_exports_fair.py"
TESTS: Final = "tests/integration/test_api_exports.py"

OF_EXPORTS: Final[tuple[Mutant, ...]] = (
    of(
        "exports: anybody who knows its id gets one",
        "central/exports.py",
        '{_COLUMNS} FROM sync.export WHERE who = %s AND id = %s"',
        "{_COLUMNS} FROM sync.export WHERE %s <> '' AND id = %s\"",
        f"{TESTS}::test_it_holds_the_sites_of_who_asked_and_is_theirs_alone",
    ),
    of(
        "exports: one is given of sites that its asker does not reach any more",
        "central/api/exports.py",
        "if not set(found.sites) <= set(asking.sites):",
        "if False:",
        f"{TESTS}::test_it_holds_the_sites_of_who_asked_and_is_theirs_alone",
    ),
    of(
        "exports: one has a page of its rows",
        WORK,
        "question = replace(question, limit=None)",
        "pass",
        f"{TESTS}::test_it_has_all_rows_and_not_a_page_of_them",
    ),
    of(
        "exports: whoever was taken for dead finishes what another one writes",
        WORK,
        "WHERE id = %(id)s AND tries = %(tries)s AND state = 'running'",
        "WHERE id = %(id)s",
        f"{TESTS}::test_a_zombie_neither_finishes_nor_spoils_what_another_one_writes",
    ),
    of(
        "exports: one that is deleted is written to its end",
        WORK,
        "if self.is_gone or self._stop_all.is_set():\n            raise",
        "if self._stop_all.is_set():\n            raise",
        f"{TESTS}::test_one_that_is_deleted_while_it_is_written_stops",
    ),
    of(
        "exports: a statement runs on though nobody wants its rows",
        WORK,
        "self._job.whole.connection.cancel_safe(timeout=5)",
        "pass",
        f"{TESTS}::test_a_long_statement_is_cancelled_when_nobody_wants_it_any_more",
    ),
    of(
        "exports: what a process gives back is its last try",
        WORK,
        "SET state = 'waiting', tries = tries - 1,",
        "SET state = 'waiting', tries = 99,",
        f"{TESTS}::test_what_a_process_that_stops_has_half_written_waits_again",
    ),
    of(
        "exports: one is given up while what it reads is away",
        WORK,
        "if job.whole is None and isinstance(error, psycopg.OperationalError):",
        "if False:",
        f"{TESTS}::test_while_the_database_is_away_exports_wait",
    ),
    of(
        "exports: one whose progress nobody hears of has taken too long",
        WORK,
        "if beat.is_lost or (",
        "if (",
        f"{TESTS}::test_one_whose_progress_nobody_hears_of_has_not_taken_too_long",
    ),
    of(
        "exports: one that kills whoever writes it is begun for ever",
        WORK,
        "if job.tries > TRIES_MAX:",
        "if False:",
        f"{TESTS}::test_what_a_process_that_was_killed_has_begun_is_begun_anew_but_not_for_ever",
    ),
    of(
        "exports: files of others are swept as well",
        WORK,
        "if file.name not in wanted and _OURS.fullmatch(file.name):",
        "if file.name not in wanted:",
        f"{TESTS}::test_what_is_past_its_time_goes_with_its_file_and_nothing_else",
    ),
    of(
        "exports: who asked first is served first, however much that is",
        WORK,
        "ORDER BY own.at_work, own.served NULLS FIRST, w.id",
        "ORDER BY w.id",
        f"{FAIR}::test_one_that_asks_for_one_waits_for_one_of_who_asked_for_many",
    ),
    of(
        "exports: one fills the disk",
        WORK,
        "if shutil.disk_usage(folder).free < FREE_MIN:",
        "if False:",
        f"{FAIR}::test_nothing_is_written_onto_a_disk_that_is_nearly_full",
    ),
    of(
        "exports: files of one take all the room there is",
        WORK,
        "if size + others > exports.BYTES_MAX:",
        "if False:",
        f"{FAIR}::test_files_of_one_who_asks_have_a_bound_together_and_others_have_theirs",
    ),
)

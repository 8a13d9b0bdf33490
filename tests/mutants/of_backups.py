"""Mutants of what counts as safe, and of what may be said of backups."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

UPKEEP: Final = "central/upkeep.py"
BACKUPS: Final = "central/backups.py"
COMMAND: Final = "central/cli/backup.py"
TESTS: Final = "tests/integration/test_backups.py"
PROPERTY: Final = (
    "tests/integration/test_backups_property.py::test_a_script_meets_every_state_that_matters"
)
PROTECTED: Final = "tests/integration/test_protected_until.py"
BY_COMMAND: Final = "tests/integration/test_central_command_backup.py"

OF_BACKUPS: Final[tuple[Mutant, ...]] = (
    of(
        "a backup that is being taken holds nothing back",
        UPKEEP,
        'WHERE b.failed_at IS NULL AND b.gone_at IS NULL"""',
        'WHERE b.failed_at IS NULL AND b.gone_at IS NULL AND b.finished_at IS NOT NULL"""',
        f"{TESTS}::test_a_long_backup_that_began_before_a_shorter_one_is_waited_for",
        PROPERTY,
    ),
    of(
        "safe follows the newest backup",
        UPKEEP,
        "min(coalesce(p.last_n, 0))",
        "max(coalesce(p.last_n, 0))",
        f"{TESTS}::test_safe_is_where_the_oldest_finished_backup_began",
        PROPERTY,
    ),
    of(
        "a chain that is in no old backup is safe as far as a newer one has it",
        UPKEEP,
        "min(coalesce(p.last_n, 0))",
        "min(p.last_n)",
        f"{TESTS}::test_a_chain_that_was_opened_after_the_oldest_backup_has_nothing_safe",
    ),
    of(
        "safe goes beyond what was applied",
        UPKEEP,
        "least(({_HELD}), f.last_n) AS n",
        "({_HELD}) AS n",
        f"{TESTS}::test_safe_is_never_beyond_what_was_applied",
    ),
    of(
        "age counts again when all backups are gone",
        UPKEEP,
        "if backups.ever_finished:",
        "if backups.unended:",
        f"{TESTS}::test_safe_stands_still_when_all_backups_are_gone",
        PROPERTY,
    ),
    of(
        "age lets go of what a first backup lacks",
        UPKEEP,
        "SET safe_n = least(a.n, a.held)",
        "SET safe_n = a.n",
        f"{TESTS}::test_age_counts_until_a_first_backup_is_finished_but_not_beyond_one_that_is_taken",
        PROPERTY,
    ),
    of(
        "what becomes safe does not heed a mark that is being made",
        UPKEEP,
        "if not (await cursor.fetchone() or [False])[0]:",
        "if await cursor.fetchone() is None:",
        f"{TESTS}::test_nothing_becomes_safe_while_a_backup_is_being_marked",
    ),
    of(
        "a mark does not wait for what is becoming safe",
        BACKUPS,
        '"SELECT pg_advisory_xact_lock(%s)", [MARK_LOCK]',
        '"SELECT %s", [MARK_LOCK]',
        f"{TESTS}::test_a_mark_waits_for_what_is_becoming_safe",
    ),
    of(
        "a second mark notes more than the backup holds",
        BACKUPS,
        "a script may say it twice.\n        return False",
        "a script may say it twice.\n        return True",
        f"{TESTS}::test_a_second_mark_of_a_backup_that_is_being_taken_keeps_the_first_positions",
    ),
    of(
        "a backup that is gone may be begun under its name",
        BACKUPS,
        "if known is None or (known.state is Mark.FAILED):",
        "if known is None or known.state in (Mark.FAILED, Mark.GONE):",
        f"{TESTS}::test_what_can_t_be_said_of_a_backup_is_refused_with_what_to_do",
    ),
    of(
        "what is not drained is told to be protected",
        "edge/store/__init__.py",
        "if drain.waiting(self.opened):",
        "if now_ms < 0 and drain.waiting(self.opened):",
        f"{PROTECTED}::test_what_is_not_drained_is_not_told_to_be_protected",
        f"{PROTECTED}::test_a_store_tells_until_when_all_is_drained_by_the_clock_of_the_centre",
    ),
    of(
        "a site is complete through its hello, whatever it has not drained",
        "central/migrations/0038_complete_through.sql",
        "THEN least((s.hello ->> 'drained_ms')::bigint,\n",
        "THEN greatest((s.hello ->> 'drained_ms')::bigint,\n",
        f"{TESTS}::"
        "test_a_site_is_complete_in_a_backup_until_it_looked_for_its_hello_and_had_nothing_left",
    ),
    of(
        "facts up to an earlier bound count as all that there is",
        "edge/store/early.py",
        "else self.at.hlc, bound.at_ms)",
        "else self.at.hlc, self._now_ms)",
        f"{PROTECTED}::test_facts_that_an_earlier_look_bounds_are_drained_as_of_that_look",
    ),
    of(
        "a command that failed makes a finished backup",
        COMMAND,
        "Mark.FINISHED if code == exits.OK else Mark.FAILED",
        "Mark.FINISHED if code >= exits.OK else Mark.FAILED",
        f"{BY_COMMAND}::test_a_command_that_fails_makes_a_failed_backup_and_passes_its_code_on",
    ),
)

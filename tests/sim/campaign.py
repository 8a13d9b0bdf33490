"""Many runs, one after the other, on databases that are used again; what they met is counted."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.sim.catalogue import NEW, OLD
from tests.sim.centre import Database
from tests.sim.disk import watch_syncs
from tests.sim.world import Plan, World, shorten

if TYPE_CHECKING:
    from collections import Counter
    from types import TracebackType
    from typing import Self

    from tests.sim.world import Step

#: A campaign that never met one of these has proven nothing of it, and fails. Each is met ten times
#: in fifty runs, and more often.
REQUIRED: Final = (
    "up: APPLY", "up: SKIP", "snapshot loaded", "write during a load", "chunked transaction",
    "entry with more", "clean", "decided", "fact", "policy last_write", "policy delete",
    "verdict here", "verdict central", "parked: invalid_value", "parked: tied", "discarded",
    "cut at a statement", "kill", "feed pruned", "pruned", "clock set", "centre restarted",
    "forged message", "head: PUT", "head: GONE", "database started", "clock held to the bound",
    "step in both feeds",
)  # fmt: skip
#: Each of these is met ten times in a few hundred runs.
RARE: Final = (
    *(f"policy {name}" for name in (
        "central", "site", "sum", "max", "min", "lattice", "add_remove_set", "review",
    )),
    "up: GAP", "verdict merged", "verdict review", "verdict kept", "parked: key_taken",
    "parked: behind", "parked: newer_schema", "parked: parent_missing", "parked row applied",
    "retry", "late commit of the centre", "tail lost", "all lost", "head lost", "one lost",
    "repeated", "swapped", "not delivered", "damaged", "refused", "unheard", "full",
    "no responder", "answer lost", "cut before the commit", "cut after the commit",
    "power cut, kept", "power cut, lost", "power cut, torn", "crash in drain",
    "crash in receive", "crash in fetch", "crash in load", "crash in prune",
    "backlog of a dead agent", "site migrated", "signed release", "aside: unique",
    "store cloned", "store restored", "centre backed up", "centre restored",
    "the centre was healed", "row of one site", "waited for the other feed",
    "clock of the centre set", "copy met a new release", "restore met a new release",
)  # fmt: skip
#: And these in the long campaign.
RAREST: Final = (
    "head: LEFT", "passing: LeaseLost", "new epoch", "moved, and known already",
    "up: FORK", "record came home", "store restored after the centre",
    "centre restored after a store", "centre restored forward", "discarded, and away",
)  # fmt: skip
#: So many runs meet what is rare as well, and so many all.
RUNS_MANY: Final = 400
RUNS_ALL: Final = 2_000


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    plan: Plan
    #: None where all that must hold did.
    why: Exception | None
    reach: Counter[str]
    trace: list[str]


class Lab:
    """Runs worlds on databases of its own."""

    def __init__(self, superuser_url: str) -> None:
        """Make a centre of each release."""
        watch_syncs()
        self._url = superuser_url
        self._folder = Path(tempfile.mkdtemp(prefix="mes-sim-", dir=_memory()))
        self.runner = asyncio.Runner()
        self._names = [f"mes_sim_{secrets.token_hex(4)}" for _ in (NEW, OLD)]
        self._databases: list[Database] = []
        for name, catalog in zip(self._names, (NEW, OLD), strict=True):
            self._admin(f"CREATE DATABASE {name} TEMPLATE template0")
            address = urlunsplit(urlsplit(superuser_url)._replace(path=f"/{name}"))
            self._databases.append(self.runner.run(Database.open(address, catalog)))
        self._level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # of what fails on purpose

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        """Drop the databases and the stores."""
        logging.disable(self._level)
        for database in self._databases:
            self.runner.run(database.close())
        self.runner.close()
        for name in self._names:
            self._admin(f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def world(self, config: int) -> World:
        """Return a world that has not begun, with stores of its own."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return World(self._databases[config % 5 == 0], folder, config)

    def run(self, plan: Plan) -> Outcome:
        """Run a plan to its end."""
        world = self.world(plan.config)
        why: Exception | None = None
        try:
            self.runner.run(world.run(plan))
        except Exception as failed:  # noqa: BLE001
            why = failed
        finally:
            shutil.rmtree(world.folder)
        return Outcome(plan, why, world.reach, world.trace)

    def shortened(self, failed: Outcome) -> Outcome:
        """Return the same failure with as few steps as can be found."""
        kind, last = _kind(failed), failed

        def fails(steps: tuple[Step, ...]) -> bool:
            nonlocal last
            outcome = self.run(Plan(failed.plan.config, steps))
            if outcome.why is None or _kind(outcome) != kind:
                return False
            last = outcome
            return True

        shorten(failed.plan.steps, fails)
        return last


def _kind(outcome: Outcome) -> str:
    """Return what tells one failure from another: the beginning of its message."""
    return f"{type(outcome.why).__name__} {outcome.why}"[:40]


def _memory() -> str | None:
    """Return a folder in memory, where there is one: what is synced there costs nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def missed(reach: Counter[str], runs: int) -> list[str]:
    """Return what a campaign of so many runs should have met and did not."""
    wanted = [*REQUIRED, *(RARE if runs >= RUNS_MANY else ())]
    wanted += RAREST if runs >= RUNS_ALL else ()
    return [name for name in wanted if not reach[name]]


def report(outcome: Outcome, lines: int = 120) -> str:
    """Return what a person needs to see a failure again, with the end of its trace."""
    return "\n".join(
        (
            *outcome.trace[-lines:],
            f"{type(outcome.why).__name__}: {outcome.why}",
            f"repeat it: make sim STEPS='{outcome.plan}'",
        )
    )

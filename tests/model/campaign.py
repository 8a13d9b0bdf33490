"""Many seeds of the model: what broke, what was met, and how long it took."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing import Pool
from typing import TYPE_CHECKING, Final

from tests.model.bias import BIASES
from tests.model.checks import Violation
from tests.model.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.model.rules import Rule

#: Seeds that a process runs before it reports.
_SOME: Final = 25

_POLICIES: Final = (
    "last_write", "central", "site", "sum", "max", "min", "lattice", "add_remove_set", "review",
    "delete",
)  # fmt: skip
#: What any campaign has to meet.
MET: Final = (
    "apply", "skip", "gap", "late", "unverified", "chunked", "snapshot", "parked: poison",
    "parked: unique", "parked: parent", "parked: behind", "parked: foreign", "retried", "discarded",
    *(f"policy: {name}" for name in _POLICIES),
    *(f"outcome: {name}" for name in ("here", "central", "merged", "review", "kept")),
)  # fmt: skip
#: And what one with restores has to meet beside it.
MET_WITH_RESTORES: Final = (
    "fork found", "new epoch", "touch dropped", "resync", "salvage",
    "salvage merged", "included", "parked home", "site restored", "centre restored",
    "clone adopted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run."""

    first: int
    runs: int
    off: frozenset[Rule] = frozenset()
    restores: bool = False
    #: The name of a bias.
    bias: str = "usual"


@dataclass(slots=True)
class Report:
    """What came of some runs."""

    runs: int = 0
    #: Seed -> the invariant that did not hold.
    broken: dict[int, str] = field(default_factory=dict)
    reach: Counter[str] = field(default_factory=Counter)
    #: Processor time of all processes, in seconds.
    seconds: float = 0.0

    def add(self, other: Report) -> None:
        """Take in another report."""
        self.runs += other.runs
        self.broken |= other.broken
        self.reach += other.reach
        self.seconds += other.seconds

    def missed(self, order: Order) -> list[str]:
        """Return what these runs should have met and did not."""
        wanted = MET + (MET_WITH_RESTORES if order.restores else ())
        return [what for what in wanted if not self.reach[what]]


def run(order: Order) -> Report:
    """Run the seeds in this process."""
    report = Report()
    began = time.process_time()
    for seed in range(order.first, order.first + order.runs):
        world = World(seed, order.off, restores=order.restores, bias=BIASES[order.bias])
        try:
            world.run()
        except Violation as why:
            report.broken[seed] = str(why)
        report.runs += 1
        report.reach += world.centre.reach
    report.seconds = time.process_time() - began
    return report


def replay(order: Order, seed: int) -> str:
    """Return the command that shows a run step by step."""
    off = "".join(f" --off {rule.name}" for rule in sorted(order.off, key=lambda r: r.name))
    restores = " --restores" if order.restores else ""
    bias = f" --bias '{order.bias}'" if order.bias != "usual" else ""
    return f".venv/bin/python -m tests.model --seed {seed}{restores}{bias}{off} --trace"


def campaign(order: Order, jobs: int) -> Iterator[Report]:
    """Run the seeds in some processes; yield what has come of them so far."""
    report = Report()
    for some in _reports(order, jobs):
        report.add(some)
        yield report


def _reports(order: Order, jobs: int) -> Iterator[Report]:
    orders = list(_pieces(order))
    if jobs == 1:
        yield from map(run, orders)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(run, orders)


def _pieces(order: Order) -> Iterable[Order]:
    end = order.first + order.runs
    for first in range(order.first, end, _SOME):
        yield replace(order, first=first, runs=min(_SOME, end - first))

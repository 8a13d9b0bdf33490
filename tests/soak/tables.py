"""How each table of the bookkeeping is bounded, and how a run is to see that it is. Pure.

A table without an entry here is a violation, and fails tests/unit/test_soak_verdict.py at once.
docs/operations.md says the same for people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from central.upkeep import UPKEEP_EVERY_S
from edge.store.cursor import TRAIL_DENSE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What the agent prunes waits for it so long, in seconds, and as much again where it is paused.
_PRUNED_BY_AGENT_S: Final = 30.0
#: A while in which rows that stand have all been made, seconds.
_COMMISSIONED_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Times:
    """How long things are kept in this run, in seconds: short, so that all of it is seen to go."""

    safe_s: float
    feed_s: float
    versions_s: float
    history_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What a run has met until it was looked at."""

    sites: int
    at_s: float
    writes: int
    #: Faults of the whole run; those that started PostgreSQL anew, and those of all programs.
    faults: int
    lives: int
    #: Between two backups, in seconds.
    safe_s: float


@dataclass(frozen=True, slots=True)
class Stays:
    """Rows go after a time, or stand: once they have come of age there are as many as before."""

    #: After so many seconds.
    kept_s: Callable[[Times], float]


@dataclass(frozen=True, slots=True)
class AtMost:
    """There are never more rows than this."""

    rows: Callable[[Met], float]


@dataclass(frozen=True, slots=True)
class Still:
    """There are as many rows as at first: a line a table, or a release."""


@dataclass(frozen=True, slots=True)
class Empty:
    """When all has settled there are none."""


Rule = Stays | AtMost | Still | Empty


def _forgotten_s(times: Times) -> float:
    """Return when a row of the history has gone, with what is kept of its deletion."""
    return times.history_s + _versions_s(times) + UPKEEP_EVERY_S


def _versions_s(times: Times) -> float:
    return 1.2 * times.versions_s + 2 * UPKEEP_EVERY_S


_APPLIED: Final = Stays(lambda times: 2 * times.feed_s + UPKEEP_EVERY_S)
_HISTORY: Final = Stays(lambda times: times.history_s + UPKEEP_EVERY_S)
_FORGOTTEN: Final = Stays(_forgotten_s)
_STANDS: Final = Stays(lambda times: _COMMISSIONED_S)
_A_LINE_A_SITE: Final = AtMost(lambda met: met.sites)
_NONE: Final = AtMost(lambda met: 0)


def _trail(met: Met) -> float:
    """Return how long the trails of two feeds are that hold ten entries a write."""
    longest = 10.0 * met.writes / met.sites
    steps = math.log2(max(longest / TRAIL_DENSE, 1.0)) + 1
    return 2 * met.sites * (TRAIL_DENSE + TRAIL_DENSE / 2 * steps)


CENTRAL_RULES: Final[Mapping[str, Rule]] = {
    # What has a time.
    "applied": _APPLIED,
    "included": _APPLIED,
    "again": _APPLIED,
    "tip": _APPLIED,
    "feed": Stays(lambda times: times.feed_s + UPKEEP_EVERY_S),
    "version": _FORGOTTEN,
    "head": _FORGOTTEN,
    "deleted heads": _FORGOTTEN,
    "overwritten": Stays(lambda times: times.history_s + 2 * UPKEEP_EVERY_S),
    "conflicts": _HISTORY,
    "reviews": _HISTORY,
    "parked": _HISTORY,
    "row_key": _STANDS,
    # What is under way, and what no run brings about.
    "part": Empty(),
    "touched": Empty(),
    "deltas": Empty(),
    # Nobody takes reports away here, and what an older copy sends again is passed over.
    "stale machine_busy": Empty(),
    "stale order_lives": Empty(),
    "waiting": Empty(),
    "extra": Empty(),
    "refused": Empty(),
    "stream_refused": Empty(),
    "spent_release": _NONE,
    # One for each time that one is taken; of those that are gone nothing else is kept. Whoever
    # takes them waits for half the time between two of them, at the least.
    "backup": AtMost(lambda met: 2 + met.at_s / (met.safe_s / 2)),
    "backup_position": AtMost(lambda met: 3 * met.sites * (1 + met.lives)),
    "reader": _NONE,
    "api_key": _NONE,
    "archive": _NONE,
    "archive_key": _NONE,
    "audit": _NONE,
    "answer": _NONE,
    # What has a number.
    "site": _A_LINE_A_SITE,
    "settled": _A_LINE_A_SITE,
    "verified": _A_LINE_A_SITE,
    "feed_head": AtMost(lambda met: met.sites + 1),
    "worker": AtMost(lambda met: 5 + met.faults),
    "epoch": AtMost(lambda met: met.sites * (1 + met.lives)),
    "restore": AtMost(lambda met: met.sites * (1 + met.lives)),
    "life": AtMost(lambda met: 1 + met.lives),
    "life_now": AtMost(lambda met: 1),
    "order_mark": AtMost(lambda met: 5 + met.at_s / UPKEEP_EVERY_S + met.faults),
    "snapshot": AtMost(lambda met: met.sites * (1 + met.lives)),
    "snapshot_chunk": AtMost(lambda met: 10 * met.sites * (1 + met.lives)),
    "compare": AtMost(lambda met: 10 * met.sites),
    "forgotten_to": AtMost(lambda met: 1),
    "revision": AtMost(lambda met: 3 * (met.sites + 1)),
    "rollup_check": _A_LINE_A_SITE,
    # No report here is of a day that is over.
    "late_report": _NONE,
    "restated": _NONE,
    "known_since": Still(),
    "export": Still(),  # nobody asks for any here
    "withheld": _NONE,  # no table of several sites is written here
    "let_go": Still(),  # as many as a person has discarded, and nobody does here
    "site_day": AtMost(lambda met: met.sites),
    # One for each site, table and hour that has facts: four tables here, the hour before, that of
    # the beginning, and each that has begun since, as the first may at once.
    "rollup_mark": AtMost(lambda met: met.sites * 4 * (3 + met.at_s / 3600)),
    "migration": Still(),
    "generated": Still(),
    "catalogue": Still(),
    "table_no": Still(),
}

EDGE_RULES: Final[Mapping[str, Rule]] = {
    # What the oldest backup lacks: the last one was begun when the one before was finished.
    "out": Stays(lambda times: 2 * times.safe_s + UPKEEP_EVERY_S + _PRUNED_BY_AGENT_S),
    "row": Stays(lambda times: times.history_s + 2 * UPKEEP_EVERY_S),
    "conflicts": _HISTORY,
    "reviews": _HISTORY,
    "parked": _HISTORY,
    "pending": Empty(),
    "shadow": Empty(),
    "in": Empty(),
    "again": Empty(),
    "ahead": Empty(),
    "taken": Empty(),
    "logs": Empty(),
    "extra": Empty(),
    "import": _NONE,
    "site": _A_LINE_A_SITE,
    "applying": _A_LINE_A_SITE,
    "catalogue": _A_LINE_A_SITE,
    "snapshot": _A_LINE_A_SITE,
    "table": Still(),
    "epoch": AtMost(lambda met: met.sites * met.lives),
    "life": AtMost(lambda met: met.sites * (1 + met.lives)),
    "seen": AtMost(_trail),
    "event": AtMost(lambda met: 20 * (met.sites + met.faults)),
    "compare": AtMost(lambda met: 10 * met.sites),
    "aside": AtMost(lambda met: 20),
    # For 90 days, which no run sees: a write deletes a lot, and makes a few rows of history.
    "deletions": AtMost(lambda met: 200 + 3 * met.writes),
}

RULES: Final[Mapping[str, Rule]] = {
    f"central {name}": rule for name, rule in CENTRAL_RULES.items()
} | {f"edge {name}": rule for name, rule in EDGE_RULES.items()}

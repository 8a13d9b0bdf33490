"""Whether memory was flat and tables bounded, as the samples tell. Pure.

What was not seen for long enough is not judged, and that is told: in a run of ten minutes or more
it is a violation.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.soak.tables import RULES, AtMost, Stays, Still

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.soak.samples import Sample
    from tests.soak.tables import Met, Times

#: A process starts, fills its caches, and has then the size that it keeps: after so many seconds,
#: and after so much of its life.
WARM_UP_S: Final = 90.0
WARM_UP_SHARE: Final = 1 / 3
#: With fewer samples of one life of a process, or of a table, a slope says nothing.
SAMPLES_MIN: Final = 10
JUDGED_S: Final = 120.0
#: What a process may grow, were it to go on like that for ten minutes. An agent lets 50,000 objects
#: gather before it looks for cycles among them: at a transaction a second it grows by 3.7 MB in ten
#: minutes until it has decided 1,200, and then no more. Its page cache grows with its store, to
#: 16 MiB. tests/integration/test_agent_memory.py looks at what it holds itself.
GROWTH_MB: Final = 6.0
GROWTH_SHARE: Final = 0.12
#: The same where it was looked at for longer than that: half a megabyte a minute is too much.
GROWTH_LONG_MB: Final = 4.5
#: The servers are not ours: a heap of Go doubles before it is swept, sessions come and go.
SERVERS: Final = ("broker", "postgres")
GROWTH_OF_SERVERS_MB: Final = 25.0
GROWTH_OVER_S: Final = 600.0
#: Every kind of program.
KINDS: Final = ("agent", "ingest", "feed", "broker", "postgres")
#: A table whose rows have come of age may grow by so much of its size until the end of the run, and
#: by so many rows. Were nothing of it deleted it would be 0.97 in half an hour, or more.
TABLE_GROWTH: Final = 0.6
TABLE_SLACK_ROWS: Final = 100
TABLE_JUDGED_S: Final = 180.0


def kind_of(name: str) -> str:
    """Return which kind of program it is that has this name: a site's is its agent."""
    kind = name.partition("-")[0]
    return kind if kind in KINDS else "agent"


@dataclass(frozen=True, slots=True)
class Slope:
    """How the memory of one life of a process went."""

    name: str
    samples: int
    over_s: float
    median_mb: float
    most_mb: float
    #: MB in ten minutes, by a line through the samples that no outlier moves.
    growth_mb: float

    @property
    def allowed_mb(self) -> float:
        """Return how much growth counts as flat."""
        if self.name in SERVERS:
            return max(GROWTH_OF_SERVERS_MB, GROWTH_SHARE * self.median_mb)
        if self.over_s >= GROWTH_OVER_S:
            return GROWTH_LONG_MB
        return max(GROWTH_MB, GROWTH_SHARE * self.median_mb)

    @property
    def flat(self) -> bool:
        """Tell whether it was."""
        return self.growth_mb <= self.allowed_mb


@dataclass(frozen=True, slots=True)
class Bound:
    """What was seen of a table, against what there may be."""

    table: str
    #: Rows that there may be in the end, and that there were.
    allowed: float
    seen: float

    @property
    def held(self) -> bool:
        """Tell whether it is bounded."""
        return self.seen <= self.allowed


# --- memory --------------------------------------------------------------------------------------


def slopes(samples: Sequence[Sample]) -> list[Slope]:
    """Return the slope of each life of a process that was long enough to have one."""
    lives: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        for name, process in sample.processes.items():
            lives[name, process.pid].append((sample.at_s, process.own))
    found = []
    for (name, _), points in lives.items():
        began, ended = points[0][0], points[-1][0]
        since = began + max(WARM_UP_S, WARM_UP_SHARE * (ended - began))
        warm = [point for point in points if point[0] >= since]
        if len(warm) >= SAMPLES_MIN and ended - warm[0][0] >= JUDGED_S:
            found.append(_slope(name, warm))
    return sorted(found, key=lambda each: each.growth_mb - each.allowed_mb, reverse=True)


def _slope(name: str, points: Sequence[tuple[float, float]]) -> Slope:
    sizes = [size for _, size in points]
    return Slope(
        name, len(points), points[-1][0] - points[0][0], statistics.median(sizes), max(sizes),
        theil_sen(points) * GROWTH_OVER_S,
    )  # fmt: skip


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes between all pairs of points."""
    rises = [
        (later - size) / (then - at)
        for number, (at, size) in enumerate(points)
        for then, later in points[number + 1 :]
        if then > at
    ]
    return statistics.median(rises) if rises else 0.0


# --- tables --------------------------------------------------------------------------------------


def rows_of(samples: Sequence[Sample], table: str) -> list[tuple[Sample, int]]:
    """Return the samples that counted a table's rows, with the count."""
    end, name = table.split(" ", 1)
    found = []
    for sample in samples:
        counts: Mapping[str, int] = sample.central if end == "central" else sample.edge
        if name in counts:
            found.append((sample, counts[name]))
    return found


def bounds(samples: Sequence[Sample], times: Times, met: Met) -> list[Bound]:
    """Return what was seen of each table, but of those that were not seen for long enough."""
    found = (_bound(table, rows_of(samples, table), times, met) for table in RULES)
    return [each for each in found if each is not None]


def _bound(table: str, rows: list[tuple[Sample, int]], times: Times, met: Met) -> Bound | None:
    rule = RULES[table]
    if not rows:
        return None
    if isinstance(rule, Stays):
        return _come_of_age(table, [(at.at_s, count) for at, count in rows], rule.kept_s(times))
    if isinstance(rule, AtMost):
        over = [
            (count, rule.rows(replace(met, at_s=at.at_s, writes=at.writes))) for at, count in rows
        ]
        worst = max(over, key=lambda pair: pair[0] - pair[1])
        seen, allowed = worst if worst[0] > worst[1] else over[-1]
        return Bound(table, allowed, seen)
    if isinstance(rule, Still):
        return Bound(table, rows[0][1], max(count for _, count in rows))
    return Bound(table, 0, rows[-1][1])


def _come_of_age(table: str, rows: list[tuple[float, int]], kept_s: float) -> Bound | None:
    old = [(at, float(count)) for at, count in rows if at >= kept_s]
    if len(old) < SAMPLES_MIN or old[-1][0] - old[0][0] < TABLE_JUDGED_S:
        return None
    usual = statistics.median(count for _, count in old)
    grown = theil_sen(old) * (old[-1][0] - old[0][0])
    return Bound(table, usual * (1 + TABLE_GROWTH) + TABLE_SLACK_ROWS, round(usual + grown))


# --- both ----------------------------------------------------------------------------------------


def unruled(samples: Sequence[Sample]) -> list[str]:
    """Return the tables of which no rule says how they are bounded."""
    seen = {f"central {name}" for each in samples for name in each.central}
    seen |= {f"edge {name}" for each in samples for name in each.edge}
    return sorted(seen - RULES.keys())


def unjudged(samples: Sequence[Sample], times: Times, met: Met) -> list[str]:
    """Return the kinds of programs and the tables of which the run was too short to tell."""
    kinds = {kind_of(each.name) for each in slopes(samples)}
    tables = {each.table for each in bounds(samples, times, met)}
    return [f"memory of {kind}" for kind in KINDS if kind not in kinds] + [
        table for table in RULES if table not in tables
    ]

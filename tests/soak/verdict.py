"""Whether memory was flat and tables bounded, as the samples tell. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.soak.samples import Sample
    from tests.soak.system import Times

#: A process starts, fills its caches, and has then the size that it keeps.
WARM_UP_S: Final = 90.0
#: With fewer samples of one life of a process a slope says nothing.
SAMPLES_MIN: Final = 10
#: What a process may grow, were it to go on like that for ten minutes: the larger of the two. An
#: agent lets 50,000 objects gather before it looks for cycles among them, and its page cache grows
#: with its store, to 16 MiB; tests/integration/test_agent_memory.py looks at what it holds itself.
GROWTH_MB: Final = 6.0
#: The servers are not ours: a heap of Go doubles before it is swept, sessions come and go.
SERVERS: Final = ("broker", "postgres")
GROWTH_OF_SERVERS_MB: Final = 25.0
GROWTH_SHARE: Final = 0.12
GROWTH_OVER_S: Final = 600.0
#: By how much more of a table there may be at the end than there was before.
TABLE_GROWTH: Final = 1.5
TABLE_SLACK_ROWS: Final = 200


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
        least = GROWTH_OF_SERVERS_MB if self.name in SERVERS else GROWTH_MB
        return max(least, GROWTH_SHARE * self.median_mb)

    @property
    def flat(self) -> bool:
        """Tell whether it was."""
        return self.growth_mb <= self.allowed_mb


@dataclass(frozen=True, slots=True)
class Bound:
    """How large a table was in the middle of the run, and at its end."""

    table: str
    before: int
    after: int

    @property
    def held(self) -> bool:
        """Tell whether it stopped growing."""
        return self.after <= TABLE_GROWTH * self.before + TABLE_SLACK_ROWS


def slopes(samples: Sequence[Sample], *, warm_up_s: float = WARM_UP_S) -> list[Slope]:
    """Return the slope of each life of a process that was long enough to have one."""
    lives: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        for name, process in sample.processes.items():
            lives[name, process.pid].append((sample.at_s, process.own))
    found = []
    for (name, _), points in lives.items():
        warm = [point for point in points if point[0] >= points[0][0] + warm_up_s]
        if len(warm) >= SAMPLES_MIN:
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


def kept_for(times: Times) -> dict[str, float]:
    """Return how long rows of each table stay, in seconds, with a minute until upkeep comes."""
    minute = 60.0
    return {
        "central applied": 2 * times.feed_s + minute,
        "central feed": times.feed_s + minute,
        "central version": 1.2 * times.versions_s + 2 * minute,
        "central deleted heads": 1.2 * times.versions_s + 2 * minute,
        "central conflicts": times.history_s + minute,
        "central overwritten": times.history_s + 1.2 * times.versions_s + 2 * minute,
        "edge out": times.safe_s + minute + 30.0,
        "edge conflicts": times.history_s + minute,
        # Deletions stay at a site for 90 days, which no run sees: they are not judged.
    }


def bounds(samples: Sequence[Sample], times: Times) -> list[Bound]:
    """Return what was seen of the tables of which rows have come of age twice over."""
    found = []
    for table, kept_s in kept_for(times).items():
        rows = list(_rows(samples, table))
        end = rows[-1][0] if rows else 0.0
        middle = [count for at, count in rows if kept_s <= at < kept_s + (end - kept_s) / 2]
        last = [count for at, count in rows if at >= kept_s + (end - kept_s) / 2]
        if end >= 2 * kept_s and middle and last:
            found.append(Bound(table, max(middle), max(last)))
    return found


def _rows(samples: Sequence[Sample], table: str) -> Iterator[tuple[float, int]]:
    end, name = table.split(" ", 1)
    for sample in samples:
        counts: Mapping[str, int] = sample.central if end == "central" else sample.edge
        if name in counts:
            yield sample.at_s, counts[name]


def left_over(last: Sample) -> list[str]:
    """Return the tables that must be empty when all has settled, and are not."""
    empty = {"central": ("part", "touched", "waiting", "extra", "refused")}
    empty["edge"] = ("pending", "shadow", "in", "logs", "extra")
    return [
        f"{end} {name} holds {count} rows"
        for end, names in empty.items()
        for name in names
        if (count := (last.central if end == "central" else last.edge).get(name, 0))
    ]

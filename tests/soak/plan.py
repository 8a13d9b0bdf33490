"""What goes wrong when: a schedule of faults that follows from a seed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


class Kind(StrEnum):
    """A kind of fault."""

    KILL_AGENT = "kill_agent"
    PAUSE_AGENT = "pause_agent"
    CUT_LINK = "cut_link"
    KILL_INGEST = "kill_ingest"
    PAUSE_INGEST = "pause_ingest"
    KILL_FEED = "kill_feed"
    PAUSE_FEED = "pause_feed"
    KILL_BROKER = "kill_broker"
    PAUSE_BROKER = "pause_broker"
    KILL_POSTGRES = "kill_postgres"
    RESTART_POSTGRES = "restart_postgres"
    PURGE_UP = "purge_up"
    PURGE_DOWN = "purge_down"


#: How often each comes, in comparison, and how long it lasts, in seconds.
_WEIGHTS: Final[dict[Kind, tuple[int, tuple[float, float]]]] = {
    Kind.KILL_AGENT: (6, (0.5, 8.0)),
    Kind.PAUSE_AGENT: (4, (2.0, 12.0)),
    Kind.CUT_LINK: (6, (2.0, 20.0)),
    Kind.KILL_INGEST: (4, (0.2, 6.0)),
    Kind.PAUSE_INGEST: (2, (2.0, 14.0)),
    Kind.KILL_FEED: (3, (0.2, 6.0)),
    Kind.PAUSE_FEED: (2, (2.0, 10.0)),
    Kind.KILL_BROKER: (2, (0.5, 4.0)),
    Kind.PAUSE_BROKER: (2, (1.0, 8.0)),
    Kind.KILL_POSTGRES: (1, (0.5, 4.0)),
    Kind.RESTART_POSTGRES: (1, (0.5, 3.0)),
    Kind.PURGE_UP: (2, (0.0, 0.0)),
    Kind.PURGE_DOWN: (2, (0.0, 0.0)),
}
#: Faults of a site; the others hit the centre or the broker.
OF_SITE: Final = (Kind.KILL_AGENT, Kind.PAUSE_AGENT, Kind.CUT_LINK, Kind.PURGE_UP)
_TARGETS: Final = {
    Kind.KILL_INGEST: "ingest", Kind.PAUSE_INGEST: "ingest", Kind.KILL_FEED: "feed",
    Kind.PAUSE_FEED: "feed", Kind.KILL_BROKER: "broker", Kind.PURGE_DOWN: "broker",
    Kind.PAUSE_BROKER: "broker",
    Kind.KILL_POSTGRES: "postgres", Kind.RESTART_POSTGRES: "postgres",
}  # fmt: skip


#: From this long on a run is to judge every kind of program and every table, in seconds.
JUDGED_FROM_S: Final = 600.0
#: Between these parts of such a run no program is killed of which there is but one.
QUIET: Final = (0.2, 0.8)
_KILLS: Final = (
    Kind.KILL_AGENT, Kind.KILL_INGEST, Kind.KILL_FEED, Kind.KILL_BROKER, Kind.KILL_POSTGRES,
    Kind.RESTART_POSTGRES,
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault: from when, for how long, in seconds since the start, of what."""

    at_s: float
    kind: Kind
    target: str
    lasts_s: float

    @property
    def ends_s(self) -> float:
        """Return when it is over."""
        return self.at_s + self.lasts_s


def schedule(
    chance: random.Random, *, seconds: float, sites: Sequence[str], workers: int
) -> list[Fault]:
    """Return the faults of a run in order: of every kind one, then as chance has it.

    They come about once in ``gap`` seconds, so that the system is also seen to catch up, and no two
    hit the same thing at a time. A program has to live for a while before its memory tells
    anything: in a run that is to judge it one agent and one worker are never killed, and feed,
    broker and PostgreSQL are left alone for the longest part of it, but for pauses.
    """
    gap_s = 4.0 if seconds >= 120 else 2.5
    kinds, weights = list(_WEIGHTS), [weight for weight, _ in _WEIGHTS.values()]
    first = chance.sample(kinds, len(kinds))
    faults: list[Fault] = []
    free_at: dict[str, float] = {}
    at = 2.0
    while at < seconds - 4.0:
        is_first = bool(first)
        kind = first.pop() if is_first else chance.choices(kinds, weights)[0]
        target = _target(chance, kind, sites, workers)
        lasts = min(chance.uniform(*_WEIGHTS[kind][1]), seconds / 6)
        if free_at.get(target, 0.0) <= at and not _is_spared(kind, target, at, seconds, sites):
            faults.append(Fault(round(at, 2), kind, target, round(lasts, 2)))
            free_at[target] = at + lasts + 1.0
        elif is_first:
            first.insert(0, kind)
        at += chance.uniform(0.4, 1.6) * gap_s
    return faults


def _is_spared(kind: Kind, target: str, at: float, seconds: float, sites: Sequence[str]) -> bool:
    if seconds < JUDGED_FROM_S or kind not in _KILLS:
        return False
    if kind in (Kind.KILL_AGENT, Kind.KILL_INGEST):
        return target in (sites[0], "ingest-1")
    return QUIET[0] * seconds <= at < QUIET[1] * seconds


def _target(chance: random.Random, kind: Kind, sites: Sequence[str], workers: int) -> str:
    if kind in OF_SITE:
        return chance.choice(sites)
    name = _TARGETS[kind]
    return f"{name}-{chance.randint(1, workers)}" if name == "ingest" else name

"""The report of a run, for programs and for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.soak.plan import JUDGED_FROM_S, Kind
from tests.soak.tables import RULES, AtMost, Empty, Met, Stays
from tests.soak.verdict import (
    GROWTH_LONG_MB,
    GROWTH_MB,
    GROWTH_OF_SERVERS_MB,
    GROWTH_OVER_S,
    GROWTH_SHARE,
    TABLE_GROWTH,
    TABLE_SLACK_ROWS,
    WARM_UP_S,
    bounds,
    rows_of,
    slopes,
    unjudged,
    unruled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.plan import Fault
    from tests.soak.samples import Sample
    from tests.soak.tables import Rule, Times

SLOPES_SHOWN = 12


@dataclass(slots=True)
class Report:
    """Everything that a run has found out."""

    seed: int
    seconds: float
    sites: int
    times: Times
    faults: list[Fault] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    #: What must not be; empty in a good run.
    violations: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Tell whether nothing was violated."""
        return not self.violations

    @property
    def met(self) -> Met:
        """Return what the run has met."""
        starts = (Kind.KILL_POSTGRES, Kind.RESTART_POSTGRES)
        return Met(
            sites=self.sites, at_s=self.seconds,
            writes=self.samples[-1].writes if self.samples else 0, faults=len(self.faults),
            lives=sum(fault.kind in starts for fault in self.faults),
            safe_s=self.times.safe_s,
        )  # fmt: skip

    def judge(self) -> None:
        """Add what the samples violate."""
        self.violations += [
            f"{slope.name} grows by {slope.growth_mb:.1f} MB in ten minutes,"
            f" {slope.allowed_mb:.1f} are allowed"
            for slope in slopes(self.samples)
            if not slope.flat
        ]
        self.violations += [
            f"{bound.table} holds {bound.seen:.0f} rows, {bound.allowed:.0f} are allowed"
            for bound in bounds(self.samples, self.times, self.met)
            if not bound.held
        ]
        self.violations += [
            f"nobody says how {table} is bounded" for table in unruled(self.samples)
        ]
        if self.seconds >= JUDGED_FROM_S:
            self.violations += [f"{what} was not judged" for what in self.unjudged]

    @property
    def unjudged(self) -> list[str]:
        """Return of what the run says nothing."""
        return unjudged(self.samples, self.times, self.met)

    def document(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "schema": "mes-sync.soak/v1",
            "passed": self.passed,
            "violations": self.violations,
            "seed": self.seed,
            "seconds": self.seconds,
            "sites": self.sites,
            "kept_s": asdict(self.times),
            "figures": self.figures,
            "faults": [asdict(each) for each in self.faults],
            "slopes": [asdict(each) | {"flat": each.flat} for each in slopes(self.samples)],
            "bounds": [
                asdict(each) | {"held": each.held}
                for each in bounds(self.samples, self.times, self.met)
            ],
            "unjudged": self.unjudged,
            "samples": [asdict(each) for each in self.samples],
        }

    def text(self) -> str:
        """Return the report for people, in Markdown."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# Soak: {'passed' if self.passed else 'FAILED'}"
        yield ""
        yield (
            f"{self.sites} sites, {self.seconds / 60:.1f} minutes of load and faults, seed"
            f" {self.seed}. Repeat it: `make soak MINUTES={self.seconds / 60:g}"
            f" SITES={self.sites} SEED={self.seed}`."
        )
        yield ""
        yield from (f"- **violated**: {each}" for each in self.violations)
        yield from (f"- {name}: {value}" for name, value in self.figures.items())
        yield from self._faults()
        yield from self._memory()
        yield from self._tables()

    def _faults(self) -> Iterator[str]:
        yield from ("", "## Faults", "", "| kind | times | seconds |", "|---|---|---|")
        times = Counter(each.kind for each in self.faults)
        for kind, count in sorted(times.items()):
            lasted = sum(each.lasts_s for each in self.faults if each.kind == kind)
            yield f"| {kind} | {count} | {lasted:.0f} |"

    def _memory(self) -> Iterator[str]:
        yield from ("", "## Memory", "")
        found = slopes(self.samples)
        yield (
            f"{len(found)} lives of processes were long enough to be judged, each from"
            f" {WARM_UP_S:.0f} s and a third of its life after its start. Flat is a growth of at"
            f" most {GROWTH_MB:.0f} MB in ten minutes, or {GROWTH_SHARE:.0%} of its size;"
            f" {GROWTH_LONG_MB} MB where it was looked at for {GROWTH_OVER_S / 60:.0f} minutes;"
            f" {GROWTH_OF_SERVERS_MB:.0f} MB of broker and PostgreSQL. From"
            f" {JUDGED_FROM_S / 60:.0f} minutes on one program of each kind is not killed for most"
            " of the run. Own memory, in MB; what grew most:"
        )
        yield from ("", "| process | median | most | growth in 10 min | allowed | samples |")
        yield "|---|---|---|---|---|---|"
        for each in found[:SLOPES_SHOWN]:
            yield (
                f"| {each.name} | {each.median_mb:.1f} | {each.most_mb:.1f} | {each.growth_mb:+.1f}"
                f" | {each.allowed_mb:.1f} | {each.samples} |"
            )

    def _tables(self) -> Iterator[str]:
        yield from ("", "## Bookkeeping", "")
        yield (
            "Rows, those of all sites together. What has a time to be kept is judged from when rows"
            f" have come of age: until the end it may grow by {TABLE_GROWTH:.0%} of what there"
            f" usually is, and {TABLE_SLACK_ROWS}. Other tables have a number, or are empty in the"
            " end."
        )
        yield from ("", "| table | at the end | most | bound | seen | allowed |")
        yield "|---|---|---|---|---|---|"
        judged = {each.table: each for each in bounds(self.samples, self.times, self.met)}
        for table, rule in RULES.items():
            counts = [count for _, count in rows_of(self.samples, table)]
            if counts:
                bound = judged.get(table)
                seen = f"{bound.seen:.0f} | {bound.allowed:.0f}" if bound else "not judged | "
                said = _said(rule, self.times)
                yield f"| {table} | {counts[-1]} | {max(counts)} | {said} | {seen} |"
        if self.unjudged:
            yield from ("", f"**Not judged**, for want of time: {', '.join(self.unjudged)}.")


def _said(rule: Rule, times: Times) -> str:
    if isinstance(rule, Stays):
        return f"{rule.kept_s(times):.0f} s"
    if isinstance(rule, AtMost):
        return "a number"
    return "none in the end" if isinstance(rule, Empty) else "as at first"

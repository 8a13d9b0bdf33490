"""The report of a run, for programs and for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.soak.verdict import (
    GROWTH_MB,
    GROWTH_OF_SERVERS_MB,
    GROWTH_SHARE,
    TABLE_GROWTH,
    TABLE_SLACK_ROWS,
    WARM_UP_S,
    bounds,
    kept_for,
    slopes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.plan import Fault
    from tests.soak.samples import Sample
    from tests.soak.system import Times

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

    def judge(self) -> None:
        """Add what the samples violate."""
        for slope in slopes(self.samples):
            if not slope.flat:
                self.violations.append(
                    f"{slope.name} grows by {slope.growth_mb:.1f} MB in ten minutes,"
                    f" {slope.allowed_mb:.1f} are allowed"
                )
        for bound in bounds(self.samples, self.times):
            if not bound.held:
                self.violations.append(
                    f"{bound.table} had {bound.before} rows, and then {bound.after}"
                )

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
                asdict(each) | {"held": each.held} for each in bounds(self.samples, self.times)
            ],
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
            f" {WARM_UP_S:.0f} s after its start. Flat is a growth of at most {GROWTH_MB:.0f} MB in"
            f" ten minutes, or {GROWTH_SHARE:.0%} of its size; {GROWTH_OF_SERVERS_MB:.0f} MB of"
            " broker and PostgreSQL. Own memory, in MB; what grew most:"
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
        judged = {each.table: each for each in bounds(self.samples, self.times)}
        yield (
            "Rows, those of all sites together. What has a time to be kept is judged when rows have"
            f" come of age twice over: at the end there may be {TABLE_GROWTH} times as many as"
            f" before, and {TABLE_SLACK_ROWS}."
        )
        yield from ("", "| table | at the end | most | kept, s | middle of the run | then |")
        yield "|---|---|---|---|---|---|"
        kept = kept_for(self.times)
        last = self.samples[-1] if self.samples else None
        for end in ("central", "edge"):
            for name in getattr(last, end, {}):
                counts = [
                    n for each in self.samples if (n := getattr(each, end).get(name)) is not None
                ]
                table = f"{end} {name}"
                bound = judged.get(table)
                seen = f"{bound.before} | {bound.after}" if bound else " | "
                time = f"{kept[table]:.0f}" if table in kept else ""
                yield f"| {table} | {counts[-1]} | {max(counts)} | {time} | {seen} |"

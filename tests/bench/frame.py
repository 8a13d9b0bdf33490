"""The frame of the benchmarks: pairs run in turn, ratios with their spread, and their keeping.

A measure is a number with a unit, or a pair of runs whose ratio counts. The two sides of a pair run
in turn, so that what the machine does at the time meets both. The 95 % interval is that of the
median ratio, by bootstrap over the pairs with a fixed seed. A target is missed when the whole
interval lies on its wrong side, and met when the median is on the right one; between is "open".
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNS = 5
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Target:
    """What a measure must reach."""

    value: float
    #: Whether more is better (rates, ratios of rates) or less (times, bytes).
    at_least: bool = True

    def met_by(self, value: float) -> bool:
        """Return whether the value is on the right side."""
        return value >= self.value if self.at_least else value <= self.value


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several runs, with minimum and maximum."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of these values."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    name: str
    unit: str
    value: Spread
    #: What it is compared with, and that side's value in the same runs.
    reference: str = ""
    reference_value: Spread | None = None
    ratio: Spread | None = None
    #: 95 % interval of what the target is about: the ratio, or the value where there is none.
    interval: tuple[float, float] = (0.0, 0.0)
    target: Target | None = None
    note: str = ""

    @property
    def judged(self) -> float:
        """Return the number that the target is about."""
        return self.ratio.median if self.ratio else self.value.median

    @property
    def verdict(self) -> str:
        """Return met, missed, or open; "" without a target."""
        if self.target is None:
            return ""
        if not any(map(self.target.met_by, self.interval)):
            return "missed"
        return "met" if self.target.met_by(self.judged) else "open"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    chance = random.Random(20261126)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    return medians[int(_RESAMPLES * 0.025)], medians[int(_RESAMPLES * 0.975) - 1]


def paired(
    name: str, unit: str, ours: Callable[[], float], theirs: Callable[[], float], *,
    reference: str, target: Target, runs: int = RUNS, note: str = "",
) -> Result:  # fmt: skip
    """Run both sides in turn, after a warm-up of each, and return the result by its ratios."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(runs)]
    ratios = [mine / other for mine, other in pairs]
    return Result(
        name=name,
        unit=unit,
        value=Spread.of([mine for mine, _ in pairs]),
        reference=reference,
        reference_value=Spread.of([other for _, other in pairs]),
        ratio=Spread.of(ratios),
        interval=interval(ratios),
        target=target,
        note=note,
    )


def single(
    name: str, unit: str, values: Sequence[float], *, target: Target | None = None,
    reference: str = "", note: str = "",
) -> Result:  # fmt: skip
    """Return the result of runs that have no other side."""
    return Result(
        name=name, unit=unit, value=Spread.of(values), reference=reference,
        interval=interval(values), target=target, note=note,
    )  # fmt: skip


# --- keeping -----------------------------------------------------------------------------------


def machine() -> str:
    """Return the machine in one line."""
    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [
            s.split(":", 1)[1].strip() for s in cpu.read_text().splitlines() if "model name" in s
        ]
        model = names[0] if names else model
    return (
        f"{os.cpu_count()} cores, {model}, Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}"
    )


def keep(results: Sequence[Result], folder: Path) -> None:
    """Put the results into BENCHMARKS.json and the table of BENCHMARKS.md, beside those kept."""
    path = folder / "BENCHMARKS.json"
    kept = {line["name"]: line for line in json.loads(path.read_text())} if path.exists() else {}
    kept |= {result.name: as_line(result) for result in results}
    path.write_text(json.dumps(list(kept.values()), indent=1) + "\n")
    page = folder / "BENCHMARKS.md"
    text = page.read_text() if page.exists() else "# Benchmarks\n\n<!-- table -->\n<!-- end -->\n"
    before, rest = text.split("<!-- table -->", 1)
    after = rest.split("<!-- end -->", 1)[1]
    page.write_text(f"{before}<!-- table -->\n{table(list(kept.values()))}\n<!-- end -->{after}")


def as_line(result: Result) -> dict[str, object]:
    """Return the result as it stands in BENCHMARKS.json."""
    return {
        "name": result.name,
        "value": result.value.median,
        "unit": result.unit,
        "reference": result.reference,
        "ratio": result.ratio.median if result.ratio else None,
        "target": result.target.value if result.target else None,
        "met": {"met": True, "missed": False}.get(result.verdict),
        "verdict": result.verdict,
        "spread": asdict(result.value),
        "reference_spread": asdict(result.reference_value) if result.reference_value else None,
        "ratio_spread": asdict(result.ratio) if result.ratio else None,
        "interval_95": list(result.interval),
        "machine": machine(),
        "note": result.note,
    }


def table(lines: Sequence[dict[str, object]]) -> str:
    """Return the lines of BENCHMARKS.json as a Markdown table."""
    rows = [
        "| measure | value (min .. max) | against | ratio (95 % interval) | target | |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        spread: dict[str, float] = line["spread"]  # type: ignore[assignment]
        interval_95: tuple[float, float] = line["interval_95"]  # type: ignore[assignment]
        low, high = interval_95
        ratio = f"{line['ratio']:.2f} ({low:.2f} .. {high:.2f})" if line["ratio"] else ""
        target = "" if line["target"] is None else f"{line['target']:g}"
        rows.append(
            f"| {line['name']} | {number(spread['median'])} {line['unit']}"
            f" ({number(spread['low'])} .. {number(spread['high'])}) | {line['reference']}"
            f" | {ratio} | {target} | {line['verdict']} |"
        )
    return "\n".join(rows)


def number(value: float) -> str:
    """Return a number in three or so significant digits, thousands parted."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

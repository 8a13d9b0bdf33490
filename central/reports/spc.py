"""Control charts: points, centre lines and limits out of subgroups.

Pure. Limits come from a standard, which is estimated from the subgroups of the chart itself, or
from those of a baseline. Where subgroups differ in size, each has limits of its own; where all have
one size, the formulas are those of the tables: A2, A3, D3, D4, B3, B4. Where nothing varies there
are no limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import fsum, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

from central.reports.spc_constants import RANGE_SIZE_MAX, c4, d2, deviation_limits, range_limits
from central.reports.spc_rules import FAMILIES, Mark, violations
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from central.reports.spc_rules import Rule, Violation

#: Limits out of fewer subgroups are for a trial: ISO 7870-2, ASTM E2587 ask for 20 to 25.
SUBGROUPS_ENOUGH: Final = 20

_E2587: Final = "ISO 7870-2; ASTM E2587; NIST/SEMATECH e-Handbook 6.3"


class UnfitChart(SyncError):
    """The chart does not fit what was measured."""


class ChartType(StrEnum):
    """The charts, by what they are of."""

    I_MR = "i-mr"
    XBAR_R = "xbar-r"
    XBAR_S = "xbar-s"
    P = "p"
    NP = "np"
    C = "c"
    U = "u"


#: Of values that are measured; the others are of what is counted.
OF_VALUES: Final = frozenset({ChartType.I_MR, ChartType.XBAR_R, ChartType.XBAR_S})


@dataclass(frozen=True, slots=True)
class Counted:
    """A sample that was judged: ``n`` pieces, with so many bad ones or so many defects."""

    n: int
    found: int


@dataclass(frozen=True, slots=True)
class Standard:
    """What limits are made of: where the process stands, and how it varies by itself."""

    #: Mean of the values, share of the bad pieces, defects of a piece or of a sample.
    centre: float | None
    #: Within subgroups; None where it is unknown or nothing varies. Counts have none of their own.
    sigma: float | None = None
    #: Subgroups that it was estimated from.
    subgroups: int = 0


@dataclass(frozen=True, slots=True)
class Plotted:
    """A point of a chart with the lines at its place; None where there is none."""

    value: float | None
    centre: float | None = None
    lower: float | None = None
    upper: float | None = None
    #: Standard error of the point.
    error: float | None = None

    @property
    def mark(self) -> Mark | None:
        """Return the point as the rules see it."""
        if self.value is None:
            return None
        if self.centre is None or self.lower is None or self.upper is None:
            return Mark(self.value, None)
        z = (self.value - self.centre) / self.error if self.error else None
        return Mark(self.value, z, not self.lower <= self.value <= self.upper)


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart."""

    name: str
    points: tuple[Plotted, ...]
    formula: str
    #: Which rules tell something of it: of places, of counts, of spreads.
    fits: Callable[[Rule], bool]
    source: str = _E2587

    def violations(self, rules: Sequence[Rule]) -> list[Violation]:
        """Return which of the rules that fit the chart fire, and where."""
        marks = [point.mark for point in self.points]
        return violations(marks, [rule for rule in rules if self.fits(rule)])


def _any_rule(_: Rule) -> bool:
    return True


def _no_zones(rule: Rule) -> bool:
    return not rule.in_zones


def _limits_alone(rule: Rule) -> bool:
    return rule in (FAMILIES["nelson"][0], FAMILIES["western-electric"][0])


# --- what is measured ----------------------------------------------------------------------------

Values = tuple[float, ...]


def spread(subgroup: Values) -> float | None:
    """Return the range of a subgroup; None of a single value."""
    return max(subgroup) - min(subgroup) if len(subgroup) > 1 else None


def moving_ranges(values: Sequence[float]) -> list[float]:
    """Return the distance of each value from the one before."""
    return [abs(b - a) for a, b in pairwise(values)]


def sigma_within(chart: ChartType, subgroups: Sequence[Values]) -> float | None:
    """Return how values vary within subgroups; None where that is unknown, or they do not.

    I-MR: mean of the moving ranges / d2(2). Xbar-R: mean of R / d2(n). Xbar-S: mean of s / c4(n).
    For one size these are Rbar/d2 and sbar/c4. ISO 22400-2; ASTM E2587; NIST e-Handbook 6.3.2.
    """
    if chart is ChartType.I_MR:
        ranges = moving_ranges([value for subgroup in subgroups for value in subgroup])
        found = [each / d2(2) for each in ranges]
    elif chart is ChartType.XBAR_R:
        _check_sizes(subgroups)
        found = [(max(s) - min(s)) / d2(len(s)) for s in subgroups if len(s) > 1]
    else:
        found = [stdev(s) / c4(len(s)) for s in subgroups if len(s) > 1]
    return (fmean(found) or None) if found else None


def _check_sizes(subgroups: Sequence[Values]) -> None:
    if (largest := max(map(len, subgroups), default=0)) > RANGE_SIZE_MAX:
        raise UnfitChart(
            f"a chart of ranges has {RANGE_SIZE_MAX} values a subgroup at most, and one has"
            f" {largest}; ask for chart=xbar-s"
        )


def standard_of_values(chart: ChartType, subgroups: Sequence[Values]) -> Standard:
    """Return the standard that subgroups of values give."""
    values = [value for subgroup in subgroups for value in subgroup]
    centre = fmean(values) if values else None
    return Standard(centre, sigma_within(chart, subgroups), len(subgroups))


def charts_of_values(
    chart: ChartType, subgroups: Sequence[Values], standard: Standard
) -> tuple[Chart, Chart]:
    """Return the chart of places and the chart of spreads."""
    if chart is ChartType.I_MR:
        return _individuals(subgroups, standard), _moving_ranges(subgroups, standard)
    means = tuple(
        _symmetric(fmean(s), standard.centre, standard.sigma and standard.sigma / sqrt(len(s)))
        for s in subgroups
    )
    if chart is ChartType.XBAR_R:
        _check_sizes(subgroups)
        formula = "xbarbar -+ A2 Rbar, that is -+ 3 (Rbar/d2) / sqrt(n)"
        return Chart("xbar", means, formula, _any_rule), _ranges(subgroups, standard)
    formula = "xbarbar -+ A3 sbar, that is -+ 3 (sbar/c4) / sqrt(n)"
    return Chart("xbar", means, formula, _any_rule), _deviations(subgroups, standard)


def _individuals(subgroups: Sequence[Values], standard: Standard) -> Chart:
    values = [value for subgroup in subgroups for value in subgroup]
    points = tuple(_symmetric(value, standard.centre, standard.sigma) for value in values)
    return Chart("individuals", points, "xbar -+ 3 MRbar/d2(2) = xbar -+ 2.660 MRbar", _any_rule)


def _moving_ranges(subgroups: Sequence[Values], standard: Standard) -> Chart:
    values = [value for subgroup in subgroups for value in subgroup]
    ranges: list[float | None] = [None, *moving_ranges(values)] if values else []
    mean = standard.sigma and d2(2) * standard.sigma
    points = tuple(_asymmetric(each, mean, range_limits(2)) for each in ranges)
    return Chart("moving-range", points, "0 to D4(2) MRbar = 3.267 MRbar", _limits_alone)


def _ranges(subgroups: Sequence[Values], standard: Standard) -> Chart:
    points = tuple(
        _asymmetric(spread(s), standard.sigma and d2(len(s)) * standard.sigma, range_limits(len(s)))
        if len(s) > 1
        else Plotted(None)
        for s in subgroups
    )
    return Chart("range", points, "D3 Rbar to D4 Rbar", _limits_alone)


def _deviations(subgroups: Sequence[Values], standard: Standard) -> Chart:
    points = tuple(
        _asymmetric(
            stdev(s), standard.sigma and c4(len(s)) * standard.sigma, deviation_limits(len(s))
        )
        if len(s) > 1
        else Plotted(None)
        for s in subgroups
    )
    return Chart("s", points, "B3 sbar to B4 sbar", _limits_alone)


def _symmetric(value: float, centre: float | None, error: float | None) -> Plotted:
    if centre is None or error is None:
        return Plotted(value, centre)
    return Plotted(value, centre, centre - 3 * error, centre + 3 * error, error)


def _asymmetric(value: float | None, centre: float | None, factors: tuple[float, float]) -> Plotted:
    if centre is None:
        return Plotted(value)
    return Plotted(value, centre, factors[0] * centre, factors[1] * centre)


# --- what is counted -----------------------------------------------------------------------------

_FORMULAS: Final = {
    ChartType.P: "pbar -+ 3 sqrt(pbar (1 - pbar) / n), within 0 and 1",
    ChartType.NP: "n pbar -+ 3 sqrt(n pbar (1 - pbar)), within 0 and n",
    ChartType.C: "cbar -+ 3 sqrt(cbar), not below 0",
    ChartType.U: "ubar -+ 3 sqrt(ubar / n), not below 0",
}


def standard_of_counts(chart: ChartType, samples: Sequence[Counted]) -> Standard:
    """Return the standard that samples give: found / inspected, or for c found / samples."""
    found = fsum(sample.found for sample in samples)
    over = len(samples) if chart is ChartType.C else sum(sample.n for sample in samples)
    return Standard(found / over if over else None, None, len(samples))


def chart_of_counts(chart: ChartType, samples: Sequence[Counted], standard: Standard) -> Chart:
    """Return the chart of what is counted."""
    points = tuple(_counted(chart, sample, standard.centre) for sample in samples)
    return Chart(str(chart), points, _FORMULAS[chart], _no_zones)


def _counted(chart: ChartType, sample: Counted, rate: float | None) -> Plotted:
    n, found = sample.n, float(sample.found)
    value = found / n if chart in (ChartType.P, ChartType.U) else found
    if rate is None:
        return Plotted(value)
    match chart:
        case ChartType.P:
            centre, error, most = rate, sqrt(rate * (1 - rate) / n), 1.0
        case ChartType.NP:
            centre, error, most = n * rate, sqrt(n * rate * (1 - rate)), float(n)
        case ChartType.C:
            centre, error, most = rate, sqrt(rate), float("inf")
        case _:
            centre, error, most = rate, sqrt(rate / n), float("inf")
    if not error:
        return Plotted(value, centre)
    lower, upper = max(0.0, centre - 3 * error), min(most, centre + 3 * error)
    return Plotted(value, centre, lower, upper, error)

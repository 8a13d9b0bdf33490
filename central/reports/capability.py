"""Capability: how a process that varies as it does fits into its specification.

Pure. What is undefined is None, and why is told beside it: no limits, too few values, none varies.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil, log2
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS_MAX: Final = 100

_SOURCE: Final = "ISO 22400-2; NIST/SEMATECH e-Handbook 6.1.6"
_BOTH: Final = "(usl - lsl) / (6 {})"
_NEAREST: Final = "min(usl - xbar, xbar - lsl) / (3 {}); of the one limit where there is one"
WITHIN: Final = "sigma within subgroups"
OVERALL: Final = "s of all values"


@dataclass(frozen=True, slots=True)
class Specification:
    """Between what a value has to be; both are still within."""

    lower: float | None
    upper: float | None

    @property
    def wrong(self) -> str | None:
        """Why it can't be used; None where it can."""
        if self.lower is None and self.upper is None:
            return "there is no specification limit"
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            return "the lower specification limit is not below the upper one"
        return None


@dataclass(frozen=True, slots=True)
class Index:
    """One index of capability, with how it is made."""

    value: float | None
    formula: str
    #: Why there is no value.
    because: str | None = None
    source: str = _SOURCE


@dataclass(frozen=True, slots=True)
class Outside:
    """How many values the specification does not hold."""

    below: int
    above: int
    of: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins of one width; a value on an edge is in the bin above it, the greatest in the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


def overall(values: Sequence[float]) -> float | None:
    """Return s = sqrt(sum((x - xbar)^2) / (n - 1)); None of one value, or where none varies."""
    return (stdev(values) or None) if len(values) > 1 else None


def indices(
    values: Sequence[float], limits: Specification, within: float | None, *, of_one_machine: bool
) -> dict[str, Index]:
    """Return Cp, Cpk (by sigma within subgroups), Pp, Ppk, Cm and Cmk (by s of all values).

    Cm and Cmk are of one machine (ISO 22400-2): with values of several there are none.
    """
    s = overall(values)
    why = None if of_one_machine else "the values are of several machines; ask for one"
    return {
        "cp": _both(limits, within, WITHIN),
        "cpk": _nearest(values, limits, within, WITHIN),
        "pp": _both(limits, s, OVERALL),
        "ppk": _nearest(values, limits, s, OVERALL),
        "cm": _unless(why, _both(limits, s, OVERALL)),
        "cmk": _unless(why, _nearest(values, limits, s, OVERALL)),
    }


def _unless(why: str | None, index: Index) -> Index:
    return index if why is None else Index(None, index.formula, why)


def _both(limits: Specification, sigma: float | None, name: str) -> Index:
    formula = _BOTH.format(name)
    if why := _missing(limits, sigma):
        return Index(None, formula, why)
    if limits.lower is None or limits.upper is None:
        return Index(None, formula, "the specification is one-sided")
    assert sigma is not None
    return Index((limits.upper - limits.lower) / (6 * sigma), formula)


def _nearest(
    values: Sequence[float], limits: Specification, sigma: float | None, name: str
) -> Index:
    formula = _NEAREST.format(name)
    if why := _missing(limits, sigma):
        return Index(None, formula, why)
    assert sigma is not None
    mean = fmean(values)
    rooms = [
        *([limits.upper - mean] if limits.upper is not None else []),
        *([mean - limits.lower] if limits.lower is not None else []),
    ]
    return Index(min(rooms) / (3 * sigma), formula)


def _missing(limits: Specification, sigma: float | None) -> str | None:
    if sigma is None:
        return "too few values, or none of them varies"
    return limits.wrong


def outside(values: Sequence[float], limits: Specification) -> Outside:
    """Return how many values are below and above the specification."""
    below = sum(value < limits.lower for value in values) if limits.lower is not None else 0
    above = sum(value > limits.upper for value in values) if limits.upper is not None else 0
    return Outside(below, above, len(values))


def histogram(values: Sequence[float], bins: int | None = None) -> Histogram:
    """Return how values are spread, by Sturges' rule where no number of bins is given.

    Bins = 1 + log2(n), rounded up; Sturges 1926.
    """
    if not values:
        return Histogram((), ())
    low, high = min(values), max(values)
    number = min(bins or ceil(log2(len(values)) + 1), BINS_MAX)
    edges = [low + (high - low) * k / number for k in range(number)]
    if len(set(edges)) < number:  # nothing varies, or by less than floats tell apart
        return Histogram((low, high), (len(values),))
    counts = [0] * number
    for value in values:
        counts[bisect_right(edges, value) - 1] += 1
    return Histogram((*edges, high), tuple(counts))

"""The constants of control charts, for any size of a subgroup.

Those of ranges have no closed form beyond five values, so they are integrated; ``c4`` has one.
Published tables (ASTM E2587, table 1; Montgomery, Introduction to Statistical Quality Control,
appendix VI) round them, and a few of their last digits differ: here is what they round.
"""

from __future__ import annotations

from functools import cache
from math import exp, lgamma, pi, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Ranges say little of subgroups that are larger: published tables end here, and so do we.
RANGE_SIZE_MAX: Final = 25
_NORMAL: Final = NormalDist()
#: Beyond so many standard deviations there is less than a float tells apart from nothing.
_FAR: Final = 9.0
_STEP: Final = 0.1
_GRID: Final = tuple(-_FAR + _STEP * k for k in range(round(2 * _FAR / _STEP) + 1))
_BELOW: Final = tuple(_NORMAL.cdf(x) for x in _GRID)


def c4(n: int) -> float:
    """Return the mean of s of n values of a normal distribution, over its sigma.

    c4 = sqrt(2 / (n - 1)) Gamma(n / 2) / Gamma((n - 1) / 2); NIST e-Handbook 6.3.2.
    """
    _check(n)
    return sqrt(2 / (n - 1)) * exp(lgamma(n / 2) - lgamma((n - 1) / 2))


@cache
def d2(n: int) -> float:
    """Return the mean of the range of n values of a normal distribution, over its sigma.

    d2 = integral of 1 - (1 - F(x))^n - F(x)^n over x; Tippett 1925.
    """
    _check(n, RANGE_SIZE_MAX)
    # The rule of trapezoids is exact to the last digits for what vanishes smoothly at both ends.
    return _STEP * sum(1 - (1 - f) ** n - f**n for f in _BELOW)


@cache
def d3(n: int) -> float:
    """Return the standard deviation of the range of n values of a normal distribution.

    d3^2 = E(W^2) - d2^2, and E(W^2) = 2 x integral of w P(W > w) over w, where
    P(W <= w) = n x integral of f(x) (F(x + w) - F(x))^(n - 1) over x; Tippett 1925, Hartley 1942.
    """
    square = 2 * _simpson(lambda w: w * (1 - _range_below(w, n)), 2 * _FAR)
    return sqrt(square - d2(n) ** 2)


def _range_below(w: float, n: int) -> float:
    density = (exp(-x * x / 2) / sqrt(2 * pi) for x in _GRID)
    inside = (max(_NORMAL.cdf(x + w) - f, 0.0) for x, f in zip(_GRID, _BELOW, strict=True))
    return _STEP * n * sum(p * q ** (n - 1) for p, q in zip(density, inside, strict=True))


def _simpson(curve: Callable[[float], float], end: float) -> float:
    """Return the integral of a curve from 0 to ``end``."""
    steps = round(end / _STEP)
    heights = [curve(_STEP * k) for k in range(steps + 1)]
    inner = 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
    return _STEP / 3 * (heights[0] + inner + heights[-1])


def a2(n: int) -> float:
    """Return A2 = 3 / (d2 sqrt(n)): limits of means out of ranges; ASTM E2587."""
    return 3 / (d2(n) * sqrt(n))


def a3(n: int) -> float:
    """Return A3 = 3 / (c4 sqrt(n)): limits of means out of standard deviations; ASTM E2587."""
    return 3 / (c4(n) * sqrt(n))


def range_limits(n: int) -> tuple[float, float]:
    """Return D3 and D4 = 1 -+ 3 d3 / d2, none below 0: limits of ranges; ASTM E2587."""
    width = 3 * d3(n) / d2(n)
    return max(0.0, 1 - width), 1 + width


def deviation_limits(n: int) -> tuple[float, float]:
    """Return B3 and B4 = 1 -+ 3 sqrt(1 - c4^2) / c4, none below 0: limits of s; ASTM E2587."""
    width = 3 * sqrt(1 - c4(n) ** 2) / c4(n)
    return max(0.0, 1 - width), 1 + width


def _check(n: int, n_max: float = float("inf")) -> None:
    if not 2 <= n <= n_max:
        raise ValueError(f"a subgroup has 2 to {n_max} values, not {n}")

"""From planned time to OEE: what is lost to standstill, to speed and to quality, one after another.

Pure. All that is shown is an answer of ``/v1/reports``: times in minutes, and the key figures that
``central.reports.kpis`` defines. A loss below zero is a rate or a count that is wrong, and is shown
as it is; what is undefined is shown as undefined with its reason, never as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from central.reports.kpis import KPIS
from central.web.columns import Column, Figure, column
from central.web.rendering import figure

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The times that are left, each shorter by a loss than the one before it.
LEVELS: Final = ("planned_min", "run_min", "ideal_min", "ideal_good_min")
LOSSES: Final = ("availability_loss", "performance_loss", "quality_loss")
FIGURES: Final = ("availability", "effectiveness", "quality_ratio", "oee", "teep")
#: All that has to be asked for.
MEASURES: Final = (
    *LEVELS, "produced_min", "calendar_time_min", "qty_good", "qty_produced", "qty_unrated",
    *FIGURES, *LOSSES,
)  # fmt: skip
_NO_PLAN: Final = "no working time is planned in the shift calendar"
_NO_RATE: Final = "no rate is known for what was produced"
_UNKNOWN: Final = {
    "planned_min": _NO_PLAN, "run_min": _NO_PLAN, "ideal_min": _NO_RATE, "ideal_good_min": _NO_RATE,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A time that is left, or a loss: where its bar begins and ends, as shares of the longest."""

    column: Column
    is_loss: bool
    minutes: float | None
    #: Of planned time.
    share: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Losses and figures of one row."""

    steps: tuple[Step, ...]
    figures: tuple[Figure, ...]
    #: What makes the figures too low, too high, or not what they seem.
    warnings: tuple[str, ...]


def waterfall(row: Mapping[str, Any]) -> Waterfall:
    """Return what an answer of ``MEASURES`` without groups tells."""
    return Waterfall(
        tuple(_steps(row)),
        tuple(Figure(column(name), row[name], because(row, name)) for name in FIGURES),
        tuple(_warnings(row)),
    )


def because(row: Mapping[str, Any], name: str) -> str:
    """Return why a key figure of a row is undefined; "" where it has a value."""
    if row[name] is not None:
        return ""
    for part in KPIS[name].measures:
        if part in row and row[part] is None:
            return _UNKNOWN.get(part, f"{part} is unknown")
    return f"{KPIS[name].under} is 0"


def _steps(row: Mapping[str, Any]) -> list[Step]:
    most = max(float(row[name] or 0) for name in LEVELS) or 1.0
    share = 1.0 if row[LEVELS[0]] else None
    steps = [_left(row, LEVELS[0], most, share)]
    for loss, (before, after) in zip(LOSSES, pairwise(LEVELS), strict=True):
        ends = [row[before], row[after]]
        known = None not in ends
        low, high = (each(ends) / most for each in (min, max)) if known else (0.0, 0.0)
        minutes = row[before] - row[after] if known else None
        steps.append(Step(
            column=column(loss), is_loss=True, minutes=minutes, share=row[loss], low=low, high=high,
        ))  # fmt: skip
        share = share - row[loss] if None not in (share, row[loss]) else None
        steps.append(_left(row, after, most, share))
    return steps


def _left(row: Mapping[str, Any], name: str, most: float, share: float | None) -> Step:
    return Step(
        column=column(name), is_loss=False, minutes=row[name], share=share, low=0.0,
        high=float(row[name] or 0) / most,
    )  # fmt: skip


def _warnings(row: Mapping[str, Any]) -> list[str]:
    found = []
    if row["qty_unrated"]:
        found.append(
            f"{figure(row['qty_unrated'])} pieces have no rate: performance and OEE are too low."
        )
    outside = row["produced_min"] - (row["run_min"] or 0)
    if outside > 0 and row["run_min"] is not None:
        found.append(
            f"{figure(float(outside))} min of production are of machines for which nothing is"
            " planned: their pieces count and their time does not, so OEE is too high. Plan them,"
            " or filter for machines that are planned."
        )
    if row["performance_loss"] is not None and row["performance_loss"] < 0:
        found.append("More was produced than the rates allow: a rate or a count is wrong.")
    return found

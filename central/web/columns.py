"""Columns of answers as people read them: a label, a unit, and the words of their definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.kpis import (
    DISTINCTS,
    FIGURES,
    INTERVAL_MEASURES,
    MACHINE_MEASURES,
    MEASURES,
    MEASURES_OF_STATES,
)
from central.reports.kpis_of_orders import (
    MEASURES_OF_ORDERS,
    MEASURES_OF_TIMES,
    MEASURES_OF_WIP,
)
from central.reports.states import DIMENSIONS_OF_STATES, TIMELINE

#: How columns are called on pages; any other by its own name.
_LABELS: Final = {
    "qty_good": "Good", "qty_scrap": "Scrap", "qty_rework": "Rework", "qty_mrb": "MRB",
    "qty_produced": "Produced", "qty_ordered": "Ordered", "fill": "Good / ordered",
    "fpy": "FPY", "fpy_without_rework": "FPY without rework", "mttr_min": "MTTR",
    "mtbf_min": "MTBF", "breakdown_min": "Breakdown time", "breakdowns": "Breakdowns",
    "elapsed_min": "Reported time", "busy_min": "Busy", "calendar_min": "Of",
    "operating_min": "Operating time", "cum_share": "Cumulative", "wip_end": "At the day's end",
    "active": "At any time of the day", "mean_h": "Mean", "median_h": "Median",
    "p90_h": "90 % within", "min_h": "Shortest", "max_h": "Longest", "sum_h": "Sum",
    "setup_min": "Setup time", "production_min": "Production time", "oee": "OEE", "teep": "TEEP",
    "effectiveness": "Performance", "planned_min": "Planned time",
    "run_min": "Production in planned time", "produced_min": "Production time",
    "ideal_min": "Time its pieces need", "ideal_good_min": "Time its good pieces need",
    "qty_unrated": "Pieces without a rate", "calendar_time_min": "Calendar time",
    "state_min": "Time in it", "state_share": "Share of known time", "known_min": "Known time",
    "entered": "Times entered", "failures": "Failures", "unmapped_min": "Unmapped time",
    "pbt_min": "Planned and known time", "state_availability": "Availability",
    "state_technical_efficiency": "Technical efficiency",
    "state_utilization_efficiency": "Utilization efficiency",
    "state_allocation_efficiency": "Allocation efficiency", "state_mtbf_min": "MTBF",
    "state_mttr_min": "MTTR", "due_at": "Due", "finished_at": "Finished", "late_h": "Late by",
    "mean_late_h": "Mean lateness", "qty_made": "Made", "orders_open": "Not finished",
    "on_time_delivery": "On-time delivery", "on_time_in_full": "On time in full",
    "busy_h": "Busy", "production_h": "Production time",
}  # fmt: skip
#: What is shown beside what no key figure and no measure tells.
_ABOUT: Final = {
    "share": "Of the sum of all groups", "cum_share": "This one and those above it",
}  # fmt: skip
#: What several know by one name is told in the words of the last.
_MEASURES: Final = (
    MEASURES_OF_ORDERS | MEASURES_OF_TIMES | MEASURES_OF_WIP | MEASURES_OF_STATES
    | INTERVAL_MEASURES | MACHINE_MEASURES | MEASURES | DISTINCTS
)  # fmt: skip
#: Columns that name things or instants.
_NAMES: Final = (
    {"day", "first_start", "last_end"} | DIMENSIONS.keys() | BUCKETS.keys()
    | DIMENSIONS_OF_STATES.keys() | (TIMELINE.keys() - MEASURES_OF_STATES.keys())
)  # fmt: skip
_UNITS: Final = {"share": "ratio", "cum_share": "ratio"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer, as people read it."""

    name: str
    label: str
    #: ``ratio`` is shown in per cent; empty for what is no number.
    unit: str
    is_number: bool
    #: What it is, by which formula and from where; empty for names of things.
    about: str = ""
    formula: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure with its value, or why it has none."""

    column: Column
    value: float | None
    because: str


def column(name: str) -> Column:
    """Return how a column is shown, in the very words of its definition."""
    if name in _NAMES:
        return Column(name, name.replace("_", " ").capitalize(), "", is_number=False)
    label = _LABELS.get(name, name.removesuffix("_min").replace("_", " ").capitalize())
    if name in FIGURES:
        kpi = FIGURES[name]
        return Column(
            name, label, kpi.unit, is_number=True, about=kpi.about, formula=kpi.formula,
            source=kpi.source,
        )  # fmt: skip
    if measure := _MEASURES.get(name):
        is_number = measure.unit != "instant"
        unit = measure.unit if is_number else ""
        return Column(name, label, unit, is_number, about=measure.about)
    unit = _UNITS.get(name) or ("min" if name.endswith("_min") else "")
    return Column(name, label, unit, is_number=True, about=_ABOUT.get(name, ""))

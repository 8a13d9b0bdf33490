"""The reports that people ask for by name: what each shows where nothing else is said.

Pure. All are one kind of question, so each can be grouped, filtered, sorted and cut as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from central.reports.question import Basis


@dataclass(frozen=True, slots=True)
class Preset:
    """A report, and what it shows by itself."""

    name: str
    about: str
    measures: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    bucket: str | None = None
    sort: str = ""
    share_of: str | None = None
    nonzero: str | None = None
    basis: Basis = Basis.END


_PIECES: Final = ("qty_good", "qty_scrap", "qty_rework", "qty_mrb", "qty_produced")

PRESETS: Final = (
    Preset("output", "What was made: pieces and minutes", ("reports", *_PIECES, "elapsed_min")),
    Preset("quality", "Quality, scrap and rework ratios", (*_PIECES, "quality_ratio",
           "scrap_ratio", "rework_ratio")),
    Preset("scrap", "Scrap Pareto: where it comes from, the most first",
           ("qty_scrap", "qty_produced", "scrap_ratio"), ("segment",), None, "-qty_scrap",
           "qty_scrap", "qty_scrap"),
    Preset("rework", "Rework Pareto: where it comes from, the most first",
           ("qty_rework", "qty_produced", "rework_ratio"), ("segment",), None, "-qty_rework",
           "qty_rework", "qty_rework"),
    Preset("fpy", "First pass yield of the operations that inspect: filter for them",
           ("qty_good", "qty_scrap", "qty_mrb", "qty_produced", "fpy", "fpy_without_rework"),
           ("material",)),
    Preset("downtime", "Downtime Pareto of breakdowns: minutes and number, the longest first",
           ("breakdowns", "breakdown_min", "mttr_min"), ("machine",), None, "-breakdown_min",
           "breakdown_min", "breakdowns"),
    Preset("reliability", "MTBF and MTTR of machines that broke down",
           ("breakdowns", "breakdown_min", "operating_min", "mtbf_min", "mttr_min"), ("machine",),
           None, "-breakdown_min", None, "breakdowns"),
    Preset("setup", "Setup ratio, and how reported time is shared out",
           ("setup_min", "production_min", "breakdown_min", "setup_ratio", "production_share"),
           ("machine",)),
    Preset("oee", "OEE of machines with availability, effectiveness and quality; ask for days",
           ("planned_min", "run_min", "ideal_min", "qty_good", "qty_produced", "qty_unrated",
            "availability", "effectiveness", "quality_ratio", "oee", "teep"), ("machine",)),
    Preset("utilisation", "Minutes in which a machine was busy at all, of those of the day",
           ("busy_min", "calendar_min", "utilisation"), ("machine",), "day", "", None, "busy_min",
           Basis.CLIP),
    Preset("workers", "What each person reported",
           ("reports", "qty_good", "qty_scrap", "elapsed_min"), ("person",)),
    Preset("fulfilment", "Good over ordered quantity of orders: filter for the operation that"
           " counts", ("qty_ordered", "qty_good", "fill"), ("order",)),
    Preset("benchmark", "Sites side by side, by the same definitions",
           ("qty_good", "qty_produced", "quality_ratio", "scrap_ratio", "setup_ratio",
            "breakdowns", "mttr_min"), ("site",), None, "-quality_ratio"),
)  # fmt: skip

#: Those of orders by their due dates, which are a question of their own (``due``).
DUE_PRESETS: Final = (
    Preset("orders", "Progress and lateness of orders that are due then, the latest first",
           ("due_at", "finished_at", "qty_ordered", "qty_made", "progress", "orders_open",
            "orders_late", "late_h"), ("order",), None, "-late_h"),
    Preset("on-time", "On-time delivery of orders that are due then, and how late others are",
           ("orders", "orders_open", "orders_due", "orders_on_time", "on_time_delivery",
            "orders_late", "mean_late_h", "orders_in_full", "on_time_in_full")),
)  # fmt: skip

#: Those of states of machines by their events, which are a question of their own (``states``).
STATE_PRESETS: Final = (
    Preset("machine-states", "Time that machines were in each state, by the events of their states",
           ("state_min", "state_share", "entered"), ("machine", "state"), None,
           "machine,-state_min"),
)  # fmt: skip

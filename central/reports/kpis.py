"""What reports count, and the key figures made of it: each formula once, with its source.

Pure. A measure adds up over reports of production, so a rollup can keep it and any grouping can sum
it. A key figure is a ratio of such sums, never a mean of ratios; where its denominator is zero or
unknown it is undefined, which is null and not 0. The same words that compute a figure are shown
beside it, in the API's documentation and on the dashboard.

Sources: ISO 22400-2:2014 as ``ARCHITECTURE.md`` tells (time model and names); what is marked "not
ISO" is in common use.
"""

from __future__ import annotations

from typing import Final

from central.reports.figures import ISO, Distinct, Kpi, Measure
from central.reports.kpis_of_orders import (
    KPIS_OF_ORDERS,
    KPIS_OF_TIMES,
    MEASURES_OF_ORDERS,
    MEASURES_OF_TIMES,
    MEASURES_OF_WIP,
)


def _minutes(name: str, column: str, about: str, report_type: str = "") -> Measure:
    chosen = f" FILTER (WHERE k.report_type = '{report_type}')" if report_type else ""
    return Measure(
        name, f"coalesce(sum(k.{column}){chosen}, 0) / 60", about, "min", bool(report_type)
    )


def _pieces(name: str, column: str, about: str) -> Measure:
    return Measure(name, f"coalesce(sum(k.{column}), 0)", about)


MEASURES: Final = {
    each.name: each
    for each in (
        Measure("reports", "sum(k.reports)", "Reports of production", "count"),
        _pieces("qty_good", "qty_good", "Good quantity (GQ), of each operation that reported"),
        _pieces("qty_scrap", "qty_scrap", "Scrap quantity (SQ)"),
        _pieces("qty_rework", "qty_rework", "Rework quantity (RQ), within the good one"),
        _pieces("qty_mrb", "qty_mrb", "Quantity that waits for the material review board"),
        Measure(
            "qty_produced", "coalesce(sum(k.qty_good + k.qty_scrap + k.qty_mrb), 0)",
            "Produced quantity (PQ): good, scrap and what waits for the review board",
        ),
        _minutes("elapsed_min", "elapsed_s", "From start to end of each report"),
        _minutes("recorded_min", "known_s", "The same where somebody noted how long it took"),
        _minutes("span_min", "recorded_s", "Durations as they were noted beside the interval"),
        _minutes("production_min", "elapsed_s", "Actual production time (APT)", "PRODUCTION"),
        _minutes("setup_min", "elapsed_s", "Actual unit setup time (AUST)", "SETUP"),
        _minutes("breakdown_min", "elapsed_s", "Time to repair (TTR)", "BREAKDOWN"),
        _minutes("breakdown_span_min", "recorded_s", "The same as it was noted", "BREAKDOWN"),
        Measure(
            "breakdowns",
            "coalesce(sum(k.reports) FILTER (WHERE k.report_type = 'BREAKDOWN'), 0)",
            "Failure events (FE)", "count", by_type=True,
        ),
        Measure(
            "operating_min",
            "coalesce(sum(k.elapsed_s) FILTER (WHERE k.report_type IN ('PRODUCTION', 'SETUP')), 0)"
            " / 60",
            "Operating time: production and setup (AUPT)", "min", by_type=True,
        ),
    )
}  # fmt: skip

#: What takes no time to make: where nothing was made, and not where nobody knows how long it takes.
_NOTHING_MADE: Final = "CASE WHEN coalesce(sum(k.unrated), 0) = 0 THEN 0 END"
#: What only the days of machines tell, with planned time and rates (see ``machine_days``).
MACHINE_MEASURES: Final = {
    each.name: each
    for each in (
        Measure("planned_min", "sum(k.planned_s) / 60",
                "Planned busy time (PBT): working time of the shift calendar without breaks and"
                " planned stops, until the moment through which the site is complete; null where"
                " nothing is planned", "min"),
        Measure("run_min", "sum(k.run_s) / 60",
                "Actual production time (APT) of machines for which time is planned", "min"),
        Measure("produced_min", "coalesce(sum(k.produced_s), 0) / 60",
                "Actual production time (APT): in which a machine produced at all", "min"),
        Measure("ideal_min", f"coalesce(sum(k.ideal_s), {_NOTHING_MADE}) / 60",
                "PRI x PQ: in which what was produced could have been made; null where no rate is"
                " known of it", "min"),
        Measure("ideal_good_min", f"coalesce(sum(k.ideal_good_s), {_NOTHING_MADE}) / 60",
                "PRI x GQ: in which what was good could have been made", "min"),
        Measure("qty_unrated", "coalesce(sum(k.unrated), 0)",
                "Pieces without a planned run time: where there are any, effectiveness and OEE are"
                " too low"),
        Measure("calendar_time_min", "sum(k.calendar_s) / 60",
                "All time of those days, until the moment through which the site is complete",
                "min"),
    )
}  # fmt: skip


def _minutes_of(ranges: str) -> str:
    return (
        "(SELECT coalesce(sum(extract(epoch FROM upper(one) - lower(one))), 0) / 60"
        f" FROM unnest({ranges}) AS one)"
    )


#: What only intervals tell: two reports of one machine at once make it busy once.
INTERVAL_MEASURES: Final = {
    each.name: each
    for each in (
        Measure("busy_min", _minutes_of("range_agg(k.busy)"),
                "Minutes in which anything of the group was busy, overlaps once", "min"),
        Measure("calendar_min", f"nullif({_minutes_of('range_agg(k.calendar)')}, 0)",
                "Minutes of the window, or of the piece of time", "min"),
    )
}  # fmt: skip

#: Counted and summed once for each order, machine or person, however many reports it has.
DISTINCTS: Final = {
    each.name: each
    for each in (
        Distinct("orders", "order", "Orders that were reported on"),
        Distinct("machines", "machine", "Machines that reported"),
        Distinct("persons", "person", "People who reported"),
        Distinct("segments", "segment", "Operations that were reported"),
        Distinct("materials", "material", "Parts that were made"),
        Distinct("sites", "site", "Sites that reported"),
    )
}
#: What was ordered: each order once.
QTY_ORDERED: Final = "qty_ordered"

KPIS: Final = {
    each.name: each
    for each in (
        Kpi("quality_ratio", "qty_good", "qty_produced", "Quality ratio: GQ / PQ", ISO),
        Kpi("scrap_ratio", "qty_scrap", "qty_produced", "Scrap ratio: SQ / PQ", ISO),
        Kpi("rework_ratio", "qty_rework", "qty_produced", "Rework ratio: RQ / PQ", ISO),
        Kpi("fpy", "qty_good", "qty_produced",
            "First pass yield: GP / IP, good over inspected parts; ask for the operations that"
            " inspect", ISO),
        Kpi("fpy_without_rework", "qty_good - qty_rework", "qty_produced - qty_rework",
            "The same of first attempts: without parts that an inspection passed after rework,"
            " above and below", ISO),
        Kpi("setup_ratio", "setup_min", "setup_min + production_min",
            "Setup ratio: AUST / AUPT", ISO),
        Kpi(
            "production_share", "production_min", "setup_min + production_min + breakdown_min",
            "Share of production in all reported time", "not ISO",
        ),
        Kpi("technical_efficiency", "production_min", "production_min + breakdown_min",
            "Technical efficiency: APT / (APT + ADET)", ISO),
        Kpi("mttr_min", "breakdown_min", "breakdowns", "Mean time to repair: sum of TTR / FE", ISO,
            "min"),
        Kpi("mtbf_min", "operating_min", "breakdowns",
            "Mean operating time between failures: sum of TBF / FE", ISO, "min"),
        Kpi(
            "mtbf_fe1_min", "operating_min", "breakdowns + 1",
            "The same over FE + 1, as some renderings of the standard have it (not confirmed)",
            ISO, "min",
        ),
        Kpi("availability", "run_min", "planned_min", "Availability: APT / PBT", ISO),
        Kpi("effectiveness", "ideal_min", "produced_min",
            "Effectiveness, or performance: PRI x PQ / APT; above 1 a rate or a count is wrong",
            ISO),
        Kpi("oee", "ideal_good_min", "planned_min",
            "OEE: availability x effectiveness x quality ratio = PRI x GQ / PBT", ISO),
        Kpi("teep", "ideal_good_min", "calendar_time_min",
            "TEEP: OEE x PBT / calendar time = PRI x GQ / calendar time", "not ISO"),
        Kpi("availability_loss", "planned_min - run_min", "planned_min",
            "Availability loss: planned time without production, (PBT - APT) / PBT", "not ISO"),
        Kpi("performance_loss", "run_min - ideal_min", "planned_min",
            "Performance loss: production that took longer than planned for its pieces,"
            " (APT - PRI x PQ) / PBT; below 0 a rate or a count is wrong", "not ISO"),
        Kpi("quality_loss", "ideal_min - ideal_good_min", "planned_min",
            "Quality loss: time for pieces that were not good, PRI x (PQ - GQ) / PBT; with OEE and"
            " the other two losses it makes 1", "not ISO"),
        Kpi("utilisation", "busy_min", "calendar_min",
            "Utilisation: time in which anything was reported, over all time", "not ISO"),
        Kpi("throughput_rate", "qty_produced", "elapsed_min",
            "Pieces a reported minute: of two reports at once the minutes of both; no PQ / AOET",
            "not ISO", "pieces/min"),
        Kpi("fill", "qty_good", QTY_ORDERED,
            "Good quantity over ordered quantity; ask for the operation that counts",
            "not ISO"),
    )
}  # fmt: skip

# --- of states of machines ------------------------------------------------------------------------


def _in_state(name: str, which: str, about: str, column: str = "held_s") -> Measure:
    chosen = f" FILTER (WHERE {which})" if which else ""
    return Measure(name, f"coalesce(sum(k.{column}){chosen}, 0) / 60", about, "min")


def _in_element(element: str, name: str, about: str) -> Measure:
    return _in_state(name, f"k.element = '{element}'", about)


_IS_PLANNED: Final = "k.planned_s IS NOT NULL AND k.element"
#: What is counted of states by their events; ``k`` has a state's time in each row (see ``states``).
MEASURES_OF_STATES: Final = {
    each.name: each
    for each in (
        _in_state("state_min", "", "Time in the states, as far as it is known"),
        Measure("known_min", "sum(sum(k.known_s)) OVER {of_all} / 60",
                "Time of which the state is known, of all states: from the first event of a machine"
                " until the moment through which its site is complete", "min"),
        Measure("entered", "coalesce(sum(k.entered), 0)",
                "How often a machine went into the state; an event that repeats it does not count",
                "count"),
        _in_element("APT", "apt_min", "Actual production time (APT)"),
        _in_element("AUST", "aust_min", "Actual unit setup time (AUST)"),
        _in_element("ADET", "adet_min", "Actual unit delay time (ADET): failures and minor stops"),
        _in_element("ADOT", "adot_min", "Actual unit down time (ADOT): ready, and without work"),
        _in_element("PLANNED", "planned_stop_min", "Planned down time, by state or reason"),
        _in_element("UNSCHEDULED", "unscheduled_min", "Time in which nobody means to produce"),
        _in_element("UNMAPPED", "unmapped_min",
                    "Time in states that no element of the time model stands for"),
        Measure("failures", "coalesce(sum(k.failed), 0)",
                "Failure events (FE): how often a machine went into a state of failure", "count"),
        _in_state("ttr_min", "k.is_failure", "Time to repair (TTR): time in states of failure"),
        Measure("pbt_min",
                "sum(k.planned_s) FILTER (WHERE k.element NOT IN ('PLANNED', 'UNSCHEDULED')) / 60",
                "Planned busy time (PBT) within the known time: planned time without what was a"
                " planned stop by state or reason; null where nothing is planned", "min"),
        _in_state("apt_planned_min", f"{_IS_PLANNED} = 'APT'",
                  "Actual production time (APT) of machines for which time is planned"),
        _in_state("aubt_planned_min", f"{_IS_PLANNED} IN ('APT', 'AUST', 'ADET')",
                  "Actual unit busy time (AUBT = APT + AUST + ADET) of such machines"),
    )
}  # fmt: skip

KPIS_OF_STATES: Final = {
    each.name: each
    for each in (
        Kpi("state_share", "state_min", "known_min", "Share of the known time", "not ISO"),
        Kpi("state_technical_efficiency", "apt_min", "apt_min + adet_min",
            "Technical efficiency by states: APT / (APT + ADET)", ISO),
        Kpi("state_utilization_efficiency", "apt_min", "apt_min + aust_min + adet_min",
            "Utilization efficiency by states: APT / AUBT", ISO),
        Kpi("state_allocation_efficiency", "aubt_planned_min", "pbt_min",
            "Allocation efficiency by states: AUBT / PBT; above 1 where work went on outside of"
            " planned time", ISO),
        Kpi("state_availability", "apt_planned_min", "pbt_min",
            "Availability by states: APT / PBT", ISO),
        Kpi("state_mtbf_min", "apt_min + aust_min", "failures",
            "Mean operating time between failures by states: AUPT / FE", ISO, "min"),
        Kpi("state_mttr_min", "ttr_min", "failures",
            "Mean time to repair by states: sum of TTR / FE", ISO, "min"),
    )
}  # fmt: skip

#: Everything that is counted, as it is told.
COUNTED: Final[tuple[Measure | Distinct, ...]] = (
    *MEASURES.values(), *MACHINE_MEASURES.values(), *INTERVAL_MEASURES.values(),
    *DISTINCTS.values(), *MEASURES_OF_ORDERS.values(), *MEASURES_OF_TIMES.values(),
    *MEASURES_OF_WIP.values(), *MEASURES_OF_STATES.values(),
)  # fmt: skip
#: Every key figure, by its name.
FIGURES: Final = KPIS | KPIS_OF_ORDERS | KPIS_OF_TIMES | KPIS_OF_STATES

"""What reports count of orders, and the key figures made of it: by due dates, times, under way.

Pure; as ``kpis`` has all others.
"""

from __future__ import annotations

from typing import Final

from central.reports.figures import ISO, Kpi, Measure


def _orders(name: str, which: str, about: str) -> Measure:
    return Measure(name, f"count(*) FILTER (WHERE k.{which})", about, "count")


def _ordered(name: str, column: str, about: str) -> Measure:
    return Measure(name, f"sum(k.{column}) FILTER (WHERE NOT k.is_cancelled)", about)


#: What is counted of orders by their due dates; ``k`` has an order in each row (see ``due``).
MEASURES_OF_ORDERS: Final = {
    each.name: each
    for each in (
        Measure("due_at", "min(k.due_at)", "When the first of them is due", "instant"),
        Measure("finished_at", "max(k.finished_at)",
                "When the last of them was finished: its end as it was noted, else that of its last"
                " report", "instant"),
        Measure("orders", "count(*) FILTER (WHERE NOT k.is_cancelled)",
                "Orders, without those that were cancelled before work on them began", "count"),
        _orders("orders_cancelled", "is_cancelled", "Orders that were cancelled before that"),
        _orders("orders_open", "is_open", "Orders that are not finished"),
        _orders("orders_due", "is_due",
                "Orders that had to be finished by now, and those that were finished before"),
        _orders("orders_on_time", "is_on_time", "Of those due: finished by their due date"),
        _orders("orders_late", "is_late",
                "Of those due: finished after their due date, or not yet"),
        _orders("orders_counted", "is_counted",
                "Of those due: whose good quantity is known, by an output operation"),
        _orders("orders_in_full", "is_in_full",
                "Of those counted: finished on time with all pieces that were ordered"),
        Measure("late_h", "coalesce(sum(k.late_s) FILTER (WHERE k.is_late), 0) / 3600",
                "Time from due dates to the end of late orders, of unfinished ones until now", "h"),
        _ordered("qty_ordered", "qty_ordered", "Ordered quantity of each order, once"),
        _ordered("qty_made", "qty_made",
                 "Good quantity at output operations; null where none is known"),
        _ordered("qty_to_make", "qty_to_make",
                 "Ordered quantity of orders whose output operation is known"),
    )
}  # fmt: skip

KPIS_OF_ORDERS: Final = {
    each.name: each
    for each in (
        Kpi("on_time_delivery", "orders_on_time", "orders_due",
            "On-time delivery: orders finished by their due date, of those due", "not ISO"),
        Kpi("on_time_in_full", "orders_in_full", "orders_counted",
            "On time in full: the same with all pieces that were ordered", "not ISO"),
        Kpi("mean_late_h", "late_h", "orders_late", "Mean lateness of late orders", "not ISO", "h"),
        Kpi("progress", "qty_made", "qty_to_make",
            "Progress: good quantity at output operations over ordered quantity", "not ISO"),
    )
}  # fmt: skip

_LIFE_H: Final = "k.life_s / 3600"
_LIFE: Final = "from an order's first start to its last end, by its reports"


def _within(share: str) -> str:
    return f"percentile_cont({share}) WITHIN GROUP (ORDER BY {_LIFE_H})"


#: Of what orders took, by their reports (see ``orders``).
MEASURES_OF_TIMES: Final = {
    each.name: each
    for each in (
        Measure("mean_h", f"avg({_LIFE_H})", f"Mean time {_LIFE}", "h"),
        Measure("median_h", _within("0.5"),
                f"Median of the times {_LIFE}, by linear interpolation", "h"),
        Measure("p90_h", _within("0.9"),
                f"The time within which are 90 % of those {_LIFE}, by linear interpolation", "h"),
        Measure("min_h", f"min({_LIFE_H})", f"The shortest time {_LIFE}", "h"),
        Measure("max_h", f"max({_LIFE_H})", f"The longest time {_LIFE}", "h"),
        Measure("sum_h", "sum(k.life_s) / 3600",
                "Order execution time (AOET): from first start to last end", "h"),
        Measure("busy_h", "coalesce(sum(k.busy_s), 0) / 3600",
                "Actual unit busy time (AUBT): reported production, setup and breakdowns", "h"),
        Measure("production_h", "coalesce(sum(k.production_s), 0) / 3600",
                "Actual production time (APT)", "h"),
    )
}  # fmt: skip

KPIS_OF_TIMES: Final = {
    each.name: each
    for each in (
        Kpi("allocation_ratio", "busy_h", "sum_h",
            "Allocation ratio: sum of AUBT / AOET; above 1 where machines worked at once", ISO),
        Kpi("production_process_ratio", "production_h", "sum_h",
            "Production process ratio: sum of APT / AOET; may exceed 1", ISO),
    )
}  # fmt: skip

#: Of orders under way; ``{ends}`` is the end of a business day (see ``orders``).
MEASURES_OF_WIP: Final = {
    each.name: each
    for each in (
        Measure("wip_end", "count(*) FILTER (WHERE k.last_end >= {ends})",
                "Orders that were started and not finished when the day ended", "count"),
        Measure("active", "count(k.first_start)",
                "Orders that were under way at any instant of the day", "count"),
        Measure("wip", "count(k.first_start)",
                "Orders that were started and not finished at the instant", "count"),
    )
}  # fmt: skip

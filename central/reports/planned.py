"""The time that is planned for each machine, by the shift calendar.

Pure. Planned busy time (PBT of ISO 22400-2) is working time without breaks, planned stops and
holidays. Whatever stands for a machine itself goes before what stands for its line, and that before
what stands for the site, on each business day by itself: a machine with a shift of its own on
Saturday works the site's shifts on the other days. What takes time away is taken, whoever it stands
for. An entry is of the business day that it names, else of the one in which it begins; one that
names none and lasts longer than a day is of each of its days as far as it lies in them.

Where nothing at all stands within the window, planned time is unknown and not zero.
"""

from __future__ import annotations

from typing import Final

from central.reports.dimensions import JOINS, LINE
from central.rollups import BEGINS, DAY_OF

#: Entries so far before and after a window may be of a business day that touches it.
_MARGIN: Final = "interval '2 days'"
_DAY: Final = "interval '1 day'"
_WHOLE: Final = f"tstzrange({BEGINS.format(day='n.day')}, {BEGINS.format(day='(n.day::date + 1)')})"


def planned_time(sites: str, begins: str, ends: str) -> str:
    """Return the query of the working time of each machine; null where nothing is known of it.

    ``begins`` and ``ends`` give the window as instants, of a site's day ``z``. It may hold working
    time beside the window, as far as that is of a business day that touches it.
    """
    entries = _entries(sites, begins, ends)
    machines = _machines(sites)
    return (
        f"WITH c AS MATERIALIZED ({entries}), e AS MATERIALIZED ({machines})"
        " SELECT d.site_id, d.id, CASE WHEN bool_or(d.is_within) THEN"
        " coalesce(range_agg(d.work), '{}') - coalesce(range_agg(d.off), '{}') END AS planned"
        f" FROM ({_DAYS}) AS d GROUP BY 1, 2"
    )


def _entries(sites: str, begins: str, ends: str) -> str:
    """Return the query of what stands in the calendar, by whom it is for and business days."""
    starts = f"greatest(r.starts_at, w.begins - {_MARGIN})"
    first = f"coalesce(r.business_date, {DAY_OF.format(at=starts)})"
    last = DAY_OF.format(at=f"least(r.ends_at, w.ends + {_MARGIN})")
    is_cut = f"(r.business_date IS NULL AND r.ends_at - r.starts_at > {_DAY})"
    span = "tstzrange(r.starts_at, r.ends_at)"
    return (
        "SELECT r.site_id, r.equipment_id,"
        " CASE WHEN r.equipment_id IS NULL THEN r.line END AS line, n.day,"
        " range_agg(n.span) FILTER (WHERE r.entry_type = 'WORK') AS work,"
        " range_agg(n.span) FILTER (WHERE r.entry_type <> 'WORK') AS off,"
        " bool_or(n.span && tstzrange(w.begins, w.ends)) AS is_within"
        f" FROM ({_windows(sites, begins, ends)}) AS w"
        " JOIN mes.shift_calendar AS r ON r.site_id = w.site_id AND r.starts_at < r.ends_at"
        f" AND r.starts_at < w.ends + {_MARGIN} AND r.ends_at > w.begins - {_MARGIN}"
        " CROSS JOIN LATERAL (SELECT w.zone, w.day_start) AS z"
        f" CROSS JOIN LATERAL (SELECT n.day::date AS day, CASE WHEN {is_cut}"
        f" THEN {span} * {_WHOLE} ELSE {span} END AS span FROM generate_series("
        f"({first})::timestamp, (CASE WHEN {is_cut} THEN {last} ELSE {first} END)::timestamp,"
        f" {_DAY}) AS n(day)) AS n"
        f" WHERE r.site_id IN ({sites}) GROUP BY 1, 2, 3, 4"
    )


def _windows(sites: str, begins: str, ends: str) -> str:
    """Return the query of the window of each site, by its own days."""
    return (
        f"SELECT z.*, {begins} AS begins, {ends} AS ends FROM (SELECT s.site_id,"
        " coalesce(d.zone, 'UTC') AS zone, coalesce(d.day_start, '00:00'::time) AS day_start"
        f" FROM unnest(ARRAY[{sites}]::text[]) AS s(site_id)"
        " LEFT JOIN sync.site_day AS d ON d.site = s.site_id) AS z"
    )


def _machines(sites: str) -> str:
    line = LINE.format(of="equipment_code")
    return (
        "SELECT e.site_id, e.id,"
        f" CASE WHEN e.level = 'LINE' THEN e.equipment_code ELSE {line} END AS line"
        f" FROM mes.equipment AS e {JOINS['line'].format(sites=sites)}"
        f" WHERE e.site_id IN ({sites})"
    )


#: Of each machine and business day: the work that goes before other, and all that is taken away.
_DAYS: Final = (
    "SELECT k.site_id, k.id, k.day,"
    " (array_agg(k.work ORDER BY k.level) FILTER (WHERE k.work IS NOT NULL))[1] AS work,"
    " range_agg(k.off) AS off, bool_or(k.is_within) AS is_within FROM ("
    "SELECT e.site_id, e.id, c.day, 1 AS level, c.work, c.off, c.is_within"
    " FROM e JOIN c ON c.site_id = e.site_id AND c.equipment_id = e.id"
    " UNION ALL SELECT e.site_id, e.id, c.day, 2, c.work, c.off, c.is_within"
    " FROM e JOIN c ON c.site_id = e.site_id AND c.line = e.line"
    " UNION ALL SELECT e.site_id, e.id, c.day, 3, c.work, c.off, c.is_within"
    " FROM e JOIN c ON c.site_id = e.site_id AND c.equipment_id IS NULL AND c.line IS NULL"
    ") AS k GROUP BY 1, 2, 3"
)

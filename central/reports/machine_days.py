"""What each machine did on each business day, against what was planned and what was possible.

Pure. The time model of ISO 22400-2: planned busy time (PBT) is the working time of the shift
calendar without breaks, planned stops and holidays; actual production time (APT) is time in which
the machine produced at all, so two people at one machine do not make it longer than it was; what
was possible is planned run time an item (PRI) times pieces. All are cut at the day, which may have
23 or 25 hours, so they add up to weeks, months and sites.

Where nothing is planned for a machine, its planned time is unknown and not zero. A calendar entry
of a machine goes before those of its line, these before those of the site; breaks and stops of all
three count. Of several rates of a machine the one that names operation and part goes before one
that names neither, a later one before an earlier one.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from central.reports.clipped import DAY_OF
from central.reports.known import facts
from central.reports.kpis import KPIS, MACHINE_MEASURES, MEASURES
from central.reports.question import BadQuestion
from central.reports.sources import in_months
from central.rollups import AT, DAY, OUTPUT, SITE_DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from central.reports.question import Question

#: Days, and what can be asked of machines: what is not of a machine has no planned time.
DAYS_MAX: Final = 400
OF_MACHINES: Final = ("site", "region", "line", "machine", "machine_class")

_BEGINS: Final = "(({day})::date + z.day_start) AT TIME ZONE z.zone"
#: The seconds of a multirange.
_SECONDS: Final = (
    "(SELECT coalesce(sum(extract(epoch FROM upper(o) - lower(o))), 0) FROM unnest({}) AS o)"
)
_RATE: Final = (
    " LEFT JOIN mes.work_orders AS w ON w.site_id = r.site_id AND w.id = r.work_order_id"
    " AND w.site_id IN ({sites})"
    " LEFT JOIN LATERAL (SELECT q.pri_s FROM mes.equipment_rates AS q"
    " WHERE q.equipment_id = r.equipment_id AND q.effective_from <= {at}"
    " AND coalesce(q.effective_to > {at}, true)"
    " AND coalesce(q.segment_code = r.segment_code, q.segment_code IS NULL)"
    " AND coalesce(q.material_code = w.material_code, q.material_code IS NULL)"
    " ORDER BY q.segment_code IS NULL, q.material_code IS NULL, q.effective_from DESC LIMIT 1"
    ") AS rate ON true"
)


def machine_days(question: Question, sites: str, take: Callable[[object], str]) -> str:
    """Return the query of machines by days; raise BadQuestion where it can't be asked for.

    It gives the sums of all reports, and beside them ``planned_s``, ``run_s`` (production of
    machines for which time is planned), ``produced_s``, ``ideal_s``, ``ideal_good_s``,
    ``unrated`` (pieces without a rate) and ``calendar_s``.
    """
    _check(question)
    first, last = (f"{take(day)}::date" for day in (question.window.start, question.window.end))
    source, months = facts(question), in_months(question)
    sums = ", ".join(f"coalesce(x.{each.name}, 0) AS {each.name}" for each in OUTPUT)
    planned = _SECONDS.format("c.planned * multirange(t.whole)")
    whole = f"tstzrange({_BEGINS.format(day='n.day')}, {_BEGINS.format(day='n.day::date + 1')})"
    days = f"generate_series({first}::timestamp, {last}::timestamp - interval '1 day', '1 day')"
    same = "{0}.site_id = z.site_id AND {0}.equipment_id = z.id AND {0}.day = t.day"
    return (
        f"SELECT z.site_id, z.id AS equipment_id, t.day, {sums},"
        f" CASE WHEN z.is_leaf AND c.planned IS NOT NULL THEN {planned} END AS planned_s,"
        f" CASE WHEN c.planned IS NOT NULL THEN {_SECONDS.format('y.busy')} END AS run_s,"
        f" {_SECONDS.format('y.busy')} AS produced_s, x.ideal_s,"
        " x.ideal_good_s, coalesce(x.unrated, 0) AS unrated,"
        " extract(epoch FROM upper(t.whole) - lower(t.whole)) AS calendar_s"
        f" FROM ({_machines(sites)}) AS z"
        f" CROSS JOIN LATERAL (SELECT n.day::date AS day, {whole} AS whole"
        f" FROM {days} AS n(day)) AS t"
        f" LEFT JOIN ({_planned(sites)}) AS c ON c.site_id = z.site_id AND c.id = z.id"
        f" LEFT JOIN ({_busy(source, sites, first, last, months)}) AS y ON {same.format('y')}"
        f" LEFT JOIN ({_done(source, sites, first, last, months)}) AS x ON {same.format('x')}"
        " WHERE z.is_leaf OR x.reports > 0 OR y.busy IS NOT NULL"
    )


def _check(question: Question) -> None:
    window = question.window
    for name in (*question.group_by, *(each.dimension for each in question.filters)):
        if name not in OF_MACHINES:
            raise BadQuestion(name, f"of machines: one of {', '.join(OF_MACHINES)}")
    known = {name for name, each in MEASURES.items() if not each.by_type}
    known |= {*MACHINE_MEASURES, "machines", "sites"}
    for name in question.measures:
        parts = KPIS[name].measures if name in KPIS else (name,)
        if not known.issuperset(parts):
            raise BadQuestion("measures", f"{name} can't be told beside planned time and rates")
    if question.bucket in ("hour", "hour_of_day"):
        raise BadQuestion("bucket", "a day or longer")
    if not isinstance(window.start, date) or not isinstance(window.end, date) or window.by_instant:
        raise BadQuestion("from", "a first day, and in `to` the one after the last")
    if (window.end - window.start).days > DAYS_MAX:
        raise BadQuestion("to", f"at most {DAYS_MAX} days after from")


def _machines(sites: str) -> str:
    """Return the query of all equipment; a line's time is that of the machines in it."""
    return (
        "SELECT e.site_id, e.id, NOT EXISTS (SELECT FROM mes.equipment AS b WHERE"
        f" b.site_id = e.site_id AND b.parent_id = e.id AND b.site_id IN ({sites})) AS is_leaf,"
        " coalesce(d.zone, 'UTC') AS zone,"
        " coalesce(d.day_start, '00:00'::time) AS day_start FROM mes.equipment AS e"
        " LEFT JOIN sync.site_day AS d ON d.site = e.site_id"
        f" WHERE e.site_id IN ({sites})"
    )


def _planned(sites: str) -> str:
    """Return the query of the working time of each machine; null where none is planned."""
    of_site = "c.equipment_id IS NULL AND c.line IS NULL"
    of_line = "c.equipment_id IS NULL AND c.line = l.equipment_code"
    of_machine = "c.equipment_id = e.id"
    work = "range_agg(tstzrange(c.starts_at, c.ends_at)) FILTER (WHERE c.entry_type {} AND ({}))"
    levels = ", ".join(work.format("= 'WORK'", each) for each in (of_machine, of_line, of_site))
    off = work.format("<> 'WORK'", f"{of_machine} OR {of_line} OR {of_site}")
    return (
        f"SELECT e.site_id, e.id, coalesce({levels}) - coalesce({off}, '{{}}') AS planned"
        " FROM mes.equipment AS e LEFT JOIN mes.equipment AS l"
        f" ON l.site_id = e.site_id AND l.id = e.parent_id AND l.site_id IN ({sites})"
        " JOIN mes.shift_calendar AS c ON c.site_id = e.site_id AND c.starts_at < c.ends_at"
        f" AND ({of_machine} OR {of_line} OR {of_site})"
        f" WHERE e.site_id IN ({sites}) AND c.site_id IN ({sites}) GROUP BY 1, 2"
    )


def _busy(source: str, sites: str, first: str, last: str, months: str) -> str:
    """Return the query of when machines produced, by days."""
    day_of = f"{DAY_OF.format(at='{}')}::timestamp"
    begins = f"greatest({day_of.format('r.started_at')}, {first}::timestamp)"
    ends = f"least({day_of.format('r.ended_at')}, {last}::timestamp - interval '1 day')"
    whole = f"tstzrange({_BEGINS.format(day='n.day')}, {_BEGINS.format(day='n.day::date + 1')})"
    return (
        "SELECT r.site_id, r.equipment_id, n.day::date AS day,"
        f" range_agg(tstzrange(r.started_at, r.ended_at) * {whole}) AS busy"
        f" FROM {source} AS r{SITE_DAY}"
        f" CROSS JOIN LATERAL generate_series({begins}, {ends}, '1 day') AS n(day)"
        f" WHERE r.site_id IN ({sites}) AND r.report_type = 'PRODUCTION'"
        f" AND r.started_at < r.ended_at{months} GROUP BY 1, 2, 3"
    )


def _done(source: str, sites: str, first: str, last: str, months: str) -> str:
    """Return the query of what ended on each day, and in which time it could have been made."""
    sums = ", ".join(f"sum({each.of}) AS {each.name}" for each in OUTPUT)
    made = "(r.qty_good + r.qty_scrap + r.qty_mrb)"
    return (
        f"SELECT r.site_id, r.equipment_id, {DAY.of} AS day, {sums},"
        f" sum(rate.pri_s * {made}) AS ideal_s, sum(rate.pri_s * r.qty_good) AS ideal_good_s,"
        f" sum({made}) FILTER (WHERE rate.pri_s IS NULL) AS unrated"
        f" FROM {source} AS r{SITE_DAY}{_RATE.format(sites=sites, at=AT)}"
        f" WHERE r.site_id IN ({sites}) AND {DAY.of} >= {first} AND {DAY.of} < {last}"
        f"{months} GROUP BY 1, 2, 3"
    )

"""What each machine did on each business day, against what was planned and what was possible.

Pure. The time model of ISO 22400-2: planned busy time (PBT) is the working time of the shift
calendar without breaks, planned stops and holidays; actual production time (APT) is time in which
the machine produced at all, so two people at one machine do not make it longer than it was; what
was possible is planned run time an item (PRI) times pieces. All are cut at the day, which may have
23 or 25 hours, so they add up to weeks, months and sites.

Planned and calendar time count until the moment through which the site is complete
(``sync.complete_through``): what comes is no time in which anything could have been made, and what
a site that is behind has done meanwhile nobody knows. Nothing is planned for what is no machine (an
area, or a line whose machines report), for one that was not commissioned yet, and for one that is
retired but for the days on which it still reported.

Of several rates of a machine the one that names operation and part goes before one that names
neither, a later one before an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from central.reports.known import facts
from central.reports.kpis import KPIS, MACHINE_MEASURES, MEASURES
from central.reports.planned import planned_time
from central.reports.question import BadQuestion
from central.reports.sources import in_months
from central.rollups import AT, BEGINS, DAY, DAY_OF, OUTPUT, OUTPUTS, RATED, SITE_DAY, rows_of
from central.unions import BUSY, NEVER, kept_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from central.reports.question import Question

#: Days, and what can be asked of machines: what is not of a machine has no planned time.
DAYS_MAX: Final = 400
OF_MACHINES: Final = ("site", "region", "line", "machine", "machine_class")

_UTC_DAY: Final = f"({AT} AT TIME ZONE 'UTC')::date"
_BY_MACHINE: Final = next(each for each in OUTPUTS if each.name == "output_machine_days")
#: The seconds of a multirange.
_SECONDS: Final = (
    "(SELECT coalesce(sum(extract(epoch FROM upper(o) - lower(o))), 0) FROM unnest({}) AS o)"
)
_RATE: Final = (
    " LEFT JOIN mes.work_orders AS w ON w.site_id = r.site_id AND w.id = r.work_order_id"
    " AND w.site_id IN ({sites})"
    " LEFT JOIN mes.material_definitions AS m ON m.id = w.material_id"
    " AND m.site_id IN (w.site_id, '*')"
    " LEFT JOIN LATERAL (SELECT q.pri_s FROM mes.equipment_rates AS q"
    " WHERE q.equipment_id = r.equipment_id AND q.site_id IN (r.site_id, '*')"
    " AND q.effective_from <= {at}"
    " AND coalesce(q.effective_to > {at}, true)"
    " AND coalesce(q.segment_code = r.segment_code, q.segment_code IS NULL)"
    " AND (q.material_id IS NULL OR q.material_id = w.material_id)"
    " AND coalesce(q.material_code = coalesce(w.material_code, m.material_code),"
    " q.material_code IS NULL)"
    " ORDER BY q.segment_code IS NULL, coalesce(q.material_id::text, q.material_code) IS NULL,"
    " q.effective_from DESC LIMIT 1"
    ") AS rate ON true"
)


#: Of a machine ``z`` and its day ``t``: whether its planned time counts, and the seconds of it.
_IS_PLANNED: Final = (
    "z.is_leaf AND z.known IS NOT NULL AND c.planned IS NOT NULL"
    " AND (NOT z.is_retired OR x.reports > 0 OR y.busy IS NOT NULL)"
)
_PLANNED: Final = _SECONDS.format(
    "c.planned * multirange(t.known * tstzrange(z.commissioned_at, NULL))"
)


def machine_days(question: Question, sites: str, take: Callable[[object], str]) -> str:
    """Return the query of machines by days; raise BadQuestion where it can't be asked for.

    It gives the sums of all reports, and beside them ``planned_s``, ``run_s`` (production of
    machines for which time is planned), ``produced_s``, ``ideal_s``, ``ideal_good_s``,
    ``unrated`` (pieces without a rate) and ``calendar_s``.
    """
    _check(question)
    first, last = (f"{take(day)}::date" for day in (question.window.start, question.window.end))
    span = _Span(question, sites, first, last)
    sums = ", ".join(f"coalesce(x.{each.name}, 0) AS {each.name}" for each in OUTPUT)
    same = "{0}.site_id = z.site_id AND {0}.equipment_id = z.id AND {0}.day = t.day"
    window = (BEGINS.format(day=day) for day in (first, last))
    return (
        f"SELECT z.site_id, z.id AS equipment_id, t.day, {sums},"
        f" CASE WHEN {_IS_PLANNED} THEN {_PLANNED} END AS planned_s,"
        f" CASE WHEN {_IS_PLANNED} THEN {_SECONDS.format('y.busy')} END AS run_s,"
        f" {_SECONDS.format('y.busy')} AS produced_s, p.ideal_s,"
        " p.ideal_good_s, coalesce(p.unrated, 0) AS unrated,"
        " extract(epoch FROM upper(t.known) - lower(t.known)) AS calendar_s"
        f" FROM ({_machines(sites)}) AS z"
        f" CROSS JOIN LATERAL (SELECT n.day::date AS day, {_WHOLE} * z.known AS known"
        f" FROM {span.days} AS n(day)) AS t"
        f" LEFT JOIN ({planned_time(sites, *window)}) AS c"
        " ON c.site_id = z.site_id AND c.id = z.id"
        f" LEFT JOIN ({_busy(span, take)}) AS y ON {same.format('y')}"
        f" LEFT JOIN ({_done(span)}) AS x ON {same.format('x')}"
        f" LEFT JOIN ({_possible(span, take)}) AS p ON {same.format('p')}"
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
    """Return the query of all equipment; a line's time is that of the machines in it.

    ``known``: until when anything is known of its site; null of one that was never heard.
    """
    return (
        "SELECT e.site_id, e.id, e.level <> 'AREA' AND NOT EXISTS (SELECT FROM mes.equipment AS b"
        f" WHERE b.site_id = e.site_id AND b.parent_id = e.id AND b.site_id IN ({sites}))"
        " AS is_leaf, e.status = 'RETIRED' AS is_retired, e.commissioned_at,"
        " CASE WHEN k.through_ms IS NOT NULL"
        " THEN tstzrange(NULL, to_timestamp(k.through_ms / 1000.0)) END AS known,"
        " coalesce(d.zone, 'UTC') AS zone,"
        " coalesce(d.day_start, '00:00'::time) AS day_start FROM mes.equipment AS e"
        " LEFT JOIN sync.site_day AS d ON d.site = e.site_id"
        " LEFT JOIN sync.complete_through AS k ON k.site = e.site_id"
        f" WHERE e.site_id IN ({sites})"
    )


# --- what machines did ----------------------------------------------------------------------------

_WHOLE: Final = f"tstzrange({BEGINS.format(day='n.day')}, {BEGINS.format(day='n.day::date + 1')})"


@dataclass(frozen=True, slots=True)
class _Span:
    """Of which sites, and from which day until before which, as SQL has them."""

    question: Question
    sites: str
    first: str
    last: str

    @property
    def days(self) -> str:
        """Return the series of all days."""
        last = f"{self.last}::timestamp - interval '1 day'"
        return f"generate_series({self.first}::timestamp, {last}, '1 day')"

    def kept(self, day: str) -> str:
        """Return the condition of what is kept of a day."""
        return f"r.site_id IN ({self.sites}) AND {day} >= {self.first} AND {day} < {self.last}"


def _busy(span: _Span, take: Callable[[object], str]) -> str:
    """Return the query of when machines produced, by days."""
    stale = span.question.stale
    if stale is None:
        return _busy_by_facts(span, "")
    among = f" AND {_among(stale.busy, take)}" if stale.busy else ""
    parts = [
        f"SELECT r.site_id, r.equipment_id, r.day, r.busy FROM {kept_rows(BUSY)} AS r"
        f" WHERE {span.kept('r.day')}",
        # What lasts longer than a week is kept whole.
        "SELECT r.site_id, r.equipment_id, n.day::date AS day,"
        f" r.busy * multirange({_WHOLE}) AS busy FROM {kept_rows(BUSY)} AS r{SITE_DAY}"
        f" CROSS JOIN LATERAL {span.days} AS n(day)"
        f" WHERE r.site_id IN ({span.sites}) AND r.day = {NEVER}",
    ]
    left = among and among.replace(" AND ", " AND NOT ", 1)
    text = (
        "SELECT k.site_id, k.equipment_id, k.day, range_agg(k.busy) AS busy"
        f" FROM ({' UNION ALL '.join(parts)}) AS k"
        f" WHERE NOT isempty(k.busy){left.format(of='k', day='k.day')} GROUP BY 1, 2, 3"
    )
    if not among:
        return text
    return f"{text} UNION ALL {_busy_by_facts(span, among.format(of='r', day='n.day::date'))}"


def _busy_by_facts(span: _Span, among: str) -> str:
    starts, stops = (
        f"{DAY_OF.format(at=f'r.{at}')}::timestamp" for at in ("started_at", "ended_at")
    )
    begins = f"greatest({starts}, {span.first}::timestamp)"
    ends = f"least({stops}, {span.last}::timestamp - interval '1 day')"
    # A report that ends with the day before is none of a day.
    return (
        "SELECT r.site_id, r.equipment_id, n.day::date AS day,"
        f" range_agg(tstzrange(r.started_at, r.ended_at) * {_WHOLE}) AS busy"
        f" FROM {facts(span.question)} AS r{SITE_DAY}"
        f" CROSS JOIN LATERAL generate_series({begins}, {ends}, '1 day') AS n(day)"
        f" WHERE r.site_id IN ({span.sites}) AND r.report_type = 'PRODUCTION'"
        " AND r.started_at < r.ended_at"
        f" AND NOT isempty(tstzrange(r.started_at, r.ended_at) * {_WHOLE})"
        f"{among}{in_months(span.question)} GROUP BY 1, 2, 3"
    )


def _done(span: _Span) -> str:
    """Return the query of what ended on each day."""
    if span.question.stale is not None:
        sums = ", ".join(f"sum(r.{each.name}) AS {each.name}" for each in OUTPUT)
        return (
            f"SELECT r.site_id, r.equipment_id, r.day, {sums} FROM {rows_of(_BY_MACHINE)} AS r"
            f" WHERE {span.kept('r.day')} GROUP BY 1, 2, 3"
        )
    sums = ", ".join(f"sum({each.of}) AS {each.name}" for each in OUTPUT)
    return (
        f"SELECT r.site_id, r.equipment_id, {DAY.of} AS day, {sums}"
        f" FROM {facts(span.question)} AS r{SITE_DAY}"
        f" WHERE {span.kept(DAY.of)}{in_months(span.question)} GROUP BY 1, 2, 3"
    )


def _possible(span: _Span, take: Callable[[object], str]) -> str:
    """Return the query of the time in which what ended on each day could have been made."""
    stale = span.question.stale
    if stale is None:
        pieces = _pieces_by_facts(span, "")
    else:
        among = f" AND {_among(stale.rated, take)}" if stale.rated else ""
        left = among and among.replace(" AND ", " AND NOT ", 1)
        pieces = (
            "SELECT r.site_id, r.equipment_id, r.day, r.segment_code, r.work_order_id,"
            " r.utc_day::timestamp AT TIME ZONE 'UTC' AS at, sum(r.qty_made) AS qty_made,"
            f" sum(r.qty_good) AS qty_good FROM {rows_of(RATED)} AS r"
            f" WHERE {span.kept('r.day')}{left.format(of='r', day='r.utc_day')}"
            " GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(r.reports) <> 0"
        )
        if among:
            pieces += f" UNION ALL {_pieces_by_facts(span, among.format(of='r', day=_UTC_DAY))}"
    return (
        "SELECT r.site_id, r.equipment_id, r.day, sum(rate.pri_s * r.qty_made) AS ideal_s,"
        " sum(rate.pri_s * r.qty_good) AS ideal_good_s,"
        " sum(r.qty_made) FILTER (WHERE rate.pri_s IS NULL) AS unrated"
        f" FROM ({pieces}) AS r{_RATE.format(sites=span.sites, at='r.at')} GROUP BY 1, 2, 3"
    )


def _pieces_by_facts(span: _Span, among: str) -> str:
    made = next(each.of for each in RATED.sums if each.name == "qty_made")
    return (
        f"SELECT r.site_id, r.equipment_id, {DAY.of} AS day, r.segment_code, r.work_order_id,"
        f" {AT} AS at, {made} AS qty_made, r.qty_good FROM {facts(span.question)} AS r{SITE_DAY}"
        f" WHERE {span.kept(DAY.of)}{among}{in_months(span.question)}"
    )


def _among(keys: Iterable[tuple[str, str, date]], take: Callable[[object], str]) -> str:
    """Return the condition that a machine and a day of ``of`` are among some; never unknown."""
    given = [take(list(each)) for each in zip(*keys, strict=True)]
    return (
        f"EXISTS (SELECT FROM unnest({given[0]}::text[], {given[1]}::uuid[], {given[2]}::date[])"
        " AS s(site_id, equipment_id, day) WHERE s.site_id = {of}.site_id"
        " AND s.equipment_id = {of}.equipment_id AND s.day = {day})"
    )

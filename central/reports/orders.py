"""How long orders take, and how many are under way: from their first start to their last end.

Pure. An order is under way from the first start that was reported of it until the last end; what
was not reported nobody knows, so these are observed times. Statistics are PostgreSQL's, percentiles
by linear interpolation (``percentile_cont``).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from central.reports.dimensions import DIMENSIONS, JOINS
from central.reports.known import facts, surely_known
from central.reports.kpis import KPIS_OF_TIMES, MEASURES_OF_TIMES
from central.reports.paging import Place, Statement, literals
from central.reports.question import BadQuestion, By
from central.reports.sources import in_months
from central.reports.statement import DIGITS, condition
from central.rollups import AT, ELAPSED
from central.unions import LIVES, kept_rows

if TYPE_CHECKING:
    from central.reports.question import Question

#: What orders can be grouped and filtered by.
OF_ORDERS: Final = ("site", "region", "order", "material", "customer")
#: Days, or moments, that one question on work in progress asks for.
STEPS_MAX: Final = 400

_HOURS: Final = "k.life_s / 3600"
_LIFE: Final = "extract(epoch FROM i.last_end - i.first_start) AS life_s"
#: Each column of the answer on throughput times, and what it is.
THROUGHPUT: Final = {
    "orders": "count(*)",
    "first_start": "min(k.first_start)",
    "last_end": "max(k.last_end)",
    "mean_h": f"avg({_HOURS})",
    "median_h": f"percentile_cont(0.5) WITHIN GROUP (ORDER BY {_HOURS})",
    "p90_h": f"percentile_cont(0.9) WITHIN GROUP (ORDER BY {_HOURS})",
    "min_h": f"min({_HOURS})",
    "max_h": f"max({_HOURS})",
    **{each.name: each.of for each in MEASURES_OF_TIMES.values()},
}
_MOMENTS: Final = ("first_start", "last_end")


def throughput_statement(question: Question) -> Statement:
    """Return the statement on the times of orders of which the last end is in the window."""
    made = Statement()
    window = question.window
    lives = _lives(question, made, window.start)
    column, kind = ("last_end", "timestamptz") if window.by_instant else ("last_day", "date")
    bounds = [
        f"k.{column} {sign} {made.take(moment)}::{kind}"
        for moment, sign in ((window.start, ">="), (window.end, "<"))
        if moment is not None
    ]
    lives += f" WHERE {' AND '.join(bounds)}" if bounds else ""
    groups = [f"by_{name}" for name in question.group_by]
    figures = [
        f"{of if name in (*_MOMENTS, 'orders') else f'round(({of})::numeric, 9)'} AS {name}"
        for name, of in THROUGHPUT.items()
    ]
    named = [f'{of} AS "{name}"' for of, name in zip(groups, question.group_by, strict=True)]
    made.columns = (*question.group_by, *THROUGHPUT, *KPIS_OF_TIMES)
    made.places = tuple(map(Place, question.group_by))
    rows = f"SELECT {', '.join([*named, *figures])} FROM ({lives}) AS k"
    rows += f" GROUP BY {', '.join(groups)}" if groups else ""
    ratios = [f"round({each.sql}, {DIGITS}) AS {each.name}" for each in KPIS_OF_TIMES.values()]
    rows = f"SELECT {', '.join(['g.*', *ratios])} FROM ({rows}) AS g"
    return made.page(rows, after=question.after, limit=question.limit)


def wip_statement(question: Question) -> Statement:
    """Return the statement on how many orders are under way, on each business day.

    ``wip_end`` at the midnight, or other day start, that ends the day; ``active`` at any instant of
    it. An order that ends at that very instant is under way at the end of the day.
    """
    window = question.window
    if window.start is None or window.end is None or window.by_instant:
        raise BadQuestion("from", "a first day, and in `to` the one after the last")
    if (window.end - window.start).days > STEPS_MAX:
        raise BadQuestion("to", f"at most {STEPS_MAX} days after from")
    made = Statement()
    lives = _lives(question, made, window.start)
    first, last = made.take(window.start), made.take(window.end)
    groups = [f"k.by_{name}" for name in question.group_by]
    named = [f'{of} AS "{name}"' for of, name in zip(groups, question.group_by, strict=True)]
    begins, ends = (
        f"((n.day{more})::date + k.day_start) AT TIME ZONE k.zone" for more in ("", " + 1")
    )
    made.columns = ("day", *question.group_by, "wip_end", "active")
    made.places = tuple(map(Place, ("day", *question.group_by)))
    rows = (
        f"SELECT {', '.join(['n.day::text AS day', *named])},"
        f" count(*) FILTER (WHERE k.last_end >= {ends}) AS wip_end,"
        f" count(k.first_start) AS active"
        f" FROM (SELECT day::date AS day FROM generate_series({first}::date::timestamp,"
        f" {last}::date::timestamp - interval '1 day', '1 day') AS g(day)) AS n"
        f" {'LEFT ' if not groups else ''}JOIN ({lives}) AS k"
        f" ON k.first_start < {ends} AND k.last_end >= {begins}"
        f" GROUP BY {', '.join(['n.day', *groups])}"
    )
    return made.page(rows, after=question.after, limit=question.limit)


def wip_at_statement(question: Question, at: tuple[datetime, ...]) -> Statement:
    """Return the statement on how many orders are under way at some instants."""
    if not 1 <= len(at) <= STEPS_MAX:
        raise BadQuestion("at", f"1 to {STEPS_MAX} instants")
    made = Statement()
    lives = _lives(question, made, min(at))
    groups = [f"k.by_{name}" for name in question.group_by]
    named = [f'{of} AS "{name}"' for of, name in zip(groups, question.group_by, strict=True)]
    made.columns = ("at", *question.group_by, "wip")
    made.places = (Place("at", "timestamptz"), *map(Place, question.group_by))
    rows = (
        f"SELECT {', '.join(['n.at', *named])}, count(k.first_start) AS wip"
        f" FROM unnest({made.take(list(at))}::timestamptz[]) AS n(at)"
        f" {'LEFT ' if not groups else ''}JOIN ({lives}) AS k"
        " ON k.first_start <= n.at AND k.last_end > n.at"
        f" GROUP BY {', '.join(['n.at', *groups])}"
    )
    return made.page(rows, after=question.after, limit=question.limit)


def _lives(question: Question, made: Statement, since: date | None) -> str:
    """Return the query of each order's first start and last end, with its names.

    Orders that ended before a moment may be left out.
    """
    sites = literals(question.sites)
    used = [*question.group_by, *(each.dimension for each in question.filters)]
    for name in used:
        if name not in OF_ORDERS:
            raise BadQuestion(name, f"of orders: one of {', '.join(OF_ORDERS)}")
    joins = dict.fromkeys(join for name in used for join in DIMENSIONS[name].joins)
    columns = [f"{called(question, name)} AS by_{name}" for name in question.group_by]
    where = " AND ".join(
        condition(each, called(question, each.dimension), made) for each in question.filters
    )
    day = "((i.last_end AT TIME ZONE z.zone) - z.day_start::interval)::date AS last_day"
    text = (
        f"SELECT {', '.join(['i.*', _LIFE, 'z.zone', 'z.day_start', day, *columns])}"
        f" FROM ({_spans(question, sites, made, since)}) AS i"
        " LEFT JOIN sync.site_day AS d ON d.site = i.site_id"
        " CROSS JOIN LATERAL (SELECT coalesce(d.zone, 'UTC') AS zone,"
        " coalesce(d.day_start, '00:00'::time) AS day_start) AS z"
    )
    text += "".join(f" {JOINS[join].format(sites=sites)}" for join in joins)
    return f"SELECT * FROM ({text}{' WHERE ' + where if where else ''}) AS k"


def _spans(question: Question, sites: str, made: Statement, since: date | None) -> str:
    """Return the query of each order's first start and last end, by what is kept or by facts."""
    stale = question.stale
    if stale is None:
        return _spans_by_facts(question, sites, "")
    among = ""
    if stale.orders:
        given = [made.take(list(each)) for each in zip(*stale.orders, strict=True)]
        among = (
            f"EXISTS (SELECT FROM unnest({given[0]}::text[], {given[1]}::uuid[])"
            " AS s(site_id, id) WHERE s.site_id = r.site_id AND s.id = r.work_order_id)"
        )
    text = (
        "SELECT r.site_id, r.work_order_id, r.first_start, r.last_end, r.busy_s, r.production_s"
        f" FROM {kept_rows(LIVES, _bound(made, since))} AS r WHERE r.site_id IN ({sites})"
        f" AND r.first_start IS NOT NULL{among and f' AND NOT {among}'}"
    )
    if not among:
        return text
    return f"{text} UNION ALL {_spans_by_facts(question, sites, f' AND {among}')}"


def _bound(made: Statement, since: date | None) -> str:
    """Return an instant before which nothing is of a moment or business day, or later; or ""."""
    if since is None:
        return ""
    try:
        day = date(since.year, since.month, since.day) - timedelta(days=2)
    except OverflowError:
        return ""
    return f"{made.take(datetime(day.year, day.month, day.day, tzinfo=UTC))}::timestamptz"


def _spans_by_facts(question: Question, sites: str, among: str) -> str:
    return (
        "SELECT r.site_id, r.work_order_id, min(r.started_at) AS first_start,"
        f" max({AT}) AS last_end, sum({ELAPSED}) AS busy_s,"
        f" sum({ELAPSED}) FILTER (WHERE r.report_type = 'PRODUCTION') AS production_s"
        f" FROM {facts(question)} AS r"
        f" WHERE r.site_id IN ({sites}) AND r.work_order_id IS NOT NULL"
        f"{among}{surely_known(question)}{in_months(question)}"
        " GROUP BY 1, 2 HAVING min(r.started_at) IS NOT NULL"
    )


def called(question: Question, name: str) -> str:
    """Return the SQL of what orders are grouped by: codes, or ids where it goes by them."""
    dimension = DIMENSIONS[name]
    by_id = question.by is By.ID and dimension.id
    return f'({dimension.id if by_id else dimension.code}) COLLATE "C"'

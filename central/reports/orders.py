"""How long orders take, and how many are under way: from their first start to their last end.

Pure. How long an order took goes by its reports alone, from the first start to the last end; what
was not reported nobody knows, so these are observed times. Under way is what was started and not
finished, by its state as well as its reports: an order without an end that is not COMPLETED, nor
cancelled before work on it began, goes on whatever was reported last. One that was finished ended
at its ``actual_end``, as ``due`` has it, or where nobody noted that with its last report; so did
one of which the centre has nothing but reports. A correction is no work, and prolongs no order.
Statistics are PostgreSQL's, percentiles by linear interpolation (``percentile_cont``).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from central.reports.dimensions import BUCKETS, DIMENSIONS, JOINS
from central.reports.known import facts, surely_known
from central.reports.kpis_of_orders import KPIS_OF_TIMES, MEASURES_OF_TIMES, MEASURES_OF_WIP
from central.reports.paging import Place, Statement, literals
from central.reports.question import BadQuestion, By
from central.reports.sources import in_months
from central.reports.statement import DIGITS, condition
from central.rollups import AT, DAY_OF, ELAPSED, IS_WORK
from central.unions import LIVES, kept_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from central.reports.question import Question

#: What orders can be grouped and filtered by.
OF_ORDERS: Final = ("site", "region", "order", "material", "customer")
#: Pieces of time that days of orders are put in.
BUCKETS_OF_ORDERS: Final = tuple(name for name, each in BUCKETS.items() if not each.by_instant)
#: Days, or moments, that one question on work in progress asks for.
STEPS_MAX: Final = 400

_LIFE: Final = "extract(epoch FROM i.last_end - i.first_start) AS life_s"
_TIMES: Final = {name: f"round(({m.of})::numeric, 9)" for name, m in MEASURES_OF_TIMES.items()}
#: Each column of the answer on throughput times, and what it is.
THROUGHPUT: Final = {
    "orders": "count(*)",
    "first_start": "min(k.first_start)",
    "last_end": "max(k.last_end)",
    **_TIMES,
}
MOMENTS_OF_LIVES: Final = ("first_start", "last_end")
#: What is told of orders under way on days, and at instants.
WIP_OF_DAYS: Final = ("wip_end", "active")
WIP_AT: Final = ("wip",)

_FINISHED: Final = "o.exec_state IN ('COMPLETED', 'CLOSED')"
#: Not by its state, and nobody noted an end.
_IS_OPEN: Final = (
    f"(NOT {_FINISHED} AND o.actual_end IS NULL"
    " AND NOT (o.cancel_requested AND o.exec_state IN ('CREATED', 'RELEASED')))"
)
_ENDED: Final = (
    f"CASE WHEN {_IS_OPEN} THEN 'infinity'::timestamptz"
    f" WHEN {_FINISHED} THEN coalesce(o.actual_end, u.last_end)"
    " ELSE greatest(o.actual_end, u.last_end) END"
)


def throughput_statement(question: Question) -> Statement:
    """Return the statement on the times of orders of which the last end is in the window."""
    made = Statement()
    window = question.window
    bound = _bound(made, window.start)
    groups = groups_of(question)
    lives = _lives(question, made, _spans(question, made, bound), groups)
    column, kind = ("last_end", "timestamptz") if window.by_instant else ("day", "date")
    bounds = [
        f"k.{column} {sign} {made.take(moment)}::{kind}"
        for moment, sign in ((window.start, ">="), (window.end, "<"))
        if moment is not None
    ]
    lives += f" WHERE {' AND '.join(bounds)}" if bounds else ""
    named = [f'k.by_{name} AS "{name}"' for name in groups]
    figures = [f"{of} AS {name}" for name, of in THROUGHPUT.items()]
    made.columns = (*groups, *THROUGHPUT, *KPIS_OF_TIMES)
    made.places = places_of(question, groups, MOMENTS_OF_LIVES)
    rows = f"SELECT {', '.join([*named, *figures])} FROM ({lives}) AS k"
    rows += f" GROUP BY {', '.join(f'k.by_{name}' for name in groups)}" if groups else ""
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
    groups = groups_of(question)
    lives = _lives(question, made, _under_way(question, made, window.start), groups)
    first, last = made.take(window.start), made.take(window.end)
    named = [f'k.by_{name} AS "{name}"' for name in groups]
    begins, ends = (
        f"((n.day{more})::date + k.day_start) AT TIME ZONE k.zone" for more in ("", " + 1")
    )
    told = [f"{MEASURES_OF_WIP[n].of.format(ends=ends)} AS {n}" for n in WIP_OF_DAYS]
    made.columns = ("day", *groups, *WIP_OF_DAYS)
    made.places = places_of(question, ("day", *groups))
    rows = (
        f"SELECT {', '.join(['n.day::text AS day', *named, *told])}"
        f" FROM (SELECT day::date AS day FROM generate_series({first}::date::timestamp,"
        f" {last}::date::timestamp - interval '1 day', '1 day') AS g(day)) AS n"
        f" {'LEFT ' if not groups else ''}JOIN ({lives}) AS k"
        f" ON k.first_start < {ends} AND k.last_end >= {begins}"
        f" GROUP BY {', '.join(['n.day', *(f'k.by_{name}' for name in groups)])}"
    )
    return made.page(rows, after=question.after, limit=question.limit)


def wip_at_statement(question: Question, at: tuple[datetime, ...]) -> Statement:
    """Return the statement on how many orders are under way at some instants."""
    if not 1 <= len(at) <= STEPS_MAX:
        raise BadQuestion("at", f"1 to {STEPS_MAX} instants")
    made = Statement()
    groups = groups_of(question)
    lives = _lives(question, made, _under_way(question, made, min(at)), groups)
    named = [f'k.by_{name} AS "{name}"' for name in groups]
    told = [f"{MEASURES_OF_WIP[name].of} AS {name}" for name in WIP_AT]
    made.columns = ("at", *groups, *WIP_AT)
    made.places = places_of(question, ("at", *groups), ("at",))
    rows = (
        f"SELECT {', '.join(['n.at', *named, *told])}"
        f" FROM unnest({made.take(list(at))}::timestamptz[]) AS n(at)"
        f" {'LEFT ' if not groups else ''}JOIN ({lives}) AS k"
        " ON k.first_start <= n.at AND k.last_end > n.at"
        f" GROUP BY {', '.join(['n.at', *(f'k.by_{name}' for name in groups)])}"
    )
    return made.page(rows, after=question.after, limit=question.limit)


# --- what orders are grouped and sorted by --------------------------------------------------------


def groups_of(question: Question) -> dict[str, str]:
    """Return what orders are grouped by, each with its SQL; raise BadQuestion for what none has."""
    for name in (*question.group_by, *(each.dimension for each in question.filters)):
        if name not in OF_ORDERS:
            raise BadQuestion(name, f"of orders: one of {', '.join(OF_ORDERS)}")
    groups = {}
    if question.bucket:
        of = BUCKETS[question.bucket].of
        groups[question.bucket] = of if of.endswith("::integer") else f'({of}) COLLATE "C"'
    return groups | {name: called(question, name) for name in question.group_by}


def called(question: Question, name: str) -> str:
    """Return the SQL of what orders are grouped by: codes, or ids where it goes by them."""
    dimension = DIMENSIONS[name]
    by_id = question.by is By.ID and dimension.id
    return f'({dimension.id if by_id else dimension.code}) COLLATE "C"'


def joins_of(question: Question) -> list[str]:
    """Return the joins of orders ``i`` that a question's groups and filters need."""
    used = [*question.group_by, *(each.dimension for each in question.filters)]
    joins = dict.fromkeys(join for name in used for join in DIMENSIONS[name].joins)
    if question.bucket:
        joins |= dict.fromkeys(BUCKETS[question.bucket].joins)
    return [f" {JOINS[join].format(sites=literals(question.sites))}" for join in joins]


def places_of(
    question: Question, names: Iterable[str], moments: Iterable[str] = ()
) -> tuple[Place, ...]:
    """Return what rows are sorted by: what is asked for, and then the names that tell them apart.

    All columns are numbers but names and ``moments``.
    """
    sorted_by = {each.column: each.descending for each in question.sort}
    texts = {name for name in names if not (name in BUCKETS and _is_number(name))}
    sorted_by |= {name: False for name in names if name not in sorted_by}
    kinds = dict.fromkeys(texts, "text") | dict.fromkeys(moments, "timestamptz")
    return tuple(
        Place(name, kinds.get(name, "numeric"), descending=down) for name, down in sorted_by.items()
    )


def _is_number(bucket: str) -> bool:
    return BUCKETS[bucket].of.endswith("::integer")


# --- their lives ----------------------------------------------------------------------------------


def _lives(question: Question, made: Statement, spans: str, groups: dict[str, str]) -> str:
    """Return the query of spans of orders with their names, and the site's day of their end."""
    day = f"{DAY_OF.format(at='i.last_end')} AS day"
    placed = (
        f"SELECT i.*, {_LIFE}, z.zone, z.day_start, {day} FROM ({spans}) AS i"
        " LEFT JOIN sync.site_day AS d ON d.site = i.site_id"
        " CROSS JOIN LATERAL (SELECT coalesce(d.zone, 'UTC') AS zone,"
        " coalesce(d.day_start, '00:00'::time) AS day_start) AS z"
    )
    columns = ["i.*", *(f"{of} AS by_{name}" for name, of in groups.items())]
    text = f"SELECT {', '.join(columns)} FROM ({placed}) AS i{''.join(joins_of(question))}"
    where = " AND ".join(
        condition(each, called(question, each.dimension), made) for each in question.filters
    )
    return f"SELECT * FROM ({text}{' WHERE ' + where if where else ''}) AS k"


def _under_way(question: Question, made: Statement, since: date | None) -> str:
    """Return the query of when each order was under way, by its state and its reports.

    Orders that ended before a moment may be left out.
    """
    bound, sites = _bound(made, since), literals(question.sites)
    later = f"o.actual_end >= {bound}" if bound else "o.actual_end IS NOT NULL"
    told = (
        "SELECT o.site_id, o.id AS work_order_id FROM mes.work_orders AS o"
        f" WHERE o.site_id IN ({sites}) AND ({_IS_OPEN} OR {later})"
    )
    spans = _spans(question, made, bound, told)
    each = (
        "SELECT site_id, work_order_id, min(first_start) AS first_start, max(last_end) AS last_end"
        f" FROM (SELECT site_id, work_order_id, first_start, last_end FROM ({spans}) AS s"
        f" UNION ALL SELECT site_id, work_order_id, NULL, NULL FROM ({told}) AS t) AS b"
        " GROUP BY site_id, work_order_id"
    )
    return (
        "SELECT u.site_id, u.work_order_id, least(u.first_start, o.actual_start) AS first_start,"
        f" {_ENDED} AS last_end FROM ({each}) AS u LEFT JOIN mes.work_orders AS o"
        f" ON o.site_id = u.site_id AND o.id = u.work_order_id AND o.site_id IN ({sites})"
    )


def _spans(question: Question, made: Statement, bound: str, also: str = "") -> str:
    """Return the query of each order's first start and last end, by what is kept or by facts.

    Orders that ended before ``bound`` may be left out, but for those that ``also`` gives.
    """
    stale, sites = question.stale, literals(question.sites)
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
        f" FROM {kept_rows(LIVES, bound, also)} AS r WHERE r.site_id IN ({sites})"
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
        f" WHERE r.site_id IN ({sites}) AND r.work_order_id IS NOT NULL AND {IS_WORK}"
        f"{among}{surely_known(question)}{in_months(question)}"
        " GROUP BY 1, 2 HAVING min(r.started_at) IS NOT NULL"
    )

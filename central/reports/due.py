"""Orders by their due dates: how far they are, which are late, and how many were on time.

Pure. An order is finished from the state COMPLETED on. It is due when its due date is past, or
when it is finished before; an order that was cancelled before work on it began is not. What nobody
knows is left out and never taken for zero: a finished order without an end is neither on time nor
late, and the good quantity of an order is that of its output operations (``is_output``), those of
its own definition where it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.reports.dimensions import BUCKETS, DIMENSIONS, JOINS
from central.reports.kpis import KPIS_OF_ORDERS, MEASURES_OF_ORDERS
from central.reports.orders import OF_ORDERS, called
from central.reports.paging import Place, Statement, literals
from central.reports.question import BadQuestion
from central.reports.statement import DIGITS, condition
from central.rollups import AT, ROLLUPS, SITE_DAY, rows_of
from central.unions import LIVES, kept_of

if TYPE_CHECKING:
    from central.reports.question import Question

#: What can be asked for, and pieces of time that due dates are put in.
MEASURES_OF_DUE: Final = (*MEASURES_OF_ORDERS, *KPIS_OF_ORDERS)
BUCKETS_OF_DUE: Final = tuple(name for name, each in BUCKETS.items() if not each.by_instant)
_MOMENTS: Final = tuple(n for n, each in MEASURES_OF_ORDERS.items() if each.unit == "instant")
_FINISHED: Final = "r.exec_state IN ('COMPLETED', 'CLOSED')"
_CANCELLED: Final = "(r.cancel_requested AND r.exec_state IN ('CREATED', 'RELEASED'))"
_DAY: Final = "((r.due_at AT TIME ZONE z.zone) - z.day_start::interval)::date"
_BY_ORDER: Final = next(each for each in ROLLUPS if each.name == "output_order_days")
#: Orders that were finished and whose end nobody noted: it is that of their last report.
_ENDED: Final = (
    "SELECT w.site_id, w.id AS work_order_id FROM w WHERE w.is_finished AND w.actual_end IS NULL"
)
#: That, by the facts, where what is kept does not say.
_LAST: Final = (
    f"(SELECT max({AT}) FROM (SELECT f.ended_at, f.created_at FROM mes.job_responses AS f"
    " WHERE f.site_id = w.site_id AND f.site_id IN ({sites}) AND f.work_order_id = w.id) AS r)"
)
#: An output operation of the order.
_OUTPUT: Final = "g.definition_id = w.definition_id OR w.definition_id IS NULL"


def due_statement(question: Question) -> Statement:
    """Return the statement on orders that are due in the window; raise BadQuestion.

    A window of instants goes by the due date itself, one of days by the site's business day of it.
    """
    made = Statement()
    asked = [*question.measures, *(each.column for each in question.sort)]
    figures = [KPIS_OF_ORDERS[name] for name in dict.fromkeys(asked) if name in KPIS_OF_ORDERS]
    parts = [part for figure in figures for part in figure.measures]
    plain = dict.fromkeys([*parts, *(n for n in asked if n in MEASURES_OF_ORDERS)])
    groups = _groups(question)
    sums = [f"{MEASURES_OF_ORDERS[name].of} AS {name}" for name in plain]
    steps = [
        f"w AS ({_due(question, made)})",
        "g AS (SELECT DISTINCT s.definition_id, s.code FROM mes.operation_segments AS s"
        " WHERE s.is_output)",
        f"m AS ({_made(question)})",
        f"l AS ({kept_of(LIVES, _ENDED)})",
        f"f AS ({_told(question)})",
        f"i AS ({_JUDGED})",
        f"k AS ({_named(question, groups, made)})",
        f"n AS (SELECT {', '.join([*(f'k.{_by(n)}' for n in groups), *sums])} FROM k"
        + (f" GROUP BY {', '.join(f'k.{_by(n)}' for n in groups)}" if groups else "")
        + ")",
    ]
    shown = [f'n.{_by(name)} AS "{name}"' for name in groups]
    shown += [f"n.{name}" for name in plain]
    shown += [f"round({each.sql}, {DIGITS}) AS {each.name}" for each in figures]
    made.columns = (*groups, *question.measures)
    sorted_by = {each.column: each.descending for each in question.sort}
    sorted_by |= {name: False for name in groups if name not in sorted_by}
    made.places = tuple(Place(n, _kind(n), descending=down) for n, down in sorted_by.items())
    rows = f"WITH {', '.join(steps)} SELECT {', '.join(shown)} FROM n"
    return made.page(rows, after=question.after, limit=question.limit)


def _by(name: str) -> str:
    return f"by_{name}"


def _kind(name: str) -> str:
    if name in _MOMENTS:
        return "timestamptz"
    is_number = name in MEASURES_OF_DUE
    is_number |= name in BUCKETS and BUCKETS[name].of.endswith("::integer")
    return "numeric" if is_number else "text"


def _groups(question: Question) -> dict[str, str]:
    """Return what it is grouped by, each with its SQL; raise BadQuestion for what no order has."""
    for name in (*question.group_by, *(each.dimension for each in question.filters)):
        if name not in OF_ORDERS:
            raise BadQuestion(name, f"of orders: one of {', '.join(OF_ORDERS)}")
    groups = {}
    if question.bucket:
        of = BUCKETS[question.bucket].of
        groups[question.bucket] = of if of.endswith("::integer") else f'({of}) COLLATE "C"'
    return groups | {name: called(question, name) for name in question.group_by}


# --- steps: the orders, their output, their end, what they are, their names ---------------------


def _due(question: Question, made: Statement) -> str:
    window = question.window
    column, kind = ("r.due_at", "timestamptz") if window.by_instant else (_DAY, "date")
    bounds = "".join(
        f" AND {column} {sign} {made.take(moment)}::{kind}"
        for moment, sign in ((window.start, ">="), (window.end, "<"))
        if moment is not None
    )
    return (
        f"SELECT r.site_id, r.id, r.definition_id, r.due_at, r.qty_ordered, r.actual_end,"
        f" {_DAY} AS day, {_FINISHED} AS is_finished, {_CANCELLED} AS is_cancelled"
        f" FROM mes.work_orders AS r{SITE_DAY}"
        f" WHERE r.site_id IN ({literals(question.sites)}) AND r.due_at IS NOT NULL{bounds}"
    )


def _made(question: Question) -> str:
    return (
        f"SELECT w.site_id, w.id, sum(p.qty_good) AS qty FROM w JOIN {rows_of(_BY_ORDER)} AS p"
        " ON p.site_id = w.site_id AND p.work_order_id = w.id"
        f" AND p.site_id IN ({literals(question.sites)})"
        f" WHERE EXISTS (SELECT FROM g WHERE g.code = p.segment_code AND ({_OUTPUT}))"
        " GROUP BY 1, 2"
    )


def _told(question: Question) -> str:
    last = _LAST.format(sites=literals(question.sites))
    return (
        "SELECT w.*, w.id AS work_order_id, CASE WHEN w.is_finished THEN"
        f" coalesce(w.actual_end, CASE WHEN l.is_stale THEN {last} ELSE l.last_end END) END"
        " AS finished_at,"
        f" CASE WHEN EXISTS (SELECT FROM g WHERE {_OUTPUT})"
        " THEN coalesce(m.qty, 0) END AS qty_made"
        " FROM w LEFT JOIN m ON m.site_id = w.site_id AND m.id = w.id"
        " LEFT JOIN l ON l.site_id = w.site_id AND l.work_order_id = w.id"
    )


_IS_DUE: Final = (
    "(NOT f.is_cancelled AND CASE WHEN f.is_finished THEN f.finished_at IS NOT NULL"
    " ELSE f.due_at <= now() END)"
)
_IS_ON_TIME: Final = f"({_IS_DUE} AND coalesce(f.finished_at <= f.due_at, false))"
_IS_COUNTED: Final = f"({_IS_DUE} AND f.qty_made IS NOT NULL)"
_JUDGED: Final = (
    "SELECT f.*, NOT f.is_cancelled AND NOT f.is_finished AS is_open,"
    f" {_IS_DUE} AS is_due, {_IS_ON_TIME} AS is_on_time,"
    f" {_IS_DUE} AND NOT {_IS_ON_TIME} AS is_late, {_IS_COUNTED} AS is_counted,"
    f" {_IS_COUNTED} AND {_IS_ON_TIME} AND f.qty_made >= f.qty_ordered AS is_in_full,"
    " extract(epoch FROM coalesce(f.finished_at, now()) - f.due_at) AS late_s,"
    " CASE WHEN f.qty_made IS NOT NULL THEN f.qty_ordered END AS qty_to_make FROM f"
)


def _named(question: Question, groups: dict[str, str], made: Statement) -> str:
    used = [*question.group_by, *(each.dimension for each in question.filters)]
    joins = dict.fromkeys(join for name in used for join in DIMENSIONS[name].joins)
    if question.bucket:
        joins |= dict.fromkeys(BUCKETS[question.bucket].joins)
    columns = ["i.*", *(f"{of} AS {_by(name)}" for name, of in groups.items())]
    conditions = [condition(e, called(question, e.dimension), made) for e in question.filters]
    text = f"SELECT {', '.join(columns)} FROM i"
    text += "".join(f" {JOINS[join].format(sites=literals(question.sites))}" for join in joins)
    return text + (f" WHERE {' AND '.join(conditions)}" if conditions else "")

"""Orders by their due dates: how far they are, which are late, and how many were on time.

Pure. An order is finished from the state COMPLETED on. It is due when its due date is past, or
when it is finished before; an order that was cancelled before work on it began is not, nor one
without a due date. What nobody knows is left out and never taken for zero: a finished order without
an end is neither on time nor late; an unfinished one is judged at the moment until which its site
is complete, since what was finished after that nobody knows; and the good quantity of an order is
that of its output operations (``is_output``), those of its own definition where it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.reports.judged import THROUGH
from central.reports.kpis_of_orders import KPIS_OF_ORDERS, MEASURES_OF_ORDERS
from central.reports.orders import called, groups_of, joins_of, places_of
from central.reports.paging import Statement, literals
from central.reports.question import BadQuestion, Due
from central.reports.statement import DIGITS, condition
from central.rollups import AT, DAY_OF, IS_WORK, ROLLUPS, SITE_DAY, rows_of
from central.unions import LIVES, kept_of

if TYPE_CHECKING:
    from central.reports.question import Question

#: What can be asked for.
MEASURES_OF_DUE: Final = (*MEASURES_OF_ORDERS, *KPIS_OF_ORDERS)
_MOMENTS: Final = tuple(n for n, each in MEASURES_OF_ORDERS.items() if each.unit == "instant")
_FINISHED: Final = "r.exec_state IN ('COMPLETED', 'CLOSED')"
_CANCELLED: Final = "(r.cancel_requested AND r.exec_state IN ('CREATED', 'RELEASED'))"
_DAY: Final = DAY_OF.format(at="r.due_at")
_BY_ORDER: Final = next(each for each in ROLLUPS if each.name == "output_order_days")
#: Orders that were finished and whose end nobody noted: it is that of their last report.
_ENDED: Final = (
    "SELECT w.site_id, w.id AS work_order_id FROM w WHERE w.is_finished AND w.actual_end IS NULL"
)
#: That, by the facts, where what is kept does not say.
_LAST: Final = (
    f"(SELECT max({AT}) FROM mes.job_responses AS r WHERE r.site_id = w.site_id"
    f" AND r.site_id IN ({{sites}}) AND r.work_order_id = w.id AND {IS_WORK})"
)
#: An output operation of the order; what another plant added to a shared definition is none.
_OUTPUT: Final = (
    "g.site_id IN (w.site_id, '*') AND (g.definition_id = w.definition_id"
    " OR w.definition_id IS NULL)"
)


def due_statement(question: Question) -> Statement:
    """Return the statement on orders that are due in the window; raise BadQuestion.

    A window of instants goes by the due date itself, one of days by the site's business day of it.
    """
    window = question.window
    if question.due is Due.NEVER and (window.start, window.end) != (None, None):
        raise BadQuestion("due", "`never` without from and to: such an order is in no window")
    made = Statement()
    asked = [*question.measures, *(each.column for each in question.sort)]
    figures = [KPIS_OF_ORDERS[name] for name in dict.fromkeys(asked) if name in KPIS_OF_ORDERS]
    parts = [part for figure in figures for part in figure.measures]
    plain = dict.fromkeys([*parts, *(n for n in asked if n in MEASURES_OF_ORDERS)])
    groups = groups_of(question)
    sums = [f"{MEASURES_OF_ORDERS[name].of} AS {name}" for name in plain]
    steps = [
        f"w AS ({_due(question, made)})",
        f"u AS ({_known(question, made)})",
        "g AS (SELECT DISTINCT s.site_id, s.definition_id, s.code"
        " FROM mes.operation_segments AS s WHERE s.is_output)",
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
    made.places = places_of(question, groups, _MOMENTS)
    rows = f"WITH {', '.join(steps)} SELECT {', '.join(shown)} FROM n"
    return made.page(rows, after=question.after, limit=question.limit)


def _by(name: str) -> str:
    return f"by_{name}"


# --- steps: the orders, their output, their end, what they are, their names ---------------------


def _due(question: Question, made: Statement) -> str:
    window = question.window
    column, kind = ("r.due_at", "timestamptz") if window.by_instant else (_DAY, "date")
    since, until = (
        "true" if moment is None else f"{column} {sign} {made.take(moment)}::{kind}"
        for moment, sign in ((window.start, ">="), (window.end, "<"))
    )
    which = {
        Due.THEN: f"r.due_at IS NOT NULL AND {since} AND {until}",
        Due.OR_LATE: f"r.due_at IS NOT NULL AND ({since} OR NOT {_FINISHED}) AND {until}",
        Due.NEVER: "r.due_at IS NULL",
    }[question.due]
    return (
        f"SELECT r.site_id, r.id, r.definition_id, r.due_at, r.qty_ordered, r.actual_end,"
        f" {_DAY} AS day, {_FINISHED} AS is_finished, {_CANCELLED} AS is_cancelled,"
        f" {since} AS is_in_window FROM mes.work_orders AS r{SITE_DAY}"
        f" WHERE r.site_id IN ({literals(question.sites)}) AND {which}"
    )


def _known(question: Question, made: Statement) -> str:
    """Return the query of the moment until which an order of each site is known to be unfinished.

    A site that was never heard has none.
    """
    at, through = "now()", f"{THROUGH} AS c"
    if moment := question.judged:
        at = f"{made.take(moment.at)}::timestamptz"
        given = made.take(list(question.sites)), made.take(list(moment.through_ms))
        through = f"unnest({given[0]}::text[], {given[1]}::bigint[]) AS c(site, through_ms)"
    return (
        f"SELECT c.site, least({at}, to_timestamp(c.through_ms / 1000.0)) AS known_at"
        f" FROM {through} WHERE c.site IN ({literals(question.sites)}) AND c.through_ms > 0"
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
        "SELECT w.*, w.id AS work_order_id, u.known_at, CASE WHEN w.is_finished THEN"
        f" coalesce(w.actual_end, CASE WHEN l.is_stale THEN {last} ELSE l.last_end END) END"
        " AS finished_at,"
        f" CASE WHEN EXISTS (SELECT FROM g WHERE {_OUTPUT})"
        " THEN coalesce(m.qty, 0) END AS qty_made"
        " FROM w LEFT JOIN m ON m.site_id = w.site_id AND m.id = w.id"
        " LEFT JOIN l ON l.site_id = w.site_id AND l.work_order_id = w.id"
        " LEFT JOIN u ON u.site = w.site_id"
    )


_IS_DUE: Final = (
    "(NOT f.is_cancelled AND f.due_at IS NOT NULL AND CASE WHEN f.is_finished"
    " THEN f.finished_at IS NOT NULL ELSE coalesce(f.due_at <= f.known_at, false) END)"
)
_IS_ON_TIME: Final = f"({_IS_DUE} AND coalesce(f.finished_at <= f.due_at, false))"
_IS_COUNTED: Final = f"({_IS_DUE} AND f.qty_made IS NOT NULL)"
_JUDGED: Final = (
    "SELECT f.*, NOT f.is_cancelled AND NOT f.is_finished AS is_open,"
    f" {_IS_DUE} AS is_due, {_IS_ON_TIME} AS is_on_time,"
    f" {_IS_DUE} AND NOT {_IS_ON_TIME} AS is_late, {_IS_COUNTED} AS is_counted,"
    f" {_IS_COUNTED} AND {_IS_ON_TIME} AND f.qty_made >= f.qty_ordered AS is_in_full,"
    " extract(epoch FROM coalesce(f.finished_at, f.known_at) - f.due_at) AS late_s,"
    " CASE WHEN f.qty_made IS NOT NULL THEN f.qty_ordered END AS qty_to_make FROM f"
)


def _named(question: Question, groups: dict[str, str], made: Statement) -> str:
    columns = ["i.*", *(f"{of} AS {_by(name)}" for name, of in groups.items())]
    conditions = [condition(e, called(question, e.dimension), made) for e in question.filters]
    if question.due is Due.OR_LATE:
        conditions.append("(i.is_in_window OR i.is_open AND i.is_late)")
    text = f"SELECT {', '.join(columns)} FROM i{''.join(joins_of(question))}"
    return text + (f" WHERE {' AND '.join(conditions)}" if conditions else "")

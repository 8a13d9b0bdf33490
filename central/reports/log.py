"""The reports of production themselves, one row each, with the names of what they are about.

Pure. For whoever wants to see what is behind a sum, or takes all of it along: in the order in which
they ended, so that an export goes on where it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.reports.dimensions import DIMENSIONS, JOINS
from central.reports.paging import Place, Statement, literals
from central.reports.question import BadQuestion
from central.reports.sources import in_months
from central.reports.statement import compared, condition
from central.rollups import AT, DAY, SITE_DAY

if TYPE_CHECKING:
    from datetime import datetime

    from central.reports.question import Question

_NAMED: Final = ("order", "material", "machine", "person")
#: The columns of a report, each with its SQL over a fact ``i`` and what is joined to it.
COLUMNS: Final = {
    "site": "i.site_id",
    "id": "i.id",
    "started_at": "i.started_at",
    "ended_at": "i.at",
    "day": "i.day",
    **{name: DIMENSIONS[name].code for name in _NAMED},
    "segment": "i.segment_code",
    "report_type": "i.report_type",
    "shift": "i.shift_code",
    "qty_good": "i.qty_good",
    "qty_scrap": "i.qty_scrap",
    "qty_rework": "i.qty_rework",
    "qty_mrb": "i.qty_mrb",
    "uom": "i.uom",
    "scrap_reason": "i.scrap_reason",
    "rework": "i.is_rework",
    "elapsed_min": "extract(epoch FROM i.at - i.started_at) / 60",
    "span_min": "i.duration_s / 60",
    "duration_known": "i.duration_known",
    "corrects": "i.corrects_id",
    "source_row": "i.source_row",
}


def log_statement(
    question: Question, open_at: datetime | None = None, *, is_sorted: bool = True
) -> Statement:
    """Return the statement that gives the reports of a window, one more than its limit.

    ``open_at`` leaves those that had begun by then and had not ended. Raise BadQuestion for a page
    of rows that are in no order: it would not tell where it ends.
    """
    if not is_sorted and question.limit is not None:
        raise BadQuestion("sort", "none is for whole answers and exports: pages have an order")
    made = Statement()
    rows = _rows(question, open_at, made)
    sites = literals(question.sites)
    used = [*_NAMED, *(each.dimension for each in question.filters)]
    joins = dict.fromkeys(join for name in used for join in DIMENSIONS[name].joins)
    columns = ", ".join(f'{of} AS "{name}"' for name, of in COLUMNS.items())
    conditions = [condition(each, compared(question, each), made) for each in question.filters]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    joined = "".join(f" {JOINS[join].format(sites=sites)}" for join in joins)
    made.columns = tuple(COLUMNS)
    made.places = (Place("ended_at", "timestamptz"), Place("id", "uuid"))
    rows = f"SELECT {columns} FROM ({rows}) AS i{joined}{where}"
    return made.page(rows, after=question.after, limit=question.limit, is_sorted=is_sorted)


def _rows(question: Question, open_at: datetime | None, made: Statement) -> str:
    """Return the query of the facts of a window."""
    window = question.window
    column, kind = (AT, "timestamptz") if window.by_instant else (DAY.of, "date")
    bounds = [
        f" AND {column} {sign} {made.take(moment)}::{kind}"
        for moment, sign in ((window.start, ">="), (window.end, "<"))
        if moment is not None
    ]
    if open_at is not None:
        at = made.take(open_at)
        bounds.append(f" AND r.started_at < {at}::timestamptz AND {AT} > {at}::timestamptz")
    return (
        f"SELECT r.*, {AT} AS at, {DAY.of} AS day FROM mes.job_responses AS r{SITE_DAY}"
        f" WHERE r.site_id IN ({literals(question.sites)}){''.join(bounds)}"
        f"{in_months(question)}"
    )

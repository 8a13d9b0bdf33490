"""The one statement that answers a question on production.

Pure. In steps, each a named query: ``i`` sums the source by ids, ``k`` gives the few sums that are
left their names, ``g`` groups them as asked, ``a`` makes key figures of them. The sites stand in it
as literals, so that the partitions of others are left out before it starts; row-level security is
what makes sure of it. Whatever a person wrote is a parameter.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from central.reports.clipped import clipped_rows
from central.reports.dimensions import BUCKETS, DIMENSIONS, JOINS
from central.reports.known import facts, sums
from central.reports.kpis import (
    DISTINCTS,
    INTERVAL_MEASURES,
    KPIS,
    MACHINE_MEASURES,
    MEASURES,
    QTY_ORDERED,
)
from central.reports.machine_days import machine_days
from central.reports.paging import Place, Statement, literals
from central.reports.question import MOMENTS, Basis, By, Match
from central.reports.sources import in_months, needs, parts_of, source_of
from central.rollups import AT, DAY, DAY_OF, OUTPUT, SITE_DAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from central.reports.question import Filter, Question
    from central.reports.sources import Needs, Source

#: Digits after the point of a key figure.
DIGITS: Final = 9
#: Columns of the facts that are the very words that people use.
_RAW: Final = {"report_type", "segment_code", "shift_code", "scrap_reason", "is_rework", "uom"}


def statement_of(question: Question, source: Source | None = None) -> Statement:
    """Return the statement that answers a question, with one row more than its limit.

    From the smallest source that knows all of it, where none is named.
    """
    made = Statement()
    wanted, source = needs(question), source or source_of(question)
    inner = _inner(question, wanted, source, made)
    measures = parts_of(_all_measures(question))
    groups = _groups(question)
    steps = [
        f"i AS ({inner})",
        f"k AS ({_named(question, groups, measures, made)})",
        f"g AS ({_grouped(groups, measures, _kept(question))})",
        f"a AS ({_figures(measures)})",
        f"t AS ({_shares(question)})",
    ]
    shown = [*(f'{_of(name)} AS "{name}"' for name, _ in groups), *_shown(question)]
    made.columns = (*(name for name, _ in groups), *_shown(question))
    made.places = tuple(
        Place(name, _kind(name), descending=down) for name, down in _sorted(question)
    )
    rows = f"WITH {', '.join(steps)} SELECT {', '.join(shown)} FROM t"
    return made.page(rows, after=question.after, limit=question.limit)


def is_clipped(question: Question) -> bool:
    """Tell whether reports are cut at the window and the bucket."""
    asks_busy = any(name in INTERVAL_MEASURES for name in parts_of(_all_measures(question)))
    return question.basis is Basis.CLIP or asks_busy


def is_of_machines(question: Question) -> bool:
    """Tell whether a question needs planned time or rates."""
    return any(name in MACHINE_MEASURES for name in parts_of(_all_measures(question)))


def reads_facts(question: Question) -> bool:
    """Tell whether reports themselves are read for an answer, as for a list of them."""
    if question.is_of_states:
        return False
    if not question.measures or is_of_machines(question) or is_clipped(question):
        return True
    return source_of(question).is_facts


def _all_measures(question: Question) -> tuple[str, ...]:
    more = (question.share_of, question.nonzero)
    return tuple(dict.fromkeys([*question.measures, *(each for each in more if each)]))


def _shown(question: Question) -> tuple[str, ...]:
    return (*question.measures, *(("share", "cum_share") if question.share_of else ()))


# --- i: the source, summed by ids -----------------------------------------------------------------


def _inner(question: Question, wanted: Needs, source: Source, made: Statement) -> str:
    if is_of_machines(question):
        return machine_days(question, literals(question.sites), made.take)
    if is_clipped(question):
        rows = clipped_rows(question, wanted.keys, literals(question.sites), made.take)
        rows += in_months(question)
        return f"{rows}{_early(question, made)}"
    keys = ["r.site_id", *(f"r.{key}" for key in wanted.keys)]
    day, at = _moments(question) if source.is_facts else ("r.day", "r.quarter")
    if wanted.day:
        keys.append(f"{day} AS day")
    if wanted.instant:
        keys.append(f"{at} AS at")
    parts = [f"sum({each.of if source.is_facts else f'r.{each.name}'}) AS {each.name}"
             for each in OUTPUT]  # fmt: skip
    if wanted.reports and source.is_facts:
        parts += ["min(r.started_at) AS min_started_at", "max(r.started_at) AS max_started_at",
                  f"min({AT}) AS min_ended_at", f"max({AT}) AS max_ended_at"]  # fmt: skip
    places = ", ".join(str(place) for place in range(1, len(keys) + 1))
    rows = sums(source.rollup, question) if source.rollup else facts(question)
    return (
        f"SELECT {', '.join([*keys, *parts])} FROM {rows} AS r"
        f"{SITE_DAY if source.is_facts else ''}"
        f" WHERE r.site_id IN ({literals(question.sites)})"
        f"{_within(question, day, at, made)}{in_months(question) if source.is_facts else ''}"
        f"{_early(question, made)} GROUP BY {places}"
    )


def _moments(question: Question) -> tuple[str, str]:
    """Return the day and the instant at which a fact counts."""
    if question.basis is Basis.START:
        start = f"coalesce(r.started_at, {AT})"
        return DAY_OF.format(at=start), start
    return DAY.of, AT


def _within(question: Question, day: str, at: str, made: Statement) -> str:
    window = question.window
    column = at if window.by_instant else day
    text = ""
    if window.start is not None:
        text += f" AND {column} >= {made.take(window.start)}{_cast(window.start)}"
    if window.end is not None:
        text += f" AND {column} < {made.take(window.end)}{_cast(window.end)}"
    return text


def _cast(moment: date | datetime) -> str:
    return "::timestamptz" if isinstance(moment, datetime) else "::date"


def _early(question: Question, made: Statement) -> str:
    """Return the filters that a fact tells itself: they leave rows out before they are summed."""
    return "".join(
        f" AND {condition(each, f'r.{key}::text', made)}"
        for each in question.filters
        if (key := _raw_key(each)) and not (question.by is By.ID and DIMENSIONS[each.dimension].id)
    )


def _raw_key(one: Filter) -> str:
    keys = DIMENSIONS[one.dimension].keys
    is_raw = len(keys) == 1 and keys[0] in _RAW and not DIMENSIONS[one.dimension].joins
    return keys[0] if is_raw else ""


def condition(one: Filter, expression: str, made: Statement) -> str:
    """Return the SQL of a filter on what an expression gives; of parts of texts in any case."""
    if one.match is Match.CONTAINS:
        # Named as nothing is that an expression may be of.
        found = f"EXISTS (SELECT FROM unnest({made.take(list(one.values))}::text[]) AS asked(part)"
        return f"{found} WHERE strpos(lower({expression}), lower(asked.part)) > 0)"
    among = f"{expression} = ANY ({made.take(list(one.values))}::text[])"
    return f"({among}) IS NOT TRUE" if one.match is Match.IS_NOT else among


def _of(group: str) -> str:
    """Return what a column that is grouped by is called inside, where no other has its name."""
    return f"by_{group}"


# --- k: names -------------------------------------------------------------------------------------


def _groups(question: Question) -> list[tuple[str, str]]:
    """Return the columns that are grouped by, each with its SQL over ``i`` and what is joined."""
    found = []
    if question.bucket:
        found.append((question.bucket, _collated(BUCKETS[question.bucket].of)))
    for name in question.group_by:
        dimension = DIMENSIONS[name]
        found.append((name, _collated(dimension.code)))
        if question.by is By.ID and dimension.id:
            found.append((f"{name}_id", _collated(dimension.id)))
    return found


def _collated(expression: str) -> str:
    """Have texts sorted by their code points, everywhere alike."""
    return expression if expression.endswith("::integer") else f'({expression}) COLLATE "C"'


def _named(
    question: Question, groups: list[tuple[str, str]], measures: tuple[str, ...], made: Statement
) -> str:
    late = [each for each in question.filters if not _raw_key(each)]
    used = [*question.group_by, *(each.dimension for each in late)]
    distinct = {name: DISTINCTS[name].dimension for name in measures if name in DISTINCTS}
    used += [*distinct.values(), *(["order"] if QTY_ORDERED in measures else [])]
    joins = dict.fromkeys(join for name in used for join in DIMENSIONS[name].joins)
    if question.bucket:
        joins |= dict.fromkeys(BUCKETS[question.bucket].joins)
    columns = ["i.*", *(f"{expression} AS {_of(name)}" for name, expression in groups)]
    columns += [f"{_told_apart(question, of)} AS its_{name}" for name, of in distinct.items()]
    if QTY_ORDERED in measures:
        columns.append(_ordered_once(groups))
    sites = literals(question.sites)
    conditions = [condition(each, compared(question, each), made) for each in late]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    text = f"SELECT {', '.join(columns)} FROM i"
    return "".join([text, *(f" {JOINS[join].format(sites=sites)}" for join in joins), where])


def compared(question: Question, one: Filter) -> str:
    """Return what a filter's values are compared with: codes, and ids where it goes by them."""
    dimension = DIMENSIONS[one.dimension]
    by_id = question.by is By.ID and dimension.id and one.match is not Match.CONTAINS
    return dimension.id if by_id else dimension.code


def _told_apart(question: Question, dimension: str) -> str:
    found = DIMENSIONS[dimension]
    if question.by is By.ID and found.id:
        return f"(i.site_id, {found.id})"
    return found.code


def _ordered_once(groups: list[tuple[str, str]]) -> str:
    """Have the quantity of each order in one of its rows only, so that it adds up."""
    parts = ", ".join([*(expression for _, expression in groups), "i.site_id, i.work_order_id"])
    once = f"row_number() OVER (PARTITION BY {parts})"
    return f"CASE WHEN {once} = 1 THEN o.qty_ordered END AS once_{QTY_ORDERED}"


# --- g, a, t: groups, figures, shares -------------------------------------------------------------


def _kept(question: Question) -> str:
    """Return the condition of groups that are shown.

    What is left in a rollup of facts that are gone is nothing but zeros. A machine for which time
    was planned is shown though it did nothing.
    """
    if is_of_machines(question):
        return "sum(k.reports) <> 0 OR sum(k.planned_s) > 0 OR sum(k.produced_s) > 0"
    busy = " OR NOT isempty(range_agg(k.busy))" if is_clipped(question) else ""
    return f"sum(k.reports) <> 0{busy}"


def _grouped(groups: list[tuple[str, str]], measures: tuple[str, ...], kept: str) -> str:
    columns = [f"k.{_of(name)}" for name, _ in groups]
    columns += [f"{_aggregate(name)} AS {name}" for name in measures if name not in KPIS]
    text = f"SELECT {', '.join(columns)} FROM k"
    if groups:
        by = ", ".join(f"k.{_of(name)}" for name, _ in groups)
        text += f" GROUP BY {by} HAVING {kept}"
    return text


def _aggregate(name: str) -> str:
    if measure := (MEASURES | MACHINE_MEASURES | INTERVAL_MEASURES).get(name):
        return measure.of
    if name in DISTINCTS:
        return f"count(DISTINCT k.its_{name})"
    if name in MOMENTS:
        function, column = MOMENTS[name]
        return f"{function}(k.{function}_{column})"
    assert name == QTY_ORDERED, name
    return f"coalesce(sum(k.once_{QTY_ORDERED}), 0)"


def _figures(measures: tuple[str, ...]) -> str:
    figures = [f"round({KPIS[name].sql}, {DIGITS}) AS {name}" for name in measures if name in KPIS]
    return f"SELECT {', '.join(['g.*', *figures])} FROM g"


def _shares(question: Question) -> str:
    where = f" WHERE a.{question.nonzero} <> 0" if question.nonzero else ""
    if not question.share_of:
        return f"SELECT a.* FROM a{where}"
    of, total = f"a.{question.share_of}", f"nullif(sum(a.{question.share_of}) OVER (), 0)"
    running = f"sum({of}) OVER (ORDER BY {_order(question)} ROWS UNBOUNDED PRECEDING)"
    return (
        f"SELECT a.*, round({of} / {total}, {DIGITS}) AS share,"
        f" round({running} / {total}, {DIGITS}) AS cum_share FROM a{where}"
    )


def _sorted(question: Question) -> Iterator[tuple[str, bool]]:
    """Give all that the answer is sorted by; in the end no two rows are alike."""
    asked = {each.column: each.descending for each in question.sort}
    yield from asked.items()
    yield from ((name, False) for name, _ in _groups(question) if name not in asked)


def _order(question: Question) -> str:
    found = [
        f"{_inside(question, name)}{' DESC' if down else ''} NULLS LAST"
        for name, down in _sorted(question)
    ]
    return ", ".join(found) or "1"


def _inside(question: Question, column: str) -> str:
    return _of(column) if column in dict(_groups(question)) else column


#: Columns of the answer that are numbers.
_NUMBERS: Final = frozenset(
    {
        *MEASURES,
        *DISTINCTS,
        *KPIS,
        QTY_ORDERED,
        *INTERVAL_MEASURES,
        *MACHINE_MEASURES,
        "share",
        "cum_share",
    }
)


def _kind(name: str) -> str:
    """Return the type of a column of the answer."""
    if name in MOMENTS:
        return "timestamptz"
    is_number = name in _NUMBERS or (name in BUCKETS and BUCKETS[name].of.endswith("::integer"))
    return "numeric" if is_number else "text"

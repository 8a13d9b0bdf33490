"""States of machines by their events: minutes, how often, and what ISO 22400-2 makes of them.

Pure. A state is cut at the window and at the pieces of time, as reports are (``clipped``), so its
minutes add up over any division; that a machine went into it counts once, where it did. Days are
those of the site, of 23 or 25 hours when its clocks change. Share and known time are of all
states, whichever are asked for: who filters for DOWN is told which share of the known time
that was.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from central.reports.dimensions import BUCKETS, DIMENSIONS, JOINS, Dimension
from central.reports.kpis import KPIS_OF_STATES, MEASURES_OF_STATES
from central.reports.paging import Place, Statement, literals
from central.reports.question import BadQuestion
from central.reports.state_spans import OF_MACHINES, called, check_window, span_steps
from central.reports.statement import DIGITS, condition
from central.rollups import BEGINS, DAY_OF

if TYPE_CHECKING:
    from central.reports.question import Question

#: What states are told apart by, beside what machines are.
_OF_STATES: Final = {
    each.name: each
    for each in (
        Dimension("state", "State of the machine, as the plant calls it", (), "i.state"),
        Dimension("source", "Who noted the state: PLC or MANUAL", (), "i.source"),
        Dimension("time_element", "What the state is in the time model of ISO 22400-2: APT, AUST,"
                  " ADET, ADOT, PLANNED, UNSCHEDULED, or UNMAPPED where nobody said", (),
                  "i.element"),
        Dimension("reason", "Why it stood: as people noted it, else as the event of the state says",
                  (), "i.reason_code"),
    )
}  # fmt: skip
DIMENSIONS_OF_STATES: Final = {name: DIMENSIONS[name] for name in OF_MACHINES} | _OF_STATES
FIGURES_OF_STATES: Final = (*MEASURES_OF_STATES, *KPIS_OF_STATES)
#: Hours are cut by quarters, so there may be fewer days of them.
HOUR_DAYS_MAX: Final = 31
_PLANNED: Final = ("pbt_min", "apt_planned_min", "aubt_planned_min")
_SECONDS: Final = "extract(epoch FROM i.high - i.low)"
#: The columns of the list of states, each with its SQL over a state ``i`` of a machine ``n``.
TIMELINE: Final = {
    "site": "i.site_id",
    "machine": "n.by_machine",
    "machine_id": 'i.equipment_id::text COLLATE "C"',
    "state": "i.state",
    "time_element": "i.element",
    "source": "i.source",
    "reason": "i.reason_code",
    "since": "i.since",
    "from": "i.begins",
    "until": "i.ends",
    "state_min": "extract(epoch FROM i.ends - i.begins) / 60",
}


def states_statement(question: Question) -> Statement:
    """Return the statement on times in states; raise BadQuestion."""
    check_window(question)
    _check_hours(question)
    made = Statement()
    shares = ("share", "cum_share") if question.share_of else ()
    asked = dict.fromkeys([*question.measures, *(each.column for each in question.sort)])
    figures = [KPIS_OF_STATES[name] for name in asked if name in KPIS_OF_STATES]
    parts = [part for figure in figures for part in figure.measures]
    plain = list(dict.fromkeys([*parts, *(n for n in asked if n in MEASURES_OF_STATES)]))
    groups = _groups(question)
    with_plan = any(name in _PLANNED for name in plain)
    steps = [
        *span_steps(question, question.group_by, made, with_plan=with_plan),
        f"p AS ({_pieces(question)})",
        f"k AS ({_timed(question, groups, made, with_plan=with_plan)})",
        f"g AS ({_grouped(groups, plain)})",
    ]
    shown = [f'g.by_{name} AS "{name}"' for name in groups]
    shown += [f"g.{name}" for name in plain]
    shown += [f"round({each.sql}, {DIGITS}) AS {each.name}" for each in figures]
    made.columns = (*groups, *question.measures, *shares)
    sorted_by = {each.column: each.descending for each in question.sort}
    sorted_by |= {name: False for name in groups if name not in sorted_by}
    made.places = tuple(Place(n, _kind(n), descending=down) for n, down in sorted_by.items())
    rows = f"SELECT {', '.join(shown)} FROM g{' WHERE g.kept > 0' if groups else ''}"
    rows = f"WITH RECURSIVE {', '.join(steps)} {_with_shares(question, made, rows)}"
    return made.page(rows, after=question.after, limit=question.limit)


def _with_shares(question: Question, made: Statement, rows: str) -> str:
    """Return a query with the share of each row in all of them, and of those up to it."""
    if not question.share_of:
        return rows
    of, total = f"t.{question.share_of}", f"nullif(sum(t.{question.share_of}) OVER (), 0)"
    order = ", ".join(place.sorted_by for place in made.places) or "1"
    upto = f"sum({of}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING)"
    return (
        f"SELECT t.*, round({of} / {total}, {DIGITS}) AS share,"
        f" round({upto} / {total}, {DIGITS}) AS cum_share FROM ({rows}) AS t"
    )


def timeline_statement(question: Question) -> Statement:
    """Return the statement that gives each state of each machine, in the order of time."""
    check_window(question)
    made = Statement()
    steps = span_steps(question, ("machine",), made)
    columns = ", ".join(f'{of} AS "{name}"' for name, of in TIMELINE.items())
    kept = _kept(question, made)
    made.columns = tuple(TIMELINE)
    made.places = (
        Place("site"), Place("machine"), Place("machine_id"), Place("from", "timestamptz"),
    )  # fmt: skip
    rows = (
        f"WITH RECURSIVE {', '.join(steps)} SELECT {columns} FROM h AS i JOIN n"
        f" ON n.site_id = i.site_id AND n.equipment_id = i.equipment_id WHERE {kept}"
    )
    return made.page(rows, after=question.after, limit=question.limit)


def _check_hours(question: Question) -> None:
    start, end = question.window.start, question.window.end
    if question.bucket is None or not BUCKETS[question.bucket].by_instant:
        return
    if start is not None and end is not None and end - start > timedelta(days=HOUR_DAYS_MAX):
        raise BadQuestion("to", f"at most {HOUR_DAYS_MAX} days after from, by the hour")


def _kind(name: str) -> str:
    is_number = name in (*FIGURES_OF_STATES, "share", "cum_share")
    is_number |= name in BUCKETS and BUCKETS[name].of.endswith("::integer")
    return "numeric" if is_number else "text"


def _groups(question: Question) -> dict[str, str]:
    """Return what it is grouped by, each with its SQL over a piece ``i`` of a machine ``n``."""
    groups = {}
    if question.bucket:
        of = BUCKETS[question.bucket].of
        groups[question.bucket] = of if of.endswith("::integer") else f'({of}) COLLATE "C"'
    for name in question.group_by:
        if name in _OF_STATES:
            groups[name] = f'{_OF_STATES[name].code} COLLATE "C"'
        else:
            groups |= {column: f"n.by_{column}" for column in called(question, [name])}
    return groups


def _kept(question: Question, made: Statement) -> str:
    """Return the condition of the states that are asked for."""
    return " AND ".join(
        condition(each, _OF_STATES[each.dimension].code, made)
        for each in question.filters
        if each.dimension in _OF_STATES
    ) or "true"  # fmt: skip


# --- steps: pieces of states, their times, groups of them -----------------------------------------


def _pieces(question: Question) -> str:
    """Return the query of states, each cut where a piece of time ends: from ``low`` to ``high``."""
    bucket = BUCKETS[question.bucket] if question.bucket else None
    if bucket is None:
        return "SELECT h.*, h.begins AS low, h.ends AS high, NULL::date AS day FROM h"
    if bucket.by_instant:
        series = (
            "generate_series(date_bin('15 minutes', h.begins, 'epoch'), h.ends,"
            " interval '15 minutes')"
        )
        low, high, of = "s.at", "s.at + interval '15 minutes'", "NULL::date AS day, s.at"
        series += " AS s(at)"
    else:
        first, last = (f"{DAY_OF.format(at=at)}::timestamp" for at in ("h.begins", "h.ends"))
        series = f"generate_series({first}, {last}, interval '1 day') AS s(day)"
        low, high = (BEGINS.format(day=each) for each in ("s.day", "s.day::date + 1"))
        of = "s.day::date AS day"
    cut = f"greatest(h.begins, {low}) AS low, least(h.ends, {high}) AS high"
    return (
        f"SELECT h.*, {cut}, {of} FROM h JOIN w AS z ON z.site_id = h.site_id"
        f" CROSS JOIN LATERAL {series}"
    )


def _timed(question: Question, groups: dict[str, str], made: Statement, *, with_plan: bool) -> str:
    """Return the query of the times of pieces; those of states that aren't asked for are known."""
    joins = BUCKETS[question.bucket].joins if question.bucket else ()
    joined = "".join(f" {JOINS[each].format(sites=literals(question.sites))}" for each in joins)
    began = "i.starts >= i.low AND i.starts < i.high"
    planned = (
        "(SELECT coalesce(sum(extract(epoch FROM upper(o) - lower(o))), 0) FROM"
        " unnest(n.planned * multirange(tstzrange(i.low, i.high))) AS o)"
    )
    planned = f"CASE WHEN n.planned IS NOT NULL THEN {planned} END" if with_plan else "NULL"
    kept = f"(({_kept(question, made)}) IS TRUE)"
    columns = [
        *(f"{of} AS by_{name}" for name, of in groups.items()),
        f"{kept} AS kept", f"{_SECONDS} AS known_s", "i.element", "i.is_failure",
        f"CASE WHEN {kept} THEN {_SECONDS} END AS held_s",
        f"CASE WHEN {kept} THEN ({planned})::numeric END AS planned_s",
        f"CASE WHEN {kept} THEN (i.enters AND {began})::integer END AS entered",
        f"CASE WHEN {kept} THEN (i.fails AND {began})::integer END AS failed",
    ]  # fmt: skip
    return (
        f"SELECT {', '.join(columns)} FROM p AS i JOIN n ON n.site_id = i.site_id"
        f" AND n.equipment_id = i.equipment_id{joined} WHERE i.low < i.high"
    )


def _grouped(groups: dict[str, str], plain: list[str]) -> str:
    of_all = ", ".join(f"k.by_{name}" for name in groups if name not in _OF_STATES)
    over = f"(PARTITION BY {of_all})" if of_all else "()"
    sums = [f"{MEASURES_OF_STATES[n].of.replace('{of_all}', over)} AS {n}" for n in plain]
    columns = [*(f"k.by_{name}" for name in groups), "count(*) FILTER (WHERE k.kept) AS kept"]
    text = f"SELECT {', '.join([*columns, *sums])} FROM k"
    return text + (f" GROUP BY {', '.join(f'k.by_{n}' for n in groups)}" if groups else "")

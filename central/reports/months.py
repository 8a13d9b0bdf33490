"""Which facts a question has to be answered from: no others are read.

Facts are kept by the month in which they were made, and asked for by when the work was done. A
rollup tells in which months the reports are that touch a day, right at every moment; so a question
costs what its window costs, however many facts there are. Where sums and unions are kept of all
that is asked for, facts are read of those keys alone of which these say nothing: mostly of none.

Pure, but for asking: what is to be asked is given as statements, and what comes of it taken.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.archive_state import State
from central.reports.known import sites_of, sums
from central.reports.paging import literals
from central.reports.question import Stale
from central.reports.sources import FACTS
from central.reports.statement import is_of_machines, reads_facts
from central.rollups import MONTHS, RATED, rows_of
from central.unions import BUSY, LIVES, NEVER, months_of_keys, months_query, stale_keys

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from psycopg import AsyncConnection, Connection

    from central.reports.question import Question

    #: Statements with their parameters, whose rows are sent back.
    Asking = Generator[tuple[str, Mapping[str, Any]], list[tuple[Any, ...]], Question]

#: A business day lies within a day and a half of the day of its name in UTC.
_MARGIN: Final = timedelta(days=2)
#: Keys of which the facts are read; where there are more, facts are read of all.
STALE_MAX: Final = 10_000


async def located(connection: AsyncConnection[Any], question: Question) -> Question:
    """Return a question with what of the facts can hold what it asks for.

    To be asked in the snapshot in which the facts are read then.
    """
    asking = _asked(question)
    try:
        text, given = next(asking)
        while True:
            cursor = await connection.execute(text.encode(), given)
            text, given = asking.send(await cursor.fetchall())
    except StopIteration as found:
        return found.value  # type: ignore[no-any-return]


def located_at_once(connection: Connection[Any], question: Question) -> Question:
    """Return what ``located`` does, for whoever waits in a thread."""
    asking = _asked(question)
    try:
        text, given = next(asking)
        while True:
            text, given = asking.send(connection.execute(text.encode(), given).fetchall())
    except StopIteration as found:
        return found.value  # type: ignore[no-any-return]


def _asked(question: Question) -> Asking:
    """Ask what is to be known of a question before its statement is made, and return it."""
    found = yield from _sought(question)
    if not _reads_facts(found):
        return found
    months = None if found.months is None else [f"{month:%Y-%m}" for month in found.months]
    ((archived,),) = yield (
        _ARCHIVED,
        {"table": FACTS, "sites": sites_of(found), "months": months, "there": State.ATTACHED},
    )
    return replace(found, archived=archived)


_ARCHIVED: Final = """
SELECT count(*) FROM sync.archive
WHERE table_name = %(table)s AND site_id = ANY (%(sites)s) AND state <> %(there)s
  AND (%(months)s::text[] IS NULL OR month = ANY (%(months)s))"""


def _reads_facts(found: Question) -> bool:
    """Tell whether an answer lacks what is in the archive; sums have it.

    What is known of states of machines tells of itself where it ends. Of orders by their due dates
    facts tell only the end of one that was finished without, and has reports mended just now.
    """
    if found.is_of_states or (found.measures and not found.is_of_reports) or found.months == ():
        return False
    return found.stale is not None or reads_facts(found)


def _sought(question: Question) -> Asking:
    window = question.window
    if question.is_of_lives:
        if question.as_known_at is not None:
            return question
        return (yield from _lives_asked(question))
    if (window.start is None and window.end is None) or not reads_facts(question):
        return question
    is_of_days = None not in (window.start, window.end) and not window.by_instant
    if is_of_days and is_of_machines(question) and question.as_known_at is None:
        found = yield from _machines_asked(question)
        if found.stale is not None:
            return found
    return (yield from _months_asked(question))


def _months_asked(question: Question) -> Asking:
    window = question.window
    bounds, given = "", {}
    for name, moment, text, margin in (
        ("first", window.start, "last_day >= %(first)s", -_MARGIN),
        ("last", window.end, "first_day <= %(last)s", _MARGIN),
    ):
        if moment is not None:
            bounds += f" AND r.{text}"
            given[name] = _moved(date(moment.year, moment.month, moment.day), margin)
    months = yield (
        f"SELECT DISTINCT r.month FROM {sums(MONTHS, question)} AS r"
        f" WHERE r.site_id IN ({literals(question.sites)}){bounds}",
        given,
    )
    return replace(question, months=tuple(sorted(m for (m,) in months)))


def _moved(day: date, margin: timedelta) -> date:
    """Return a day some days off, or the last that there is on that side."""
    try:
        return day + margin
    except OverflowError:
        return day


# --- machines -------------------------------------------------------------------------------------


def _machines_asked(question: Question) -> Asking:
    window, sites = question.window, literals(question.sites)
    assert window.start is not None
    assert window.end is not None
    given = {"first": window.start, "last": window.end}
    in_window = "s.day >= %(first)s::date AND s.day < %(last)s::date"
    busy = yield (
        f"SELECT s.site_id, s.equipment_id::text, nullif(s.day, {NEVER})"
        f" FROM {stale_keys(BUSY)} AS s WHERE s.site_id IN ({sites})"
        f" AND ({in_window} OR s.day = {NEVER}) LIMIT {STALE_MAX + 1}",
        given,
    )
    rated = yield (
        "SELECT DISTINCT s.site_id, s.equipment_id::text, s.utc_day"
        f" FROM {rows_of(RATED)} AS s WHERE s.site_id IN ({sites}) AND {in_window}"
        f" AND {_RATE_CHANGES} LIMIT {STALE_MAX + 1}",
        given,
    )
    every = _days(window.start, window.end)
    at = {
        (site, machine, each)
        for site, machine, day in busy
        for each in ([day] if day is not None else every)
    }
    if max(len(busy), len(rated), len(at)) > STALE_MAX:
        return question
    found = replace(question, stale=Stale(tuple(sorted(at)), tuple(sorted(rated))), months=())
    days = sorted({day for _, _, day in (*at, *rated)})
    if not days:
        return found
    months = yield (
        months_query("SELECT unnest(%(days)s::date[])"),
        {"sites": list(question.sites), "days": days},
    )
    return replace(found, months=tuple(sorted(m for (m,) in months)))


#: A rate of the machine begins or ends within that day of UTC: not all of it goes by the rate that
#: there is at its beginning.
_RATE_CHANGES: Final = (
    "EXISTS (SELECT FROM mes.equipment_rates AS q"
    " CROSS JOIN LATERAL (VALUES (q.effective_from), (q.effective_to)) AS e(at)"
    " WHERE q.equipment_id = s.equipment_id AND e.at > s.utc_day::timestamp AT TIME ZONE 'UTC'"
    " AND e.at < (s.utc_day + 1)::timestamp AT TIME ZONE 'UTC')"
)


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days)]


# --- orders ---------------------------------------------------------------------------------------


def _lives_asked(question: Question) -> Asking:
    orders = yield (
        f"SELECT s.site_id, s.work_order_id::text FROM {stale_keys(LIVES)} AS s"
        f" WHERE s.site_id IN ({literals(question.sites)}) LIMIT {STALE_MAX + 1}",
        {},
    )
    if len(orders) > STALE_MAX:
        return question
    found = replace(question, stale=Stale(orders=tuple(sorted(orders))), months=())
    if not orders:
        return found
    months = yield (
        months_of_keys(LIVES),
        {"sites": list(question.sites), "work_order_id": [order for _, order in orders]},
    )
    return replace(found, months=tuple(sorted(m for (m,) in months)))

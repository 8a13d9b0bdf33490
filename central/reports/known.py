"""What was known of production at an earlier moment: today's facts, without what changed since.

Pure, but for looking up from when on changes were noted. Each report that came, was mended or went
away late is kept with the moment (``sync.late_report``); one that came in time was there two days
after its window ended (``central.rollups``). So whoever asks for a moment after that gets the very
answer of that moment, however often and however much later it is asked.

What reports are about (names, rates, calendars, days of sites) is as it is today.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.reports.dimensions import DIMENSIONS
from central.reports.paging import literals
from central.reports.question import BadQuestion, Match, moment
from central.rollups import AT, LATE, LATE_COLUMNS, rows_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.reports.question import Question, Window
    from central.rollups import Rollup

#: Until when after its end a window may still get reports that come in time.
IN_TIME: Final = timedelta(days=2)
#: How long after its start a report is late, as ``central.rollups`` notes it.
LATE_AFTER: Final = timedelta(hours=12)
_FACTS: Final = "mes.job_responses"

#: From when on changes were noted, and the moment.
SINCE: Final = b"SELECT since, now() FROM sync.known_since"
#: When a late report last changed what is known of days, of some sites.
RESTATED: Final = b"""
SELECT max(noted_at) FROM sync.restated
WHERE site_id = ANY (%(sites)s) AND last_day >= %(first)s AND first_day <= %(last)s"""


def known_at(text: str | None, window: Window) -> datetime | None:
    """Return the moment that is asked for; raise BadQuestion where it can't be told of a window."""
    if not text:
        return None
    at = moment("as_known_at", text)
    if not isinstance(at, datetime):
        raise BadQuestion("as_known_at", "an instant such as 2026-12-03T06:00:00Z, and no day")
    if window.end is None:
        raise BadQuestion("to", "a day or an instant, where as_known_at is asked for")
    if (closed := closed_at(window)) is None or at < closed:
        rule = "two days after `to`, or the last `at`, or later: what was in time is there"
        raise BadQuestion("as_known_at", rule)
    return at


def closed_at(window: Window) -> datetime | None:
    """Return from when on nothing that is in time changes a window; None of one without end."""
    if window.end is None:
        return None
    try:
        return _instant(window.end) + IN_TIME
    except OverflowError:
        return None


def _instant(moment: date | datetime) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


def sums(rollup: Rollup, question: Question) -> str:
    """Return what a rollup's sums are summed from, as they were known."""
    return rows_of(rollup, without=_changed_since(question, "r"))


def facts(question: Question) -> str:
    """Return what reports of production are selected from, as they were known."""
    changed = _changed_since(question, "l")
    if not changed:
        return _FACTS
    columns = ", ".join(LATE_COLUMNS)
    first = f"SELECT DISTINCT ON (site_id, id) * FROM {LATE} AS l WHERE {changed}"
    return (
        f"(SELECT f.site_id, {columns} FROM {_FACTS} AS f WHERE NOT EXISTS (SELECT FROM {LATE} AS l"
        f" WHERE l.site_id = f.site_id AND l.id = f.id AND {changed})"
        # What went since was there; what came and went was not.
        f" UNION ALL SELECT site_id, {columns} FROM ({first} ORDER BY site_id, id, no) AS l"
        " WHERE sign = -1)"
    )


def surely_known(question: Question) -> str:
    """Return the condition of reports that were there at the moment for certain, if they came.

    For what goes by reports of work after the window, too, as the life of an order does. One that
    came in time came within 12 hours of its start; so of younger ones nobody knows any more whether
    they were there, and the answer is by those that were begun before.
    """
    if question.as_known_at is None:
        return ""
    until = (question.as_known_at - LATE_AFTER).isoformat()
    return f" AND least(r.started_at, {AT}) < '{until}'"


def _changed_since(question: Question, late: str) -> str:
    """Return the condition of what changed since the moment that is asked for; "" for today."""
    if question.as_known_at is None:
        return ""
    at = question.as_known_at.isoformat()
    return f"{late}.site_id IN ({literals(question.sites)}) AND {late}.noted_at > '{at}'"


def check_keys(question: Question) -> None:
    """Raise BadQuestion where a moment is asked for by what is not noted of late reports."""
    if question.as_known_at is None:
        return
    for name in (*question.group_by, *(each.dimension for each in question.filters)):
        if not set(DIMENSIONS[name].keys) <= set(LATE_COLUMNS):
            raise BadQuestion(name, "not beside as_known_at: of late reports it is not kept")


async def check(connection: AsyncConnection[Any], question: Question) -> None:
    """Raise BadQuestion where a moment is asked for of which nothing is known."""
    if question.as_known_at is not None:
        cursor = await connection.execute(SINCE)
        judge(question, await cursor.fetchone())


def judge(question: Question, found: tuple[datetime, datetime] | None) -> None:
    """Raise as ``check`` does, by what ``SINCE`` found."""
    assert found is not None, "0032_known makes the row"
    (since, now), at = found, question.as_known_at
    if at is not None and at > now:
        raise BadQuestion("as_known_at", "not in the future")
    if at is not None and at < since:
        text = since.astimezone(UTC).isoformat(timespec="seconds")
        raise BadQuestion("as_known_at", f"{text} or later: before it, changes were not noted")


async def restated_at(connection: AsyncConnection[Any], question: Question) -> datetime | None:
    """Return when what is known of a window last changed after it was closed; None if never."""
    window, closed = question.window, closed_at(question.window)
    if closed is None or not question.is_of_reports:
        return None
    given = {
        "sites": sites_of(question),
        "first": _day(window.start) if window.start else date.min,
        "last": _last_day(window),
    }
    row = await (await connection.execute(RESTATED, given)).fetchone()
    return row[0] if row and row[0] and row[0] > closed else None


def sites_of(question: Question) -> list[str]:
    """Return the sites that an answer is about, of those that may be read."""
    found = set(question.sites)
    for each in question.filters:
        if each.dimension == "site" and each.match is Match.IS:
            found &= set(each.values)
    return sorted(found)


def _day(moment: date | datetime) -> date:
    return date(moment.year, moment.month, moment.day)


def _last_day(window: Window) -> date:
    assert window.end is not None
    return _day(window.end) - timedelta(days=0 if window.by_instant else 1)

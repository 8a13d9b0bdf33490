"""Reports cut at the window and at the pieces of time: their minutes count where they were.

Pure. A report from 22:00 to 03:00 has two hours in the first day and three in the second; its
pieces count once, where it ended. So minutes add up over any division of time, and nothing that
was counted is counted twice. Days begin at the site's day start in its zone, and may have 23 or 25
hours; hours are cut by quarters, on which every zone's hours begin.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from central.reports.dimensions import BUCKETS
from central.reports.known import facts
from central.rollups import AT, BEGINS, DAY_OF, OUTPUT, SITE_DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from central.reports.question import Question

_SECONDS: Final = "coalesce(extract(epoch FROM upper(c.span) - lower(c.span)), 0)"
#: The sums that are cut; the others count where the report ended.
_CUT: Final = {
    "elapsed_s": _SECONDS,
    "known_s": f"CASE WHEN r.duration_known THEN {_SECONDS} ELSE 0 END",
}


def clipped_rows(
    question: Question, keys: tuple[str, ...], sites: str, take: Callable[[object], str]
) -> str:
    """Return the query of each piece of each report, without its end, where filters are added.

    Beside the sums it gives ``busy``, the piece, and ``calendar``, all of the window and the bucket
    that it is in, for what can be busy at most.
    """
    pieces, day, at = _pieces(question)
    ends = f"({AT} <@ c.whole)"
    sums = [
        f"{_CUT.get(each.name) or f'CASE WHEN {ends} THEN {each.of} ELSE 0 END'} AS {each.name}"
        for each in OUTPUT
    ]
    moments = [
        f"r.started_at AS {name}_started_at, {AT} AS {name}_ended_at" for name in ("min", "max")
    ]
    columns = ["r.site_id", *(f"r.{key}" for key in keys), f"{day} AS day", f"{at} AS at"]
    # What is still to come, or of a site that is behind, is no time in which it could be busy.
    calendar = f"{_calendar(question, day, at)} * k.known AS calendar"
    columns += [*sums, *moments, "c.span AS busy", calendar]
    # To have neither start nor end is to have no interval; such a report counts at its moment.
    return (
        f"SELECT {', '.join(columns)} FROM {facts(question)} AS r{SITE_DAY}"
        " LEFT JOIN mes.sites AS s ON s.code = r.site_id AND s.site_id = '*'"
        f" CROSS JOIN LATERAL (SELECT tstzrange({bound(question.window.start, take)},"
        f" {bound(question.window.end, take)}) AS range) AS w"
        " LEFT JOIN (SELECT e.site, tstzrange(NULL, to_timestamp(e.through_ms / 1000.0)) AS known"
        " FROM sync.complete_through AS e WHERE e.through_ms IS NOT NULL) AS k"
        " ON k.site = r.site_id"
        f" CROSS JOIN LATERAL ({pieces}) AS c"
        f" WHERE r.site_id IN ({sites}) AND (NOT isempty(c.span) OR {ends})"
    )


def bound(moment: date | datetime | None, take: Callable[[object], str]) -> str:
    """Return the instant at which a window begins or ends, of the site's day ``z``."""
    if moment is None:
        return "NULL"
    if isinstance(moment, datetime):
        return f"{take(moment)}::timestamptz"
    return BEGINS.format(day=take(moment))


def _pieces(question: Question) -> tuple[str, str, str]:
    """Return the query of a report's pieces, and the day and instant that each belongs to."""
    start = f"least(r.started_at, {AT})"
    whole = f"tstzrange({start}, {AT})"
    bucket = BUCKETS[question.bucket] if question.bucket else None
    if bucket is None:
        return (
            f"SELECT {whole} * w.range AS span, w.range AS whole",
            DAY_OF.format(at=AT), AT,
        )  # fmt: skip
    if bucket.by_instant:
        quarters = (
            f"generate_series(date_bin('15 minutes', coalesce({start}, {AT}), 'epoch'), {AT},"
            " interval '15 minutes') AS q(at)"
        )
        piece = "tstzrange(q.at, q.at + interval '15 minutes') * w.range"
        return (
            f"SELECT {whole} * {piece} AS span, {piece} AS whole, q.at FROM {quarters}",
            DAY_OF.format(at="c.at"), "c.at",
        )  # fmt: skip
    days = (
        f"generate_series({DAY_OF.format(at=f'coalesce({start}, {AT})')}::timestamp,"
        f" {DAY_OF.format(at=AT)}::timestamp, interval '1 day') AS n(day)"
    )
    begins, ends = (BEGINS.format(day=each) for each in ("n.day", "n.day::date + 1"))
    piece = f"tstzrange({begins}, {ends}) * w.range"
    return (
        f"SELECT {whole} * {piece} AS span, {piece} AS whole, n.day::date AS day FROM {days}",
        "c.day", AT,
    )  # fmt: skip


_WEEK: Final = (
    "{day} - mod(extract(isodow FROM {day})::integer - coalesce(s.week_start, 1)::integer + 7, 7)"
)
#: The first day of a bucket and the one after its last, by its day.
_SPANS: Final = {
    "day": ("{day}", "{day} + 1"),
    "week": (f"({_WEEK})", f"({_WEEK}) + 7"),
    "month": ("date_trunc('month', {day})", "date_trunc('month', {day}) + interval '1 month'"),
    "quarter": ("date_trunc('quarter', {day})", "date_trunc('quarter', {day}) + interval '3 mon'"),
    "year": ("date_trunc('year', {day})", "date_trunc('year', {day}) + interval '1 year'"),
}


def _calendar(question: Question, day: str, at: str) -> str:
    """Return the range of the window, or of the bucket within it; null where it has no end.

    What comes again (hours of the day, days of the week) has no range of its own.
    """
    bounded = "CASE WHEN lower_inf({0}) OR upper_inf({0}) THEN NULL ELSE {0} END"
    if question.bucket is None:
        return bounded.format("w.range")
    if question.bucket == "hour":
        local = f"({at} AT TIME ZONE z.zone)"
        begins = f"{at} - ({local} - date_trunc('hour', {local}))"
        return f"tstzrange({begins}, {begins} + interval '1 hour') * w.range"
    if question.bucket not in _SPANS:
        return "NULL::tstzrange"
    begins, ends = (BEGINS.format(day=each.format(day=day)) for each in _SPANS[question.bucket])
    return f"tstzrange({begins}, {ends}) * w.range"

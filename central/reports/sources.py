"""Where the sums of a question are read: from the smallest rollup that knows all it asks for.

Pure. Rollups are right at every moment, so an answer is the same from wherever it is read; only how
long it takes differs. What no rollup can tell (single reports, minutes clipped at a window, things
busy at once) is read from the facts themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.kpis import DISTINCTS, INTERVAL_MEASURES, KPIS, MEASURES, QTY_ORDERED
from central.reports.question import MOMENTS, Basis
from central.rollups import OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from central.reports.question import Question
    from central.rollups import Rollup

FACTS: Final = "job_responses"
_QUARTER_S: Final = 900
_SPANS_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Needs:
    """What a question needs of its source."""

    #: Columns to group by.
    keys: tuple[str, ...]
    #: The business day; the instant, at least to a quarter of an hour; single reports.
    day: bool
    instant: bool
    reports: bool


@dataclass(frozen=True, slots=True)
class Source:
    """A table of facts or of their sums."""

    name: str
    #: None of the facts themselves.
    rollup: Rollup | None
    keys: frozenset[str]
    day: bool
    instant: bool

    @property
    def is_facts(self) -> bool:
        """Tell whether it is the facts themselves."""
        return self.rollup is None


#: The smaller before the larger, the facts last.
SOURCES: Final = (
    *(
        Source(
            each.name,
            each,
            frozenset(key.name for key in each.keys) - {"day", "quarter"},
            day=each.keys[0].name == "day",
            instant=each.keys[0].name == "quarter",
        )
        for each in OUTPUTS
    ),
    Source(
        FACTS,
        None,
        frozenset(key for each in DIMENSIONS.values() for key in each.keys),
        day=True,
        instant=True,
    ),
)


def parts_of(measures: tuple[str, ...]) -> tuple[str, ...]:
    """Return measures with those that their key figures are made of, each once, the made ones last.

    So each can be computed of columns that stand before it.
    """
    plain = [name for each in measures for name in (KPIS[each].measures if each in KPIS else ())]
    plain += [each for each in measures if each not in KPIS]
    return tuple(dict.fromkeys([*plain, *(each for each in measures if each in KPIS)]))


def needs(question: Question) -> Needs:
    """Return what a question needs."""
    measures = parts_of(_measures(question))
    dimensions = [*question.group_by, *(each.dimension for each in question.filters)]
    dimensions += [DISTINCTS[name].dimension for name in measures if name in DISTINCTS]
    dimensions += ["order"] if QTY_ORDERED in measures else []
    dimensions += (
        ["report_type"] if any(MEASURES[m].by_type for m in measures if m in MEASURES) else []
    )
    keys = dict.fromkeys(key for name in dimensions for key in DIMENSIONS[name].keys)
    bucket = BUCKETS[question.bucket] if question.bucket else None
    by_instant = question.window.by_instant or bool(bucket and bucket.by_instant)
    is_bounded = question.window.start is not None or question.window.end is not None
    by_day = bool(bucket and not bucket.by_instant) or (
        is_bounded and not question.window.by_instant
    )
    reports = question.basis is not Basis.END or any(
        name in MOMENTS or name in INTERVAL_MEASURES for name in measures
    )
    return Needs(tuple(keys), by_day, by_instant, reports or not _in_quarters(question))


def _measures(question: Question) -> tuple[str, ...]:
    more = (question.share_of, question.nonzero)
    return (*question.measures, *(each for each in more if each))


def _in_quarters(question: Question) -> bool:
    """Tell whether a window of instants begins and ends with a quarter of an hour."""
    moments = (question.window.start, question.window.end)
    return all(each.timestamp() % _QUARTER_S == 0 for each in moments if isinstance(each, datetime))


def source_of(question: Question) -> Source:
    """Return the smallest source that knows all that a question asks for."""
    wanted = needs(question)
    return next(
        each
        for each in SOURCES
        if set(wanted.keys) <= each.keys
        and (each.day or not wanted.day)
        and (each.instant or not wanted.instant)
        and (each.is_facts or not wanted.reports)
    )


def in_months(question: Question) -> str:
    """Return the condition that leaves months of facts out in which there is nothing to find.

    Of literals, so that their partitions are left out before a statement starts.
    """
    if question.months is None:
        return ""
    parts = [
        f"r.created_at >= '{first}T00:00Z'::timestamptz"
        f" AND r.created_at < '{after}T00:00Z'::timestamptz"
        for first, after in _spans(question.months)
    ]
    return f" AND ({' OR '.join(parts) or 'false'})"


def _spans(months: Iterable[date]) -> list[tuple[date, date]]:
    """Return months as spans from the first day to the one after the last, each as long as can be.

    Many are one span over all that is between: a condition has its own cost.
    """
    spans: list[tuple[date, date]] = []
    for month in sorted(months):
        after = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
        if spans and spans[-1][1] == month:
            spans[-1] = (spans[-1][0], after)
        else:
            spans.append((month, after))
    return spans if len(spans) <= _SPANS_MAX else [(spans[0][0], spans[-1][1])]

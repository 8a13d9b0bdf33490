"""Reports by their names: what each can be asked with, and the question that comes of it.

Pure, but for ``read_report``. The API, its pages and exports and the command all ask by this one
way from texts to a ``Question`` and its statement, and so by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import Field, ValidationError

from central.reports.answer import answer, going_on
from central.reports.asked import Asked, Text, Values, given_filters, with_filters
from central.reports.asked_of_states import (
    OF_TIMELINE,
    STATES,
    TIMELINE,
    states_question,
    timeline_question,
)
from central.reports.asked_of_states import told as told_of_states
from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.due import MEASURES_OF_DUE, due_statement
from central.reports.known import check_keys, known_at
from central.reports.kpis import FIGURES
from central.reports.kpis_of_orders import KPIS_OF_TIMES
from central.reports.log import log_statement
from central.reports.orders import (
    BUCKETS_OF_ORDERS,
    OF_ORDERS,
    THROUGHPUT,
    WIP_AT,
    WIP_OF_DAYS,
    throughput_statement,
    wip_at_statement,
    wip_statement,
)
from central.reports.presets import DUE_PRESETS, PRESETS, STATE_PRESETS, Preset
from central.reports.question import (
    GROUPS_MAX,
    BadQuestion,
    Basis,
    Due,
    Question,
    Window,
    counted,
    filters,
    instants,
    known_measures,
    names,
    one_name,
    orders,
    summed,
    window,
)
from central.reports.statement import statement_of
from central.reports.states import states_statement, timeline_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg import AsyncConnection

    from central.reports.answer import Answer
    from central.reports.paging import Statement

    #: A question, and what makes its statement.
    Put = tuple[Question, Callable[[Question], Statement]]


@dataclass(frozen=True, slots=True)
class Named:
    """A report by its name."""

    name: str
    about: str
    #: What it can be asked with.
    asked: type[Asked]
    #: Makes the question of what was asked with, and of sites; raises BadQuestion.
    put: Callable[[Any, tuple[str, ...]], Put]
    #: What else programs are told of it.
    described: str


async def read_report(
    connection: AsyncConnection[Any], sites: tuple[str, ...], name: str, given: Mapping[str, Any]
) -> Answer:
    """Answer a report as ``GET /v1/reports/NAME`` does with these parameters; raise BadQuestion.

    In the caller's transaction, which knows the sites.
    """
    question, made = question_of(sites, name, given)
    if cursor := given.get("cursor"):
        question = going_on(question, cursor)
    return await answer(connection, question, made)


def question_of(sites: tuple[str, ...], name: str, given: Mapping[str, Any]) -> Put:
    """Return the question of ``GET /v1/reports/NAME`` with these parameters, and its statement.

    From its beginning, whatever the cursor. Raise BadQuestion.
    """
    report = REPORTS[name]
    try:
        asked = report.asked.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        is_unknown = first["type"] == "extra_forbidden"
        rule = "no parameter of this report" if is_unknown else first["msg"]
        raise BadQuestion(".".join(map(str, first["loc"])), rule) from None
    return report.put(asked, sites)


# --- what reports are asked with ------------------------------------------------------------------


_SORT: Final = "Columns of the answer, `-` before one to go down."


class _Production(Asked):
    bucket: Text | None = Field(None, description=f"One of {', '.join(BUCKETS)}.")
    measures: Text = Field("", description=f"Of {', '.join(known_measures())}; parted by commas.")
    sort: Text = Field("", description=_SORT)
    time_basis: Basis | None = Field(None, description="See docs/reports.md.")
    share_of: Text | None = Field(None, description="Adds share and cum_share of this measure.")
    nonzero: Text | None = Field(None, description="Leaves rows out in which this measure is 0.")
    as_known_at: Text | None = Field(
        None, examples=["2026-12-03T06:00:00Z"],
        description="By the reports that were known at this instant, two days after `to` or later.",
    )  # fmt: skip


class _Orders(Asked):
    as_known_at: Text | None = Field(
        None, examples=["2026-12-03T06:00:00Z"],
        description="By the reports that were known at this instant and begun 12 hours before it,"
        " two days after the last moment that is asked for or later.",
    )  # fmt: skip


class _Throughput(_Orders):
    bucket: Text | None = Field(
        None, description=f"Of last ends; one of {', '.join(BUCKETS_OF_ORDERS)}."
    )
    sort: Text = Field("", description=_SORT)


class _Wip(_Orders):
    sort: Text = Field("", description=_SORT)
    at: Values = Field(default_factory=list, description="Instants, in place of days.")


class _Due(Asked):
    bucket: Text | None = Field(
        None, description=f"Of due dates; one of {', '.join(BUCKETS_OF_ORDERS)}."
    )
    due: Due = Field(
        Due.THEN,
        description="`then`: due in the window; `or_late`: also those that were due before, and are"
        " late and not finished; `never`: those without a due date, without from and to.",
    )
    measures: Text = Field("", description=f"Of {', '.join(MEASURES_OF_DUE)}; parted by commas.")
    sort: Text = Field("", description=_SORT)


class _Log(Asked):
    open_at: Text | None = Field(None, description="Only reports under way at this instant.")
    sort: Literal["", "ended_at", "none"] = Field(
        "", description="`ended_at`, the usual; `none`: as they lie, for whole answers and exports."
    )


_PRODUCTION: Final = with_filters(_Production, tuple(DIMENSIONS))
_THROUGHPUTS: Final = with_filters(_Throughput, OF_ORDERS)
_WIPS: Final = with_filters(_Wip, OF_ORDERS)
_DUES: Final = with_filters(_Due, OF_ORDERS)
_LOGS: Final = with_filters(_Log, tuple(DIMENSIONS))


# --- the questions that come of it ----------------------------------------------------------------


def _plain(asked: Asked, sites: tuple[str, ...]) -> Question:
    return Question(
        sites=sites,
        window=window(asked.start, asked.end),
        group_by=names("group_by", asked.group_by, DIMENSIONS, most=GROUPS_MAX),
        measures=(),
        filters=filters(given_filters(asked)),
        by=asked.by,
        limit=asked.limit,
    )


def _production(preset: Preset, asked: Any, sites: tuple[str, ...]) -> Question:
    """Return the question that a preset is with what was asked for; raise BadQuestion."""
    plain, known = _plain(asked, sites), known_measures()
    measures = names("measures", asked.measures, known) or preset.measures
    is_own = bool(asked.measures)  # then what the preset sorts by may not be there
    question = Question(
        sites=sites, window=plain.window, filters=plain.filters, by=plain.by, limit=plain.limit,
        bucket=one_name("bucket", asked.bucket, BUCKETS) or preset.bucket,
        group_by=plain.group_by or preset.group_by, measures=measures,
        basis=asked.time_basis or preset.basis, is_of_reports=True,
        as_known_at=known_at(asked.as_known_at, plain.window),
        share_of=summed("share_of", asked.share_of, measures)
        or (None if is_own else preset.share_of),
        nonzero=counted("nonzero", asked.nonzero, measures)
        or (None if is_own else preset.nonzero),
    )  # fmt: skip
    check_keys(question)
    sort = asked.sort or ("" if is_own else preset.sort)
    return question.sorted(orders(sort, question.columns))


def _throughput(asked: Asked, sites: tuple[str, ...]) -> Put:
    bucket = one_name("bucket", cast("_Throughput", asked).bucket, BUCKETS_OF_ORDERS)
    question = replace(_of_lives(asked, sites), bucket=bucket)
    return _sorted(question, asked, (*THROUGHPUT, *KPIS_OF_TIMES)), throughput_statement


def _wip(asked: Asked, sites: tuple[str, ...]) -> Put:
    at = instants("at", cast("_Wip", asked).at)
    if at:
        question = _of_lives(asked, sites, Window(end=max(at)))
        return _sorted(question, asked, ("at", *WIP_AT)), partial(wip_at_statement, at=at)
    return _sorted(_of_lives(asked, sites), asked, ("day", *WIP_OF_DAYS)), wip_statement


def _of_lives(asked: Asked, sites: tuple[str, ...], until: Window | None = None) -> Question:
    plain = _plain(asked, sites)
    at = known_at(cast("_Orders", asked).as_known_at, until or plain.window)
    return replace(plain, is_of_lives=True, as_known_at=at, measures=())


def _sorted(question: Question, asked: Any, own: tuple[str, ...]) -> Question:
    """Return it sorted as was asked for, by what it is grouped by and columns of its own."""
    return question.sorted(orders(asked.sort, (*question.columns, *own)))


def _log(asked: Asked, sites: tuple[str, ...]) -> Put:
    text = cast("_Log", asked).open_at
    at = instants("open_at", [text])[0] if text else None
    is_sorted = cast("_Log", asked).sort != "none"
    return _plain(asked, sites), partial(log_statement, open_at=at, is_sorted=is_sorted)


def _due(preset: Preset, asked: Any, sites: tuple[str, ...]) -> Put:
    question = replace(
        _plain(asked, sites),
        bucket=one_name("bucket", asked.bucket, BUCKETS_OF_ORDERS),
        is_of_due=True,
        due=asked.due,
        measures=names("measures", asked.measures, MEASURES_OF_DUE) or preset.measures,
    )
    if not (question.group_by or question.bucket):
        question = replace(question, group_by=preset.group_by)
    sort = asked.sort or ("" if asked.measures else preset.sort)
    return question.sorted(orders(sort, question.columns)), due_statement


def _states(preset: Preset, asked: Asked, sites: tuple[str, ...]) -> Put:
    return states_question(preset, asked, sites), states_statement


def _timeline(asked: Asked, sites: tuple[str, ...]) -> Put:
    return timeline_question(asked, sites), timeline_statement


def _of_preset(preset: Preset, asked: Asked, sites: tuple[str, ...]) -> Put:
    return _production(preset, asked, sites), statement_of


# --- all of them ----------------------------------------------------------------------------------


def _described(preset: Preset) -> str:
    figures = [FIGURES[name] for name in preset.measures if name in FIGURES]
    told = [f"`{each.name}` = {each.formula} ({each.about}; {each.source})" for each in figures]
    shown = [f"Shows {', '.join(preset.measures)}"]
    shown += [f"by {', '.join(preset.group_by)}"] if preset.group_by else []
    return ". ".join([" ".join(shown), *told]) + "."


_OF_TIMES: Final = (
    "Gives from when until when within the window; `since` is when the machine went into the state,"
    " which may be before the window."
)
#: All reports, in the order in which they are told of.
REPORTS: Final = {
    each.name: each
    for each in (
        *(Named(p.name, p.about, _PRODUCTION, partial(_of_preset, p), _described(p))
          for p in PRESETS),
        *(Named(p.name, p.about, _DUES, partial(_due, p), _described(p)) for p in DUE_PRESETS),
        Named("throughput-time", "How long orders took from first start to last end, of those that"
              " ended then", _THROUGHPUTS, _throughput, ""),
        Named("wip", "How many orders were under way on each business day, or at some instants",
              _WIPS, _wip, ""),
        *(Named(p.name, p.about, STATES, partial(_states, p), told_of_states(p))
          for p in STATE_PRESETS),
        Named("machine-timeline", OF_TIMELINE, TIMELINE, _timeline, _OF_TIMES),
        Named("log", "The reports of production one by one, in the order in which they ended",
              _LOGS, _log, ""),
    )
}  # fmt: skip

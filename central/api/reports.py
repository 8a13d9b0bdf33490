"""``/v1/reports``: questions on production, as presets of one kind of question, and the log itself.

Nothing here knows a formula or SQL: parameters become a ``Question``, rows become the form that was
asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import Depends, Query, Request
from pydantic import Field, ValidationError
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it

from central.access import Scope
from central.api.answers_of_reports import IN_FORMS, Definitions, ReportTold
from central.api.asked_of_reports import Asked, Text, Values, given_filters, with_filters
from central.api.asking import Asking, asks, reading
from central.api.forms import WHOLE, answered, form_of
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.api.states import OF_TIMELINE, STATES, TIMELINE, states_question, timeline_question
from central.api.states import told as told_of_states
from central.api.streams import Streams
from central.reports.answer import answer, going_on
from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.due import BUCKETS_OF_DUE, MEASURES_OF_DUE, due_statement
from central.reports.known import known_at
from central.reports.kpis import COUNTED, FIGURES
from central.reports.log import log_statement
from central.reports.orders import (
    OF_ORDERS,
    throughput_statement,
    wip_at_statement,
    wip_statement,
)
from central.reports.presets import DUE_PRESETS, PRESETS, STATE_PRESETS, Preset
from central.reports.question import (
    GROUPS_MAX,
    BadQuestion,
    Basis,
    Question,
    Window,
    filters,
    instants,
    known_measures,
    names,
    one_name,
    orders,
    window,
)
from central.reports.statement import statement_of
from central.reports.states import DIMENSIONS_OF_STATES, states_statement, timeline_statement
from central.reports.whole import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import APIRouter
    from psycopg import AsyncConnection

    from central.reports.answer import Answer
    from central.reports.paging import Statement

    _Put = tuple[Question, Callable[[Question], Statement]]


class _Production(Asked):
    bucket: Text | None = Field(None, description=f"One of {', '.join(BUCKETS)}.")
    measures: Text = Field("", description=f"Of {', '.join(known_measures())}; parted by commas.")
    sort: Text = Field("", description="Columns of the answer, `-` before one to go down.")
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


class _Wip(_Orders):
    at: Values = Field(default_factory=list, description="Instants, in place of days.")


class _Due(Asked):
    bucket: Text | None = Field(
        None, description=f"Of due dates; one of {', '.join(BUCKETS_OF_DUE)}."
    )
    measures: Text = Field("", description=f"Of {', '.join(MEASURES_OF_DUE)}; parted by commas.")
    sort: Text = Field("", description="Columns of the answer, `-` before one to go down.")


class _Log(Asked):
    open_at: Text | None = Field(None, description="Only reports under way at this instant.")


_PRODUCTION: Final = with_filters(_Production, tuple(DIMENSIONS))
_ORDERS: Final = with_filters(_Orders, OF_ORDERS)
_WIPS: Final = with_filters(_Wip, OF_ORDERS)
_DUES: Final = with_filters(_Due, OF_ORDERS)
_LOGS: Final = with_filters(_Log, tuple(DIMENSIONS))


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("reports")
    reads: Any = Depends(asks(reach.guard, Scope.READ))
    tell = Telling(reach, Streams(reach.reading_url))
    for preset in PRESETS:
        _add_preset(routes, reads, tell, preset)
    _add_orders(routes, reads, tell)
    for preset in DUE_PRESETS:
        _add_due(routes, reads, tell, preset)
    for preset in STATE_PRESETS:
        _add_states(routes, reads, tell, preset)
    _add_timeline(routes, reads, tell)
    _add_log(routes, reads, tell)

    @routes.get("/reports/definitions", response_model=Definitions, dependencies=[reads])
    async def report_definitions() -> Json:
        """Tell what reports count, by which formula, and where that comes from."""
        return Json(_definitions())

    return routes


@dataclass(frozen=True, slots=True)
class Telling:
    """Answers questions out of the database, as mes_api."""

    reach: Reach
    streams: Streams

    async def __call__(
        self, request: Request, asked: Asked, question: Question,
        made: Callable[[Question], Statement],
    ) -> Response:  # fmt: skip
        """Answer a question by the statement that is made of it."""
        if asked.cursor:
            question = going_on(question, asked.cursor)
        form = form_of(request, asked.format)
        if asked.whole or form in WHOLE:
            if form == "json":
                raise BadQuestion("whole", "of csv, ndjson, arrow or parquet: JSON comes in pages")
            question = replace(question, limit=None)
            name = request.url.path.rsplit("/", 1)[1]
            return await self.streams.answered(question, made, Form(form), name)
        async with reading(self.reach.reading, question.sites) as connection:
            found = await answer(connection, question, made)
        return answered(request, found, form)


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


def question_of(sites: tuple[str, ...], name: str, given: Mapping[str, Any]) -> _Put:
    """Return the question of ``GET /v1/reports/NAME`` with these parameters, and its statement.

    From its beginning, whatever the cursor. Raise BadQuestion.
    """
    model, put = _PUT[name]
    try:
        asked = model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadQuestion(".".join(map(str, first["loc"])), first["msg"]) from None
    return put(asked, sites)


def _add_preset(routes: APIRouter, reads: Any, tell: Telling, preset: Preset) -> None:
    async def report(
        request: Request,
        asked: Annotated[_PRODUCTION, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        return await tell(request, asked, *_of_preset(preset, asked, asking.sites))

    routes.add_api_route(
        f"/reports/{preset.name}", report, name=f"report_{preset.name}", summary=preset.about,
        response_model=ReportTold, responses=IN_FORMS, description=_described(preset),
    )  # fmt: skip


def _add_orders(routes: APIRouter, reads: Any, tell: Telling) -> None:
    @routes.get("/reports/throughput-time", response_model=ReportTold, responses=IN_FORMS)
    async def report_throughput_time(
        request: Request,
        asked: Annotated[_ORDERS, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        """Tell how long orders took from first start to last end, of those that ended then."""
        return await tell(request, asked, *_throughput(asked, asking.sites))

    @routes.get("/reports/wip", response_model=ReportTold, responses=IN_FORMS)
    async def report_wip(
        request: Request,
        asked: Annotated[_WIPS, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        """Tell how many orders were under way on each business day, or at some instants."""
        return await tell(request, asked, *_wip(asked, asking.sites))


def _add_due(routes: APIRouter, reads: Any, tell: Telling, preset: Preset) -> None:
    async def report(
        request: Request,
        asked: Annotated[_DUES, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        return await tell(request, asked, *_due(preset, asked, asking.sites))

    routes.add_api_route(
        f"/reports/{preset.name}", report, name=f"report_{preset.name.replace('-', '_')}",
        summary=preset.about, response_model=ReportTold, responses=IN_FORMS,
        description=_described(preset),
    )  # fmt: skip


def _add_states(routes: APIRouter, reads: Any, tell: Telling, preset: Preset) -> None:
    async def report(
        request: Request,
        asked: Annotated[STATES, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        return await tell(request, asked, *_states(preset, asked, asking.sites))

    routes.add_api_route(
        f"/reports/{preset.name}", report, name=f"report_{preset.name.replace('-', '_')}",
        summary=preset.about, response_model=ReportTold, responses=IN_FORMS,
        description=told_of_states(preset),
    )  # fmt: skip


def _add_timeline(routes: APIRouter, reads: Any, tell: Telling) -> None:
    @routes.get(
        "/reports/machine-timeline", response_model=ReportTold, responses=IN_FORMS,
        summary=OF_TIMELINE,
    )  # fmt: skip
    async def report_machine_timeline(
        request: Request,
        asked: Annotated[TIMELINE, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        """Give each time that a machine was in a state, from when until when within the window.

        `since` is when it went into it, which may be before the window.
        """
        return await tell(request, asked, *_timeline(asked, asking.sites))


def _add_log(routes: APIRouter, reads: Any, tell: Telling) -> None:
    @routes.get("/reports/log", response_model=ReportTold, responses=IN_FORMS)
    async def report_log(
        request: Request,
        asked: Annotated[_LOGS, Query()],  # type: ignore[valid-type]
        asking: Asking = reads,
    ) -> Response:
        """Give the reports of production one by one, in the order in which they ended."""
        return await tell(request, asked, *_log(asked, asking.sites))


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
        share_of=one_name("share_of", asked.share_of, measures)
        or (None if is_own else preset.share_of),
        nonzero=one_name("nonzero", asked.nonzero, measures)
        or (None if is_own else preset.nonzero),
    )  # fmt: skip
    sort = asked.sort or ("" if is_own else preset.sort)
    return question.sorted(orders(sort, question.columns))


def _throughput(asked: Asked, sites: tuple[str, ...]) -> _Put:
    return _of_lives(asked, sites), throughput_statement


def _wip(asked: Asked, sites: tuple[str, ...]) -> _Put:
    at = instants("at", cast("_Wip", asked).at)
    if at:
        return _of_lives(asked, sites, Window(end=max(at))), partial(wip_at_statement, at=at)
    return _of_lives(asked, sites), wip_statement


def _of_lives(asked: Asked, sites: tuple[str, ...], until: Window | None = None) -> Question:
    plain = _plain(asked, sites)
    at = known_at(cast("_Orders", asked).as_known_at, until or plain.window)
    return replace(plain, is_of_lives=True, as_known_at=at)


def _log(asked: Asked, sites: tuple[str, ...]) -> _Put:
    text = cast("_Log", asked).open_at
    at = instants("open_at", [text])[0] if text else None
    return _plain(asked, sites), partial(log_statement, open_at=at)


def _due(preset: Preset, asked: Any, sites: tuple[str, ...]) -> _Put:
    question = replace(
        _plain(asked, sites),
        bucket=one_name("bucket", asked.bucket, BUCKETS_OF_DUE),
        measures=names("measures", asked.measures, MEASURES_OF_DUE) or preset.measures,
    )
    if not (question.group_by or question.bucket):
        question = replace(question, group_by=preset.group_by)
    sort = asked.sort or ("" if asked.measures else preset.sort)
    return question.sorted(orders(sort, question.columns)), due_statement


def _states(preset: Preset, asked: Asked, sites: tuple[str, ...]) -> _Put:
    return states_question(preset, asked, sites), states_statement


def _timeline(asked: Asked, sites: tuple[str, ...]) -> _Put:
    return timeline_question(asked, sites), timeline_statement


def _of_preset(preset: Preset, asked: Asked, sites: tuple[str, ...]) -> _Put:
    return _production(preset, asked, sites), statement_of


#: What each report is asked with, and the question and statement that come of it.
_PUT: Final[dict[str, tuple[type[Asked], Callable[[Any, tuple[str, ...]], _Put]]]] = {
    **{preset.name: (_PRODUCTION, partial(_of_preset, preset)) for preset in PRESETS},
    **{preset.name: (_DUES, partial(_due, preset)) for preset in DUE_PRESETS},
    **{preset.name: (STATES, partial(_states, preset)) for preset in STATE_PRESETS},
    "machine-timeline": (TIMELINE, _timeline),
    "throughput-time": (_ORDERS, _throughput),
    "wip": (_WIPS, _wip),
    "log": (_LOGS, _log),
}
EXPORTED: Final = tuple(_PUT)


def _described(preset: Preset) -> str:
    figures = [FIGURES[name] for name in preset.measures if name in FIGURES]
    told = [f"`{each.name}` = {each.formula} ({each.about}; {each.source})" for each in figures]
    shown = [f"Shows {', '.join(preset.measures)}"]
    shown += [f"by {', '.join(preset.group_by)}"] if preset.group_by else []
    return ". ".join([" ".join(shown), *told]) + "."


def _definitions() -> dict[str, Any]:
    return {
        "schema": "mes-central.definitions/v1",
        "measures": [{"name": m.name, "about": m.about, "unit": m.unit} for m in COUNTED],
        "kpis": [
            {name: getattr(each, name) for name in ("name", "formula", "about", "source", "unit")}
            for each in FIGURES.values()
        ],
        "dimensions": [
            {"name": e.name, "about": e.about}
            for e in (DIMENSIONS | DIMENSIONS_OF_STATES).values()
        ],
        "buckets": [{"name": e.name, "about": e.about} for e in BUCKETS.values()],
    }  # fmt: skip

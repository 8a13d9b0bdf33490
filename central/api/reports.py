"""``/v1/reports``: reports on production by their names, and what their names stand for.

Nothing here knows a formula, SQL or a rule of a question (``central.reports.named`` does); rows
become the form that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Query, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it

from central.access import Scope
from central.api.answers_of_reports import IN_FORMS, Definitions, ReportTold
from central.api.asking import Asking, asks, reading
from central.api.forms import WHOLE, answered, form_of
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.api.streams import Streams
from central.reports.answer import answer, going_on
from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.kpis import COUNTED, FIGURES
from central.reports.named import REPORTS
from central.reports.question import BadQuestion
from central.reports.states import DIMENSIONS_OF_STATES
from central.reports.whole import Form

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import APIRouter

    from central.reports.asked import Asked
    from central.reports.named import Named
    from central.reports.paging import Statement
    from central.reports.question import Question


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("reports")
    reads: Any = Depends(asks(reach.guard, Scope.READ))
    tell = Telling(reach, Streams(reach.reading_url))
    for each in REPORTS.values():
        _add(routes, reads, tell, each)

    @routes.get("/reports/definitions", response_model=Definitions, dependencies=[reads])
    async def report_definitions() -> Json:
        """Tell what reports count, by which formula, and where that comes from."""
        return Json(_definitions())

    return routes


def _add(routes: APIRouter, reads: Any, tell: Telling, named: Named) -> None:
    async def report(request: Request, asked: Any, asking: Asking = reads) -> Response:
        return await tell(request, asked, *named.put(asked, asking.sites))

    # Which parameters it takes is known only here, and FastAPI reads it from the annotation.
    report.__annotations__["asked"] = Annotated[named.asked, Query()]
    routes.add_api_route(
        f"/reports/{named.name}", report, name=f"report_{named.name.replace('-', '_')}",
        summary=named.about, response_model=ReportTold, responses=IN_FORMS,
        description=named.described or f"{named.about}.",
    )  # fmt: skip


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
            return await self.streams.answered(request, question, made, Form(form))
        async with reading(self.reach.reading, question.sites) as connection:
            found = await answer(connection, question, made)
        return answered(request, found, form)


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

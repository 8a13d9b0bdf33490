"""The application: what is asked, who may ask, and what goes wrong in words.

Health, the kinds of problems and the description are for everybody who reaches the port: they tell
nothing of any site. Metrics name all sites, and have a guard of their own. All else is below
``/v1``: it needs a key or a token, and is noted in the audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, HTTPException, Path, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from central.api import (
    archive,
    conflicts,
    events,
    exports,
    genealogy,
    plans,
    quality,
    reports,
    rows,
    sites,
    tables,
)
from central.api.answers import Health, ProblemKind
from central.api.audit import Audited
from central.api.bounds import Bounded
from central.api.description import describe
from central.api.examples import HEALTH, KIND, shown
from central.api.measures import measure
from central.api.problems import KINDS, answer_problems
from central.api.reach import PAGES, V1, Json, Reach
from central.api.routes import include
from shared.errors import SyncError

if TYPE_CHECKING:
    from fastapi.routing import APIRoute

_TAGS = [
    {"name": "sites", "description": "How the sync of sites is."},
    {"name": "conflicts", "description": "What two sides wrote at once, and what people decide."},
    {"name": "rows", "description": "Central and two-way rows: read, and written by planners."},
    {"name": "reports", "description": "What was made, how well, and what is behind it."},
    {"name": "archive", "description": "Facts by time, also of months that are in files."},
    {"name": "exports", "description": "Reports written into files, while nobody waits."},
    {"name": "events", "description": "At which sites something is new."},
    {"name": "process", "description": "Of the process that answers; these want no key."},
]


def build(reach: Reach) -> FastAPI:
    """Return the application."""
    app = _Centre(
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        generate_unique_id_function=_operation_id, openapi_tags=_TAGS,
    )  # fmt: skip
    app.state.guard = reach.guard
    _add_description(app)
    _add_health(app, reach)
    _add_metrics(app, reach)
    for each in (
        sites, conflicts, tables, rows, plans, reports, quality, genealogy, archive, exports,
        events,
    ):  # fmt: skip
        include(app, each.router(reach))
    answer_problems(app)
    app.add_middleware(Bounded)
    app.add_middleware(Audited, log=reach.audit, below=f"{V1}/", tag=PAGES)
    return app


class _Centre(FastAPI):
    """The application, with a description of its own."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, which is made once."""
        if not self.openapi_schema:
            self.openapi_schema = describe(self, conflicts.SCHEMAS)
        return self.openapi_schema


def _operation_id(route: APIRoute) -> str:
    return route.name


def _add_description(app: FastAPI) -> None:
    @app.get(f"{V1}/openapi.json", include_in_schema=False)
    async def openapi() -> Json:
        """Describe the API for programs; to everybody, since a key must not be needed to read it.

        It says what stands in the source, and nothing of any site.
        """
        return Json(app.openapi())


def _add_health(app: FastAPI, reach: Reach) -> None:
    @app.get("/healthz", tags=["process"], response_model=Health, responses=shown(HEALTH))
    async def healthz() -> Json:
        """Tell that the process answers: 200 also while PostgreSQL or the broker is away.

        Starting it again would mend neither, and it goes on by itself when they are back.
        """
        return Json({
            "status": "ok",
            "database": await _database_answers(reach),
            "broker": reach.link.connected,
        })  # fmt: skip

    @app.get(
        "/problems/{name}", tags=["process"], response_model=ProblemKind, responses=shown(KIND)
    )
    async def problem(name: Annotated[str, Path(examples=["not-your-site"])]) -> Json:
        """Tell what a kind of problem is."""
        if name not in KINDS:
            raise HTTPException(404, "no problem has this name")
        kind = KINDS[name]
        return Json({"type": f"/problems/{name}", "status": kind.status, "title": kind.title})


def _add_metrics(app: FastAPI, reach: Reach) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        401: {"description": "MES_METRICS_TOKEN_FILE is set, and this is not its token."},
        403: {"description": "It is not set, and this is asked from elsewhere."},
    }

    @app.get("/metrics", tags=["process"], response_class=PlainTextResponse, responses=refusals)
    async def metrics(request: Request) -> Response:
        """Give all metrics; without the database, those read out of it stay as they were."""
        reach.scrapers.check(request.client.host if request.client else "", request.headers)
        try:
            measure(await sites.read_verdict(reach, reach.watching))
        except (psycopg.Error, psycopg_pool.PoolTimeout, SyncError):
            measure(None)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _database_answers(reach: Reach) -> bool:
    try:
        async with reach.watching.connection(timeout=2) as connection:
            await connection.execute("SELECT 1")
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
        return False
    return True

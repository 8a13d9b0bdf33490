"""The application: what is asked, who may ask, and what goes wrong in words.

Health and metrics are for everybody who reaches the port. All below ``/v1`` needs a key or a token,
and is noted in the audit log.
"""

from __future__ import annotations

import psycopg
import psycopg_pool
from fastapi import FastAPI, HTTPException
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from central.api import conflicts, events, reports, sites
from central.api.audit import Audited
from central.api.bounds import Bounded
from central.api.measures import measure
from central.api.problems import KINDS, answer_problems
from central.api.reach import PAGES, V1, Json, Reach
from shared.errors import SyncError


def build(reach: Reach) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="mes-sync centre", version="1", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    _add_health(app, reach)
    for part in (sites, conflicts, reports, events):
        app.include_router(part.router(reach))
    answer_problems(app)
    app.add_middleware(Bounded)
    app.add_middleware(Audited, log=reach.audit, below=f"{V1}/", tag=PAGES)
    return app


def _add_health(app: FastAPI, reach: Reach) -> None:
    @app.get("/healthz")
    async def healthz() -> Json:
        """Tell that the process answers: 200 also while PostgreSQL or the broker is away.

        Starting it again would mend neither, and it goes on by itself when they are back.
        """
        return Json({
            "status": "ok",
            "database": await _database_answers(reach),
            "broker": reach.link.connected,
        })  # fmt: skip

    @app.get("/metrics")
    async def metrics() -> Response:
        """Give all metrics; without the database, those read out of it stay as they were."""
        try:
            measure(await sites.read_verdict(reach))
        except (psycopg.Error, psycopg_pool.PoolTimeout, SyncError):
            measure(None)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/problems/{name}")
    async def problem(name: str) -> Json:
        """Tell what a kind of problem is."""
        if name not in KINDS:
            raise HTTPException(404, "no problem has this name")
        kind = KINDS[name]
        return Json({"type": f"/problems/{name}", "status": kind.status, "title": kind.title})


async def _database_answers(reach: Reach) -> bool:
    try:
        async with reach.pool.connection(timeout=2) as connection:
            await connection.execute("SELECT 1")
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
        return False
    return True

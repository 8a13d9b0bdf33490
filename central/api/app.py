"""The application: what is asked, who may ask, and what goes wrong in words.

Health and metrics are for everybody who reaches the port. The rest needs the token of
``MES_API_TOKEN_FILE``; without one it can be read on this machine, and decides nothing.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import psycopg
import psycopg_pool
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from central.api.measures import measure
from central.backups import LATE_HOURS
from central.conflicts import (
    LISTED_MAX,
    STATES,
    Wanted,
    document,
    find_conflict,
    read_conflicts,
    read_standing,
)
from central.documents import to_json
from central.picture import read_picture
from central.reviews import Choice, resolve
from central.reviews import document as resolution
from central.status import Verdict, judge
from central.status import document as status_document
from shared import reviews
from shared.conflicts import UnknownConflict
from shared.errors import NotAuthorised, SchemaMismatch, SyncError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from shared.catalog import Catalog
    from sync.transport import Link

_STATUS_OF: Final[tuple[tuple[type[Exception], int], ...]] = (
    (UnknownConflict, 404),
    (reviews.DecidedAlready, 409),
    (reviews.WrittenSince, 409),
    (reviews.NothingToDecide, 409),
    (reviews.BadDecision, 422),
    (NotAuthorised, 403),
    (SchemaMismatch, 503),
    (psycopg.OperationalError, 503),
    (psycopg_pool.PoolTimeout, 503),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the API reaches, and who reaches it."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    catalog: Catalog
    link: Link
    #: What the bearer has to show; empty where no token was set.
    token: str
    #: Only programs of this machine reach the port.
    is_local: bool
    #: How old the newest backup may become.
    backup_hours: float = LATE_HOURS


class Decision(BaseModel):
    """What a person decides."""

    take: reviews.Take
    value: dict[str, Any] | None = None
    reason: str = Field(min_length=1, max_length=reviews.REASON_MAX)
    by: str = Field(min_length=1, max_length=reviews.BY_MAX)
    #: Version of the row that the person saw, as ``standing.version`` of the conflict tells.
    seen: str = Field(min_length=1)


class Json(Response):
    """A document in the form that the commands print."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content).encode()


def build(reach: Reach) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="mes-sync centre", docs_url=None, redoc_url=None, openapi_url=None)
    _add_health(app, reach)
    _add_sites(app, reach)
    _add_conflicts(app, reach)
    for kind, code in _STATUS_OF:
        app.add_exception_handler(kind, lambda _, error, code=code: _failed(error, code))
    app.add_exception_handler(SyncError, lambda _, error: _failed(error, 500))
    return app


def _failed(error: Exception, code: int) -> Json:
    said: dict[str, Any] = {"error": type(error).__name__, "message": str(error).strip()}
    if isinstance(error, reviews.WrittenSince):
        said |= {"shown": error.shown, "stands": error.stands, "version": error.version}
    return Json(said, status_code=code)


# --- who may ask -----------------------------------------------------------------------------


def _may_read(reach: Reach, request: Request) -> None:
    if reach.token:
        _check_token(reach, request)
    elif not reach.is_local:
        raise HTTPException(403, "set MES_API_TOKEN_FILE to read from another machine")


def _may_decide(reach: Reach, request: Request) -> None:
    if not reach.token:
        raise HTTPException(403, "decisions need MES_API_TOKEN_FILE; or use mes-central conflicts")
    _check_token(reach, request)


def _check_token(reach: Reach, request: Request) -> None:
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(shown.encode(), reach.token.encode()):
        raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})


# --- health and metrics ----------------------------------------------------------------------


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
            measure(await _verdict(reach))
        except (psycopg.Error, psycopg_pool.PoolTimeout, SyncError):
            measure(None)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _database_answers(reach: Reach) -> bool:
    try:
        async with reach.pool.connection(timeout=2) as connection:
            await connection.execute("SELECT 1")
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
        return False
    return True


async def _verdict(reach: Reach) -> Verdict:
    async with reach.pool.connection(timeout=5) as connection:
        picture = await read_picture(
            connection, reach.catalog, reach.link, late_hours=reach.backup_hours
        )
        return judge(picture)


# --- sites -----------------------------------------------------------------------------------


def _add_sites(app: FastAPI, reach: Reach) -> None:
    def may_read(request: Request) -> None:
        _may_read(reach, request)

    @app.get("/api/v1/sites", dependencies=[Depends(may_read)])
    async def sites() -> Json:
        """Give the status of the centre and all sites, worst first."""
        return Json(status_document(await _verdict(reach)))

    @app.get("/api/v1/sites/{site}", dependencies=[Depends(may_read)])
    async def site(site: str) -> Json:
        """Give the status of one site."""
        found = status_document(await _verdict(reach))
        for each in found["sites"]:
            if each["site"] == site:
                return Json(
                    {"schema": found["schema"], "generated_at": found["generated_at"], **each}
                )
        raise HTTPException(404, f"site {site} is not registered")


# --- conflicts -------------------------------------------------------------------------------


def _add_conflicts(app: FastAPI, reach: Reach) -> None:
    def may_read(request: Request) -> None:
        _may_read(reach, request)

    def may_decide(request: Request) -> None:
        _may_decide(reach, request)

    @app.get("/api/v1/conflicts", dependencies=[Depends(may_read)])
    async def conflicts(wanted: Annotated[_Wanted, Query()]) -> Json:
        """List conflicts, those that wait for a person first."""
        async with reach.pool.connection() as connection:
            found = await read_conflicts(connection, Wanted(**wanted.model_dump()))
        listed = [document(each) for each in found]
        return Json({"schema": "mes-central.conflicts/v1", "conflicts": listed})

    @app.get("/api/v1/conflicts/{name}", dependencies=[Depends(may_read)])
    async def conflict(name: str) -> Json:
        """Give a conflict in full, with what stands now and its version."""
        async with reach.pool.connection() as connection:
            found = await find_conflict(connection, name)
            standing = await read_standing(connection, reach.catalog, found)
        return Json({
            "schema": "mes-central.conflict/v1", **document(found),
            "standing": {"version": standing.version, "values": standing.values},
        })  # fmt: skip

    @app.post("/api/v1/conflicts/{name}/resolve", dependencies=[Depends(may_decide)])
    async def decide(name: str, decision: Decision) -> Json:
        """Write a person's decision; 409 with both values where the row was written since."""
        choice = Choice(**decision.model_dump())
        async with reach.pool.connection() as connection:
            done = await resolve(connection, reach.catalog, name, choice)
        return Json(resolution(done))


class _Wanted(BaseModel):
    """Which conflicts to list."""

    site: str | None = None
    table: str | None = None
    policy: str | None = None
    state: Literal[STATES] | None = None  # type: ignore[valid-type]
    since: datetime | None = None
    limit: int = Field(default=100, ge=1, le=LISTED_MAX)

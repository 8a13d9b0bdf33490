"""``/v1/exports``: reports that are too long to wait for, written into files by themselves."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from central import exports
from central.access import NotYourSite, Scope
from central.api import once
from central.api.asking import Asking, asks
from central.api.audit import asked_in
from central.api.examples import EXPORT, EXPORTS, shown
from central.api.forms import TYPES
from central.api.given import broken_body
from central.api.reach import V1, Json, Reach
from central.api.routes import v1_router
from central.audit import note_change
from central.exports import NoExports, NotWritten, Order
from central.reports.asked import Text, Values  # noqa: TC001 - pydantic reads them
from central.reports.named import REPORTS, question_of
from central.reports.question import BadQuestion

if TYPE_CHECKING:
    from fastapi import APIRouter

    from central.audit import Asked
    from central.exports import Export

#: Parameters of reports that say how an answer comes, and not what it is of.
OF_THE_ANSWER: Final = ("cursor", "format", "limit", "whole")
ExportId = Annotated[
    str,
    Path(
        pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        examples=["0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c02"],
    ),
]
_NO_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            **{
                TYPES[form]: {"schema": {"type": "string", "format": "binary"}}
                for form in ("ndjson", "arrow", "parquet")
            },
        }
    },
    409: {"description": "It is not written, or failed: its state tells."},
}


class Ordered(BaseModel):
    """What is to be exported."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{
            "report": "log", "format": "parquet",
            "query": {"from": "2026-01-01", "to": "2026-02-01"},
        }]},
    )  # fmt: skip

    report: Literal[tuple(REPORTS)]  # type: ignore[valid-type]
    query: dict[Text, Text | Values] = Field(
        default_factory=dict, max_length=100,
        description=(
            "As `GET /v1/reports/REPORT` has it, with a list where a parameter may come more than"
            f" once; without {', '.join(OF_THE_ANSWER)}: an export has all rows."
        ),
    )  # fmt: skip
    format: Literal["csv", "ndjson", "arrow", "parquet"] = "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTold:
    """An export, and how far it is."""

    id: str
    report: str
    query: dict[str, str | list[str]]
    format: str
    sites: list[str]
    state: Literal["waiting", "running", "done", "failed"]
    #: Why it failed, and what to do.
    why: str
    asked_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    #: From then on it is deleted.
    expires_at: datetime
    #: Written so far, of how many; null as long as they are being counted.
    rows: int
    rows_expected: int | None
    #: From 0 to 1.
    progress: float | None
    bytes: int
    sha256: str | None
    as_of: datetime | None
    complete_through: dict[str, datetime | None] | None
    provisional: bool | None
    #: Months of sites that are in the archive, and not in it.
    archived_not_counted: int | None
    #: Where its file is, once it is written.
    file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportsTold:
    """All exports of who asks, the newest first."""

    schema: str
    exports: list[ExportTold]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneExport(ExportTold):
    """One export."""

    schema: str


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("exports")
    reads: Any = Depends(asks(reach.guard, Scope.READ))
    _add_asking(routes, reach, reads)
    _add_looking(routes, reach, reads)
    return routes


def _add_asking(routes: APIRouter, reach: Reach, reads: Any) -> None:
    @routes.post(
        "/exports", status_code=202, response_model=OneExport,
        responses={
            202: {"content": {"application/json": {"example": EXPORT}}},
            429: {"description": "Too many of yours wait, or are kept."},
        },
    )  # fmt: skip
    async def export(
        ordered: Ordered, request: Request, key: once.IdempotencyKey = None,
        asking: Asking = reads,
    ) -> Response:  # fmt: skip
        """Have a report written into a file; `Location` tells where to look how far it is."""
        try:
            check_order(reach, ordered, asking.sites)
        except BadQuestion as error:
            raise broken_body(f"query.{error.field}", error.rule) from None
        named = await once.named(request, asking.who.name, key)
        asked = asked_in(request.scope, 202)
        told, request.state.is_noted = await order_export(reach, asking, ordered, asked, named)
        answer = Json(told, status_code=202)
        answer.headers["location"] = f"{V1}/exports/{told['id']}"
        return answer

    @routes.delete("/exports/{export_id}", status_code=204, response_class=Response)
    async def delete_export(
        export_id: ExportId, request: Request, asking: Asking = reads
    ) -> Response:
        """Delete an export with its file; one that is being written stops."""
        await drop_export(reach, asking.who.name, export_id, asked_in(request.scope, 204))
        request.state.is_noted = True
        return Response(status_code=204)


async def order_export(
    reach: Reach, asking: Asking, ordered: Ordered, asked: Asked, named: once.Named | None = None
) -> tuple[dict[str, Any], bool]:
    """Ask for an export, with its line of the audit log and the answer, all or none.

    Return what is told of it, and whether it is a new one. Raise TooManyExports.
    """
    async with reach.pool.connection() as connection, connection.transaction():
        if before := await once.begin(connection, named):
            told: dict[str, Any] = json.loads(before.text)
        else:
            order = Order(ordered.report, ordered.query, ordered.format)
            kept_s = reach.export_days * 86_400
            made = await exports.ask(connection, asking.who.name, asking.sites, order, kept_s)
            told = _told(made)
            changed = {"export": made.id, "report": made.report, "query": dict(made.query)}
            await note_change(connection, asked, changed)
            await once.keep(connection, named, told, 202)
    return told, not before


async def drop_export(reach: Reach, who: str, export_id: str, asked: Asked) -> None:
    """Delete somebody's export with its file; raise UnknownExport."""
    async with reach.pool.connection() as connection, connection.transaction():
        found = await exports.find(connection, who, export_id)
        await exports.forget(connection, who, export_id)
        await note_change(connection, asked, {"export": found.id})
    if reach.export_dir is not None:
        with suppress(OSError):  # it is swept then
            (reach.export_dir / found.file).unlink(missing_ok=True)


def _add_looking(routes: APIRouter, reach: Reach, reads: Any) -> None:
    @routes.get("/exports", response_model=ExportsTold, responses=shown(EXPORTS))
    async def list_exports(asking: Asking = reads) -> Json:
        """List your exports, the newest first."""
        async with reach.pool.connection() as connection:
            found = await exports.listed(connection, asking.who.name)
        listed = [_described(each) for each in found if set(each.sites) <= set(asking.sites)]
        return Json({"schema": "mes-central.exports/v1", "exports": listed})

    @routes.get("/exports/{export_id}", response_model=OneExport, responses=shown(EXPORT))
    async def one_export(export_id: ExportId, request: Request, asking: Asking = reads) -> Json:
        """Tell how far an export is."""
        return Json(_told(await _found(reach, request, asking, export_id)))

    @routes.get(
        "/exports/{export_id}/file", response_class=FileResponse, responses=_NO_FILE
    )  # fmt: skip
    async def export_file(
        export_id: ExportId, request: Request, asking: Asking = reads
    ) -> Response:
        """Give the file of an export; in pieces, too (`Range`)."""
        found = await _found(reach, request, asking, export_id)
        if found.state != "done" or reach.export_dir is None:
            why = f": {found.why}" if found.why else ""
            raise NotWritten(f"the export is {found.state}{why}")
        path = reach.export_dir / found.file
        if not path.is_file():
            raise NotWritten("its file was taken away: export it anew")
        name = f"{found.report}-{found.asked_at:%Y-%m-%d}.{found.form}"
        return FileResponse(
            path, media_type=TYPES[found.form], filename=name,
            headers={"cache-control": "private, no-store"},
        )  # fmt: skip


def check_order(reach: Reach, ordered: Ordered, sites: tuple[str, ...]) -> None:
    """Raise NoExports where there are none here, BadQuestion where a report can't be asked so."""
    if reach.export_dir is None:
        raise NoExports(str(NoExports.__doc__))
    for name in OF_THE_ANSWER:
        if name in ordered.query:
            raise BadQuestion(name, "not of an export, which has all rows")
    question, made = question_of(sites, ordered.report, ordered.query)
    made(replace(question, limit=None))


async def _found(reach: Reach, request: Request, asking: Asking, export_id: str) -> Export:
    """Return an export of who asks, of sites that they still reach."""
    async with reach.pool.connection() as connection:
        found = await exports.find(connection, asking.who.name, export_id)
    if not set(found.sites) <= set(asking.sites):
        raise NotYourSite("the export is of more sites than this key or token reaches")
    request.state.sites = tuple(found.sites)
    return found


def _told(found: Export) -> dict[str, Any]:
    return {"schema": "mes-central.export/v1", **_described(found)}


def _described(found: Export) -> dict[str, Any]:
    return {
        "id": found.id, "report": found.report, "query": dict(found.query), "format": found.form,
        "sites": found.sites, "state": found.state, "why": found.why,
        "asked_at": found.asked_at, "begun_at": found.begun_at, "ended_at": found.ended_at,
        "expires_at": found.expires_at, "rows": found.rows, "rows_expected": found.rows_expected,
        "progress": found.progress, "bytes": found.size,
        "sha256": found.sha256.hex() if found.sha256 else None, "as_of": found.as_of,
        "complete_through": found.complete_through, "provisional": found.provisional,
        "archived_not_counted": found.archived_not_counted,
        "file": f"{V1}/exports/{found.id}/file" if found.state == "done" else None,
    }  # fmt: skip

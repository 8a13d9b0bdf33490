"""``/v1/reports/genealogy``, ``/v1/reports/lots``: where lots came from and went, for recalls."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from central.access import Scope
from central.api.answers_of_reports import AS_JSON_OR_CSV, GenealogyTold, LotsTold
from central.api.asking import Asking, asks, reading
from central.api.given import Format, Word, broken, wants_csv
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.documents import to_json
from central.reports import lot_answers
from central.reports.freshness import complete_through
from central.reports.genealogy import DEPTH_MAX, LOTS_MAX, Bounds, UnknownLot, Way, walk
from central.reports.lots import LISTED_MAX, Place, Wanted, find_lots, read_lots, read_stock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter

Status = Literal["RELEASED", "PENDING", "QUARANTINED", "REJECTED", "SCRAPPED"]


class Followed(BaseModel):
    """How far to follow the edges of a lot."""

    model_config = ConfigDict(extra="forbid")

    direction: Literal["up", "down", "both"] = Field(
        "both", description="`up`: what went into the lot; `down`: where it went."
    )
    depth: int = Field(20, ge=1, le=DEPTH_MAX)
    lots: int = Field(1_000, ge=1, le=LOTS_MAX, description="Lots that the answer may hold.")
    format: Format | None = Field(None, description="In place of the header Accept.")


class Listed(BaseModel):
    """Which lots to list."""

    model_config = ConfigDict(extra="forbid")

    lot_no: Word | None = Field(None, description="Exact, or with `*` at its end a beginning.")
    material: Word | None = Field(None, description="material_code")
    status: Status | None = None
    limit: int = Field(100, ge=1, le=LISTED_MAX)
    cursor: str | None = Field(None, max_length=200, description="`next` of the page before.")
    format: Format | None = Field(None, description="In place of the header Accept.")


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("reports")
    _add_genealogy(routes, reach)
    _add_lots(routes, reach)
    return routes


def _add_genealogy(routes: APIRouter, reach: Reach) -> None:
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get(
        "/reports/genealogy/{lot_id}", response_model=GenealogyTold, responses=AS_JSON_OR_CSV
    )
    async def genealogy(
        lot_id: UUID, given: Annotated[Followed, Query()], request: Request, asking: Asking = reads
    ) -> Response:
        """Give the lots that went into a lot and those that it went into, with what is where."""
        told = await read_genealogy(reach, asking.sites, lot_id, given)
        if wants_csv(given.format, request):
            return _csv(told, f"lots-{given.direction}-{lot_id}", cut=told["truncated"])
        return Json(told)


async def read_genealogy(
    reach: Reach, sites: tuple[str, ...], lot_id: UUID, given: Followed
) -> dict[str, Any]:
    """Return what ``GET /v1/reports/genealogy/LOT`` tells; raise UnknownLot."""
    ways = [way for way in Way if given.direction in (way, "both")]
    async with reading(reach.reading, sites) as connection:
        now, through = await complete_through(connection, sites)
        if not await read_lots(connection, sites, [lot_id]):
            raise UnknownLot(f"no lot {lot_id} here that this key or token reaches")
        bounds = Bounds(depth=given.depth, lots=given.lots)
        found = await walk(connection, sites, lot_id, ways, bounds)
        visible = await read_lots(connection, sites, found.lots)
        stock = await read_stock(connection, sites, found.lots)
    return {
        "schema": "mes-central.genealogy/v1", "as_of": now, "complete_through": through,
        "lot": lot_id, "direction": given.direction, "depth": given.depth,
        **lot_answers.genealogy(found, visible, stock),
    }  # fmt: skip


def _add_lots(routes: APIRouter, reach: Reach) -> None:
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/reports/lots", response_model=LotsTold, responses=AS_JSON_OR_CSV)
    async def lots(
        given: Annotated[Listed, Query()], request: Request, asking: Asking = reads
    ) -> Response:
        """List lots with what is on hand of them and the holds that block them, page by page."""
        told = await read_listed(reach, asking.sites, given)
        end = told["next"]
        is_csv = wants_csv(given.format, request)
        answer: Response = _csv(told, "lots", cut=end is not None) if is_csv else Json(told)
        if end is not None:
            kept = given.model_dump(exclude_none=True) | {"cursor": end}
            answer.headers["Link"] = f'<{request.url.path}?{urlencode(kept)}>; rel="next"'
        return answer


async def read_listed(reach: Reach, sites: tuple[str, ...], given: Listed) -> dict[str, Any]:
    """Return what ``GET /v1/reports/lots`` tells; raise RequestValidationError."""
    wanted = Wanted(
        lot_no=given.lot_no, material=given.material, status=given.status,
        after=_place(given.cursor) if given.cursor is not None else None, limit=given.limit,
    )  # fmt: skip
    async with reading(reach.reading, sites) as connection:
        now, through = await complete_through(connection, sites)
        found, end = await find_lots(connection, sites, wanted)
        stock = await read_stock(connection, sites, [lot.id for lot in found])
    return {
        "schema": "mes-central.lots/v1", "as_of": now, "complete_through": through,
        "lots": lot_answers.listed(found, stock), "next": end and _cursor(end),
    }  # fmt: skip


# --- pages ---------------------------------------------------------------------------------------


def _cursor(place: Place) -> str:
    text = f"{place.site}|{place.created_at.isoformat()}|{place.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _place(cursor: str) -> Place:
    """Return where a page begins; raise RequestValidationError.

    It is not signed: one that was made up begins a page elsewhere and shows no more, since the key
    or token alone tells whose lots are listed.
    """
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        site, made, lot = text.split("|")
        at = datetime.fromisoformat(made)
        # In UTC: Python knows offsets that PostgreSQL does not.
        place = Place(site, at.astimezone(UTC), UUID(lot))
    except (binascii.Error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise broken("cursor", "is none that a page ended with") from error
    if "\0" in site or at.tzinfo is None:
        raise broken("cursor", "is none that a page ended with")
    return place


# --- tables --------------------------------------------------------------------------------------


def _csv(told: Mapping[str, Any], name: str, *, cut: bool) -> Response:
    lots: Iterable[Mapping[str, Any]] = told["lots"]
    return Response(
        lot_answers.to_csv(lots, told["complete_through"], cut=cut),
        media_type="text/csv",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "X-Data-As-Of": to_json(told["as_of"]).strip('"'),
            "X-Truncated": "true" if cut else "false",
        },
    )

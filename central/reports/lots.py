"""Lots with what is on hand of them, site by site, and the holds that block them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from central.reports.reading import archived, number, rows, with_shared
from central.schema import natural_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

LISTED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """A lot as its row tells it."""

    id: UUID
    site: str
    lot_no: str
    material_id: UUID | None
    material_code: str | None
    supplier_lot: str | None
    made_at: datetime | None
    received_at: datetime | None
    expires_at: datetime | None
    uom: str
    quality_status: str
    location: str | None


@dataclass(frozen=True, slots=True)
class Stock:
    """What is on hand of some lots, and what blocks them."""

    on_hand: dict[UUID, list[dict[str, Any]]] = field(default_factory=dict)
    holds: dict[UUID, list[dict[str, Any]]] = field(default_factory=dict)
    #: Months of movements that are in the archive, and not in what is on hand.
    archived: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends: the key of its last lot."""

    site: str
    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lots to list; None stands for any."""

    #: Exact, or with * at its end the beginning.
    lot_no: str | None = None
    material: str | None = None
    status: str | None = None
    after: Place | None = None
    limit: int = 100


async def read_lots(
    connection: AsyncConnection[Any], sites: Sequence[str], ids: Collection[UUID]
) -> dict[UUID, Lot]:
    """Return the lots of these ids that rows of these sites, or shared ones, tell of."""
    given = {"sites": with_shared(sites), "lots": list(ids)}
    return {row["id"]: Lot(**row) for row in await rows(connection, "read_lots", given)}


async def read_stock(
    connection: AsyncConnection[Any], sites: Sequence[str], ids: Collection[UUID]
) -> Stock:
    """Return what these sites have on hand of these lots, and the holds that nobody released."""
    archive = await archived(connection, "inventory_movements", sites)
    stock = Stock(defaultdict(list), defaultdict(list), archive)
    given = {"sites": list(sites), "lots": list(ids)}
    for row in await rows(connection, "sum_lot_movements", given):
        stock.on_hand[row.pop("lot_id")].append(row | {"qty": number(row["qty"])})
    given["sites"] = with_shared(sites)
    for row in await rows(connection, "read_lot_holds", given):
        stock.holds[row.pop("lot_id")].append(row)
    return stock


async def find_lots(
    connection: AsyncConnection[Any], sites: Sequence[str], wanted: Wanted
) -> tuple[list[Lot], Place | None]:
    """Return a page of lots in the order of their keys, and where it ends if there are more."""
    after = wanted.after
    given = {
        "sites": with_shared(sites), "material": wanted.material, "status": wanted.status,
        "after_site": after and after.site, "after_at": after and after.created_at,
        "after_id": after and after.id, "limit": wanted.limit + 1,
        "starts": wanted.lot_no and wanted.lot_no.removesuffix("*"),
    }  # fmt: skip
    name = "find_lots"
    if wanted.lot_no and not wanted.lot_no.endswith("*"):
        name, given["key"] = "find_lots_numbered", natural_key(0, [wanted.lot_no])
    found = await rows(connection, name, given)
    made = [row.pop("created_at") for row in found]
    lots = [Lot(**row) for row in found[: wanted.limit]]
    if len(found) <= wanted.limit:
        return lots, None
    return lots, Place(lots[-1].site, made[wanted.limit - 1], lots[-1].id)

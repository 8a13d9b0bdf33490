"""Lots, edges, stock and measurements of two sites, as their agents bring them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.changes import Value
    from tests.integration.apply_world import Site, World

#: All that is measured here is measured from this moment on, a sample a minute.
BEGAN = datetime(2026, 11, 20, 8, tzinfo=UTC)
WINDOW = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"}


def canonical(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def new() -> str:
    return str(uuid.uuid4())


async def shared_lot(world: World, lot_no: str) -> str:
    """Make a lot that is of all sites, as the centre does: each moves its own part of it."""
    lot = new()
    await world.client(
        "INSERT INTO mes.material_lots (site_id, id, lot_no) VALUES ('*', %s, %s)",
        lot, lot_no, site="*",
    )  # fmt: skip
    return lot


@dataclass
class Plant:
    """A site with lots and characteristics."""

    world: World
    name: str = "SITE_001"
    at: datetime = BEGAN
    _site: Site | None = field(default=None, repr=False)

    @property
    def site(self) -> Site:
        self._site = self._site or self.world.site(self.name)
        return self._site

    async def write(self, table: str, *rows: dict[str, Value], created: str = "") -> list[str]:
        rows = tuple({"id": new(), **row} for row in rows)
        given = {"created": created} if created else {}
        await self.site.writes(self.site.insert(table, *rows, **given))
        return [str(row["id"]) for row in rows]

    # --- lots ------------------------------------------------------------------------------------

    async def lot(self, lot_no: str, **values: Value) -> str:
        (made,) = await self.write("material_lots", {"lot_no": lot_no, **values})
        return made

    async def lots(self, *numbers: str) -> list[str]:
        return await self.write("material_lots", *({"lot_no": number} for number in numbers))

    async def edge(self, parent: str, child: str, **values: Value) -> str:
        (made,) = await self.edges((parent, child), **values)
        return made

    async def edges(self, *pairs: tuple[str, str], **values: Value) -> list[str]:
        return await self.write(
            "lot_genealogy",
            *(
                {"parent_lot_id": parent, "child_lot_id": child, "relation": "CONSUMED", **values}
                for parent, child in pairs
            ),
        )

    async def void(self, edge: str, parent: str, child: str) -> str:
        return await self.edge(parent, child, void_of=edge)

    async def moves(self, lot: str, *quantities: str, **values: Value) -> None:
        kind = {"kind": "ADJUST", **values}
        rows = ({"lot_id": lot, "qty_delta": each, **kind} for each in quantities)
        await self.write("inventory_movements", *rows)

    async def hold(self, lot: str, **values: Value) -> str:
        at = canonical(BEGAN)
        held = {"target_type": "LOT", "target_id": lot, "placed_at": at, **values}
        (made,) = await self.write("holds", held)
        return made

    # --- measurements ----------------------------------------------------------------------------

    async def characteristic(self, **values: Value) -> str:
        (plan,) = await self.write("inspection_plans", {"plan_code": f"P-{new()[:8]}"})
        (made,) = await self.write(
            "inspection_characteristics", {"plan_id": plan, "seq": 1, "name": "bore", **values}
        )
        return made

    async def sample(self, characteristic: str, *pieces: Any, **values: Value) -> str:
        """Bring a result with its values; a piece is a value, or the columns of one."""
        created = canonical(self.at)
        self.at += timedelta(minutes=1)
        result = new()
        rows = [
            {"id": new(), "result_id": result, "characteristic_id": characteristic, "piece_no": n}
            | (
                piece
                if isinstance(piece, dict)
                else {"value": f"{piece:.9f}".rstrip("0").rstrip(".")}
            )
            for n, piece in enumerate(pieces)
        ]
        await self.site.writes(
            self.site.insert("inspection_results", {"id": result, **values}, created=created),
            self.site.insert("measurements", *rows, created=created),
        )
        return result

    async def samples(self, characteristic: str, samples: Sequence[Sequence[Any]]) -> None:
        for pieces in samples:
            await self.sample(characteristic, *pieces)

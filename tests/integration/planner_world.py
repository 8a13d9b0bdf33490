"""Rows as planners ask for them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import World

ORDERS = "/v1/tables/work_orders/rows"
RATES = "/v1/tables/equipment_rates/rows"
MATERIALS = "/v1/tables/material_definitions/rows"
EQUIPMENT = "/v1/tables/equipment/rows"
PERSONS = "/v1/tables/persons/rows"


def order(**values: Any) -> dict[str, Any]:
    return {"order_no": f"WO-{secrets.token_hex(4)}", "qty_ordered": "10", **values}


async def made(
    client: httpx.AsyncClient, path: str, site: str = "SITE_001", **values: Any
) -> dict[str, Any]:
    """Make a row, and return it as it was answered."""
    answer = await client.post(path, json={"site": site, "values": values})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def made_order(client: httpx.AsyncClient, site: str = "SITE_001", **values: Any):
    return await made(client, ORDERS, site, **order(**values))


def seen(row: dict[str, Any]) -> dict[str, str]:
    """The header of a write by who saw a row."""
    return {"If-Match": f'"{row["version"]}"'}


async def changed(client: httpx.AsyncClient, row: dict[str, Any], **values: Any) -> httpx.Response:
    """Change a row as it was answered."""
    path = f"/v1/tables/{row['table']}/rows/{row['id']}"
    return await client.patch(path, json={"values": values}, headers=seen(row))


async def noted(world: World) -> list[dict[str, Any]]:
    """Return what the audit log holds of changes."""
    found = await world.rows("SELECT changed FROM sync.audit WHERE changed IS NOT NULL ORDER BY no")
    return [each for (each,) in found]


def rules(answer: httpx.Response) -> dict[str, str]:
    """Return the rules that an answer tells of, by field."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    return {each["field"]: each["rule"] for each in answer.json()["errors"]}

"""What is parked at the centre, and a row that will be, as the tests of parking ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.changes import Value
    from tests.integration.apply_world import Site, World


async def tickets(world: World) -> dict[str, str]:
    """Return the tickets of what waits, by row."""
    return dict(await world.rows("SELECT row_id, ticket::text FROM sync.waiting ORDER BY ord"))


async def states(world: World) -> dict[str, tuple[str, str]]:
    """Return reason and state of parked rows, by row."""
    return {row_id: (reason, state) for reason, state, _, row_id, _ in await world.parked()}


async def told(world: World, table: str) -> list[str]:
    """Return the rows of a table whose heads are on their way to their site."""
    found = await world.rows(
        "SELECT t.row_id::text FROM sync.touched t JOIN sync.table_no n ON n.no = t.table_no"
        " WHERE n.name = %s",
        table,
    )
    return [row_id for (row_id,) in found]


def bad(site: Site, **values: Value) -> dict[str, Value]:
    """Return an order that breaks a rule of the catalogue."""
    return site.order(priority=1000, **values)

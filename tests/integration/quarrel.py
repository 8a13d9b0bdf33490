"""Conflicts that wait for a person: a site wrote without having seen the centre's write."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.apply_world import Site, World

TABLE = "nonconformances"


@dataclass(frozen=True, slots=True)
class Quarrel:
    """A row that both ends wrote, and the record of it."""

    row_id: str
    number: str
    conflict_id: str
    review_id: str


async def quarrel(
    world: World, site: Site, here: str | None = "USE_AS_IS", central: str | None = "SCRAP"
) -> Quarrel:
    """Have both ends decide what becomes of a faulty part; a None deletes the row instead."""
    row_id, number = str(uuid.uuid4()), f"NCR-{secrets.token_hex(4)}"
    base = await site.writes(site.insert(TABLE, {"id": row_id, "ncr_no": number}))
    if central is None:
        await world.client(f"DELETE FROM mes.{TABLE} WHERE id = %s", row_id, site=site.name)
    else:
        await write(world, row_id, central, site=site.name)
    if here is None:
        change = site.delete(TABLE, row_id, base=base)
    else:
        changes = {"disposition": (None, here), "changed_by": (None, "j.kiss")}
        change = site.update(TABLE, row_id, base=base, **changes)
    await site.apply(site.sends(change))
    ids = await world.one(
        "SELECT id::text, review_id::text FROM mes.sync_conflicts WHERE row_id = %s"
        " AND review_id IS NOT NULL ORDER BY column_group LIMIT 1",
        row_id,
    )
    return Quarrel(row_id, number, *ids)


async def write(world: World, row_id: str, disposition: str, *, site: str = "SITE_001") -> None:
    """Write the row as a program of the centre does."""
    await world.client(
        f"UPDATE mes.{TABLE} SET disposition = %s WHERE id = %s", disposition, row_id, site=site
    )


async def stands(world: World, row_id: str) -> str | None:
    """Return the disposition, "gone" where there is no such row."""
    found = await world.rows(f"SELECT disposition FROM mes.{TABLE} WHERE id = %s", row_id)
    return found[0][0] if found else "gone"

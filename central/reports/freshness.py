"""Until when an answer is complete: what each site had committed when it was last heard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg import AsyncConnection


async def complete_through(
    connection: AsyncConnection[Any], sites: Collection[str]
) -> tuple[datetime, dict[str, datetime | None]]:
    """Return the moment of the answer, and until when all that each site committed is in it.

    None of a site of which nothing was ever applied. Ask before the rows are read, so that they
    hold at least what is promised.
    """
    cursor = await connection.execute(
        b"""SELECT now(), s.site, max(e.through_ms)
            FROM unnest(%s::text[]) AS s (site)
            LEFT JOIN sync.epoch AS e ON e.site = s.site GROUP BY s.site ORDER BY s.site""",
        [list(sites)],
    )
    found = await cursor.fetchall()
    known = {
        site: datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None
        for _, site, ms in found
    }
    return found[0][0], known

"""Until when an answer is complete: what each site had committed when it was last heard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from psycopg import AsyncConnection

#: The moment, each of the sites, and until when all that it committed is here, in ms since 1970.
#: To be asked before the rows are read, so that they hold at least what is promised.
ASKED: Final = b"""
SELECT now(), s.site, c.through_ms FROM unnest(%s::text[]) AS s (site)
LEFT JOIN sync.complete_through AS c ON c.site = s.site ORDER BY s.site"""

#: The moment of an answer, and until when all that each site committed is in it; None of a site of
#: which nothing was ever applied.
Fresh = tuple[datetime, dict[str, datetime | None]]


async def complete_through(connection: AsyncConnection[Any], sites: Collection[str]) -> Fresh:
    """Return how fresh an answer is that is read after this."""
    cursor = await connection.execute(ASKED, [list(sites)])
    return as_told(await cursor.fetchall())


def as_told(found: Iterable[tuple[datetime, str, int | None]]) -> Fresh:
    """Return what ``ASKED`` found."""
    rows = list(found)
    known = {
        site: datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None
        for _, site, ms in rows
    }
    return rows[0][0], known

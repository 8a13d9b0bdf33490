"""Until when nothing of a site is missing: what every report says of the sites it is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

_THROUGH: Final = b"""
SELECT site, max(through_ms) FROM sync.epoch WHERE site = ANY(%s) GROUP BY site"""


async def complete_through(
    connection: AsyncConnection[Any], sites: Iterable[str]
) -> dict[str, str | None]:
    """Return for each site the instant until which all that it committed is here; None for none.

    Ask before the rows are read, so that they hold at least what is promised. The connection has
    to be one that reads the state of the sync, as mes_ingest.
    """
    wanted = sorted(sites)
    cursor = await connection.execute(_THROUGH, [wanted])
    known = dict(await cursor.fetchall())
    return {site: _instant(known.get(site) or 0) for site in wanted}


def _instant(through_ms: int) -> str | None:
    if not through_ms:
        return None
    at = datetime.fromtimestamp(through_ms / 1000, UTC).replace(tzinfo=None)
    return f"{at.isoformat(timespec='milliseconds')}Z"

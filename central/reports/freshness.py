"""Until when an answer is complete: what each site had committed when it was last heard."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date

    from psycopg import AsyncConnection

#: The moment, each of the sites, until when all that it committed is here, in ms since 1970, and by
#: which days it goes. To be asked before the rows are read, so that they hold at least what is
#: promised.
ASKED: Final = b"""
SELECT now(), s.site, c.through_ms, coalesce(d.zone, 'UTC'), coalesce(d.day_start, '00:00')
FROM unnest(%s::text[]) AS s (site) LEFT JOIN sync.complete_through AS c ON c.site = s.site
LEFT JOIN sync.site_day AS d ON d.site = s.site ORDER BY s.site"""


class Fresh(NamedTuple):
    """How fresh an answer is."""

    as_of: datetime
    #: Until when all that each site committed is in it; None of a site that was never heard.
    through: Mapping[str, datetime | None]
    #: The zone of each site, and when its business day starts.
    days: Mapping[str, tuple[str, time]]

    def ends_before(self, site: str, day: date) -> datetime:
        """Return the instant at which a business day of a site begins, of two the second."""
        zone, start = self.days[site]
        return datetime.combine(day, start, ZoneInfo(zone)).replace(fold=1)


async def complete_through(
    connection: AsyncConnection[Any], sites: Collection[str]
) -> tuple[datetime, Mapping[str, datetime | None]]:
    """Return the moment of an answer that is read after this, and until when it is complete."""
    cursor = await connection.execute(ASKED, [list(sites)])
    fresh = as_told(await cursor.fetchall())
    return fresh.as_of, fresh.through


def as_told(found: Iterable[tuple[datetime, str, int | None, str, time]]) -> Fresh:
    """Return what ``ASKED`` found."""
    rows = list(found)
    through = {
        site: datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None
        for _, site, ms, _, _ in rows
    }
    return Fresh(rows[0][0], through, {site: (zone, start) for _, site, _, zone, start in rows})

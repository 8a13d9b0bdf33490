"""Until when an answer is complete: what each site had committed when it was last heard."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from central.rollups import BEGINS, DAY_OF

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from psycopg import AsyncConnection

#: The moment, each of the sites, until when all that it committed is here, in ms since 1970, and
#: when a business day begins there, now at the latest; parameters: that day, or null for now, and
#: the sites. To be asked before the rows are read, so that they hold at least what is promised.
#: PostgreSQL tells it, which knows zones that Python does not.
ASKED: Final = f"""
SELECT now(), z.site, c.through_ms,
       greatest(least({BEGINS.format(day="z.day")}, now()), 'epoch')
FROM (SELECT s.site, coalesce(d.zone, 'UTC') AS zone, coalesce(d.day_start, '00:00') AS day_start,
             %s::date AS day FROM unnest(%s::text[]) AS s (site)
      LEFT JOIN sync.site_day AS d ON d.site = s.site) AS z
LEFT JOIN sync.complete_through AS c ON c.site = z.site ORDER BY z.site""".encode()


#: Each site that is registered, and the business day that it is there.
TODAY: Final = f"""
SELECT z.site, {DAY_OF.format(at="now()")} FROM (
    SELECT s.site, coalesce(d.zone, 'UTC') AS zone, coalesce(d.day_start, '00:00') AS day_start
    FROM sync.site AS s LEFT JOIN sync.site_day AS d ON d.site = s.site) AS z""".encode()


class Fresh(NamedTuple):
    """How fresh an answer is."""

    as_of: datetime
    #: Until when all that each site committed is in it; None of a site that was never heard.
    through: Mapping[str, datetime | None]
    #: When a window of days ends at each site, now at the latest.
    ends: Mapping[str, datetime]


async def complete_through(
    connection: AsyncConnection[Any], sites: Collection[str]
) -> tuple[datetime, Mapping[str, datetime | None]]:
    """Return the moment of an answer that is read after this, and until when it is complete."""
    cursor = await connection.execute(ASKED, asked_of(sites, None))
    fresh = as_told(await cursor.fetchall())
    return fresh.as_of, fresh.through


def asked_of(sites: Collection[str], end: date | datetime | None) -> list[Any]:
    """Return the parameters of ``ASKED`` for a window that ends so."""
    return [None if isinstance(end, datetime) else end, list(sites)]


def as_told(found: Iterable[tuple[datetime, str, int | None, datetime]]) -> Fresh:
    """Return what ``ASKED`` found."""
    rows = list(found)
    through = {
        site: datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None
        for _, site, ms, _ in rows
    }
    return Fresh(rows[0][0], through, {site: end for _, site, _, end in rows})

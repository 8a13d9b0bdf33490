"""Registering sites, and letting one go on that a person has looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from central.partitions import make_ahead
from shared.errors import SyncError
from sync.accounts import check_site

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg import AsyncConnection

    from shared.catalog import Catalog


class UnknownSite(SyncError):
    """The site is not registered; `mes-central sites list` names those that are."""


class NotStopped(SyncError):
    """The site is not stopped, so there is nothing to release."""


async def register(
    connection: AsyncConnection[Any], catalog: Catalog, sites: Collection[str], now_ms: int
) -> list[str]:
    """Register the sites that are not yet and make their partitions; return the new ones.

    ``connection`` must be in autocommit mode. Raise BadSetting where a name can't be a site's.
    """
    cursor = await connection.execute(
        "INSERT INTO sync.site (site) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
        " RETURNING site",
        [[check_site(site) for site in sites]],
    )
    new = sorted(site for (site,) in await cursor.fetchall())
    await make_ahead(connection, catalog, sites, now_ms)
    return new


async def release(connection: AsyncConnection[Any], site: str) -> str:
    """Let a site go on that was stopped or is claimed by another store; return why it was.

    Whoever says hello next is taken for the right store. The lease gets another token, so that the
    worker that stands still at the fork begins anew. Raise UnknownSite, NotStopped.
    """
    async with connection.transaction():
        cursor = await connection.execute(
            """SELECT coalesce(stopped_because, claimed_because,
                               'another store claims it: ' || claimed_by)
               FROM sync.site WHERE site = %s FOR UPDATE""",
            [site],
        )
        row = await cursor.fetchone()
        if row is None:
            raise UnknownSite(f"site {site} is not registered; see `mes-central sites list`")
        if row[0] is None:
            raise NotStopped(f"site {site} is not stopped; see `mes-central status {site}`")
        await connection.execute(
            """UPDATE sync.site SET stopped_because = NULL, instance = NULL, claimed_by = NULL,
                      claimed_at = NULL, claimed_because = NULL, released_at = now(),
                      lease_holder = NULL, lease_token = lease_token + 1, lease_until = '-infinity'
               WHERE site = %s""",
            [site],
        )
    return str(row[0])

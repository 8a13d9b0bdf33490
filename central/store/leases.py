"""Leases: which worker applies for which site, so that each site has one and none is forgotten.

A lease is a row's columns and the server's clock. Its token grows with each holder and fences the
one before: whoever applies shows the token under the lock of the site's chain. A lease that is lost
without notice does no harm, since the chain itself takes each transaction once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.store.fixed import fixed

if TYPE_CHECKING:
    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of a worker to apply for a site; the same as long as the worker keeps it."""

    site: str
    holder: str
    token: int


async def show_up(connection: AsyncConnection[Any], holder: str, *, ttl_s: float) -> None:
    """Be counted among the workers that are alive, for ``ttl_s`` seconds.

    To be committed before ``claim``: workers that begin together must see one another.
    """
    await connection.execute(
        b"""INSERT INTO sync.worker (holder, until)
            VALUES (%(holder)s, now() + make_interval(secs => %(ttl_s)s))
            ON CONFLICT (holder) DO UPDATE SET until = excluded.until""",
        {"holder": holder, "ttl_s": ttl_s},
    )
    await connection.execute(b"DELETE FROM sync.worker WHERE until < now() - interval '1 hour'")


async def claim(connection: AsyncConnection[Any], holder: str, *, ttl_s: float) -> dict[str, Lease]:
    """Return the leases that a worker holds from now on, by site: its fair share of all sites.

    Those that it holds it keeps, but for more than its share: these it lets go of.
    """
    # One after the other: each must see what the one before it took and let go of.
    await connection.execute(b"SELECT pg_advisory_xact_lock(hashtextextended('mes.leases', 0))")
    await connection.execute(fixed("claim_sites"), {"holder": holder, "ttl_s": ttl_s})
    cursor = await connection.execute(
        b"SELECT site, lease_token FROM sync.site WHERE lease_holder = %s AND lease_until > now()",
        [holder],
    )
    return {site: Lease(site, holder, token) for site, token in await cursor.fetchall()}


async def release(connection: AsyncConnection[Any], holder: str) -> None:
    """Let go of all that a worker holds, so that others need not wait for it to run out."""
    await connection.execute(
        b"""UPDATE sync.site SET lease_holder = NULL, lease_until = '-infinity'
            WHERE lease_holder = %s""",
        [holder],
    )
    await connection.execute(b"DELETE FROM sync.worker WHERE holder = %s", [holder])

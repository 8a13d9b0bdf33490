"""The streams that the broker must have, by the centre's settings, and those that it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sync.streams import Layout, StreamLimits, desired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import AsyncConnection

    from central.settings import CentralSettings


def layout(settings: CentralSettings, sites: Iterable[str]) -> Layout:
    """Return the streams and durables of these sites."""
    size = settings.nats_stream_mib << 20
    limits = StreamLimits(up_bytes_max=size, down_bytes_max=size)
    return desired(sites, replicas=settings.nats_replicas, limits=limits)


async def keep_refusals(
    connection: AsyncConnection[Any], refused: Mapping[str, str]
) -> frozenset[str]:
    """Keep which streams and durables the broker refuses, for the status; return what is news.

    ``refused`` has the reason by name, and is all there is: others are forgotten.
    """
    await connection.execute(
        "DELETE FROM sync.stream_refused WHERE name <> ALL(%s)", [list(refused)]
    )
    cursor = await connection.execute(
        """INSERT INTO sync.stream_refused AS r (name, reason)
           SELECT * FROM unnest(%s::text[], %s::text[])
           ON CONFLICT (name) DO UPDATE SET reason = excluded.reason, refused_at = now()
           WHERE r.reason <> excluded.reason RETURNING name""",
        [list(refused), list(refused.values())],
    )
    return frozenset(name for (name,) in await cursor.fetchall())

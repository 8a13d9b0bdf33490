"""What comparisons came to, as their sites told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

#: Reports that are kept of a site, the latest.
REPORTS_MAX: Final = 10


async def keep(
    connection: AsyncConnection[Any], site: str, run: str, report: Mapping[str, Any]
) -> None:
    """Keep a site's report, once however often it comes."""
    async with connection.transaction():
        await connection.execute(
            """INSERT INTO sync.compare (site, run, differing, whole, report)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT (site, run) DO UPDATE
               SET differing = excluded.differing, whole = excluded.whole,
                   report = excluded.report, at = now()""",
            [site, run, int(report["differing"]), bool(report["whole"]), Jsonb(dict(report))],
        )
        await connection.execute(
            """DELETE FROM sync.compare WHERE site = %s AND run NOT IN
               (SELECT run FROM sync.compare WHERE site = %s ORDER BY at DESC LIMIT %s)""",
            [site, site, REPORTS_MAX],
        )


async def read_report(
    connection: AsyncConnection[Any], site: str, run: str
) -> dict[str, Any] | None:
    """Return the report of a comparison, None while there is none."""
    cursor = await connection.execute(
        "SELECT report FROM sync.compare WHERE site = %s AND run = %s", [site, run]
    )
    row = await cursor.fetchone()
    return row[0] if row else None

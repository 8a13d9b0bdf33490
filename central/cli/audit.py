"""``mes-central audit``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from central.audit import LISTED_MAX, Wanted
from central.cli import exits
from central.cli.given import now, settings
from central.cli.look import as_json, local, say, say_json, table
from shared.given import span

if TYPE_CHECKING:
    from datetime import timedelta

    from central.audit import Entry


@click.command()
@click.option("--who", help="Asked by this key or user.")
@click.option("--site", help="The answer could hold rows of this site.")
@click.option("--since", callback=span, help="Not older than 90m, 24h, 7d.")
@click.option("--changes", is_flag=True, help="Only what changed something.")
@click.option(
    "--limit", type=click.IntRange(1, LISTED_MAX), default=100, show_default=True,
    help="At most so many, the latest.",
)  # fmt: skip
@as_json
def audit(
    who: str | None, site: str | None, since: timedelta | None, limit: int,
    *, changes: bool, json_wanted: bool,
) -> int:  # fmt: skip
    """Show who read and changed what over the API, the latest first."""
    earliest = now() - since if since else None
    wanted = Wanted(who=who, site=site, since=earliest, changes=changes, limit=limit)
    found = asyncio.run(_read(wanted))
    if json_wanted:
        say_json({"schema": "mes-central.audit/v1", "entries": [asdict(each) for each in found]})
        return exits.OK
    rows = [
        (local(each.at), each.who, each.status, each.times, each.action, each.target)
        for each in found
    ]
    for line in table(("AT", "WHO", "STATUS", "TIMES", "ACTION", "ASKED"), rows):
        say(line)
    return exits.OK


async def _read(wanted: Wanted) -> list[Entry]:
    import psycopg

    from central.audit import read_entries

    async with await psycopg.AsyncConnection.connect(settings().database_url) as connection:
        return await read_entries(connection, wanted)

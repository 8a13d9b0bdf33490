"""``mes-central restores``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli.given import settings
from central.cli.look import as_json, local, say, say_json, table, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.settings import CentralSettings

_LIMIT = 100


@click.command()
@click.argument("names", nargs=-1, metavar="[SITE]...")
@as_json
def restores(names: tuple[str, ...], *, json_wanted: bool) -> int:
    """List who went back to an older copy of itself, site or centre, and what came of it."""
    found = asyncio.run(_read(settings(), names))
    if json_wanted:
        say_json({"schema": "mes-central.restores/v1", "restores": found})
        return exits.OK
    if not found:
        say("nobody went back to an older copy of itself")
        return exits.OK
    rows = [(local(r["at"]), r["site"], r["who"], _came_of_it(r)) for r in found]
    for line in table(("WHEN", "SITE", "WHO", "WHAT CAME OF IT"), rows):
        say(line)
    say("")
    for line in wrapped(f"last: {found[0]['why']}", 6):
        say(line)
    return exits.OK


def _came_of_it(restore: dict[str, Any]) -> str:
    found = restore["found"]
    if restore["who"] == "edge":
        lost = sum(each["closed_n"] - each["fork_n"] for each in found["ended"])
        only = sum(each.get("rows_only", 0) for each in found["ended"])
        gone = f"; of {only} facts and parked rows are gone" if only else ""
        return f"goes on in a new epoch; {lost} transactions taken home by the site{gone}"
    if "forgotten" in found:
        return f"{found['forgotten']} transactions that came home have not come again"
    missing = f"; {found['missing']} can't be sent again" if found["missing"] else ""
    return f"history brought home up to n {found['included_n']}, held n {found['from_n']}{missing}"


async def _read(read: CentralSettings, names: Sequence[str]) -> list[dict[str, Any]]:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        read.database_url, row_factory=psycopg.rows.dict_row
    ) as connection:
        cursor = await connection.execute(
            """SELECT site, at, who, why, found FROM sync.restore
               WHERE %(names)s::text[] = '{}' OR site = ANY(%(names)s)
               ORDER BY id DESC LIMIT %(limit)s""",
            {"names": list(names), "limit": _LIMIT},
        )
        return await cursor.fetchall()

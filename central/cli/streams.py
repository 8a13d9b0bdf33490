"""``mes-central streams``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from central.cli import exits
from central.cli.given import settings
from central.cli.look import as_json, say, say_json

if TYPE_CHECKING:
    from central.settings import CentralSettings
    from sync.streams import Difference

CONNECT_TIMEOUT_S = 5.0


@click.command()
@click.option("--dry-run", is_flag=True, help="Only compare.")
@as_json
def streams(*, dry_run: bool, json_wanted: bool) -> int:
    """Make the broker have the streams of all registered sites; print in what it differed.

    The feed process does the same every few seconds. Exit code 1 where the broker refuses
    something, or it differs in a way that can't be changed.
    """
    found = asyncio.run(_provision(settings(), dry_run=dry_run))
    stays = any(each.refused or each.kind == "fixed" for each in found)
    if json_wanted:
        listed = [
            {
                "kind": d.kind, "name": d.name, "fields": d.fields, "refused": d.refused,
                "line": str(d),
            }
            for d in found
        ]  # fmt: skip
        document = {"schema": "mes-central.streams/v1", "dry_run": dry_run, "differences": listed}
        say_json(document)
    else:
        for difference in found:
            say(str(difference))
        say(_verdict(found, stays=stays, dry_run=dry_run))
    return exits.FAILED if stays else exits.OK


def _verdict(found: list[Difference], *, stays: bool, dry_run: bool) -> str:
    if not found:
        return "as it must be"
    if dry_run:
        return "to be mended"
    return "not all is mended" if stays else "mended"


async def _provision(read: CentralSettings, *, dry_run: bool) -> list[Difference]:
    import psycopg

    from central.agent import link_of
    from central.layout import layout
    from central.partitions import site_names
    from sync.streams import provision

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        sites = await site_names(connection)
    async with link_of(read, "mes-central streams") as link:
        await link.wait_connected(CONNECT_TIMEOUT_S)
        return await provision(link, layout(read, sites), dry_run=dry_run)

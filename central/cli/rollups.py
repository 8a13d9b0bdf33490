"""``mes-central rollups``."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli.given import settings, shelf_of
from central.cli.look import as_json, say, say_json, table

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.archive_loading import Shelf

    #: Site, rollup, and the rows of it that differ.
    Looked = list[tuple[str, str, list[dict[str, Any]]]]

_SHOWN_MAX = 20


@click.group()
def rollups() -> None:
    """Hold the sums that reports are made of against the facts."""


@rollups.command()
@click.option("--site", "sites", multiple=True, help="Of this site only; once for each.")
@click.option("--repair", is_flag=True, help="Make those of a site that differ anew.")
@as_json
def verify(sites: tuple[str, ...], *, repair: bool, json_wanted: bool) -> int:
    """Add up all facts again, and show where the rollups say otherwise. Sites go on writing."""
    looked = asyncio.run(_verify(sites, repair=repair))
    differing = sum(len(rows) for _, _, rows in looked)
    if json_wanted:
        say_json({
            "schema": "mes-central.rollups-verify/v1", "differing": differing,
            "repaired": repair and differing > 0,
            "rollups": [
                {"site": site, "rollup": name, "differing": len(rows), "rows": rows[:_SHOWN_MAX]}
                for site, name, rows in looked
            ],
        })  # fmt: skip
    else:
        lines = [(site, name, len(rows), _first(rows)) for site, name, rows in looked]
        for line in table(("SITE", "ROLLUP", "DIFFERING", "FIRST"), lines):
            say(line)
        say(_verdict(differing, repair=repair))
    return exits.FAILED if differing and not repair else exits.OK


def _first(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "-"
    keys = {k: v for k, v in rows[0].items() if k != "site_id" and f"kept_{k}" not in rows[0]}
    return " ".join(f"{k}={v}" for k, v in keys.items() if not k.startswith("kept_"))


def _verdict(differing: int, *, repair: bool) -> str:
    if not differing:
        return "EQUAL  every sum is that of the facts"
    if repair:
        return f"REPAIRED  {differing} rows differed; those sites' rollups are made anew"
    return f"DIFFERS  {differing} rows; run again with --repair"


async def _verify(sites: tuple[str, ...], *, repair: bool) -> Looked:
    import psycopg

    from central.rolled import rebuild
    from central.rollup_checks import keep_found

    shelf = shelf_of(settings())
    async with await psycopg.AsyncConnection.connect(
        settings().database_url, autocommit=True
    ) as connection:
        looked = await _look(connection, sites, shelf)
        found: Counter[str] = Counter()
        for site, _, rows in looked:
            found[site] += len(rows)
        for site, differing in found.items():
            if differing and repair:
                await rebuild(connection, site, shelf)
            await keep_found(connection, site, 0 if repair else differing)
        return looked


async def _look(connection: AsyncConnection[Any], sites: tuple[str, ...], shelf: Shelf) -> Looked:
    from central.partitions import site_names
    from central.rolled import differences
    from central.sites import UnknownSite
    from central.unions import KEPT

    registered = sorted(await site_names(connection))
    if unknown := sorted(set(sites) - set(registered)):
        raise UnknownSite(f"site {unknown[0]} is not registered; see `mes-central sites list`")
    return [
        (site, rollup.name, await differences(connection, rollup, site, shelf))
        for site in sites or registered
        for rollup in KEPT
    ]

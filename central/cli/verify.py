"""``mes-central verify``."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from central.cli import exits
from central.cli.given import settings
from central.cli.look import as_json, painted, say, say_json
from shared.compare_lines import Asked, Seat, is_equal, lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import AsyncConnection

    from central.settings import CentralSettings

_CONNECT_MAX_S: Final = 15.0
#: The order is heard by an agent that is connected at that moment, so it is given again.
_ORDER_EVERY_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.2


@click.command()
@click.option("--site", "-s", required=True, help="The site whose store is compared.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given repeatedly.")
@click.option("--repair", is_flag=True, help="Repair the rows that differ, and no others.")
@click.option("--timeout", "timeout_s", default=600.0, show_default=True,
              help="Seconds to wait for the site.")  # fmt: skip
@as_json
def verify(
    site: str, tables: tuple[str, ...], *, repair: bool, timeout_s: float, json_wanted: bool
) -> int:
    """Have a site's agent compare its store with what the centre holds of it.

    Both ends may write meanwhile. Exit code 0: no row differs; 1: some do, or it could not be done,
    or not all of it.

    With --repair the centre's rows are sent down, what only the site has is sent up, and whatever
    is overwritten at the site stands in the conflict history.
    """
    order = {"run": str(uuid.uuid4()), "tables": list(tables), "repair": repair}
    report = asyncio.run(_verify(settings(), site, order, timeout_s))
    if json_wanted:
        say_json(report)
    else:
        for line in _lines(site, report, Asked(tables=tables, repair=repair)):
            say(line)
    return exits.OK if is_equal(report) else exits.FAILED


async def _verify(
    read: CentralSettings, site: str, order: Mapping[str, Any], timeout_s: float
) -> dict[str, Any]:
    import psycopg

    from central.agent import link_of
    from central.compare.kept import read_report
    from shared.errors import NoResponder
    from sync import codec

    async with (
        link_of(read, "mes-central verify") as link,
        await psycopg.AsyncConnection.connect(read.database_url, autocommit=True) as connection,
    ):
        await _check(connection, site)
        await link.wait_connected(_CONNECT_MAX_S)
        until, ordered = time.monotonic() + timeout_s, 0.0
        while time.monotonic() < until:
            if time.monotonic() - ordered > _ORDER_EVERY_S:
                await link.publish(f"cmd.{site}.verify", codec.encode_control(dict(order)))
                ordered = time.monotonic()
            if (report := await read_report(connection, site, order["run"])) is not None:
                return report
            await asyncio.sleep(_LOOK_EVERY_S)
    raise NoResponder(
        f"{site} has sent no report in {timeout_s:g} s; is its agent connected?"
        f" mes-central status {site}"
    )


async def _check(connection: AsyncConnection[Any], site: str) -> None:
    """Refuse a site that nobody registered."""
    from central.sites import UnknownSite

    cursor = await connection.execute("SELECT FROM sync.site WHERE site = %s", [site])
    if await cursor.fetchone() is None:
        raise UnknownSite(f"{site}: not registered; see mes-central sites list")


# --- for people ----------------------------------------------------------------------------------


def _lines(site: str, report: Mapping[str, Any], asked: Asked) -> Iterator[str]:
    if why := report.get("failed"):
        return iter([f"{painted('FAILED', 'critical')}  {site} was not compared: {why}"])
    return lines(_seat(site), report, asked)


def _seat(site: str) -> Seat:
    return Seat(
        command=f"mes-central verify --site {site}",
        title="SITE",
        here="at the site",
        moving="run it again",
        aside="mes-sync parked list there",
        parked=f"mes-central parked list --site {site} --all",
        history=f"mes-central conflicts list --all --site {site}",
    )

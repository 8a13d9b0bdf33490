"""``mes-central verify``."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from central.cli import exits
from central.cli.given import settings
from central.cli.look import as_json, painted, say, say_json, short, table
from central.status import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import AsyncConnection

    from central.settings import CentralSettings

_CONNECT_MAX_S: Final = 15.0
#: The order is heard by an agent that is connected at that moment, so it is given again.
_ORDER_EVERY_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.2
_VALUE_MAX: Final = 24
_STATES: Final = {
    "different": "other values",
    "missing": "only at the centre",
    "extra": "only at the site",
}


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

    Both ends may write meanwhile. Exit code 0: no row differs; 1: some do, or it could not be done.
    With --repair the centre's rows are sent down, what only the site has is sent up, and whatever
    is overwritten at the site stands in the conflict history.
    """
    order = {"run": str(uuid.uuid4()), "tables": list(tables), "repair": repair}
    report = asyncio.run(_verify(settings(), site, order, timeout_s))
    if json_wanted:
        say_json(report)
    else:
        for line in lines(site, report):
            say(line)
    return exits.FAILED if report["differing"] or report.get("failed") else exits.OK


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


def lines(site: str, report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a report: a verdict, the rows that differ, and what to type next."""
    if why := report.get("failed"):
        yield f"{painted('FAILED', 'critical')}  {site} was not compared: {why}"
        return
    tables = [each for each in report["tables"] if not each["skipped"]]
    rows = sum(each["rows"] for each in tables)
    cost = f"{report['took_ms'] / 1000:.1f} s"
    word = painted("DIFFERENT", "degraded") if report["differing"] else painted("EQUAL", "ok")
    verdict = _verdict(report, f"{rows} rows of {counted(len(tables), 'table', 'tables')}")
    yield f"{word}  {site}: {verdict} ({cost})"
    for each in tables:
        if each["differing"]:
            counts = f"{each['different']} different, {each['missing']} missing"
            yield f"  {each['table']}: {counts}, {each['extra']} extra"
    yield from _rows(report["differences"])
    for each in report["tables"]:
        if each["skipped"]:
            yield f"  left out  {each['table']}: {each['skipped']}"
    if report["differing"]:
        yield f"  next      mes-central verify --site {site} --repair"


def _verdict(report: Mapping[str, Any], of_all: str) -> str:
    found, left = report["found"], report["differing"]
    if not found:
        return f"{of_all} are the same at both ends"
    if found == left:
        return f"{counted(found, 'row differs', 'rows differ')}, of {of_all}"
    still = "none differs any more" if not left else f"{left} differ still"
    return f"{counted(found, 'row', 'rows')} differed, {still}; of {of_all}"


def _rows(differences: list[Mapping[str, Any]]) -> list[str]:
    if not differences:
        return []
    found: list[tuple[object, ...]] = []
    for each in differences:
        name, what = each["name"] or each["id"][-8:], _STATES[each["state"]]
        if each["state"] == "different":
            found += [
                (each["table"], name, column, _shown(pair["here"]), _shown(pair["centre"]), what)
                for column, pair in each["columns"].items()
            ]
        else:
            found.append((each["table"], name, "*", None, None, what))
    titles = ("TABLE", "ROW", "COLUMN", "SITE", "CENTRE", "WHAT")
    return table(titles, found, shrink=("SITE", "CENTRE"))


def _shown(value: object) -> str:
    return "null" if value is None else short(value, _VALUE_MAX)

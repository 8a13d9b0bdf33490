"""``mes-central partitions``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from central.cli import archive, exits
from central.cli.given import catalogue, settings
from central.cli.look import as_json, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.archive_state import Month
    from central.partitions import Held, Partition
    from central.settings import CentralSettings


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is, and what of the months ahead is not."""

    held: Sequence[Held]
    missing: Sequence[Partition]
    ahead: int
    #: Months that were detached.
    archived: Sequence[Month]


@click.group()
def partitions() -> None:
    """Tables of facts are split by site and month (UTC): look at the parts, make some ahead.

    Old months of facts may leave PostgreSQL: detach, archive (into Parquet), verify, drop; attach
    brings one back. docs/partitions.md tells how.
    """


for _command in archive.COMMANDS:
    partitions.add_command(_command)


@partitions.command()
@click.option("--table", "table_name", help="Of this table, by site.")
@click.option("--site", help="Of this site, by month; with --table.")
@as_json
def status(table_name: str | None, site: str | None, *, json_wanted: bool) -> int:
    """Show how many parts there are, their months, rows and sizes; then the archived months."""
    if site is not None and table_name is None:
        raise click.UsageError("--site needs a --table")
    seen = asyncio.run(_seen(settings(), table_name, site))
    shown = [each for each in seen.held if site in (None, each.partition.site)]
    if site is not None and not shown:
        raise click.BadParameter(f"{table_name} has no part of a site {site}", param_hint="--site")
    if json_wanted:
        say_json(_document(seen, shown))
        return exits.OK
    for line in _lines(shown, by_site=table_name is not None, by_month=site is not None):
        say(line)
    say(_ahead(seen))
    for line in _archived(seen.archived, by_site=table_name is not None):
        say(line)
    return exits.OK


@partitions.command()
@click.option("--months", type=click.IntRange(0, 24), help="How many after this one.  [default: 3]")
@as_json
def ahead(months: int | None, *, json_wanted: bool) -> int:
    """Make the parts of this month and of those ahead; the feed does it, too. May be repeated."""
    made = asyncio.run(_made(settings(), months))
    if json_wanted:
        say_json({
            "schema": "mes-central.partitions-ahead/v1",
            "made": [
                {"table": each.table, "site": each.site, "month": each.month} for each in made
            ],
        })  # fmt: skip
        return exits.OK
    say(f"{len(made)} made" if made else "nothing to do: all are there")
    return exits.OK


# --- what is asked ----------------------------------------------------------------------------


async def _seen(read: CentralSettings, table_name: str | None, site: str | None) -> Seen:
    import psycopg

    from central.archive_state import months
    from central.partitions import MONTHS_AHEAD, held, missing, site_names

    catalog = catalogue(read)
    split = [each.name for each in catalog.tables if each.partitioned]
    if table_name is not None and table_name not in split:
        raise click.BadParameter(
            f"{table_name} is not split; there are {', '.join(split)}", param_hint="--table"
        )
    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        found = await held(connection, None if table_name is None else [table_name])
        sites = await site_names(connection)
        archived = await months(connection, table=table_name, sites=[site] if site else None)
        absent = await missing(connection, catalog, sites, int(time.time() * 1000))
    wanted = [
        each for each in absent if table_name in (None, each.table) and site in (None, each.site)
    ]
    return Seen(found, wanted, MONTHS_AHEAD, archived)


async def _made(read: CentralSettings, months: int | None) -> list[Partition]:
    import psycopg

    from central.partitions import MONTHS_AHEAD, make_ahead, site_names

    async with await psycopg.AsyncConnection.connect(
        read.database_url, autocommit=True
    ) as connection:
        return await make_ahead(
            connection, catalogue(read), await site_names(connection), int(time.time() * 1000),
            months_ahead=MONTHS_AHEAD if months is None else months,
        )  # fmt: skip


# --- what is shown ----------------------------------------------------------------------------


def _document(seen: Seen, shown: Sequence[Held]) -> dict[str, Any]:
    return {
        "schema": "mes-central.partitions/v1",
        "partitions": [
            {
                "table": each.partition.table, "site": each.partition.site,
                "month": each.partition.month, "bytes": each.bytes, "rows": each.rows,
            }
            for each in shown
        ],
        "missing": [
            {"table": each.table, "site": each.site, "month": each.month} for each in seen.missing
        ],
        "archived": [archive.document(each) for each in seen.archived],
    }  # fmt: skip


def _lines(shown: Sequence[Held], *, by_site: bool, by_month: bool) -> list[str]:
    """Return a line for each table, each site of one, or each month of that."""
    if by_month:
        rows = [(each.partition.month, _rows([each]), _size([each])) for each in shown]
        return table(("MONTH", "ROWS", "SIZE"), rows)
    lines = []
    for name, group in groupby(shown, _site_of if by_site else _table_of):
        some = list(group)
        months = sorted({each.partition.month for each in some})
        sites = len({each.partition.site for each in some})
        lines.append((name, sites, len(some), months[0], months[-1], _rows(some), _size(some)))
    titles = ("SITE" if by_site else "TABLE", "SITES", "PARTS", "FROM", "TO", "ROWS", "SIZE")
    if by_site:
        return table((titles[0], *titles[2:]), [(name, *more) for name, _, *more in lines])
    return table(titles, lines)


def _archived(months: Sequence[Month], *, by_site: bool) -> list[str]:
    """Return a line for each detached month, or for each table and state of them."""
    if not months:
        return []
    if by_site:
        return table(archive.TITLES[:-1], [archive.line_of(each)[:-1] for each in months])
    lines = []
    for (name, state), group in groupby(sorted(months, key=_kind_of), _kind_of):
        some = list(group)
        rows = sum(month.rows or 0 for month in some)
        size = sum(month.bytes or 0 for month in some)
        first, last = min(m.month for m in some), max(m.month for m in some)
        lines.append((name, state, len(some), first, last, f"{rows:,}", f"{size / 1e6:,.1f} MB"))
    titles = ("TABLE", "MONTHS", "COUNT", "FROM", "TO", "ROWS", "FILES")
    return table(titles, lines)


def _kind_of(month: Month) -> tuple[str, str]:
    return month.table_name, str(month.state)


def _site_of(held: Held) -> str:
    return held.partition.site


def _table_of(held: Held) -> str:
    return held.partition.table


def _rows(some: Sequence[Held]) -> str | None:
    """Return the rows as they were last counted; None where one part never was."""
    counts = [each.rows for each in some]
    known = [count for count in counts if count is not None]
    if not known:
        return None
    return f"{sum(known):,}{'' if len(known) == len(counts) else '+'}"


def _size(some: Sequence[Held]) -> str:
    return f"{sum(each.bytes for each in some) / 1e6:,.1f} MB"


def _ahead(seen: Seen) -> str:
    if not seen.missing:
        return f"this month and {seen.ahead} ahead are there for every site"
    first = seen.missing[0]
    return (
        f"{len(seen.missing)} of this month and {seen.ahead} ahead are missing, {first.name} among"
        " them: the feed makes them while it runs; `mes-central partitions ahead` does it now"
    )

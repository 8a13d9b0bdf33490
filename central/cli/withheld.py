"""``mes-central withheld``."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli.complete import complete_site
from central.cli.given import catalogue, now, settings
from central.cli.look import as_json, local, say, say_json, short, table
from shared.conflict_lines import effect, in_full

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from psycopg import AsyncConnection

    from central.settings import CentralSettings
    from central.withheld import Withheld


@click.group()
def withheld() -> None:
    """Look at what sites told after a restore of rows of others; take it, or let it go.

    Each is named by its id, or by the last characters of it. docs/restores.md
    """


@withheld.command("list")
@click.option("--site", shell_complete=complete_site, help="Told by one site, or of its rows.")
@click.option("--all", "every", is_flag=True, help="Also what is settled.")
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@as_json
def list_withheld(*, json_wanted: bool, site: str | None, every: bool, limit: int) -> int:
    """List what waits for a person, the latest first."""
    from central.status import age, counted
    from central.withheld import read_withheld

    found = asyncio.run(
        _connected(settings(), lambda c: read_withheld(c, site=site, every=every, limit=limit))
    )
    if json_wanted:
        say_json({
            "schema": "mes-central.withheld/v1", "withheld": [asdict(each) for each in found],
        })  # fmt: skip
        return exits.OK
    at = now()
    rows = [
        (
            each.short, age(at - each.noted_at), each.site, each.table, each.row_id[-8:],
            each.owner, short(effect(each.held or {}, each.told), 80), each.state,
        )
        for each in found
    ]  # fmt: skip
    titles = ("ID", "AGE", "TOLD BY", "TABLE", "ROW", "OF", "WOULD CHANGE", "STATE")
    if not rows:
        say("nothing is withheld")
        return exits.OK
    for line in table(titles, rows, shrink=("TABLE", "WOULD CHANGE")):
        say(line)
    say(f"{counted(len(found), 'row', 'rows')}; next: mes-central withheld show {found[0].short}")
    return exits.OK


@withheld.command()
@click.argument("name", metavar="ID")
@as_json
def show(name: str, *, json_wanted: bool) -> int:
    """Show in full what was told, and what the backup held."""
    from central.withheld import find_withheld

    found = asyncio.run(_connected(settings(), lambda c: find_withheld(c, name)))
    if json_wanted:
        say_json({"schema": "mes-central.withheld-row/v1", **asdict(found)})
        return exits.OK
    for line in _portrait(found):
        say(line)
    return exits.OK


def _portrait(word: Withheld) -> Iterator[str]:
    yield f"{word.table} {word.row_id} of {word.owner}, told by {word.site}: {word.state}"
    why = "does not get the row" if word.is_whole else "may not say who gets the row"
    yield f"  why      by the backup {word.site} {why}"
    yield f"  told     {in_full(word.told)}"
    yield f"  held     {in_full(word.held or {})}"
    yield f"  noted    {local(word.noted_at)}  version {word.version}"
    if word.settled_at is not None:
        by = word.settled_by or "the row's own site, which told it, too"
        yield f"  settled  {local(word.settled_at)}  by {by}"
    yield f"  id       {word.id}"
    if word.state == "open":
        yield f"  next     mes-central withheld take {word.short}   or   discard"


@withheld.command()
@click.argument("names", nargs=-1, metavar="[ID]...")
@click.option(
    "--site", shell_complete=complete_site, help="All that one site told, or of its rows."
)
@click.option("--by", help="Who takes it; the name of this login where nothing is given.")
@as_json
def take(names: tuple[str, ...], site: str | None, by: str | None, *, json_wanted: bool) -> int:
    """Write what was told into the rows, in the order in which it had been written.

    A normal write of the centre: all sites that get the row hear of it.
    """
    from central.withheld import take as write

    read = settings()
    catalog, person = catalogue(read), by or getpass.getuser()
    return _each(
        read, names, site, lambda c, name: write(c, catalog, name, person),
        ("mes-central.withheld-taken/v1", "taken"), json_wanted=json_wanted,
    )  # fmt: skip


@withheld.command()
@click.argument("names", nargs=-1, metavar="[ID]...")
@click.option(
    "--site", shell_complete=complete_site, help="All that one site told, or of its rows."
)
@click.option("--by", help="Who lets it go; the name of this login where nothing is given.")
@as_json
def discard(names: tuple[str, ...], site: str | None, by: str | None, *, json_wanted: bool) -> int:
    """Let go of what was told; it stays on record."""
    from central.withheld import discard as let_go

    person = by or getpass.getuser()
    return _each(
        settings(), names, site, lambda c, name: let_go(c, name, person),
        ("mes-central.withheld-discarded/v1", "discarded"), json_wanted=json_wanted,
    )  # fmt: skip


def _each(
    read: CentralSettings, names: Sequence[str], site: str | None,
    work: Callable[[AsyncConnection[Any], str], Awaitable[Withheld]], told: tuple[str, str],
    *, json_wanted: bool,
) -> int:  # fmt: skip
    if bool(names) == bool(site):
        raise click.UsageError("name what is meant, or a site with --site")
    schema, done = told

    async def all_of(connection: AsyncConnection[Any]) -> list[Withheld]:
        from central.withheld import read_withheld

        listed = await read_withheld(connection, site=site) if site else []
        return [await work(connection, each) for each in names or [w.id for w in reversed(listed)]]

    found = asyncio.run(_connected(read, all_of))
    if json_wanted:
        say_json({"schema": schema, "withheld": [each.id for each in found]})
        return exits.OK
    for each in found:
        say(f"{each.short}  {done}  {each.table} {each.row_id}: {in_full(each.told)}")
    if not found:
        say("nothing is withheld")
    return exits.OK


async def _connected(
    read: CentralSettings, work: Callable[[AsyncConnection[Any]], Awaitable[Any]]
) -> Any:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        read.database_url, autocommit=True
    ) as connection:
        return await work(connection)

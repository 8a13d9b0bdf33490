"""``mes-central withheld``."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli.complete import complete_site
from central.cli.given import catalogue, now, settings
from central.cli.look import as_json, local, say, say_json, short, table
from shared.conflict_lines import effect, in_full
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import AsyncConnection

    from central.row_reading import Found
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
    """Show in full what was told, what stood then, and what stands."""
    from central.withheld import find_withheld, read_standing

    read = settings()

    async def look(connection: AsyncConnection[Any]) -> tuple[Withheld, Found]:
        found = await find_withheld(connection, name)
        return found, await read_standing(connection, catalogue(read), found)

    word, stands = asyncio.run(_connected(read, look))
    if json_wanted:
        say_json({
            "schema": "mes-central.withheld-row/v1", **asdict(word), "standing": asdict(stands),
        })  # fmt: skip
        return exits.OK
    for line in _portrait(word, stands):
        say(line)
    return exits.OK


def _portrait(word: Withheld, stands: Found) -> Iterator[str]:
    yield f"{word.table} {word.row_id} of {word.owner}, told by {word.site}: {word.state}"
    why = "does not get the row as it stood" if word.is_whole else "may not say who gets the row"
    yield f"  why      {word.site} {why}"
    yield f"  told     {in_full(word.told)}"
    yield f"  held     {in_full(word.held or {})}"
    values = stands.values or {}
    yield f"  stands   {in_full({name: values[name] for name in word.told if name in values})}"
    yield f"  noted    {local(word.noted_at)}  version {stands.version or '-'} stands"
    if word.settled_at is not None:
        by = word.settled_by or "what sites told after it"
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
@click.option("--seen", help="The version that show told; else what stood must still stand.")
@as_json
def take(
    names: tuple[str, ...], site: str | None, by: str | None, seen: str | None,
    *, json_wanted: bool,
) -> int:  # fmt: skip
    """Write what was told into the rows, in the order in which it had been written.

    A normal write of the centre: all sites that get the row hear of it. It is refused where the row
    was written after it was told. Exit code 1 where any was.
    """
    if seen and (site or len(names) != 1):
        raise click.UsageError("--seen is of one row: name it")
    from central.withheld import take as write

    read = settings()
    catalog, person = catalogue(read), by or getpass.getuser()
    return _each(
        read, names, site, lambda c, name: write(c, catalog, name, person, seen=seen),
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


#: What was done, and what was not, by name, with why.
_Done = tuple["list[Withheld]", dict[str, str]]
_Work = Callable[["AsyncConnection[Any]", str], Awaitable["Withheld"]]


def _each(
    read: CentralSettings, names: Sequence[str], site: str | None, work: _Work,
    told: tuple[str, str], *, json_wanted: bool,
) -> int:  # fmt: skip
    if bool(names) == bool(site):
        raise click.UsageError("name what is meant, or a site with --site")
    schema, word = told
    found, refused = asyncio.run(_connected(read, lambda c: _all_of(c, names, site, work)))
    if json_wanted:
        say_json({"schema": schema, "withheld": [each.id for each in found], "refused": refused})
        return exits.FAILED if refused else exits.OK
    for each in found:
        say(f"{each.short}  {word}  {each.table} {each.row_id}: {in_full(each.told)}")
    for name, why in refused.items():
        say(f"{name[-8:]}  not {word}: {why}")
    if not (found or refused):
        say("nothing is withheld")
    return exits.FAILED if refused else exits.OK


async def _all_of(
    connection: AsyncConnection[Any], names: Sequence[str], site: str | None, work: _Work
) -> _Done:
    from central.withheld import waiting_of

    found, refused = [], {}
    for each in names or (await waiting_of(connection, site) if site else []):
        try:
            found.append(await work(connection, each))
        except SyncError as why:
            if len(names) == 1:
                raise
            refused[each] = str(why)
    return found, refused


async def _connected(
    read: CentralSettings, work: Callable[[AsyncConnection[Any]], Awaitable[Any]]
) -> Any:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        read.database_url, autocommit=True
    ) as connection:
        return await work(connection)

"""``mes-central conflicts``."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from central.cli import exits
from central.cli.given import catalogue, now, settings
from central.cli.look import as_json, local, say, say_json, short, table
from shared.conflict_lines import brief, effect, portrait, resolving
from shared.conflicts import group_columns
from shared.given import own_value, span, taken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from central.conflicts import Conflict, Standing
    from central.reviews import Choice, Resolved
    from central.settings import CentralSettings
    from shared.catalog import Catalog


@click.group()
def conflicts() -> None:
    """Look at what two sides wrote at once and what stands; decide where a person has to.

    A conflict is named by its id, or by the last characters of it.
    """


# --- list --------------------------------------------------------------------------------------


@conflicts.command("list")
@click.option("--open", "state", flag_value="open", default=True, help="Those that wait: default.")
@click.option("--resolved", "state", flag_value="resolved", help="Those that a person decided.")
@click.option("--all", "state", flag_value="", help="Also those that a policy decided.")
@click.option("--site", help="Of one site.")
@click.option("--table", "of_table", help="Of one table.")
@click.option("--policy", help="That this policy decided; delete: a side deleted the row.")
@click.option("--since", callback=span, help="Not older than 90m, 24h, 7d.")
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@as_json
def list_conflicts(
    *, json_wanted: bool, state: str, of_table: str | None, since: timedelta | None, **given: Any
) -> int:
    """List conflicts that wait for a person, or others, the latest first."""
    from central.conflicts import Wanted, document

    at = now()
    wanted = Wanted(
        state=state or None, table=of_table, since=at - since if since else None, **given
    )
    found = asyncio.run(_list(settings(), wanted))
    if json_wanted:
        listed = [document(each) for each in found]
        say_json({"schema": "mes-central.conflicts/v1", "conflicts": listed})
        return exits.OK
    for line in _listing(found, at):
        say(line)
    return exits.OK


async def _list(read: CentralSettings, wanted: Any) -> list[Conflict]:
    import psycopg

    from central.conflicts import read_conflicts

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        return await read_conflicts(connection, wanted)


_SHRINK: Final = ("TABLE", "KEY", "COLUMNS", "HERE", "CENTRAL")


def _listing(found: list[Conflict], at: datetime) -> list[str]:
    from central.status import age, counted

    rows = [
        (
            each.short, age(at - each.decided_at), each.site, each.table,
            each.key or each.row_id[-8:], each.group,
            short(brief(each.here.value), 40), short(brief(each.central.value), 40),
            each.policy, each.verdict if each.state == "decided" else each.state,
        )
        for each in found
    ]  # fmt: skip
    titles = (
        "ID", "AGE", "SITE", "TABLE", "KEY", "COLUMNS", "HERE", "CENTRAL", "POLICY", "STATE",
    )  # fmt: skip
    waiting = sum(each.state == "open" for each in found)
    end = counted(len(found), "conflict", "conflicts")
    if waiting:
        end += f", {counted(waiting, 'waits', 'wait')} for a person"
        first = next(each for each in found if each.state == "open")
        end += f"; next: mes-central conflicts show {first.short}"
    return (
        [*table(titles, rows, shrink=_SHRINK), end]
        if found
        else ["no such conflicts; --all lists the rest"]
    )


# --- show --------------------------------------------------------------------------------------


@conflicts.command()
@click.argument("name", metavar="ID")
@as_json
def show(name: str, *, json_wanted: bool) -> int:
    """Show a conflict in full: both values, both writers, both clocks, the base, what stands."""
    from central.conflicts import document

    conflict, standing = asyncio.run(_show(settings(), name))
    if json_wanted:
        say_json({
            "schema": "mes-central.conflict/v1", **document(conflict),
            "standing": asdict(standing),
        })  # fmt: skip
        return exits.OK
    for line in _portrait(conflict, standing):
        say(line)
    return exits.OK


async def _show(read: CentralSettings, name: str) -> tuple[Conflict, Standing]:
    import psycopg

    from central.conflicts import find_conflict, read_standing

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        conflict = await find_conflict(connection, name)
        return conflict, await read_standing(connection, catalogue(read), conflict)


def _portrait(conflict: Conflict, standing: Standing) -> Iterator[str]:
    """Yield a conflict in full, for people."""
    yield from portrait(_row(conflict), conflict, standing.values, local)
    yield f"  row      {conflict.row_id}  version {standing.version or '-'}"
    sent = f"transaction {conflict.tx_id or '-'}  on base {conflict.base_version or 'none'}"
    yield f"  sent in  {sent}"
    yield f"  history  {conflict.id}"
    if conflict.state == "open":
        yield f"  choose   {resolving('mes-central', conflict)}"
        yield f'             --reason "..." --seen {standing.version or "-"}'


def _row(conflict: Conflict) -> str:
    return f"{conflict.row} of {conflict.site}"


# --- resolve -------------------------------------------------------------------------------------


@conflicts.command()
@click.argument("name", metavar="ID")
@click.option(
    "--take", required=True, metavar="here|central|value=...",
    help='Whose value to take, or one of your own: value=SCRAP, or value={"lsl": 1.5} for several.',
)  # fmt: skip
@click.option("--reason", required=True, help="Why; it stays in the history.")
@click.option("--by", help="Who decides; the name of this login where nothing is given.")
@click.option("--seen", help="The version that show told; else the review's own value must stand.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@as_json
def resolve(  # noqa: PLR0913 - one argument an option
    name: str, *, take: str, reason: str, by: str | None, seen: str | None, dry_run: bool,
    json_wanted: bool,
) -> int:  # fmt: skip
    """Decide a conflict that waits for a person.

    The decision is a normal write of the centre and reaches the sites like any other. It is refused
    where the row was written after you looked.
    """
    read = settings()
    choice = _Said(take, reason, by or getpass.getuser(), seen)
    done = asyncio.run(_resolve(read, catalogue(read), name, choice, dry_run=dry_run))
    if json_wanted:
        from central.reviews import document

        say_json(document(done) | {"dry_run": dry_run})
        return exits.OK
    say(f"{'would write' if dry_run else 'wrote'}  {_row(done.conflict)}: {_effect(done)}")
    if done.again:
        say("it was decided so before; nothing was written")
    elif not dry_run:
        say("resolved; the sites get it by the feed. Both values stay in the history")
    return exits.OK


class _Said:
    """What stands on the command line."""

    def __init__(self, take: str, reason: str, by: str, seen: str | None) -> None:
        self.take, self.text = taken(take)
        self.reason, self.by, self.seen = reason, by, seen

    def choice(self, columns: tuple[str, ...]) -> Choice:
        """Return the choice; a text that is no JSON object is the value of the only column."""
        from central.reviews import Choice

        value = own_value(self.text, columns) if self.take == "value" else None
        return Choice(take=self.take, value=value, reason=self.reason, by=self.by, seen=self.seen)


async def _resolve(
    read: CentralSettings, catalog: Catalog, name: str, said: _Said, *, dry_run: bool
) -> Resolved:
    import psycopg

    from central.conflicts import find_conflict
    from central.reviews import resolve as write

    async with await psycopg.AsyncConnection.connect(
        read.database_url, autocommit=True
    ) as connection:
        conflict = await find_conflict(connection, name)
        choice = said.choice(group_columns(catalog.table(conflict.table), conflict))
        return await write(connection, catalog, conflict.id, choice, dry_run=dry_run)


def _effect(done: Resolved) -> str:
    decision = done.decision
    if decision.delete:
        return "deleted"
    return effect(done.before or {}, decision.changes)

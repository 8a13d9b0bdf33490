"""``mes-central readers``."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from central.cli import exits
from central.cli.given import admin_url, settings
from central.cli.look import as_json, local, say, say_json, table
from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from psycopg import AsyncConnection

    from central.readers import Removed

_PASSWORD_MIN = 12
_OPEN = (
    "  open      whoever logs in can hold locks that the sync waits for, or fill the disk, until a"
    " superuser runs `mes-central migrate`, or:"
)
_UNLOGGED = (
    "  unnoted   PostgreSQL's log does not tell what this login reads, until a superuser runs:"
)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Added:
    """What came of letting a login read."""

    is_new: bool
    password_made: bool
    #: Statements that take from everybody what no login should have.
    to_run: list[str]
    #: The one that has PostgreSQL note what this login reads.
    to_note: list[str]


@click.group()
def readers() -> None:
    """Logins that read by plain SQL: people, Grafana, Metabase, Excel, Power BI.

    Each is given no row of another site than its own, whatever SQL it sends, and writes nothing.
    """


@readers.command()
@click.argument("name")
@click.option("--site", "sites", multiple=True, help="A site whose rows it reads; once for each.")
@click.option("--all-sites", is_flag=True, help="All sites, also those that come later.")
@click.option(
    "--password-file", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="File with the password; made with a new one where it is not there.",
)  # fmt: skip
@as_json
def add(
    name: str, sites: tuple[str, ...], password_file: Path, *, all_sites: bool, json_wanted: bool
) -> int:
    """Let a login read the rows of some sites; run again, it gets these sites and this password."""
    if all_sites == bool(sites):
        raise click.UsageError("name each site with --site, or say --all-sites")
    chosen = None if all_sites else sites
    added = asyncio.run(
        _connected(lambda connection: _add(connection, name, chosen, password_file))
    )
    if json_wanted:
        say_json({
            "schema": "mes-central.readers-add/v1", "name": name, "new": added.is_new,
            "sites": None if chosen is None else sorted(set(chosen)),
            "password_made": added.password_made,
            "superuser_to_run": [*added.to_run, *added.to_note],
        })  # fmt: skip
        return exits.OK
    done = "may read now" if added.is_new else "was a reader already; sites and password set"
    say(f"{name}  {done}")
    say(f"  sites     {'all' if chosen is None else ', '.join(sorted(set(chosen)))}")
    say(f"  password  {password_file}{'  new' if added.password_made else ''}")
    for why, statements in ((_OPEN, added.to_run), (_UNLOGGED, added.to_note)):
        if statements:
            say(why)
        for statement in statements:
            say(f"    {statement};")
    return exits.OK


@readers.command("list")
@as_json
def list_readers(*, json_wanted: bool) -> int:
    """List the logins, their sites and how many connections each has now."""
    from central.readers import listed

    found = asyncio.run(_connected(listed))
    if json_wanted:
        say_json({
            "schema": "mes-central.readers/v1",
            "readers": [
                {
                    "name": each.name, "sites": each.sites and list(each.sites),
                    "added_at": each.added_at, "connected": each.connected,
                }
                for each in found
            ],
        })  # fmt: skip
        return exits.OK
    rows = [
        (each.name, ", ".join(each.sites or ("all",)), local(each.added_at), each.connected)
        for each in found
    ]
    for line in table(("LOGIN", "SITES", "ADDED", "CONNECTED"), rows):
        say(line)
    return exits.OK


@readers.command()
@click.argument("name")
@as_json
def remove(name: str, *, json_wanted: bool) -> int:
    """Take a login away; its sessions end at once. Run again where its role stayed."""
    from central.readers import remove as take_away

    removed = asyncio.run(_connected(lambda connection: take_away(connection, name)))
    if json_wanted:
        say_json({
            "schema": "mes-central.readers-remove/v1", "name": name,
            "sessions_ended": removed.ended, "sessions_standing": removed.standing,
            "role_foreign": removed.foreign, "role_stays_because": removed.stays_because,
            "role_logs_in": removed.logs_in,
        })  # fmt: skip
    else:
        for line in _removal(name, removed):
            say(line)
    return exits.OK if removed.stays_because is None else exits.FAILED


def _removal(name: str, removed: Removed) -> Iterator[str]:
    if removed.foreign:
        yield f"{name} reads no more; the server's role of this name is not ours, and stays"
        return
    yield f"{name} reads no more; {removed.ended} sessions ended"
    if removed.standing:
        yield f"  {removed.standing} sessions stand, and are given no row; a superuser can end them"
    if removed.stays_because is not None:
        stays = "stays, and may log in," if removed.logs_in else "stays"
        yield f"  the role {stays} because: {removed.stays_because}"


def read_or_make_password(path: Path) -> tuple[str, bool]:
    """Return the password of a file that nobody else can read, and whether it was made just now."""
    if path.is_symlink() and not path.exists():
        raise BadSetting(f"{path} is a link to a file that is not there; remove it, or make that")
    if not path.exists():
        password = secrets.token_urlsafe(24)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password + "\n")
        return password, True
    if path.stat().st_mode & 0o077:
        raise BadSetting(f"{path} holds a password and is open to others; run `chmod 600 {path}`")
    try:
        password = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadSetting(f"{path}: a password in UTF-8 is expected") from error
    if len(password) < _PASSWORD_MIN or "\n" in password:
        raise BadSetting(f"{path}: one line of at least {_PASSWORD_MIN} characters is expected")
    return password, False


async def _add(
    connection: AsyncConnection[Any],
    name: str,
    sites: tuple[str, ...] | None,
    password_file: Path,
) -> Added:
    from central.public_rights import withdrawals
    from central.readers import add as let_read
    from central.readers import check, unlogged

    await check(connection, name, sites)  # before a file is made for nothing
    password, is_made = read_or_make_password(password_file)
    is_new = await let_read(connection, name, sites, password)
    to_run = [each.statement for each in await withdrawals(connection)]
    return Added(is_new, is_made, to_run, await unlogged(connection, name))


async def _connected(work: Callable[[AsyncConnection[Any]], Awaitable[Result]]) -> Result:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        admin_url(settings()), autocommit=True
    ) as connection:
        return await work(connection)

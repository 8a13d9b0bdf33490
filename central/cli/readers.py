"""``mes-central readers``."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from central.cli import exits
from central.cli.given import admin_url, settings
from central.cli.look import as_json, local, say, say_json, table
from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

_PASSWORD_MIN = 12
Result = TypeVar("Result")


@click.group()
def readers() -> None:
    """Logins that read by plain SQL: people, Grafana, Metabase, Excel, Power BI.

    Each sees the rows of the sites that it is given, whatever SQL it sends, and writes nothing.
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
    password, is_made = read_or_make_password(password_file)
    chosen = None if all_sites else sites
    is_new = asyncio.run(_add(name, chosen, password))
    if json_wanted:
        say_json({
            "schema": "mes-central.readers-add/v1", "name": name, "new": is_new,
            "sites": None if chosen is None else sorted(set(chosen)),
            "password_made": is_made,
        })  # fmt: skip
        return exits.OK
    say(f"{name}  {'may read now' if is_new else 'was a reader already; sites and password set'}")
    say(f"  sites     {'all' if chosen is None else ', '.join(sorted(set(chosen)))}")
    say(f"  password  {password_file}{'  new' if is_made else ''}")
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
    """Take a login away; its sessions end at once."""
    from central.readers import remove as take_away

    ended = asyncio.run(_connected(lambda connection: take_away(connection, name)))
    if json_wanted:
        say_json({"schema": "mes-central.readers-remove/v1", "name": name, "sessions_ended": ended})
    else:
        say(f"{name} reads no more; {ended} sessions ended")
    return exits.OK


def read_or_make_password(path: Path) -> tuple[str, bool]:
    """Return the password of a file that nobody else can read, and whether it was made just now."""
    if not path.exists():
        password = secrets.token_urlsafe(24)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password + "\n")
        return password, True
    if path.stat().st_mode & 0o077:
        raise BadSetting(f"{path} holds a password and is open to others; run `chmod 600 {path}`")
    password = path.read_text(encoding="utf-8").strip()
    if len(password) < _PASSWORD_MIN or "\n" in password:
        raise BadSetting(f"{path}: one line of at least {_PASSWORD_MIN} characters is expected")
    return password, False


async def _add(name: str, sites: tuple[str, ...] | None, password: str) -> bool:
    from central.readers import add as let_read

    return await _connected(lambda connection: let_read(connection, name, sites, password))


async def _connected(work: Callable[[AsyncConnection[Any]], Awaitable[Result]]) -> Result:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        admin_url(settings()), autocommit=True
    ) as connection:
        return await work(connection)

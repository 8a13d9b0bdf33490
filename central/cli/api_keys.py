"""``mes-central api-keys``."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from central.access import Scope, who
from central.api_keys import DAYS_MAX
from central.cli import exits
from central.cli.given import settings
from central.cli.look import as_json, local, say, say_json, table
from shared.errors import BadSetting, SyncError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from psycopg import AsyncConnection

Result = TypeVar("Result")


class KeyLost(SyncError):
    """The key was made, and nobody has it."""


@click.group("api-keys")
def api_keys() -> None:
    """Keys by which programs ask the API, each for its sites and for what it may do.

    A grant is a role with its sites: plant:SITE_001, region:SITE_001,SITE_002, corporate, planner,
    planner:SITE_001, admin. docs/api.md tells what each may.
    """


@api_keys.command()
@click.argument("name")
@click.option("--grant", "grants", multiple=True, required=True, help="Once for each grant.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice([each.value for each in Scope]),
    help="Use no more of the grants than this; once for each.  [default: all that they allow]",
)  # fmt: skip
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), help="Accept it for so long.  [default: no end]"
)
@click.option(
    "--key-file", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="File that the key is written to, mode 0600; must not be there yet.",
)  # fmt: skip
@as_json
def add(
    name: str, grants: tuple[str, ...], scopes: tuple[str, ...], days: int | None, key_file: Path,
    *, json_wanted: bool,
) -> int:  # fmt: skip
    """Make a key. It is written to a file once, and kept nowhere."""
    from central.api_keys import add as make

    chosen = tuple(map(Scope, scopes)) or tuple(Scope)
    about = {
        "grants": list(grants),
        "scopes": sorted(who(name, grants, chosen).reach),
        "days": days,
    }
    with _new_file(key_file) as file:
        key = asyncio.run(
            _noted(
                lambda connection: make(connection, name, grants, scopes=chosen, days=days),
                _Noted("add", name, about),
            )
        )
        _write(file, key, name)
    if json_wanted:
        say_json({
            "schema": "mes-central.api-keys-add/v1", "name": name, "id": key.split("_")[1],
            "grants": list(grants), "key_file": key_file, "days": days,
        })  # fmt: skip
        return exits.OK
    say(f"{name}  may ask the API now")
    say(f"  grants  {', '.join(grants)}")
    say(f"  until   {'it is revoked' if days is None else f'{days} days from now'}")
    say(f"  key     {key_file}  send it as `Authorization: Bearer`")
    return exits.OK


@api_keys.command("list")
@as_json
def list_keys(*, json_wanted: bool) -> int:
    """List the keys that stand, and after them those that were."""
    from central.api_keys import listed

    found = asyncio.run(_connected(listed))
    if json_wanted:
        say_json({"schema": "mes-central.api-keys/v1", "keys": [asdict(each) for each in found]})
        return exits.OK
    rows = [
        (
            each.name, each.id, " ".join(each.grants), " ".join(each.scopes), local(each.used_at),
            "revoked" if each.revoked_at else local(each.expires_at) if each.expires_at else "-",
        )
        for each in found
    ]  # fmt: skip
    for line in table(("NAME", "ID", "GRANTS", "SCOPES", "LAST USED", "ENDS"), rows):
        say(line)
    return exits.OK


@api_keys.command()
@click.argument("name")
@as_json
def revoke(name: str, *, json_wanted: bool) -> int:
    """Have a key refused, within five seconds at each process of the API."""
    from central.api_keys import revoke as take_away

    asyncio.run(_noted(lambda connection: take_away(connection, name), _Noted("revoke", name)))
    if json_wanted:
        say_json({"schema": "mes-central.api-keys-revoke/v1", "name": name})
    else:
        say(f"{name}  is refused from now on")
    return exits.OK


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Open a file that nobody else reads, before there is a key that would be lost without it."""
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BadSetting(f"{path} is there already; a key is written to a new file") from error
    except OSError as error:
        raise BadSetting(f"{path}: {error.strerror}") from error
    try:
        yield opened
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(opened)


def _write(file: int, key: str, name: str) -> None:
    """Write a key that stands; where that fails nobody has it, and it is revoked again."""
    import psycopg

    from central.api_keys import revoke as take_away

    try:
        _put(file, f"{key}\n".encode())
    except OSError as error:
        why = f"{error.strerror}: the key could not be written"
        noted = _Noted("revoke", name, {"why": why})
        try:
            asyncio.run(_noted(lambda connection: take_away(connection, name), noted))
        except (psycopg.Error, SyncError) as again:
            raise KeyLost(
                f"{why}, nor revoked: {again}; run `mes-central api-keys revoke {name}`"
            ) from error
        raise KeyLost(f"{why}, and is revoked again") from error


def _put(file: int, line: bytes) -> None:
    if os.write(file, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)


def _logged_in() -> str:
    """Return the account that runs this, as the system knows it and no variable says."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container
        return str(number)


@dataclass(frozen=True, slots=True)
class _Noted:
    """What the audit log says of a key."""

    action: str
    name: str
    about: Mapping[str, Any] = field(default_factory=dict)


async def _noted(
    work: Callable[[AsyncConnection[Any]], Awaitable[Result]], noted: _Noted
) -> Result:
    """Do the work and write it into the audit log, in one transaction."""
    from central.audit import Asked, note_change

    async def both(connection: AsyncConnection[Any]) -> Result:
        async with connection.transaction():
            done = await work(connection)
            asked = Asked(
                who=f"os {_logged_in()}", address=socket.gethostname(),
                action=f"api-keys {noted.action}", target=noted.name, sites=(), status=exits.OK,
            )  # fmt: skip
            await note_change(connection, asked, {"name": noted.name, **noted.about})
        return done

    return await _connected(both)


async def _connected(work: Callable[[AsyncConnection[Any]], Awaitable[Result]]) -> Result:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        settings().database_url, autocommit=True
    ) as connection:
        return await work(connection)

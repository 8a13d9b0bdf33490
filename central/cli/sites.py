"""``mes-central sites``."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli.given import catalogue, settings
from central.cli.look import as_json, local, say, say_json, table
from central.cli.streams import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from central.settings import CentralSettings


@click.group()
def sites() -> None:
    """Register sites, list them, let a stopped one go on."""


# --- add --------------------------------------------------------------------------------------


@sites.command()
@click.argument("names", nargs=-1, required=True, metavar="SITE...")
@as_json
def add(names: tuple[str, ...], *, json_wanted: bool) -> int:
    """Register sites: rows, partitions, keys and streams. Harmless to repeat.

    A name has 1 to 20 of A-Z, 0-9, _ and -. With MES_KEYS_DIR set each site gets an account of its
    own, which a running broker is told of. Take the credentials to the site, and nowhere else.
    """
    done = asyncio.run(_add(settings(), names))
    code = exits.FAILED if done["broker"].startswith("refuses") else exits.OK
    if json_wanted:
        say_json({"schema": "mes-central.sites-add/v1", **done})
        return code
    for site in names:
        say(f"{site}  {'registered' if site in done['new'] else 'was registered already'}")
        if path := done["credentials"].get(site):
            say(f"  credentials  {path}")
    say(f"  broker       {done['broker']}")
    return code


async def _add(read: CentralSettings, names: Sequence[str]) -> dict[str, Any]:
    import psycopg

    from central.sites import register
    from sync.accounts import creds_path

    now_s = int(time.time())
    async with await psycopg.AsyncConnection.connect(
        read.database_url, autocommit=True
    ) as connection:
        new = await register(connection, catalogue(read), names, now_s * 1000)
    credentials = {}
    if read.keys_dir is not None:
        _make_keys(read.keys_dir, names, now_s)
        credentials = {site: str(creds_path(read.keys_dir, site)) for site in names}
    return {"new": new, "credentials": credentials, "broker": await _tell_broker(read, names)}


def _make_keys(folder: Path, names: Sequence[str], now_s: int) -> None:
    from sync.accounts import ensure_keys, known_sites

    ensure_keys(folder, sorted({*known_sites(folder), *names}), now_s=now_s)


async def _tell_broker(read: CentralSettings, names: Sequence[str]) -> str:
    """Tell a running broker of the accounts, make their streams; return what came of it."""
    from central.agent import link_of
    from central.layout import layout
    from shared.errors import Transient
    from sync.accounts import SYS, account_token, creds_path, push_account
    from sync.streams import provision
    from sync.transport import Link, LinkSettings

    try:
        if read.keys_dir is not None:
            as_system = LinkSettings(
                servers=read.nats_servers, name="mes-central sites",
                creds_file=creds_path(read.keys_dir, SYS),
            )  # fmt: skip
            async with Link(as_system) as link:
                await link.wait_connected(CONNECT_TIMEOUT_S)
                for site in names:
                    await push_account(link, account_token(read.keys_dir, site))
        async with link_of(read, "mes-central sites") as link:
            await link.wait_connected(CONNECT_TIMEOUT_S)
            differences = await provision(link, layout(read, names))
    except Transient as why:
        return f"not told, it does not answer ({why}); when it is up, run this again"
    if refused := [f"{each.name}: {each.refused}" for each in differences if each.refused]:
        return f"refuses {'; '.join(refused)}"
    return "knows the accounts, has the streams" if read.keys_dir else "has the streams"


# --- list and release --------------------------------------------------------------------------


@sites.command("list")
@click.argument("names", nargs=-1, metavar="[SITE]...")
@as_json
def list_sites(names: tuple[str, ...], *, json_wanted: bool) -> int:
    """List registered sites, and where their credentials are."""
    found = asyncio.run(_listed(settings(), names))
    if json_wanted:
        say_json({"schema": "mes-central.sites/v1", "sites": found})
        return exits.OK
    rows = [
        (
            s["site"], local(s["registered_at"]), local(s["hello_at"]), s["instance"],
            "stopped" if s["stopped_because"] else None, s["credentials"],
        )
        for s in found
    ]  # fmt: skip
    for line in table(("SITE", "REGISTERED", "LAST HELLO", "STORE", "STATE", "CREDENTIALS"), rows):
        say(line)
    return exits.OK


async def _listed(read: CentralSettings, names: Sequence[str]) -> list[dict[str, Any]]:
    import psycopg

    from central.sites import UnknownSite
    from sync.accounts import creds_path, known_sites

    async with await psycopg.AsyncConnection.connect(
        read.database_url, row_factory=psycopg.rows.dict_row
    ) as connection:
        cursor = await connection.execute(
            """SELECT site, registered_at, instance, stopped_because, hello_at FROM sync.site
               WHERE %(names)s::text[] = '{}' OR site = ANY(%(names)s) ORDER BY site""",
            {"names": list(names)},
        )
        found = await cursor.fetchall()
    if missing := set(names) - {each["site"] for each in found}:
        raise UnknownSite(
            f"{', '.join(sorted(missing))}: not registered; run `mes-central sites add`"
        )
    keyed = set(known_sites(read.keys_dir)) if read.keys_dir else set()
    for each in found:
        has = read.keys_dir is not None and each["site"] in keyed
        each["credentials"] = str(creds_path(read.keys_dir, each["site"])) if has else None  # type: ignore[arg-type]
    return found


@sites.command()
@click.argument("site")
@as_json
def release(site: str, *, json_wanted: bool) -> int:
    """Let a stopped site go on, once a person knows which of its stores is the right one."""
    why = asyncio.run(_release(settings(), site))
    if json_wanted:
        say_json(
            {"schema": "mes-central.sites-release/v1", "site": site, "was_stopped_because": why}
        )
    else:
        say(f"{site} goes on; it was stopped because {why}")
    return exits.OK


async def _release(read: CentralSettings, site: str) -> str:
    import psycopg

    from central.sites import release as let_go

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        return await let_go(connection, site)

"""``mes-central parked`` and ``mes-central refused``."""

from __future__ import annotations

import asyncio
import getpass
import json
from typing import TYPE_CHECKING, Any, Final

import click

from central.cli import exits
from central.cli.given import catalogue, now, settings
from central.cli.look import as_json, local, say, say_json, table
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.settings import CentralSettings
    from shared.catalog import Catalog

_ROWS: Final = """
SELECT p.id::text AS ticket, p.site_id AS site, p.table_name AS table, p.row_id::text, p.op,
       p.reason, p.message, p.content, p.tx_id::text, p.n, p.state, p.parked_at, p.retried_at,
       w.needs::text, w.behind::text, w.row_id AS row_id_as_sent
FROM mes.sync_parked AS p LEFT JOIN sync.waiting AS w ON w.ticket = p.id"""


class UnknownTicket(SyncError):
    """No row is parked under this ticket; `mes-central parked list` names them."""


@click.group()
def parked() -> None:
    """Rows that could not be applied: look, try again, give up.

    A row is named by its ticket, or by the last characters of it.
    """


@parked.command("list")
@click.option("--site", help="Of one site.")
@click.option("--state", type=click.Choice(["parked", "waiting", "applied", "discarded"]))
@click.option("--all", "every", is_flag=True, help="Also those that are settled.")
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@as_json
def list_parked(*, json_wanted: bool, **given: Any) -> int:
    """List what is not applied, latest first: parked needs a person, waiting comes by itself."""
    from central.status import age

    found = asyncio.run(_list(settings(), **given))
    if json_wanted:
        say_json({"schema": "mes-central.parked/v1", "parked": found})
        return exits.OK
    at = now()
    rows = [
        (
            r["ticket"][-8:], age(at - r["parked_at"]), r["site"], r["table"],
            (r["row_id"] or "-")[-8:], r["op"], r["state"], _why(r),
        )
        for r in found
    ]  # fmt: skip
    titles = ("TICKET", "AGE", "SITE", "TABLE", "ROW", "OP", "STATE", "WHY")
    for line in table(titles, rows, shrink=("TABLE", "WHY")) if rows else ["nothing is parked"]:
        say(line)
    return exits.OK


def _why(row: dict[str, Any]) -> str:
    return f"{row['reason']}: {row['message']}"


async def _list(
    read: CentralSettings, *, site: str | None, state: str | None, every: bool, limit: int
) -> list[dict[str, Any]]:
    query = f"""{_ROWS} WHERE (%(site)s::text IS NULL OR p.site_id = %(site)s)
        AND (%(every)s OR p.state = coalesce(%(state)s, p.state))
        AND (%(every)s OR %(state)s IS NOT NULL OR p.state IN ('parked', 'waiting'))
        ORDER BY p.parked_at DESC, p.id LIMIT %(limit)s"""
    return await _fetch(read, query, {"site": site, "state": state, "every": every, "limit": limit})


async def _fetch(read: CentralSettings, query: str, given: Any) -> list[dict[str, Any]]:
    import psycopg

    async with await psycopg.AsyncConnection.connect(
        read.database_url, row_factory=psycopg.rows.dict_row
    ) as connection:
        return await (await connection.execute(query.encode(), given)).fetchall()


async def _find(read: CentralSettings, name: str) -> dict[str, Any]:
    found = await _fetch(read, f"{_ROWS} WHERE p.id::text LIKE %s LIMIT 2", [f"%{name}"])
    if not found:
        raise UnknownTicket(f"no ticket {name}; see `mes-central parked list --all`")
    if len(found) > 1:
        raise UnknownTicket(f"{name} names several tickets; give more of it")
    return found[0]


@parked.command()
@click.argument("ticket")
@as_json
def show(ticket: str, *, json_wanted: bool) -> int:
    """Show a parked row in full: what was sent, and what is in its way."""
    row = asyncio.run(_find(settings(), ticket))
    if json_wanted:
        say_json({"schema": "mes-central.parked-row/v1", **row})
        return exits.OK
    for line in _portrait(row):
        say(line)
    return exits.OK


def _portrait(row: dict[str, Any]) -> Sequence[str]:
    named = row["row_id"] or row["row_id_as_sent"] or "-"
    ends = {"I": "insert", "U": "update", "D": "delete"}
    waits = [f"  waits for  row {row['needs']}"] if row["needs"] else []
    waits += [f"  waits for  ticket {row['behind']}"] if row["behind"] else []
    actions = (
        f"  next       mes-central parked retry {row['ticket'][-8:]}   or   discard",
    )  # fmt: skip
    return (
        f"{row['table']} {named} of {row['site']}: {row['state']}",
        f"  why        {_why(row)}",
        f"  operation  {ends.get(row['op'], row['op'])}, transaction {row['n']} ({row['tx_id']})",
        f"  parked     {local(row['parked_at'])}  tried again {local(row['retried_at'])}",
        *waits,
        f"  ticket     {row['ticket']}",
        f"  content    {json.dumps(row['content'], ensure_ascii=False)}",
        *(actions if row["state"] in ("parked", "waiting") else ()),
    )


@parked.command()
@click.argument("tickets", nargs=-1, metavar="[TICKET]...")
@click.option("--site", help="All of one site that are parked.")
@as_json
def retry(tickets: tuple[str, ...], site: str | None, *, json_wanted: bool) -> int:
    """Try rows again after their cause was mended. Exit code 1 where one still can't be applied.

    A retry decides on what was sent, and never beats what its site wrote later.
    """
    if bool(tickets) == bool(site):
        raise click.UsageError("name tickets, or a site with --site")
    read = settings()
    done = asyncio.run(_retry(read, catalogue(read), tickets, site))
    if json_wanted:
        say_json({"schema": "mes-central.retry/v1", "applied": done})
    else:
        for ticket, applied in done.items():
            say(f"{ticket}  {'applied' if applied else 'still not applied; see parked show'}")
        if not done:
            say("nothing to try again")
    return exits.OK if all(done.values()) else exits.FAILED


async def _retry(
    read: CentralSettings, catalog: Catalog, names: Sequence[str], site: str | None
) -> dict[str, bool]:
    from central.store import CentralStore

    if site is not None:
        rows = await _list(read, site=site, state=None, every=False, limit=100_000)
        tickets = [row["ticket"] for row in reversed(rows)]
    else:
        tickets = [(await _find(read, name))["ticket"] for name in names]
    async with CentralStore.open(read.database_url, catalog) as store:
        return {ticket: await store.retry(ticket) for ticket in tickets}


@parked.command()
@click.argument("ticket")
@click.option("--by", help="Who gives it up; the name of this login where nothing is given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def discard(ticket: str, by: str | None, *, yes: bool, json_wanted: bool) -> int:
    """Give a row up for good; what was sent stays on record, and what waited for it is tried."""
    read = settings()
    row = asyncio.run(_find(read, ticket))
    if row["state"] not in ("parked", "waiting"):
        raise UnknownTicket(f"ticket {ticket} is {row['state']} already")
    if not yes:
        click.confirm(
            f"give up {row['op']} of {row['table']} {row['row_id']}?", abort=True, err=True
        )
    asyncio.run(_discard(read, catalogue(read), row["ticket"], by or getpass.getuser()))
    if json_wanted:
        say_json({"schema": "mes-central.discard/v1", "ticket": row["ticket"], "discarded": True})
    else:
        say(f"{row['ticket']}  discarded")
    return exits.OK


async def _discard(read: CentralSettings, catalog: Catalog, ticket: str, by: str) -> None:
    from central.store import CentralStore

    async with CentralStore.open(read.database_url, catalog) as store:
        if not await store.discard(ticket, by):
            raise UnknownTicket(f"ticket {ticket} was settled a moment ago")


# --- refused -----------------------------------------------------------------------------------


@click.group()
def refused() -> None:
    """Messages that nobody could read: damaged, forged, or of a later release."""


@refused.command("list")
@click.option("--site", help="Of one site.")
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@as_json
def list_refused(site: str | None, limit: int, *, json_wanted: bool) -> int:
    """List them, latest first. The edge still holds what they were made of, and sends it again."""
    query = """SELECT id, site, refused_at, reason, message, length(payload) AS bytes,
                      encode(sha256, 'hex') AS sha256
               FROM sync.refused WHERE %(site)s::text IS NULL OR site = %(site)s
               ORDER BY id DESC LIMIT %(limit)s"""
    found = asyncio.run(_fetch(settings(), query, {"site": site, "limit": limit}))
    if json_wanted:
        say_json({"schema": "mes-central.refused/v1", "refused": found})
        return exits.OK
    rows = [
        (r["id"], local(r["refused_at"]), r["site"], r["bytes"], _why(r))
        for r in found
    ]  # fmt: skip
    titles = ("NO", "AT", "SITE", "BYTES", "WHY")
    lines = table(titles, rows, shrink=("WHY",)) if rows else ["nothing was refused"]
    for line in lines:
        say(line)
    return exits.OK

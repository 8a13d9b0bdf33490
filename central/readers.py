"""Logins for plain SQL, for people and programs such as Grafana, Metabase, Excel and Power BI.

A reader is a login of PostgreSQL of its own, a member of mes_bi, and a row that says of which sites
it reads. Row-level security does the rest, whatever SQL it sends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from central.roles import BI, ROLES, verifier
from central.sites import UnknownSite
from shared.errors import BadSetting, NotAuthorised, SyncError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: Connections that one login may have at once: a dashboard opens a few for each panel.
CONNECTIONS_MAX: Final = 20
#: What a session begins with. None of it guards anything, as the login may set it otherwise: it
#: keeps a mistake from holding up the server.
SESSION: Final = {
    "search_path": "mes",
    "default_transaction_read_only": "on",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}


class UnknownReader(SyncError):
    """No such login reads here; `mes-central readers list` names those that do."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A login, and what it reads."""

    name: str
    #: None for all that are registered, also those that come later.
    sites: tuple[str, ...] | None
    added_at: datetime
    #: Connections that it has at this moment.
    connected: int


async def add(
    connection: AsyncConnection[Any], name: str, sites: Sequence[str] | None, password: str
) -> bool:
    """Let a login read the rows of these sites; return whether it is new.

    One that is there gets these sites and this password in place of those that it had. Raise
    BadSetting where the name can't be a reader's, UnknownSite, and NotAuthorised where the
    connection may not make logins.
    """
    if not _NAME.fullmatch(name) or name in ROLES or name.startswith(("pg_", "mes_")):
        raise BadSetting(
            f"{name!r} can't name a reader: use 1 to 40 of a-z, 0-9 and _, a letter first, and"
            " neither pg_ nor mes_ at its beginning"
        )
    async with connection.transaction():
        await _check_sites(connection, sites or ())
        is_new = not await _is_there(connection, name)
        try:
            if is_new:
                await _create(connection, name)
            await _set_password(connection, name, password)
        except psycopg.errors.InsufficientPrivilege as error:
            raise NotAuthorised(
                "MES_ADMIN_URL is not of a role that may make logins and give them"
                f" {BI}: {error.diag.message_primary}"
            ) from error
        await connection.execute(
            """INSERT INTO sync.reader (name, sites) VALUES (%s, %s)
               ON CONFLICT (name) DO UPDATE SET sites = excluded.sites""",
            [name, None if sites is None else sorted(set(sites))],
        )
    return is_new


async def listed(connection: AsyncConnection[Any]) -> list[Reader]:
    """Return all readers, by name."""
    cursor = await connection.execute(
        """SELECT r.name, r.sites, r.added_at,
                  (SELECT count(*) FROM pg_stat_activity AS a WHERE a.usename = r.name)
           FROM sync.reader AS r ORDER BY r.name"""
    )
    return [
        Reader(name, None if sites is None else tuple(sites), added_at, connected)
        for name, sites, added_at, connected in await cursor.fetchall()
    ]


async def remove(connection: AsyncConnection[Any], name: str) -> int:
    """Take a login away and end its sessions; return how many. Raise UnknownReader."""
    async with connection.transaction():
        cursor = await connection.execute(
            "DELETE FROM sync.reader WHERE name = %s RETURNING to_regrole(quote_ident(name))::oid",
            [name],
        )
        row = await cursor.fetchone()
        if row is None:
            raise UnknownReader(f"{name} is no reader; see `mes-central readers list`")
        await connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
    # After the commit: whoever comes back is not let in any more. Sessions have lost their name.
    cursor = await connection.execute(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = %s", row
    )
    return len(await cursor.fetchall())


async def _check_sites(connection: AsyncConnection[Any], sites: Sequence[str]) -> None:
    cursor = await connection.execute(
        "SELECT unnest(%s::text[]) EXCEPT SELECT site FROM sync.site ORDER BY 1", [list(sites)]
    )
    if missing := [site for (site,) in await cursor.fetchall()]:
        raise UnknownSite(f"{', '.join(missing)}: not registered; see `mes-central sites list`")


async def _is_there(connection: AsyncConnection[Any], name: str) -> bool:
    """Tell whether the login is there; raise BadSetting where it is none that we made."""
    cursor = await connection.execute(
        """SELECT pg_has_role(oid, %s, 'MEMBER') AND NOT rolsuper AND NOT rolbypassrls
           FROM pg_roles WHERE rolname = %s""",
        [BI, name],
    )
    row = await cursor.fetchone()
    if row == (False,):
        raise BadSetting(f"the server has a role {name} that is no reader: choose another name")
    return row is not None


async def _create(connection: AsyncConnection[Any], name: str) -> None:
    role = sql.Identifier(name)
    await connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN NOBYPASSRLS INHERIT CONNECTION LIMIT {} IN ROLE {}").format(
            role, sql.Literal(CONNECTIONS_MAX), sql.Identifier(BI)
        )
    )
    for setting, value in SESSION.items():
        await connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                role, sql.Identifier(setting), sql.Literal(value)
            )
        )


async def _set_password(connection: AsyncConnection[Any], name: str, password: str) -> None:
    await connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(verifier(connection, name, password))
        )
    )

"""Logins for plain SQL, for people and programs such as Grafana, Metabase, Excel and Power BI.

A reader is a login of PostgreSQL of its own, a member of mes_bi, and a row that says of which sites
it reads. Row-level security gives it no row of another site, whatever SQL it sends. Logins belong
to the server: which of them are ours, the comment tells that they were made with.
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
#: What SQL reads as something else than the name of a login.
_WORDS: Final = frozenset(
    {"public", "none", "user", "current_user", "session_user", "current_role"}
)
#: Seconds for sessions to end, and for a lock on what a login owns.
_WAIT_S: Final = 5
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


@dataclass(frozen=True, slots=True)
class Removed:
    """What came of taking a login away; whatever it is, the login reads no more."""

    ended: int = 0
    #: Sessions that this connection may not end, or that did not end in time.
    standing: int = 0
    #: The server's role of this name is none that we made, and was left alone.
    foreign: bool = False
    #: Why the role is there still; None where it is not.
    stays_because: str | None = None
    #: The role is there still, and may log in.
    logs_in: bool = False


@dataclass(frozen=True, slots=True)
class _Role:
    """A role of the server."""

    oid: int
    #: We made it, and nobody gave it power over others since.
    ours: bool
    logs_in: bool
    #: It belongs to no other role than to that of readers.
    reads_only: bool


async def check(connection: AsyncConnection[Any], name: str, sites: Sequence[str] | None) -> bool:
    """Tell whether a login is there already that may get these sites.

    Raise BadSetting where the name can't be a reader's, and UnknownSite.
    """
    if (
        not _NAME.fullmatch(name)
        or name in ROLES
        or name in _WORDS
        or name.startswith(("pg_", "mes_"))
    ):
        raise BadSetting(
            f"{name!r} can't name a reader: use 1 to 40 of a-z, 0-9 and _, a letter first, neither"
            " pg_ nor mes_ at its beginning, and no word of SQL such as public or user"
        )
    await _check_sites(connection, sites or ())
    role = await _role(connection, name)
    if role is not None and not (role.ours and role.logs_in and role.reads_only):
        raise BadSetting(
            f"the server has a role {name} that is no reader of this database: choose another name."
            f" A reader logs in, belongs to {BI} alone, has no power over others and the comment"
            f" '{comment(connection)}'"
        )
    return role is not None


async def add(
    connection: AsyncConnection[Any], name: str, sites: Sequence[str] | None, password: str
) -> bool:
    """Let a login read the rows of these sites; return whether it is new.

    One that is there gets these sites and this password in place of those that it had, and what its
    sessions begin with anew. Raise what ``check`` does, and NotAuthorised where the connection may
    not make logins.
    """
    async with connection.transaction():
        is_new = not await check(connection, name, sites)
        try:
            if is_new:
                await _create(connection, name)
            await _set_up(connection, name)
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


async def remove(connection: AsyncConnection[Any], name: str) -> Removed:
    """Take a login away and end its sessions. Raise UnknownReader.

    First what ends its reading, and that is committed; whatever fails after it leaves no access. It
    may be run again for a role that stayed.
    """
    async with connection.transaction():
        role = await _role(connection, name)
        cursor = await connection.execute("DELETE FROM sync.reader WHERE name = %s", [name])
        ours = role is not None and role.ours
        if not (cursor.rowcount or ours):
            raise UnknownReader(f"{name} is no reader; see `mes-central readers list`")
        if ours:
            await _shut_out(connection, name)
    if role is None or not ours:
        return Removed(foreign=role is not None)
    ended, standing = await _end_sessions(connection, role.oid)
    because = await _drop(connection, name)
    left = await _role(connection, name)
    logs_in = left is not None and left.logs_in
    return Removed(ended, standing, stays_because=because, logs_in=logs_in)


def comment(connection: AsyncConnection[Any]) -> str:
    """Return what the server notes of a login that we made for this database."""
    return f"mes-sync reader of {connection.info.dbname}"


# --- what there is -------------------------------------------------------------------------------


async def _check_sites(connection: AsyncConnection[Any], sites: Sequence[str]) -> None:
    cursor = await connection.execute(
        "SELECT unnest(%s::text[]) EXCEPT SELECT site FROM sync.site ORDER BY 1", [list(sites)]
    )
    if missing := [site for (site,) in await cursor.fetchall()]:
        raise UnknownSite(f"{', '.join(missing)}: not registered; see `mes-central sites list`")


async def _role(connection: AsyncConnection[Any], name: str) -> _Role | None:
    cursor = await connection.execute(
        """SELECT r.oid,
                  shobj_description(r.oid, 'pg_authid') IS NOT DISTINCT FROM %(comment)s
                  AND NOT (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb
                           OR r.rolreplication)
                  AND r.rolname NOT IN (current_user, session_user),
                  r.rolcanlogin,
                  NOT EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid
                              AND m.roleid IS DISTINCT FROM to_regrole(%(group)s)::oid)
           FROM pg_roles AS r WHERE r.rolname = %(name)s""",
        {"name": name, "comment": comment(connection), "group": BI},
    )
    row = await cursor.fetchone()
    return None if row is None else _Role(*row)


# --- to make one ---------------------------------------------------------------------------------


async def _create(connection: AsyncConnection[Any], name: str) -> None:
    role = sql.Identifier(name)
    await connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOBYPASSRLS INHERIT").format(role))
    await connection.execute(
        sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(comment(connection)))
    )


async def _set_up(connection: AsyncConnection[Any], name: str) -> None:
    """Give a login what all have; it may have set some of it otherwise."""
    role = sql.Identifier(name)
    await connection.execute(
        sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, sql.Literal(CONNECTIONS_MAX))
    )
    await connection.execute(
        sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(sql.Identifier(BI), role)
    )
    for setting, value in SESSION.items():
        await connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                role, sql.Identifier(setting), sql.Literal(value)
            )
        )

    await _tried(connection, _logging(name))


def _logging(name: str) -> sql.Composed:
    """Return the statement by which PostgreSQL notes all that a login sends, with its name.

    A superuser may say so, or who was granted it, and nobody else may take it back.
    """
    return sql.SQL("ALTER ROLE {} SET log_statement = 'all'").format(sql.Identifier(name))


async def unlogged(connection: AsyncConnection[Any], name: str) -> list[str]:
    """Return the statement that is still to be run for a login's reading to be noted."""
    cursor = await connection.execute(
        """SELECT FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole
           WHERE r.rolname = %s AND s.setdatabase = 0
             AND 'log_statement=all' = ANY (s.setconfig)""",
        [name],
    )
    return [] if await cursor.fetchone() is not None else [_logging(name).as_string(connection)]


async def _set_password(connection: AsyncConnection[Any], name: str, password: str) -> None:
    await connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(verifier(connection, name, password))
        )
    )


# --- to take one away ----------------------------------------------------------------------------


async def _shut_out(connection: AsyncConnection[Any], name: str) -> None:
    """Do what the connection may do for a role to be of no use; none of it fails the whole."""
    role = sql.Identifier(name)
    await _tried(connection, sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(role))
    cursor = await connection.execute(
        """SELECT grantor::regrole::text FROM pg_auth_members
           WHERE member = to_regrole(quote_ident(%s)) AND roleid = to_regrole(%s)""",
        [name, BI],
    )
    for (grantor,) in await cursor.fetchall():
        revoked = sql.SQL("REVOKE {} FROM {} GRANTED BY ").format(sql.Identifier(BI), role)
        await _tried(connection, revoked + sql.SQL(grantor))
    # Whoever is no superuser ends sessions, and drops what is owned, of roles that it belongs to.
    cursor = await connection.execute("SELECT pg_has_role(%s, 'USAGE')", [name])
    if await cursor.fetchone() == (False,):
        joined = sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE").format(role)
        await _tried(connection, joined)


async def _tried(connection: AsyncConnection[Any], *statements: sql.Composed) -> str | None:
    """Run statements together; return why the server refused, or None."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_WAIT_S}s'")
            for statement in statements:
                await connection.execute(statement)
    except psycopg.Error as error:
        if error.sqlstate is None:  # it is gone, and refused nothing
            raise
        said = (error.diag.message_primary, error.diag.message_detail)
        return ": ".join(" ".join(each.split()) for each in said if each)
    return None


async def _end_sessions(connection: AsyncConnection[Any], role: int) -> tuple[int, int]:
    """End the sessions of a role; return how many ended, and how many still stand."""
    before = await _sessions(connection, role)
    ended = sql.SQL(
        "SELECT pg_terminate_backend(pid, {}) FROM pg_stat_activity WHERE usesysid = {}"
    )
    await _tried(connection, ended.format(sql.Literal(_WAIT_S * 1000), sql.Literal(role)))
    standing = await _sessions(connection, role)
    return max(before - standing, 0), standing


async def _sessions(connection: AsyncConnection[Any], role: int) -> int:
    # Of sessions of others the server tells not much more than whose they are.
    cursor = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usesysid = %s", [role]
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _drop(connection: AsyncConnection[Any], name: str) -> str | None:
    """Drop a role and what it owns in this database; return why that can't be, or None."""
    role = sql.Identifier(name)
    return await _tried(
        connection,
        sql.SQL("DROP OWNED BY {}").format(role),
        sql.SQL("DROP ROLE IF EXISTS {}").format(role),
    )

"""Roles of the centre's database, and what each may do.

| role | logs in | may |
|---|---|---|
| mes_owner | no | own everything; what it owns runs with its rights |
| mes_ingest | yes | write all tables, uncaptured and past row-level security: the sync engine |
| mes_app | yes | read; write two-way and central tables; rows of the site it names |
| mes_reader | yes | read rows of the site it names |
| mes_analyst | yes | read rows of all sites |
| mes_api | yes | read rows of the sites it names: those of its user |
| mes_bi | no | read rows of the sites that its member was given: logins for plain SQL |

A session of mes_app or mes_reader names its site in each transaction by
``set_config('app.current_site_id', …, true)``. With none it sees no site's rows. The shared rows it
reads anyway, but changes only when it names ``*``. mes_api names sites by ``app.sites``, parted by
commas; a query that forgot is refused as soon as a row would be judged, and none is where no row
is: so whoever opens a transaction for a user calls ``mes.asked_sites()`` itself.
``central.row_security`` has the policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from central.capture import INGEST
from central.rollups import deltas_of, rollups_of
from central.row_security import policy_statements, read_by_asked, reading_statements
from central.unions import tables_of
from shared.errors import NotAuthorised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from shared.catalog import Table

OWNER: Final = "mes_owner"
APP: Final = "mes_app"
READER: Final = "mes_reader"
ANALYST: Final = "mes_analyst"
API: Final = "mes_api"
BI: Final = "mes_bi"
CLIENTS: Final = (APP, READER, ANALYST, API, BI)

#: Each role with what it is; roles belong to the whole server, so others may have made them.
ROLES: Final[Mapping[str, str]] = {
    OWNER: "NOLOGIN NOBYPASSRLS",
    INGEST: "LOGIN BYPASSRLS",
    APP: "LOGIN NOBYPASSRLS",
    READER: "LOGIN NOBYPASSRLS",
    ANALYST: "LOGIN BYPASSRLS",
    API: "LOGIN NOBYPASSRLS",
    BI: "NOLOGIN NOBYPASSRLS",
}

#: What the whole server is asked for: whether it is there, and what to grant where it is not.
_GRANTS: Final = (
    # A person's decision is written as any client's: captured, and by the rules of its site.
    (f"pg_has_role('{INGEST}', '{APP}', 'SET')", f"{APP} TO {INGEST} WITH INHERIT FALSE, SET TRUE"),
    # What the API reads for a user, it reads past no row-level security.
    (f"pg_has_role('{INGEST}', '{API}', 'SET')", f"{API} TO {INGEST} WITH INHERIT FALSE, SET TRUE"),
)


async def create_roles(connection: AsyncConnection[Any]) -> list[str]:
    """Create the roles that are missing, and return their names."""
    cursor = await connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(ROLES)]
    )
    present = {name for (name,) in await cursor.fetchall()}
    made = [name for name in ROLES if name not in present]
    for name in made:
        await _shared_statement(connection, f"CREATE ROLE {name} {ROLES[name]}")
    # Whoever is no superuser has to belong to the roles that it works for. Who makes a role may
    # grant it, and neither acts as it nor has its rights by that alone.
    user = connection.info.user
    of, to = sql.Literal(user).as_string(connection), sql.Identifier(user).as_string(connection)
    belongs = [
        (
            f"pg_has_role({of}, '{name}', 'SET') AND pg_has_role({of}, '{name}', 'USAGE')",
            f"{name} TO {to} WITH INHERIT TRUE, SET TRUE",
        )
        for name in (OWNER, INGEST)
    ]
    for asked, granted in (*belongs, *_GRANTS):
        await _grant(connection, asked, granted)
    return made


async def _shared_statement(connection: AsyncConnection[Any], statement: str) -> None:
    """Change what belongs to the whole server; whoever migrates another database may be faster."""
    await connection.execute(
        f"DO $$ BEGIN {statement};"
        " EXCEPTION WHEN duplicate_object OR unique_violation OR internal_error THEN NULL; END $$"
    )


async def _grant(connection: AsyncConnection[Any], asked: str, granted: str) -> None:
    """Grant what belongs to the whole server, where it was not granted before."""
    cursor = await connection.execute(f"SELECT {asked}")
    if await cursor.fetchone() == (True,):
        return
    try:
        await _shared_statement(connection, f"GRANT {granted}")
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAuthorised(f"let a superuser run once: GRANT {granted}") from error


async def set_passwords(connection: AsyncConnection[Any], passwords: Mapping[str, str]) -> None:
    """Give roles their passwords; only SCRAM verifiers reach the server and its logs."""
    for name, password in passwords.items():
        if name not in ROLES or "NOLOGIN" in ROLES[name]:
            raise ValueError(f"{name} is not a role that logs in")
        await connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(verifier(connection, name, password))
            )
        )


def verifier(connection: AsyncConnection[Any], name: str, password: str) -> str:
    """Return what the server keeps of a password, so that it never hears the password itself."""
    made = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return made.decode()


def database_statement(database: str) -> sql.Composed:
    """Return what the owner needs on the database itself, before there are schemas."""
    grant = sql.SQL("GRANT CREATE ON DATABASE {} TO {}")
    return grant.format(sql.Identifier(database), sql.Identifier(OWNER))


#: What the status of a site is read from, with the column that tells whose a row is.
_STATUS: Final[Mapping[str, str]] = {
    "site": "site", "epoch": "site", "verified": "site", "compare": "site",
    "backup_position": "site", "feed_head": "scope", "rollup_check": "site",
}  # fmt: skip

SCHEMA_GRANTS: Final = (
    f"GRANT USAGE ON SCHEMA mes TO {INGEST}, {', '.join(CLIENTS)}",
    f"GRANT USAGE ON SCHEMA sync TO {INGEST}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sync TO {INGEST}",
    f"REVOKE UPDATE ON sync.audit FROM {INGEST}",  # it adds lines, and forgets what is past
    f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA sync TO {INGEST}",
    # Tables made later, partitions among them. Clients get nothing by default: a partition that is
    # read by its own name would be out of reach of its parent's policy.
    f"ALTER DEFAULT PRIVILEGES IN SCHEMA sync GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES"
    f" TO {INGEST}",
    f"ALTER DEFAULT PRIVILEGES IN SCHEMA sync GRANT USAGE, SELECT ON SEQUENCES TO {INGEST}",
    f"ALTER DEFAULT PRIVILEGES IN SCHEMA mes GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES"
    f" TO {INGEST}",
    "REVOKE ALL ON FUNCTION sync.make_partition, sync.attach_partition FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION sync.make_partition TO {INGEST}",
    "REVOKE ALL ON FUNCTION mes.seen FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION mes.seen TO {APP}",
    f"GRANT SELECT ON mes.row_versions TO {APP}, {READER}",
    "REVOKE ALL ON FUNCTION mes.asked_sites, mes.reader_sites FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION mes.asked_sites TO {API}",
    f"GRANT EXECUTE ON FUNCTION mes.reader_sites TO {BI}",
    f"GRANT USAGE ON SCHEMA sync TO {API}",
    f"GRANT SELECT ON sync.table_no TO {API}",
    *(
        each
        for name in ("archive", "head", "row_key")
        for each in read_by_asked(f"sync.{name}", API)
    ),
    # By which days a site's reports go.
    *read_by_asked("sync.site_day", API, "site"),
    # What was known of them at an earlier moment.
    *(each for name in ("late_report", "restated") for each in read_by_asked(f"sync.{name}", API)),
    f"GRANT SELECT ON sync.known_since TO {API}",
    *(
        each
        for name, column in _STATUS.items()
        for each in read_by_asked(f"sync.{name}", API, column)
    ),
    f"GRANT SELECT ON sync.complete_through TO {API}",  # with the rights of who asks
    *read_by_asked("sync.refused", API, "site", only="site, refused_at"),
    *read_by_asked("sync.withheld", API, "site", only="site, noted_at, state"),
    # Of every site, past all policies: how often something changed, and nothing of what.
    "REVOKE ALL ON FUNCTION sync.revisions FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION sync.revisions TO {INGEST}, {API}",
    f"GRANT SELECT ON sync.backup TO {API}",  # of the centre, as sites are told of them
    # Detached months: each is given to the API by itself, under a policy of its own.
    f"GRANT USAGE ON SCHEMA archive TO {INGEST}, {API}",
)


def table_statements(table: Table) -> list[str]:
    """Return the policies and grants of a business table, to be run any number of times."""
    name = f"mes.{table.name}"
    return [
        *policy_statements(table, of_one=(APP, READER), of_asked=API, of_reader=BI),
        f"REVOKE ALL ON {name} FROM {', '.join(CLIENTS)}",
        f"GRANT SELECT ON {name} TO {', '.join(CLIENTS)}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {INGEST}",
        *([f"GRANT {rights} ON {name} TO {APP}"] if (rights := _writes(table)) else []),
    ]


def rollup_statements(table: str) -> list[str]:
    """Return the policies and grants of a table's rollups: nobody but what feeds them writes."""
    found, deltas = rollups_of(table), deltas_of(table)
    rows = [f"mes.{name}" for name in (deltas, *tables_of(table))]
    every = [*rows, *(f"mes.{each.name}" for each in found)]
    return [
        *(
            each
            for name in rows
            for each in reading_statements(name, of_one=(APP, READER), of_asked=API, of_reader=BI)
        ),
        *(f"REVOKE ALL ON {name} FROM {', '.join(CLIENTS)}" for name in every),
        *(f"GRANT SELECT ON {name} TO {', '.join(CLIENTS)}" for name in every),
        *(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {INGEST}" for name in rows),
        f"GRANT MAINTAIN ON mes.{deltas} TO {INGEST}",
    ]


def _writes(table: Table) -> str | None:
    """Return what programs of the centre may do with rows: what a person may have a reason to."""
    if table.fact or (table.name.startswith("sync_") and not table.two_way):
        return None
    return "INSERT" if table.append_only else "INSERT, UPDATE, DELETE"


def as_role(url: str, role: str) -> str:
    """Return the address under which a superuser's connection acts as a role, as programs do."""
    given = psycopg.conninfo.conninfo_to_dict(url).get("options") or ""
    return make_conninfo(url, options=f"{given} -c role={role}".strip())

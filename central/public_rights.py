"""What PostgreSQL lets everybody do, and a login for plain SQL must not.

By advisory locks, which know no owner, anybody could stop the ingest and the feed; by temporary
tables and large objects, fill the disk. These rights belong to a database, and what a copy of one
takes along differs: so a migration looks at what there is. Functions that unlock are left alone,
as they touch a session's own locks only, and drivers call them when they clean up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from central.capture import INGEST
from central.roles import OWNER

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_LOCKS: Final = "^pg_(try_)?advisory_(xact_)?lock(_shared)?$"
_LARGE_OBJECTS: Final = "^lo_(creat|create|from_bytea)$"

#: Functions that everybody may call, and those that ours may not.
_FUNCTIONS: Final = """
    SELECT format('pg_catalog.%%I(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    FROM pg_proc AS p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ %(named)s
      AND (EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
                   WHERE a.grantee = 0)
           OR EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = ANY (%(ours)s)
                      AND NOT has_function_privilege(r.oid, p.oid, 'EXECUTE')))
    ORDER BY 1"""

_TEMPORARY: Final = """
    SELECT current_database(), pg_has_role(d.datdba, 'USAGE')
    FROM pg_database AS d
    WHERE d.datname = current_database()
      AND (EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
                   WHERE a.grantee = 0 AND a.privilege_type = 'TEMPORARY')
           OR EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = ANY (%(ours)s)
                      AND NOT has_database_privilege(r.oid, d.oid, 'TEMPORARY')))"""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A statement that takes a right from everybody, or leaves it to ours."""

    statement: str
    #: The connection's role may run it; else only a superuser may, or the database's owner.
    allowed: bool


async def withdrawals(connection: AsyncConnection[Any]) -> list[Withdrawal]:
    """Return what is still to be run; an empty list where nobody may do what they must not."""
    return [
        *await _of_functions(connection, _LOCKS, (OWNER, INGEST)),
        *await _of_functions(connection, _LARGE_OBJECTS, ()),
        *await _of_temporary_tables(connection),
    ]


async def _of_functions(
    connection: AsyncConnection[Any], named: str, ours: tuple[str, ...]
) -> list[Withdrawal]:
    cursor = await connection.execute(_FUNCTIONS, {"named": named, "ours": list(ours)})
    found = await cursor.fetchall()
    if not found:
        return []
    functions = ", ".join(signature for signature, _ in found)
    statements = [f"REVOKE EXECUTE ON FUNCTION {functions} FROM PUBLIC"]
    if ours:
        statements.append(f"GRANT EXECUTE ON FUNCTION {functions} TO {', '.join(ours)}")
    return [Withdrawal(statement, found[0][1]) for statement in statements]


async def _of_temporary_tables(connection: AsyncConnection[Any]) -> list[Withdrawal]:
    cursor = await connection.execute(_TEMPORARY, {"ours": [INGEST]})
    row = await cursor.fetchone()
    if row is None:
        return []
    database = sql.Identifier(row[0]).as_string()
    return [
        Withdrawal(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC", row[1]),
        Withdrawal(f"GRANT TEMPORARY ON DATABASE {database} TO {INGEST}", row[1]),
    ]

"""To write as any client of the centre does: captured, and bound to the rows of one site."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from central.roles import APP
from shared.catalog import Kind
from shared.errors import NotAuthorised

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

    from shared.catalog import Table
    from shared.changes import Value


async def act_for(connection: AsyncConnection[Any], site: str, person: str) -> None:
    """Be a client of the centre until the commit, for one site, in the name of somebody.

    Raise NotAuthorised where this login may not act as mes_app.
    """
    try:
        await connection.execute(f"SET LOCAL ROLE {APP}")
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAuthorised(
            f"{connection.info.user} may not act as {APP}; run `mes-central migrate`, or let a"
            f" superuser run: GRANT {APP} TO {connection.info.user} WITH INHERIT FALSE, SET TRUE"
        ) from error
    await connection.execute(
        "SELECT set_config('app.current_site_id', %s, true), set_config('app.person', %s, true)",
        [site, person],
    )


@asynccontextmanager
async def acting(connection: AsyncConnection[Any], site: str, person: str) -> AsyncIterator[None]:
    """Be such a client for a while, and the login's own role again afterwards.

    Where something is raised the transaction is lost, and the role with it.
    """
    await act_for(connection, site, person)
    yield
    await connection.execute("RESET ROLE")


def stored(table: Table, column: str, value: Value) -> object:
    """Return a canonical value as PostgreSQL's driver takes it."""
    if table.column(column).type.kind is Kind.BOOLEAN and value is not None:
        return bool(value)
    return value

"""A centre for tests: a migrated database with sites, and what its clients would do to it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from central import roles
from central.migrate import migrate
from shared.catalog_file import load_catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CATALOG = load_catalog()
SITES = ("SITE_001", "SITE_002", "SITE_003")


async def make_centre(url: str, sites=SITES, catalog=CATALOG) -> str:
    """Migrate an empty database and return its address as the ingest's role."""
    await migrate(url, catalog, sites)
    return roles.as_role(url, "mes_ingest")


@contextmanager
def copy_of(template_url: str, purpose: str = "centre") -> Iterator[str]:
    """Give a superuser's address of a copy of a database that nobody is connected to."""
    template = urlsplit(template_url)
    name = f"mes_{purpose}_{secrets.token_hex(6)}"
    admin = urlunsplit(template._replace(path="/postgres"))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template.path[1:])
            )
        )
    yield urlunsplit(template._replace(path=f"/{name}"))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


@asynccontextmanager
async def connect(
    url: str, *, autocommit: bool = True
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=autocommit) as connection:
        yield connection


async def fetch(url: str, query: str, *given) -> list[tuple[Any, ...]]:
    async with connect(url) as connection:
        return await (await connection.execute(query, given or None)).fetchall()


async def appears(url: str, query: str, *given) -> None:
    """Return once a query returns a row; for at most thirty seconds."""
    async with asyncio.timeout(30):
        while True:
            if await fetch(url, query, *given):
                return
            await asyncio.sleep(0.01)


async def execute(url: str, *statements: str) -> None:
    """Run the statements in one transaction, as any SQL client of the centre does."""
    async with connect(url, autocommit=False) as connection:
        for statement in statements:
            await connection.execute(statement)
        await connection.commit()

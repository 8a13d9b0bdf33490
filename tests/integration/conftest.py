"""A migrated centre for each test, copied from one that is migrated once."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from tests.integration.central_world import make_centre

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def centre_template(postgres_url: str) -> str:
    """The address of a migrated database that nobody is connected to."""
    asyncio.run(make_centre(postgres_url))
    return postgres_url


@pytest.fixture
def centre(centre_template: str) -> Iterator[str]:
    """A superuser's address of a migrated centre with the sites of ``central_world.SITES``."""
    template = urlsplit(centre_template)
    name = f"mes_centre_{secrets.token_hex(6)}"
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

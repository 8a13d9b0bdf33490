"""The API in this process, on a centre with three sites, asked by whoever has the grants."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from central import api_keys
from central.access import Scope
from central.api.asking import Guard
from central.api.audit import AuditLog
from central.api.reach import Reach
from central.roles import API, INGEST, as_role
from central.web.app import build
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    import psycopg

    from central.api.oidc import Verifier
    from tests.integration.apply_world import World

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
async def link(nats_url: str) -> AsyncIterator[Link]:
    async with Link(LinkSettings(servers=(nats_url,), name="api")) as opened:
        await opened.wait_connected(5)
        yield opened


def pool(url: str) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    return AsyncConnectionPool(
        url, min_size=0, max_size=2, timeout=5, open=False, reconnect_timeout=0.5
    )


@dataclass
class Api:
    """The API, and whom it is asked by."""

    world: World
    reach: Reach

    def client(self, token: str = "") -> httpx.AsyncClient:
        """Somebody who shows a token, or none."""
        # What breaks in the application is answered, as a server would.
        transport = httpx.ASGITransport(app=build(self.reach), raise_app_exceptions=False)
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=transport, base_url="http://centre", headers=shown)

    async def key(
        self, *grants: str, name: str = "", scopes: Collection[Scope] = tuple(Scope)
    ) -> str:
        """Make a key with these grants."""
        name = name or f"test-{secrets.token_hex(4)}"
        return await api_keys.add(self.world.admin, name, grants, scopes=scopes)

    async def asked_by(self, *grants: str) -> httpx.AsyncClient:
        """Somebody with these grants."""
        return self.client(await self.key(*grants))

    async def audited(self) -> list[tuple[Any, ...]]:
        """Return the audit log: who, action, target, sites, status, times."""
        await self.reach.audit.write()
        return await self.world.rows(
            "SELECT who, action, target, sites, status, times FROM sync.audit ORDER BY no"
        )


def asking(path: str, query: str, token: str) -> dict[str, Any]:
    """Return a request as a server hands it to an application."""
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": query.encode(), "client": ("127.0.0.1", 1),
        "server": ("centre", 80), "headers": [
            (b"authorization", f"Bearer {token}".encode()), (b"accept", b"*/*"),
        ],
    }  # fmt: skip


async def nothing_more() -> dict[str, Any]:
    """Wait for more of a request, which has no more."""
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def opened(
    world: World, link: Link, *, verifier: Verifier | None = None, url: str = ""
) -> AsyncIterator[Api]:
    """Open the API; on another address than the world's where one is given."""
    as_ingest = pool(url or as_role(world.url, INGEST))
    reading = pool(url or as_role(world.url, API))
    watching = pool(url or as_role(world.url, INGEST))
    async with as_ingest, reading, watching:
        reach = Reach(
            pool=as_ingest, reading=reading, reading_url=url or as_role(world.url, API),
            watching=watching, guard=Guard(as_ingest, verifier),
            audit=AuditLog(as_ingest), catalog=world.catalog, link=link,
        )  # fmt: skip
        yield Api(world, reach)


@pytest.fixture
async def api(world: World, link: Link) -> AsyncIterator[Api]:
    async with opened(world, link) as found:
        yield found


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator."""
    async with await api.asked_by("admin") as found:
        yield found

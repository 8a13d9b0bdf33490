"""Two sites and a centre whose server may be put back to an older copy of itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest

from deploy.local.servers import PostgresServer
from tests.faults.backup import base_backup, put_back
from tests.faults.conftest import SITE
from tests.integration.central_world import execute, make_centre
from tests.integration.whole_world import World, whole_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.whole_world import Edge

OTHER = "SITE_002"


@dataclass
class Restorable:
    """Two sites and a centre on a server of its own, which may be put back."""

    world: World
    server: PostgresServer
    folder: Path

    @property
    def edge(self) -> Edge:
        """Return the first site."""
        return self.world.edges[SITE]

    async def backup(self, name: str = "backup") -> Path:
        """Take a base backup of what the server holds now."""
        return base_backup(self.server, self.folder / name)

    async def restore(self, backup: Path) -> None:
        """Put the server back, and start the centre's processes after it."""
        await self.world.stop_centre()
        put_back(self.server, backup)

    async def come_home(self) -> None:
        """Start the centre's processes, and wait until a site has brought home what it knows."""
        await self.world.start_centre()
        # Feeds may end where those of the lost time did: positions alone tell nothing.
        await self.world.eventually(lambda: restores(self), timeout_s=30)

    async def plan(self, text: str) -> None:
        """Write at the centre, as a planner does."""
        await execute(self.world.url, text)


@asynccontextmanager
async def restorable(
    server: PostgresServer, nats_url: str, folder: Path
) -> AsyncIterator[Restorable]:
    """Make a centre on a running server, and run it with its sites until the end of the block."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE mes TEMPLATE template0")
    url = server.url(dbname="mes")
    await make_centre(url)
    async with whole_world(url, nats_url, folder, (SITE, OTHER)) as world:
        await world.settle()
        yield Restorable(world, server, folder)


@pytest.fixture
async def plant(nats_server, tmp_path) -> AsyncIterator[Restorable]:
    """A restorable world on a server of its own."""
    with PostgresServer(tmp_path / "postgres", parameters={"fsync": "off"}) as server:
        async with restorable(server, nats_server.url, tmp_path) as plant:
            yield plant


def notes(edge: Edge) -> dict[str, str]:
    """Return the notes at a site by order."""
    return dict(edge.read("SELECT order_no, notes FROM work_orders"))


def note(number: str, text: str, schema: str = "") -> str:
    """Return the statement by which somebody notes something on an order."""
    return f"UPDATE {schema}work_orders SET notes = '{text}' WHERE order_no = '{number}'"


async def restores(plant: Restorable) -> list[tuple]:
    """Return the sites that the centre has noted to know more than it."""
    return await plant.world.central("SELECT site FROM sync.restore WHERE who = 'centre'")


async def lives(plant: Restorable) -> bool:
    """Whether the life after the restore has been noted."""
    query = "SELECT 1 FROM sync.life_now WHERE started_at = pg_postmaster_start_time()"
    return bool(await plant.world.central(query))

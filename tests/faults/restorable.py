"""Two sites and a centre whose server may be put back to an older copy of itself."""

from __future__ import annotations

import contextlib
import itertools
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.snapshot import Spool, chunk
from deploy.local.servers import PostgresServer
from sync import codec
from tests.faults.backup import base_backup, put_back
from tests.faults.cases import local_orders, note, planned_orders
from tests.faults.conftest import SITE
from tests.integration.central_world import CATALOG, connect, execute, make_centre
from tests.integration.whole_world import World, whole_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
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
        await self.noticed()

    async def noticed(self) -> None:
        """Wait until a site has brought home what it knows, and the centre has noted that."""
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


# --- what is so when the centre goes back --------------------------------------------------------


async def lost_edits(plant: Restorable) -> None:
    """Have planners edit two orders, each in one column, in a time that is lost then."""
    await plant.plan(planned_orders("P1", "P2"))
    await plant.world.settle()
    backup = await plant.backup()
    await plant.plan(note("P1", "in the lost time", "mes."))
    await plant.plan("UPDATE mes.work_orders SET priority = 9 WHERE order_no = 'P2'")
    await plant.world.settle()
    await plant.restore(backup)


async def edits_after_the_restore(plant: Restorable) -> None:
    """Have planners edit the same two orders: one in the same column, one in another."""
    await plant.plan(note("P1", "after the restore", "mes."))
    await plant.plan(note("P2", "another column", "mes."))


async def park_an_order(plant: Restorable) -> None:
    """Have a site's order parked, whose number the centre has given out too."""
    await plant.edge.stop()
    plant.edge.write(local_orders("N1"))
    await plant.plan(planned_orders("N1"))
    await plant.edge.start()
    await plant.world.settle_counts()


async def park_a_sum(plant: Restorable) -> None:
    """Have a site's machine parked, whose code the centre has given out too, and a sum on it."""
    await plant.plan(
        "INSERT INTO mes.equipment (id, site_id, created_at, equipment_code)"
        f" VALUES (uuidv7(), '{SITE}', now(), 'M1')"
    )
    await plant.edge.stop()
    plant.edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')")
    with contextlib.closing(plant.edge.open()) as store:
        store.drain(time.time_ns() // 10**6)
    plant.edge.write(
        "UPDATE equipment SET cycle_count = cycle_count + 5 WHERE equipment_code = 'M1'"
    )
    await plant.edge.start()
    await plant.world.settle_counts()


async def load_in_part(plant: Restorable, is_enough: Callable[[], bool]) -> None:
    """Load a snapshot of the centre into a stopped site, chunk by chunk until it is enough."""
    with contextlib.closing(plant.edge.open()) as store:
        async with (
            connect(plant.world.url, autocommit=False) as reader,
            connect(plant.world.url, autocommit=False) as writer,
        ):
            made = await Spool(reader, writer, CATALOG).fill(SITE)
            ((manifest,),) = await plant.world.central(
                "SELECT manifest FROM sync.snapshot WHERE id = %s", made
            )
            store.begin_snapshot(made, manifest)
            for k in itertools.count():
                body, _ = await chunk(reader, made, k)
                assert body is not None
                store.apply_chunk(k, codec.decode_chunk(body), time.time_ns() // 10**6)
                if is_enough():
                    return


# --- what is found after it ----------------------------------------------------------------------


async def conflict(plant: Restorable) -> tuple[str, str]:
    """Return the two values of the only conflict there is: the site's, and the centre's."""
    ((here, there),) = await plant.world.central(
        "SELECT here_value, central_value FROM mes.sync_conflicts"
    )
    return str(here), str(there)


async def met_by_policy(plant: Restorable) -> None:
    """Check that the edits before and after the restore have met: one conflict, nothing lost."""
    here, there = await conflict(plant)
    assert "in the lost time" in here
    assert "after the restore" in there
    found = plant.edge.read("SELECT order_no, notes, priority FROM work_orders ORDER BY order_no")
    (_, text, _), second = found
    assert text in ("in the lost time", "after the restore")
    assert second == ("P2", "another column", 9)


async def restores(plant: Restorable) -> list[tuple]:
    """Return the sites that the centre has noted to know more than it."""
    return await plant.world.central("SELECT site FROM sync.restore WHERE who = 'centre'")


async def lives(plant: Restorable) -> bool:
    """Whether the life after the restore has been noted."""
    query = "SELECT 1 FROM sync.life_now WHERE started_at = pg_postmaster_start_time()"
    return bool(await plant.world.central(query))

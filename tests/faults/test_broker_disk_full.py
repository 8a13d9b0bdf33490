"""The disk of the broker is full, since nobody took from it what the sites sent."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from deploy.local.servers import NatsServer
from edge.status import read_picture
from edge.verdict import BACKLOG_OLD_MS, judge
from tests.faults.cases import local_orders, planned_orders, sign_ons
from tests.faults.own_disk import FULL, fill, on_a_disk_of_its_own
from tests.faults.system import SITES, System, running_system
from tests.integration.central_world import execute

if TYPE_CHECKING:
    from tests.integration.whole_world import Edge

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow, pytest.mark.system]

HERE, THERE = SITES
ROOM_MB = 8
ROWS = 5_000
SIGN_ONS = "SELECT site_id, count(*) FROM mes.user_sessions GROUP BY site_id"


@pytest.fixture
async def full(centre, tmp_path):
    """A system whose broker has its store on a disk of its own."""
    server = NatsServer(tmp_path / "nats")
    (server.root / "store").mkdir(parents=True)
    with on_a_disk_of_its_own(server.root / "store", ROOM_MB), server:
        async with running_system(centre, server.url, tmp_path) as system:
            yield system, server


async def test_what_does_not_fit_on_the_brokers_disk_waits_at_the_sites_until_it_does(full):
    system, server = full
    world, written = system.world, dict.fromkeys(SITES, 0)
    ballast = server.root / "store" / "ballast"
    await system.programs.stop("ingest 1")
    await write(system, written)
    await asyncio.to_thread(fill, ballast)
    async with asyncio.timeout(60):
        while FULL not in server.log.read_text():
            await write(system, written)
    await execute(world.url, planned_orders("P1"))
    # Nothing is taken as sent: the sites hold all, and tell how much waits, and why.
    for edge in world.edges.values():
        assert edge.read("SELECT count(*) FROM user_sessions") == [(written[edge.site],)]
        rows = written[edge.site] + written[edge.site] // ROWS
        await world.eventually(lambda: waiting(edge) == rows)  # noqa: B023
        await world.eventually(lambda: "does not take it" in said_later(edge))  # noqa: B023
    assert await world.central(SIGN_ONS) == []

    # The ingest alone makes no room: nats-server writes no more after that until it is restarted.
    await system.programs.start("ingest 1")
    ballast.unlink()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await world.settle(90)
    assert dict(await world.central(SIGN_ONS)) == written
    orders = written[HERE] // ROWS + written[THERE] // ROWS + 1
    assert await world.central(
        "SELECT (SELECT count(*) FROM mes.work_orders), (SELECT count(*) FROM mes.sync_parked),"
        " (SELECT count(*) FROM mes.sync_conflicts), (SELECT count(*) FROM sync.refused)"
    ) == [(orders, 0, 0, 0)]
    assert system.programs.all_run()


async def write(system: System, written: dict[str, int]) -> None:
    """Have each site write an order with many facts in one transaction, and give it a moment."""
    for site, edge in system.world.edges.items():
        number = f"{site} {written[site] // ROWS}"
        await asyncio.to_thread(edge.write, local_orders(number), sign_ons(ROWS))
        written[site] += ROWS
    await asyncio.sleep(0.5)


def waiting(edge: Edge) -> int:
    """Return how many rows wait for the centre, as the status tells, once all are drained."""
    backlog = read_picture(edge.path, time.time_ns() // 10**6).backlog
    return 0 if backlog.undrained_rows else backlog.rows


def said_later(edge: Edge) -> str:
    """Return what the status says of the backlog once it has lasted."""
    picture = read_picture(edge.path, time.time_ns() // 10**6 + BACKLOG_OLD_MS)
    said = (each.message for each in judge(picture).reasons if each.code == "MES-BACKLOG-OLD")
    return next(said, "")

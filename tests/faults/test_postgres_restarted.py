"""PostgreSQL is killed, stopped, and takes no writes for a while, under load."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg.pq import Ping

from deploy.local.servers import PostgresServer
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute, make_centre
from tests.integration.whole_world import whole_world

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

READ_ONLY = "ALTER DATABASE {} SET default_transaction_read_only = {}"
END_SESSIONS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = %s AND pid <> pg_backend_pid()"""
DATABASE = "mes"
#: What PostgreSQL says to the centre then.
READS_ONLY = "read-only transaction"
#: What an ingest says that has asked the server whether it takes connections.
NOBODY_THERE = f"as it returned {int(Ping.NO_RESPONSE)}"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A server of our own, whose data survive a power cut: fsync is on."""
    with PostgresServer(tmp_path_factory.mktemp("restarted")) as server:
        yield server


@pytest.fixture
async def world(postgres, nats_server, tmp_path):
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    try:
        url = postgres.url(dbname=DATABASE)
        await make_centre(url)
        async with whole_world(url, nats_server.url, tmp_path, (SITE,)) as world:
            await world.settle()
            yield world
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


async def counts(world) -> tuple[int, ...]:
    ((events, orders, parked, applied, last_n),) = await world.central(
        "SELECT (SELECT count(*) FROM mes.equipment_state_events),"
        " (SELECT count(*) FROM mes.work_orders), (SELECT count(*) FROM mes.sync_parked),"
        " (SELECT count(*) FROM sync.applied), (SELECT last_n FROM sync.epoch)"
    )
    assert applied == last_n
    return events, orders, parked


async def load(edge, name: str, writes: int = 6) -> None:
    for number in range(writes):
        edge.write(local_orders(f"{name} {number}"), state_events(100))
        await asyncio.sleep(0.03)


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_nothing_is_lost_or_doubled_by_a_database_that_goes_and_comes_again(
    world, postgres, end
):
    edge = world.edges[SITE]
    for number in range(3):
        await load(edge, f"up {number}")
        await execute(world.url, planned_orders(f"planned {number}"))
        await asyncio.to_thread(getattr(postgres, end))
        await load(edge, f"down {number}")
        await asyncio.to_thread(postgres.start)
    await world.settle()
    assert await counts(world) == (3600, 39, 0)
    # It came back as it was: no site takes it for an older copy and begins anew.
    assert edge.read("SELECT snapshots FROM _sync_site") == [(1,)]
    assert await world.central("SELECT 1 FROM sync.restore") == []


async def test_what_is_written_while_the_database_takes_no_writes_arrives_afterwards(
    world, postgres, caplog
):
    edge = world.edges[SITE]
    await load(edge, "before")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(READ_ONLY.format(DATABASE, "on"))
        connection.execute(END_SESSIONS, [DATABASE])
        await load(edge, "during")
        await world.eventually(lambda: READS_ONLY in caplog.text)  # the centre has met it
        during = await world.central(
            "SELECT count(*) FROM mes.work_orders WHERE order_no LIKE 'd%'"
        )
        assert during == [(0,)]
        connection.execute(READ_ONLY.format(DATABASE, "off"))
        connection.execute(END_SESSIONS, [DATABASE])
    await load(edge, "after")
    await world.settle()
    assert await counts(world) == (1800, 18, 0)


async def test_a_centre_told_to_stop_while_the_database_is_away_ends_in_good_order(world, postgres):
    edge = world.edges[SITE]
    await load(edge, "before")
    await world.settle()
    await asyncio.to_thread(postgres.kill)
    await asyncio.wait_for(world.stop_centre(), 10)  # raises what its tasks ended with
    await load(edge, "down")
    await asyncio.to_thread(postgres.start)
    held = await world.central("SELECT 1 FROM sync.site WHERE lease_holder IS NOT NULL")
    assert held, "the window was not hit: the leases were let go"
    await world.start_centre()
    await world.settle()
    assert await counts(world) == (1200, 12, 0)


async def test_an_ingest_that_is_started_before_the_database_waits_for_it(world, postgres, caplog):
    """As after a power cut: all of a host starts at once, and not every supervisor tries again."""
    await world.stop_centre()
    await asyncio.to_thread(postgres.kill)
    caplog.clear()
    await world.start_centre()
    world.edges[SITE].write(state_events(100))
    await world.eventually(lambda: NOBODY_THERE in caplog.text)  # it asked, and waits
    await asyncio.to_thread(postgres.start)
    await world.settle()
    assert await counts(world) == (100, 0, 0)

"""The disk of PostgreSQL is full: where the tables are, or where the log of the server is."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from deploy.local.servers import PostgresServer
from tests.faults.cases import sign_ons
from tests.faults.own_disk import FULL, fill, on_a_disk_of_its_own
from tests.faults.system import running_system
from tests.integration.central_world import make_centre

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow, pytest.mark.system]

#: What is left on the disk besides what stands there.
ROOM_MB = {"base": 24, "pg_wal": 32}
#: No segment of the log is used again, as where a standby that is gone still waits for them.
PARAMETERS = {"fsync": "off", "wal_keep_size": "1GB", "min_wal_size": "32MB"}
ROWS = 30_000


@pytest.fixture(params=ROOM_MB)
async def full(request, nats_server, tmp_path):
    """A system whose server has its tables, or its log, on a disk of their own."""
    postgres = PostgresServer(tmp_path / "postgres", parameters=PARAMETERS)
    with postgres:
        await make_centre(postgres.url())
    folder = postgres.root / "data" / request.param
    with on_a_disk_of_its_own(folder, ROOM_MB[request.param]), postgres:
        async with running_system(postgres.url(), nats_server.url, tmp_path) as system:
            yield system, postgres, folder


async def test_what_comes_while_the_database_has_no_room_waits_at_the_sites_until_it_has(full):
    system, postgres, folder = full
    ballast = folder / "ballast"
    async with system.sessions() as sessions:
        await asyncio.to_thread(fill, ballast)
        system.world.edges["SITE_001"].write(sign_ons(ROWS))
        if folder.name == "pg_wal":
            await asyncio.to_thread(use_up_the_log, postgres)
        await system.world.eventually(
            lambda: FULL in postgres.log.read_text().lower(), timeout_s=60
        )
        written = sessions.written
        await system.world.eventually(
            lambda: sessions.written["SITE_002 1"] > written["SITE_002 1"] + 20
        )
        ballast.unlink()
        if folder.name == "pg_wal":  # a server that can't write its log ends
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
    assert await system.world.central("SELECT count(*) FROM mes.user_sessions") == [(ROWS,)]


def use_up_the_log(postgres: PostgresServer) -> None:
    """Begin one segment of the server's log after the other, until there is no room for one."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(postgres.url()) as connection:
        connection.autocommit = True
        while True:
            connection.execute("SELECT pg_logical_emit_message(true, 'full', repeat('x', 100000))")
            connection.execute("SELECT pg_switch_wal()")

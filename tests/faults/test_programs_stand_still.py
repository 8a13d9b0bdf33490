"""A program or a server stands still (SIGSTOP) for longer than its lease or beat, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from deploy.local.servers import PostgresServer
from tests.faults.programs import BEAT_S, LEASE_S
from tests.faults.system import running_system
from tests.integration.central_world import make_centre

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]

#: Several leases and beats.
STILL_S = 3 * max(LEASE_S, BEAT_S)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with PostgresServer(tmp_path_factory.mktemp("still"), parameters={"fsync": "off"}) as server:
        asyncio.run(make_centre(server.url(dbname="template1")))
        yield server


@pytest.fixture
async def system(postgres, nats_server, tmp_path):
    name = f"still_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = postgres.url(dbname=name)
    async with running_system(url, nats_server.url, tmp_path) as system:
        yield system


@pytest.mark.parametrize("name", ["SITE_001", "ingest 1", "feed"])
async def test_a_program_that_stands_still_takes_up_its_work_where_it_was(system, name):
    async with system.sessions() as sessions:
        with still(system.programs.running[name].pid):
            await asyncio.sleep(STILL_S)
            assert not sessions.seen_everywhere(sessions.written), "the window was not hit"
        await system.all_crosses(sessions)


async def test_a_broker_that_stands_still_holds_up_everybody_and_loses_nothing(system, nats_server):
    async with system.sessions() as sessions:
        with still(nats_server.running.pid):
            await asyncio.sleep(STILL_S)
            assert not sessions.seen_everywhere(sessions.written), "the window was not hit"
        await system.all_crosses(sessions)


async def test_a_database_that_stands_still_holds_up_the_centre_and_loses_nothing(system, postgres):
    async with system.sessions() as sessions:
        here = sessions.written["SITE_001 1"]
        with still(postgres.pid):
            await system.world.eventually(lambda: sessions.written["SITE_001 1"] > here + 20)
            await asyncio.sleep(STILL_S)
        await system.all_crosses(sessions)


@contextlib.contextmanager
def still(pid: int) -> Iterator[None]:
    """Stop a process and its children for the block."""
    process = psutil.Process(pid)
    stopped = [process, *process.children(recursive=True)]
    for each in stopped:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            each.send_signal(signal.SIGCONT)

"""The whole system on a cluster of three brokers: it loses a leader, its majority, its lines."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.faults.cluster import WiredCluster
from tests.faults.system import running_system

if TYPE_CHECKING:
    from deploy.local.servers import NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.fixture
async def cluster(tmp_path):
    async with WiredCluster(tmp_path / "brokers") as cluster:
        yield cluster


@pytest.fixture
async def system(centre, cluster, tmp_path):
    async with running_system(centre, cluster.url, tmp_path, replicas=3) as system:
        yield system


async def test_all_goes_on_without_the_broker_that_led_a_stream_and_with_it_again(system, cluster):
    async with system.sessions() as sessions:
        leader = await asyncio.to_thread(cluster.leader_of, "SITE_001")
        await asyncio.to_thread(leader.kill)
        await system.all_crosses(sessions)
        await cluster.start(leader)
        await cluster.ready()


async def test_without_a_majority_everybody_writes_on_and_with_it_everything_arrives(
    system, cluster
):
    async with system.sessions() as sessions:
        lost = cluster.servers[:2]
        await asyncio.gather(*(asyncio.to_thread(server.kill) for server in lost))
        written = sessions.written
        await system.world.eventually(
            lambda: all(k >= written[who] + 40 for who, k in sessions.written.items())
        )
        assert not sessions.seen_everywhere(sessions.written), "the window was not hit"
        await cluster.start(*lost)
        await cluster.ready()


async def test_a_broker_cut_off_from_the_others_is_left_by_all_who_were_with_it(system, cluster):
    async with system.sessions() as sessions:
        alone = server_of(system, cluster, "SITE_001")
        cluster.isolate(alone)
        await system.all_crosses(sessions, 90)
        assert alone.alive
        assert "decided nothing" in system.programs.log("SITE_001"), "the window was not hit"
        cluster.heal()
        await cluster.ready()


def server_of(system, cluster, name: str) -> NatsServer:
    """Return the server that a program is connected to."""
    port = re.findall(r"connected to nats://127.0.0.1:(\d+)", system.programs.log(name))[-1]
    return next(server for server in cluster.servers if server.port == int(port))

"""The disk under a site's store takes nothing any more: the agent may not write, or nobody may."""

from __future__ import annotations

import json
import sys

import psutil
import pytest

from tests.faults.test_edge_disk_fills import in_a_disk_of_its_own, small
from tests.integration.site_world import mes_sync

pytestmark = pytest.mark.slow

__all__ = ["small"]

SITE = "SITE_001"
#: Room for the small files that an agent leaves beside the store, and not for a page of the store.
FILE_BYTES_MAX = 4000
FAILED, CRITICAL = 1, 2


async def test_an_agent_that_may_not_write_says_so_and_goes_on_where_it_was_when_it_may(system):
    store = system.world.edges[SITE].path
    agent = psutil.Process(system.programs.running[SITE].pid)
    async with system.sessions() as sessions:
        _, most = agent.rlimit(psutil.RLIMIT_FSIZE)
        agent.rlimit(psutil.RLIMIT_FSIZE, (FILE_BYTES_MAX, most))
        await system.world.eventually(lambda: reasons(store).get("MES-AGENT-FAILED"))
        said = reasons(store)["MES-AGENT-FAILED"]
        assert "disk I/O error" in said["message"]
        written = sessions.written
        await system.world.eventually(
            lambda: sessions.written[f"{SITE} 1"] > written[f"{SITE} 1"] + 10
        )
        agent.rlimit(psutil.RLIMIT_FSIZE, (most, most))
    assert system.programs.running[SITE].pid == agent.pid


def reasons(store) -> dict[str, dict[str, str]]:
    told = mes_sync(store, "status", "--json").document
    return {each["code"]: each for each in told["reasons"]}


@pytest.mark.system
def test_a_read_only_disk_is_named_by_agent_and_status_and_loses_nothing(small):
    done = in_a_disk_of_its_own(
        small, 'exec "$2" -m tests.faults.read_only_disk "$1"', sys.executable
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["agent"]["code"] == FAILED
    assert "Read-only file system" in told["agent"]["said"]
    assert told["program"] != "taken"
    assert told["status"]["code"] == CRITICAL
    assert "MES-DISK-READ-ONLY" in told["status"]["codes"]
    assert (told["before"], told["after"]) == (1, 2)

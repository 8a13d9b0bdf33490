"""Ingest workers are killed, stand still beyond their leases, and join, while sites write."""

from __future__ import annotations

import random

import psutil
import psycopg
import pytest

from tests.faults.system import running_system
from tests.integration.central_world import SITES

pytestmark = pytest.mark.slow

#: What a worker is let wait for: the chain, which it asks for first, and the table of facts, into
#: which it then copies. Of the first PostgreSQL's own limits end its session, of the second none.
WAITS_FOR = {
    "before it decides": "SELECT FROM sync.epoch WHERE site = '{}' FOR UPDATE",
    "amid a copy": "LOCK TABLE mes.equipment_state_events IN ACCESS EXCLUSIVE MODE",
}
HOLDERS = "SELECT site, lease_holder, lease_token FROM sync.site WHERE lease_until > now()"


@pytest.fixture
async def system(centre, nats_server, tmp_path):
    async with running_system(centre, nats_server.url, tmp_path, workers=3) as system:
        yield system


async def holders(system) -> dict[str, int]:
    """Return the number of the process that holds each site, as far as one does."""
    found = await system.world.central(HOLDERS)
    return {site: int(holder.split("-")[-2]) for site, holder, _ in found}


async def test_each_transaction_counts_once_while_workers_are_killed_and_join(system, seed):
    chance, programs = random.Random(seed), system.programs
    names = [f"ingest {n}" for n in (1, 2, 3)]
    async with system.sessions() as sessions:
        for turn in range(6):
            for name in chance.sample(names, 1 + turn % 3):  # also all of them at once
                await programs.kill(name)
                await programs.start(name)
            if turn % 2:  # else they are killed before they have a lease
                await system.all_crosses(sessions)
        await system.world.eventually(lambda: _shared_out(system))


async def _shared_out(system) -> bool:
    """Tell whether all registered sites are held, and not all by the same worker."""
    held = await holders(system)
    return len(held) == len(SITES) and len(set(held.values())) > 1


async def test_a_worker_that_slept_through_its_lease_changes_nothing_when_it_wakes(system):
    programs = system.programs
    pids = {programs.running[f"ingest {n}"].pid: f"ingest {n}" for n in (1, 2, 3)}
    async with system.sessions() as sessions:
        site, pid = next(iter((await system.world.eventually(lambda: holders(system))).items()))
        sleeper = pids[pid]
        programs.pause(sleeper)
        # At once, or when PostgreSQL has ended the transaction that it stands still in.
        await system.world.eventually(lambda: _is_held_by_another(system, site, pid), timeout_s=60)
        await system.all_crosses(sessions)
        said = len(programs.log(sleeper))
        programs.go_on(sleeper)
        await system.world.eventually(lambda: len(programs.log(sleeper)) > said)


async def _held(system, site: str) -> dict[str, int]:
    held = await holders(system)
    return held if site in held else {}


async def _is_held_by_another(system, site: str, pid: int) -> bool:
    return (await holders(system)).get(site, pid) != pid


@pytest.mark.parametrize("where", WAITS_FOR)
async def test_a_worker_frozen_within_a_transaction_gives_its_site_up_to_another(system, where):
    programs = system.programs
    pids = {programs.running[f"ingest {n}"].pid: f"ingest {n}" for n in (1, 2, 3)}
    async with system.sessions() as sessions:
        await system.all_crosses(sessions)
        site = next(iter(system.world.edges))
        pid = (await system.world.eventually(lambda: _held(system, site)))[site]
        sleeper = pids[pid]
        await _freeze_within_a_transaction(system, sleeper, WAITS_FOR[where].format(site))
        await system.world.eventually(lambda: _is_held_by_another(system, site, pid), timeout_s=60)
        assert await _holds_a_chain(system, sleeper), "its transaction is over already"
        await system.all_crosses(sessions)
        programs.go_on(sleeper)


async def _freeze_within_a_transaction(system, name: str, lock: str) -> None:
    """Stop a worker that holds the chain of a site, and has not asked for the commit.

    It is let wait for a lock of ours, stopped, and given the lock: PostgreSQL answers, and nobody
    reads the answer.
    """
    async with await psycopg.AsyncConnection.connect(system.world.url) as ours:
        await ours.execute(lock)
        await system.world.eventually(lambda: _holds_a_chain(system, name, waits=True))
        system.programs.pause(name)
    await system.world.eventually(lambda: _holds_a_chain(system, name))


async def _holds_a_chain(system, name: str, *, waits: bool = False) -> bool:
    """Tell whether a worker is in a transaction with the chain of a site, or waits there for it."""
    process = psutil.Process(system.programs.running[name].pid)
    ports = [each.laddr.port for each in process.net_connections("tcp") if each.laddr]
    holding = """SELECT 1 FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)
                 WHERE a.client_port = ANY(%s) AND a.state <> 'idle'
                   AND l.relation = 'sync.epoch'::regclass AND l.mode = 'RowShareLock'
                   AND (cardinality(pg_blocking_pids(a.pid)) > 0) = %s"""
    return bool(await system.world.central(holding, ports, waits))

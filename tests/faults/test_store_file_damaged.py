"""Bytes of a site's file are overwritten, as by a failing disk: the agent notices and says so."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

from deploy.local.program import log_tail
from tests.faults.cases import local_orders, state_events
from tests.integration.site_world import mes_sync

pytestmark = pytest.mark.slow

SITE = "SITE_001"
NOBODY = "nats://127.0.0.1:1"
CRITICAL = 2


@pytest.fixture
async def kept(system, tmp_path):
    """A site with writes in its outbox that were never sent, and a copy of its file."""
    edge, programs = system.world.edges[SITE], system.programs
    await programs.stop(SITE)
    programs.nats_urls[SITE] = NOBODY
    await programs.start(SITE)
    edge.write(local_orders("A1"), state_events(300))
    await system.world.eventually(lambda: edge.read("SELECT 1 FROM _sync_out"))
    await programs.stop(SITE)  # it drains what is left
    copy = tmp_path / "copy.db"
    shutil.copy(edge.path, copy)
    del programs.nats_urls[SITE]
    return system, edge, copy


def _outbox(edge) -> list[tuple]:
    return edge.read("SELECT count(*) FROM _sync_log_work_orders") + edge.read(
        "SELECT last_n - acked_n FROM _sync_site"
    )


async def test_a_damaged_outbox_is_never_sent_and_told_with_the_next_step(kept):
    system, edge, copy = kept
    (body,) = edge.read("SELECT body FROM _sync_out ORDER BY n")[0]
    damage(edge.path, edge.path.read_bytes().index(body[-60:]), 40)
    assert edge.read("PRAGMA integrity_check") == [("ok",)], "SQLite would have noticed it"
    await _agent_ends(system)
    told = mes_sync(edge.path, "status", "--json")
    reasons = {each["code"]: each for each in told.document["reasons"]}
    assert told.code == CRITICAL
    assert "what is kept of transaction 1" in reasons["MES-STORE-DAMAGED"]["message"]
    assert "copy of the file" in mes_sync(edge.path, "explain", "MES-STORE-DAMAGED").out
    await _nothing_came(system)
    await _goes_on_with(system, edge, copy)


async def test_an_overwritten_page_ends_the_agent_with_a_message_and_sends_nothing(kept):
    system, edge, copy = kept
    ((page,),) = edge.read("SELECT rootpage FROM sqlite_master WHERE name = '_sync_out'")
    ((size,),) = edge.read("PRAGMA page_size")
    damage(edge.path, (page - 1) * size, size)
    await _agent_ends(system)
    told = mes_sync(edge.path, "status", "--json")
    assert told.code == CRITICAL
    assert {each["code"] for each in told.document["reasons"]} & {
        "MES-STORE-DAMAGED", "MES-STORE-UNREADABLE",
    }  # fmt: skip
    await _nothing_came(system)
    await _goes_on_with(system, edge, copy)


def damage(path, at: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(size))


async def _agent_ends(system) -> None:
    """Start the agent on the damaged file, and wait until it ends by itself."""
    await system.programs.start(SITE)
    agent = system.programs.running[SITE]
    assert await asyncio.to_thread(agent.wait, 30) == CRITICAL
    said = log_tail(agent.program.log)
    assert "the store's file is damaged" in said
    assert "keep a copy of it" in said


async def _nothing_came(system) -> None:
    assert await system.world.central(
        "SELECT (SELECT count(*) FROM mes.work_orders), (SELECT count(*) FROM sync.refused),"
        " (SELECT count(*) FROM mes.sync_parked)"
    ) == [(0, 0, 0)]


async def _goes_on_with(system, edge, copy) -> None:
    """Put the copy in the file's place, as the message says, and see that nothing was lost."""
    for path in edge.path.parent.glob(f"{edge.path.name}-[ws]*"):
        path.unlink()
    shutil.copy(copy, edge.path)
    await system.programs.start(SITE)
    await system.world.settle()
    assert await system.world.central(
        "SELECT (SELECT count(*) FROM mes.work_orders),"
        " (SELECT count(*) FROM mes.equipment_state_events)"
    ) == [(1, 300)]

"""Comparing in a whole system, as ``mes-sync verify`` does it beside the agent."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import psycopg

from central.rolled import rebuild
from edge.compare import Order, compare
from edge.store import EdgeStore
from sync.transport import Link, LinkSettings
from tests.integration.central_world import execute

if TYPE_CHECKING:
    from edge.differences import Report
    from tests.integration.whole_world import Edge, World

PAST_THE_TRIGGERS = "SET session_replication_role = replica"


async def verify(
    edge: Edge, *tables: str, repair: bool = False, patience_s: float = 30.0
) -> Report:
    """Compare a site's store beside its agent; repair where that is asked for."""
    store = EdgeStore.look(edge.path)
    order = Order(run=str(uuid.uuid4()), tables=tables, repair=repair, patience_s=patience_s)
    link = LinkSettings(servers=(edge.nats_url,), name=f"verify {edge.site}")
    try:
        async with Link(link) as up:
            await up.wait_connected(timeout_s=10)
            return await compare(store.opened, up, order, _write)
    finally:
        store.close()


async def _write(work: Any, *given: Any) -> Any:
    return await asyncio.to_thread(work, *given)


def tampered(edge: Edge, *statements: str) -> None:
    """Change a store past its triggers, as somebody does who thinks he knows what he does."""
    with contextlib.closing(edge.program()) as program:
        program.execute("BEGIN IMMEDIATE")
        program.execute("UPDATE _sync_applying SET flag = 1")
        for statement in statements:
            assert program.execute(statement).rowcount > 0, statement
        program.execute("UPDATE _sync_applying SET flag = 0")
        program.execute("COMMIT")


async def tampered_there(world: World, *statements: str) -> None:
    """Change the centre's rows past its triggers.

    The sums of the reports are made anew, as `mes-central rollups verify --repair` does after it.
    """
    await execute(world.url, PAST_THE_TRIGGERS, *statements)
    async with await psycopg.AsyncConnection.connect(world.url, autocommit=True) as centre:
        for site in world.edges:
            await rebuild(centre, site)


def counts(report: Report) -> dict[str, tuple[int, int, int]]:
    """Different, missing and extra rows of each table that has any."""
    return {
        each.table: (each.different, each.missing, each.extra)
        for each in report.tables
        if each.differing
    }

"""What an agent holds in memory does not depend on how much it has done."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from pathlib import Path

import nats
import psycopg
import pytest

from tests.faults.cases import local_orders
from tests.integration.whole_world import whole_world

pytestmark = pytest.mark.slow

SITE = "SITE_001"
TRANSACTIONS = 100
#: A fifth of a kilobyte kept of each of the last 300 transactions would be more.
BYTES_MAX = 60_000

ROOT = Path(__file__).parents[2]
#: Who allocates for an agent or a centre. Not pytest, nor what other tests left in the process.
OURS = [
    tracemalloc.Filter(True, f"{folder}/*")
    for folder in (
        *(ROOT / name for name in ("edge", "central", "sync", "shared")),
        *(Path(library.__file__ or "").parent for library in (nats, psycopg)),
        Path(asyncio.__file__).parent,
    )
]


def ours() -> tracemalloc.Snapshot:
    gc.collect()
    return tracemalloc.take_snapshot().filter_traces(OURS)


def size(snapshot: tracemalloc.Snapshot) -> int:
    return sum(trace.size for trace in snapshot.traces)


@pytest.mark.timeout(300)
async def test_agent_and_centre_hold_no_more_after_more_transactions(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]
        edge.write(local_orders("A1"))
        held = []
        logging.disable(logging.CRITICAL)  # pytest keeps all that is logged
        tracemalloc.start()
        try:
            for turn in range(6):  # the caches fill in the first three
                for number in range(TRANSACTIONS):
                    edge.write(f"UPDATE work_orders SET notes = 'note {turn} {number}'")
                    await asyncio.sleep(0.03)  # so that they are drained one by one, or nearly
                await world.settle_counts()  # to look at all rows takes memory, too
                held.append(ours())
        finally:
            tracemalloc.stop()
            logging.disable(logging.NOTSET)
        assert edge.read("SELECT last_n FROM _sync_site")[0][0] > 2 * TRANSACTIONS
        (_, _, first, *_, last) = held
        most = last.compare_to(first, "lineno")[:12]
        assert size(last) - size(first) < BYTES_MAX, ([size(each) for each in held], most)

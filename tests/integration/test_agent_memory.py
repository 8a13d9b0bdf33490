"""What an agent holds in memory does not depend on how much it has done."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc

import pytest

from tests.faults.cases import local_orders
from tests.integration.whole_world import whole_world

pytestmark = pytest.mark.slow

SITE = "SITE_001"
TRANSACTIONS = 100
#: Half a kilobyte or a few objects kept of each transaction would be more.
BYTES_MAX = 60_000
OBJECTS_MAX = 800


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
            for turn in range(4):
                for number in range(TRANSACTIONS):
                    edge.write(f"UPDATE work_orders SET notes = 'note {turn} {number}'")
                    await asyncio.sleep(0.03)  # so that they are drained one by one, or nearly
                await world.settle_counts()  # to look at all rows takes memory, too
                gc.collect()
                held.append((tracemalloc.get_traced_memory()[0], len(gc.get_objects())))
        finally:
            tracemalloc.stop()
            logging.disable(logging.NOTSET)
        assert edge.read("SELECT last_n FROM _sync_site")[0][0] > 2 * TRANSACTIONS
        (_, (size, objects), *later) = held
        assert min(each for each, _ in later) - size < BYTES_MAX, held
        assert min(each for _, each in later) - objects < OBJECTS_MAX, held

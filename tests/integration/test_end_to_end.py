"""Both ends and the broker between them: what is written at one stands at the other."""

from __future__ import annotations

import pytest

from tests.integration.whole_world import whole_world

SITE = "SITE_001"


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        yield world


async def test_an_order_written_at_the_site_stands_at_the_centre(world):
    edge = world.edges[SITE]
    edge.write(
        "INSERT INTO work_orders (order_no, source, qty_ordered, uom)"
        " VALUES ('A1', 'LOCAL', '12.5', 'pcs')"
    )
    await world.settle()
    rows = await world.central("SELECT site_id, order_no, qty_ordered::text FROM mes.work_orders")
    assert rows == [(SITE, "A1", "12.500000")]


async def test_an_order_written_at_the_centre_stands_at_the_site(world):
    await world.central(
        "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source, qty_ordered, uom)"
        f" VALUES (uuidv7(), '{SITE}', now(), 'B1', 'ERP', 12.5, 'pcs') RETURNING 1"
    )
    await world.settle()
    rows = world.edges[SITE].read("SELECT site_id, order_no, qty_ordered FROM work_orders")
    assert rows == [(SITE, "B1", "12.5")]

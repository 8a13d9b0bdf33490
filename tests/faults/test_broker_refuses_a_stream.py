"""A stream that the broker refuses: its site has none and says so, and nobody else minds."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest

from central.picture import read_picture
from central.roles import as_role
from central.status import judge
from deploy.local.servers import NatsServer
from sync.streams import desired
from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders
from tests.integration.central_world import CATALOG
from tests.integration.whole_world import whole_world

#: Room for two of the four streams, of 256 MiB each.
STORE_BYTES_MAX = 600 << 20


@pytest.fixture
async def small_broker(tmp_path):
    with NatsServer(tmp_path / "nats", store_bytes_max=STORE_BYTES_MAX) as server:
        yield server


async def ask(nats_url: str, subject: str, order: dict | None = None) -> dict:
    async with Link(LinkSettings(servers=(nats_url,), name="operator")) as link:
        await link.wait_connected(5)
        return json.loads(
            await link.request(f"$JS.API.{subject}", json.dumps(order or {}).encode())
        )


async def reasons_of(world) -> dict[str, set[str]]:
    url = as_role(world.url, "mes_ingest")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        verdict = judge(await read_picture(connection, CATALOG, None))
    return {
        site.picture.site: {r.message for r in site.reasons if r.code == "MES-STREAMS"}
        for site in verdict.sites
    }


async def test_sites_without_a_stream_are_told_and_all_others_go_on(centre, small_broker, tmp_path):
    url = small_broker.url
    kept_in_memory = desired(["SITE_002"]).streams["UP_SITE_002"] | {
        "storage": "memory", "deny_delete": False, "max_bytes": 1 << 20,
    }  # fmt: skip
    del kept_in_memory["compression"]
    assert "error" not in await ask(url, "STREAM.CREATE.UP_SITE_002", kept_in_memory)
    async with whole_world(centre, url, tmp_path, ("SITE_001",)) as world:
        await world.settle()
        world.edges["SITE_001"].write(local_orders("A1"))
        await world.settle()
        reasons = await world.eventually(lambda: told(world, 2))
        assert any("max_file" in reason for reason in reasons["SITE_003"])
        assert any("storage" in str(r) or "Delete it" in r for r in reasons["SITE_002"])
        assert not reasons["SITE_001"]

        # What needs no person goes on: the feed, and forgetting what was applied.
        for number in range(4):
            world.edges["SITE_001"].write(local_orders(f"B{number}"))
            await world.settle(30)
        await world.eventually(lambda: messages_of(url, "UP_SITE_001", 1), timeout_s=15)

        # A person mends one of them: the reason goes.
        assert "error" not in await ask(url, "STREAM.DELETE.UP_SITE_002")
        await world.eventually(lambda: mended_in_its_place(world), timeout_s=15)


async def told(world, count: int) -> dict[str, set[str]] | None:
    reasons = await reasons_of(world)
    return reasons if sum(map(bool, reasons.values())) == count else None


async def messages_of(url: str, stream: str, count: int) -> bool:
    await asyncio.sleep(0.2)
    return (await ask(url, f"STREAM.INFO.{stream}"))["state"]["messages"] == count


async def mended_in_its_place(world) -> bool:
    """Tell whether the site is refused for want of room now, as the other one is."""
    return any("max_file" in reason for reason in (await reasons_of(world))["SITE_002"])

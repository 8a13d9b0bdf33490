"""Half of a transaction has come when the ingest or the broker is killed: the rest completes it."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from types import SimpleNamespace

import pytest

from sync import codec
from sync.transport import Link, LinkSettings
from tests.faults.conftest import ingesting
from tests.faults.processes import run_ingest
from tests.integration.apply_world import Site
from tests.integration.central_world import CATALOG
from tests.integration.test_central_facts_large import parts_of

#: A site without an agent: the test sends for it.
SITE = "SITE_002"


def in_parts(count: int) -> list[bytes]:
    site = Site(SimpleNamespace(catalog=CATALOG), SITE)
    blocks = [site.insert("job_responses", site.report(id=str(uuid.uuid4()))) for _ in range(count)]
    for block in blocks:
        block.at = block.base = block.after = []
    return [codec.encode_part(part) for part in parts_of(site, blocks)]


async def publish(fed, *messages: bytes, after: int) -> None:
    async with Link(LinkSettings(servers=(fed.nats_url,), name="site")) as link:
        await link.wait_connected(10)
        await link.publish_batch(
            f"up.{SITE}.tx", list(messages), expected_last=after, over=f"up.{SITE}.>"
        )


async def says_hello(fed) -> None:
    """Note that the centre has heard the site: it takes nothing from one that it has not."""
    await fed.central("INSERT INTO sync.verified (site) VALUES (%s) RETURNING site", SITE)


async def is_delivered(fed, count: int) -> bool:
    """Tell whether so many messages are in the hands of an ingest, and none are acked."""
    async with Link(LinkSettings(servers=(fed.nats_url,), name="look")) as link:
        await link.wait_connected(10)
        answer = json.loads(await link.request(f"$JS.API.CONSUMER.INFO.UP_{SITE}.apply", b""))
    return (answer["num_ack_pending"], answer["num_pending"]) == (count, 0)


async def counts(fed) -> tuple[int, int]:
    ((applied, spooled),) = await fed.central(
        "SELECT (SELECT count(*) FROM mes.job_responses), (SELECT count(*) FROM sync.part)"
    )
    return applied, spooled


async def is_whole(fed) -> bool:
    assert (await counts(fed))[0] in (0, 3), "a transaction is seen whole or not at all"
    return (await counts(fed))[0] == 3


@pytest.mark.slow
async def test_an_ingest_killed_with_a_beginning_leaves_it_to_the_next_one(fed):
    first, second, third = in_parts(3)
    await says_hello(fed)
    ingest = await run_ingest(fed.url, fed.nats_url)
    await publish(fed, first, second, after=0)
    await fed.eventually(lambda: is_delivered(fed, 2), timeout_s=30)
    assert await counts(fed) == (0, 0)
    ingest.send_signal(signal.SIGKILL)
    await ingest.wait()
    async with ingesting(fed.url, fed.nats_url):
        await publish(fed, third, after=2)
        await fed.eventually(lambda: is_whole(fed), timeout_s=60)
    assert await counts(fed) == (3, 0)


async def test_a_beginning_outlives_its_broker_and_leaves_no_part_behind(fed, nats_server):
    first, second, third = in_parts(3)
    await says_hello(fed)
    async with ingesting(fed.url, fed.nats_url):
        await publish(fed, first, second, after=0)
        await fed.eventually(lambda: is_delivered(fed, 2), timeout_s=30)
        await asyncio.to_thread(nats_server.kill)
        await asyncio.to_thread(nats_server.start)
        await publish(fed, third, after=2)
        await fed.eventually(lambda: is_whole(fed), timeout_s=60)
        await fed.eventually(lambda: is_delivered(fed, 0), timeout_s=60)
    assert await counts(fed) == (3, 0)

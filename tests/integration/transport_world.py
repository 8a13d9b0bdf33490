"""A plain broker, a link to it and a site's stream, for the tests of the transport."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.servers import NatsServer
from shared.errors import NoResponder
from sync.streams import StreamLimits, desired, provision
from sync.transport import Delivery, Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.nats

LIMITS = StreamLimits(up_bytes_max=16 << 20, down_bytes_max=16 << 20, ack_wait_s=1)
#: For tests of what a pull holds meanwhile: nothing is handed over once more.
PATIENT = StreamLimits(up_bytes_max=32 << 20, down_bytes_max=16 << 20, ack_wait_s=30)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def link(broker: NatsServer) -> AsyncIterator[Link]:
    async with Link(LinkSettings(servers=(broker.url,), name="test")) as link:
        await link.wait_connected(5)
        yield link


@pytest.fixture
async def site(link: Link) -> str:
    return await new_site(link)


async def new_site(link: Link, limits: StreamLimits = LIMITS) -> str:
    """Make the streams of a site that nobody else uses, and return its name."""
    site = f"S{next(NUMBERS)}"
    await provision(link, desired([site], limits=limits))
    return site


async def store(link: Link, site: str, *payloads: bytes, expected_last: int = 0) -> int:
    return await link.publish_batch(
        f"up.{site}.o", payloads, expected_last=expected_last, over=f"up.{site}.>"
    )


async def state(link: Link, site: str) -> dict[str, Any]:
    answer = await link.request(f"$JS.API.STREAM.INFO.UP_{site}", b"")
    found: dict[str, Any] = json.loads(answer)["state"]
    return found


async def first(link: Link, site: str, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    pulled = link.pull(f"UP_{site}", "apply")
    async with asyncio.timeout(10):
        async for deliveries in pulled:
            taken += deliveries
            if len(taken) >= count:
                break
    await pulled.aclose()
    return taken


async def served(link: Link, subject: str) -> None:
    """Return when somebody answers on the subject."""
    async with asyncio.timeout(5):
        while True:
            try:
                await link.request(subject, b"")
            except NoResponder:
                await asyncio.sleep(0.01)
            else:
                return


async def settled(link: Link, site: str) -> int:
    """Return up to which message all are acked, when none is pending any more."""
    async with asyncio.timeout(5):
        while True:
            answer = await link.request(f"$JS.API.CONSUMER.INFO.UP_{site}.apply", b"")
            durable = json.loads(answer)
            if durable["num_ack_pending"] == 0:
                return int(durable["ack_floor"]["stream_seq"])
            await asyncio.sleep(0.02)


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

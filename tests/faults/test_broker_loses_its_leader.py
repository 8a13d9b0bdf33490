"""Three servers, streams with three replicas: the leader of a stream is killed while we publish."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.servers import NatsCluster, NatsServer
from shared.errors import Transient, WrongLastSequence
from sync.streams import StreamLimits, desired, provision
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = [pytest.mark.nats, pytest.mark.slow]

LIMITS = StreamLimits(up_bytes_max=64 << 20, down_bytes_max=16 << 20, ack_wait_s=2)
WANTED = desired(["ROT"], replicas=3, limits=LIMITS)
OVER = "up.ROT.>"


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def settings(cluster: NatsCluster, name: str) -> LinkSettings:
    return LinkSettings(
        servers=tuple(cluster.url.split(",")),
        name=name,
        reconnect_spread_s=0.1,
        reconnect_wait_max_s=0.5,
    )


async def patiently(action: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while True:
            try:
                return await action()
            except Transient:
                await asyncio.sleep(0.1)


class Sender:
    """Publishes numbered messages in batches of 20, and repeats a batch whose fate is unknown."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.acked: list[bytes] = []
        self.torn: list[str] = []

    async def run(self) -> None:
        last = 0
        while True:
            batch = [b"%d" % (len(self.acked) + part) for part in range(20)]
            try:
                last = await self.link.publish_batch(
                    "up.ROT.o", batch, expected_last=last, over=OVER
                )
            except WrongLastSequence as wrong:
                if wrong.actual != last + 20:
                    self.torn.append(f"{wrong.actual} after {last}")
                last = wrong.actual
            except Transient:
                await asyncio.sleep(0.05)
                continue
            self.acked.extend(batch)


async def take(link: Link, got: dict[int, bytes]) -> None:
    async for deliveries in link.pull("UP_ROT", "apply"):
        got.update({delivery.stream_seq: delivery.payload for delivery in deliveries})
        await link.ack(deliveries)


async def until(condition: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def leader(link: Link, cluster: NatsCluster) -> NatsServer:
    answer = json.loads(await link.request("$JS.API.STREAM.INFO.UP_ROT", b""))
    return next(each for each in cluster.servers if each.name == answer["cluster"]["leader"])


async def test_publishing_and_pulling_go_on_and_nothing_acknowledged_is_lost(cluster):
    got: dict[int, bytes] = {}
    async with (
        Link(settings(cluster, "ROT")) as edge,
        Link(settings(cluster, "centre")) as centre,
    ):
        await edge.wait_connected(5)
        await centre.wait_connected(5)
        await patiently(lambda: provision(centre, WANTED))
        assert await patiently(lambda: provision(centre, WANTED)) == []
        sender = Sender(edge)
        sending = asyncio.create_task(sender.run())
        taking = asyncio.create_task(take(centre, got))
        await until(lambda: len(sender.acked) > 500, within_s=20)
        await asyncio.to_thread((await leader(centre, cluster)).kill)
        before = len(sender.acked)
        await until(lambda: len(sender.acked) > before + 500, within_s=30)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await until(lambda: len(got) >= len(sender.acked), within_s=20)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
    assert sender.torn == []
    assert [got[sequence] for sequence in sorted(got)][: len(sender.acked)] == sender.acked

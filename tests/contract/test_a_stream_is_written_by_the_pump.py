"""What the pump relies on when it publishes: of the fake stream, and of a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from shared.errors import BrokerUnreachable, WrongLastSequence
from sync.streams import StreamLimits, desired, provision
from sync.transport import Link, LinkSettings
from tests.contract.fakes import FakeStream
from tests.faults.tap import Tap, publish_ack_to_a_site

SUBJECT, OVER = "up.ROT.tx", "up.ROT.>"
WANTED = desired(["ROT"], limits=StreamLimits(up_bytes_max=16 << 20, down_bytes_max=16 << 20))


class Fake:
    """The stream that the unit tests of the pump write to."""

    def __init__(self) -> None:
        self.stream = FakeStream()

    async def stored(self) -> int:
        return len(self.stream.messages)

    async def publish_unheard(self, payloads, *, expected_last) -> None:
        self.stream.lose_acks = 1
        with pytest.raises(BrokerUnreachable):
            await publish(self.stream, payloads, expected_last)

    async def wipe(self) -> None:
        self.stream.messages.clear()


class Real:
    """A stream of nats-server, behind a tap that may swallow an ack."""

    def __init__(self, link: Link, vandal: Link, tap: Tap) -> None:
        self.stream, self._vandal, self._tap = link, vandal, tap

    async def stored(self) -> int:
        answer = json.loads(await self._vandal.request("$JS.API.STREAM.INFO.UP_ROT", b""))
        return answer["state"]["messages"]

    async def publish_unheard(self, payloads, *, expected_last) -> None:
        self._tap.arm()
        publishing = asyncio.create_task(publish(self.stream, payloads, expected_last))
        await self._tap.caught()
        self._tap.cut()
        with pytest.raises(BrokerUnreachable):
            await publishing
        await self.stream.wait_connected(5)

    async def wipe(self) -> None:
        await self._vandal.request("$JS.API.STREAM.DELETE.UP_ROT", b"")
        await provision(self._vandal, WANTED)


@contextlib.asynccontextmanager
async def real(url: str):
    async with (
        Link(LinkSettings(servers=(url,), name="vandal")) as vandal,
        Tap(url, publish_ack_to_a_site) as tap,
        Link(LinkSettings(servers=(tap.url,), name="ROT", reconnect_spread_s=0.05)) as link,
    ):
        await vandal.wait_connected(5)
        await link.wait_connected(5)
        await provision(vandal, WANTED)
        yield Real(link, vandal, tap)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.nats)])
async def broker(request):
    if request.param == "fake":
        yield Fake()
        return
    server = request.getfixturevalue("nats_server")
    async with real(server.url) as broker:
        yield broker


async def publish(stream, payloads, expected_last: int) -> int:
    return await stream.publish_batch(SUBJECT, payloads, expected_last=expected_last, over=OVER)


async def test_a_batch_is_stored_behind_the_last_and_told_by_its_own_last(broker):
    assert await publish(broker.stream, [b"1"], 0) == 1
    assert await publish(broker.stream, [b"2", b"3", b"4"], 1) == 4
    assert await broker.stored() == 4


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_a_batch_behind_another_last_is_refused_whole_with_the_right_one(broker, expected):
    await publish(broker.stream, [b"1", b"2"], 0)
    with pytest.raises(WrongLastSequence) as wrong:
        await publish(broker.stream, [b"3", b"4"], expected)
    assert wrong.value.actual == 2
    assert await broker.stored() == 2


async def test_a_batch_whose_ack_was_lost_is_told_by_a_last_that_is_further(broker):
    await broker.publish_unheard([b"1", b"2"], expected_last=0)
    with pytest.raises(WrongLastSequence) as wrong:
        await publish(broker.stream, [b"1", b"2"], 0)
    assert wrong.value.actual == 2
    assert await publish(broker.stream, [b"1", b"2"], 2) == 4


async def test_a_stream_that_lost_all_is_told_by_a_last_that_is_behind(broker):
    await publish(broker.stream, [b"1", b"2"], 0)
    await broker.wipe()
    with pytest.raises(WrongLastSequence) as wrong:
        await publish(broker.stream, [b"3"], 2)
    assert wrong.value.actual == 0
    assert await publish(broker.stream, [b"3"], 0) == 1


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_of_none_or_of_more_than_a_thousand_is_a_mistake(broker, count):
    with pytest.raises(ValueError, match=str(count)):
        await publish(broker.stream, [b"x"] * count, 0)
    assert await broker.stored() == 0

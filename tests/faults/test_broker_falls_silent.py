"""The connection still looks open, but nothing comes any more, or very slowly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

import pytest

from shared.errors import BrokerUnreachable, Transient, WrongLastSequence
from sync.streams import StreamLimits, desired, provision
from sync.transport import Link, LinkSettings

pytestmark = pytest.mark.slow

LIMITS = StreamLimits(up_bytes_max=256 << 20, down_bytes_max=16 << 20)
SILENCE_MAX_S = 1.5
OVER = "up.ROT.>"


def settings(url: str, name: str = "ROT") -> LinkSettings:
    return LinkSettings(
        servers=(url,),
        name=name,
        ping_every_s=0.3,
        silence_max_s=SILENCE_MAX_S,
        connect_timeout_s=0.5,
        reconnect_spread_s=0.1,
        reconnect_wait_max_s=0.5,
    )


class Wire:
    """A TCP relay that can stop reading, or carry only so many bytes a second."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._running: set[asyncio.Task[None]] = set()
        self.frozen = False
        self.bytes_per_s: int | None = None

    async def __aenter__(self) -> Self:
        # Small buffers: what a wire has taken is under way on it, and not stored somewhere.
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        listening.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=1 << 13)
        port = listening.getsockname()[1]
        self.url = f"nats://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        there, back = await asyncio.open_connection(self._there.hostname, self._there.port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        for end in (writer, back):
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            while self.frozen:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            block = await reader.read(4096 if self.bytes_per_s else 65536)
            if not block:
                raise ConnectionResetError
            writer.write(block)
            await writer.drain()
            if self.bytes_per_s:
                await asyncio.sleep(len(block) / self.bytes_per_s)


async def lost(link: Link, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while link.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_stopped_server_is_noticed_and_the_link_works_again_when_it_goes_on(nats_server):
    async with Link(settings(nats_server.url)) as link:
        await link.wait_connected(5)
        await provision(link, desired(["ROT"], limits=LIMITS))
        nats_server.running.signal(signal.SIGSTOP)
        try:
            await lost(link, within_s=SILENCE_MAX_S + 3)
            assert "no sign of life" in link.last_error
        finally:
            nats_server.running.signal(signal.SIGCONT)
        await link.wait_connected(5)
        assert await link.publish_batch("up.ROT.o", [b"x"], expected_last=0, over=OVER) == 1


async def test_a_stopped_server_is_noticed_while_small_messages_still_leave_us(nats_server):
    async with Link(settings(nats_server.url)) as link:
        await link.wait_connected(5)

        async def talk() -> None:
            while True:
                with contextlib.suppress(BrokerUnreachable):
                    await link.publish("pres.ROT", b"here")
                await asyncio.sleep(0.05)

        talking = asyncio.create_task(talk())
        nats_server.running.signal(signal.SIGSTOP)
        try:
            await lost(link, within_s=SILENCE_MAX_S + 3)
        finally:
            nats_server.running.signal(signal.SIGCONT)
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)


async def test_a_half_open_connection_with_full_buffers_is_replaced(nats_server):
    async with Wire(nats_server.url) as wire, Link(settings(wire.url)) as link:
        await link.wait_connected(5)
        await provision(link, desired(["ROT"], limits=LIMITS))
        wire.frozen = True
        sending = asyncio.create_task(
            link.publish_batch("up.ROT.o", [bytes(500_000)] * 40, expected_last=0, over=OVER)
        )
        await lost(link, within_s=SILENCE_MAX_S + 4)
        with pytest.raises(BrokerUnreachable):
            await asyncio.wait_for(sending, 1)
        wire.frozen = False
        await link.wait_connected(5)
        await stored(link, [b"after"])


async def stored(link: Link, payloads: list[bytes]) -> int:
    """Publish behind whatever the stream holds."""
    last = 0
    async with asyncio.timeout(20):
        while True:
            try:
                return await link.publish_batch("up.ROT.o", payloads, expected_last=last, over=OVER)
            except WrongLastSequence as wrong:
                last = wrong.actual
            except Transient:
                await asyncio.sleep(0.05)


async def test_a_slow_link_is_not_taken_for_a_dead_one_in_either_direction(nats_server):
    block = random.Random(1).randbytes(400_000)  # at this speed longer on its way than the silence
    async with Wire(nats_server.url) as wire, Link(settings(wire.url)) as link:
        await link.wait_connected(5)
        await provision(link, desired(["ROT"], limits=LIMITS))
        wire.bytes_per_s = 150_000
        clock = asyncio.get_running_loop().time
        started = clock()
        assert await link.publish_batch("up.ROT.o", [block], expected_last=0, over=OVER) == 1
        assert clock() - started > 1.5 * SILENCE_MAX_S
        pulled = link.pull("UP_ROT", "apply")
        (delivery,) = await asyncio.wait_for(anext(pulled), 20)
        await pulled.aclose()
        assert delivery.payload == block
        assert link.disconnects == 0, link.last_error


async def test_over_a_slow_link_nothing_comes_twice_because_acks_take_their_time(nats_server):
    limits = replace(LIMITS, ack_wait_s=3)
    blocks = [random.Random(n).randbytes(20_000) for n in range(40)]  # 5 s at this speed
    async with (
        Link(settings(nats_server.url, "centre")) as centre,
        Wire(nats_server.url) as wire,
        Link(settings(wire.url)) as link,
    ):
        await centre.wait_connected(5)
        await provision(centre, desired(["ROT"], limits=limits))
        await centre.publish_batch("down.ROT", blocks, expected_last=0, over="down.ROT")
        await link.wait_connected(5)
        wire.bytes_per_s = 150_000
        got = []
        async with asyncio.timeout(20):
            async for deliveries in link.pull("DOWN", "site-ROT"):
                got += deliveries
                await link.ack(deliveries)
                if len(got) >= len(blocks):
                    break
        durable = json.loads(await centre.request("$JS.API.CONSUMER.INFO.DOWN.site-ROT", b""))
    assert [delivery.payload for delivery in got] == blocks
    assert durable["delivered"]["consumer_seq"] == len(blocks), "the broker sent some again"


async def test_a_link_that_is_closed_towards_a_dead_end_is_closed_in_seconds(nats_server):
    async with Wire(nats_server.url) as wire:
        link = Link(settings(wire.url))
        await link.__aenter__()
        await link.wait_connected(5)
        wire.frozen = True
        sending = asyncio.create_task(
            link.publish_batch("up.ROT.o", [bytes(900_000)] * 20, expected_last=0, over=OVER)
        )
        await asyncio.sleep(0.2)
        async with asyncio.timeout(6):
            await link.__aexit__(None, None, None)
        await asyncio.gather(sending, return_exceptions=True)

"""The broker is killed with `kill -9` while batches are under way, and comes back.

The link comes back by itself, nothing that was acknowledged is lost, no batch is stored in part,
and the sequence tells the sender whether the batch it does not know of was stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from shared.errors import BrokerUnreachable, NoResponder, Transient, WrongLastSequence
from sync.streams import StreamLimits, desired, provision
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.servers import NatsServer

pytestmark = pytest.mark.slow

LIMITS = StreamLimits(up_bytes_max=256 << 20, down_bytes_max=16 << 20, ack_wait_s=2)
WANTED = desired(["ROT"], limits=LIMITS)
BATCH = 40
OVER = "up.ROT.>"
END = b"end"


def settings(server: NatsServer, name: str = "ROT") -> LinkSettings:
    return LinkSettings(
        servers=(server.url,), name=name, reconnect_spread_s=0.1, reconnect_wait_max_s=0.5
    )


class Sender:
    """Publishes numbered batches one after the other, and repeats one whose fate is unknown."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.acked = 0
        self.torn: list[str] = []
        self._last = 0

    async def run(self) -> None:
        while True:
            number = self.acked
            payloads = [b"%d/%d" % (number, part) + bytes(2000) for part in range(BATCH)]
            try:
                self._last = await self.link.publish_batch(
                    "up.ROT.o", payloads, expected_last=self._last, over=OVER
                )
            except WrongLastSequence as wrong:
                if wrong.actual != self._last + BATCH:
                    self.torn.append(f"{wrong.actual} after {self._last}")
                self._last = wrong.actual
            except Transient:
                await asyncio.sleep(0.02)
                continue
            self.acked += 1

    async def end(self) -> None:
        """Send a last message; a batch of which we did not hear is stored before it, or never."""
        try:
            await self.link.publish_batch("up.ROT.o", [END], expected_last=self._last, over=OVER)
        except WrongLastSequence as wrong:
            await self.link.publish_batch("up.ROT.o", [END], expected_last=wrong.actual, over=OVER)


async def everything(link: Link) -> list[bytes]:
    """Return all that the stream holds but the end of it."""
    answer = json.loads(await link.request("$JS.API.STREAM.INFO.UP_ROT", b""))
    wanted, got = answer["state"]["messages"], {}
    async with asyncio.timeout(20):
        async for deliveries in link.pull("UP_ROT", "apply", batch_max=500):
            got |= {d.stream_seq: d.payload.rstrip(b"\0") for d in deliveries}
            await link.ack(deliveries)
            if len(got) >= wanted:
                break
    *all_of, end = (got[sequence] for sequence in sorted(got))
    assert end == END
    return all_of


async def restarted(server: NatsServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_the_link_comes_back_and_no_acknowledged_batch_is_lost_or_torn(nats_server):
    async with Link(settings(nats_server)) as link:
        await link.wait_connected(5)
        await provision(link, WANTED)
        sender = Sender(link)
        sending = asyncio.create_task(sender.run())
        for round_ in range(4):
            await asyncio.sleep(0.3 + 0.07 * round_)
            await restarted(nats_server)
            before = sender.acked
            async with asyncio.timeout(10):
                while sender.acked < before + 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert sender.torn == []
        await sender.end()
        got = await everything(link)
        assert link.disconnects == 4
    sent = [b"%d/%d" % (number, part) for number in range(sender.acked) for part in range(BATCH)]
    assert got[: len(sent)] == sent
    assert len(got) in {len(sent), len(sent) + BATCH}  # the last may have been stored unheard


async def told(
    link: Link, heard: AsyncIterator[tuple[str, bytes]], payload: bytes
) -> tuple[str, bytes]:
    """Say something until it is heard: what nobody listens to yet is gone. Pass over older ones."""
    async with asyncio.timeout(5):
        listening = asyncio.ensure_future(first(heard, payload))
        while not listening.done():
            await link.publish("cmd.ROT.rewind", payload)
            await asyncio.wait({listening}, timeout=0.05)
    return await listening


async def first(heard: AsyncIterator[tuple[str, bytes]], payload: bytes) -> tuple[str, bytes]:
    """Return the next that is not one said again of an earlier turn."""
    async for subject, said in heard:
        if int(said) >= int(payload):
            return subject, said
    raise AssertionError("it hears no more")


async def test_who_pulls_serves_and_listens_goes_on_after_the_restart(nats_server):
    async def answer(subject: str, question: bytes) -> bytes:
        return b"yes"

    async with Link(settings(nats_server)) as edge, Link(settings(nats_server, "c")) as centre:
        await centre.wait_connected(5)
        await edge.wait_connected(5)
        await provision(centre, WANTED)
        serving = asyncio.create_task(centre.serve("ctl.*.*", answer, queue="control"))
        pulled, heard = centre.pull("UP_ROT", "apply"), edge.listen("cmd.ROT.>")
        last = 0
        for turn in range(3):
            last = await edge.publish_batch("up.ROT.o", [b"x"], expected_last=last, over=OVER)
            deliveries = await asyncio.wait_for(anext(pulled), 5)
            assert last in {delivery.stream_seq for delivery in deliveries}
            await centre.ack(deliveries)
            assert await told(centre, heard, b"%d" % turn) == ("cmd.ROT.rewind", b"%d" % turn)
            assert await edge.request("ctl.ROT.hello", b"") == b"yes"
            if turn < 2:
                await restarted(nats_server)
                await edge.wait_connected(5)
                await centre.wait_connected(5)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_while_the_broker_is_away_publishing_fails_at_once_instead_of_filling_a_buffer(
    nats_server,
):
    async with Link(settings(nats_server)) as link:
        await link.wait_connected(5)
        await provision(link, WANTED)
        nats_server.kill()
        async with asyncio.timeout(5):
            while link.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # Without a word to the broker, so that it takes not even a turn of the event loop.
        for publishing in (
            link.publish_batch("up.ROT.o", [b"x"] * 100, expected_last=0, over=OVER),
            link.publish("pres.ROT", b"x"),
        ):
            with pytest.raises(BrokerUnreachable):
                publishing.send(None)
        nats_server.start()
        await link.wait_connected(5)
        answer = json.loads(await link.request("$JS.API.STREAM.INFO.UP_ROT", b""))
        assert answer["state"]["messages"] == 0


async def answered(link: Link) -> bytes:
    """Ask until there is somebody to answer, and return the answer."""
    while True:
        with contextlib.suppress(NoResponder):
            return await link.request("ctl.ROT.hello", b"", timeout_s=30)
        await asyncio.sleep(0.02)


async def test_a_question_under_way_fails_when_the_broker_goes_not_when_its_time_is_up(nats_server):
    asked = asyncio.Event()

    async def never(subject: str, question: bytes) -> bytes:
        asked.set()
        await asyncio.sleep(60)
        return b""

    async with Link(settings(nats_server)) as link:
        await link.wait_connected(5)
        serving = asyncio.create_task(link.serve("ctl.ROT.*", never, queue="q"))
        asking = asyncio.create_task(answered(link))
        await asyncio.wait_for(asked.wait(), 5)
        nats_server.kill()
        with pytest.raises((BrokerUnreachable, NoResponder)):
            await asyncio.wait_for(asking, 2)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

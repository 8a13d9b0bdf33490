"""A line that takes long for what is on it is not a dead one, and a dead end is not a slow line."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from shared.errors import BrokerUnreachable, NoResponder
from sync.transport import Link, LinkSettings
from tests.faults.wire import Wire
from tests.integration.transport_world import broker, cancelled, link, served  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.servers import NatsServer

pytestmark = pytest.mark.nats

BYTES_PER_S = 100_000
#: What one answer of the centre holds at most, about.
PIECE = 600_000
PATIENCE_S = 2.0


@pytest.fixture
async def slow(broker):
    async with slow_line(broker) as link:
        yield link


@asynccontextmanager
async def slow_line(broker: NatsServer) -> AsyncIterator[Link]:
    """Give a link over a line on which each of these messages takes six seconds."""
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(Wire(broker.url))
        settings = LinkSettings(servers=(wire.url,), name="slow")
        link = await stack.enter_async_context(Link(settings))
        await link.wait_connected(5)
        for way in (wire.up, wire.down):
            way.bytes_per_s = BYTES_PER_S
        yield link


async def test_an_answer_that_takes_longer_on_the_line_than_one_waits_for_silence_comes(link, slow):
    async def answer(subject: str, question: bytes) -> bytes:
        return bytes(PIECE) if question else b""

    serving = asyncio.create_task(link.serve("ctl.LARGE.*", answer, queue="control"))
    await served(link, "ctl.LARGE.x")
    started = time.monotonic()
    assert len(await slow.request("ctl.LARGE.x", b"all", timeout_s=PATIENCE_S)) == PIECE
    assert time.monotonic() - started > 2 * PATIENCE_S, "the window was not hit"
    await cancelled(serving)


async def test_a_question_waits_its_turn_behind_what_was_published_before_it(link, slow):
    async def answer(subject: str, question: bytes) -> bytes:
        return question

    serving = asyncio.create_task(link.serve("ctl.BEHIND.*", answer, queue="control"))
    await served(link, "ctl.BEHIND.x")
    await slow.publish("beat.BEHIND", bytes(PIECE))
    started = time.monotonic()
    assert await slow.request("ctl.BEHIND.x", b"?", timeout_s=PATIENCE_S) == b"?"
    assert time.monotonic() - started > 2 * PATIENCE_S, "the window was not hit"
    await cancelled(serving)


@pytest.mark.parametrize("size", [1_000, 60_000])
async def test_an_end_that_died_is_given_up_in_time_however_full_of_messages_the_line_is(
    link, slow, size
):
    async def chatter() -> None:
        while True:
            await link.publish("cmd.CHATTER.x", bytes(size))
            await asyncio.sleep(size / BYTES_PER_S)

    async def listen() -> None:
        async for _ in slow.listen("cmd.CHATTER.>"):
            pass

    tasks = [
        asyncio.create_task(each)
        for each in (link.serve("ctl.DEAD.*", never, queue="control"), listen(), chatter())
    ]
    await served(link, "ctl.DEAD.x")
    started = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="no answer"):
        await slow.request("ctl.DEAD.x", b"?", timeout_s=PATIENCE_S)
    assert time.monotonic() - started < 5 * PATIENCE_S
    for task in tasks:
        await cancelled(task)


async def never(subject: str, question: bytes) -> bytes:
    await asyncio.sleep(60 if question else 0)
    return b""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_who_stops_refuses_what_was_asked_though_the_line_takes_long_and_keeps_the_line(
    link, slow, pieces
):
    """Longer than the one who stops waits; and longer than the ten seconds of the client's own."""
    serving = asyncio.create_task(slow.serve("ctl.STOPS.*", never, queue="q", concurrency_max=1))
    await served(link, "ctl.STOPS.x")

    def asked() -> asyncio.Task[bytes]:
        return asyncio.create_task(link.request("ctl.STOPS.hello", b"?", timeout_s=30))

    asking = [asked() for _ in range(5)]
    await asyncio.sleep(0.2)  # one is under way, and the others wait
    for _ in range(pieces):
        await slow.publish("somewhere", bytes(PIECE))
    started = time.monotonic()
    await cancelled(serving)
    assert time.monotonic() - started < 2 * PATIENCE_S, "one who is told to stop stops"
    asking += [asked() for _ in range(5)]  # the broker does not know yet that nobody answers
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert time.monotonic() - started > 2 * PATIENCE_S * pieces, "the window was not hit"
    assert all(isinstance(each, NoResponder) for each in answers), answers
    with pytest.raises(NoResponder, match="nobody answers"):
        await link.request("ctl.STOPS.hello", b"?", timeout_s=PATIENCE_S)
    assert slow.disconnects == 0


async def test_nothing_of_one_who_stopped_outlives_its_connection(link, broker):
    before = asyncio.all_tasks()
    async with slow_line(broker) as slow:
        serving = asyncio.create_task(slow.serve("ctl.ENDS.*", never, queue="q"))
        await served(link, "ctl.ENDS.x")
        await slow.publish("somewhere", bytes(PIECE))
        await cancelled(serving)
    await asyncio.sleep(0.1)
    assert {each for each in asyncio.all_tasks() - before if "drain" in repr(each)} == set()

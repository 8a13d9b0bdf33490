"""A line that takes long for what is on it is not a dead one, and a dead end is not a slow line."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from shared.errors import BrokerUnreachable
from sync.transport import Link, LinkSettings
from tests.faults.wire import Wire
from tests.integration.transport_world import broker, cancelled, link, served  # noqa: F401

pytestmark = pytest.mark.nats

BYTES_PER_S = 100_000
#: What one answer of the centre holds at most, about.
PIECE = 600_000
PATIENCE_S = 2.0


@pytest.fixture
async def slow(broker):
    """A link over a line on which each of these messages takes six seconds."""
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
    async def never(subject: str, question: bytes) -> bytes:
        await asyncio.sleep(60 if question else 0)
        return b""

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

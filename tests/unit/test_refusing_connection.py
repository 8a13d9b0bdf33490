"""A connection that refuses at once, and is not known to be lost yet, stands in nobody's way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import BrokerUnreachable
from sync.nats_pace import Pace
from sync.nats_pull import Inbox, PullSettings, pull
from sync.nats_serve import Responder, listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Closed:
    """A session whose connection was closed: whoever hears of it has to have a turn."""

    def __init__(self) -> None:
        self.nc = SimpleNamespace(new_inbox=lambda: "inbox")
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked = 0

    async def subscribe(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        if self.asked > 1000:
            raise AssertionError("nobody else had a turn")
        raise BrokerUnreachable("connection closed")


async def until_lost(session: Closed) -> AsyncIterator[Any]:
    while not session.lost.done():
        yield session


async def answer(_: str, __: bytes) -> bytes:
    raise AssertionError


async def settle(_: str, __: bytes) -> None:
    raise AssertionError


@pytest.mark.timeout(20)
@pytest.mark.parametrize("who", ["a responder", "a listener", "a pull"])
async def test_it_is_heard_that_a_connection_is_lost_while_it_refuses(who):
    session = Closed()
    asyncio.get_running_loop().call_later(0.01, session.lost.set_result, None)
    if who == "a responder":
        await Responder("ctl.*.*", answer, "q", 1).run(until_lost(session))
    elif who == "a pull":
        settings = PullSettings("$JS.API", "UP_ROT", "apply", 256, 1 << 20)
        inbox = Inbox(settings, Pace(None), settle)
        assert [pulled async for pulled in pull(until_lost(session), settings, inbox)] == []
    else:
        assert [heard async for heard in listen(until_lost(session), "ctl.now")] == []
    assert session.asked < 10

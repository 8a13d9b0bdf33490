"""What a site still held in hand of a centre's answers when that centre went back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.errors import ForkedHistory
from sync import codec
from tests.sim.story import Story, lab, play

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]
HOUR_MS = 3_600_000


@dataclass
class SlowLine:
    """Answers of one kind arrive when they are let go; the first of them was given at once."""

    s: Story
    verb: str
    #: Only answers that hold this are slow.
    table: str = ""
    given: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    #: Done while a question of a site is under way that tells its highest order.
    amid_hello: Any = None

    def __post_init__(self) -> None:
        """Stand between the site and the centre."""
        self._one, self._request = asyncio.Lock(), self.s.world.broker.request
        self.s.world.broker.request = self.request  # type: ignore[method-assign]

    async def request(self, subject: str, payload: bytes, timeout_s: float = 10.0) -> bytes:
        verb = subject.rpartition(".")[2]
        if verb == "hello" and codec.decode_control(payload)["max_order"] is not None:
            await (self.amid_hello or _nothing)()
        if verb != self.verb or self.go.is_set():
            return await self._request(subject, payload, timeout_s)
        async with self._one:
            if self.given.is_set():  # what is asked for later is answered by the centre of then
                await self.go.wait()
            answer = await self._request(subject, payload, timeout_s)
            if not self.given.is_set() and self._is_slow(answer):
                self.given.set()
        if self.given.is_set():
            await self.go.wait()
        return answer

    def _is_slow(self, answer: bytes) -> bool:
        piece = codec.decode_control(answer).get("piece")
        return not self.table or (
            piece is not None and self.table in {each.table for each in codec.decode_chunk(piece)}
        )


async def _nothing() -> None:
    """Do nothing."""


async def load_from_a_centre_that_is_lost(s: Story, line: SlowLine) -> asyncio.Task[None]:
    """Have a site load a snapshot whose rows the centre had beyond its backup, on a slow line."""
    s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
    s.order(1, note="held")
    await s.back_up()
    for k in range(12):
        await s.plan(1, note=f"lost {k}")  # the site hears of none
    await s.step("sequence")
    s.site().store.want_snapshot("a test", s.world.clock.here())
    loading = asyncio.create_task(s.site().load())
    await line.given.wait()
    await s.world.centre.rest()
    return loading


async def the_row_goes_on(s: Story) -> None:
    """What is planned from now on arrives, and both ends show the same."""
    for _ in range(3):
        await s.step("hello")
        await s.step("load")
    await s.plan(1, due="2031-01-01")
    await s.rest()
    assert (await s.both(1, "note", "due"))[1] is not None


@pytest.mark.parametrize("verb", ["chunk", "snapshot"])
def test_what_the_lost_centre_gave_of_a_snapshot_is_not_written_once_both_agree(play, verb):
    async def story(s: Story) -> None:
        line = SlowLine(s, verb, table="orders" if verb == "chunk" else "")
        loading = await load_from_a_centre_that_is_lost(s, line)
        await s.restore()
        await s.step("hello")
        assert s.site().has_met
        line.go.set()
        await asyncio.gather(loading, return_exceptions=True)
        assert s.shown(1, "note") == ("held",)
        await the_row_goes_on(s)

    play(story)


def test_what_the_lost_centre_gave_is_not_written_between_the_hello_and_its_answer(play):
    async def story(s: Story) -> None:
        line = SlowLine(s, "chunk", table="orders")
        loading = await load_from_a_centre_that_is_lost(s, line)
        await s.restore()

        async def chunk_arrives() -> None:
            line.go.set()
            await asyncio.wait({loading}, timeout=0.3)

        line.amid_hello = chunk_arrives
        await s.step("hello")
        await asyncio.gather(loading, return_exceptions=True)
        await the_row_goes_on(s)

    play(story)


def test_what_the_lost_centre_gave_and_was_written_before_the_hello_comes_home(play):
    async def story(s: Story) -> None:
        line = SlowLine(s, "chunk", table="orders")
        loading = await load_from_a_centre_that_is_lost(s, line)
        await s.restore()
        line.go.set()
        await asyncio.gather(loading, return_exceptions=True)
        assert s.shown(1, "note") == ("lost 11",)
        await s.step("hello")
        assert await s.stands(1, "note") == ("lost 11",)
        await the_row_goes_on(s)

    play(story)


def test_only_a_hello_that_was_begun_since_says_that_there_is_nothing_to_mend(play, monkeypatch):
    async def story(s: Story) -> None:
        await s.rest()
        agent, request = s.site().agent, s.world.broker.request

        async def of_another_history() -> None:
            raise ForkedHistory("another history")

        async def amid(subject: str, payload: bytes, timeout_s: float = 10.0) -> bytes:
            answer = await request(subject, payload, timeout_s)
            await agent._receive()  # a centre answers that went back since
            return answer

        monkeypatch.setattr(agent, "_catch_up_and_follow", of_another_history)
        with monkeypatch.context() as patched:
            patched.setattr(s.world.broker, "request", amid)
            await s.step("hello")
        await agent._receive()
        await s.step("hello")
        with pytest.raises(ForkedHistory):
            await agent._receive()

    play(story)


async def what_the_broker_has_of_a_lost_centre(s: Story, *, behind_h: int) -> str:
    """Put the centre back on a machine whose clock is so far behind; return what a site shows."""
    s.order(1, note="held")
    await s.back_up()
    await s.plan(1, note="lost")
    for step in ("sequence", "publish"):
        await s.step(step)
    await s.world.centre.rest()
    s.world.clock.now_ms -= behind_h * HOUR_MS
    for name in s.world.clock.skew:  # the sites' clocks go on as they were
        s.world.clock.skew[name] += behind_h * HOUR_MS
    await s.restore()
    await s.step("hello")
    for _ in range(12):  # of either feed, as chance has it
        await s.step("receive")
    return str(s.shown(1, "note")[0])


def test_what_the_broker_still_has_of_a_lost_centre_is_shown_nowhere(play):
    async def story(s: Story) -> None:
        assert await what_the_broker_has_of_a_lost_centre(s, behind_h=0) == "held"
        s.change(1, note="on held")
        await s.rest()
        assert await s.both(1, "note") == ("on held",)

    play(story)


def test_what_a_site_takes_of_a_lost_centre_whose_heir_has_a_clock_behind_it_comes_home(play):
    async def story(s: Story) -> None:
        s.world.always = _nothing  # type: ignore[method-assign]  # its place is none of the feed's
        assert await what_the_broker_has_of_a_lost_centre(s, behind_h=1) == "lost"
        s.change(1, due="2031-01-01")
        for _ in range(3):
            await s.step("hello")
            await s.step("load")
        await s.rest()
        assert await s.both(1, "note", "due") == ("lost", "2031-01-01")
        assert await s.conflicts() == []

    play(story)

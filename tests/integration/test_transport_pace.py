"""How fast the link goes: the limit that is set, what a wire can carry, and what idling costs."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from sync.nats_pace import Pace, Window
from sync.transport import Link, LinkSettings
from tests.integration.transport_world import (  # noqa: F401, the fixtures among them
    PATIENT,
    broker,
    link,
    new_site,
    served,
    store,
)


@pytest.fixture
async def site(link: Link) -> str:
    return await new_site(link, PATIENT)


# --- the arithmetic -------------------------------------------------------------------------


def test_a_message_larger_than_the_limit_passes_and_what_follows_waits_for_it():
    now = [100.0]
    pace = Pace(1000, clock=lambda: now[0])
    assert pace.debt_s() == 0
    pace.charge(5000)
    assert pace.debt_s() == 5
    now[0] += 4
    assert pace.debt_s() == 1
    now[0] += 60
    pace.charge(250)  # no more than a quarter of a second was saved up meanwhile
    assert pace.debt_s() == 0
    pace.charge(1)
    assert pace.debt_s() > 0


def test_the_mean_is_the_limit_whatever_the_sizes():
    now = [0.0]
    pace, passed, chance = Pace(10_000, clock=lambda: now[0]), 0, random.Random(5)
    while now[0] < 100:
        size = chance.choice((10, 1000, 30_000))
        pace.charge(size)
        passed += size
        now[0] += pace.debt_s()
    assert passed / now[0] == pytest.approx(10_000, rel=0.03)


def test_debt_is_kept_when_the_limit_changes_and_forgiven_when_it_is_lifted():
    pace = Pace(1000, clock=lambda: 0.0)
    pace.charge(4000)
    pace.limit(2000)
    assert pace.debt_s() == 2
    pace.limit(None)
    pace.charge(10**9)
    assert pace.debt_s() == 0


def test_a_window_grows_only_by_what_has_passed_and_shrinks_by_what_took_long():
    window, free = Window(first=100, smallest=50, largest=400), Pace(None)
    window.learn(10, took_s=0.1)  # a few bytes prove nothing
    assert window.size(free) == 100
    for size in (200, 400, 400):
        window.learn(window.size(free), took_s=0.1)
        assert window.size(free) == size
    for size in (200, 100, 50, 50):
        window.learn(0, took_s=9)
        assert window.size(free) == size


def test_a_window_is_never_smaller_than_the_message_that_must_fit():
    window = Window(first=100, smallest=50, largest=400)
    window.grow_to_fit(1000)
    window.learn(0, took_s=9)
    assert window.size(Pace(10)) == 400
    window.grow_to_fit(1000)
    assert window.size(Pace(10)) == 1000


# --- against a server -----------------------------------------------------------------------


@pytest.mark.slow
async def test_the_bandwidth_limit_holds_both_ways_within_a_fifth(broker, link, site):
    rate, payloads = 2_000_000, [random.Random(3).randbytes(50_000) for _ in range(80)]
    limited = LinkSettings(servers=(broker.url,), name="slow", bytes_per_s_max=rate)
    due_s = len(payloads) * 50_000 / rate
    async with Link(limited) as slow:
        await slow.wait_connected(5)
        last, up_s, down_s = 0, [], []
        # A machine that does something else meanwhile may take longer, but not each time.
        while not (near(up_s, due_s) and near(down_s, due_s)):
            assert len(up_s) < 5, (up_s, down_s)
            started = time.monotonic()
            for chunk in range(0, len(payloads), 8):
                last = await store(slow, site, *payloads[chunk : chunk + 8], expected_last=last)
            up_s.append(time.monotonic() - started)
            started = time.monotonic()
            await pull_all(slow, site, len(payloads))
            down_s.append(time.monotonic() - started)
    assert min(*up_s, *down_s) > 0.8 * due_s, "faster than the limit"


def near(tries_s: list[float], due_s: float) -> bool:
    return any(took_s == pytest.approx(due_s, rel=0.2) for took_s in tries_s)


async def pull_all(link: Link, site: str, count: int) -> None:
    got, pulled = 0, link.pull(f"UP_{site}", "apply")
    async for deliveries in pulled:
        got += len(deliveries)
        await link.ack(deliveries)
        if got == count:
            break
    await pulled.aclose()


async def test_a_bandwidth_limit_is_changed_and_lifted_while_it_runs(broker, site):
    limited = LinkSettings(servers=(broker.url,), name="slow", bytes_per_s_max=50_000)
    async with Link(limited) as slow:
        await slow.wait_connected(5)
        assert slow.batch_bytes_max < 100_000
        last = await store(slow, site, bytes(200_000))
        sending = asyncio.create_task(store(slow, site, bytes(200_000), expected_last=last))
        await asyncio.sleep(0.3)
        assert not sending.done()
        slow.limit_bandwidth(None)
        assert await asyncio.wait_for(sending, 2) == 2
        assert slow.batch_bytes_max > 500_000
        with pytest.raises(ValueError, match="positive"):
            slow.limit_bandwidth(0)


async def test_a_hello_is_not_held_up_by_what_the_limit_still_owes(broker, site):
    async def answer(subject: str, question: bytes) -> bytes:
        return b"hello"

    limited = LinkSettings(servers=(broker.url,), name="slow", bytes_per_s_max=50_000)
    async with Link(limited) as slow, Link(LinkSettings(servers=(broker.url,), name="c")) as other:
        await other.wait_connected(5)
        await slow.wait_connected(5)
        serving = asyncio.create_task(other.serve(f"ctl.{site}.*", answer, queue="q"))
        await served(other, f"ctl.{site}.hello")
        await store(slow, site, bytes(500_000))
        async with asyncio.timeout(5):  # what is owed takes ten
            assert await slow.request(f"ctl.{site}.hello", b"") == b"hello"
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.slow
async def test_an_idle_link_that_pulls_serves_and_listens_needs_no_cpu(link, site):
    async def answer(subject: str, question: bytes) -> bytes:
        return b""

    async def drain(iterator) -> None:
        async for _ in iterator:
            pass

    tasks = [
        asyncio.create_task(drain(link.pull(f"UP_{site}", "apply"))),
        asyncio.create_task(drain(link.listen("cmd.IDLE.>"))),
        asyncio.create_task(link.serve("ctl.IDLE.*", answer, queue="q")),
    ]
    await asyncio.sleep(0.3)
    shares = []
    for _ in range(4):  # the least of some: other threads of this process may have work
        started_s, worked_s = time.monotonic(), time.process_time()
        await asyncio.sleep(0.5)
        shares.append((time.process_time() - worked_s) / (time.monotonic() - started_s))
    assert min(shares) < 0.01
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

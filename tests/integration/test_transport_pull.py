"""The pull loop against a real server: what it yields, what it holds, and when it gives up."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from shared.errors import ConsumerGone
from sync.nats_pull import _EXPIRES_S
from sync.streams import desired, provision
from sync.transport import Link, LinkSettings
from tests.integration.transport_world import (  # noqa: F401, the fixtures among them
    PATIENT,
    broker,
    link,
    new_site,
    served,
    settled,
    store,
)

pytestmark = pytest.mark.nats


@pytest.fixture
async def site(link: Link) -> str:
    return await new_site(link, PATIENT)


async def pending(link: Link, site: str) -> int:
    answer = json.loads(await link.request(f"$JS.API.CONSUMER.INFO.UP_{site}.apply", b""))
    return int(answer["num_ack_pending"])


async def asked(link: Link, site: str) -> None:
    """Return once the broker has a request that waits for messages."""
    async with asyncio.timeout(10):
        while True:
            answer = await link.request(f"$JS.API.CONSUMER.INFO.UP_{site}.apply", b"")
            if json.loads(answer)["num_waiting"]:
                return


async def test_a_single_message_is_handed_over_at_once_and_waits_for_no_other(link, site):
    pulled = link.pull(f"UP_{site}", "apply", batch_max=256)
    waiting = asyncio.ensure_future(anext(pulled))
    await asked(link, site)
    await store(link, site, b"alone")
    # A request that waits for more would do so until it expires, which is longer.
    (delivery,) = await asyncio.wait_for(waiting, _EXPIRES_S / 2)
    assert delivery.payload == b"alone"
    await pulled.aclose()


async def test_a_slow_taker_holds_no_more_than_twice_the_batch(link, site):
    await store(link, site, *(b"%d" % n for n in range(500)))
    pulled = link.pull(f"UP_{site}", "apply", batch_max=20)
    taken = await anext(pulled)
    await asyncio.sleep(0.3)
    assert len(taken) <= 20
    assert await pending(link, site) <= 40 + len(taken)
    await pulled.aclose()


async def test_a_slow_taker_holds_few_large_messages_however_many_are_allowed(link, site):
    await store(link, site, *[bytes(100_000)] * 100)
    pulled = link.pull(f"UP_{site}", "apply", batch_max=1000, bytes_max=1_000_000)
    taken = await anext(pulled)
    await asyncio.sleep(0.3)
    assert await pending(link, site) <= 10 + len(taken)
    await pulled.aclose()


async def test_messages_larger_than_all_that_may_be_under_way_still_come(link, site):
    sizes = [10, 900_000, 20, 700_000, 1_000_000, 30]
    await store(link, site, *map(bytes, sizes))
    got = []
    pulled = link.pull(f"UP_{site}", "apply", batch_max=16, bytes_max=1)
    async with asyncio.timeout(10):
        async for deliveries in pulled:
            got += [len(delivery.payload) for delivery in deliveries]
            await link.ack(deliveries)
            if len(got) == len(sizes):
                break
    await pulled.aclose()
    assert got == sizes


async def test_ten_thousand_messages_of_all_sizes_come_once_and_in_order(link, site):
    chance = random.Random(7)
    wanted = [chance.randbytes(chance.choice((1, 30, 500, 5000))) for _ in range(10_000)]
    last = 0
    for chunk in range(0, len(wanted), 1000):
        last = await store(link, site, *wanted[chunk : chunk + 1000], expected_last=last)
    got = []
    pulled = link.pull(f"UP_{site}", "apply", batch_max=100, bytes_max=400_000)
    async with asyncio.timeout(20):
        async for deliveries in pulled:
            got += [delivery.payload for delivery in deliveries]
            await link.ack(deliveries)
            if len(got) >= len(wanted):
                break
    await pulled.aclose()
    assert got == wanted
    assert await settled(link, site) == 10_000


async def test_the_loss_of_the_durable_ends_a_waiting_pull_with_the_next_step(link, site):
    pulled = link.pull(f"UP_{site}", "apply")
    waiting = asyncio.ensure_future(anext(pulled))
    await asked(link, site)
    await link.request(f"$JS.API.CONSUMER.DELETE.UP_{site}.apply", b"")
    with pytest.raises(ConsumerGone, match="declares it again"):
        await asyncio.wait_for(waiting, 5)


async def test_the_loss_of_the_stream_ends_a_pull_and_a_new_one_works_when_it_is_back(link, site):
    await store(link, site, b"old")
    pulled = link.pull(f"UP_{site}", "apply")
    await link.ack(await anext(pulled))
    waiting = asyncio.ensure_future(anext(pulled))
    await asked(link, site)
    await link.request(f"$JS.API.STREAM.DELETE.UP_{site}", b"")
    with pytest.raises(ConsumerGone):
        await asyncio.wait_for(waiting, 5)
    await provision(link, desired([site], limits=PATIENT))
    await store(link, site, b"new")
    pulled = link.pull(f"UP_{site}", "apply")
    assert [delivery.payload for delivery in await asyncio.wait_for(anext(pulled), 5)] == [b"new"]
    await pulled.aclose()


async def test_a_pull_from_what_was_never_there_fails_at_once(link):
    for stream, durable in (("NONE", "apply"), ("DOWN", "nobody")):
        with pytest.raises(ConsumerGone):
            await asyncio.wait_for(anext(link.pull(stream, durable)), 2)


async def test_a_cancelled_pull_leaves_no_request_that_swallows_messages(link, site):
    for _ in range(5):
        pulled = link.pull(f"UP_{site}", "apply")
        waiting = asyncio.ensure_future(anext(pulled))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await store(link, site, *[b"x"] * 50)
    got = []
    pulled = link.pull(f"UP_{site}", "apply")
    async with asyncio.timeout(5):
        async for deliveries in pulled:
            got += deliveries
            if len(got) == 50:
                break
    await pulled.aclose()
    assert not any(delivery.redelivered for delivery in got)


async def hear(link: Link, subject: str) -> None:
    async for _ in link.listen(subject):
        pass


@pytest.mark.parametrize("others", ["silent", "busy"])
async def test_requests_that_fall_on_deaf_ears_are_given_up_and_the_durable_is_looked_for(
    broker, link, monkeypatch, others
):
    monkeypatch.setattr("sync.nats_pull._SILENCE_MAX_S", 0.4)
    asked: list[str] = []

    async def swallow() -> None:
        async for subject, _ in link.listen("DEAF.CONSUMER.MSG.NEXT.>"):
            asked.append(subject)

    async def look(subject: str, question: bytes) -> bytes:
        return b'{"error":{"code":404,"err_code":10014}}' if len(asked) > 2 else b"{}"

    async def talk() -> None:
        while others == "busy":
            await link.publish("busy", bytes(1000))
            await asyncio.sleep(0.01)

    tasks = [
        asyncio.create_task(swallow()),
        asyncio.create_task(talk()),
        asyncio.create_task(link.serve("DEAF.CONSUMER.INFO.>", look, queue="q")),
    ]
    async with asyncio.timeout(10):
        while not asked:
            await link.publish("DEAF.CONSUMER.MSG.NEXT.begun", b"")
            await asyncio.sleep(0.01)
    await served(link, "DEAF.CONSUMER.INFO.begun")
    asked.clear()
    deaf = LinkSettings(servers=(broker.url,), name="test", prefix="DEAF", ping_every_s=0.1)
    async with Link(deaf) as other:
        await other.wait_connected(5)
        tasks.append(asyncio.create_task(hear(other, "busy")))
        with pytest.raises(ConsumerGone, match="no heartbeat"):
            await asyncio.wait_for(anext(other.pull("UP_X", "apply")), 5)
    assert len(asked) == 4, "two requests each time, and a new pair after the first silence"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

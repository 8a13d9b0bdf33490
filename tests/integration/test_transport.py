"""The link against a real server: storing, asking, answering, listening."""

from __future__ import annotations

import asyncio
import json

import nats
import pytest

from shared.errors import (
    NoResponder,
    PayloadTooLarge,
    StreamFull,
    WrongLastSequence,
)
from sync.streams import desired, provision
from tests.integration.transport_world import (  # noqa: F401, the fixtures among them
    LIMITS,
    broker,
    first,
    link,
    settled,
    site,
    state,
    store,
)

pytestmark = pytest.mark.nats


# --- storing --------------------------------------------------------------------------------


async def test_what_is_stored_is_pulled_in_order_with_its_subject_and_time(link, site):
    last = await store(link, site, b"one", b"two\r\nlines", b"")
    deliveries = await first(link, site, 3)
    assert [(d.subject, d.payload) for d in deliveries] == [
        (f"up.{site}.o", b"one"),
        (f"up.{site}.o", b"two\r\nlines"),
        (f"up.{site}.o", b""),
    ]
    assert [d.stream_seq for d in deliveries] == [1, 2, 3]
    assert last == 3
    assert deliveries[0].stored_at_ms > 1_700_000_000_000
    assert not any(d.redelivered for d in deliveries)


async def test_a_batch_of_a_thousand_is_stored_behind_the_last_and_counted(link, site):
    last = await store(link, site, *[b"%d" % n for n in range(1000)])
    assert last == 1000
    assert await store(link, site, b"single", expected_last=last) == 1001
    assert (await state(link, site))["messages"] == 1001


async def test_a_batch_that_is_refused_stores_none_of_its_messages(link, site):
    last = await store(link, site, b"first")
    with pytest.raises(WrongLastSequence):
        await store(link, site, *[b"x"] * 500, expected_last=last + 7)
    assert (await state(link, site))["messages"] == 1


@pytest.mark.parametrize("payloads", [(b"a",), (b"a", b"b", b"c")])
async def test_a_lost_ack_is_told_by_a_sequence_ahead_of_the_expected_one(link, site, payloads):
    last = await store(link, site, *payloads)
    with pytest.raises(WrongLastSequence) as wrong:
        await store(link, site, *payloads)
    assert wrong.value.actual == last
    assert (await state(link, site))["messages"] == len(payloads)


@pytest.mark.parametrize("count", [1, 3])
async def test_a_wiped_stream_is_told_by_a_sequence_behind_the_expected_one(link, site, count):
    last = await store(link, site, b"a", b"b")
    await link.request(f"$JS.API.STREAM.DELETE.UP_{site}", b"")
    with pytest.raises(NoResponder):
        await store(link, site, *[b"c"] * count, expected_last=last)
    await provision(link, desired([site], limits=LIMITS))
    with pytest.raises(WrongLastSequence) as wrong:
        await store(link, site, *[b"c"] * count, expected_last=last)
    assert wrong.value.actual == 0


async def test_a_full_stream_says_so_and_takes_more_when_there_is_room(link, site):
    block, last = bytes(900_000), 0
    while (await state(link, site))["bytes"] + len(block) < LIMITS.up_bytes_max:
        last = await store(link, site, block, expected_last=last)
    for batch in ([block], [block, block]):
        with pytest.raises(StreamFull):
            await store(link, site, *batch, expected_last=last)
    await link.request(f"$JS.API.STREAM.PURGE.UP_{site}", json.dumps({"keep": 1}).encode())
    assert await store(link, site, block, expected_last=last) == last + 1


async def test_the_largest_payload_passes_and_one_byte_more_is_refused_without_harm(link, site):
    last = await store(link, site, bytes(link.payload_bytes_max), b"with another")
    with pytest.raises(PayloadTooLarge):
        await store(link, site, bytes(link.payload_bytes_max + 1), expected_last=last)
    with pytest.raises(PayloadTooLarge):
        await link.publish("cmd.X.rewind", bytes(link.payload_bytes_max + 1))
    assert link.connected
    assert link.disconnects == 0


async def test_a_batch_of_none_or_of_more_than_a_thousand_is_a_mistake_of_the_caller(link, site):
    for payloads in ([], [b""] * 1001):
        with pytest.raises(ValueError, match="1 to 1000"):
            await store(link, site, *payloads)


async def test_a_batch_waits_its_turn_while_too_many_others_are_open(
    broker, link, site, monkeypatch
):
    # The others end as fast as the disk syncs, which may take longer than five attempts.
    monkeypatch.setattr("sync.nats_publish._ATTEMPTS_MAX", 100)
    client = await nats.connect(broker.url)
    subject = f"up.{site}.b"

    async def send(number: int, sequence: int, commit: dict[str, str]) -> None:
        headers = {"Nats-Batch-Id": f"open-{number}", "Nats-Batch-Sequence": str(sequence)}
        await client.request(subject, b"", headers=headers | commit, timeout=5)

    for number in range(64):  # the limit for a stream that our brokers have
        await send(number, 1, {})
    waiting = asyncio.create_task(
        link.publish_batch(f"up.{site}.o", [b"a", b"b"], expected_last=0, over=f"up.{site}.o")
    )
    await asyncio.sleep(0.02)
    assert not waiting.done()
    for number in range(50):
        await send(number, 2, {"Nats-Batch-Commit": "eob"})
    assert 3 <= await waiting <= 52
    assert (await state(link, site))["messages"] == 52
    await client.close()


# --- settling -------------------------------------------------------------------------------


async def test_a_message_that_is_not_acked_comes_again_and_is_marked(link, site):
    await store(link, site, b"a", b"b")
    one, two = await first(link, site, 2)
    await two.ack()
    again = await first(link, site, 1)
    assert [(d.payload, d.redelivered) for d in again] == [(one.payload, True)]


async def test_hundreds_of_messages_are_acked_in_one_go(link, site):
    await store(link, site, *[b"x"] * 800)
    await link.ack(await first(link, site, 800))
    assert await settled(link, site) == 800

"""The link against a real server: storing, asking, answering, listening."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import nats
import pytest

from deploy.local.servers import NatsServer
from shared.errors import (
    BrokerUnreachable,
    NoResponder,
    PayloadTooLarge,
    ServerTooOld,
    StreamFull,
    WrongLastSequence,
)
from sync.streams import StreamLimits, desired, provision
from sync.transport import Delivery, Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.nats

LIMITS = StreamLimits(up_bytes_max=16 << 20, down_bytes_max=16 << 20, ack_wait_s=1)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def link(broker: NatsServer) -> AsyncIterator[Link]:
    async with Link(LinkSettings(servers=(broker.url,), name="test")) as link:
        await link.wait_connected(5)
        yield link


@pytest.fixture
async def site(link: Link) -> str:
    site = f"S{next(NUMBERS)}"
    await provision(link, desired([site], limits=LIMITS))
    return site


async def store(link: Link, site: str, *payloads: bytes, expected_last: int = 0) -> int:
    return await link.publish_batch(
        f"up.{site}.o", payloads, expected_last=expected_last, over=f"up.{site}.>"
    )


async def state(link: Link, site: str) -> dict[str, Any]:
    answer = await link.request(f"$JS.API.STREAM.INFO.UP_{site}", b"")
    found: dict[str, Any] = json.loads(answer)["state"]
    return found


async def first(link: Link, site: str, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    pulled = link.pull(f"UP_{site}", "apply")
    async with asyncio.timeout(10):
        async for deliveries in pulled:
            taken += deliveries
            if len(taken) >= count:
                break
    await pulled.aclose()
    return taken


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


async def test_a_batch_waits_its_turn_while_too_many_others_are_open(broker, link, site):
    client = await nats.connect(broker.url)
    subject = f"up.{site}.b"

    async def send(number: int, sequence: int, commit: dict[str, str]) -> None:
        headers = {"Nats-Batch-Id": f"open-{number}", "Nats-Batch-Sequence": str(sequence)}
        await client.request(subject, b"", headers=headers | commit, timeout=5)

    for number in range(50):  # the broker's limit for a stream
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


async def test_a_message_given_back_comes_again_at_once_or_after_the_delay(link, site):
    await store(link, site, b"a")
    clock = asyncio.get_running_loop().time
    (delivery,) = await first(link, site, 1)
    await delivery.nak()
    started = clock()
    (delivery,) = await first(link, site, 1)
    assert clock() - started < 0.5
    await delivery.nak(delay_s=0.6)
    await first(link, site, 1)
    assert clock() - started > 0.6


async def test_hundreds_of_messages_are_acked_in_one_go(link, site):
    await store(link, site, *[b"x"] * 800)
    await link.ack(await first(link, site, 800))
    assert await settled(link, site) == 800


async def settled(link: Link, site: str) -> int:
    """Return up to which message all are acked, when none is pending any more."""
    async with asyncio.timeout(5):
        while True:
            answer = await link.request(f"$JS.API.CONSUMER.INFO.UP_{site}.apply", b"")
            durable = json.loads(answer)
            if durable["num_ack_pending"] == 0:
                return int(durable["ack_floor"]["stream_seq"])
            await asyncio.sleep(0.02)


# --- asking and answering -------------------------------------------------------------------


async def test_an_error_in_one_answer_reaches_the_asker_and_the_next_is_answered(link, caplog):
    async def answer(subject: str, question: bytes) -> bytes:
        if question == b"bad":
            message = "no such\r\nthing"
            raise KeyError(message)
        return subject.encode() + b":" + question

    serving = asyncio.create_task(link.serve("ctl.E.*", answer, queue="control"))
    await served(link, "ctl.E.x")
    with pytest.raises(NoResponder, match=r"KeyError.*no such"):
        await link.request("ctl.E.hello", b"bad")
    assert await link.request("ctl.E.hello", b"good") == b"ctl.E.hello:good"
    assert "no answer to a question on ctl.E.hello" in caplog.text
    await cancelled(serving)


async def served(link: Link, subject: str) -> None:
    """Return when somebody answers on the subject."""
    async with asyncio.timeout(5):
        while True:
            try:
                await link.request(subject, b"")
            except NoResponder:
                await asyncio.sleep(0.01)
            else:
                return


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_answer_larger_than_the_broker_takes_is_an_error_for_the_asker_alone(link):
    async def answer(subject: str, question: bytes) -> bytes:
        return bytes(int(question or b"0"))

    serving = asyncio.create_task(link.serve("ctl.L.*", answer, queue="control"))
    await served(link, "ctl.L.x")
    with pytest.raises(NoResponder, match="PayloadTooLarge"):
        await link.request("ctl.L.x", b"2000000")
    assert len(await link.request("ctl.L.x", b"900000")) == 900_000
    assert link.disconnects == 0
    await cancelled(serving)


async def test_no_more_questions_than_agreed_are_answered_at_a_time(link):
    running, most = 0, 0

    async def answer(subject: str, question: bytes) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return question

    serving = asyncio.create_task(link.serve("ctl.C.*", answer, queue="q", concurrency_max=3))
    await served(link, "ctl.C.x")
    await asyncio.gather(*[link.request("ctl.C.x", b"%d" % n) for n in range(20)])
    assert most == 3
    await cancelled(serving)


async def test_responders_of_one_queue_share_the_questions(broker, link):
    counts = [0, 0]
    async with Link(LinkSettings(servers=(broker.url,), name="second")) as other:
        await other.wait_connected(5)

        def answering(number: int):
            async def answer(subject: str, question: bytes) -> bytes:
                counts[number] += 1
                return question

            return answer

        tasks = [
            asyncio.create_task(each.serve("ctl.Q.*", answering(number), queue="control"))
            for number, each in enumerate((link, other))
        ]
        await asyncio.sleep(0.2)
        await asyncio.gather(*[link.request("ctl.Q.x", b"") for _ in range(100)])
        for task in tasks:
            await cancelled(task)
    assert sum(counts) == 100
    assert min(counts) > 0


async def test_a_question_to_nobody_fails_at_once_and_one_to_a_slow_end_in_its_time(link):
    clock = asyncio.get_running_loop().time
    started = clock()
    with pytest.raises(NoResponder):
        await link.request("ctl.NOBODY.hello", b"")
    assert clock() - started < 1

    async def sleep(subject: str, question: bytes) -> bytes:
        await asyncio.sleep(float(question or b"0"))
        return b""

    serving = asyncio.create_task(link.serve("ctl.SLOW.*", sleep, queue="control"))
    await served(link, "ctl.SLOW.x")
    with pytest.raises(BrokerUnreachable, match=r"within 0\.3 s"):
        await link.request("ctl.SLOW.x", b"5", timeout_s=0.3)
    await cancelled(serving)


async def test_commands_are_heard_in_order_by_who_listens(link):
    heard = []

    async def listen() -> None:
        async for subject, payload in link.listen("cmd.H.>"):
            heard.append((subject, payload))
            if len(heard) == 3:
                return

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.1)
    for number in range(3):
        await link.publish(f"cmd.H.n{number}", b"%d" % number)
    await asyncio.wait_for(listening, 5)
    assert heard == [("cmd.H.n0", b"0"), ("cmd.H.n1", b"1"), ("cmd.H.n2", b"2")]


# --- the link itself ------------------------------------------------------------------------


async def test_without_a_server_the_link_says_what_it_tried_and_publishing_fails_at_once():
    settings = LinkSettings(servers=("nats://127.0.0.1:9",), name="lonely")
    async with Link(settings) as link:
        with pytest.raises(BrokerUnreachable, match=r"nats://127\.0\.0\.1:9"):
            await link.wait_connected(0.5)
        assert not link.connected
        assert link.last_error
        for attempt in (
            link.publish_batch("up.X.o", [b""], expected_last=0, over="up.X.>"),
            link.request("ctl.X.hello", b""),
            link.publish("pres.X", b""),
        ):
            with pytest.raises(BrokerUnreachable, match="not connected"):
                await attempt


async def test_a_closed_link_ends_what_pulls_listens_and_serves(broker, link, site):
    async def answer(subject: str, question: bytes) -> bytes:
        return b""

    async def drain(iterator) -> None:
        async for _ in iterator:
            pass

    async with Link(LinkSettings(servers=(broker.url,), name="short")) as short:
        await short.wait_connected(5)
        tasks = [
            asyncio.create_task(drain(short.pull(f"UP_{site}", "apply"))),
            asyncio.create_task(drain(short.listen("cmd.X.>"))),
            asyncio.create_task(short.serve("ctl.X.*", answer, queue="q")),
        ]
        await asyncio.sleep(0.1)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def test_what_was_acked_just_before_closing_is_acked(broker, link, site):
    await store(link, site, *[b"x"] * 200)
    async with Link(LinkSettings(servers=(broker.url,), name="short")) as short:
        await short.wait_connected(5)
        await short.ack(await first(short, site, 200))
    assert await settled(link, site) == 200


async def test_a_server_before_2_12_is_refused_with_the_next_step():
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"X","version":"2.11.9","max_payload":1048576}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Link(LinkSettings(servers=(f"nats://127.0.0.1:{port}",), name="new")) as link:
        with pytest.raises(ServerTooOld, match=r"2\.11.*upgrade the server"):
            await link.wait_connected(1)
        with pytest.raises(ServerTooOld):
            await link.request("ctl.X.hello", b"")
    server.close()
    await asyncio.sleep(0.05)


async def test_the_link_tells_since_when_it_stands_and_how_far_the_broker_is(link):
    async with asyncio.timeout(5):
        while link.rtt_ms is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert link.connected
    assert 0 < link.rtt_ms < 1000
    assert 0 <= link.since_ms < 10_000

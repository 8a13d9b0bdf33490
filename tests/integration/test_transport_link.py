"""Questions, answers and the link itself, against a real server."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from shared.errors import (
    BrokerUnreachable,
    NoResponder,
    ServerTooOld,
)
from sync.transport import Link, LinkSettings
from tests.integration.transport_world import (  # noqa: F401, the fixtures among them
    broker,
    cancelled,
    first,
    link,
    served,
    settled,
    site,
    store,
)

pytestmark = pytest.mark.nats


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
        async with asyncio.timeout(10):
            while not all(counts):
                await served(link, "ctl.Q.x")
        counts[:] = [0, 0]
        await asyncio.gather(*[link.request("ctl.Q.x", b"") for _ in range(100)])
        for task in tasks:
            await cancelled(task)
    assert sum(counts) == 100
    assert min(counts) > 0


async def test_a_question_to_nobody_fails_at_once_and_one_to_a_slow_end_in_its_time(link):
    async with asyncio.timeout(20):
        with pytest.raises(NoResponder):
            await link.request("ctl.NOBODY.hello", b"", timeout_s=60)

    async def sleep(subject: str, question: bytes) -> bytes:
        await asyncio.sleep(float(question or b"0"))
        return b""

    serving = asyncio.create_task(link.serve("ctl.SLOW.*", sleep, queue="control"))
    await served(link, "ctl.SLOW.x")
    with pytest.raises(BrokerUnreachable, match=r"within 0\.3 s"):
        await link.request("ctl.SLOW.x", b"5", timeout_s=0.3)
    await cancelled(serving)


async def test_who_asks_hears_at_once_that_the_one_who_answers_stops(broker, link):
    """Else a site waits half a minute for its hello whenever the centre is started anew."""
    under_way = asyncio.Event()

    async def never(subject: str, question: bytes) -> bytes:
        if question:
            under_way.set()
            await asyncio.sleep(60)
        return b""

    async with Link(LinkSettings(servers=(broker.url,), name="stops")) as other:
        await other.wait_connected(5)
        serving = asyncio.create_task(other.serve("ctl.STOPS.*", never, queue="control"))
        await served(link, "ctl.STOPS.x")
        asking = asyncio.create_task(link.request("ctl.STOPS.hello", b"?", timeout_s=30))
        await asyncio.wait_for(under_way.wait(), 5)
        await cancelled(serving)
    with pytest.raises(NoResponder, match="stops"):
        await asyncio.wait_for(asking, 5)


@pytest.mark.parametrize("under_way_max", [1, 16])
async def test_nobody_who_has_asked_waits_in_vain_for_the_one_who_stops(
    broker, link, under_way_max
):
    """Neither whose question is answered, nor whose waits its turn or is on its way."""
    answering = asyncio.Event()

    async def never(subject: str, question: bytes) -> bytes:
        if question:
            answering.set()
            await asyncio.sleep(60)
        return b""

    async with Link(LinkSettings(servers=(broker.url,), name="stops")) as other:
        await other.wait_connected(5)
        serving = asyncio.create_task(
            other.serve("ctl.ALL.*", never, queue="control", concurrency_max=under_way_max)
        )
        await served(link, "ctl.ALL.x")
        asking = [
            asyncio.create_task(link.request("ctl.ALL.hello", b"?", timeout_s=30))
            for _ in range(40)
        ]
        await asyncio.wait_for(answering.wait(), 5)
        await cancelled(serving)
        done, _ = await asyncio.wait(asking, timeout=5)
    assert len(done) == len(asking)
    assert all(isinstance(each.exception(), NoResponder) for each in done)


async def test_commands_are_heard_in_order_by_who_listens(link):
    heard = []

    async def listen() -> None:
        async for subject, payload in link.listen("cmd.H.>"):
            heard.append((subject, payload))
            if subject == "cmd.H.n2":
                return

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(10):
        while not heard:
            await link.publish("cmd.H.begun", b"")
            await asyncio.sleep(0.01)
    for number in range(3):
        await link.publish(f"cmd.H.n{number}", b"%d" % number)
    await asyncio.wait_for(listening, 10)
    assert heard[-3:] == [("cmd.H.n0", b"0"), ("cmd.H.n1", b"1"), ("cmd.H.n2", b"2")]
    assert {subject for subject, _ in heard[:-3]} == {"cmd.H.begun"}


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


UNDECIDED = (
    b'{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily'
    b' unavailable"}}',
    b'{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"UP_X"}',
)


@pytest.mark.parametrize("answered", [b"", *UNDECIDED])
async def test_one_of_several_brokers_that_decides_nothing_is_left_for_another(
    broker, link, answered
):
    """Though the centre answers over it: it may be connected to that one, too."""

    async def answer(subject: str, question: bytes) -> bytes:
        if not answered:
            await asyncio.Event().wait()
        return answered

    serving = [
        asyncio.create_task(link.serve("up.D.*", answer, queue="q")),
        asyncio.create_task(link.serve("ctl.D.*", echo, queue="q")),
    ]
    await served(link, "ctl.D.hello")
    settings = LinkSettings(servers=(broker.url, broker.url), name="test", deaf_max_s=0.3)
    async with Link(settings) as other, asyncio.timeout(20):
        await other.wait_connected(5)
        while not other.disconnects:
            with contextlib.suppress(BrokerUnreachable, NoResponder):
                await other.request("up.D.tx", b"", timeout_s=0.1)
                await asyncio.sleep(0.01)
            with contextlib.suppress(BrokerUnreachable):
                await other.request("ctl.D.hello", b"")
        assert "decided nothing" in other.last_error
    for task in serving:
        await cancelled(task)


async def test_a_broker_stays_though_nobody_answers_for_the_centre(broker):
    settings = LinkSettings(servers=(broker.url, broker.url), name="test", deaf_max_s=0.2)
    async with Link(settings) as other, asyncio.timeout(20):
        await other.wait_connected(5)
        until = asyncio.get_running_loop().time() + 1
        while asyncio.get_running_loop().time() < until:
            with pytest.raises(NoResponder):
                await other.request("ctl.N.hello", b"")
            await asyncio.sleep(0.01)
        assert other.disconnects == 0


async def echo(subject: str, question: bytes) -> bytes:
    return question

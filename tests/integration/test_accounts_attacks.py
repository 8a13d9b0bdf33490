"""One account a site, against a real server: every attack that we know of.

Each attack is made twice: with the credentials of the site, and by a rogue in the site's account
whose user has no restrictions, because the account alone must hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import nats
import nats.errors
import pytest

from shared.errors import BrokerUnreachable, NotAuthorised
from sync.transport import Link
from tests.integration.accounts_world import (  # noqa: F401, the fixtures among them
    ask,
    attacker,
    broker,
    central,
    keys,
    lyo,
    rot,
    settings,
    stored,
)
from tests.integration.transport_world import served

pytestmark = pytest.mark.nats


async def test_a_site_can_not_store_under_another_name(central, attacker):
    for subject in ("up.LYO.o", "down.LYO", "down.all", "up.LYO", "up.ROT", "down.ROT"):
        await attacker.publish(subject, b"forged")
        assert await ask(attacker, subject, "forged") == {}
    for stream in ("UP_LYO", "UP_ROT", "DOWN"):
        assert await stored(central, stream) == 0


async def test_a_site_that_is_refused_learns_it_at_once(rot):
    for attempt in (
        rot.publish_batch("up.LYO.o", [b"forged"], expected_last=0, over="up.LYO.>"),
        rot.publish_batch("up.LYO.o", [b"forged"] * 3, expected_last=0, over="up.LYO.>"),
        rot.request("ctl.LYO.hello", b""),
        anext(rot.pull("DOWN", "site-LYO")),
    ):
        with pytest.raises(NotAuthorised, match=r"permissions violation"):
            await asyncio.wait_for(attempt, 2)
    assert rot.connected


async def test_a_site_can_not_speak_or_listen_for_another(central, attacker, lyo):
    questions, stolen = [], []

    async def answer(subject: str, question: bytes) -> bytes:
        questions.append(subject)
        return b"secret of LYO"

    async def steal(msg: Any) -> None:
        stolen.append(msg.subject)

    serving = asyncio.create_task(central.serve("ctl.*.>", answer, queue="control"))
    for subject in (">", "cmd.>", "cmd.LYO.>", "_INBOX.>", "$JS.>", "$SYS.>", "_R_.>", "down.>"):
        await attacker.subscribe(subject, cb=steal)
    await attacker.flush()
    await served(lyo, "ctl.LYO.hello")  # by whom it may be asked, it is answered
    questions.clear()
    assert await ask(attacker, "ctl.LYO.hello") == {}
    await attacker.publish("pres.LYO", b"forged")
    await central.publish("cmd.LYO.rewind", b"")
    await central.publish_batch("down.LYO", [b"x"], expected_last=0, over="down.LYO")
    await asyncio.sleep(0.2)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert questions == []
    # What a rogue publishes inside its own account it may hear there; nothing else.
    assert not [subject for subject in stolen if subject.startswith(("cmd", "down", "$JS.EVENT"))]


async def test_a_site_can_neither_take_nor_ack_what_is_for_another(central, attacker, lyo):
    await central.publish_batch("down.LYO", [b"for LYO"], expected_last=0, over="down.LYO")
    for prefix in ("hub.API", "$JS.API", "$JS.hub.API"):
        next_subject = f"{prefix}.CONSUMER.MSG.NEXT.DOWN.site-LYO"
        assert b"for LYO" not in json.dumps(await ask(attacker, next_subject, 1)).encode()
    pulled = lyo.pull("DOWN", "site-LYO")
    (delivery,) = await asyncio.wait_for(anext(pulled), 5)
    assert not delivery.redelivered, "the attack took it"
    tokens = delivery.reply.split(".")
    for subject in (delivery.reply, ".".join(["$JS.ACK._._", *tokens[2:], "x"])):
        await attacker.publish(subject, b"+ACK")
    await asyncio.sleep(0.2)
    durable = json.loads(await central.request("$JS.API.CONSUMER.INFO.DOWN.site-LYO", b""))
    assert durable["num_ack_pending"] == 1
    await pulled.aclose()


async def test_a_site_can_not_reach_the_streams_themselves(central, attacker, rot):
    await rot.publish_batch("up.ROT.o", [b"kept"], expected_last=0, over="up.ROT.>")
    durable = {"durable_name": "spy", "ack_policy": "none"}
    orders: list[tuple[str, Any]] = [
        *[
            (f"STREAM.{verb}.{name}", {})
            for verb in ("DELETE", "PURGE", "INFO")
            for name in ("UP_ROT", "DOWN")
        ],
        ("STREAM.MSG.GET.UP_LYO", {"seq": 1}),
        ("STREAM.MSG.DELETE.UP_ROT", {"seq": 1}),
        ("DIRECT.GET.UP_ROT", {"seq": 1}),
        ("STREAM.CREATE.EVIL", {"name": "EVIL", "subjects": ["evil"]}),
        ("CONSUMER.CREATE.DOWN.spy", {"stream_name": "DOWN", "config": durable}),
        ("CONSUMER.DELETE.DOWN.site-ROT", {}),
        ("CONSUMER.RESET.DOWN.site-LYO", {"seq": 1}),
        ("CONSUMER.PAUSE.DOWN.site-LYO", {"pause_until": "2099-01-01T00:00:00Z"}),
    ]
    attempts = [
        (f"{prefix}.{subject}", order)
        for subject, order in orders
        for prefix in ("hub.API", "$JS.API", "$JS.hub.API")
    ]
    answers = await asyncio.gather(*[ask(attacker, *attempt) for attempt in attempts])
    assert not [answer for answer in answers if answer and "error" not in answer]
    assert await stored(central, "UP_ROT") == 1
    names = json.loads(await central.request("$JS.API.STREAM.NAMES", b""))["streams"]
    assert sorted(set(names) - {"UP_NEW"}) == ["DOWN", "UP_LYO", "UP_ROT"]
    kept = json.loads(await central.request("$JS.API.CONSUMER.NAMES.DOWN", b""))["consumers"]
    assert {"site-LYO", "site-ROT"} <= set(kept) <= {"site-LYO", "site-ROT", "site-NEW"}


async def test_no_answer_can_be_led_into_another_sites_subject(central, attacker, rot):
    async def answer(subject: str, question: bytes) -> bytes:
        return question

    serving = asyncio.create_task(central.serve("ctl.*.>", answer, queue="control"))
    await served(rot, "ctl.ROT.echo")
    await central.publish_batch("down.ROT", [b"mine"], expected_last=0, over="down.ROT")
    request = b'{"batch":1,"expires":500000000}'
    for reply in ("up.LYO.forged", "down.LYO", "down.all", "ctl.LYO.forged", "cmd.LYO.rewind"):
        await attacker.publish("up.ROT.o", b"bait", reply=reply)
        await attacker.publish("ctl.ROT.echo", b"forged", reply=reply)
        for prefix in ("hub.API", "$JS.API"):
            api = f"{prefix}.CONSUMER.MSG.NEXT.DOWN.site-ROT"
            await attacker.publish(api, request, reply=reply)
            await attacker.publish(f"{prefix}.CONSUMER.INFO.DOWN.site-ROT", b"", reply=reply)
    await asyncio.sleep(0.7)
    assert await stored(central, "UP_ROT") == 5, "the attack did not even begin"
    assert await stored(central, "UP_LYO") == 0
    assert await stored(central, "DOWN") == 1
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_no_header_gives_a_site_power_over_its_stream(central, attacker, rot):
    await rot.publish_batch("up.ROT.o", [b"a", b"b"], expected_last=0, over="up.ROT.>")
    for name, value in (
        ("Nats-Rollup", "all"),
        ("Nats-TTL", "1s"),
        ("Nats-Schedule", "@at 2099-01-01T00:00:00Z"),
        ("Nats-Incr", "+1"),
    ):
        with contextlib.suppress(nats.errors.Error):
            await attacker.request("up.ROT.o", b"x", headers={name: value}, timeout=0.3)
    answer = json.loads(await central.request("$JS.API.STREAM.INFO.UP_ROT", b""))
    assert answer["state"]["first_seq"] == 1
    assert "num_deleted" not in answer["state"]


async def test_a_site_can_not_block_the_centre_with_more_connections_than_its_share(
    broker, keys, central
):
    links = [Link(settings(broker, keys, "ROT")) for _ in range(9)]
    async with contextlib.AsyncExitStack() as stack:
        for link in links[:8]:
            await stack.enter_async_context(link)
            await link.wait_connected(5)
        await stack.enter_async_context(links[8])
        with pytest.raises(BrokerUnreachable, match="maximum account active connections"):
            await links[8].wait_connected(0.6)

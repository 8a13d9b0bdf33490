"""Messages that nobody can read, or that speak for another site, lie between good ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import uuid
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from central.picture import read_picture
from edge.store.outbox import parts_after
from shared.changes import GENESIS, Part
from shared.errors import PayloadTooLarge
from sync import codec, frames
from sync.protocol import digest, transaction_hash
from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import CATALOG, connect, execute

ROOT = Path(__file__).parents[2]
SUBJECT = f"up.{SITE}.tx"


def part(site: str, body: bytes, *, n: int = 1, own: bytes | None = None) -> bytes:
    """Return a message in form, whose body may be anything."""
    tx_id, epoch, digests = str(uuid.uuid4()), str(uuid.uuid4()), (digest(body),)
    right = transaction_hash(GENESIS, epoch, n, tx_id, digests)
    return codec.encode_part(
        Part(
            site=site, epoch=epoch, n=n, tx_id=tx_id, part=0, parts=1, previous=GENESIS,
            hash=own or right, digests=digests, body=frames.compress(body),
        )
    )  # fmt: skip


def bad_messages(good: bytes, chance: random.Random) -> dict[str, tuple[bytes, str]]:
    """Return messages by what is wrong with them, and the reason that must stand with each."""
    piece = frames.fragments(chance.randbytes(frames.FRAME_BYTES_MAX + 5000))[1]
    unmade = b"\x94\x01\x02\x03\x04"
    return {
        "truncated": (good[: len(good) // 2], "MalformedMessage"),
        "nearly empty": (good[:4], "MalformedMessage"),
        "random": (chance.randbytes(5000), "MalformedMessage"),
        "random after the magic": (good[:4] + chance.randbytes(5000), "MalformedMessage"),
        "of a later release": (good[:3] + b"\x02" + good[4:], "UnknownWireVersion"),
        "of another site": (part("SITE_002", unmade), "ForeignSite"),
        "hash invented": (part(SITE, unmade, own=chance.randbytes(32)), "MalformedMessage"),
        "no rows in it": (part(SITE, unmade), "MalformedMessage"),
        "a bomb": (part(SITE, bytes(frames.BODY_BYTES_MAX + 1)), "MalformedMessage"),
        "a piece cut short": (piece[:-10], "MalformedMessage"),
        "a piece of something else": (
            frames.frame("X", (bytes(32), 0, 1, b"else")), "MalformedMessage",
        ),
    }  # fmt: skip


async def put(link: Link, message: bytes) -> None:
    """Store a message as the site itself does, but for the expected sequence."""
    answer = json.loads(await link.request(SUBJECT, message))
    assert answer["stream"] == f"UP_{SITE}", answer


def counted(why: str) -> float:
    given = {"site": SITE, "why": why}
    return REGISTRY.get_sample_value("mes_central_refused_total", given) or 0.0


async def listed(world) -> list[dict]:
    """Return what ``mes-central refused list`` tells a program."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "central", "refused", "list", "--json",
        env={"MES_DATABASE_URL": world.url}, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)["refused"]


@pytest.fixture
async def vandal(world):
    link = LinkSettings(servers=(world.nats_url,), name="vandal")
    async with Link(link) as vandal:
        await vandal.wait_connected(5)
        yield vandal


def sent(edge) -> bytes:
    """Return the first message that the site sent."""
    with contextlib.closing(edge.program()) as store:
        return codec.encode_part(parts_after(store, (0, -1), bytes_max=1)[0])


async def test_each_bad_message_is_refused_with_a_reason_and_the_good_ones_around_it_arrive(
    world, vandal, seed
):
    edge = world.edges[SITE]
    edge.write(local_orders("before"), state_events(50))
    await world.settle()
    good = sent(edge)
    bad = bad_messages(good, random.Random(seed))
    before = {why: counted(why) for _, why in bad.values()}
    for number, (message, _) in enumerate(bad.values()):
        await put(vandal, message)
        edge.write(local_orders(f"between {number}"), state_events(10))
        await execute(world.url, planned_orders(f"planned {number}"))
    await put(vandal, good)  # a replay: known, so nothing to refuse
    edge.write(local_orders("after"))
    await world.settle()
    wanted = Counter(why for _, why in bad.values())
    found = await world.central("SELECT reason, message, payload FROM sync.refused")
    assert Counter(reason for reason, _, _ in found) == wanted
    assert all(message for _, message, _ in found)
    assert {bytes(payload) for _, _, payload in found} == {message for message, _ in bad.values()}
    assert {why: counted(why) - before[why] for why in wanted} == wanted
    assert len(edge.read("SELECT 1 FROM work_orders")) == 2 + 2 * len(bad)
    assert await world.central("SELECT 1 FROM sync.epoch WHERE site <> %s", SITE) == []


async def test_what_was_refused_is_shown_by_status_and_list(world, vandal):
    await put(vandal, b"noise")
    await put(vandal, b"noise")  # the same again is one thing to look at
    await world.eventually(lambda: world.central("SELECT 1 FROM sync.refused"))
    world.edges[SITE].write(local_orders("after"))
    await world.settle()
    async with connect(world.url) as connection:
        picture = await read_picture(connection, CATALOG, None, [SITE])
    assert [each.refused for each in picture.sites] == [1]
    (shown,) = await listed(world)
    assert (shown["site"], shown["reason"], shown["bytes"]) == (SITE, "MalformedMessage", 5)
    assert "not a message of mes-sync" in shown["message"]


async def test_a_message_larger_than_the_broker_takes_never_reaches_the_queue(world, vandal):
    with pytest.raises(PayloadTooLarge):
        await vandal.publish_batch(SUBJECT, [bytes(2 << 20)], expected_last=0, over=f"up.{SITE}.>")
    world.edges[SITE].write(local_orders("after"))
    await world.settle()
    assert await world.central("SELECT 1 FROM sync.refused") == []

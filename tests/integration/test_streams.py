"""Declaring streams and durables: the comparison alone, and against a real server."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import ConsumerGone
from sync.streams import (
    Difference,
    Layout,
    StreamLimits,
    desired,
    diff,
    provision,
    purge_applied,
    read_layout,
    redeliver,
    stream_epoch,
)
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.servers import NatsServer

LIMITS = StreamLimits(up_bytes_max=16 << 20, down_bytes_max=16 << 20)
WANTED = desired(["LYO", "ROT"], limits=LIMITS)


@pytest.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[Link]:
    async with Link(LinkSettings(servers=(nats_server.url,), name="test")) as link:
        await link.wait_connected(5)
        yield link


async def api(link: Link, subject: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
    text = json.dumps(order or {}).encode()
    answer: dict[str, Any] = json.loads(await link.request(f"$JS.API.{subject}", text))
    assert "error" not in answer, answer
    return answer


# --- the comparison -------------------------------------------------------------------------


def test_each_site_has_a_stream_up_and_a_durable_on_the_one_stream_down():
    assert set(WANTED.streams) == {"DOWN", "UP_LYO", "UP_ROT"}
    assert WANTED.streams["UP_LYO"]["subjects"] == ["up.LYO.>"]
    assert set(WANTED.durables) == {
        ("UP_LYO", "apply"),
        ("UP_ROT", "apply"),
        ("DOWN", "site-LYO"),
        ("DOWN", "site-ROT"),
    }
    site = WANTED.durables["DOWN", "site-ROT"]
    assert site["filter_subjects"] == ["down.ROT", "down.all"]


def test_a_full_stream_up_refuses_and_a_full_one_down_drops_what_can_be_fetched():
    for name, stream in WANTED.streams.items():
        assert stream["discard"] == ("old" if name == "DOWN" else "new")
        assert stream["retention"] == "limits"
        assert stream["deny_delete"]
        assert stream["allow_atomic"]
    assert {durable["max_deliver"] for durable in WANTED.durables.values()} == {-1}


def test_nothing_differs_from_itself_and_everything_is_missing_from_nothing():
    assert diff(WANTED, WANTED) == []
    missing = diff(Layout({}, {}), WANTED)
    assert {difference.kind for difference in missing} == {"missing"}
    assert len(missing) == 7
    # A durable can be made only on a stream that is there.
    assert [difference.name for difference in missing[:3]] == ["DOWN", "UP_LYO", "UP_ROT"]


def test_what_the_broker_adds_is_no_difference_and_what_it_leaves_out_is_false():
    streams = {
        name: {key: value for key, value in config.items() if value} | {"sealed": False}
        for name, config in WANTED.streams.items()
    }
    assert diff(replace(WANTED, streams=streams), WANTED) == []


def test_a_difference_reads_as_one_line_with_both_values():
    changed = desired(["LYO", "ROT"], limits=replace(LIMITS, up_bytes_max=32 << 20))
    lines = [str(difference) for difference in diff(WANTED, changed)]
    assert lines == [
        "~ UP_LYO  max_bytes: 16777216 -> 33554432",
        "~ UP_ROT  max_bytes: 16777216 -> 33554432",
    ]


def test_a_stream_of_a_site_that_is_gone_is_named_and_its_durable_is_not_named_again():
    assert diff(WANTED, desired(["ROT"], limits=LIMITS)) == [
        Difference("extra", "UP_LYO"),
        Difference("extra", "DOWN/site-LYO"),
    ]


class Paged:
    """A broker that has what it is given, and lists two things at a time."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    async def request(self, subject: str, payload: bytes, *, timeout_s: float = 0) -> bytes:
        _, _, kind, _, *stream = subject.split(".")
        found: list[dict[str, Any]] = [{"config": each} for each in self.layout.streams.values()]
        if kind == "CONSUMER":
            durables = self.layout.durables.items()
            found = [
                {"name": name, "config": each} for (of, name), each in durables if [of] == stream
            ]
        offset = json.loads(payload)["offset"]
        page = {f"{kind.lower()}s": found[offset : offset + 2] or None, "total": len(found)}
        return json.dumps(page).encode()


async def test_what_is_listed_page_by_page_is_read_whole():
    wanted = desired([f"S{number}" for number in range(5)], limits=LIMITS)
    assert await provision(Paged(wanted), wanted) == []
    assert await read_layout(Paged(wanted)) == wanted


# --- against a server -----------------------------------------------------------------------


async def test_provisioning_twice_changes_nothing_the_second_time(link):
    assert len(await provision(link, WANTED)) == 7
    before = await read_layout(link)
    assert await provision(link, WANTED) == []
    assert await read_layout(link) == before


async def test_a_dry_run_tells_all_and_changes_nothing(link):
    differences = await provision(link, WANTED, dry_run=True)
    assert "+ UP_ROT/apply" in map(str, differences)
    assert await read_layout(link) == Layout({}, {})


async def test_what_may_be_changed_is_changed_and_the_messages_stay(link):
    await provision(link, WANTED)
    await link.publish_batch("up.ROT.o", [b"kept"], expected_last=0, over="up.ROT.>")
    epoch = await stream_epoch(link, "UP_ROT")
    limits = replace(LIMITS, up_bytes_max=8 << 20, age_max_s=3600, apply_ack_pending_max=7)
    wanted = desired(["LYO", "ROT"], limits=limits)
    differences = await provision(link, wanted)
    assert {difference.name for difference in differences} == {
        *("DOWN", "UP_LYO", "UP_ROT", "UP_LYO/apply", "UP_ROT/apply")
    }
    assert diff(await read_layout(link), wanted) == []
    assert await stream_epoch(link, "UP_ROT") == epoch
    assert (await api(link, "STREAM.INFO.UP_ROT"))["state"]["messages"] == 1


async def test_what_an_operator_has_set_besides_stays_when_something_is_changed(link):
    await provision(link, WANTED)
    config = (await read_layout(link)).streams["UP_ROT"]
    await api(
        link, "STREAM.UPDATE.UP_ROT", config | {"description": "mine", "max_age": 600 * 10**9}
    )
    await provision(link, WANTED)
    assert (await read_layout(link)).streams["UP_ROT"]["description"] == "mine"


async def test_a_durable_with_other_filters_is_put_right(link):
    await provision(link, WANTED)
    config = (await read_layout(link)).durables["DOWN", "site-ROT"]
    wrong = config | {"filter_subjects": ["down.LYO", "down.all"]}
    order = {"stream_name": "DOWN", "config": wrong, "action": "update"}
    await api(link, "CONSUMER.CREATE.DOWN.site-ROT", order)
    (difference,) = await provision(link, WANTED)
    assert "down.LYO" in str(difference)
    assert await provision(link, WANTED) == []


async def test_what_can_not_be_changed_is_left_told_what_to_do_and_all_else_is_mended(link):
    memory = WANTED.streams["UP_LYO"] | {"storage": "memory", "deny_delete": False}
    del memory["compression"]
    await api(link, "STREAM.CREATE.UP_LYO", memory)
    differences = await provision(link, WANTED)
    refused = {each.name: str(each) for each in differences if each.refused}
    assert set(refused) == {"UP_LYO"}
    assert re.search(r"UP_LYO.*storage.*REFUSED Delete it", refused["UP_LYO"])
    assert {each.name for each in diff(await read_layout(link), WANTED)} == {"UP_LYO"}


async def test_a_wiped_stream_is_declared_again_as_a_new_life_of_it(link):
    await provision(link, WANTED)
    epochs = {await stream_epoch(link, name) for name in WANTED.streams}
    for name in WANTED.streams:
        await api(link, f"STREAM.DELETE.{name}")
    assert len(await provision(link, WANTED)) == 7
    assert await provision(link, WANTED) == []
    again = {await stream_epoch(link, name) for name in WANTED.streams}
    assert len(epochs | again) == 6


async def test_more_than_the_broker_can_hold_is_refused_and_the_others_have_their_streams(link):
    huge = desired(["LYO"], limits=replace(LIMITS, up_bytes_max=1 << 45))
    wanted = Layout(WANTED.streams | {"UP_LYO": huge.streams["UP_LYO"]}, WANTED.durables)
    refused = [each for each in await provision(link, wanted) if each.refused]
    assert [each.name for each in refused] == ["UP_LYO"]
    assert "max_file" in refused[0].refused
    current = await read_layout(link)
    assert set(current.streams) == {"DOWN", "UP_ROT"}
    assert ("UP_ROT", "apply") in current.durables


async def test_replicas_without_a_cluster_are_refused_with_the_reason(link):
    differences = await provision(link, desired(["ROT"], replicas=3, limits=LIMITS))
    assert {each.name for each in differences} == {"DOWN", "UP_ROT"}
    assert all("cluster" in each.refused for each in differences)


async def test_other_streams_of_the_same_broker_are_left_alone(link):
    await api(link, "STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["mine.>"]})
    await provision(link, WANTED)
    assert (await api(link, "STREAM.INFO.MINE"))["config"]["subjects"] == ["mine.>"]


async def test_what_was_applied_is_purged_and_the_next_batch_still_fits(link):
    await provision(link, desired(["ROT"], limits=LIMITS))
    last = await link.publish_batch(
        "up.ROT.tx", [b"1", b"2", b"3"], expected_last=0, over="up.ROT.>"
    )
    async for deliveries in link.pull("UP_ROT", "apply"):
        await link.ack(deliveries)
        if deliveries[-1].stream_seq == last:
            break
    purged = 0
    for _ in range(100):  # an ack is fire and forget: it may be on its way
        purged += await purge_applied(link, "ROT")
        if purged == 2:
            break
        await asyncio.sleep(0.02)
    assert purged == 2
    assert await purge_applied(link, "ROT") == 0
    assert await link.publish_batch("up.ROT.tx", [b"4"], expected_last=last, over="up.ROT.>") == 4


async def test_what_a_worker_that_stands_still_has_asked_for_comes_to_the_next_one(link):
    await provision(link, desired(["ROT"], limits=LIMITS))
    frozen = aiter(link.pull("UP_ROT", "apply"))
    asked = asyncio.create_task(anext(frozen))
    for _ in range(100):  # what it asks for may be on its way
        if (await api(link, "CONSUMER.INFO.UP_ROT.apply"))["num_waiting"]:
            break
        await asyncio.sleep(0.02)
    try:
        assert await redeliver(link, "ROT")
        await link.publish_batch("up.ROT.tx", [b"1"], expected_last=0, over="up.ROT.>")
        async with asyncio.timeout(5):
            async for deliveries in link.pull("UP_ROT", "apply"):
                assert [each.payload for each in deliveries] == [b"1"]
                break
        with pytest.raises(ConsumerGone):
            await asked
    finally:
        await frozen.aclose()


async def test_what_a_dead_worker_had_in_hand_comes_to_the_next_one_at_once(link):
    await provision(link, desired(["ROT"], limits=LIMITS))
    await link.publish_batch("up.ROT.tx", [b"1"], expected_last=0, over="up.ROT.>")
    async for _ in link.pull("UP_ROT", "apply"):
        break  # it dies without an ack
    assert await redeliver(link, "ROT")
    async with asyncio.timeout(5):
        async for deliveries in link.pull("UP_ROT", "apply"):
            assert [each.payload for each in deliveries] == [b"1"]
            await link.ack(deliveries)
            break
    assert diff(await read_layout(link), desired(["ROT"], limits=LIMITS)) == []

"""The edge's lanes on a real store: what the pump, the centre and the agent do to them at once."""

from __future__ import annotations

import pytest

from edge.lanes import DownLane, StoreThread, UpLane
from shared.changes import SHARED
from shared.errors import ForkedHistory, UnknownWireVersion
from sync import codec
from sync.protocol import Verdict
from sync.pump import Message
from tests.integration.edge_world import SITE, Feed, Plant, put, uid


class Centre:
    """Answers questions for the feeds as the control service does."""

    def __init__(self) -> None:
        self.feeds: dict[str, list[bytes]] = {SITE: [], SHARED: []}

    async def request(self, subject: str, payload: bytes) -> bytes:
        asked = codec.decode_control(payload)
        assert subject == f"ctl.{SITE}.feed"
        return codec.encode_control({"entries": self.feeds[asked["scope"]][asked["after"] :]})


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db")
    yield plant
    plant.close()


@pytest.fixture
def thread():
    thread = StoreThread()
    yield thread
    thread.close()


@pytest.fixture
def centre():
    return Centre()


@pytest.fixture
def down(plant, thread, centre):
    return DownLane(plant.store, thread, centre, SITE)


@pytest.fixture
def up(plant, thread):
    return UpLane(plant.store, thread, thread, SITE)


def made(feed: Feed, number: int) -> bytes:
    """Return the next message of a feed, which brings an order."""
    head = put("orders", {"id": uid(number), "order_no": f"WO-{number}"}, order=number)
    entry, body = feed.entry(head)
    return codec.encode_entry(
        entry.scope, entry.pos, entry.previous, entry.hash, codec.compress(body)
    )


def orders(plant) -> list[str]:
    return [row["order_no"] for row in plant.rows("SELECT order_no FROM orders ORDER BY 1")]


def damaged(message: bytes) -> Message:
    return Message(message[: len(message) // 2], 1)


async def test_the_last_entry_is_asked_for_again_when_it_can_not_be_read(plant, down, centre):
    centre.feeds[SITE] = [made(plant.own, 1), made(plant.own, 2)]
    assert await down.take([Message(centre.feeds[SITE][0], 1)]) is Verdict.APPLY
    await down.take([damaged(centre.feeds[SITE][1])])
    assert orders(plant) == ["WO-1", "WO-2"]
    assert plant.events() == ["MES-FEED-UNREADABLE"]


async def test_what_is_fetched_before_an_unreadable_entry_is_applied(plant, down, centre):
    first, second = made(plant.own, 1), made(plant.own, 2)
    centre.feeds[SITE] = [first, second[:3] + b"\x7f" + second[4:]]
    with pytest.raises(UnknownWireVersion):
        await down.ask_again()
    assert orders(plant) == ["WO-1"]


async def test_what_the_stream_kept_of_another_history_is_dropped_and_the_centre_is_asked(
    plant, down, centre
):
    first = made(plant.own, 1)
    await down.take([Message(first, 1)])
    other = Feed(SITE)
    made(other, 7)
    centre.feeds[SITE] = [first, made(plant.own, 2)]
    assert await down.take([Message(made(other, 8), 1)]) is Verdict.SKIP
    assert orders(plant) == ["WO-1", "WO-2"]


async def test_another_history_is_noticed_when_entries_are_fetched(plant, down, centre):
    await down.take([Message(made(plant.own, 1), 1)])
    other = Feed(SITE)
    centre.feeds[SITE] = [made(other, 7), made(other, 8)]
    with pytest.raises(ForkedHistory, match="entry 2 of SITE_001 has another history"):
        await down.ask_again()
    assert orders(plant) == ["WO-1"]


async def test_going_back_while_a_batch_is_published_is_not_forgotten(plant, up):
    for number in (1, 2, 3):
        plant.insert("orders", id=uid(number), order_no=f"WO-{number}")
        plant.drain()
    first = await up.next(1 << 20)
    up.go_back_to(0)  # the centre asks for everything again before the broker has answered
    await up.sent(len(first))
    assert await up.next(1 << 20) == first
    await up.sent(2)
    assert await up.next(1 << 20) == first[2:]

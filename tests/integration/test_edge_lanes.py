"""The edge's lanes on a real store: what the pump, the centre and the agent do to them at once."""

from __future__ import annotations

import asyncio

import pytest

from edge import lanes
from edge.lanes import DownLane, UpLane
from shared.changes import GENESIS, SHARED
from shared.errors import ForkedHistory, UnknownWireVersion
from sync import codec
from sync.protocol import Verdict
from sync.pump import Message
from tests.integration.edge_world import SITE, Feed, Plant, plant, put, thread, uid  # noqa: F401


class Centre:
    """Answers questions for the feeds as the control service does."""

    def __init__(self) -> None:
        self.feeds: dict[str, list[bytes]] = {SITE: [], SHARED: []}
        #: An earlier release does not tell where a feed ends that brings nothing.
        self.tells_ends = False

    async def request(self, subject: str, payload: bytes) -> bytes:
        asked = codec.decode_control(payload)
        assert subject == f"ctl.{SITE}.feed"
        feed = self.feeds[asked["scope"]]
        end = {"end": len(feed), "hash": hash_of(feed)} if self.tells_ends else {}
        return codec.encode_control({"entries": feed[asked["after"] :], **end})


@pytest.fixture
def centre():
    return Centre()


@pytest.fixture
def down(plant, thread, centre):
    return DownLane(plant.store, thread, centre, SITE)


@pytest.fixture
def up(plant, thread):
    return UpLane(plant.store, thread, thread, SITE)


def made(feed: Feed, number: int, *, beside: int = 0) -> bytes:
    """Return the next message of a feed, which brings an order."""
    head = put("orders", {"id": uid(number), "order_no": f"WO-{number}"}, order=number)
    entry, body = feed.entry(head, beside=beside)
    return codec.encode_entry(
        entry.scope, entry.pos, entry.previous, entry.hash, codec.compress(body)
    )


def hash_of(feed: list[bytes]) -> bytes:
    """Return the hash of a feed's last entry."""
    return codec.decode_entry(feed[-1])[0].hash if feed else GENESIS


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


def part(plant, *, beside: int) -> bytes:
    """Return the next message of the shared feed."""
    head = put("parts", {"id": uid(90), "code": "P"}, order=90, site=SHARED)
    entry, body = plant.shared.entry(head, beside=beside)
    return codec.encode_entry(
        entry.scope, entry.pos, entry.previous, entry.hash, codec.compress(body)
    )


async def test_a_step_of_which_the_line_brought_one_half_is_completed_by_the_centre(
    plant, down, centre, monkeypatch
):
    centre.feeds = {SITE: [made(plant.own, 1, beside=1)], SHARED: [part(plant, beside=1)]}
    await down.take([Message(centre.feeds[SITE][0], 1)])
    monkeypatch.setattr(lanes, "now_ms", lambda: 10**13)  # years later, as far as clocks tell
    asked, seen = centre.request, []

    async def request(subject: str, payload: bytes) -> bytes:
        seen.append(orders(plant))
        return await asked(subject, payload)

    monkeypatch.setattr(centre, "request", request)
    await down.ask_again()
    assert (seen[0], orders(plant), plant.events()) == ([], ["WO-1"], [])


async def test_what_waited_when_the_agent_was_started_and_can_not_be_completed_is_shown(
    plant, thread, down, centre
):
    centre.feeds = {SITE: [made(plant.own, 1, beside=1)], SHARED: []}
    await down.take([Message(centre.feeds[SITE][0], 1)])
    started = DownLane(plant.store, thread, centre, SITE)
    started.agreed.set()
    await started.ask_again()
    assert (orders(plant), plant.events()) == (["WO-1"], ["MES-FEED-UNORDERED"])


async def test_what_waits_for_an_entry_beyond_the_end_of_its_feed_is_not_shown(plant, down, centre):
    centre.tells_ends = True
    centre.feeds = {SITE: [made(plant.own, 1, beside=1)], SHARED: []}
    with pytest.raises(ForkedHistory, match=r"waits for \*, which ends at 0"):
        await down.ask_again()
    assert (orders(plant), plant.events()) == ([], [])


async def test_a_feed_that_ends_before_what_came_of_it_is_of_a_centre_that_went_back(
    plant, down, centre
):
    centre.tells_ends = True
    first, second = made(plant.own, 1), made(plant.own, 2)
    centre.feeds[SITE] = [first, second]
    await down.ask_again()
    centre.feeds[SITE] = [first]
    with pytest.raises(ForkedHistory, match=f"{SITE} was followed to 2, it ends at 1"):
        await down.ask_again()
    plant.store.want_snapshot("a test", 0)  # what was followed counts for nothing
    await down.ask_again()


async def test_a_feed_that_ends_in_another_entry_is_of_a_centre_that_went_back(plant, down, centre):
    centre.tells_ends = True
    centre.feeds[SITE] = [made(plant.own, 1)]
    await down.ask_again()
    other = Feed(SITE)
    # What is beside it in the new life is the centre's; ours is of the lost one, and is not shown.
    centre.feeds = {SITE: [made(other, 7)], SHARED: [part(plant, beside=1)]}
    with pytest.raises(ForkedHistory, match=f"{SITE} was followed to another entry 1"):
        await down.ask_again()
    assert (orders(plant), plant.events()) == (["WO-1"], [])


@pytest.mark.parametrize("breaks", [SHARED, SITE])
async def test_a_feed_that_can_not_be_read_holds_up_the_other_no_longer_than_a_question(
    plant, down, centre, breaks
):
    centre.feeds = {SITE: [made(plant.own, 1, beside=1)], SHARED: [part(plant, beside=1)]}
    whole = centre.feeds[breaks][0]
    centre.feeds[breaks] = [whole[:3] + b"\x7f" + whole[4:]]
    for _ in range(2):
        with pytest.raises(UnknownWireVersion):
            await down.ask_again()
    parts = [row["code"] for row in plant.rows("SELECT code FROM parts")]
    assert (orders(plant), parts) == (([], ["P"]) if breaks == SITE else (["WO-1"], []))
    assert plant.events() == ["MES-FEED-UNORDERED"]
    assert f"entry 1 of feed {breaks}" in plant.value("SELECT message FROM _sync_event")
    centre.feeds[breaks] = [whole]
    await down.ask_again()
    assert (orders(plant), plant.value("SELECT count(*) FROM parts")) == (["WO-1"], 1)


class BusyCentre(Centre):
    """One where somebody writes something each time that it is asked."""

    def __init__(self, plant: Plant, *, in_both: bool) -> None:
        super().__init__()
        self._plant, self._in_both, self._steps = plant, in_both, 0

    async def request(self, subject: str, payload: bytes) -> bytes:
        scope = codec.decode_control(payload)["scope"]
        self._steps += 1
        beside = self._steps if self._in_both else 0
        self.feeds[SITE].append(made(self._plant.own, self._steps, beside=beside))
        if self._in_both:
            head = put("parts", {"id": uid(900 + self._steps), "code": f"P{self._steps}"},
                       order=self._steps, site=SHARED)  # fmt: skip
            entry, body = self._plant.shared.entry(head, beside=self._steps)
            self.feeds[SHARED].append(codec.encode_entry(
                entry.scope, entry.pos, entry.previous, entry.hash, codec.compress(body)
            ))  # fmt: skip
        answer = codec.decode_control(await super().request(subject, payload))
        return codec.encode_control(answer | {"end": len(self.feeds[scope])})


@pytest.mark.parametrize("in_both", [False, True])
async def test_asking_ends_though_somebody_writes_each_time_that_the_centre_is_asked(
    plant, down, in_both
):
    down.link = BusyCentre(plant, in_both=in_both)
    async with asyncio.timeout(20):
        await down.ask_again()
    assert orders(plant)[0] == "WO-1"
    assert plant.events() == []


async def test_what_waits_for_a_snapshot_is_not_shown_in_part(plant, down, centre):
    await down.take([Message(made(plant.own, 1, beside=1), 1)])
    plant.store.want_snapshot("the feed no longer reaches back", 1)
    await down.ask_again()
    assert (orders(plant), plant.events()) == ([], ["MES-SNAPSHOT-WANTED"])


async def test_what_waits_is_not_shown_in_part_where_the_centre_answers_that_a_snapshot_is_needed(
    plant, down, centre, monkeypatch
):
    asked, answers = centre.request, iter((False, False, True))
    centre.feeds[SITE] = [made(plant.own, 1, beside=1)]

    async def request(subject: str, payload: bytes) -> bytes:
        if codec.decode_control(payload)["scope"] == SHARED and next(answers):
            return codec.encode_control({"entries": [], "snapshot": "it was pruned meanwhile"})
        return await asked(subject, payload)

    monkeypatch.setattr(centre, "request", request)
    await down.ask_again()
    assert (orders(plant), plant.events()) == ([], ["MES-SNAPSHOT-WANTED"])


async def test_it_is_noticed_when_one_feed_waits_for_the_other_which_brings_nothing(
    plant, down, monkeypatch
):
    monkeypatch.setattr(lanes, "OTHER_FEED_S", 0.1)
    still = asyncio.create_task(down.stands_still())
    await down.take([Message(made(plant.own, 1), 1)])
    await asyncio.sleep(0.4)
    assert not still.done(), "nothing waits"
    await down.take([Message(made(plant.own, 2, beside=1), 1)])
    await asyncio.wait_for(still, 5)


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

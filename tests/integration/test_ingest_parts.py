"""Parts of one transaction that come in several deliveries are waited for, and acked once applied.

What was delivered is told by the bytes objects: a redelivery is another object of equal bytes.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, replace

import pytest

from central.ingest import SiteInbox, Stores, Worker
from shared.errors import ConsumerGone
from sync import codec
from sync.protocol import Verdict
from sync.pump import Message, Receiver
from sync.transport import Link, LinkSettings
from tests.integration.apply_world import NOON_MS, Site, World, world  # noqa: F401
from tests.integration.test_central_facts_large import parts_of, untimed

SITE = "SITE_001"


@dataclass(frozen=True)
class Delivered:
    payload: bytes
    stored_at_ms: int = NOON_MS


class Pull:
    """One life of a connection, as the worker follows it: what is not acked comes again."""

    def __init__(self, inbox: SiteInbox) -> None:
        self.receiver = Receiver(inbox)
        self.inbox = inbox
        self.unsettled: list[Delivered] = []

    async def takes(self, *messages: bytes) -> int:
        """Take a delivery, and return how many of all are acked by it."""
        deliveries = [Delivered(bytes(bytearray(message))) for message in messages]
        assert await self.receiver.receive_next(deliveries) is Verdict.APPLY
        self.unsettled += deliveries
        settled = min(self.inbox.settled(self.unsettled), self.receiver.settled(self.unsettled))
        self.unsettled = self.unsettled[settled:]
        return settled


def new_inbox(world: World) -> SiteInbox:
    nowhere = Link(LinkSettings(servers=("nats://127.0.0.1:1",), name="not connected"))
    return SiteInbox(SITE, world.leases[SITE], Stores([world.store], world.catalog), nowhere)


def in_parts(site: Site, count: int) -> list[bytes]:
    blocks = [site.insert("job_responses", site.report()) for _ in range(count)]
    for block in blocks:  # facts have no versions
        block.at = block.base = block.after = []
    return [codec.encode_part(part) for part in parts_of(site, blocks)]


async def applied(world: World) -> int:
    return await world.value("SELECT count(*) FROM mes.job_responses")


async def spooled(world: World) -> int:
    return await world.value("SELECT count(*) FROM sync.part")


async def test_parts_in_several_deliveries_are_applied_unspooled_and_acked_when_applied(world):
    pull = Pull(new_inbox(world))
    site = world.site()
    first, second, third = in_parts(site, 3)
    (before,) = in_parts(site, 1)
    assert await pull.takes(first) == 0
    assert await pull.takes(second) == 0
    assert (await applied(world), await spooled(world)) == (0, 0)
    assert await pull.takes(third, before) == 4
    assert (await applied(world), await spooled(world)) == (4, 0)


@pytest.mark.parametrize("name", ["hash", "previous", "tx_id", "epoch"])
async def test_a_part_that_its_own_hash_does_not_follow_from_is_refused_and_stops_nothing(
    world, name
):
    inbox, site = new_inbox(world), world.site()
    (part,) = parts_of(site, [untimed(site.insert("job_responses", site.report()))])
    other = str(uuid.uuid4()) if isinstance(getattr(part, name), str) else random.randbytes(32)
    forged = codec.encode_part(replace(part, **{name: other}))
    messages = [Message(forged, NOON_MS), Message(codec.encode_part(part), NOON_MS)]
    assert await inbox.take(messages) is Verdict.APPLY
    assert await applied(world) == 1
    assert await world.rows("SELECT reason FROM sync.refused") == [("MalformedMessage",)]


async def test_a_message_that_speaks_for_another_site_is_refused_and_stops_nothing(world):
    inbox, site = new_inbox(world), world.site()
    (part,) = parts_of(site, [untimed(site.insert("job_responses", site.report()))])
    forged = codec.encode_part(replace(part, site="SITE_002"))
    messages = [Message(forged, NOON_MS), Message(codec.encode_part(part), NOON_MS)]
    assert await inbox.take(messages) is Verdict.APPLY
    assert await applied(world) == 1
    assert await world.rows("SELECT reason FROM sync.refused") == [("ForeignSite",)]


class Broker:
    """Delivers what it is given, and knows what stood at the centre at each ack."""

    def __init__(self, world: World, *deliveries: list[Delivered]) -> None:
        self.world, self.deliveries = world, deliveries
        #: Messages acked, and rows applied by then.
        self.acks: list[tuple[int, int]] = []

    async def pull(self, stream, durable):
        for each in self.deliveries:
            yield each

    async def ack(self, deliveries):
        self.acks.append((len(deliveries), await applied(self.world)))


async def test_a_worker_acks_what_is_committed_and_nothing_before(world):
    site = world.site()
    (whole,) = in_parts(site, 1)
    first, second = in_parts(site, 2)
    broker = Broker(world, [Delivered(whole)], [Delivered(first)], [Delivered(second)])
    stores = Stores([world.store], world.catalog)
    inbox = SiteInbox(SITE, world.leases[SITE], stores, broker)
    worker = Worker("w", stores, world.store, broker, lease_s=10.0)
    with pytest.raises(ConsumerGone):
        await worker._pull(SITE, inbox)
    assert broker.acks == [(1, 1), (0, 1), (2, 3)]


async def test_what_came_before_a_beginning_is_acked_without_it(world):
    pull = Pull(new_inbox(world))
    site = world.site()
    (whole,) = in_parts(site, 1)
    first, second = in_parts(site, 2)
    assert await pull.takes(whole, first) == 1
    assert await pull.takes(second) == 2
    assert (await applied(world), await spooled(world)) == (3, 0)


async def test_a_worker_that_is_killed_with_a_beginning_leaves_all_of_it_to_the_next(world):
    site = world.site()
    first, second, third = in_parts(site, 3)
    assert await Pull(new_inbox(world)).takes(first, second) == 0
    again = Pull(new_inbox(world))
    assert await again.takes(first) == 0
    assert await again.takes(second, third) == 3
    assert (await applied(world), await spooled(world)) == (3, 0)


async def test_a_beginning_that_comes_again_after_a_reconnect_leaves_no_part_behind(world):
    inbox = new_inbox(world)
    first, second, third = in_parts(world.site(), 3)
    assert await Pull(inbox).takes(first, second) == 0
    again = Pull(inbox)
    assert await again.takes(first, second, third) == 3
    assert (await applied(world), await spooled(world)) == (3, 0)


async def test_a_beginning_delivered_again_in_part_is_not_acked_before_it_is_applied(world):
    inbox = new_inbox(world)
    first, second, third, fourth = in_parts(world.site(), 4)
    assert await Pull(inbox).takes(first, second) == 0
    again = Pull(inbox)
    assert await again.takes(second, third) == 0
    assert await again.takes(fourth) == 3
    assert (await applied(world), await spooled(world)) == (4, 0)


async def test_a_rest_that_overtakes_the_beginning_after_a_reconnect_completes_it(world):
    inbox = new_inbox(world)
    site = world.site()
    first, second, third = in_parts(site, 3)
    (later,) = in_parts(site, 1)
    assert await Pull(inbox).takes(first, second) == 0
    again = Pull(inbox)
    assert await again.takes(third) == 1
    assert await applied(world) == 3
    # The beginning is delivered again when its wait is over: it is known, and changes nothing.
    assert await again.takes(first, second) == 0
    assert await again.takes(later) == 3
    assert (await applied(world), await spooled(world)) == (4, 0)


async def test_a_beginning_of_which_nothing_more_comes_is_spooled_and_acked(world):
    pull = Pull(new_inbox(world))
    first, second, third = in_parts(world.site(), 3)
    assert await pull.takes(first, second) == 0
    assert await pull.takes(first, second) == 4
    assert (await applied(world), await spooled(world)) == (0, 2)
    assert await pull.takes(third) == 1
    assert (await applied(world), await spooled(world)) == (3, 0)

"""What the pump relies on of an outbox: of the fake, of a site's store, of a feed of the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from central.relay import FeedLane
from edge.lanes import StoreThread, UpLane
from tests.contract.fakes import FakeOutbox
from tests.faults.cases import planned_orders
from tests.integration.central_world import connect, execute
from tests.integration.conftest import centre, centre_template
from tests.integration.edge_world import SITE, Plant, uid
from tests.integration.test_feed import sequence

if TYPE_CHECKING:
    from sync.pump import Outbox

__all__ = ["centre", "centre_template"]

COUNT, DECIDED = 5, 2
LARGE = 1 << 20


async def fake():
    yield FakeOutbox(count=COUNT, decided=DECIDED)


async def site(tmp_path):
    """The outbox of a site that has drained five times, of which the centre decided on two."""
    plant = Plant(tmp_path / "store.db")
    for number in range(COUNT):
        plant.insert("orders", id=uid(number), order_no=f"A{number}")
        plant.drain()
    plant.take(ack=plant.ack(DECIDED))
    writing, reading = StoreThread(), StoreThread("outbox")
    yield UpLane(plant.store, writing, reading, SITE)
    for thread in (writing, reading):
        thread.close()
    plant.close()


async def feed(centre):
    """A feed of five entries."""
    for number in range(COUNT):
        await execute(centre, planned_orders(f"B{number}", site=SITE))
        await sequence(centre)
    async with connect(centre) as connection:
        yield FeedLane(connection, SITE, 0)


@pytest.fixture(params=["fake", "site", pytest.param("feed", marks=pytest.mark.postgres)])
def kind(request):
    """How the outbox is made; with what it needs, which is made outside of the event loop."""
    if request.param == "fake":
        return fake()
    if request.param == "site":
        return site(request.getfixturevalue("tmp_path"))
    return feed(request.getfixturevalue("centre"))


@pytest.fixture
async def outbox(kind):
    async for outbox in kind:
        yield outbox


async def rest(outbox: Outbox) -> list[bytes]:
    """Send all that there is, one message at a time."""
    sent: list[bytes] = []
    while messages := await outbox.next(LARGE):
        sent += messages[:1]
        await outbox.sent(1)
    return sent


async def test_messages_come_in_order_each_once_and_then_none(outbox):
    sent = await rest(outbox)
    assert len(sent) == len(set(sent)) == COUNT
    assert list(await outbox.next(LARGE)) == []


async def test_what_was_not_sent_is_given_again(outbox):
    first = list(await outbox.next(LARGE))
    assert list(await outbox.next(LARGE)) == first
    await outbox.sent(1)
    assert (await outbox.next(LARGE))[0] == first[1]


async def test_at_least_one_is_given_however_small_the_bound(outbox):
    assert len(await outbox.next(1)) == 1


# Not the feed: edges fetch what they miss of it, and it is never sent again.
@pytest.mark.parametrize("kind", ["fake", "site"], indirect=True)
async def test_all_that_is_not_decided_goes_again_after_a_rewind(outbox):
    sent = await rest(outbox)
    await outbox.rewind()
    assert await rest(outbox) == sent[DECIDED:]

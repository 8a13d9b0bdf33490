"""A snapshot is fetched chunk by chunk over a real broker, from a centre that takes its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge import loading
from edge.lanes import StoreThread
from shared.errors import NoResponder, StaleSnapshot
from sync import codec
from sync.handshake import Met
from tests.integration.edge_loads import manifest, order, plant  # noqa: F401
from tests.integration.edge_world import SITE, Plant
from tests.integration.transport_world import broker, link

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["broker", "link"]

pytestmark = pytest.mark.nats


class Centre:
    """Answers a site's questions about one snapshot; the last chunks may never come."""

    def __init__(self, plant: Plant, made: int, *, whole: bool) -> None:
        self._manifest = manifest(plant)
        self._chunks = [codec.encode_chunk([order(k, at=k + 1, notes="x")]) for k in range(made)]
        self._whole = whole
        #: Questions for a chunk that are answered by asking to wait, before it is there.
        self.waits = 0
        #: Whether it may be said that there are no more chunks.
        self.before_end: Callable[[], bool] | None = None
        #: Called before the first chunk is given.
        self.before_first: Callable[[], None] | None = None

    async def answer(self, subject: str, question: bytes) -> bytes:
        asked = codec.decode_control(question)
        return codec.encode_control(self._answer(subject.rpartition(".")[2], asked))

    def _answer(self, verb: str, asked: dict) -> dict:
        if verb == "snapshot":
            return {"id": "one", "manifest": self._manifest}
        if self.waits:
            self.waits -= 1
            return {"wait": True}
        if asked["k"] >= len(self._chunks):
            if self.before_end is not None and not self.before_end():
                return {"wait": True}
            return {"end": True} if self._whole else {"wait": True}
        if asked["k"] == 0 and self.before_first is not None:
            self.before_first()
        body = self._chunks[asked["k"]]
        return {"piece": body[asked["offset"] :], "size": len(body)}


@pytest.fixture
def agreed():
    """Set while both ends agree."""
    agreed = asyncio.Event()
    agreed.set()
    return agreed


@pytest.fixture
async def load(link, plant, agreed):
    """Load from a centre that the test makes."""
    thread, serving = StoreThread(), []

    async def load(centre: Centre) -> None:
        while serving:
            await _end(serving.pop())
        serving.append(asyncio.create_task(link.serve(f"ctl.{SITE}.*", centre.answer, queue="c")))
        async with asyncio.timeout(10):
            while True:
                try:
                    return await loading.load_snapshot(link, plant.store, thread, SITE, agreed)
                except NoResponder as why:
                    if "does not come" in str(why):
                        raise
                    await asyncio.sleep(0.01)  # it does not serve yet

    yield load
    await _end(*serving)
    thread.close()


async def _end(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_chunk_that_is_not_made_yet_is_waited_for(load, plant):
    centre = Centre(plant, 3, whole=True)
    centre.waits = 5
    await load(centre)
    assert centre.waits == 0
    assert plant.value("SELECT count(*) FROM orders") == 3
    assert plant.store.snapshot_state() is None


async def test_a_chunk_that_does_not_come_is_given_up_and_the_load_goes_on_later(
    load, plant, monkeypatch
):
    monkeypatch.setattr(loading, "_CHUNK_WAIT_MAX_S", 0.2)
    with pytest.raises(NoResponder, match="chunk 2 of snapshot one does not come"):
        await load(Centre(plant, 2, whole=False))
    assert plant.store.snapshot_state().next_chunk == 2
    assert plant.value("SELECT count(*) FROM orders") == 2
    await load(Centre(plant, 4, whole=True))
    assert plant.value("SELECT count(*) FROM orders") == 4
    assert plant.store.snapshot_state() is None


async def test_a_load_does_not_end_while_the_two_ends_do_not_agree(load, plant, agreed):
    centre, parted = Centre(plant, 1, whole=True), asyncio.Event()

    def part_once_it_is_applied() -> bool:
        if plant.value("SELECT count(*) FROM orders") == 0:
            return False
        agreed.clear()
        parted.set()
        return True

    centre.before_end = part_once_it_is_applied
    loading = asyncio.create_task(load(centre))
    await parted.wait()
    done, _ = await asyncio.wait({loading}, timeout=0.3)
    assert not done
    assert plant.value("SELECT count(*) FROM _sync_snapshot") == 1
    agreed.set()
    await loading
    assert plant.value("SELECT count(*) FROM _sync_snapshot") == 0


async def test_what_was_asked_for_in_an_earlier_life_of_the_centre_is_asked_for_again(load, plant):
    centre = Centre(plant, 3, whole=True)
    centre.before_first = lambda: plant.store.meet(Met("two", 0), None)
    with pytest.raises(StaleSnapshot, match="the centre was started since"):
        await load(centre)
    assert plant.value("SELECT count(*) FROM orders") == 0
    centre.before_first = None
    await load(centre)
    assert plant.value("SELECT count(*) FROM orders") == 3

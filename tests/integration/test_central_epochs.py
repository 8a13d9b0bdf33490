"""What the centre answers when a site's epoch is to end: asked as a store that went back asks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from central.control import Control
from sync import codec
from tests.integration.central_world import CATALOG, execute, fetch

SITE = "SITE_001"
EPOCH, NEXT, THIRD = (f"00000000-0000-7000-8000-00000000000{k}" for k in (1, 2, 3))
GENESIS = bytes(32)


def hash_of(n: int) -> bytes:
    return n.to_bytes(32, "big")


@dataclass
class Centre:
    """The control service, and what the broker still holds of the site."""

    url: str
    control: Control
    under_way: int = 0

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        answer = await self.control.answer(f"ctl.{SITE}.{verb}", codec.encode_control(fields))
        return codec.decode_control(answer)

    async def close(self, n: int, **changed: Any) -> dict[str, Any]:
        asked = {"epoch": EPOCH, "n": n, "hash": hash_of(n), "next": NEXT, "why": "a test"}
        return await self.ask("close", **(asked | changed))

    async def has_applied(self, last_n: int, *, remembered_from: int = 1) -> None:
        """Have so many transactions of the epoch applied, of which the first may be forgotten."""
        await execute(
            self.url,
            f"INSERT INTO sync.epoch (site, epoch, last_n, last_hash)"
            f" VALUES ('{SITE}', '{EPOCH}', {last_n}, '\\x{hash_of(last_n).hex()}')",
        )
        for n in range(remembered_from, last_n + 1):
            await execute(
                self.url,
                "INSERT INTO sync.applied (tx_id, site, epoch, n, hash, hlc) VALUES"
                f" ('{uuid.uuid4()}', '{SITE}', '{EPOCH}', {n}, '\\x{hash_of(n).hex()}', {n})",
            )

    async def open_epochs(self) -> list[str]:
        rows = await fetch(
            self.url, "SELECT epoch::text FROM sync.epoch WHERE closed_at_n IS NULL ORDER BY 1"
        )
        return [epoch for (epoch,) in rows]

    async def stopped(self) -> str:
        ((why,),) = await fetch(
            self.url, f"SELECT stopped_because FROM sync.site WHERE site = '{SITE}'"
        )
        return str(why or "")


@pytest.fixture
async def world(centre):
    async def waiting(_: str) -> int:
        return world.under_way

    async with AsyncConnectionPool(centre, min_size=1, max_size=4, open=False) as pool:
        world = Centre(centre, Control(pool, CATALOG, waiting))
        yield world


async def test_an_epoch_is_not_closed_while_something_of_it_is_under_way(world):
    await world.has_applied(3)
    world.under_way = 2
    assert await world.close(2) == {"wait": 2}
    assert await world.open_epochs() == [EPOCH]
    world.under_way = 0
    assert (await world.close(2))["next"] == NEXT
    assert await world.open_epochs() == [NEXT]


async def test_an_epoch_that_is_closed_again_goes_on_where_it_did(world):
    """The answer to the first question was lost."""
    await world.has_applied(3)
    first = await world.close(2)
    assert await world.close(2, next=THIRD) == first
    assert await world.open_epochs() == [NEXT]


async def test_what_moved_into_a_later_epoch_and_the_copy_has_stays_the_sites_own(world):
    """A store that was put back twice to the same copy, which holds n 1 and n 2."""
    await world.has_applied(3)
    await world.close(2)
    await execute(
        world.url,
        "INSERT INTO sync.applied (tx_id, site, epoch, n, hash, hlc)"
        f" SELECT tx_id, site, '{NEXT}'::uuid, n, hash, hlc FROM sync.applied WHERE n < 3"
        f" UNION ALL SELECT gen_random_uuid(), '{SITE}', '{NEXT}'::uuid, 3, hash, 10"
        " FROM sync.applied WHERE n = 3",
    )
    await execute(world.url, f"UPDATE sync.epoch SET last_n = 3 WHERE epoch = '{NEXT}'")
    await execute(
        world.url,
        "INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin, at_ms,"
        f" hlc) SELECT '{SITE}', 1, gen_random_uuid(), hlc, gen_random_uuid(), 'U', 1, '{SITE}', 0,"
        " hlc FROM unnest(ARRAY[1, 2, 3, 10]) AS hlc",
    )
    await world.close(2, next=THIRD)
    lost = await fetch(world.url, "SELECT hlc FROM sync.version WHERE lost ORDER BY 1")
    assert lost == [(3,), (10,)]


async def test_a_fork_at_another_transaction_than_was_applied_stops_the_site(world):
    await world.has_applied(3)
    assert "another one" in (await world.close(2, hash=hash_of(99)))["stop"]
    assert "another one" in await world.stopped()
    assert await world.open_epochs() == [EPOCH]


async def test_a_store_that_goes_back_again_and_again_stops_the_site(world):
    await world.has_applied(9)
    epochs = [EPOCH, *(str(uuid.uuid4()) for _ in range(3))]
    for old, following in pairwise(epochs):
        at = 5 if old == EPOCH else 0
        assert "stop" not in await world.close(
            at, epoch=old, next=following, hash=hash_of(at) if at else GENESIS
        )
    answer = await world.close(0, epoch=epochs[-1], next=str(uuid.uuid4()), hash=GENESIS)
    assert "take turns" in answer["stop"]
    assert "take turns" in await world.stopped()


async def test_a_store_older_than_what_is_remembered_stops_the_site(world):
    await world.has_applied(9, remembered_from=6)
    await execute(world.url, "UPDATE sync.epoch SET safe_n = 8")
    assert "older than what the centre remembers" in (await world.close(3, hash=None))["stop"]
    assert await world.open_epochs() == [EPOCH]


async def test_epochs_that_the_centre_no_longer_knows_are_closed_when_it_is_taken_up(world):
    await world.ask(
        "take_up", epoch=NEXT, included=[0, GENESIS], before_first=[0, GENESIS],
        lineage=[[EPOCH, 2, 3]], why="a test", rows=0,
    )  # fmt: skip
    assert await world.open_epochs() == [NEXT]
    rows = await fetch(world.url, "SELECT epoch::text, closed_at_n FROM sync.epoch ORDER BY 1")
    assert rows == [(EPOCH, 0), (NEXT, None)]

"""Folding makes many rows few, at leisure, and nobody who reads sees that it is done."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central import rolled
from central.roles import INGEST, as_role
from central.rolled import keep_folding, rebuild
from central.rollups import FOLDING, ROLLUPS
from tests.integration.apply_world import World, world
from tests.integration.rollup_world import as_ingest, exact, folds, report, sends

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["world"]

pytestmark = pytest.mark.postgres


async def all_sums(world: World) -> list[Any]:
    return [
        await world.rows(f"SELECT * FROM mes.{rollup.name} ORDER BY {', '.join(rollup.key_names)}")
        for rollup in ROLLUPS
    ]


async def test_folding_changes_no_sum_and_leaves_nothing_to_fold(world: World, monkeypatch):
    monkeypatch.setattr(rolled, "FOLD_ROWS", 7)
    site, chance = world.site(), random.Random(10)
    for _ in range(2):  # the second time there are rows to add to
        await sends(site, [report(site, chance) for _ in range(30)])
        before = await all_sums(world)
        assert await folds(world) == 30
        assert await world.rows("SELECT FROM mes.job_responses_deltas") == []
        assert await all_sums(world) == before
        await exact(world)
    assert await folds(world) == 0


async def test_what_is_folded_goes_into_the_row_that_there_is_for_its_key(world: World):
    """Also where a part of the key is null: rows would be added for ever, and summed each time."""
    site, chance = world.site(), random.Random(16)
    same = report(site, chance) | {"equipment_id": None, "person_id": None, "work_order_id": None}
    for _ in range(3):
        await sends(site, [same | {"id": str(uuid.UUID(int=chance.getrandbits(128), version=4))}])
        await folds(world)
    for rollup in ROLLUPS:
        assert await world.value(f"SELECT count(*) FROM mes.{rollup.folded}") == 1, rollup.name
    await exact(world)


async def test_what_is_taken_away_before_it_is_folded_and_after_is_gone(world: World):
    site, chance = world.site(), random.Random(14)
    await sends(site, [report(site, chance) for _ in range(6)])
    await folds(world)
    await sends(site, [report(site, chance) for _ in range(6)])
    await as_ingest(world, "DELETE FROM mes.job_responses")
    for _ in range(2):
        await exact(world)
        assert await world.rows("SELECT FROM mes.output_days WHERE reports <> 0") == []
        await folds(world)


async def test_what_was_folded_is_cleared_away_for_those_who_read(world: World, monkeypatch):
    monkeypatch.setattr(rolled, "FOLD_ROWS", 20)
    monkeypatch.setattr(rolled, "FOLD_PAUSE_S", 0.01)
    site, chance = world.site(), random.Random(15)
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        folding = asyncio.create_task(keep_folding(ingest))
        for _ in range(3):
            await sends(site, [report(site, chance) for _ in range(20)])
        size = "SELECT pg_relation_size('mes.job_responses_deltas')"
        sizes = [await world.value(size)]
        for _ in range(500):
            if not sizes[-1]:
                break
            await asyncio.sleep(0.02)
            sizes.append(await world.value(size))
        folding.cancel()
        await asyncio.gather(folding, return_exceptions=True)
    assert sizes[-1] == 0
    await exact(world)


async def test_whoever_reads_while_it_is_folded_finds_every_report_once(world: World, monkeypatch):
    monkeypatch.setattr(rolled, "FOLD_ROWS", 5)
    site, chance, seen = world.site(), random.Random(11), [0]
    is_over = asyncio.Event()

    async def read() -> None:
        while not is_over.is_set():
            seen.append(await world.value("SELECT sum(reports)::int FROM mes.output_days"))

    async def keep(work: Callable[[], Awaitable[object]]) -> None:
        while not is_over.is_set():
            await work()

    await sends(site, [report(site, chance)])
    others = [asyncio.create_task(read())]
    others += [asyncio.create_task(keep(lambda: folds(world))) for _ in range(2)]
    for _ in range(25):
        await sends(site, [report(site, chance) for _ in range(4)])
    is_over.set()
    await asyncio.gather(*others)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    await exact(world)


async def test_rollups_made_anew_while_others_fold_are_those_of_the_facts(world: World):
    site, chance = world.site(), random.Random(12)
    await sends(site, [report(site, chance) for _ in range(40)])
    await folds(world)
    await sends(site, [report(site, chance) for _ in range(40)])
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        for _ in range(5):
            await asyncio.gather(rebuild(ingest, "SITE_001"), folds(world), folds(world))
    await exact(world)


async def test_one_at_a_time_folds(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(13))])
    async with await psycopg.AsyncConnection.connect(world.url) as other:
        await other.execute(f"SELECT pg_advisory_xact_lock({FOLDING})".encode())
        assert await folds(world) == 0
    assert await folds(world) == 1

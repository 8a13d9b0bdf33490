"""A worker looks after what waits, and its leases, whatever its stores are at."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from central import ingest
from central.ingest import Stores, Worker
from central.roles import as_role
from central.store import CentralStore, abandoned
from sync.transport import Link, LinkSettings
from tests.integration.apply_world import CREATED, World, world  # noqa: F401
from tests.integration.test_central_abandoned import copying, state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SITE = "SITE_001"


@asynccontextmanager
async def a_worker(world: World, *, lease_s: float = 10.0) -> AsyncIterator[tuple[Worker, Stores]]:
    """Give a worker with one store to lend, and one for its leases."""
    url = as_role(world.url, "mes_ingest")
    async with CentralStore.open(url, world.catalog) as leases:
        stores = Stores([world.store], world.catalog)
        nowhere = Link(LinkSettings(servers=("nats://127.0.0.1:1",), name="not connected"))
        yield Worker("w", stores, leases, nowhere, lease_s=lease_s), stores


@asynccontextmanager
async def retrying(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Task]:
    monkeypatch.setattr(ingest, "_RETRY_DUE_EVERY_S", 0.05)
    task = asyncio.create_task(worker._retry_due(SITE))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_store_that_came_back_is_lent_to_one_at_a_time(world: World) -> None:
    stores = Stores([world.store], world.catalog)
    async with stores.lend() as store:
        assert store is world.store
    async with stores.lend():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), stores.lend():
                pass


async def two_that_wait(world: World) -> None:
    """Have two reports wait for an order that the centre then makes."""
    site = world.site()
    order = "0193e7a0-0000-7000-8000-00000000000f"
    for _ in range(2):
        report = site.report(work_order_id=order)
        await site.apply(site.sends(site.insert("job_responses", report)))
    await world.client(
        "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, qty_ordered)"
        " VALUES (%s, %s, %s, 'W', 5)",
        order, SITE, CREATED,
    )  # fmt: skip
    assert await world.value("SELECT count(*) FROM sync.waiting WHERE needs IS NOT NULL") == 2


async def until(claim: Callable[[], object], patience_s: float = 20.0) -> None:
    end = time.monotonic() + patience_s
    while True:
        found = claim()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < end, "did not come true"
        await asyncio.sleep(0.05)


async def until_applied(world: World, count: int) -> None:
    async def applied() -> bool:
        return await world.value("SELECT count(*) FROM mes.job_responses") == count

    await until(applied)


async def test_a_waiting_row_that_can_not_be_tried_holds_up_no_other(world):
    await two_that_wait(world)
    await world.admin.execute(
        "UPDATE sync.waiting SET block = 'rubbish' WHERE ord = (SELECT min(ord) FROM sync.waiting)"
    )
    assert await world.store.retry_due(SITE) == 1
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_what_waits_is_looked_at_again_after_a_failure_that_nobody_foresaw(
    world, monkeypatch, caplog
):
    await two_that_wait(world)
    await world.admin.execute("ALTER TABLE sync.waiting RENAME needs TO mislaid")
    async with a_worker(world) as (worker, _), retrying(worker, monkeypatch):
        await until(lambda: "what waits was not tried" in caplog.text)
        await world.admin.execute("ALTER TABLE sync.waiting RENAME mislaid TO needs")
        await until_applied(world, 2)


async def test_between_two_attempts_at_what_waits_its_store_is_lent_to_others(
    world, monkeypatch, caplog
):
    await two_that_wait(world)
    await world.admin.execute("ALTER TABLE sync.waiting RENAME TO mislaid")  # the store is busy
    async with a_worker(world) as (worker, stores), retrying(worker, monkeypatch):
        await until(lambda: "as it raised StoreBusy" in caplog.text)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            async with asyncio.timeout(0.5), stores.lend():
                pass
            await asyncio.sleep(0.1)
        await world.admin.execute("ALTER TABLE sync.mislaid RENAME TO waiting")
        await until_applied(world, 2)


async def test_leases_are_renewed_while_every_store_is_at_an_apply(world):
    await world.store.release("worker")
    async with a_worker(world, lease_s=0.6) as (worker, stores), stores.lend():
        running = asyncio.create_task(worker.run())
        try:
            held = "SELECT lease_token, lease_until > now() FROM sync.site WHERE site = %s"

            async def is_held() -> bool:
                return (await world.one(held, SITE))[1]

            await until(is_held)
            token, _ = await world.one(held, SITE)
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert await world.one(held, SITE) == (token, True)
                await asyncio.sleep(0.1)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_ends_what_another_has_left_standing_amid_a_copy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned, "STILL_MAX_S", 0.2)
    async with a_worker(world, lease_s=0.3) as (worker, _), copying(world.url) as (connection, _):
        running = asyncio.create_task(worker.run())

        async def ended() -> bool:
            return await state_of(world.url, connection) is None

        await until(ended)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

"""Workers share the sites evenly, and nobody applies for a site that another has."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.roles import as_role
from central.store import CentralStore, Incoming
from shared.catalog_file import load_catalog
from shared.errors import LeaseLost
from tests.integration.apply_world import open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from central.store import Lease

TTL_S = 30.0


@pytest.fixture
async def thirty(centre: str) -> str:
    """The address of a centre with thirty sites."""
    async with await psycopg.AsyncConnection.connect(centre, autocommit=True) as admin:
        await admin.execute(
            b"INSERT INTO sync.site (site) SELECT 'SITE_' || to_char(n, 'FM000')"
            b" FROM generate_series(4, 30) AS n"
        )
    return centre


@asynccontextmanager
async def stores(url: str, count: int) -> AsyncIterator[list[CentralStore]]:
    async with AsyncExitStack() as stack:
        catalog = load_catalog()
        yield [
            await stack.enter_async_context(CentralStore.open(as_role(url, "mes_ingest"), catalog))
            for _ in range(count)
        ]


async def run_out(url: str, holder: str) -> None:
    """Let a worker's time pass, as if it had been killed that long ago."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute(
            b"UPDATE sync.site SET lease_until = now() - interval '1 s' WHERE lease_holder = %s",
            [holder],
        )
        await admin.execute(
            b"UPDATE sync.worker SET until = now() - interval '1 s' WHERE holder = %s", [holder]
        )


async def take_one(url: str, holder: str, site: str) -> None:
    """Have another worker take a site that is free, as one does whose share is small."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute(
            b"UPDATE sync.site SET lease_holder = %s, lease_token = lease_token + 1,"
            b" lease_until = now() + interval '1 min' WHERE site = %s",
            [holder, site],
        )


async def test_one_worker_has_all_sites_and_keeps_its_tokens(thirty: str) -> None:
    async with stores(thirty, 1) as (store,):
        first = await store.claim("a", ttl_s=TTL_S)
        assert len(first) == 30
        assert await store.claim("a", ttl_s=TTL_S) == first


async def test_a_second_worker_gets_its_half_without_two_on_one_site(thirty: str) -> None:
    async with stores(thirty, 2) as (one, two):
        await one.claim("a", ttl_s=TTL_S)
        assert await two.claim("b", ttl_s=TTL_S) == {}
        kept = await one.claim("a", ttl_s=TTL_S)
        taken = await two.claim("b", ttl_s=TTL_S)
        assert (len(kept), len(taken)) == (15, 15)
        assert not kept.keys() & taken.keys()


async def test_the_sites_of_a_killed_worker_go_to_the_other_with_new_tokens(
    thirty: str,
) -> None:
    async with stores(thirty, 2) as (one, two):
        await one.claim("a", ttl_s=TTL_S)
        await two.claim("b", ttl_s=TTL_S)
        before = await one.claim("a", ttl_s=TTL_S)
        await two.claim("b", ttl_s=TTL_S)
        await run_out(thirty, "a")
        after = await two.claim("b", ttl_s=TTL_S)
        assert len(after) == 30
        for site, lease in before.items():
            assert after[site].token == lease.token + 1


async def test_a_worker_that_was_late_and_lost_nothing_keeps_its_tokens(thirty: str) -> None:
    async with stores(thirty, 1) as (store,):
        before = await store.claim("a", ttl_s=TTL_S)
        await run_out(thirty, "a")
        assert await store.claim("a", ttl_s=TTL_S) == before
        await run_out(thirty, "a")
        await take_one(thirty, "b", "SITE_007")
        after = await store.claim("a", ttl_s=TTL_S)
        assert (len(after), "SITE_007" in after) == (29, False)
        assert all(before[site] == lease for site, lease in after.items())


async def test_three_workers_that_begin_together_share_all_sites(thirty: str) -> None:
    async with stores(thirty, 3) as workers:
        held: list[dict[str, Lease]] = []
        for _ in range(3):
            held = list(
                await asyncio.gather(
                    *(
                        store.claim(name, ttl_s=TTL_S)
                        for name, store in zip("abc", workers, strict=True)
                    )
                )
            )
        assert sorted(map(len, held)) == [10, 10, 10]
        assert len({site for leases in held for site in leases}) == 30


async def test_a_worker_that_stops_lets_go_at_once(thirty: str) -> None:
    async with stores(thirty, 2) as (one, two):
        await one.claim("a", ttl_s=TTL_S)
        await one.release("a")
        assert len(await two.claim("b", ttl_s=TTL_S)) == 30


async def test_the_worker_before_is_fenced_when_it_wakes_up_late(centre: str) -> None:
    async with open_world(centre) as world, stores(centre, 1) as (other,):
        site = world.site()
        await site.writes(site.insert("job_responses", site.report()))
        await run_out(centre, "worker")
        await other.claim("other", ttl_s=TTL_S)
        with pytest.raises(LeaseLost, match="other has SITE_001"):
            await site.apply(site.sends(site.insert("job_responses", site.report())))
        assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_an_older_token_is_fenced_though_the_name_of_its_worker_is_right(centre: str) -> None:
    async with open_world(centre) as world:
        lease, site = world.leases["SITE_001"], world.site()
        world.leases["SITE_001"] = replace(lease, token=lease.token - 1)
        with pytest.raises(LeaseLost):
            await site.apply(site.sends(site.insert("job_responses", site.report())))
        assert await world.value("SELECT count(*) FROM mes.job_responses") == 0


async def test_two_workers_that_both_believe_in_their_lease_apply_each_transaction_once(
    centre: str,
) -> None:
    async with open_world(centre) as world, stores(centre, 1) as (other,):
        site = world.site()
        run = [site.sends(site.insert("job_responses", site.report())) for _ in range(20)]
        lease = world.leases["SITE_001"]

        async def follow(store: CentralStore) -> int:
            done = 0
            for sent in run:
                done += (await store.apply_run([Incoming(sent, world.catalog)], lease=lease)).rows
            return done

        # The same token in two hands is worse than what a lost lease can lead to.
        both = await asyncio.gather(follow(world.store), follow(other))
        assert sum(both) == 20
        assert await world.value("SELECT count(*) FROM mes.job_responses") == 20

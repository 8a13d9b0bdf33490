"""What the status reads out of a real database and a real broker."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.backups import Mark, set_mark
from central.picture import FEED_APPLICATION, read_picture
from central.roles import as_role
from central.sites import NotStopped, UnknownSite, register, release
from shared.errors import BadSetting, MalformedMessage, SchemaMismatch
from sync.streams import StreamLimits, desired, provision
from sync.transport import Link, LinkSettings
from tests.integration.apply_world import World, open_world
from tests.integration.quarrel import quarrel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.servers import NatsServer

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(centre: str) -> AsyncIterator[World]:
    async with open_world(centre) as opened:
        yield opened


async def picture_of(world: World, link: Link | None = None):
    url = as_role(world.url, "mes_ingest")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await read_picture(connection, world.catalog, link)


async def site_of(world: World, name: str = "SITE_001", link: Link | None = None):
    return next(s for s in (await picture_of(world, link)).sites if s.site == name)


async def say_hello(world: World, site: str = "SITE_001", **said) -> None:
    hello = {
        "instance": "here",
        "version": "0.1.0",
        "schema": 1,
        "epoch": "e",
        "n": 0,
        "acked_n": 0,
    }
    await world.rows(
        "UPDATE sync.site SET hello = %s, hello_at = now() WHERE site = %s RETURNING 1",
        json.dumps(hello | {"own": [0, ""], "shared": [0, ""]} | said),
        site,
    )


async def test_a_database_that_was_not_migrated_is_told_how(database: str, world: World):
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        with pytest.raises(SchemaMismatch, match="mes-central migrate"):
            await read_picture(connection, world.catalog, None)


async def test_a_new_site_has_nothing_to_tell(world: World):
    site = await site_of(world)
    assert (site.hello, site.epoch, site.decided_at, site.complete_through) == (None,) * 4
    assert (site.last_n, site.feed_pos, site.parked, site.reviews_open) == (0, 0, 0, 0)


async def test_positions_and_the_worker_are_read(world: World):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    found = await site_of(world)
    assert (found.last_n, found.safe_n, found.epoch) == (1, 0, site.epoch)
    assert found.worker == "worker"
    assert found.decided_at is not None


async def test_what_waits_for_a_person_is_counted_by_site(world: World):
    site = world.site("SITE_002")
    await quarrel(world, site)
    await site.apply(site.sends(site.insert("work_orders", site.order(qty_ordered="much"))))
    orphan = site.report(work_order_id="0193e7a0-0000-7000-8000-00000000000f")
    await site.apply(site.sends(site.insert("job_responses", orphan)))
    await world.store.quarantine("SITE_002", b"?", MalformedMessage("damaged"), 1)
    found = await site_of(world, "SITE_002")
    assert (found.reviews_open, found.parked, found.waiting, found.refused) == (1, 1, 1, 1)
    assert found.reviews_oldest_at is not None
    other = await site_of(world, "SITE_001")
    assert (other.reviews_open, other.parked, other.waiting, other.refused) == (0, 0, 0, 0)


async def test_a_site_is_protected_through_what_the_oldest_backup_holds_of_it(world: World):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    assert (await site_of(world)).protected_through is None
    through = datetime.fromtimestamp(site.at_ms / 1000, UTC)
    await set_mark(world.admin, "mon", Mark.BEGUN)
    await set_mark(world.admin, "mon", Mark.FINISHED)
    await site.writes(site.insert("work_orders", site.order()))
    found = await site_of(world)
    assert (found.protected_through, found.complete_through) == (
        through, datetime.fromtimestamp(site.at_ms / 1000, UTC),
    )  # fmt: skip
    await set_mark(world.admin, "tue", Mark.BEGUN)
    await set_mark(world.admin, "tue", Mark.FINISHED)
    assert (await site_of(world)).protected_through == through
    await set_mark(world.admin, "mon", Mark.GONE)
    found = await site_of(world)
    assert found.protected_through == found.complete_through
    assert (await site_of(world, "SITE_002")).protected_through is None
    backups = (await picture_of(world)).centre.backups
    assert (backups.restorable, backups.oldest, backups.ever_finished) == (1, backups.newest, True)


async def test_a_backup_that_is_being_taken_or_failed_protects_nobody(world: World):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    for marks in ([Mark.BEGUN], [Mark.FAILED]):
        for mark in marks:
            await set_mark(world.admin, "mon", mark)
        assert (await site_of(world)).protected_through is None


async def test_data_are_complete_through_the_last_drain_that_was_applied(world: World):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    expected = datetime.fromtimestamp(site.at_ms / 1000, UTC)
    assert (await site_of(world)).complete_through == expected


async def test_a_site_that_never_wrote_is_complete_until_it_looked_for_its_hello(world: World):
    await say_hello(world, n=0, drained_ms=1_700_000_000_000)
    expected = datetime.fromtimestamp(1_700_000_000, UTC)
    assert (await site_of(world)).complete_through == expected


async def test_a_hello_of_a_site_with_something_undrained_completes_nothing(world: World):
    for said in ({"drained_ms": None}, {}):
        await say_hello(world, n=0, **said)
        assert (await site_of(world)).complete_through is None


async def test_a_drain_dated_ahead_counts_only_until_the_broker_had_it(world: World):
    site = world.site(offset_ms=3_600_000)
    sent = site.sends(site.insert("work_orders", site.order()))
    await site.apply(sent)
    expected = datetime.fromtimestamp(sent.stored_at_ms / 1000, UTC)
    assert (await site_of(world)).complete_through == expected


async def test_a_hello_with_nothing_undecided_completes_the_data_until_then(world: World):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    ahead = 4_000_000_000_000  # by a clock that is years ahead: never later than the hello
    await say_hello(world, epoch=site.epoch, n=1, drained_ms=ahead)
    found = await site_of(world)
    assert found.hello is not None
    since = found.hello.at - found.complete_through
    assert timedelta() <= since < timedelta(milliseconds=1)
    await say_hello(world, epoch=site.epoch, n=2, drained_ms=ahead)
    assert (await site_of(world)).complete_through == datetime.fromtimestamp(site.at_ms / 1000, UTC)


async def test_workers_and_the_feed_are_seen_while_they_are_connected(world: World):
    await world.store.release("worker")
    assert not (await picture_of(world)).centre.workers
    await world.store.claim("worker", ttl_s=60)
    seen = await picture_of(world)
    assert (seen.centre.workers, seen.centre.feed_runs) == (1, False)
    async with await psycopg.AsyncConnection.connect(world.url, application_name=FEED_APPLICATION):
        assert (await picture_of(world)).centre.feed_runs
    assert seen.centre.catalogue == world.catalog.version
    assert seen.centre.catalogue_is_ours


# --- the broker ------------------------------------------------------------------------------


async def test_without_an_answering_broker_the_rest_is_told_all_the_same(world: World):
    settings = LinkSettings(servers=("nats://127.0.0.1:1",), name="status")
    async with Link(settings) as link:
        found = await picture_of(world, link)
    assert "127.0.0.1:1" in found.centre.broker_away_because
    assert [site.backlog for site in found.sites] == [None, None, None]


async def test_the_backlog_is_what_the_broker_holds_for_the_ingest(
    world: World, nats_server: NatsServer
):
    async with Link(LinkSettings(servers=(nats_server.url,), name="status")) as link:
        await link.wait_connected(5)
        limits = StreamLimits(up_bytes_max=1 << 20, down_bytes_max=1 << 20)
        await provision(link, desired(["SITE_001"], limits=limits))
        sent = [b"x" * 200_000, b"x" * 200_000]
        over = "up.SITE_001.>"
        await link.publish_batch("up.SITE_001.tx", sent, expected_last=0, over=over)
        found = await picture_of(world, link)
    backlogs = {site.site: site.backlog for site in found.sites}
    assert not found.centre.broker_away_because
    first = backlogs["SITE_001"]
    assert first is not None
    assert first.messages == 2
    assert 0 < first.filled < 1
    assert backlogs["SITE_002"] is None


# --- registering and releasing ---------------------------------------------------------------


async def admin_connection(world: World):
    url = as_role(world.url, "mes_ingest")
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def test_a_registered_site_has_its_partitions_and_is_new_once(world: World):
    now_ms = 1_795_669_200_000
    async with await admin_connection(world) as connection:
        assert await register(connection, world.catalog, ["SITE_009"], now_ms) == ["SITE_009"]
        assert await register(connection, world.catalog, ["SITE_009"], now_ms) == []
    assert await world.value("SELECT to_regclass('mes.work_orders__site_009__2026_11')")


async def test_a_name_that_can_not_be_a_site_is_refused_before_anything_is_made(world: World):
    async with await admin_connection(world) as connection:
        with pytest.raises(BadSetting, match="site 10"):
            await register(connection, world.catalog, ["SITE_010", "site 10"], 0)
    assert not await world.rows("SELECT 1 FROM sync.site WHERE site = 'SITE_010'")


async def test_a_released_site_goes_on_under_a_new_lease(world: World):
    await world.rows(
        "UPDATE sync.site SET stopped_because = 'a fork', instance = 'clone' WHERE site = %s"
        " RETURNING 1",
        "SITE_001",
    )
    before = world.leases["SITE_001"]
    async with await admin_connection(world) as connection:
        assert await release(connection, "SITE_001") == "a fork"
        with pytest.raises(NotStopped):
            await release(connection, "SITE_001")
        with pytest.raises(UnknownSite):
            await release(connection, "SITE_XXX")
    stopped, instance = await world.one(
        "SELECT stopped_because, instance FROM sync.site WHERE site = 'SITE_001'"
    )
    assert (stopped, instance) == (None, None)
    after = (await world.store.claim("worker", ttl_s=600))["SITE_001"]
    assert after.token > before.token

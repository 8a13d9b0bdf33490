"""What the sequencer wrote goes out at once, each entry on its feed's subject, once."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from central import relay
from central.feed import Sequencer
from central.relay import FeedLane, Relay
from shared.changes import SHARED
from shared.errors import BrokerUnreachable
from sync import codec
from tests.faults.cases import planned_orders
from tests.integration.central_world import CATALOG, SITES, appears, connect, execute, fetch

SITE, OTHER = SITES[:2]
PERSON = (
    "INSERT INTO mes.persons (site_id, person_no, name, home_site_id, assigned_sites)"
    " VALUES ('*', '{0}', 'Ada', '*', '[]')"
)


class Line:
    """The broker as a relay sees it: it keeps what was published, or is away."""

    batch_bytes_max = 1 << 20

    def __init__(self):
        self.stored: list[tuple[str, bytes]] = []
        self.is_away = False

    async def publish_batch(self, subject, payloads, *, expected_last, over):
        if self.is_away:
            raise BrokerUnreachable
        self.stored += [(subject, payload) for payload in payloads]
        return len(self.stored)

    def of(self, subject: str) -> list[int]:
        """Return the positions that went out on a subject."""
        return [codec.decode_entry(m)[0].pos for name, m in self.stored if name == subject]


LISTENS = "SELECT FROM pg_stat_activity WHERE pid = %s AND query LIKE 'LISTEN%%' AND state = 'idle'"


@asynccontextmanager
async def relaying(url, line):
    async with (
        connect(url, autocommit=False) as sequencing,
        connect(url) as publishing,
        connect(url) as listening,
    ):
        running = Relay(listening, publishing, Sequencer(sequencing, CATALOG), line)
        task = asyncio.create_task(running.run(lambda: time.time_ns() // 10**6))
        await appears(url, LISTENS, listening.info.backend_pid)
        try:
            yield
            assert not task.done(), "the relay has ended"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(claim, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while True:
        if claim():
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_what_is_committed_goes_out_though_nobody_looks(centre, monkeypatch):
    monkeypatch.setattr(relay, "_LOOK_EVERY_S", 600.0)
    line = Line()
    async with relaying(centre, line):
        for number in (1, 2):
            await execute(centre, planned_orders(f"A{number}", site=SITE))
            await until(lambda n=number: len(line.of(f"down.{SITE}")) == n)


async def test_what_nobody_was_told_of_goes_out_at_the_next_look(centre):
    line = Line()
    async with relaying(centre, line):
        await execute(centre, planned_orders("A", site=SITE))
        await until(lambda: line.of(f"down.{SITE}"))
        await execute(
            centre,
            "INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)"
            " SELECT h.table_no, h.site_id, h.id, h.created_at, ARRAY[h.site_id] FROM sync.head h",
        )
        await until(lambda: len(line.of(f"down.{SITE}")) == 2)


async def test_each_feed_goes_out_on_its_own_subject_in_order(centre):
    line = Line()
    async with relaying(centre, line):
        for number in range(3):
            await execute(centre, planned_orders(f"A{number}", site=SITE))
            await execute(centre, planned_orders(f"B{number}", site=OTHER))
            await execute(centre, PERSON.format(f"P{number}"))
            await asyncio.sleep(0.1)
        ends = dict(await fetch(centre, "SELECT scope, pos FROM sync.feed_head WHERE pos > 0"))
        assert set(ends) == {SITE, OTHER, SHARED}
        for scope, subject in ((SITE, SITE), (OTHER, OTHER), (SHARED, "all")):
            await until(lambda n=ends[scope], s=subject: len(line.of(f"down.{s}")) == n)
            assert line.of(f"down.{subject}") == list(range(1, ends[scope] + 1))


async def test_a_relay_that_starts_anew_sends_nothing_again(centre):
    first, second = Line(), Line()
    async with relaying(centre, first):
        await execute(centre, planned_orders("A", site=SITE))
        await until(lambda: first.of(f"down.{SITE}") == [1])
        await asyncio.sleep(0.1)
    async with relaying(centre, second):
        await execute(centre, planned_orders("B", site=SITE))
        await until(lambda: second.of(f"down.{SITE}"))
        assert second.of(f"down.{SITE}") == [2]


async def test_while_the_broker_is_away_entries_wait_and_then_go_out(centre):
    line = Line()
    async with relaying(centre, line):
        line.is_away = True
        await execute(centre, planned_orders("A", site=SITE), planned_orders("B", site=OTHER))
        await asyncio.sleep(0.5)
        assert line.stored == []
        waiting = "SELECT count(*) FROM sync.feed_head WHERE published < pos"
        assert await fetch(centre, waiting) == [(2,)]
        line.is_away = False
        await until(lambda: line.of(f"down.{SITE}") and line.of(f"down.{OTHER}"))


async def test_that_the_broker_is_away_is_said_once_and_of_the_next_time_again(centre, caplog):
    caplog.set_level("INFO", logger="central.relay")
    line = Line()
    said = lambda: [each.message for each in caplog.records].count("not published")  # noqa: E731
    async with relaying(centre, line):
        for outage in (1, 2):
            line.is_away = True
            for number in range(3):
                await execute(centre, planned_orders(f"A{outage}{number}", site=SITE))
                await until(lambda n=outage: said() == n)
                await asyncio.sleep(0.3)  # steps go by in which nothing may be said
            line.is_away = False
            await until(lambda n=outage: len(line.of(f"down.{SITE}")) == 3 * n)
        assert said() == 2


async def test_a_lost_connection_of_the_listener_ends_the_relay(centre):
    async with (
        connect(centre, autocommit=False) as sequencing,
        connect(centre) as publishing,
        connect(centre) as listening,
    ):
        running = Relay(listening, publishing, Sequencer(sequencing, CATALOG), Line())
        task = asyncio.create_task(running.run(lambda: 1))
        await appears(centre, LISTENS, listening.info.backend_pid)
        await execute(
            centre,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE pid = {listening.info.backend_pid}",
        )
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            await asyncio.wait_for(task, 5)


async def test_how_far_a_feed_is_published_is_noted(centre):
    await execute(centre, planned_orders("A", site=SITE))
    async with connect(centre, autocommit=False) as sequencing:
        await Sequencer(sequencing, CATALOG).step(now_ms=1)
    async with connect(centre) as connection:
        lane = FeedLane(connection, SITE, 0)
        assert len(await lane.next(1 << 20)) == 1
        await lane.sent(1)
        assert await lane.next(1 << 20) == []
    published = f"SELECT published FROM sync.feed_head WHERE scope = '{SITE}'"
    assert await fetch(centre, published) == [(1,)]

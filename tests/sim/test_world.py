"""A seeded world: two factories and the centre write at random while things break, then all agree.

Real stores, a real broker and PostgreSQL; chance decides who writes what, and what breaks. After
the last fault both ends must hold the same rows, every number must be decided once, and every write
that does not stand must be on record.
"""

from __future__ import annotations

import asyncio
import json
import random

import psycopg
import pytest

from sync.transport import Link, LinkSettings
from tests.integration.central_world import execute
from tests.integration.whole_world import whole_world

SITES = ("SITE_001", "SITE_002")
STEPS = 40
NUMBERS = [f"N{k}" for k in range(6)]


@pytest.mark.slow
async def test_whatever_is_written_and_whatever_breaks_both_ends_agree_at_rest(
    centre, nats_server, tmp_path, seed
):
    chance = random.Random(seed)
    async with whole_world(centre, nats_server.url, tmp_path, SITES) as world:
        await world.settle()
        chaos = Chaos(world, nats_server, chance)
        for _ in range(STEPS):
            await chance.choices(
                (chaos.site_writes, chaos.centre_writes, chaos.something_breaks, chaos.time_passes),
                weights=(5, 4, 2, 2),
            )[0]()
        await chaos.mend()
        await world.settle(90)
        await every_write_stands_or_is_on_record(world, chaos.marks)
        decided = await world.central("SELECT site, sum(last_n) FROM sync.epoch GROUP BY 1")
        known = await world.central("SELECT site, count(*) FROM sync.applied GROUP BY 1")
        assert sorted(decided) == sorted(known)


async def every_write_stands_or_is_on_record(world, marks) -> None:
    """A mark is a text that one write made; it stands, was seen by whoever replaced it, or lost."""
    rows = await world.central("SELECT coalesce(string_agg(notes, ' '), '') FROM mes.work_orders")
    history = await world.central(
        "SELECT coalesce(string_agg(concat(base_value, here_value, central_value), ' '), '')"
        " FROM mes.sync_conflicts"
    )
    versions = await world.central(
        "SELECT coalesce(string_agg(replaced::text, ' '), '') FROM sync.version"
    )
    parked = await world.central(
        "SELECT coalesce(string_agg(content::text, ' '), '') FROM mes.sync_parked"
    )
    record = " ".join(text for ((text,),) in (rows, history, versions, parked))
    lost = [mark for mark in marks if mark not in record]
    assert not lost


class Chaos:
    def __init__(self, world, broker, chance) -> None:
        self.world, self.broker, self.chance = world, broker, chance
        #: What was written in a way that nobody has seen and replaced since, by its writer.
        self.marks: set[str] = set()
        self._last: dict[tuple[str, str], str] = {}
        self._count = 0
        self._stopped: set[str] = set()

    async def site_writes(self) -> None:
        site, number = self.chance.choice(SITES), self.chance.choice(NUMBERS)
        mark = self._mark(site, number)
        statement = self.chance.choice(
            (
                ("UPDATE work_orders SET notes = ? WHERE order_no = ?", (mark, number)),
                (
                    "INSERT INTO work_orders (order_no, source, qty_ordered, uom, notes)"
                    " VALUES (?2, 'LOCAL', '1', 'pcs', ?1)"
                    " ON CONFLICT (site_id, order_no) DO UPDATE SET notes = ?1",
                    (mark, number),
                ),
                (
                    "UPDATE work_orders SET notes = ?, priority = 7, assigned_line = 'L1'"
                    " WHERE order_no = ?",
                    (mark, number),
                ),
            )
        )
        edge = self.world.edges[site]
        edge.write(statement)
        written = edge.read("SELECT notes FROM work_orders WHERE order_no = ?", number)
        self._note(site, number, mark if written == [(mark,)] else None)
        if self.chance.random() < 0.15:
            edge.write(("DELETE FROM work_orders WHERE order_no = ?", (number,)))
            self._note(site, number, None)

    async def centre_writes(self) -> None:
        site, number = self.chance.choice(SITES), self.chance.choice(NUMBERS)
        mark = self._mark(site, number)
        statement = self.chance.choice(
            (
                f"UPDATE mes.work_orders SET notes = '{mark}' WHERE site_id = '{site}'"
                f" AND order_no = '{number}'",
                f"UPDATE mes.work_orders SET priority = 3, due_at = now() WHERE site_id = '{site}'"
                f" AND order_no = '{number}'",
                f"DELETE FROM mes.work_orders WHERE site_id = '{site}' AND order_no = '{number}'",
                "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source,"
                " qty_ordered, uom) VALUES"
                f" (uuidv7(), '{site}', now(), '{number}', 'ERP', 2, 'pcs')",
            )
        )
        try:
            await execute(self.world.url, statement)
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
            return  # the number is taken; or the ingest had the row, and one of the two gives way

    async def something_breaks(self) -> None:
        fault = self.chance.choice(
            (self._wipe, self._kill_broker, self._cut_database, self._stop_agent, self._stop_centre)
        )
        await fault()

    async def time_passes(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, 0.4))
        if self.chance.random() < 0.5:
            await self.mend()

    async def mend(self) -> None:
        for site in sorted(self._stopped):
            await self.world.edges[site].start()
        self._stopped.clear()

    # --- faults -----------------------------------------------------------------------------

    async def _wipe(self) -> None:
        async with Link(LinkSettings(servers=(self.world.nats_url,), name="vandal")) as link:
            await link.wait_connected(5)
            stream = self.chance.choice(("DOWN", *(f"UP_{site}" for site in SITES)))
            answer = json.loads(await link.request(f"$JS.API.STREAM.DELETE.{stream}", b""))
            assert answer.get("success") or answer["error"]["code"] == 404

    async def _kill_broker(self) -> None:
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)

    async def _cut_database(self) -> None:
        await self.world.central(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    async def _stop_agent(self) -> None:
        site = self.chance.choice(SITES)
        self._stopped.add(site)
        await self.world.edges[site].stop()

    async def _stop_centre(self) -> None:
        await self.world.stop_centre()
        await self.world.start_centre()

    # --- marks ------------------------------------------------------------------------------

    def _mark(self, site: str, number: str) -> str:
        self._count += 1
        return f"<{site}-{number}-{self._count}>"

    def _note(self, site: str, number: str, mark: str | None) -> None:
        """A site's own later write on a row replaces its earlier one, which it had seen."""
        self.marks.discard(self._last.pop((site, number), ""))
        if mark is not None:
            self._last[site, number] = mark
            self.marks.add(mark)

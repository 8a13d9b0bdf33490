"""What the rollups cost in the transaction that brings the reports they are made of.

The apply alone, in this process, of transactions of 2,000 reports: with the triggers that keep the
rollups, and with these disabled, in turn. In order as a plant makes them, and late and shuffled as
they come from a site that was dark for weeks.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.bench import frame
from tests.bench.rows import stamp
from tests.bench.system import SITE, System, plans
from tests.integration.apply_world import open_world

if TYPE_CHECKING:
    from shared.changes import SyncTransaction
    from tests.integration.apply_world import Site

ROWS = 2_000
#: Transactions in one run; the first run warms up.
TOGETHER = 10
#: Times of rows that come late and shuffled lie in so many days.
DARK_DAYS = 40

_TOGGLE = """
DO $$ DECLARE each record; BEGIN
    FOR each IN SELECT tgrelid::regclass AS relation, tgname AS name FROM pg_trigger
                WHERE tgname LIKE 'roll\\_up\\_%' AND NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s {} TRIGGER %I', each.relation, each.name);
    END LOOP;
END $$"""


class Reports:
    """Makes reports of a plant with twenty machines."""

    def __init__(self, site: Site, *, in_order: bool) -> None:
        self.site, self._in_order = site, in_order
        self._chance = random.Random(7)
        self._machines = [str(uuid.UUID(int=k)) for k in range(1, 21)]
        self._people = [str(uuid.UUID(int=k)) for k in range(101, 151)]
        self._now = datetime(2026, 11, 25, tzinfo=UTC)

    def _at(self) -> datetime:
        if self._in_order:
            self._now += timedelta(milliseconds=700)
            return self._now
        return self._now - timedelta(seconds=self._chance.uniform(0, DARK_DAYS * 86_400))

    def next(self) -> SyncTransaction:
        """Return the next transaction."""
        chance, ends = self._chance, [stamp(self._at()) for _ in range(ROWS)]
        rows = [
            self.site.report(
                equipment_id=chance.choice(self._machines), person_id=chance.choice(self._people),
                report_type=chance.choice(("PRODUCTION", "SETUP")), shift_code="S1",
                segment_code=f"MILL-{chance.randrange(8)}", ended_at=end, duration_s="60",
                qty_good=str(chance.randrange(200)), qty_scrap=str(chance.randrange(3)),
            )
            for end in ends
        ]  # fmt: skip
        return self.site.sends(replace(self.site.insert("job_responses", *rows), created=ends))


def rollups_in_apply(runs: int = frame.RUNS) -> list[frame.Result]:
    """Measure both kinds of reports."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        System(Path(folder) / "world", plans(1)) as world,
    ):
        world.start_database("")
        world.start_broker("")
        world.migrate()
        return asyncio.run(_measured(world.url(), runs))


async def _measured(url: str, runs: int) -> list[frame.Result]:
    results = []
    async with open_world(url) as world:
        site = world.site(SITE)
        for name, in_order, more in (
            ("rollups_in_apply", True, 1.10), ("rollups_in_apply_late", False, 1.35),
        ):  # fmt: skip
            reports = Reports(site, in_order=in_order)
            pairs = [await _pair(url, reports) for _ in range(runs + 1)][1:]
            ratios = [kept / without for kept, without in pairs]
            results.append(
                frame.Result(
                    name=name, unit="s", value=frame.Spread.of([kept for kept, _ in pairs]),
                    reference="the same with the rollups' triggers disabled",
                    reference_value=frame.Spread.of([without for _, without in pairs]),
                    ratio=frame.Spread.of(ratios), interval=frame.interval(ratios),
                    target=frame.Target(more, at_least=False),
                    note=f"{TOGETHER} transactions of {ROWS:,} reports",
                )
            )  # fmt: skip
    return results


async def _pair(url: str, reports: Reports) -> tuple[float, float]:
    """Return the seconds with rollups and without, of transactions that take turns."""
    kept = without = 0.0
    for _ in range(TOGETHER):
        _toggle(url, "ENABLE")
        kept += await _applied(reports)
        _toggle(url, "DISABLE")
        without += await _applied(reports)
    return kept, without


def _toggle(url: str, what: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TOGGLE.format(what).encode())


async def _applied(reports: Reports) -> float:
    sent = reports.next()
    began = time.perf_counter()
    outcome = await reports.site.apply(sent)
    took = time.perf_counter() - began
    if (outcome.rows, outcome.parked) != (ROWS, 0):
        raise AssertionError(outcome)
    return took

"""A centre with facts of old months, an archive on disk, and what may be done with both."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from central.archive import archive, attach, detach, drop, verify
from central.archive_bench import Bench, opened
from central.archive_loading import Shelf
from central.archive_state import Month, find
from central.partitions import Partition
from central.rolled import differences
from central.unions import KEPT
from shared.errors import StoreBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from shared.changes import Value
    from tests.integration.apply_world import Site, World

TABLE = "job_responses"
MONTH = "2024-02"
OLD = Partition(TABLE, "SITE_001", MONTH)
MACHINES = [str(uuid.UUID(int=n)) for n in range(1, 4)]


@dataclass
class Archive:
    """The archive of a world."""

    world: World
    bench: Bench
    root: Path
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        self.site = self.world.site()

    @property
    def shelf(self) -> Shelf:
        return self.bench.shelf

    def reports(self, count: int, *, start: int = 1) -> list[dict[str, Value]]:
        """Return reports that are the same each time, with all kinds of text."""
        return [
            self.site.report(
                id=str(uuid.UUID(int=start * 1_000_000 + n)),
                qty_good=f"{n}.25",
                qty_scrap="0.5" if n % 2 else "0",
                equipment_id=MACHINES[n % 3],
                ended_at=f"{MONTH}-{n % 28 + 1:02d}T10:{n % 60:02d}:00.125Z" if n % 5 else None,
                notes=None if n % 3 else f'Zähler "{n}"\t|\\N\n',
            )
            for n in range(1, count + 1)
        ]

    async def sends(self, *rows: dict[str, Value], day: str = f"{MONTH}-10") -> Any:
        """Have the site send reports of a day, and return what came of it."""
        block = self.site.insert(TABLE, *rows, created=f"{day}T08:00:00.125Z")
        sent = self.site.sends(block)
        try:
            return await self.site.apply(sent)
        except StoreBusy:  # a part was detached that the store knew: the worker comes again
            return await self.site.apply(sent)

    async def goes(self, partition: Partition = OLD) -> Month:
        """Take a month all the way into the archive."""
        await detach(self.bench, partition)
        await archive(self.bench, partition)
        await drop(self.bench, partition)
        return await self.month(partition)

    async def month(self, partition: Partition = OLD) -> Month:
        found = await find(self.world.admin, partition)
        assert found is not None
        return found

    async def state(self, partition: Partition = OLD) -> str:
        return str((await self.month(partition)).state)

    def path(self, generation: int, partition: Partition = OLD) -> Path:
        name = f"{partition.month}.{generation}.parquet"
        return self.root / partition.table / partition.site / name

    async def live(self) -> set[str]:
        """Return the ids of all reports that stand in the table."""
        return {row for (row,) in await self.world.rows(f"SELECT id::text FROM mes.{TABLE}")}

    async def sums_are_right(self) -> None:
        """All rollups are what the facts come to, wherever these are, and there are some."""
        for rollup in KEPT:
            found = await differences(self.bench.connection, rollup, "SITE_001", self.shelf)
            assert found == [], rollup.name

    async def reports_counted(self) -> int:
        return await self.world.value("SELECT sum(reports)::int FROM mes.output_days")


def ids(rows: list[dict[str, Value]]) -> set[str]:
    return {str(row["id"]) for row in rows}


@asynccontextmanager
async def archive_of(world: World, root: Path) -> AsyncIterator[Archive]:
    async with opened(world.url, Shelf(world.catalog, root)) as bench:
        yield Archive(world, bench, root)


@pytest.fixture
async def old(world: World, tmp_path: Path) -> AsyncIterator[Archive]:
    """A centre whose first site has forty reports of an old month, and an empty archive."""
    async with archive_of(world, tmp_path / "archive") as made:
        outcome = await made.sends(*made.reports(40))
        assert (outcome.rows, outcome.parked) == (40, 0)
        yield made


__all__ = ["attach", "verify"]

"""Old months archived by themselves: one at a time, through all its steps; failures are put off."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central import metrics
from central.archive import archive, detach, drop
from central.archive_bench import opened
from central.archive_hash import STAY, archivable
from central.archive_state import State, months
from central.partitions import held, month_before
from central.schema import waited_for
from shared.errors import SyncError
from shared.observe import note

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.archive_bench import Bench
    from central.archive_loading import Shelf
    from central.partitions import Partition

_log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
#: A month that failed is left alone for so long, and the others have their turn.
AGAIN_S: Final = 3600.0
#: Rows that came late are merged into the file so long after it was written last, and a month that
#: a person brought back is left to them for so long.
LATE_S: Final = 86_400.0
BACK_S: Final = 31 * 86_400.0


@dataclass(slots=True)
class Turns:
    """Which months are put off until when, by a clock that only this process knows."""

    until: dict[Partition, float] = field(default_factory=dict)

    def is_due(self, partition: Partition, now_s: float) -> bool:
        """Return whether a month is not put off."""
        return self.until.get(partition, 0.0) <= now_s

    def put_off(self, partition: Partition, now_s: float) -> None:
        """Leave a month alone for a while."""
        self.until[partition] = now_s + AGAIN_S


async def due(
    connection: AsyncConnection[Any], shelf: Shelf, now_ms: int, after_months: int
) -> list[Partition]:
    """Return the months that are to be archived, those that were begun first, then the oldest."""
    last = month_before(now_ms, after_months)
    known = {each.partition: each for each in await months(connection)}
    begun = [
        partition
        for partition, each in known.items()
        if each.state in (State.DETACHING, State.DETACHED, State.ARCHIVED)
        and partition.table not in STAY
    ]
    stay = {*waited_for(shelf.catalog), *STAY}
    tables = [t.name for t in shelf.catalog.tables if archivable(t) and t.name not in stay]
    fresh = []
    for each in await held(connection, tables):
        month = known.get(each.partition)
        since = (
            None
            if month is None
            else (month.archived_at, month.attached_at)[month.state is State.ATTACHED]
        )
        wait_s = BACK_S if month is not None and month.state is State.ATTACHED else LATE_S
        is_quiet = since is None or since.timestamp() < now_ms / 1000 - wait_s
        if each.partition.month < last and each.partition not in begun and is_quiet:
            fresh.append(each.partition)
    in_time = [partition for partition in begun if partition.month < last]
    return in_time + sorted(fresh, key=lambda partition: partition.month)


async def archive_next(
    bench: Bench, turns: Turns, *, now_ms: int, after_months: int, now_s: float
) -> Partition | None:
    """Archive the next month that is due and drop its rows; return it, or None where none is.

    One that fails is told in the log and by a metric, and put off.
    """
    for partition in await due(bench.connection, bench.shelf, now_ms, after_months):
        if not turns.is_due(partition, now_s):
            continue
        try:
            await _archive_whole(bench, partition)
        except (SyncError, psycopg.Error, OSError) as why:
            turns.put_off(partition, now_s)
            metrics.ARCHIVE_FAILURES.inc()
            note(
                _log, "month not archived", level=logging.WARNING, part=partition.name, why=str(why)
            )
            if bench.connection.closed:
                raise
            continue
        metrics.ARCHIVED.inc()
        return partition
    return None


async def _archive_whole(bench: Bench, partition: Partition) -> None:
    """Do whatever steps are left; of rows that came late meanwhile, too."""
    found = await months(bench.connection, table=partition.table, sites=[partition.site])
    states = {month.month: month.state for month in found}
    if states.get(partition.month) is State.ARCHIVED:
        await drop(bench, partition)
        return
    if states.get(partition.month) is not State.DETACHED:
        await detach(bench, partition)
    await archive(bench, partition)
    await drop(bench, partition)


async def keep_archiving(url: str, shelf: Shelf, after_months: int) -> None:
    """Archive what is due, one month a minute, until cancelled."""
    turns = Turns()
    async with opened(url, shelf) as bench:
        while True:
            await archive_next(
                bench, turns, now_ms=time.time_ns() // 1_000_000, after_months=after_months,
                now_s=time.monotonic(),
            )  # fmt: skip
            await asyncio.sleep(EVERY_S)

"""Whatever is done with months and comes meanwhile: each row is there once, and counted once."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from central.archive import archive, attach, detach, drop
from central.archive_bench import NotArchivable, NotYet
from central.archive_reading import Wanted, read
from central.archiving import keep_archiving
from central.partitions import Partition
from tests.integration.apply_world import world
from tests.integration.archive_world import OLD, TABLE, Archive, ids, old
from tests.integration.central_world import appears

__all__ = ["old", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

MONTHS = ("2024-02", "2024-03")
STEPS = (detach, archive, drop, attach)


async def readable(old: Archive) -> list[str]:
    wanted = Wanted(
        since=datetime(2024, 1, 1, tzinfo=UTC), before=datetime(2024, 5, 1, tzinfo=UTC),
        rows_max=100_000,
    )  # fmt: skip
    table = old.world.catalog.table(TABLE)
    rows = await read(old.world.admin, old.root, table, ["SITE_001"], wanted)
    return sorted(str(row[0]) for row in rows)


@pytest.mark.parametrize("seed", range(1, 5))
async def test_rows_and_sums_are_right_after_any_history_of_months(old: Archive, seed: int):
    chance = random.Random(seed)
    sent = {"2024-02": old.reports(40), "2024-03": []}
    days = {"2024-02": "2024-02-10", "2024-03": "2024-03-10"}
    parked, batches = 0, 1
    for _ in range(30):
        month = chance.choice(MONTHS)
        match chance.randrange(6):
            case 0:  # new rows, and some that were sent before
                batches += 1
                new = old.reports(chance.randrange(1, 5), start=10 * batches)
                again = chance.sample(sent[month], min(3, len(sent[month])))
                assert (await old.sends(*new, *again, day=days[month])).parked == 0
                sent[month] += new
            case 1 if sent[month]:  # one that says otherwise
                changed = chance.choice(sent[month]) | {"qty_good": "9999"}
                parked += (await old.sends(changed, day=days[month])).parked
                assert len(await old.world.parked()) == parked
            case _:
                partition = Partition(TABLE, "SITE_001", month)
                with suppress(NotYet, NotArchivable):
                    await chance.choice(STEPS)(old.bench, partition)
        expected = sorted(ids([*sent["2024-02"], *sent["2024-03"]]))
        assert await readable(old) == expected
        assert await old.reports_counted() == len(expected)
    await old.sums_are_right()


async def test_the_feed_archives_a_month_that_is_old_enough(old: Archive):
    going = asyncio.create_task(keep_archiving(old.world.url, old.shelf, 12))
    await appears(
        old.world.url,
        "SELECT 1 FROM sync.archive WHERE state = 'dropped' AND month = %s",
        OLD.month,
    )
    going.cancel()
    with suppress(asyncio.CancelledError):
        await going
    assert len(await readable(old)) == 40

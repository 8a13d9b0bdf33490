"""Old months are archived by themselves: in turn, through all steps, whatever fails on the way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from central.archive import attach, detach
from central.archiving import AGAIN_S, Turns, archive_next, due
from central.partitions import Partition
from tests.integration.apply_world import NOON_MS, world
from tests.integration.archive_world import OLD, TABLE, Archive, ids, old

__all__ = ["old", "world"]

pytestmark = pytest.mark.postgres

DAY_MS = 86_400_000
MARCH = Partition(TABLE, "SITE_001", "2024-03")


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


async def goes_on(old: Archive, turns: Turns | None = None, **given) -> Partition | None:
    asked = {"now_ms": NOON_MS, "after_months": 12, "now_s": 0.0} | given
    return await archive_next(old.bench, turns or Turns(), **asked)


def failures() -> float:
    return REGISTRY.get_sample_value("mes_central_archive_failures_total") or 0.0


async def test_the_oldest_month_goes_first_and_one_at_a_time(old: Archive):
    await old.sends(*old.reports(2, start=2), day="2024-03-05")
    turns = Turns()
    assert await goes_on(old, turns) == OLD
    assert await old.state() == "dropped"
    assert await goes_on(old, turns) == MARCH
    assert await goes_on(old, turns) is None
    assert await old.live() == set()
    await old.sums_are_right()


@pytest.mark.parametrize(
    ("day", "after_months", "is_due"),
    [("2024-03-31", 1, False), ("2024-04-01", 1, True), ("2025-02-28", 12, False),
     ("2025-03-01", 12, True)],
)  # fmt: skip
async def test_a_month_is_due_once_so_many_whole_months_have_passed(
    old: Archive, day, after_months, is_due
):
    found = await due(old.bench.connection, old.shelf, at(day), after_months)
    assert (OLD in found) is is_due


async def test_two_way_rows_and_those_that_are_waited_for_are_never_due(old: Archive):
    for table in ("work_orders", "inspection_results"):
        await old.world.admin.execute(
            "SELECT sync.make_partition(%s, 'SITE_001', '2024-02-01')", [table]
        )
    found = await due(old.bench.connection, old.shelf, NOON_MS, 12)
    assert {partition.table for partition in found} == {TABLE}


async def test_what_was_begun_is_ended_first(old: Archive):
    await old.sends(*old.reports(2, start=2), day="2024-01-05")
    await detach(old.bench, OLD)
    assert await goes_on(old) == OLD
    assert await old.state() == "dropped"


async def test_a_month_that_fails_is_told_put_off_and_holds_up_no_other(old: Archive):
    await old.sends(*old.reports(2, start=2), day="2024-03-05")
    blocked = old.path(1).parent
    blocked.mkdir(parents=True)
    old.path(1).with_name(f"{old.path(1).name}.writing").mkdir()  # in the way of the file
    turns, before = Turns(), failures()
    assert await goes_on(old, turns) == MARCH
    assert failures() == before + 1
    assert await old.state() == "detached"
    assert len(await old.live()) == 0
    assert await goes_on(old, turns, now_s=AGAIN_S - 1) is None
    assert failures() == before + 1
    old.path(1).with_name(f"{old.path(1).name}.writing").rmdir()
    assert await goes_on(old, turns, now_s=AGAIN_S) == OLD


async def test_late_rows_are_merged_a_day_after_the_file_was_written(old: Archive):
    await old.goes()
    late = old.reports(3, start=7)
    await old.sends(*late)
    written = (await old.month()).archived_at
    assert written is not None
    written_ms = int(written.timestamp() * 1000)
    assert await goes_on(old, now_ms=written_ms + DAY_MS - 1000) is None
    assert await old.live() == ids(late)
    assert await goes_on(old, now_ms=written_ms + DAY_MS + 1000) == OLD
    month = await old.month()
    assert (month.state, month.generation, month.rows) == ("dropped", 2, 43)


async def test_a_month_that_a_person_brought_back_is_left_to_them_for_a_month(old: Archive):
    await old.goes()
    await attach(old.bench, OLD)
    back = (await old.month()).attached_at
    assert back is not None
    back_ms = int(back.timestamp() * 1000)
    assert await goes_on(old, now_ms=back_ms + 30 * DAY_MS) is None
    assert await goes_on(old, now_ms=back_ms + 32 * DAY_MS) == OLD

"""What is merged of archived facts stays, and is made anew with their files or not at all."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from central.mending import mend
from tests.integration.apply_world import World, world
from tests.integration.archive_world import OLD, Archive, archive_of
from tests.integration.rollup_world import as_ingest, folds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["world"]
pytestmark = pytest.mark.postgres

LATHE, ORDER = str(uuid.UUID(int=1)), str(uuid.UUID(int=9))
LIFE = (
    "SELECT to_char(first_start AT TIME ZONE 'UTC', 'MM-DD HH24'),"
    " to_char(last_end AT TIME ZONE 'UTC', 'MM-DD HH24'), busy_s::int FROM mes.order_lives"
)
STALE = (
    "SELECT (SELECT count(*) FROM mes.order_lives WHERE is_stale),"
    " (SELECT count(*) FROM mes.machine_busy WHERE is_stale)"
)


@pytest.fixture
async def worked(world: World, tmp_path: Path) -> AsyncIterator[Archive]:
    """A site with an order that was worked on in an archived month, and twice in the next."""
    async with archive_of(world, tmp_path / "archive") as made:
        site = made.site
        await site.writes(site.insert("work_orders", site.order(id=ORDER, order_no="A")))
        for day in ("2024-02-10", "2024-03-11", "2024-03-12"):
            await made.sends(
                site.report(
                    work_order_id=ORDER, equipment_id=LATHE, report_type="PRODUCTION",
                    started_at=f"{day}T06:00:00.000Z", ended_at=f"{day}T08:00:00.000Z",
                ),
                day=day,
            )  # fmt: skip
        await folds(world)
        await made.goes(OLD)
        yield made


async def test_what_is_kept_of_an_archived_month_stays(worked: Archive):
    assert await worked.world.rows(LIFE) == [("02-10 06", "03-12 08", 6 * 3600)]
    assert await worked.world.value("SELECT count(*) FROM mes.machine_busy") == 3
    await worked.sums_are_right()


async def test_what_an_archived_month_is_part_of_is_made_anew_with_its_file(worked, caplog):
    connection = worked.bench.connection
    await as_ingest(
        worked.world, "DELETE FROM mes.job_responses WHERE ended_at > '2024-03-12T00:00Z'"
    )
    await folds(worked.world)
    assert await worked.world.one(STALE) == (1, 1)
    # The machine's day is of a month that is here; the order's life is not.
    assert await mend(connection) == 1
    assert await worked.world.one(STALE) == (1, 0)
    assert "order_lives of SITE_001 is mended later" in caplog.text
    assert "MES_ARCHIVE_DIR" in caplog.text
    await worked.sums_are_right()
    assert await mend(connection, worked.shelf) == 1
    assert await worked.world.rows(LIFE) == [("02-10 06", "03-11 08", 4 * 3600)]
    assert await worked.world.one(STALE) == (0, 0)
    await worked.sums_are_right()


async def test_what_came_late_for_an_archived_month_is_merged_with_it(worked):
    site = worked.site
    late = site.report(
        work_order_id=ORDER, equipment_id=LATHE, report_type="PRODUCTION",
        started_at="2024-02-10T05:00:00.000Z", ended_at="2024-02-10T07:00:00.000Z",
    )  # fmt: skip
    await worked.sends(late, day="2024-02-10")
    await folds(worked.world)
    assert (await worked.world.one(LIFE))[0] == "02-10 05"
    await as_ingest(worked.world, "DELETE FROM mes.job_responses WHERE id = %s", late["id"])
    await folds(worked.world)
    assert await mend(worked.bench.connection, worked.shelf) == 2
    assert (await worked.world.one(LIFE))[0] == "02-10 06"
    await worked.sums_are_right()

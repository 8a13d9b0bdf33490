"""A month of facts goes into the archive and comes back; nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import psycopg
import pyarrow.parquet as pq
import pytest

from central.archive import archive, attach, detach, drop, verify
from central.archive_bench import NotArchivable, NotYet
from central.archive_contents import ArchiveDamaged
from central.archive_hash import function_statement
from central.compare.rows import kept_from
from central.migrate import migrate
from central.partitions import Partition
from central.roles import INGEST, as_role
from central.rolled import rebuild
from central.rollup_checks import check_next
from shared.catalog import Column, ColumnType, Kind
from shared.errors import StoreBusy
from tests.integration.apply_world import world
from tests.integration.archive_world import MONTH, OLD, TABLE, Archive, archive_of, ids, old
from tests.integration.central_world import appears

__all__ = ["old", "world"]

pytestmark = pytest.mark.postgres


async def test_a_month_goes_into_a_file_and_comes_back_as_it_was(old: Archive):
    query = f"SELECT t.*::text FROM mes.{TABLE} AS t ORDER BY id"
    before = await old.world.rows(query)
    month = await old.goes()
    assert (month.state, month.generation, month.rows) == ("dropped", 1, 40)
    assert await old.live() == set()
    assert await attach(old.bench, OLD) is True
    assert await old.world.rows(query) == before
    assert await old.state() == "attached"
    assert await old.world.value("SELECT count(*) FROM sync.archive_key") == 0


async def test_each_step_is_done_once_and_may_be_asked_for_again(old: Archive):
    for step, state in ((detach, "detached"), (archive, "archived"), (drop, "dropped")):
        assert await step(old.bench, OLD) is True
        assert await old.state() == state
        assert await step(old.bench, OLD) is False
        assert await old.state() == state
    assert await attach(old.bench, OLD) is True
    assert await attach(old.bench, OLD) is False


async def test_steps_in_the_wrong_order_are_refused_and_change_nothing(old: Archive):
    for step in (archive, drop, verify, attach):
        with pytest.raises(NotYet, match="job_responses__site_001__2024_02"):
            await step(old.bench, OLD)
    await detach(old.bench, OLD)
    with pytest.raises(NotYet, match="archive it first, nothing was dropped"):
        await drop(old.bench, OLD)
    assert await old.state() == "detached"


@pytest.mark.parametrize(
    ("table", "why"),
    [("work_orders", "its rows change"), ("reason_codes", "it is not split by month")],
)
async def test_tables_whose_rows_are_needed_here_are_never_detached(old: Archive, table, why):
    for step in (detach, archive, drop, attach):
        with pytest.raises(NotArchivable, match=why):
            await step(old.bench, Partition(table, "SITE_001", MONTH))


async def test_facts_that_others_wait_for_are_never_detached(old: Archive):
    with pytest.raises(NotArchivable, match="late rows of other tables wait"):
        await detach(old.bench, Partition("inspection_results", "SITE_001", MONTH))


async def test_a_month_that_there_is_not_can_not_be_detached(old: Archive):
    with pytest.raises(NotArchivable, match="there is no part"):
        await detach(old.bench, Partition(TABLE, "SITE_001", "2019-01"))


async def test_the_file_says_what_is_in_it_with_nothing_else_at_hand(old: Archive):
    month = await old.goes()
    file = pq.ParquetFile(old.path(1))
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["qty_good"] == "decimal128(18, 6)"
    assert types["created_at"] == "timestamp[us, tz=UTC]"
    manifest = json.loads(old.path(1).with_suffix(".json").read_text())
    assert manifest["table"] == TABLE
    assert (manifest["rows"], manifest["sum"]) == (40, int(month.sum or 0))
    assert (manifest["sha256"], manifest["bytes"]) == (month.sha256, old.path(1).stat().st_size)
    assert {field.name for field in file.schema_arrow} == set(manifest["columns"])


async def test_sums_of_reports_stay_whatever_step_a_month_is_at(old: Archive):
    await old.sends(*old.reports(5, start=2), day="2024-03-05")
    assert await old.reports_counted() == 45
    for step in (detach, archive, drop, attach):
        await step(old.bench, OLD)
        assert await old.reports_counted() == 45, step.__name__
        await old.sums_are_right()


async def test_a_late_row_stands_in_a_part_of_its_own_and_is_counted(old: Archive):
    await old.goes()
    late = old.reports(3, start=7)
    assert (await old.sends(*late)).parked == 0
    assert await old.live() == ids(late)
    assert await old.reports_counted() == 43
    await old.sums_are_right()


@pytest.mark.parametrize("steps", [(detach,), (detach, archive), (detach, archive, drop)])
async def test_what_an_older_copy_sends_again_is_known_and_counted_once(old: Archive, steps):
    for step in steps:
        await step(old.bench, OLD)
    new = old.reports(2, start=7)
    outcome = await old.sends(*old.reports(40), *new)
    assert outcome.parked == 0
    assert await old.live() == ids(new)
    assert await old.reports_counted() == 42
    await old.sums_are_right()


@pytest.mark.parametrize("steps", [(detach,), (detach, archive), (detach, archive, drop)])
async def test_what_says_otherwise_than_the_archive_is_parked(old: Archive, steps):
    for step in steps:
        await step(old.bench, OLD)
    changed, *_ = old.reports(1)
    outcome = await old.sends(changed | {"qty_good": "7"}, *old.reports(2, start=7))
    assert outcome.parked == 1
    ((reason, _, table, row_id, _),) = await old.world.parked()
    assert (reason, table, row_id) == ("id_taken", TABLE, changed["id"])
    assert await old.reports_counted() == 42


async def test_late_rows_are_merged_into_a_new_file_and_the_old_one_stays(old: Archive):
    await old.goes()
    await old.sends(*old.reports(3, start=7))
    await detach(old.bench, OLD)
    assert await old.state() == "detached"
    await old.sums_are_right()
    await archive(old.bench, OLD)
    assert old.path(1).exists()
    await drop(old.bench, OLD)
    month = await old.month()
    assert (month.generation, month.rows, await old.live()) == (2, 43, set())
    assert (await old.sends(*old.reports(40), *old.reports(3, start=7))).parked == 0
    assert await old.live() == set()
    await old.sums_are_right()
    await attach(old.bench, OLD)
    assert len(await old.live()) == 43
    await old.sums_are_right()


async def test_late_rows_stand_beside_those_that_come_back(old: Archive):
    await old.goes()
    late = old.reports(3, start=7)
    await old.sends(*late)
    await attach(old.bench, OLD)
    assert await old.live() == ids(old.reports(40)) | ids(late)
    assert await old.reports_counted() == 43
    await old.sends(*old.reports(2, start=9))
    assert await old.reports_counted() == 45
    await old.sums_are_right()


async def test_a_month_that_came_back_can_go_again(old: Archive):
    await old.goes()
    await attach(old.bench, OLD)
    month = await old.goes()
    assert (month.generation, month.rows, month.file) == (
        2, 40, f"{TABLE}/SITE_001/{MONTH}.2.parquet",
    )  # fmt: skip


async def test_a_month_that_came_back_takes_rows_as_any_other(old: Archive):
    await old.goes()
    await attach(old.bench, OLD)
    assert (
        await old.world.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'a_refuse_archived'")
        == 0
    )
    assert (await old.sends(*old.reports(40), *old.reports(2, start=7))).parked == 0
    assert await old.reports_counted() == 42


async def test_a_file_that_lacks_a_row_gets_no_name_and_is_not_recorded(old: Archive):
    """The second look at what stands aside misses a row: as if its page were lost in between."""
    await detach(old.bench, OLD)
    for statement in (
        f'ALTER TABLE archive."{OLD.name}" RENAME TO kept',
        "CREATE SEQUENCE archive.looks",
        f'CREATE VIEW archive."{OLD.name}" AS SELECT * FROM archive.kept'
        " WHERE nextval('archive.looks') <> 50",
        f'GRANT SELECT ON archive."{OLD.name}" TO mes_ingest',
        "GRANT USAGE ON SEQUENCE archive.looks TO mes_ingest",
    ):
        await old.world.admin.execute(statement.encode())
    with pytest.raises(ArchiveDamaged, match="nothing was dropped"):
        await archive(old.bench, OLD)
    assert list(old.path(1).parent.glob("*")) == []
    assert await old.state() == "detached"


async def test_a_file_that_is_not_what_was_written_drops_nothing(old: Archive):
    await detach(old.bench, OLD)
    await archive(old.bench, OLD)
    whole = old.path(1).read_bytes()
    old.path(1).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    for step in (verify, drop):
        with pytest.raises(ArchiveDamaged, match="is not what was written"):
            await step(old.bench, OLD)
    assert await old.state() == "archived"
    old.path(1).write_bytes(whole)
    await drop(old.bench, OLD)


async def test_a_row_sent_again_across_a_migration_is_parked_and_never_doubled(old: Archive):
    """The part stands aside from before the migration, and its rows have no such column."""
    await detach(old.bench, OLD)
    for statement in (
        f"ALTER TABLE mes.{TABLE} ADD COLUMN pressure bigint",
        function_statement(
            replace(
                old.world.catalog.table(TABLE),
                columns=(Column("pressure", ColumnType(Kind.INTEGER)),),
            )
        ),
    ):
        await old.world.admin.execute(statement.encode())
    new = old.reports(2, start=7)
    outcome = await old.sends(*old.reports(1), *new)
    assert outcome.parked == 1
    ((reason, *_, message),) = await old.world.parked()
    assert (reason, "archive it and try again" in message) == ("id_taken", True)
    assert await old.live() == ids(new)


async def test_what_still_stands_aside_comes_back_without_its_file(old: Archive):
    await detach(old.bench, OLD)
    await archive(old.bench, OLD)
    old.path(1).unlink()
    await attach(old.bench, OLD)
    assert await old.live() == ids(old.reports(40))
    await old.sums_are_right()


async def test_rows_that_were_changed_aside_are_not_dropped(old: Archive):
    await detach(old.bench, OLD)
    await archive(old.bench, OLD)
    await old.world.admin.execute(
        f'UPDATE archive."{OLD.name}" SET qty_good = 8 WHERE id = %s'.encode(),
        [old.reports(1)[0]["id"]],
    )
    with pytest.raises(ArchiveDamaged, match="attach it, and archive it anew"):
        await drop(old.bench, OLD)


async def test_nobody_can_write_what_was_detached(old: Archive):
    await detach(old.bench, OLD)
    url = as_role(old.world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await ingest.execute(f'DELETE FROM archive."{OLD.name}"'.encode())


async def test_who_still_writes_by_the_old_name_makes_a_new_part(old: Archive):
    """The store remembers that the month has a partition, and nobody tells it otherwise."""
    await detach(old.bench, OLD)
    block = old.site.insert(TABLE, *old.reports(2, start=7), created=f"{MONTH}-11T00:00:00.000Z")
    sent = old.site.sends(block)
    with pytest.raises(StoreBusy):  # the worker comes again by itself
        await old.site.apply(sent)
    await old.site.apply(sent)
    assert await old.live() == ids(old.reports(2, start=7))


async def test_a_batch_over_months_is_not_parked_for_one_that_was_detached(old: Archive):
    await old.sends(*old.reports(1, start=2), day="2024-03-05")
    await detach(old.bench, OLD)
    blocks = [
        old.site.insert(TABLE, *old.reports(2, start=start), created=f"{day}T00:00:00.000Z")
        for start, day in ((7, "2024-02-11"), (8, "2024-03-11"))
    ]
    both = blocks[0]
    for name in ("sites", "created", "ids", "base", "after"):
        getattr(both, name).extend(getattr(blocks[1], name))
    for mine, more in zip(both.new, blocks[1].new, strict=True):
        mine.extend(more)
    sent = old.site.sends(both)
    with pytest.raises(StoreBusy):
        await old.site.apply(sent)
    assert (await old.site.apply(sent)).parked == 0
    assert len(await old.live()) == 5


async def test_a_report_that_takes_long_holds_up_the_detaching_and_nobody_else(old: Archive):
    async with await psycopg.AsyncConnection.connect(old.world.url) as report:
        await report.execute(f"SELECT count(*) FROM mes.{TABLE}".encode())
        going = asyncio.create_task(detach(old.bench, OLD))
        await appears(old.world.url, "SELECT 1 FROM pg_inherits WHERE inhdetachpending")
        assert not going.done()
        assert (await old.sends(*old.reports(2, start=8), day="2024-03-05")).parked == 0
        assert (await old.sends(*old.reports(2, start=9))).parked == 0
        await report.rollback()
    assert await going is True
    await archive(old.bench, OLD)
    assert (await old.month()).rows == 42


async def test_two_who_archive_months_of_one_site_at_once_do_not_meet(old: Archive):
    async with archive_of(old.world, old.root) as other, other.world.admin.transaction():
        await other.bench.connection.execute(
            "SELECT pg_advisory_lock(hashtextextended('mes archive SITE_001', 0))"
        )
        with pytest.raises(StoreBusy, match="somebody else archives"):
            await detach(old.bench, OLD)
        await other.bench.connection.execute("SELECT pg_advisory_unlock_all()")


async def test_a_month_in_the_archive_is_no_difference_to_its_site(old: Archive):
    table = old.world.catalog.table(TABLE)
    await old.sends(*old.reports(1, start=2), day="2024-01-05")
    assert await kept_from(old.world.admin, "SITE_001", [table]) == {TABLE: "2024-01-01"}
    await old.goes()
    assert await kept_from(old.world.admin, "SITE_001", [table]) == {TABLE: "2024-03-01"}
    await old.sends(*old.reports(1, start=3))
    assert await kept_from(old.world.admin, "SITE_001", [table]) == {TABLE: "2024-03-01"}
    await attach(old.bench, OLD)
    assert await kept_from(old.world.admin, "SITE_001", [table]) == {TABLE: "2024-01-01"}


# --- a release with other triggers, or other rollups ----------------------------------------------


async def test_a_release_with_other_triggers_keeps_the_sums_of_archived_months(old: Archive):
    await old.goes()
    await old.world.admin.execute(
        "UPDATE sync.generated SET sha256 = '' WHERE table_name LIKE 'triggers of rollups%'"
    )
    done = await migrate(old.world.url, old.world.catalog, [])
    assert [e for e in done if "rollups" in e] == [f"triggers of rollups of {TABLE} made"]
    assert await old.reports_counted() == 40
    await old.sums_are_right()


async def test_sums_that_a_release_made_anew_are_held_against_all_facts_at_once(old: Archive):
    await old.goes()
    connection, shelf = old.bench.connection, old.shelf
    while await check_next(connection, 24, shelf):
        pass
    await old.world.admin.execute(
        "UPDATE sync.generated SET sha256 = '' WHERE table_name LIKE 'rollups of%'"
    )
    await migrate(old.world.url, old.world.catalog, [])
    while await check_next(connection, 24, shelf):
        pass
    query = "SELECT differing > 0 FROM sync.rollup_check WHERE site = 'SITE_001'"
    assert await old.world.value(query)  # until somebody makes them anew with the files
    await rebuild(connection, "SITE_001", shelf)
    await old.sums_are_right()

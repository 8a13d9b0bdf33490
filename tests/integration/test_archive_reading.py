"""Rows of archived months through the API: each once, of permitted sites, out of their files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest

from central import archive_reading
from central.api.asking import reading
from central.archive import archive, detach, drop
from central.archive_contents import ArchiveDamaged
from central.archive_reading import Wanted, opened, read_files
from central.partitions import Partition
from tests.integration.api_world import Api, link
from tests.integration.api_world import opened as api_of
from tests.integration.apply_world import world
from tests.integration.archive_world import MONTH, OLD, TABLE, Archive, ids, old

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["link", "old", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

ALL = {"from": "2024-01-01T00:00:00Z", "to": "2024-04-01T00:00:00Z", "limit": 1000}
OTHER = Partition(TABLE, "SITE_002", MONTH)


@pytest.fixture
async def api(old: Archive, link) -> AsyncIterator[Api]:
    async with api_of(old.world, link) as found:
        reach = replace(found.reach, archive_dir=old.root)
        yield Api(old.world, reach)


async def listed(api: Api, *grants: str, **asked: Any) -> list[dict[str, Any]]:
    async with await api.asked_by(*grants) as client:
        answer = await client.get(f"/v1/archive/{TABLE}", params=ALL | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


async def other_site(old: Archive) -> set[str]:
    """Have another site report in the same month, and archive that, too."""
    site = old.world.site("SITE_002")
    rows = old.reports(4, start=5)
    block = site.insert(TABLE, *rows, created=f"{MONTH}-10T08:00:00.125Z")
    assert (await site.apply(site.sends(block))).parked == 0
    await old.goes(OTHER)
    return ids(rows)


async def test_rows_are_the_same_wherever_they_stand(old: Archive, api: Api):
    before = await listed(api, "admin")
    assert len(before) == 40
    assert [(row["created_at"], row["id"]) for row in before] == sorted(
        (row["created_at"], row["id"]) for row in before
    )
    for step in (detach, archive, drop):
        await step(old.bench, OLD)
        assert await listed(api, "admin") == before, step.__name__


async def test_late_rows_are_listed_with_those_of_the_archive(old: Archive, api: Api):
    await old.goes()
    late = old.reports(3, start=7)
    await old.sends(*late, day=f"{MONTH}-09")
    assert {row["id"] for row in await listed(api, "admin")} == ids(old.reports(40)) | ids(late)
    await detach(old.bench, OLD)
    assert len(await listed(api, "admin")) == 43
    await archive(old.bench, OLD)
    assert len(await listed(api, "admin")) == 43


async def test_pages_hold_every_row_once_across_file_and_table(old: Archive, api: Api):
    await old.goes()
    await old.sends(*old.reports(3, start=7), day=f"{MONTH}-09")
    await old.sends(*old.reports(3, start=8), day="2024-03-09")
    seen: list[str] = []
    asked: dict[str, Any] = ALL | {"limit": 7}
    async with await api.asked_by("admin") as client:
        while True:
            answer = (await client.get(f"/v1/archive/{TABLE}", params=asked)).json()
            seen += [row["id"] for row in answer["rows"]]
            if answer["next"] is None:
                break
            assert len(answer["rows"]) == 7
            asked |= {"after": answer["next"]}
    assert len(seen) == len(set(seen)) == 46


async def test_a_key_of_one_site_gets_no_row_of_anothers_file(old: Archive, api: Api):
    theirs = await other_site(old)
    await old.goes()
    assert {row["id"] for row in await listed(api, "plant:SITE_002")} == theirs
    assert {row["id"] for row in await listed(api, "plant:SITE_001")} == ids(old.reports(40))
    assert len(await listed(api, "admin")) == 44


async def test_rows_that_stand_aside_are_of_their_sites_readers_only(old: Archive, api: Api):
    await detach(old.bench, OLD)
    assert await listed(api, "plant:SITE_002") == []
    assert len(await listed(api, "plant:SITE_001")) == 40


async def test_rows_aside_of_another_site_are_hidden_by_the_database_itself(old: Archive, api: Api):
    await detach(old.bench, OLD)
    query = f'SELECT count(*) FROM archive."{OLD.name}"'.encode()
    for site, count in (("SITE_001", 40), ("SITE_002", 0)):
        async with reading(api.reach.reading, (site,)) as connection:
            cursor = await connection.execute(query)
            assert await cursor.fetchone() == (count,)


async def test_the_database_itself_hides_which_files_another_site_has(old: Archive, api: Api):
    await old.goes()
    async with reading(api.reach.reading, ("SITE_002",)) as connection:
        cursor = await connection.execute("SELECT count(*) FROM sync.archive")
        assert await cursor.fetchone() == (0,)


async def test_a_file_that_is_away_is_told_and_not_passed_over(old: Archive, api: Api):
    await old.goes()
    old.path(1).rename(old.path(2))
    async with await api.asked_by("admin") as client:
        answer = await client.get(f"/v1/archive/{TABLE}", params=ALL)
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/archive-away"
    assert str(old.root) not in answer.text


@pytest.mark.parametrize(
    ("table", "asked", "status"),
    [
        ("work_orders", {}, 404),
        ("..%2f..%2fetc", {}, 404),
        (TABLE, {"to": "2026-01-01T00:00:00Z"}, 422),
        (TABLE, {"to": "2023-01-01T00:00:00Z"}, 422),
        (TABLE, {"from": "2024-01-01T00:00:00"}, 422),
        (TABLE, {"from": "9999-12-01T00:00:00Z", "to": "9999-12-31T00:00:00Z"}, 422),
        (TABLE, {"from": "0001-01-01T00:00:00+14:00", "to": "0001-02-01T00:00:00Z"}, 422),
        (TABLE, {"limit": 1001}, 422),
        (TABLE, {"after": "2024-13-41T00:00:00.000Z,00000000-0000-0000-0000-000000000000"}, 422),
        (TABLE, {"after": "'); DROP"}, 422),
        (TABLE, {"path": "/etc/passwd"}, 422),
    ],
)
async def test_what_can_not_be_asked_is_refused(old: Archive, api: Api, table, asked, status):
    async with await api.asked_by("admin") as client:
        answer = await client.get(f"/v1/archive/{table}", params=ALL | asked)
    assert answer.status_code == status, answer.text


# --- while the archive moves ---------------------------------------------------------------------


async def test_a_month_that_goes_to_the_archive_meanwhile_is_read_whole(
    old: Archive, api: Api, monkeypatch
):
    """Its state is another one at the second look, which sees what was committed before it."""
    files, gone = archive_reading._files, []

    async def in_between(*given: Any) -> list:
        rows = await files(*given)
        if not gone:
            gone.append(await old.goes())
        return rows

    monkeypatch.setattr(archive_reading, "_files", in_between)
    assert {row["id"] for row in await listed(api, "admin")} == ids(old.reports(40))
    assert gone


async def test_a_month_that_stands_aside_and_is_dropped_meanwhile_is_read_whole(
    old: Archive, api: Api, monkeypatch
):
    await detach(old.bench, OLD)
    columns, gone = archive_reading.columns_of, []

    async def in_between(*given: Any) -> list[str]:
        found = await columns(*given)
        if not gone:
            gone.append(await archive(old.bench, OLD))
            await drop(old.bench, OLD)
        return found

    monkeypatch.setattr(archive_reading, "columns_of", in_between)
    assert {row["id"] for row in await listed(api, "admin")} == ids(old.reports(40))
    assert gone


async def test_parts_of_other_sites_are_not_locked(old: Archive, api: Api, monkeypatch):
    await other_site(old)
    select, locked = archive_reading._select, set()

    async def looked(connection: Any, *given: Any) -> Any:
        rows = await select(connection, *given)
        cursor = await connection.execute(
            "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND relation IS NOT NULL"
        )
        locked.update(name for (name,) in await cursor.fetchall())
        return rows

    monkeypatch.setattr(archive_reading, "_select", looked)
    assert len(await listed(api, "plant:SITE_001")) == 40
    assert any("site_001" in name for name in locked)
    assert [name for name in locked if "site_002" in name] == []


# --- what was done to the files -------------------------------------------------------------------


async def test_a_file_that_is_not_what_was_recorded_is_told_and_not_read(old: Archive, api: Api):
    await other_site(old)
    await old.goes()
    shutil.copy(old.path(1, OTHER), old.path(1))
    async with await api.asked_by("plant:SITE_001") as client:
        answer = await client.get(f"/v1/archive/{TABLE}", params=ALL)
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/archive-away"


async def test_a_byte_that_was_changed_is_found_though_the_size_is_the_same(old: Archive, api: Api):
    month = await old.goes()
    path = old.path(1)
    assert len(await listed(api, "admin")) == 40  # and it is remembered that it was right
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveDamaged, match="SHA-256"):
        archive_reading.CHECKED.check(path, month)


async def test_a_file_is_summed_once_while_it_stays_as_it_is(old: Archive, api: Api, monkeypatch):
    await old.goes()
    summed = []
    check = archive_reading.check_bytes

    def counted(path: Path, sha256: str | None) -> None:
        summed.append(path)
        check(path, sha256)

    monkeypatch.setattr(archive_reading, "check_bytes", counted)
    for _ in range(3):
        assert len(await listed(api, "admin")) == 40
    assert summed == [old.path(1)]


async def test_a_row_of_another_site_is_none_of_a_file_however_it_came_there(old: Archive):
    await other_site(old)
    await old.goes()
    wanted = Wanted(
        since=datetime(2024, 1, 1, tzinfo=UTC), before=datetime(2024, 4, 1, tzinfo=UTC), rows_max=99
    )
    table = old.world.catalog.table(TABLE)
    assert len(read_files([(old.path(1, OTHER), "SITE_002")], table, wanted)) == 4
    assert read_files([(old.path(1, OTHER), "SITE_001")], table, wanted) == []


# --- the files themselves ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{other}.copy'",
        "ATTACH '{other}.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '64GB'",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    ],
)
async def test_duckdb_opens_the_files_that_are_named_and_nothing_else(old: Archive, query):
    await other_site(old)
    await old.goes()
    mine, theirs = old.path(1), old.path(1, OTHER)
    with opened([mine]) as database:
        assert database.sql(f"SELECT count(*) FROM read_parquet('{mine}')").fetchall() == [(40,)]
        with pytest.raises(duckdb.Error):
            database.execute(query.format(other=theirs)).fetchall()


async def test_a_file_of_an_earlier_catalogue_is_read_under_todays_names(old: Archive, tmp_path):
    await old.goes()
    table = old.world.catalog.table(TABLE)
    earlier = tmp_path / "earlier.parquet"
    whole = pq.read_table(old.path(1)).drop(["shift_code"])
    names = ["good" if name == "qty_good" else name for name in whole.column_names]
    pq.write_table(whole.rename_columns(names), earlier)
    columns = tuple(
        replace(c, renamed_from=("good",)) if c.name == "qty_good" else c for c in table.columns
    )
    wanted = Wanted(
        since=datetime(2024, 1, 1, tzinfo=UTC), before=datetime(2024, 4, 1, tzinfo=UTC), rows_max=99
    )
    rows = read_files([(earlier, OLD.site)], replace(table, columns=columns), wanted)
    place = 3 + table.bit("qty_good")
    assert {row[place] for row in rows} == {f"{n}.25" for n in range(1, 41)}
    assert {row[3 + table.bit("shift_code")] for row in rows} == {None}

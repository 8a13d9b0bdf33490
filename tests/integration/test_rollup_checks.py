"""Somebody looks whether the sums of reports are right, and tells where they are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from central import rollup_checks
from central.archive_contents import ArchiveAway
from central.picture import read_picture
from central.roles import INGEST, as_role
from central.rollup_checks import check_next
from tests.integration.apply_world import World, world
from tests.integration.central_world import SITES
from tests.integration.command_world import mes_central

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["mes_central", "world"]

pytestmark = pytest.mark.postgres

REPORTED = (
    "INSERT INTO mes.job_responses (site_id, created_at, report_type, qty_good)"
    " VALUES ('{site}', '2026-11-03T08:00Z', 'PRODUCTION', 7)"
)


@pytest.fixture
async def ingest(world: World):
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for site in SITES:
            await connection.execute(
                "SELECT sync.make_partition('job_responses', %s, '2026-11-01')", [site]
            )
            await connection.execute(REPORTED.format(site=site).encode())
        yield connection


async def differing(connection: AsyncConnection) -> dict[str, int]:
    cursor = await connection.execute("SELECT site, differing FROM sync.rollup_check")
    return dict(await cursor.fetchall())


async def test_each_site_has_its_turn_and_none_twice_within_the_time(ingest):
    assert [await check_next(ingest, 24) for _ in range(4)] == [*SITES, None]
    assert await differing(ingest) == dict.fromkeys(SITES, 0)
    await ingest.execute(
        "UPDATE sync.rollup_check SET checked_at = now() - interval '25 hours' WHERE site = %s",
        [SITES[1]],
    )
    assert await check_next(ingest, 24) == SITES[1]
    assert await check_next(ingest, 24) is None


async def test_a_sum_that_is_wrong_is_told_by_the_log_and_the_status(ingest, world, caplog):
    await ingest.execute(
        "UPDATE mes.job_responses_deltas SET qty_good = 8 WHERE site_id = %s", [SITES[0]]
    )
    for _ in SITES:
        await check_next(ingest, 24)
    found = await differing(ingest)
    assert (found[SITES[0]] > 0, found[SITES[1]]) == (True, 0)
    assert "rollups differ" in caplog.text
    picture = await read_picture(world.admin, world.catalog, None)
    assert {each.site: each.sums_differing for each in picture.sites} == found
    assert all(each.sums_checked_at for each in picture.sites)


async def test_a_site_whose_archive_is_away_holds_up_no_other(ingest, world, monkeypatch, caplog):
    looked = rollup_checks.differences

    async def away(connection, rollup, site, shelf):
        if site == SITES[0]:
            raise ArchiveAway("the disk is not mounted")
        return await looked(connection, rollup, site, shelf)

    await ingest.execute(
        "INSERT INTO sync.rollup_check VALUES (%s, now() - interval '2 days', 3, '')", [SITES[0]]
    )
    monkeypatch.setattr(rollup_checks, "differences", away)
    assert {await check_next(ingest, 24) for _ in range(4)} == {*SITES, None}
    assert "the disk is not mounted" in caplog.text
    assert (await differing(ingest))[SITES[0]] == 3, "what was found before is forgotten"
    cursor = await ingest.execute("SELECT why FROM sync.rollup_check ORDER BY site")
    assert [why for (why,) in await cursor.fetchall()] == ["the disk is not mounted", "", ""]
    picture = await read_picture(world.admin, world.catalog, None)
    why = {each.site: each.sums_why for each in picture.sites}
    assert why == dict.fromkeys(SITES, "") | {SITES[0]: "the disk is not mounted"}


def test_what_the_command_finds_and_mends_is_what_the_status_tells(mes_central):
    url = as_role(mes_central.url, INGEST)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT sync.make_partition('job_responses', 'SITE_002', '2026-11-01')")
        connection.execute(REPORTED.format(site="SITE_002").encode())
        connection.execute("UPDATE mes.job_responses_deltas SET qty_good = 8")
    assert mes_central("rollups", "verify").code == 1
    told = mes_central("status", "--json").out
    reasons = [each for each in json.loads(told)["reasons"] if each["code"] == "MES-SUMS"]
    assert [each["site"] for each in reasons] == ["SITE_002"]
    assert "rollups verify --site SITE_002" in reasons[0]["hint"]
    assert mes_central("rollups", "verify", "--repair").code == 0
    assert "MES-SUMS" not in mes_central("status", "--json").out

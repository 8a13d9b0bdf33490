"""Rollups are the sums of the facts that stand, whatever wrote them and in whatever order."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central.migrate import migrate
from central.roles import API, INGEST, as_role
from central.rolled import differences, follow_days, rebuild
from central.rollups import OUTPUTS, RATED, ROLLUPS
from central.unions import tables_of
from tests.integration.apply_world import World, world
from tests.integration.central_world import SITES
from tests.integration.command_world import mes_central
from tests.integration.rollup_world import (
    MACHINES,
    as_ingest,
    blocks,
    exact,
    folds,
    report,
    sends,
)

if TYPE_CHECKING:
    from tests.integration.apply_world import Site

__all__ = ["mes_central", "world"]

pytestmark = pytest.mark.postgres

# --- exact, whatever happens ---------------------------------------------------------------------


async def test_sums_are_those_of_the_facts_after_any_history(world: World, seed):
    chance = random.Random(seed)
    sites = [world.site(name) for name in SITES]
    sent: list[tuple[Site, list[dict[str, Any]]]] = []
    for _ in range(25):
        site = chance.choice(sites)
        match chance.randrange(7):
            case 0 | 1 | 2:  # new, or weeks late, in several months at once
                reports = [report(site, chance) for _ in range(chance.randrange(1, 12))]
                sent.append((site, reports))
                await sends(site, reports)
            case 3 if sent:  # the same once more, as an older copy of the site tells it
                again, reports = chance.choice(sent)
                some = chance.sample(reports, len(reports))
                await again.apply(again.sends(*blocks(again, some)))
            case 4:  # what stands is folded
                assert await folds(world) >= 0
            case 5:  # a person takes rows away
                await as_ingest(
                    world,
                    "DELETE FROM mes.job_responses WHERE id IN"
                    " (SELECT id FROM mes.job_responses ORDER BY id LIMIT 3)",
                )
            case _:  # or mends them
                await as_ingest(
                    world,
                    "UPDATE mes.job_responses SET qty_good = qty_good + 1, equipment_id = NULL"
                    " WHERE id IN (SELECT id FROM mes.job_responses ORDER BY id DESC LIMIT 3)",
                )
    await exact(world)
    assert await world.value("SELECT sum(reports) FROM mes.output_days") > 0


async def test_a_partition_is_rolled_up_also_where_it_is_written_by_its_own_name(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(1))])
    (leaf,) = await world.one("SELECT tableoid::regclass::text FROM mes.job_responses")
    await as_ingest(world, f"UPDATE {leaf} SET qty_good = 41")
    assert await world.value("SELECT qty_good FROM mes.output_days WHERE reports = 1") == 41
    await as_ingest(world, f"DELETE FROM {leaf}")
    assert await world.rows("SELECT FROM mes.output_days WHERE reports <> 0") == []
    await exact(world)


async def test_a_partition_made_before_the_rollups_is_rolled_up_by_its_own_name(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(8))])
    await world.admin.execute("DELETE FROM sync.generated WHERE table_name LIKE 'rollups%'")
    for (relation,) in await world.rows(
        "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'roll_up_insert'"
    ):
        for operation in ("insert", "update", "delete"):
            await world.admin.execute(f"DROP TRIGGER roll_up_{operation} ON {relation}".encode())
    await migrate(world.url, world.catalog, [])
    await sends(site, [report(site, random.Random(8)) | {"id": str(uuid.uuid4())}])
    await exact(world)
    assert await world.value("SELECT sum(reports) FROM mes.output_days") == 2


async def test_rows_without_a_machine_are_one_row(world: World):
    site = world.site()
    one = report(site, random.Random(9)) | {
        "equipment_id": None, "segment_code": None, "shift_code": None,
    }  # fmt: skip
    for _ in range(3):
        await sends(site, [one | {"id": str(uuid.uuid4())}])
    assert await world.rows("SELECT reports FROM mes.output_days") == [(3,)]


async def test_what_was_rolled_back_was_not_added(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(2))])
    before = await world.rows("SELECT * FROM mes.output_quarters")
    async with await psycopg.AsyncConnection.connect(as_role(world.url, INGEST)) as other:
        await other.execute("DELETE FROM mes.job_responses")
        await other.rollback()
    assert await world.rows("SELECT * FROM mes.output_quarters") == before


async def test_two_that_add_to_the_same_sums_at_once_lose_nothing(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(3))])

    async def add(n: int) -> None:
        for _ in range(20):
            await as_ingest(
                world,
                """INSERT INTO mes.job_responses (site_id, created_at, report_type, qty_good,
                           equipment_id)
                       SELECT 'SITE_001', '2026-11-03T08:00Z', 'PRODUCTION', %s, equipment_id
                       FROM unnest(%s::uuid[]) AS m(equipment_id) ORDER BY random()""",
                n,
                MACHINES,
            )

    await asyncio.gather(*map(add, range(1, 5)))
    await exact(world)
    found = await world.one(
        "SELECT sum(reports), sum(qty_good) FROM mes.output_days WHERE day = '2026-11-03'"
    )
    assert found >= (4 * 20 * 3, 20 * 3 * (1 + 2 + 3 + 4))


# --- days ----------------------------------------------------------------------------------------


async def set_day(world: World, site: str, zone: str, day_start: str) -> None:
    await world.client(
        "INSERT INTO mes.sites (code, name, timezone, business_day_start) VALUES (%s, %s, %s, %s)",
        site, site, zone, day_start, site="*",
    )  # fmt: skip


async def follow(world: World) -> list[str]:
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        return await follow_days(ingest)


@pytest.mark.parametrize(
    ("ended", "day"),
    [
        # The night of 23 hours: clocks go from 02:00 to 03:00 on 29 March.
        ("2026-03-29T03:59:59.999Z", "2026-03-28"), ("2026-03-29T04:00:00.000Z", "2026-03-29"),
        # The night of 25 hours: from 03:00 back to 02:00 on 25 October.
        ("2026-10-24T03:59:59.999Z", "2026-10-23"), ("2026-10-24T04:00:00.000Z", "2026-10-24"),
        ("2026-10-25T04:59:59.999Z", "2026-10-24"), ("2026-10-25T05:00:00.000Z", "2026-10-25"),
    ],
)  # fmt: skip
async def test_a_report_belongs_to_the_business_day_of_its_site(world: World, ended, day):
    await set_day(world, "SITE_001", "Europe/Berlin", "06:00")
    await follow(world)
    site = world.site()
    one = report(site, random.Random(4)) | {
        "created": ended, "ended_at": ended, "business_date": None,
    }  # fmt: skip
    await sends(site, [one])
    assert await world.value("SELECT day::text FROM mes.output_days") == day


async def test_rollups_follow_a_site_whose_zone_was_mended_and_are_right_until_then(world: World):
    site, chance = world.site(), random.Random(5)
    await sends(site, [report(site, chance) for _ in range(30)])
    before = await world.rows("SELECT DISTINCT day FROM mes.output_days ORDER BY 1")
    await set_day(world, "SITE_001", "Pacific/Auckland", "05:45")
    await sends(site, [report(site, chance)])
    await exact(world)
    assert await follow(world) == ["SITE_001"]
    await exact(world)
    after = await world.rows("SELECT DISTINCT day FROM mes.output_days ORDER BY 1")
    assert after != before
    assert await follow(world) == []
    await sends(site, [report(site, chance) for _ in range(5)])
    await exact(world)


async def test_a_zone_that_there_is_not_stops_nothing(world: World, caplog):
    site = world.site()
    await set_day(world, "SITE_001", "Europe/Atlantis", "00:00")
    await set_day(world, "SITE_002", "Europe/Berlin", "00:00")
    assert await follow(world) == ["SITE_002"]
    assert "Europe/Atlantis" in caplog.text
    await sends(site, [report(site, random.Random(6))])
    await exact(world)


# --- looking, and mending ------------------------------------------------------------------------


async def test_a_sum_that_is_wrong_is_found_by_its_keys_and_mended(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(n)) for n in range(5)])
    await world.admin.execute(
        b"UPDATE mes.job_responses_deltas SET qty_good = qty_good + 1"
        b" WHERE ctid = (SELECT min(ctid) FROM mes.job_responses_deltas)"
    )
    rollup = next(each for each in ROLLUPS if each.name == "output_quarters")
    (found,) = await differences(world.admin, rollup, "SITE_001")
    assert found["kept_qty_good"] - found["qty_good"] == 1
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        await rebuild(ingest, "SITE_001")
    await exact(world)


def test_the_command_holds_rollups_against_the_facts_and_mends_them(mes_central):
    def run(statement: str) -> None:
        url = as_role(mes_central.url, INGEST)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    run("SELECT sync.make_partition('job_responses', 'SITE_002', '2026-11-01')")
    run(
        "INSERT INTO mes.job_responses (site_id, created_at, report_type, qty_good)"
        " VALUES ('SITE_002', '2026-11-03T08:00Z', 'PRODUCTION', 7)"
    )
    equal = mes_central("rollups", "verify")
    assert (equal.code, equal.out.splitlines()[-1]) == (0, "EQUAL  every sum is that of the facts")
    run("UPDATE mes.job_responses_deltas SET qty_scrap = 3")
    found = mes_central("rollups", "verify", "--json")
    assert (found.code, found.document["differing"]) == (1, len((*OUTPUTS, RATED)))
    assert mes_central("rollups", "verify", "--site", "SITE_001").code == 0
    assert "run again with --repair" in mes_central("rollups", "verify").out
    assert mes_central("rollups", "verify", "--repair").code == 0
    assert mes_central("rollups", "verify").code == 0
    assert (
        "SITE_999 is not registered" in mes_central("rollups", "verify", "--site", "SITE_999").err
    )


async def test_facts_that_were_there_before_are_in_the_rollups_once_they_are_made(world: World):
    site = world.site()
    await sends(site, [report(site, random.Random(n)) for n in range(8)])
    before = await world.rows("SELECT * FROM mes.output_days ORDER BY day, equipment_id")
    await world.admin.execute("DELETE FROM sync.generated WHERE table_name LIKE 'rollups%'")
    done = await migrate(world.url, world.catalog, [])
    assert [each for each in done if "rollups" in each] == [
        "rollups of job_responses made", "rollups of job_responses filled",
    ]  # fmt: skip
    assert await world.rows("SELECT * FROM mes.output_days ORDER BY day, equipment_id") == before
    await exact(world)


# --- who reads them ------------------------------------------------------------------------------


async def test_rollups_are_read_of_the_sites_that_one_may_read_and_written_by_nobody(world: World):
    sites, chance = [world.site(name) for name in SITES[:2]], random.Random(7)
    order = str(uuid.UUID(int=9))
    for site in sites:
        await site.writes(site.insert("work_orders", site.order(id=order, order_no="A")))
    of = {"work_order_id": order, "equipment_id": MACHINES[0], "report_type": "PRODUCTION"}
    for work in (folds(world), None):  # some is folded, and some is not
        for site in sites:
            made = report(site, chance)
            await sends(site, [made | of | {"ended_at": made["created"]}])
        if work:
            await work
    async with await psycopg.AsyncConnection.connect(as_role(world.url, API)) as connection:
        for name in ("job_responses_deltas", *tables_of("job_responses")):
            await connection.execute("SELECT set_config('app.sites', 'SITE_002', true)")
            cursor = await connection.execute(f"SELECT DISTINCT site_id FROM mes.{name}".encode())
            assert await cursor.fetchall() == [("SITE_002",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(f"DELETE FROM mes.{name}".encode())
            await connection.rollback()
        for rollup in ROLLUPS:
            await connection.execute("SELECT set_config('app.sites', 'SITE_002', true)")
            cursor = await connection.execute(
                f"SELECT DISTINCT site_id FROM mes.{rollup.name}".encode()
            )
            assert await cursor.fetchall() == [("SITE_002",)]
            await connection.rollback()

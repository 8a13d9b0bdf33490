"""What is merged of facts is what the facts come to, or is stale, whatever happened and when."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from central import mending
from central.api.asking import reading
from central.reports.months import located
from central.reports.orders import throughput_statement, wip_statement
from central.reports.statement import statement_of
from central.reports.whole import Form, Whole
from central.rolled import rebuild
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.rollup_world import as_ingest, exact
from tests.integration.union_world import (
    COLUMNS,
    FIRST,
    LIVES,
    MACHINE_DAYS,
    MACHINES,
    ORDERS,
    TWO,
    Met,
    a_plant,
    a_report,
    alike,
    folds,
    folds_all,
    happens,
    ingest,
    inserts,
    mends,
)

if TYPE_CHECKING:
    from tests.integration.api_world import Api
    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def test_answers_are_those_of_the_facts_after_any_history(world, api, seed):
    chance, met = random.Random(seed), Met()
    await a_plant(world)
    await inserts(world, [a_report(chance) for _ in range(20)])
    for _ in range(40):
        await happens(world, chance)
        await alike(api, met)
        await exact(world)
    assert met.none > 10
    assert met.stale > 10
    await folds_all(world)
    await mends(world)
    assert await stale(world) == []
    await alike(api, met)
    await exact(world)


async def stale(world: World) -> list[tuple[Any, ...]]:
    return await world.rows(
        "SELECT site_id, equipment_id::text AS of FROM mes.machine_busy WHERE is_stale"
        " UNION ALL SELECT site_id, work_order_id::text FROM mes.order_lives WHERE is_stale"
    )


async def test_answers_are_those_of_the_facts_while_all_goes_on_at_once(world, api, seed):
    chance, is_over = random.Random(seed), asyncio.Event()
    await a_plant(world)
    met = Met()

    async def keep(work: Any) -> None:
        while not is_over.is_set():
            await work()
            await asyncio.sleep(0)

    async def writes() -> None:
        for _ in range(60):
            await inserts(world, [a_report(chance) for _ in range(2)])
            await as_ingest(
                world,
                "DELETE FROM mes.job_responses WHERE id IN (SELECT id FROM mes.job_responses"
                " ORDER BY md5(id::text || %s) LIMIT 1)",
                str(chance.random()),
            )

    others = [asyncio.create_task(keep(lambda: alike(api, met)))]
    others += [asyncio.create_task(keep(lambda: folds(world, 3)))]
    others += [asyncio.create_task(keep(lambda: mends(world)))]
    await writes()
    is_over.set()
    await asyncio.gather(*others)
    assert met.stale + met.none > 6
    await exact(world)
    await folds_all(world)
    await mends(world)
    assert await stale(world) == []
    await exact(world)


async def test_answers_are_those_of_the_facts_before_and_after_each_fold_and_mend(world, api):
    await a_plant(world)
    chance, met = random.Random(9), Met()
    noon = FIRST + timedelta(days=3, hours=12)
    await world.client(
        "INSERT INTO mes.equipment_rates (equipment_id, pri_s, effective_from)"
        " VALUES (%s, 60, '2026-01-01T00:00Z'), (%s, 90, %s)",
        MACHINES[1], MACHINES[1], noon - timedelta(hours=2),
    )  # fmt: skip
    (*usual, second, late) = of_each_kind(chance, noon)
    await inserts(world, [*usual, second])
    await alike(api, met)
    await folds_all(world)
    await alike(api, met)
    await inserts(world, [late])  # of an order that had ended before some of the windows
    await alike(api, met)
    assert (met.stale, met.rated > 0) == (0, True)
    for gone in ("started_at < ended_at - interval '7 days'", "report_type = 'PRODUCTION'"):
        await as_ingest(
            world,
            "DELETE FROM mes.job_responses WHERE id IN (SELECT id FROM mes.job_responses"
            f" WHERE ended_at <= %s AND {gone} ORDER BY id LIMIT 1)",
            noon,
        )
        await inserts(world, [second])
        await alike(api, met)
        await folds_all(world)
        await inserts(world, [second])
        await folds_all(world)
        await alike(api, met)
        assert await stale(world)
        await mends(world)
        assert await stale(world) == []
        await alike(api, met)
    assert met.stale > 0
    await exact(world)


def of_each_kind(chance: random.Random, noon: datetime) -> list[tuple[Any, ...]]:
    """Return some of one day, some of weeks, none of production, and of an order that rests."""
    first = produced(chance)
    second = produced(chance, started_at=noon, ended_at=noon + timedelta(hours=1))
    long = produced(chance, equipment_id=MACHINES[2], work_order_id=ORDERS[1],
                    started_at=noon - timedelta(days=30), ended_at=noon)  # fmt: skip
    setup = produced(chance, report_type="SETUP", work_order_id=ORDERS[2])
    early, late = (
        produced(chance, work_order_id=ORDERS[3], started_at=noon + timedelta(days=days),
                 ended_at=noon + timedelta(days=days, hours=1))
        for days in (-3, 10)
    )  # fmt: skip
    longer = (*long[:2], noon - timedelta(days=31), *long[3:])
    return [first, first, long, longer, setup, early, second, late]


async def test_what_came_and_went_before_it_was_folded_was_never_there(world, api):
    await a_plant(world)
    await inserts(world, [produced(random.Random(10))])
    await as_ingest(world, "DELETE FROM mes.job_responses")
    met = Met()
    await alike(api, met)
    await folds_all(world)
    await alike(api, met)
    assert met.stale == 0
    assert await stale(world) == []
    await exact(world)


async def test_what_comes_is_not_merged_after_it_went(world, api):
    """Folded the other way round: first what went, then, after a mend, what had come."""
    await a_plant(world)
    chance = random.Random(1)
    await inserts(world, [produced(chance)])
    await as_ingest(world, "DELETE FROM mes.job_responses")
    async with await ingest(world) as connection:
        await connection.execute(
            b"CREATE TEMPORARY TABLE came AS SELECT * FROM mes.job_responses_deltas WHERE sign = 1"
        )
        await connection.execute(b"DELETE FROM mes.job_responses_deltas WHERE sign = 1")
        await folds(world)
        assert len(await stale(world)) == 2
        await connection.execute(b"INSERT INTO mes.job_responses_deltas SELECT * FROM came")
    assert await mends(world) == 0, "what waits to be folded would be merged afterwards"
    assert (counted("machine_busy"), counted("order_lives")) == (1, 1)
    await alike(api, Met())
    await folds_all(world)
    assert await mends(world) == 2
    assert (counted("machine_busy"), counted("order_lives")) == (0, 0)
    assert await world.rows("SELECT FROM mes.machine_busy") == []
    assert await world.rows("SELECT FROM mes.order_lives") == []
    await alike(api, Met())


def counted(table: str) -> float | None:
    """Return how many stale keys the metrics tell of."""
    return REGISTRY.get_sample_value("mes_central_stale_keys", {"table": table})


def produced(chance: random.Random, **values: Any) -> tuple[Any, ...]:
    """Return a report of production of an hour, of a machine and an order."""
    usual = dict(zip(COLUMNS, a_report(chance), strict=True)) | {
        "site_id": TWO[0], "created_at": FIRST + timedelta(days=3, hours=9),
        "started_at": FIRST + timedelta(days=3, hours=8),
        "ended_at": FIRST + timedelta(days=3, hours=9), "equipment_id": MACHINES[1],
        "work_order_id": ORDERS[0], "report_type": "PRODUCTION", "business_date": None,
    }  # fmt: skip
    return tuple((usual | values)[name] for name in COLUMNS)


async def test_a_quantity_that_is_mended_makes_nothing_stale(world, api):
    await a_plant(world)
    await inserts(world, [produced(random.Random(2))])
    await folds_all(world)
    await as_ingest(world, "UPDATE mes.job_responses SET qty_good = 41")
    met = Met()
    await alike(api, met)
    await folds_all(world)
    assert await stale(world) == []
    await alike(api, met)
    assert met.stale == 0


@pytest.mark.parametrize(
    ("question", "made"),
    [(MACHINE_DAYS, statement_of), (LIVES, wip_statement), (LIVES, throughput_statement)],
)
async def test_where_nothing_is_stale_no_fact_is_read(world, api, question, made):
    await a_plant(world)
    chance = random.Random(3)
    other = produced(chance, equipment_id=MACHINES[2], work_order_id=ORDERS[2])
    await inserts(world, [produced(chance), other])
    await folds_all(world)
    await inserts(world, [produced(chance)])
    assert "job_responses__" not in await plan(api, question, made)
    # Of one machine and order something went: their facts are read, in their month alone.
    await as_ingest(world, "DELETE FROM mes.job_responses WHERE equipment_id = %s", MACHINES[2])
    found = await plan(api, question, made)
    assert "job_responses__site_001__2026_10" in found
    assert "job_responses__site_001__2026_11" not in found
    assert "job_responses__site_001__2026_08" not in found
    await folds_all(world)
    await mends(world)
    assert "job_responses__" not in await plan(api, question, made)


async def plan(api: Api, question: Any, made: Any) -> str:
    async with reading(api.reach.reading, question.sites) as connection:
        statement = made(await located(connection, question))
        cursor = await connection.execute(f"EXPLAIN {statement.text}".encode(), statement.values)
        return "\n".join(line for (line,) in await cursor.fetchall())


async def test_of_machines_the_days_of_the_window_alone_are_read(world, api):
    await a_plant(world)
    async with reading(api.reach.reading, MACHINE_DAYS.sites) as connection:
        statement = statement_of(await located(connection, MACHINE_DAYS))
        await connection.execute(b"SET LOCAL enable_seqscan = off")
        cursor = await connection.execute(f"EXPLAIN {statement.text}".encode(), statement.values)
        lines = [line for (line,) in await cursor.fetchall()]
    for index in ("machine_busy_pkey", "output_rated_days_folded_key"):
        (at, *_) = (n for n, line in enumerate(lines) if index in line)
        assert "day >=" in lines[at + 1], lines[at : at + 2]


async def test_of_orders_that_ended_long_ago_nothing_is_read(world, api):
    await a_plant(world)
    for question, made in ((LIVES, wip_statement), (LIVES, throughput_statement)):
        async with reading(api.reach.reading, question.sites) as connection:
            statement = made(await located(connection, question))
            await connection.execute(b"SET LOCAL enable_seqscan = off")
            text = f"EXPLAIN {statement.text}".encode()
            cursor = await connection.execute(text, statement.values)
            lines = [line for (line,) in await cursor.fetchall()]
        (at, *_) = (n for n, line in enumerate(lines) if "order_lives_since" in line)
        assert any("last_end >=" in line for line in lines[at : at + 3]), lines


async def test_a_whole_answer_reads_no_fact_either(world, api):
    await a_plant(world)
    chance = random.Random(8)
    await inserts(world, [a_report(chance) for _ in range(30)])
    await folds_all(world)

    def whole(made: Any) -> tuple[str, bytes]:
        begun = Whole.begun(api.reach.reading_url, LIVES, made)
        return begun.statement.text, b"".join(begun.blocks(Form.CSV))

    text, rows = await asyncio.to_thread(whole, throughput_statement)
    assert "mes.job_responses AS" not in text
    text, by_facts = await asyncio.to_thread(
        whole, lambda q: throughput_statement(replace(q, stale=None, months=None))
    )
    assert "mes.job_responses AS" in text
    assert rows == by_facts
    assert rows.count(b"\n") > 2


async def test_where_too_much_is_stale_all_facts_are_read(world, api, monkeypatch):
    monkeypatch.setattr("central.reports.months.STALE_MAX", 1)
    await a_plant(world)
    chance = random.Random(4)
    for order, machine in zip(ORDERS, MACHINES, strict=False):
        await inserts(world, [produced(chance, work_order_id=order, equipment_id=machine)])
    await folds_all(world)
    await as_ingest(world, "DELETE FROM mes.job_responses")
    for question, made in ((MACHINE_DAYS, statement_of), (LIVES, wip_statement)):
        async with reading(api.reach.reading, question.sites) as connection:
            found = await located(connection, question)
            assert found.stale is None
            assert made(found).text


async def test_a_wrong_clock_makes_no_row_for_each_day_of_its_years(world, api):
    await a_plant(world)
    await inserts(world, [produced(random.Random(5), started_at=datetime(1, 1, 2, tzinfo=UTC))])
    await folds_all(world)
    assert await world.value("SELECT count(*) FROM mes.machine_busy") == 1
    await alike(api, Met())
    await exact(world)


async def test_made_anew_it_is_what_it_was_and_nothing_is_stale(world, api):
    await a_plant(world)
    chance = random.Random(6)
    await inserts(world, [a_report(chance) for _ in range(30)])
    await folds_all(world)
    await as_ingest(
        world,
        "DELETE FROM mes.job_responses WHERE id IN (SELECT id FROM mes.job_responses LIMIT 9)",
    )
    await folds_all(world)
    assert await stale(world)
    async with await ingest(world) as connection:
        for site in MACHINE_DAYS.sites:
            await rebuild(connection, site)
    assert await stale(world) == []
    await exact(world)
    await alike(api, Met())


async def test_keys_are_mended_some_at_a_time(world, api, monkeypatch):
    monkeypatch.setattr(mending, "MEND_KEYS", 1)
    await a_plant(world)
    chance = random.Random(7)
    for order, machine in zip(ORDERS, MACHINES, strict=False):
        await inserts(world, [produced(chance, work_order_id=order, equipment_id=machine)] * 2)
    await folds_all(world)
    await as_ingest(
        world,
        "DELETE FROM mes.job_responses AS r USING (SELECT min(id::text)::uuid AS id"
        " FROM mes.job_responses GROUP BY work_order_id) AS f WHERE r.id = f.id",
    )
    await folds_all(world)
    assert await mends(world) == 8
    assert await stale(world) == []
    await exact(world)
    found = replace(MACHINE_DAYS, bucket=None)
    async with reading(api.reach.reading, found.sites) as connection:
        assert (await located(connection, found)).stale.busy == ()

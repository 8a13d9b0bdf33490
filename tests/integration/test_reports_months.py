"""Only months in which something can be found are read, and nothing is missed by it."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from central.api.asking import reading
from central.reports.log import log_statement
from central.reports.months import located
from central.reports.question import Basis, Question, Window
from central.reports.sources import SOURCES
from central.reports.statement import statement_of
from central.roles import INGEST, as_role
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.central_world import SITES
from tests.integration.rollup_world import folds
from tests.integration.test_reports import in_berlin, plant, report, said, text

if TYPE_CHECKING:
    from central.reports.paging import Statement
    from tests.integration.api_world import Api
    from tests.integration.apply_world import Site, World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

MADE = ("2024-02-10", "2026-06-30", "2026-07-01", "2026-10-31", "2026-11-15")


async def scattered(world: World, site: Site, chance: random.Random, reports: int) -> None:
    """Make reports whose row was made in another month than the work was done in, or ended."""
    orders = [site.order(order_no=f"B-{chance.randrange(10**9)}", material_code="P-1")]
    await site.writes(site.insert("work_orders", *orders))
    for _ in range(reports):
        one = report(site, chance, orders)
        ended = datetime(2026, 6, 28, tzinfo=UTC) + timedelta(hours=chance.randrange(24 * 130))
        began = ended - timedelta(hours=chance.choice((0, 2, 30, 24 * 40)))
        made = f"{chance.choice(MADE)}T22:30:00.000Z"
        one |= {"id": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "created": made,
                "started_at": chance.choice((text(began), None)),
                "ended_at": chance.choice((text(ended), text(ended), None)),
                "business_date": chance.choice((None, None, "2026-08-08"))}  # fmt: skip
        await site.writes(site.insert("job_responses", one, created=made))


def a_window(chance: random.Random) -> Window:
    first = datetime(2026, 6, 26, tzinfo=UTC) + timedelta(hours=chance.randrange(24 * 140))
    last = first + timedelta(hours=chance.choice((1, 24, 24 * 20, 24 * 70)))
    by_day = Window(first.date(), max(last.date(), first.date() + timedelta(days=1)))
    return chance.choice((
        by_day, Window(first, last), Window(by_day.start, None), Window(None, by_day.end),
    ))  # fmt: skip


async def test_an_answer_is_the_same_as_from_the_facts_of_all_months(world, api, seed):
    chance = random.Random(seed)
    await in_berlin(world)
    for name in SITES[:2]:
        site = world.site(name)
        await plant(world, site, chance, 2)
        await scattered(world, site, chance, 25)
        await folds(world)
        await scattered(world, site, chance, 8)
    fewer = 0
    for _ in range(80):
        question = Question(
            sites=SITES[:2], window=a_window(chance), basis=chance.choice(tuple(Basis)),
            bucket=chance.choice((None, "day", "hour")), group_by=chance.choice(((), ("machine",))),
            measures=chance.choice((("reports", "elapsed_min"), ("qty_good", "busy_min"))),
            limit=10_000,
        )  # fmt: skip
        for made in (lambda q: statement_of(q, SOURCES[-1]), log_statement):
            asked = replace(question, measures=()) if made is log_statement else question
            fewer += await alike(api, asked, made)
    assert fewer > 5, "no month was ever left out"


async def test_key_figures_of_machines_are_the_same_as_from_the_facts_of_all_months(
    world, api, seed
):
    chance = random.Random(seed)
    site = world.site()
    await plant(world, site, chance, 2)
    await scattered(world, site, chance, 30)
    fewer = 0
    for _ in range(12):
        first = date(2026, 6, 28) + timedelta(days=chance.randrange(130))
        question = Question(
            sites=SITES[:1], window=Window(first, first + timedelta(days=9)), limit=10_000,
            measures=("qty_good", "produced_min", "qty_unrated"), group_by=("machine",),
            bucket="day",
        )  # fmt: skip
        fewer += await alike(api, question, statement_of)
    assert fewer > 2, "no month was ever left out"


async def alike(api: Api, question: Question, made: Any) -> bool:
    """Hold an answer against that of all months; tell whether it left any out."""
    left: list[int] = []

    def counted(asked: Question) -> Statement:
        left.append(len(asked.months or ()))
        return made(asked)

    found = await said(api, question, counted)
    assert found == await said(api, question, lambda q: made(replace(q, months=None))), question
    return left[0] < len(MADE)


async def test_partitions_of_other_months_are_left_out_before_a_statement_starts(world, api):
    site = world.site()
    for month in ("2026-09", "2026-10", "2026-11"):
        one = site.report() | {"ended_at": f"{month}-10T08:00:00.000Z"}
        await site.writes(site.insert("job_responses", one, created=one["ended_at"]))
    question = Question(
        sites=SITES[:1], window=Window(date(2026, 10, 5), date(2026, 10, 20)), basis=Basis.CLIP
    )
    async with reading(api.reach.reading, question.sites) as connection:
        asked = await located(connection, question)
        assert asked.months == (date(2026, 10, 1),)
        made = statement_of(asked)
        cursor = await connection.execute(f"EXPLAIN {made.text}".encode(), made.values)
        plan = "\n".join(line for (line,) in await cursor.fetchall())
    assert "2026_10" in plan
    assert "2026_09" not in plan
    assert "2026_11" not in plan


async def test_months_of_what_was_taken_away_before_it_was_folded_are_still_right(world, api):
    site = world.site()
    one = site.report() | {"ended_at": "2026-10-10T08:00:00.000Z"}
    await site.writes(site.insert("job_responses", one, created=one["ended_at"]))
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        await ingest.execute("DELETE FROM mes.job_responses")
    question = Question(
        sites=SITES[:1], window=Window(date(2026, 10, 5), date(2026, 10, 20)), basis=Basis.CLIP
    )
    for _ in range(2):
        assert await said(api, question) == await said(
            api, question, lambda q: statement_of(replace(q, months=None))
        )
        await folds(world)


async def test_all_that_an_answer_reads_is_of_one_moment(world, api):
    site = world.site()
    await site.writes(site.insert("job_responses", site.report()))
    count = "SELECT count(*) FROM mes.job_responses"
    async with reading(api.reach.reading, SITES[:1]) as connection:
        before = await (await connection.execute(count)).fetchone()
        await site.writes(site.insert("job_responses", site.report()))
        assert await (await connection.execute(count)).fetchone() == before
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("CREATE TEMPORARY TABLE mine ()")


@pytest.mark.parametrize(
    "given", [{"from": "0001-01-01"}, {"to": "9999-12-31"}, {"from": "0001-01-01T00:00:00Z"}]
)
async def test_a_window_may_begin_with_the_first_day_there_is_and_end_with_the_last(api, given):
    async with await api.asked_by("corporate") as client:
        for path in ("/v1/reports/log", "/v1/reports/output?time_basis=clip"):
            told = await client.get(httpx.URL(path).copy_merge_params(given))
            assert told.status_code in (200, 422), told.text

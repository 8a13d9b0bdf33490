"""``as_known_at``: an answer that was once given is given again, whatever happened since."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central.migrate import migrate
from central.reports.known import facts
from central.reports.months import located
from central.reports.question import Question, Window
from central.reports.sources import in_months
from central.retention import Kept, forget
from central.roles import API, INGEST, as_role
from central.rolled import rebuild
from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.central_world import SITES
from tests.integration.rollup_world import as_ingest, blocks, canonical, folds, report, sends
from tests.integration.test_reports_whole import ask

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import Site, World

__all__ = ["api", "client", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

OCTOBER = "from=2026-10-01&to=2026-11-01"
REPORTS = "/v1/reports"
#: Sums out of rollups by day, by quarters of an hour and by shift; facts; clipped facts; machines.
QUESTIONS = (
    f"{REPORTS}/output?{OCTOBER}&group_by=site,machine&bucket=day&by=id",
    f"{REPORTS}/output?from=2024-02-03T10:15:00Z&to=2024-02-20T00:00:00Z&bucket=hour",
    f"{REPORTS}/output?from=2024-02-01&to=2024-03-01&group_by=shift,segment,person&by=id",
    f"{REPORTS}/output?{OCTOBER}&group_by=scrap_reason,report_type&measures=qty_scrap,first_start",
    f"{REPORTS}/output?{OCTOBER}&time_basis=start&group_by=site",
    f"{REPORTS}/output?from=2024-02-01&to=2024-03-01&time_basis=clip&bucket=day",
    f"{REPORTS}/oee?{OCTOBER}&group_by=site,machine",
    f"{REPORTS}/wip?from=2026-10-05&to=2026-10-25&group_by=order",
    f"{REPORTS}/wip?at=2024-02-10T00:00Z&at=2026-10-10T00:00Z&at=2024-02-20T00:00Z&group_by=order",
    f"{REPORTS}/throughput-time?{OCTOBER}&group_by=order",
)  # fmt: skip
#: An order of each site, which reports are of.
ORDER_IDS = {site: str(uuid.UUID(int=n)) for n, site in enumerate(SITES, 31)}


async def answer(client: httpx.AsyncClient, path: str, at: datetime | None = None) -> Any:
    more = {"as_known_at": at.isoformat()} if at else {}
    told = await ask(client, path, **more)
    assert told.status_code == 200, told.text
    return told.json()


async def rows(client: httpx.AsyncClient, path: str, at: datetime | None = None) -> Any:
    return (await answer(client, path, at))["rows"]


async def moment(world: World) -> datetime:
    return await world.value("SELECT clock_timestamp()")


async def test_what_was_answered_is_answered_again_after_any_history(world, client, seed):
    chance = random.Random(seed)
    sites = [world.site(name) for name in SITES]
    for each in sites:
        made = {"id": ORDER_IDS[each.name], "order_no": each.name, "exec_state": "COMPLETED"}
        await each.writes(each.insert("work_orders", each.order(**made)))
    sent: list[tuple[Site, list[dict[str, Any]]]] = []
    told: list[tuple[datetime, list[Any]]] = []
    for _ in range(14):
        await something_happens(world, chance, sites, sent)
        said = [await rows(client, path) for path in QUESTIONS]
        told.append((await moment(world), said))
    assert len({str(said) for _, said in told}) > 5  # there is something to tell apart
    for at, said in told:
        for path, before in zip(QUESTIONS, said, strict=True):
            assert await rows(client, path, at) == before, (path, at)


async def something_happens(
    world: World, chance: random.Random, sites: list[Site], sent: list[Any]
) -> None:
    site = chance.choice(sites)
    some = "SELECT id FROM mes.job_responses ORDER BY md5(id::text || %s) LIMIT 4"
    match chance.randrange(7):
        case 0 | 1 | 2:
            reports = [report(site, chance) for _ in range(chance.randrange(1, 12))]
            for each in reports:
                each["work_order_id"] = chance.choice((ORDER_IDS[site.name], None))
            sent.append((site, reports))
            await sends(site, reports)
        case 3 if sent:  # once more, of which some are gone or mended meanwhile
            again, reports = chance.choice(sent)
            await again.apply(again.sends(*blocks(again, reports)))
        case 4:
            await folds(world)
            await rebuild(world.admin, site.name)
        case 5:
            await as_ingest(
                world, f"DELETE FROM mes.job_responses WHERE id IN ({some})", str(chance.random())
            )
        case _:
            await as_ingest(
                world,
                "UPDATE mes.job_responses SET qty_good = qty_good + 1, scrap_reason = 'DENT',"
                " ended_at = ended_at + interval '1 day', business_date = '2026-10-07'"
                f" WHERE id IN ({some})",
                str(chance.random()),
            )


async def test_a_whole_answer_is_what_was_known_as_well(world, client):
    site = world.site()
    await sends(site, [at_noon(site, "2026-10-05")])
    then = await moment(world)
    await sends(site, [at_noon(site, "2026-10-06")])
    path = f"{REPORTS}/output?{OCTOBER}&bucket=day&measures=reports"
    whole = await ask(client, path, format="csv", whole="true", as_known_at=then.isoformat())
    assert whole.text.split() == ["day,reports", "2026-10-05,1"]
    assert whole.headers["x-provisional"] == "false"
    assert len((await ask(client, path, format="csv", whole="true")).text.split()) == 3


def at_noon(site: Site, day: str, **values: Any) -> dict[str, Any]:
    ended = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    return {
        **site.report(), "created": canonical(ended), "ended_at": canonical(ended),
        "started_at": canonical(ended - timedelta(hours=1)), "business_date": None, **values,
    }  # fmt: skip


# --- what is noted --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended_h", "long_h", "business_days", "is_noted"),
    [
        (11.9, 0, None, False), (12.1, 0, None, True),  # after its end
        (11.9, None, None, False), (12.1, None, None, True),  # of one whose start nobody knows
        (0, 11.9, None, False), (0, 12.1, None, True),  # after its start
        (0, 0, 1, False), (0, 0, 2, True), (0, 0, -1, False),  # after its business date
    ],
)  # fmt: skip
async def test_noted_is_what_came_when_its_day_was_over(
    world, ended_h, long_h, business_days, is_noted
):
    now = await moment(world)
    ended = now - timedelta(hours=ended_h)
    day = now.astimezone(UTC).date() - timedelta(days=business_days or 0)
    site = world.site()
    made = {
        **site.report(), "created": canonical(ended), "ended_at": canonical(ended),
        "started_at": None if long_h is None else canonical(ended - timedelta(hours=long_h)),
        "business_date": None if business_days is None else str(day),
    }  # fmt: skip
    await sends(site, [made])
    found = await world.rows("SELECT id::text, sign FROM sync.late_report")
    assert found == ([(made["id"], 1)] if is_noted else [])


async def test_what_was_noted_outlives_rollups_that_are_made_anew(world, client):
    site = world.site()
    then = await moment(world)
    await sends(site, [at_noon(site, "2026-10-05")])
    await world.admin.execute("UPDATE sync.generated SET sha256 = '' WHERE table_name LIKE 'roll%'")
    done = await migrate(world.url, world.catalog, SITES)
    assert any("rollups" in str(each) for each in done)
    assert await rows(client, QUESTIONS[0], then) == []
    assert len(await rows(client, QUESTIONS[0])) == 1


# --- restated -------------------------------------------------------------------------------------


async def test_an_answer_tells_when_its_closed_window_was_changed(world, client):
    site = world.site()
    before = await moment(world)
    await sends(site, [at_noon(site, "2026-10-05")])
    after = await moment(world)
    told = await answer(client, QUESTIONS[0])
    assert before < datetime.fromisoformat(told["restated_at"]) < after
    assert told["as_known_at"] is None
    day_after = f"{REPORTS}/output?from=2026-10-06&to=2026-10-07"
    assert (await answer(client, day_after))["restated_at"] is None
    elsewhere = f"{day_after.replace('06', '05', 1)}&site=SITE_002"
    assert (await answer(client, elsewhere))["restated_at"] is None
    again = await answer(client, QUESTIONS[0], before)
    assert (again["as_known_at"], again["provisional"]) == (
        f"{before.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{before.microsecond // 1000:03}Z", False,
    )  # fmt: skip
    assert again["restated_at"] == told["restated_at"]  # today's answer is another one


async def test_a_window_that_still_goes_on_is_not_restated(world, client):
    site = world.site()
    now = await moment(world)
    yesterday = now - timedelta(hours=20)
    await sends(site, [at_noon(site, "2026-10-05") | {
        "created": canonical(yesterday), "ended_at": canonical(yesterday),
        "started_at": canonical(yesterday),
    }])  # fmt: skip
    assert await world.value("SELECT count(*) FROM sync.restated") == 1
    end = (now + timedelta(days=1)).date()
    path = f"{REPORTS}/output?from={end - timedelta(days=7)}&to={end}"
    told = await answer(client, path)
    assert (told["rows"][0]["reports"], told["restated_at"]) == (1, None)


# --- what can't be asked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "at", "field", "rule"),
    [
        (OCTOBER, "2026-11-15", "as_known_at", "an instant"),
        (OCTOBER, "soon", "as_known_at", "an instant"),
        (OCTOBER, "2026-11-15T00:00", "as_known_at", "an offset"),
        ("from=2026-10-01", "2026-11-15T00:00Z", "to", "a day or an instant"),
        (OCTOBER, "2026-11-02T23:59:59Z", "as_known_at", "two days after"),
        ("to=2026-11-01T06:00Z", "2026-11-03T05:59:59Z", "as_known_at", "two days after"),
        ("to=9999-12-31", "2026-11-15T00:00Z", "as_known_at", "two days after"),
        (OCTOBER, "2126-11-15T00:00Z", "as_known_at", "not in the future"),
        (OCTOBER, "2026-11-03T00:00:00Z", "as_known_at", "not noted"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"format": "csv", "whole": "true"}])
async def test_a_moment_that_nothing_is_known_of_is_refused(client, query, at, field, rule, more):
    told = await ask(client, f"{REPORTS}/output?{query}", as_known_at=at, **more)
    assert told.status_code == 422, told.text
    (error,) = told.json()["errors"]
    assert field in error["field"]
    assert rule in error["rule"]


async def test_of_due_orders_and_of_the_log_it_can_not_be_asked(client):
    for name in ("orders", "log"):
        told = await ask(client, f"{REPORTS}/{name}?{OCTOBER}", as_known_at="2026-11-28T00:00Z")
        assert told.status_code == 422, name


async def test_of_work_in_progress_a_moment_is_two_days_after_the_last_instant(client):
    path = f"{REPORTS}/wip?at=2026-11-01T00:00Z&at=2026-10-01T00:00Z"
    told = await ask(client, path, as_known_at="2026-11-02T23:59:59Z")
    assert told.status_code == 422
    assert "two days after" in told.json()["errors"][0]["rule"]
    told = await ask(
        client, f"{REPORTS}/throughput-time?from=2026-10-01", as_known_at="2026-11-28T00:00Z"
    )
    assert told.json()["errors"][0]["field"] == "query.to"


async def test_of_an_order_that_goes_on_nothing_after_the_moment_is_known(world, client):
    """Whether it came before the moment or after it nobody can tell of what began just before."""
    site, now = world.site(), await moment(world)
    order = ORDER_IDS[site.name]
    made = site.order(id=order, order_no="A", exec_state="COMPLETED")
    await site.writes(site.insert("work_orders", made))
    began = now - timedelta(days=20)
    path = f"{REPORTS}/wip?at={(now - timedelta(days=10)).isoformat().replace('+', '%2B')}"

    async def reported(start: datetime) -> None:
        await sends(site, [{
            **site.report(), "work_order_id": order, "created": canonical(start),
            "started_at": canonical(start), "ended_at": canonical(start + timedelta(minutes=1)),
        }])  # fmt: skip

    await reported(began)
    then = await moment(world)
    assert [row["wip"] for row in await rows(client, path, then)] == [0]
    await reported(now - timedelta(hours=1))  # in time: it is not noted as late
    assert [row["wip"] for row in await rows(client, path)] == [1]
    assert [row["wip"] for row in await rows(client, path, then)] == [0]
    await reported(now - timedelta(hours=13))
    assert [row["wip"] for row in await rows(client, path, then)] == [0]
    assert [row["wip"] for row in await rows(client, path, await moment(world))] == [1]


# --- retention ------------------------------------------------------------------------------------


async def test_what_is_forgotten_can_not_be_asked_for_any_more(world, client):
    site = world.site()
    then = await moment(world)
    await sends(site, [at_noon(site, "2026-10-05")])
    await world.admin.execute("UPDATE sync.known_since SET since = '2020-01-01'")
    for table in ("late_report", "restated"):
        await world.admin.execute(
            f"UPDATE sync.{table} SET noted_at = noted_at - interval '12 days'"
        )
    async with await psycopg.AsyncConnection.connect(
        as_role(world.url, INGEST), autocommit=True
    ) as ingest:
        kept = Kept(version_days=0, history_days=0, known_days=12)
        assert (await forget(ingest, kept))["late reports"] == 0
        kept = Kept(version_days=0, history_days=0, known_days=10)
        assert (await forget(ingest, kept))["late reports"] == 1
    assert await world.value("SELECT count(*) FROM sync.restated") == 0
    assert await rows(client, QUESTIONS[0], then)
    told = await ask(
        client, QUESTIONS[0], as_known_at=(then - timedelta(days=10, seconds=1)).isoformat()
    )
    assert told.status_code == 422


# --- tenancy, and the plan ------------------------------------------------------------------------


async def test_of_another_site_nothing_is_known(world, api):
    site = world.site("SITE_002")
    await sends(site, [at_noon(site, "2026-10-05")])
    await as_ingest(world, "DELETE FROM mes.job_responses")
    path = f"{REPORTS}/output?{OCTOBER}&measures=reports,first_start&group_by=site"
    then = await moment(world)
    await sends(site, [at_noon(site, "2026-10-06")])
    async with await api.asked_by("plant:SITE_001") as other:
        assert (await answer(other, path, then))["rows"] == []
        assert (await answer(other, path))["restated_at"] is None
    async with await psycopg.AsyncConnection.connect(as_role(world.url, API)) as reader:
        await reader.execute("SELECT set_config('app.sites', 'SITE_001', true)")
        for table in ("late_report", "restated"):
            cursor = await reader.execute(f"SELECT count(*) FROM sync.{table}".encode())
            assert await cursor.fetchone() == (0,)


async def test_facts_as_they_were_known_are_read_from_their_months_alone(world, api):
    site = world.site()
    await sends(site, [at_noon(site, "2026-10-05"), at_noon(site, "2024-02-05")])
    question = Question(
        sites=("SITE_001",), window=Window(date(2026, 10, 1), date(2026, 11, 1)),
        measures=("first_start",), is_of_reports=True, as_known_at=await moment(world),
    )  # fmt: skip
    found = await located(world.admin, question)
    assert found.months == (date(2026, 10, 1),)
    cursor = await world.admin.execute(
        f"EXPLAIN SELECT * FROM {facts(found)} AS r WHERE r.site_id IN ('SITE_001')"
        f"{in_months(found)}".encode()
    )
    plan = "\n".join(line for (line,) in await cursor.fetchall())
    assert "job_responses__site_001__2026_10" in plan
    assert "2024_02" not in plan
    assert "site_002" not in plan

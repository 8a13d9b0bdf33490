"""What reports answer: the same from every source, of the asker's sites alone, in every form."""

from __future__ import annotations

import csv
import io
import json
import random
import uuid
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from central.api.asking import reading
from central.reports.answer import answer
from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.question import Basis, By, Filter, Match, Order, Question, Window
from central.reports.sources import SOURCES, source_of
from central.reports.statement import statement_of
from central.rolled import follow_days
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.central_world import SITES

if TYPE_CHECKING:
    from tests.integration.api_world import Api
    from tests.integration.apply_world import Site, World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

MACHINES = [str(uuid.UUID(int=n)) for n in range(1, 4)]
PEOPLE = [str(uuid.UUID(int=n)) for n in range(11, 14)]
TYPES = ("PRODUCTION", "SETUP", "BREAKDOWN")
#: The clocks of Berlin go back on the 25th: its business day has 25 hours.
BERLIN, DAY_START = ZoneInfo("Europe/Berlin"), timedelta(hours=6)
FIRST = datetime(2026, 10, 23, tzinfo=UTC)


async def plant(world: World, site: Site, chance: random.Random, reports: int) -> list[dict]:
    """Give a site machines, orders and reports of some days, and return the reports."""
    machines = [{"id": each, "equipment_code": f"M {n}"} for n, each in enumerate(MACHINES, 1)]
    orders = [
        site.order(order_no=f"A-{n}", material_code=f"P-{n % 2}", qty_ordered="7") for n in range(4)
    ]
    # Ids of machines are the same at all sites here, which they never are: by=id tells them apart.
    await site.writes(site.insert("equipment", *machines), site.insert("work_orders", *orders))
    made = [report(site, chance, orders) for _ in range(reports)]
    for each in made:
        await site.writes(site.insert("job_responses", each, created=each["ended_at"]))
    return made


def report(site: Site, chance: random.Random, orders: list[dict]) -> dict[str, Any]:
    ended = FIRST + timedelta(minutes=chance.randrange(4 * 1440))
    if chance.random() < 0.2:
        ended = ended.replace(hour=5, minute=0)  # the end of a day in Berlin, or an hour off
    began = ended - timedelta(minutes=chance.choice((0, 30, 90, 600, 2000)))
    return site.report() | {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "equipment_id": chance.choice(MACHINES), "person_id": chance.choice([*PEOPLE, None]),
        "work_order_id": chance.choice(orders)["id"],
        "report_type": chance.choice(TYPES), "segment_code": chance.choice(("Turn", "Q.C.", None)),
        "shift_code": chance.choice(("A", "B")), "is_rework": int(chance.random() < 0.2),
        "started_at": text(began), "ended_at": text(ended), "duration_s": "60",
        "duration_known": int(chance.random() < 0.8),
        "qty_good": str(chance.randrange(9)), "qty_scrap": str(chance.randrange(3)),
        "qty_mrb": "1",
    }  # fmt: skip


def text(at: datetime) -> str:
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


async def in_berlin(world: World) -> None:
    """Have the first site's days begin at six in Berlin; the others stay with UTC."""
    await world.admin.execute(
        b"INSERT INTO mes.sites (id, site_id, created_at, code, name, timezone, business_day_start)"
        b" VALUES (uuidv7(), '*', now(), 'SITE_001', 'Berlin', 'Europe/Berlin', '06:00')"
    )
    await follow_days(world.admin)


async def said(api: Api, question: Question, made: Any = statement_of) -> list[dict[str, Any]]:
    """Return the rows of an answer, as mes_api reads them."""
    async with reading(api.reach.reading, question.sites) as connection:
        found = await answer(connection, question, made)
    return list(found.rows)


# --- from wherever it is read ---------------------------------------------------------------------


def a_question(chance: random.Random) -> Question:
    groups = chance.sample(sorted(set(DIMENSIONS) - {"segment_class"}), chance.randrange(3))
    measures = ["reports", "qty_good", "qty_scrap", "scrap_ratio", "elapsed_min", "setup_min"]
    measures += chance.sample(["orders", "machines", "persons", "qty_ordered", "mttr_min"], 2)
    window = chance.choice((
        Window(),
        Window(date(2026, 10, 24), date(2026, 10, 26)),
        Window(None, date(2026, 10, 25)),
        Window(FIRST + timedelta(hours=30), FIRST + timedelta(hours=50, minutes=15)),
    ))  # fmt: skip
    one = chance.choice((
        (), (Filter("machine", Match.IS, ("M 1", "M 2")),),
        (
            Filter("segment", Match.CONTAINS, ("Q",)),
            Filter("report_type", Match.IS_NOT, ("SETUP",)),
        ),
        (Filter("material", Match.IS, ("P-1",)),),
    ))  # fmt: skip
    question = Question(
        sites=tuple(chance.sample(SITES, chance.randrange(1, 4))), window=window,
        bucket=chance.choice((None, *sorted(BUCKETS))), group_by=tuple(groups),
        measures=tuple(measures), filters=one, by=chance.choice(tuple(By)), limit=10_000,
    )  # fmt: skip
    return question.sorted((Order(chance.choice(question.columns), chance.random() < 0.5),))


async def test_an_answer_is_the_same_from_rollups_as_from_the_facts(world, api, seed):
    chance = random.Random(seed)
    await in_berlin(world)
    for name in SITES:
        await plant(world, world.site(name), chance, 25)
    asked = {source.name: 0 for source in SOURCES}
    for _ in range(120):
        question = a_question(chance)
        asked[source_of(question).name] += 1
        by_rollup = await said(api, question)
        by_facts = await said(api, question, lambda q: statement_of(q, SOURCES[-1]))
        assert by_rollup == by_facts, f"seed {seed}: {question}"
    assert sum(count > 0 for count in asked.values()) >= 3


async def test_pages_of_an_answer_are_the_answer(world, api, seed):
    chance = random.Random(seed)
    await plant(world, world.site(), chance, 30)
    async with await api.asked_by("corporate") as client:
        for sort in ("-qty_scrap,machine", "scrap_ratio", "-order,day", "day,-machine"):
            given = {"group_by": "machine,order,segment", "bucket": "day", "sort": sort,
                     "measures": "qty_scrap,scrap_ratio"}  # fmt: skip
            whole = (await client.get("/v1/reports/output", params=given)).json()
            pages, cursor = [], None
            while True:
                more = {"cursor": cursor} if cursor else {}
                page = await client.get("/v1/reports/output", params=given | {"limit": 4} | more)
                pages += page.json()["rows"]
                cursor = page.json()["next"]
                assert ('rel="next"' in page.headers.get("link", "")) == bool(cursor)
                if cursor is None:
                    break
            assert pages == whole["rows"], f"seed {seed}, {sort}"


async def test_an_order_is_counted_once_however_often_it_is_reported_on(world, api, seed):
    made = await plant(world, world.site(), random.Random(seed), 30)
    orders = len({each["work_order_id"] for each in made})
    measures = ("orders", "qty_ordered", "setup_min")  # which is summed by types of report, too
    (row,) = await said(api, Question(sites=("SITE_001",), measures=measures))
    assert (row["orders"], row["qty_ordered"]) == (orders, 7 * orders)


# --- minutes where they were ----------------------------------------------------------------------


def day_of(at: datetime) -> date:
    return ((at.astimezone(BERLIN).replace(tzinfo=None)) - DAY_START).date()


def begins(day: date) -> datetime:
    local = datetime(day.year, day.month, day.day, tzinfo=BERLIN) + DAY_START
    return local.astimezone(UTC)


def cut(reports: list[dict]) -> dict[tuple[str, str], list[tuple[datetime, datetime]]]:
    """Return the pieces of each day and machine, cut by Python's own calendar."""
    pieces = defaultdict(list)
    for each in reports:
        start, end = (datetime.fromisoformat(each[name]) for name in ("started_at", "ended_at"))
        day = day_of(start)
        while begins(day) < end:
            low, high = max(start, begins(day)), min(end, begins(day + timedelta(days=1)))
            machine = f"M {MACHINES.index(each['equipment_id']) + 1}"
            pieces[str(day), machine].append((low, high))
            day += timedelta(days=1)
    return pieces


def union_min(pieces: list[tuple[datetime, datetime]]) -> float:
    total, until = timedelta(), datetime.min.replace(tzinfo=UTC)
    for low, high in sorted(pieces):
        total += max(high - max(low, until), timedelta())
        until = max(until, high)
    return total / timedelta(minutes=1)


async def test_minutes_are_cut_at_business_days_of_25_hours_as_the_calendar_has_them(
    world, api, seed
):
    await in_berlin(world)
    reports = await plant(world, world.site(), random.Random(seed), 40)
    question = Question(
        sites=("SITE_001",), bucket="day", group_by=("machine",), basis=Basis.CLIP,
        measures=("elapsed_min", "busy_min", "calendar_min", "utilisation"), nonzero="elapsed_min",
    )  # fmt: skip
    found = {(row["day"], row["machine"]): row for row in await said(api, question)}
    pieces = {key: some for key, some in cut(reports).items() if union_min(some)}
    assert found.keys() == pieces.keys()
    for (day, _), some in pieces.items():
        row = found[day, _]
        minutes = sum((high - low) / timedelta(minutes=1) for low, high in some)
        assert float(row["elapsed_min"]) == pytest.approx(minutes), f"seed {seed}"
        assert float(row["busy_min"]) == pytest.approx(union_min(some))
        assert row["calendar_min"] == (1500 if day == "2026-10-24" else 1440)


@pytest.mark.parametrize("bucket", [None, "hour", "day", "week", "month"])
async def test_cut_minutes_and_pieces_add_up_over_any_division_of_time(world, api, seed, bucket):
    await in_berlin(world)
    await plant(world, world.site(), random.Random(seed), 40)
    measures = ("reports", "qty_good", "elapsed_min", "recorded_min", "span_min")
    whole = Question(sites=("SITE_001",), measures=measures)
    parts = Question(
        sites=("SITE_001",), measures=measures, bucket=bucket, basis=Basis.CLIP, limit=10_000,
        group_by=("machine",),
    )  # fmt: skip
    (total,) = await said(api, whole)
    rows = await said(api, parts)
    for name in measures:
        assert sum(Decimal(str(row[name])) for row in rows) == Decimal(str(total[name])), name


# --- whose ----------------------------------------------------------------------------------------


async def test_a_report_holds_nothing_of_a_site_that_its_asker_does_not_reach(world, api, seed):
    chance = random.Random(seed)
    for name in SITES[:2]:
        await plant(world, world.site(name), chance, 8)
    paths = [
        "output?group_by=site,order,machine,person,material", "log", "wip?from=2026-10-20"
        "&to=2026-10-30&group_by=site", "throughput-time?group_by=site,order",
        "utilisation?group_by=site",
    ]  # fmt: skip
    async with await api.asked_by("plant:SITE_002") as client:
        for path in paths:
            answer = await client.get(f"/v1/reports/{path}")
            assert answer.status_code == 200, answer.text
            assert answer.json()["rows"]
            assert "SITE_001" not in answer.text
            assert {row["site"] for row in answer.json()["rows"]} == {"SITE_002"}
            assert answer.json()["complete_through"].keys() == {"SITE_002"}
        outside = await client.get("/v1/reports/output", headers={"X-Site-Id": "SITE_001"})
        assert outside.status_code == 403
        filtered = await client.get("/v1/reports/log", params={"site": "SITE_001"})
        assert filtered.json()["rows"] == []


# --- how it is told -------------------------------------------------------------------------------


async def test_an_answer_comes_as_json_csv_or_lines_as_it_is_asked_for(world, api, seed):
    await plant(world, world.site(), random.Random(seed), 12)
    async with await api.asked_by("corporate") as client:
        told = await client.get("/v1/reports/output?group_by=machine&measures=qty_good")
        rows = told.json()["rows"]
        by_header = await client.get(
            "/v1/reports/output?group_by=machine&measures=qty_good", headers={"Accept": "text/csv"}
        )
        assert by_header.headers["content-type"].startswith("text/csv")
        assert [{"machine": row["machine"], "qty_good": int(row["qty_good"])}
                for row in csv.DictReader(io.StringIO(by_header.text))] == rows  # fmt: skip
        lines = await client.get(
            "/v1/reports/output?group_by=machine&measures=qty_good&format=ndjson"
        )
        assert [json.loads(line) for line in lines.text.splitlines()] == rows
        refused = await client.get("/v1/reports/output", headers={"Accept": "image/png"})
        assert refused.status_code == 406


async def test_a_cell_that_a_spreadsheet_would_compute_is_told_as_text(world, api):
    site = world.site()
    await site.writes(
        site.insert("job_responses", site.report(segment_code="=HYPERLINK(1)"))
    )  # fmt: skip
    async with await api.asked_by("corporate") as client:
        told = await client.get("/v1/reports/output?group_by=segment&format=csv")
    assert "\n'=HYPERLINK(1)," in told.text.replace("\r\n", "\n")


async def test_an_answer_says_until_when_it_is_complete(world, api):
    site = world.site()
    await site.writes(site.insert("job_responses", site.report()))
    async with await api.asked_by("region:SITE_001,SITE_002") as client:
        told = (await client.get("/v1/reports/output")).json()
        past = (await client.get("/v1/reports/output?from=2020-01-01&to=2020-02-01",
                                 headers={"X-Site-Id": "SITE_001"})).json()  # fmt: skip
    assert told["complete_through"]["SITE_001"] is not None
    assert told["complete_through"]["SITE_002"] is None  # nothing of it was ever applied
    assert (told["provisional"], past["provisional"]) == (True, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=nothing", "query.group_by"),
        ("bucket=fortnight", "query.bucket"),
        ("measures=qty_good;DROP", "query.measures"),
        ("sort=-secret", "query.sort"),
        ("from=2026-11-02&to=2026-11-01", "query.to"),
        ("from=2026-13-01", "query.from"),
        ("from=1990-01-01&to=2026-01-01", "query.to"),
        ("cursor=bm90IG9uZQ", "query.cursor"),
        ("limit=0", "query.limit"),
        ("limit=10001", "query.limit"),
        ("format=xml", "query.format"),
        ("by=name", "query.by"),
        ("unknown=1", "query.unknown"),
        ("machine.like=1", "query.machine.like"),
        ("share_of=machine", "query.share_of"),
        ("group_by=site,order,machine,person,shift,segment", "query.group_by"),
        ("machine=" + "x" * 200, "query.machine.0"),
    ],
)
async def test_a_question_that_breaks_a_rule_is_told_the_field_and_the_rule(api, query, field):
    async with await api.asked_by("corporate") as client:
        answer = await client.get(f"/v1/reports/output?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in {each["field"] for each in answer.json()["errors"]}


async def test_definitions_tell_each_formula_with_its_source(api):
    async with await api.asked_by("corporate") as client:
        told = (await client.get("/v1/reports/definitions")).json()
        document = (await client.get("/v1/openapi.json")).json()
    figures = {each["name"]: each for each in told["kpis"]}
    assert figures["setup_ratio"]["formula"] == "setup_min / (setup_min + production_min)"
    assert figures["setup_ratio"]["source"].startswith("ISO 22400-2")
    described = document["paths"]["/v1/reports/setup"]["get"]["description"]
    assert figures["setup_ratio"]["formula"] in described

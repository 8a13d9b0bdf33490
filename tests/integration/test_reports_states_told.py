"""What is made of states: figures of ISO 22400-2, groups, pages, forms, by the index alone."""

from __future__ import annotations

import random
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from central.api.asking import reading
from central.reports.question import Filter, Match, Question, Window
from central.reports.states import states_statement
from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import rules
from tests.integration.rollup_world import as_ingest
from tests.integration.states_world import (
    DAY,
    LATHE,
    LINE,
    MILL,
    a_plant,
    ask,
    at,
    canonical,
    history,
    known_until,
    random_events,
    told,
)
from tests.integration.test_api_cache import fronted, remembered
from tests.integration.test_reports import in_berlin
from tests.integration.test_reports_oee import planned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.apply_world import World

__all__ = ["api", "ask", "client", "fronted", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


# --- the time model -------------------------------------------------------------------------------


async def test_the_figures_of_iso_22400_are_made_of_the_times_in_states(world, ask):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", machine=LATHE)
    await history(
        world, site, LATHE, ("02 06:00", "SETUP"), ("02 07:00", "RUNNING"), ("02 10:00", "DOWN"),
        ("02 10:30", "BLOCKED"), ("02 11:00", "RUNNING"), ("02 13:00", "IDLE"),
    )  # fmt: skip
    (row,) = await ask(group_by="machine", measures="pbt_min,apt_min,aust_min,adet_min,adot_min,"
                       "failures,ttr_min,state_technical_efficiency,state_utilization_efficiency,"
                       "state_allocation_efficiency,state_availability,state_mtbf_min,"
                       "state_mttr_min")  # fmt: skip
    assert row == {
        "machine": "Lathe", "pbt_min": 480, "apt_min": 300, "aust_min": 60, "adet_min": 60,
        "adot_min": 660, "failures": 1, "ttr_min": 30,
        "state_technical_efficiency": round(300 / 360, 9),
        "state_utilization_efficiency": round(300 / 420, 9),
        "state_allocation_efficiency": 0.875, "state_availability": 0.625,
        "state_mtbf_min": 360, "state_mttr_min": 30,
    }  # fmt: skip


async def test_planned_time_counts_as_far_as_the_state_is_known(world, ask):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", machine=LATHE)
    await history(world, site, LATHE, ("02 08:00", "RUNNING"))
    await history(world, site, MILL, ("02 08:00", "RUNNING"))
    await known_until(world, at("02 10:00"))
    rows = await ask(group_by="machine", measures="pbt_min,state_availability")
    assert rows == [
        {"machine": "Lathe", "pbt_min": 120, "state_availability": 1},
        {"machine": "Mill", "pbt_min": None, "state_availability": None},
    ]
    # What is not planned adds nothing to what is held against planned time.
    (row,) = await ask(group_by="site", measures="apt_min,apt_planned_min,state_availability")
    assert row == {"site": "SITE_001", "apt_min": 240, "apt_planned_min": 120,
                   "state_availability": 1}  # fmt: skip


async def test_a_planned_stop_is_no_part_of_planned_busy_time(world, ask):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", machine=LATHE)
    await history(
        world,
        site,
        LATHE,
        ("02 06:00", "RUNNING"),
        ("02 12:00", "MAINTENANCE"),
        ("02 14:00", "OFF"),
    )
    (row,) = await ask(group_by="site", measures="pbt_min,planned_stop_min,state_availability")
    assert row == {
        "site": "SITE_001", "pbt_min": 360, "planned_stop_min": 120, "state_availability": 1,
    }  # fmt: skip


async def test_a_figure_without_anything_to_divide_by_is_null(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 06:00", "IDLE"))
    figures = ("state_technical_efficiency", "state_utilization_efficiency", "state_mtbf_min",
               "state_mttr_min", "state_availability")  # fmt: skip
    (row,) = await ask(group_by="machine", measures=",".join(figures))
    assert row == {"machine": "Lathe"} | dict.fromkeys(figures)
    assert await ask(group_by="machine", measures="state_min", machine="Mill") == []


async def test_a_state_that_nobody_maps_is_shown_and_counted_as_unmapped(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 06:00", "Rüsten"), ("02 12:00", " running "))
    rows = await ask(group_by="state,time_element", measures="state_min,unmapped_min")
    assert rows == [
        {"state": " running ", "time_element": "APT", "state_min": 720, "unmapped_min": 0},
        {"state": "Rüsten", "time_element": "UNMAPPED", "state_min": 360, "unmapped_min": 360},
    ]


async def reason(world: Any, code: str, element: str | None, **more: Any) -> None:
    await world.admin.execute(
        b"INSERT INTO mes.reason_codes (id, site_id, created_at, kind, code, parent_code,"
        b" time_element) VALUES (uuidv7(), %s, now(), %s, %s, %s, %s)",
        [more.get("site", "*"), more.get("kind", "DOWNTIME"), code, more.get("parent"), element],
    )


async def test_the_reason_of_a_stop_goes_before_the_word_of_its_state(world, ask):
    site = await a_plant(world)
    await reason(world, "NO_ORDER", "ADOT")
    await reason(world, "TOOL", "ADET")
    await reason(world, "LUNCH", "PLANNED", site="SITE_001")
    await reason(world, "MINE", None, site="SITE_001", parent="NO_ORDER")
    await reason(world, "OTHER", "ADOT", site="SITE_002")
    await reason(world, "OTHER", "ADOT", kind="SCRAP")
    for n, (state, code) in enumerate((
        ("DOWN", "NO_ORDER"), ("DOWN", "TOOL"), ("DOWN", "LUNCH"), ("DOWN", "MINE"),
        ("DOWN", "OTHER"), ("RUNNING", "TOOL"), ("Störung", "TOOL"), ("Störung", "UNKNOWN"),
    )):  # fmt: skip
        await history(world, site, LATHE, (f"02 {n:02}:00", state), reason=code)
    await history(world, site, LATHE, ("02 08:00", "OFF"))
    rows = await ask("machine-timeline")
    elements = {(row["state"], row["reason"]): row["time_element"] for row in rows}
    assert elements == {
        ("DOWN", "NO_ORDER"): "ADOT", ("DOWN", "TOOL"): "ADET", ("DOWN", "LUNCH"): "PLANNED",
        ("DOWN", "MINE"): "ADOT", ("DOWN", "OTHER"): "ADET", ("RUNNING", "TOOL"): "APT",
        ("Störung", "TOOL"): "ADET", ("Störung", "UNKNOWN"): "UNMAPPED",
        ("OFF", None): "UNSCHEDULED",
    }  # fmt: skip
    # Failures are stops that no reason says to be anything else.
    (row,) = await ask(group_by="machine", measures="failures,ttr_min")
    assert (row["failures"], row["ttr_min"]) == (2, 120)


# --- groups, filters, pages, forms ----------------------------------------------------------------


async def test_a_share_is_of_all_that_is_known_whatever_is_filtered_for(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 00:00", "DOWN"), ("02 06:00", "RUNNING"))
    await history(world, site, MILL, ("02 00:00", "RUNNING"))
    rows = await ask(state="DOWN", measures="state_min,known_min,state_share")
    assert rows == [{"machine": "Lathe", "state": "DOWN", "state_min": 360, "known_min": 1440,
                     "state_share": 0.25}]  # fmt: skip
    assert await ask(group_by="site", measures="state_share", **{"state.not": "RUNNING"}) == [
        {"site": "SITE_001", "state_share": 0.125}
    ]
    (row,) = await ask(group_by="state", source="PLC", measures="state_share", state="DOWN")
    assert row == {"state": "DOWN", "state_share": 0.125}


async def test_states_are_grouped_and_filtered_by_what_machines_are(world, ask):
    await in_berlin(world)
    await world.admin.execute(b"UPDATE mes.sites SET region = 'Europe'")
    for name in ("SITE_001", "SITE_002"):
        site = await a_plant(world, name)
        await history(world, site, LATHE, ("01 00:00", "RUNNING"))
        await history(world, site, LINE, ("01 00:00", "IDLE"))
    rows = await ask(group_by="region,line,machine_class,state", measures="state_min")
    assert [tuple(row.values()) for row in rows] == [
        ("Europe", "Line 1", "Turning", "RUNNING", 1440), ("Europe", None, None, "IDLE", 1440),
        (None, "Line 1", "Turning", "RUNNING", 1440), (None, None, None, "IDLE", 1440),
    ]  # fmt: skip
    for given in ({"line": "Line 1"}, {"machine_class": "Turning"}, {"machine.not": "Line 1"},
                  {"machine.contains": "athe"}):  # fmt: skip
        rows = await ask(group_by="site,machine", measures="state_min", **given)
        assert [row["machine"] for row in rows] == ["Lathe", "Lathe"], given
    rows = await ask(group_by="site", measures="state_min", site="SITE_002")
    assert rows == [{"site": "SITE_002", "state_min": 2880}]


async def test_a_timeline_has_each_state_once_with_when_it_began(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, ("01 20:00", "IDLE"), ("02 06:00", "RUNNING"))
    rows = await ask("machine-timeline")
    assert [(row["state"], row["since"], row["from"], row["until"]) for row in rows] == [
        ("IDLE", canonical(at("01 20:00")), canonical(at("02 00:00")), canonical(at("02 06:00"))),
        ("RUNNING", canonical(at("02 06:00")), canonical(at("02 06:00")),
         canonical(at("03 00:00"))),
    ]  # fmt: skip
    assert [row["state_min"] for row in await ask("machine-timeline", state="IDLE")] == [360]


@pytest.mark.parametrize("report", ["machine-states", "machine-timeline"])
async def test_pages_of_states_are_all_of_them_in_every_form(world, client, report, seed):
    site = await a_plant(world)
    chance = random.Random(seed)
    await told(world, site, random_events(chance))
    asked = {"from": "2026-10-22", "to": "2026-11-02"}
    path = f"/v1/reports/{report}"
    whole = (await client.get(path, params=asked)).json()
    found, cursor = [], {}
    while True:
        page = (await client.get(path, params=asked | cursor | {"limit": 4})).json()
        found += page["rows"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == whole["rows"]
    assert len(found) > 8
    csv = await client.get(path, params=asked | {"format": "csv"})
    stream = await client.get(path, params=asked | {"format": "csv", "whole": "true"})
    assert csv.text.splitlines() == stream.text.splitlines()
    assert csv.text.splitlines()[0] == ",".join(whole["columns"])
    parquet = await client.get(path, params=asked | {"format": "parquet"})
    assert parquet.status_code == 200
    assert parquet.content[:4] == b"PAR1"


@pytest.mark.parametrize("report", ["machine-states", "machine-timeline"])
async def test_an_answer_on_states_has_a_tag_that_stands_until_more_is_known(
    world, fronted, report
):
    site = await a_plant(world, through=at("02 07:00"))
    await history(world, site, LATHE, ("02 06:00", "RUNNING"))
    await known_until(world, at("02 07:00"))
    await fronted.look()
    client = await fronted.asked_by("corporate")
    await remembered(client)
    path = f"/v1/reports/{report}"
    first = await client.get(path, params=DAY)
    assert [row["state_min"] for row in first.json()["rows"]] == [60]
    known = {"If-None-Match": first.headers["etag"]}
    assert (await client.get(path, params=DAY, headers=known)).status_code == 304
    await site.writes()  # nothing but that it is there: more is known by it
    await fronted.look()
    second = await client.get(path, params=DAY, headers=known)
    assert [row["state_min"] for row in second.json()["rows"]] == [1080]


async def test_states_of_another_site_are_in_no_answer(world, api, ask):
    for name in ("SITE_001", "SITE_002"):
        site = await a_plant(world, name)
        await history(world, site, LATHE, ("02 06:00", "RUNNING"))
    assert len(await ask(group_by="site")) == 2
    async with await api.asked_by("plant:SITE_001") as one:
        for report, given in (("machine-states", {"group_by": "site"}), ("machine-timeline", {})):
            rows = (await one.get(f"/v1/reports/{report}", params=DAY | given)).json()["rows"]
            assert {row["site"] for row in rows} == {"SITE_001"}
        answer = await one.get("/v1/reports/machine-states", params=DAY | {"site": "SITE_002"})
        assert answer.status_code in (200, 403, 404)
        assert not answer.json().get("rows")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"group_by": "order"}, "group_by"),
        ({"group_by": "state,state"}, "group_by"),
        ({"measures": "oee"}, "measures"),
        ({"bucket": "shift"}, "bucket"),
        ({"sort": "entered", "measures": "state_min"}, "sort"),
        ({"segment": "Packing"}, "segment"),
        ({"as_known_at": "2026-12-01T00:00:00Z"}, "as_known_at"),
        ({"from": ""}, "from"),
        ({"to": ""}, "from"),
        ({"from": "2025-01-01"}, "to"),
        ({"from": "2026-09-01", "bucket": "hour"}, "to"),
        ({"cursor": "x"}, "cursor"),
    ],
)
async def test_what_states_do_not_have_is_refused_by_its_field(client, asked, field):
    answer = await client.get("/v1/reports/machine-states", params=DAY | asked)
    assert answer.status_code == 422, answer.text
    assert list(rules(answer)) == [f"query.{field}"]


async def test_each_figure_of_states_is_told_with_its_formula_and_source(client):
    found = (await client.get("/v1/reports/definitions")).json()
    figures = {each["name"]: each for each in found["kpis"]}
    assert figures["state_utilization_efficiency"]["formula"] == (
        "apt_min / (apt_min + aust_min + adet_min)"
    )
    assert figures["state_mttr_min"]["source"].startswith("ISO 22400")
    assert {"known_min", "entered", "unmapped_min"} <= {each["name"] for each in found["measures"]}
    assert {"state", "source", "time_element"} <= {each["name"] for each in found["dimensions"]}


# --- by the index ---------------------------------------------------------------------------------

MONTHS = [f"2026-{n:02}" for n in range(4, 11)]


async def many_events(world: World, site: str, machines: int, a_month: int) -> None:
    """Have a site's machines go into states at equal distances over months."""
    for month in MONTHS:
        await world.admin.execute(
            b"SELECT sync.make_partition('equipment_state_events', %s, %s::date)",
            [site, f"{month}-01"],
        )
        await as_ingest(
            world,
            "INSERT INTO mes.equipment_state_events (id, site_id, created_at, equipment_id, state,"
            " since, source) SELECT uuidv7(), %s, t.at, lpad(to_hex(1 + n %% %s), 32, '0')::uuid,"
            " CASE WHEN n / %s %% 2 = 0 THEN 'RUNNING' ELSE 'IDLE' END, t.at, 'PLC'"
            " FROM generate_series(0, %s - 1) AS n CROSS JOIN LATERAL (SELECT"
            " %s::date::timestamp AT TIME ZONE 'UTC' + n * interval '10 minutes' AS at) AS t",
            site, machines, machines, a_month, f"{month}-01",
        )  # fmt: skip
    await world.admin.execute(b"ANALYZE mes.equipment_state_events")


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Give each look at a partition of events: its name, how, and rows of all its times."""
    times = plan["Actual Loops"]
    name = plan.get("Relation Name", "")
    if name.startswith("equipment_state_events") and times:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield name, plan["Node Type"], rows * times
    for each in plan.get("Plans", ()):
        yield from scans(each)


@pytest.mark.parametrize("sites", [("SITE_001",), ("SITE_001", "SITE_002")])
async def test_events_are_found_by_an_index_and_only_as_many_as_are_needed(world, api, sites):
    for name in ("SITE_001", "SITE_002"):
        await a_plant(world, name)
        await many_events(world, name, machines=5, a_month=3000)
    question = Question(
        sites=("SITE_001", "SITE_002"), window=Window(date(2026, 10, 3), date(2026, 10, 4)),
        measures=("state_min", "entered"), group_by=("site", "state"), is_of_states=True,
        filters=(Filter("site", Match.IS, sites),),
    )  # fmt: skip
    made = states_statement(question)
    async with reading(api.reach.reading, question.sites) as connection:
        text = f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {made.text}"
        cursor = await connection.execute(text.encode(), made.values)
        ((found,),) = await cursor.fetchall()
    looked = list(scans(found[0]["Plan"]))
    # A month without events has nothing to be found by an index.
    assert not [each for each in looked if each[1] == "Seq Scan" and each[2]]
    assert {name[: len("equipment_state_events__site_001")] for name, _, _ in looked} == {
        f"equipment_state_events__{name.lower()}" for name in sites
    }
    # 144 of the day; for each of 5 machines one a month before it, and one to find the machine.
    needed = 144 + 2 * (5 + 1) * len(MONTHS)
    assert sum(rows for _, _, rows in looked) < 1.5 * needed * len(sites)

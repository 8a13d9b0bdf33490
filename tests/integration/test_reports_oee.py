"""OEE and what it is made of: planned time, production, rates and pieces, by the calendar."""

from __future__ import annotations

import uuid
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from central.reports.question import BadQuestion, Question, Window
from central.reports.statement import statement_of
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.test_reports import in_berlin, said

if TYPE_CHECKING:
    from tests.integration.api_world import Api
    from tests.integration.apply_world import Site, World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

LATHE, MILL, LINE = (str(uuid.UUID(int=n)) for n in (1, 2, 3))
ORDER = str(uuid.UUID(int=9))
FIGURES = ("planned_min", "run_min", "ideal_min", "qty_good", "qty_produced", "qty_unrated",
           "availability", "effectiveness", "quality_ratio", "oee", "teep")  # fmt: skip


async def a_plant(world: World) -> Site:
    site = world.site()
    machines = [
        {"id": LINE, "equipment_code": "Line 1", "level": "LINE"},
        {"id": LATHE, "equipment_code": "Lathe", "parent_id": LINE},
        {"id": MILL, "equipment_code": "Mill"},
    ]
    await site.writes(
        site.insert("equipment", *machines),
        site.insert("work_orders", site.order(id=ORDER, order_no="A", material_code="Bolt")),
    )
    return site


async def planned(world: World, start: str, end: str, kind: str = "WORK", **of: Any) -> None:
    await world.client(
        "INSERT INTO mes.shift_calendar (starts_at, ends_at, entry_type, equipment_id, line)"
        " VALUES (%s, %s, %s, %s, %s)",
        start, end, kind, of.get("machine"), of.get("line"),
    )  # fmt: skip


async def rated(world: World, pri_s: float, machine: str = LATHE, **of: Any) -> None:
    await world.client(
        "INSERT INTO mes.equipment_rates (equipment_id, material_code, segment_code, pri_s,"
        " effective_from) VALUES (%s, %s, %s, %s, %s)",
        machine, of.get("material"), of.get("segment"), pri_s, of.get("since", "2026-01-01"),
    )  # fmt: skip


async def made(site: Site, start: str, end: str, **values: Any) -> None:
    report = {"work_order_id": ORDER, "equipment_id": LATHE, "qty_scrap": "0", "qty_mrb": "0"}
    report |= {"started_at": f"{start}:00.000Z", "ended_at": f"{end}:00.000Z"} | values
    await site.writes(
        site.insert("job_responses", site.report(**report), created=report["ended_at"])
    )


async def figures(api: Api, **given: Any) -> dict[str, dict[str, Any]]:
    question = Question(
        sites=("SITE_001",), group_by=("machine",), measures=FIGURES,
        window=given.pop("window", Window(date(2026, 11, 2), date(2026, 11, 3))), **given,
    )  # fmt: skip
    return {row["machine"]: row for row in await said(api, question)}


async def test_oee_is_availability_times_effectiveness_times_quality(world, api):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    await planned(world, "2026-11-02T10:00Z", "2026-11-02T10:30Z", "BREAK")
    await rated(world, 60)
    await made(site, "2026-11-02T06:00", "2026-11-02T09:00", qty_good="150", qty_scrap="10")
    await made(site, "2026-11-02T11:00", "2026-11-02T13:00", qty_good="100")
    row = (await figures(api))["Lathe"]
    assert (row["planned_min"], row["run_min"], row["ideal_min"]) == (450, 300, 260)
    assert row["availability"] == pytest.approx(300 / 450)
    assert row["effectiveness"] == pytest.approx(260 / 300)
    assert row["quality_ratio"] == pytest.approx(250 / 260)
    assert row["oee"] == pytest.approx(250 / 450)
    parts = row["availability"] * row["effectiveness"] * row["quality_ratio"]
    assert row["oee"] == pytest.approx(parts, rel=1e-6)
    assert row["teep"] == pytest.approx(250 / 1440)


async def test_what_is_not_known_is_undefined_and_not_zero(world, api):
    site = await a_plant(world)
    await made(site, "2026-11-02T06:00", "2026-11-02T09:00", qty_good="5")
    row = (await figures(api))["Lathe"]
    assert [row[name] for name in ("planned_min", "availability", "effectiveness", "oee")] == [
        None, None, None, None,
    ]  # fmt: skip
    assert row["qty_unrated"] == 5
    assert row["quality_ratio"] == 1


async def test_a_machine_that_did_nothing_in_its_planned_time_is_shown(world, api):
    await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", machine=MILL)
    found = await figures(api)
    assert found.keys() == {"Mill"}
    assert found["Mill"]["availability"] == 0


async def test_the_calendar_of_a_machine_goes_before_its_lines_and_the_sites(world, api):
    await a_plant(world)
    await planned(world, "2026-11-02T00:00Z", "2026-11-02T10:00Z")
    await planned(world, "2026-11-02T00:00Z", "2026-11-02T05:00Z", line="Line 1")
    found = await figures(api)
    assert (found["Lathe"]["planned_min"], found["Mill"]["planned_min"]) == (300, 600)
    await planned(world, "2026-11-02T00:00Z", "2026-11-02T01:00Z", machine=LATHE)
    await planned(world, "2026-11-02T00:30Z", "2026-11-02T09:00Z", "PLANNED_DOWN")
    found = await figures(api)
    assert (found["Lathe"]["planned_min"], found["Mill"]["planned_min"]) == (30, 90)


async def test_a_machine_with_two_people_at_it_runs_no_longer_than_the_clock(world, api):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    for _ in range(2):
        await made(site, "2026-11-02T06:00", "2026-11-02T08:00")
    await made(site, "2026-11-02T07:00", "2026-11-02T09:00", report_type="SETUP")
    assert (await figures(api))["Lathe"]["run_min"] == 120


async def test_the_rate_of_a_part_and_operation_goes_before_a_general_one(world, api):
    site = await a_plant(world)
    await rated(world, 600)
    await rated(world, 60, material="Bolt", segment="Turn")
    await rated(world, 6, material="Nut", segment="Turn")
    await rated(world, 30, material="Bolt", segment="Turn", since="2027-01-01")
    await made(site, "2026-11-02T06:00", "2026-11-02T07:00", qty_good="10", segment_code="Turn")
    await made(site, "2026-11-02T07:00", "2026-11-02T08:00", qty_good="1", segment_code="Mill")
    assert (await figures(api))["Lathe"]["ideal_min"] == 20


async def test_what_is_reported_on_a_line_adds_no_planned_time_to_that_of_its_machines(world, api):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    await made(site, "2026-11-02T06:00", "2026-11-02T08:00", equipment_id=LINE, qty_good="5")
    found = await figures(api)
    assert (found["Line 1"]["planned_min"], found["Line 1"]["qty_good"]) == (None, 5)
    assert found["Lathe"]["planned_min"] == 480


@pytest.mark.parametrize(
    ("day", "minutes"), [(date(2026, 10, 24), 1500), (date(2026, 10, 25), 1440)]
)
async def test_a_night_on_which_the_clocks_go_back_has_25_hours_of_planned_time(
    world, api, day, minutes
):
    await a_plant(world)
    await in_berlin(world)
    await planned(world, "2026-10-20T00:00Z", "2026-10-30T00:00Z")
    window = Window(day, day.replace(day=day.day + 1))
    assert (await figures(api, window=window))["Lathe"]["planned_min"] == minutes


async def test_a_shift_that_crosses_the_day_counts_in_each_as_far_as_it_lies_in_it(world, api):
    site = await a_plant(world)
    await planned(world, "2026-11-02T22:00Z", "2026-11-03T06:00Z")
    await made(site, "2026-11-02T23:00", "2026-11-03T05:00")
    window = Window(date(2026, 11, 2), date(2026, 11, 4))
    question = Question(
        sites=("SITE_001",), measures=("planned_min", "run_min"), bucket="day", window=window
    )
    rows = [(r["day"], r["planned_min"], r["run_min"]) for r in await said(api, question)]
    # What is planned for the site is planned for the lathe and the mill; the line is the lathe's.
    assert rows == [("2026-11-02", 240, 60), ("2026-11-03", 720, 300)]


@pytest.mark.parametrize(
    "given",
    [
        {"window": Window()},
        {"group_by": ("order",)},
        {"measures": ("oee", "setup_min")},
        {"measures": ("oee", "first_start")},
        {"measures": ("oee", "orders")},
        {"bucket": "hour"},
        {"window": Window(date(2020, 1, 1), date(2026, 1, 1))},
    ],
)
def test_what_is_not_of_machines_and_days_is_refused(given):
    usual = {"window": Window(date(2026, 11, 2), date(2026, 11, 3)), "measures": ("oee",)}
    with pytest.raises(BadQuestion):
        statement_of(Question(sites=("SITE_001",), **usual | given))

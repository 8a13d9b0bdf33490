"""Planned time: of whom, of which days, and until when; and what OEE makes of it."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from central.reports.question import Question, Window
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.states_world import known_until
from tests.integration.test_reports import said
from tests.integration.test_reports_oee import (
    LATHE,
    LINE,
    MILL,
    ORDER,
    a_plant,
    figures,
    made,
    planned,
    rated,
)

if TYPE_CHECKING:
    from tests.integration.api_world import Api
    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

WEEK = Window(date(2026, 11, 2), date(2026, 11, 9))
#: Of which all is here, where nothing else is said.
THROUGH = datetime(2026, 11, 20, tzinfo=UTC)


async def a_known_plant(world: World) -> Any:
    site = await a_plant(world)
    await known_until(world, THROUGH)
    return site


async def as_a_whole(api: Api, window: Window = WEEK, **given: Any) -> dict[str, Any]:
    """Return the figures of the site as a whole."""
    measures = ("planned_min", "run_min", "calendar_time_min", "availability", "oee")
    question = Question(sites=("SITE_001",), measures=measures, window=window, **given)
    (row,) = await said(api, question)
    return row


# --- of whom ----------------------------------------------------------------------------------


async def test_a_shift_of_its_own_on_saturday_leaves_a_machine_the_sites_shifts_of_other_days(
    world, api
):
    await a_known_plant(world)
    for day in (2, 3):
        await planned(world, f"2026-11-0{day}T06:00Z", f"2026-11-0{day}T14:00Z")
    await planned(world, "2026-11-07T06:00Z", "2026-11-07T10:00Z", machine=LATHE)
    found = await figures(api, window=WEEK)
    assert (found["Lathe"]["planned_min"], found["Mill"]["planned_min"]) == (1200, 960)


async def test_what_takes_time_away_is_taken_whoever_it_stands_for(world, api):
    await a_known_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    await planned(world, "2026-11-02T07:00Z", "2026-11-02T08:00Z", "BREAK", line="Line 1")
    await planned(world, "2026-11-02T07:30Z", "2026-11-02T09:00Z", "PLANNED_DOWN", machine=LATHE)
    found = await figures(api)
    assert (found["Lathe"]["planned_min"], found["Mill"]["planned_min"]) == (360, 480)


async def test_an_entry_is_of_the_business_day_that_it_names(world, api):
    await a_known_plant(world)
    await planned(world, "2026-11-02T22:00Z", "2026-11-03T06:00Z")
    await world.client("UPDATE mes.shift_calendar SET business_date = '2026-11-02'")
    await planned(world, "2026-11-03T08:00Z", "2026-11-03T10:00Z", machine=LATHE)
    found = await figures(api, window=WEEK)
    # The machine's own shift of Tuesday does not take the night that began on Monday away.
    assert (found["Lathe"]["planned_min"], found["Mill"]["planned_min"]) == (600, 480)


async def test_an_entry_of_many_days_gives_way_on_the_days_with_one_of_a_machines_own(world, api):
    await a_known_plant(world)
    await planned(world, "2026-11-01T00:00Z", "2026-11-11T00:00Z")
    await planned(world, "2026-11-03T08:00Z", "2026-11-03T10:00Z", machine=LATHE)
    found = await figures(api, window=WEEK)
    assert (found["Lathe"]["planned_min"], found["Mill"]["planned_min"]) == (8760, 10080)


async def test_the_calendar_of_a_line_holds_for_machines_in_cells_of_it(world, api):
    site = await a_known_plant(world)
    cell, unit = (str(uuid.UUID(int=n)) for n in (21, 22))
    await site.writes(
        site.insert(
            "equipment",
            {"id": cell, "equipment_code": "Cell 9", "parent_id": LINE, "level": "CELL"},
            {"id": unit, "equipment_code": "Robot", "parent_id": cell},
        )
    )
    await known_until(world, THROUGH)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", line="Line 1")
    assert (await figures(api))["Robot"]["planned_min"] == 480


async def test_nothing_is_planned_for_areas_retired_machines_and_those_to_come(world, api):
    site = await a_known_plant(world)
    await rated(world, 60)
    await made(site, "2026-11-02T06:00", "2026-11-02T14:00", qty_good="480")
    later = "2026-11-02T10:00:00.000Z"
    await site.writes(
        site.insert("equipment", {"equipment_code": "Hall", "level": "AREA"}),
        site.insert("equipment", {"equipment_code": "Old", "status": "RETIRED"}),
        site.insert("equipment", {"equipment_code": "New", "commissioned_at": later}),
    )
    await known_until(world, THROUGH)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    found = await figures(api)
    assert {name: row["planned_min"] for name, row in found.items()} == {
        "Lathe": 480, "Mill": 480, "New": 240,
    }  # fmt: skip
    assert found["Lathe"]["oee"] == 1


async def test_a_retired_machine_counts_on_the_days_on_which_it_still_reported(world, api):
    site = await a_known_plant(world)
    for day in (2, 3):
        await planned(world, f"2026-11-0{day}T06:00Z", f"2026-11-0{day}T14:00Z")
    await made(site, "2026-11-02T06:00", "2026-11-02T10:00")
    await world.admin.execute(b"UPDATE mes.equipment SET status = 'RETIRED' WHERE id = %s", [LATHE])
    await known_until(world, THROUGH)
    found = await figures(api, window=WEEK)
    assert (found["Lathe"]["planned_min"], found["Lathe"]["availability"]) == (480, 0.5)


# --- of which days, and until when --------------------------------------------------------------


async def test_planned_and_calendar_time_end_where_nothing_more_of_the_site_is_known(world, api):
    site = await a_known_plant(world)
    await rated(world, 60)
    await planned(world, "2026-11-02T00:00Z", "2026-11-06T00:00Z", machine=LATHE)
    await made(site, "2026-11-02T00:00", "2026-11-02T12:00", qty_good="720")
    await known_until(world, datetime(2026, 11, 2, 12, tzinfo=UTC))
    for window in (WEEK, Window(date(2026, 11, 2), date(2026, 11, 3))):
        row = (await figures(api, window=window))["Lathe"]
        assert (row["planned_min"], row["availability"], row["oee"], row["teep"]) == (720, 1, 1, 1)


async def test_a_site_that_was_never_heard_has_no_planned_time(world, api):
    await a_known_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    await world.admin.execute(b"UPDATE sync.epoch SET through_ms = 0")
    assert await figures(api) == {}


async def test_what_is_planned_for_other_weeks_leaves_planned_time_unknown(world, api):
    site = await a_known_plant(world)
    await planned(world, "2026-11-16T06:00Z", "2026-11-16T14:00Z")
    await made(site, "2026-11-02T06:00", "2026-11-02T10:00")
    row = (await figures(api))["Lathe"]
    assert (row["planned_min"], row["run_min"], row["availability"]) == (None, None, None)


async def test_what_runs_without_planned_time_adds_nothing_to_the_availability_of_its_group(
    world, api
):
    site = await a_known_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", line="Line 1")
    await made(site, "2026-11-02T06:00", "2026-11-02T08:00")
    await made(site, "2026-11-02T06:00", "2026-11-02T10:00", equipment_id=LINE)
    await made(site, "2026-11-02T06:00", "2026-11-02T10:00", equipment_id=MILL)
    await known_until(world, THROUGH)
    row = await as_a_whole(api)
    assert (row["planned_min"], row["run_min"], row["availability"]) == (480, 120, 0.25)


async def test_a_planned_machine_that_made_nothing_has_an_oee_of_zero(world, api):
    site = await a_known_plant(world)
    await rated(world, 60)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z")
    await made(site, "2026-11-02T06:00", "2026-11-02T12:00", qty_good="0")
    found = await figures(api)
    assert (found["Lathe"]["effectiveness"], found["Lathe"]["oee"]) == (0, 0)
    assert (found["Mill"]["availability"], found["Mill"]["oee"]) == (0, 0)


async def test_days_of_any_calendar_cost_what_the_window_holds(world, api):
    """Ten years of shifts stand beside the day that is asked for, and none of them is looked at."""
    await a_known_plant(world)
    await world.client(
        "INSERT INTO mes.shift_calendar (starts_at, ends_at) SELECT at, at + interval '8 hours'"
        " FROM generate_series('2020-01-01T06:00Z'::timestamptz, '2026-12-01', '1 day') AS at"
    )
    assert (await as_a_whole(api, Window(date(2026, 11, 2), date(2026, 11, 3))))[
        "planned_min"
    ] == 960
    assert (await as_a_whole(api))["planned_min"] == 7 * 960


async def test_time_in_which_a_machine_could_be_busy_ends_where_nothing_more_is_known(world, api):
    site = await a_known_plant(world)
    await made(site, "2026-11-02T00:00", "2026-11-02T12:00")
    await known_until(world, datetime(2026, 11, 2, 12, tzinfo=UTC))
    question = Question(
        sites=("SITE_001",), measures=("busy_min", "calendar_min", "utilisation"), basis="clip",
        window=Window(date(2026, 11, 2), date(2026, 11, 3)),
    )  # fmt: skip
    assert await said(api, question) == [{"busy_min": 720, "calendar_min": 720, "utilisation": 1}]


async def test_a_machine_in_a_cell_of_a_line_is_of_that_line(world, api):
    site = await a_known_plant(world)
    cell, unit = (str(uuid.UUID(int=n)) for n in (21, 22))
    await site.writes(
        site.insert(
            "equipment",
            {"id": cell, "equipment_code": "Cell 9", "parent_id": LINE, "level": "CELL"},
            {"id": unit, "equipment_code": "Robot", "parent_id": cell},
        )
    )
    for machine in (unit, LATHE):
        await made(site, "2026-11-02T06:00", "2026-11-02T08:00", equipment_id=machine, qty_good="5")
    question = Question(sites=("SITE_001",), measures=("qty_good",), group_by=("line",))
    assert await said(api, question) == [{"line": "Line 1", "qty_good": 10}]


# --- what could have been made ------------------------------------------------------------------


async def test_a_rate_of_a_part_counts_for_that_part_alone(world, api):
    site = await a_known_plant(world)
    bolt, nut, other = (str(uuid.UUID(int=n)) for n in (31, 32, 33))
    await world.admin.execute(
        b"INSERT INTO mes.material_definitions (id, site_id, material_code)"
        b" VALUES (%s, '*', 'Bolt'), (%s, '*', 'Nut')", [bolt, nut],
    )  # fmt: skip
    await site.writes(site.insert("work_orders", site.order(id=other, material_id=nut)))
    await world.client(
        "INSERT INTO mes.equipment_rates (equipment_id, material_id, pri_s, effective_from)"
        " VALUES (%s, %s, 600, '2026-01-01')", LATHE, nut,
    )  # fmt: skip
    await made(site, "2026-11-02T06:00", "2026-11-02T07:00", qty_good="6", work_order_id=ORDER)
    await made(site, "2026-11-02T07:00", "2026-11-02T08:00", qty_good="6", work_order_id=other)
    await known_until(world, THROUGH)
    row = (await figures(api))["Lathe"]
    assert (row["ideal_min"], row["qty_unrated"]) == (60, 6)


# --- where the clocks go back over the beginning of a day ---------------------------------------


@pytest.mark.parametrize(
    ("of_site", "start", "end", "day"),
    [
        (("Atlantic/Azores", "00:00"), "2026-10-25T00:05", "2026-10-25T00:55", "2026-10-24"),
        (("Atlantic/Azores", "00:00"), "2026-10-25T01:05", "2026-10-25T01:55", "2026-10-25"),
        (("Europe/Berlin", "02:30"), "2026-10-25T00:35", "2026-10-25T00:55", "2026-10-24"),
        (("Europe/Berlin", "02:30"), "2026-10-25T01:35", "2026-10-25T01:55", "2026-10-25"),
    ],
)
async def test_pieces_and_minutes_of_the_repeated_hour_are_of_one_day(
    world, api, of_site, start, end, day
):
    site = await a_known_plant(world)
    await world.admin.execute(
        b"INSERT INTO sync.site_day (site, zone, day_start) VALUES ('SITE_001', %s, %s)",
        of_site,
    )
    await made(site, start, end, qty_good="5")
    window = Window(date(2026, 10, 20), date(2026, 10, 30))
    for measures in (("qty_good", "elapsed_min"), ("qty_good", "produced_min")):
        for basis in ("end", "clip") if "elapsed_min" in measures else ("end",):
            question = Question(
                sites=("SITE_001",), measures=measures, window=window, bucket="day", basis=basis
            )
            (row,) = await said(api, question)
            length = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).seconds / 60
            assert (row["day"], row["qty_good"], row[measures[1]]) == (day, 5, length), basis

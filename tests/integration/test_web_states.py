"""The page of machine states: bars with words beside them, times in states, key figures."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest

from central.reports.kpis import KPIS_OF_STATES
from central.web.asked import present
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.states_world import (
    LATHE,
    MILL,
    Event,
    Note,
    a_plant,
    at,
    history,
    known_until,
    noted,
    told,
)
from tests.integration.test_reports_oee import planned
from tests.integration.test_web_oee import panel, values
from tests.integration.test_web_pages import signed_in

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DAYS = {"from": "2026-11-02", "to": "2026-11-03"}


async def a_day(world: World, name: str = "SITE_001") -> None:
    site = await a_plant(world, name)
    await history(
        world, site, LATHE, ("01 20:00", "IDLE"), ("02 06:00", "RUNNING"), ("02 12:00", "DOWN"),
        ("02 15:00", "Putzen"), ("02 18:00", "RUNNING"),
    )  # fmt: skip
    await history(world, site, MILL, ("02 06:00", "RUNNING"))


async def shown(browser: httpx.AsyncClient, **given: str) -> str:
    answer = await browser.get("/machines", params=DAYS | given)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


async def test_each_machine_has_a_bar_and_its_states_in_words(world, api):
    await a_day(world)
    async with signed_in(api, "corporate") as browser:
        text = panel(await shown(browser), "timeline")
    assert text.count('class="el-apt" x=') == 3
    assert text.count('class="el-unmapped" x=') == 1
    assert "RUNNING 720 min, IDLE 360 min, DOWN 180 min, Putzen 180 min" in text
    assert "unmapped: nobody said what it is" in text
    assert "setup (AUST)" not in text  # nothing of that occurs
    rows = re.findall(r'<td class="name" data-column="state">([^<]+)<', text)
    assert rows == ["IDLE", "RUNNING", "DOWN", "Putzen", "RUNNING", "RUNNING"]


async def test_the_page_of_downtime_says_why_machines_stood_as_people_noted_it(world, api):
    site = await a_plant(world)
    await history(
        world, site, LATHE, ("02 06:00", "RUNNING"), ("02 12:00", "DOWN"), ("02 15:00", "RUNNING")
    )
    await noted(world, site, Note(LATHE, "TOOL", at("02 12:00"), at("02 14:00")))
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/downtime", params=DAYS)
        text = panel(unescape(answer.text), "reasons")
    assert re.findall(r'data-column="reason">([^<]*)<', text) == ["TOOL", ""]
    assert values(text) == {
        "state_min": [120, 60], "entered": [1, 0],
        "share": [0.666666667, 0.333333333], "cum_share": [0.666666667, 1],
    }  # fmt: skip


async def test_times_and_figures_are_those_of_the_api_with_their_formulas(world, api):
    await a_day(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T14:00Z", machine=LATHE)
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser)
        states, figures = panel(text, "states"), panel(text, "figures")
        (link_to,) = re.findall(r'class="csv" href="([^"]+)"', states)
        rows = list(csv.DictReader(io.StringIO((await browser.get(link_to)).text)))
    assert [float(row["state_min"]) for row in rows] == values(states)["state_min"]
    assert values(states)["state_share"][0] == 0.5
    assert values(figures)["state_availability"] == [1.5, None]
    assert "undefined" in figures
    for name in ("state_technical_efficiency", "state_mttr_min"):
        assert KPIS_OF_STATES[name].formula in figures


async def test_filters_and_groups_stand_in_the_address(world, api):
    await a_day(world)
    async with signed_in(api, "corporate") as browser:
        text = await shown(
            browser, **{"state.contains": "DOWN", "machine.contains": "Lathe", "group_by": "site"}
        )
    assert values(panel(text, "states"))["state_min"] == [180]
    assert "Mill" not in panel(text, "timeline")
    assert values(panel(text, "figures"))["failures"] == [1]


async def test_without_days_it_shows_the_present_one(world, api):
    site = await a_plant(world)
    now = present()
    await told(world, site, [Event(LATHE, "RUNNING", now - timedelta(days=40))], now)
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/machines")
    assert f'name="from" value="{now:%Y-%m-%d}"' in answer.text
    assert "RUNNING" in answer.text


async def test_a_site_that_is_behind_is_called_stale_and_its_time_is_not_filled_up(world, api):
    await a_day(world)
    await known_until(world, at("02 09:00"))
    async with signed_in(api, "corporate") as browser:
        text = panel(await shown(browser), "timeline")
    assert "(stale)" in text
    assert "provisional" in text
    assert "IDLE 360 min, RUNNING 180 min" in text


async def test_machines_of_another_site_are_not_shown(world, api):
    for name in ("SITE_001", "SITE_002"):
        await a_day(world, name)
    async with signed_in(api, "plant:SITE_001") as browser:
        text = await shown(browser)
    assert "SITE_002" not in text
    assert "SITE_001 Lathe" in text


async def test_what_a_plant_calls_a_state_is_text_and_nothing_else(world, api):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 06:00", "<script>alert(1)</script>"))
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/machines", params=DAYS)
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text

"""The page of OEE: losses add up, formulas stand beside numbers, and undefined is no zero."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC
from html import unescape
from typing import TYPE_CHECKING

import pytest

from central.reports.kpis import KPIS
from central.web.waterfall import FIGURES, LOSSES
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.test_reports_oee import LATHE, MILL, a_plant, made, planned, rated
from tests.integration.test_web_pages import signed_in

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DAYS = {"from": "2026-11-02", "to": "2026-11-04"}


async def a_day(world: World) -> None:
    """Have a lathe planned for 450 minutes: it makes 260 pieces in 300, of which 250 are good."""
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T13:30Z", machine=LATHE)
    await rated(world, 60)
    await made(site, "2026-11-02T06:00", "2026-11-02T09:00", qty_good="150", qty_scrap="10")
    await made(site, "2026-11-02T11:00", "2026-11-02T13:00", qty_good="100")


async def shown(browser: httpx.AsyncClient, **given: str) -> str:
    answer = await browser.get("/oee", params=DAYS | given)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def panel(text: str, name: str) -> str:
    return text.partition(f'<section class="panel" id="{name}"')[2].partition("</section>")[0]


def values(text: str) -> dict[str, list[float | None]]:
    """Return the raw numbers of a panel by their columns, in order."""
    found: dict[str, list[float | None]] = {}
    for name, value in re.findall(r'data-column="(\w+)" data-value="([^"]*)"', text):
        found.setdefault(name, []).append(float(value) if value else None)
    return found


async def test_losses_lead_from_planned_time_to_oee_and_add_up(world, api):
    await a_day(world)
    async with signed_in(api, "corporate") as browser:
        found = values(panel(await shown(browser), "waterfall"))
    times = ("planned_min", "availability_loss", "run_min", "performance_loss", "ideal_min",
             "quality_loss", "ideal_good_min")  # fmt: skip
    assert [found[f"{name}_time"] for name in times] == [
        [450], [150], [300], [40], [260], [10], [250]
    ]  # fmt: skip
    shares = [found[name][0] for name in LOSSES]
    assert shares == pytest.approx([150 / 450, 40 / 450, 10 / 450])
    assert sum(shares) + found["oee"][0] == pytest.approx(1)
    assert found["ideal_good_min"] == pytest.approx(found["oee"])
    assert found["teep"] == pytest.approx([250 / (2 * 2880)])  # of the lathe and the mill


async def test_each_figure_of_oee_has_its_formula_and_source_beside_it(world, api):
    await a_day(world)
    async with signed_in(api, "corporate") as browser:
        text = panel(await shown(browser), "waterfall")
    for name in (*FIGURES, *LOSSES):
        row = next(
            row for row in re.findall(r"(?s)<tr[ >].*?</tr>", text)
            if f'data-column="{name}"' in row
        )  # fmt: skip
        assert f'<code class="formula">{KPIS[name].formula}</code>' in row
        assert KPIS[name].source in row


async def test_what_is_undefined_is_called_so_with_its_reason_and_is_no_zero(world, api):
    site = await a_plant(world)
    await made(site, "2026-11-02T06:00", "2026-11-02T09:00", qty_good="5")
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser)
    found = values(panel(text, "waterfall"))
    for name in ("availability", "effectiveness", "oee", "teep", *LOSSES):
        assert found[name] == [None], name
    assert found["quality_ratio"] == [1]
    assert "undefined: no working time is planned in the shift calendar" in text
    assert "undefined: no rate is known for what was produced" in text
    assert "5 pieces have no rate: performance and OEE are too low." in text
    by_day, by_machine = (values(panel(text, name)) for name in ("trend", "by"))
    assert (by_day["oee"], by_machine["oee"]) == ([None], [None])
    assert "undefined" in panel(text, "by")


async def test_what_makes_oee_too_high_is_said(world, api):
    site = await a_plant(world)
    await planned(world, "2026-11-02T06:00Z", "2026-11-02T08:00Z", machine=LATHE)
    await rated(world, 60)
    await rated(world, 60, MILL)
    await made(site, "2026-11-02T06:00", "2026-11-02T07:00", qty_good="90")
    await made(site, "2026-11-02T06:00", "2026-11-02T06:20", qty_good="10", equipment_id=MILL)
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser)
        filtered = await shown(browser, **{"machine.contains": "Lathe"})
    assert "20 min of production are of machines for which nothing is planned" in text
    assert "of machines for which nothing is planned" not in filtered
    assert "a rate or a count is wrong" in filtered
    assert values(panel(filtered, "waterfall"))["performance_loss"] == pytest.approx([-0.25])


async def test_oee_is_told_by_day_line_and_machine_and_comes_as_csv(world, api):
    await a_day(world)
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser, group_by="site,line")
        assert 'data-column="line"' in panel(text, "by")
        by_day = values(panel(text, "trend"))
        assert by_day["oee"] == pytest.approx([250 / 450])
        for name in ("waterfall", "trend", "by"):
            (address,) = re.findall(r'class="csv" href="([^"]+)"', panel(text, name))
            told = await browser.get(address)
            (row,) = csv.DictReader(io.StringIO(told.text))
            assert float(row["oee"]) == pytest.approx(250 / 450), name


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"bucket": "hour"}, "a day or longer"),
        ({"group_by": "order"}, "of machines"),
        ({"from": "2026-11-04", "to": "2026-11-02"}, "later than from"),
        ({"from": "2020-01-01"}, "at most 400 days"),
    ],
)
async def test_what_oee_can_not_be_asked_for_is_told_by_its_rule(api, given, rule):
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/oee", params=DAYS | given)
    assert answer.status_code == 422
    assert rule in unescape(answer.text)


async def test_a_page_tells_when_days_that_were_over_changed(world, api):
    await a_day(world)
    async with signed_in(api, "corporate") as browser:
        told = panel(await shown(browser), "waterfall")
        changed = await world.value("SELECT max(noted_at) FROM sync.restated")
        assert f'<time datetime="{changed.astimezone(UTC):%Y-%m-%dT%H:%M}' in told
        assert "were over" in told
        other = panel(
            await shown(browser, **{"from": "2026-11-05", "to": "2026-11-06"}), "waterfall"
        )
        assert 'class="restated"' not in other

"""Pages of orders without a browser: what is late, what is on time, and how it is called."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import made_order
from tests.integration.rollup_world import canonical
from tests.integration.states_world import known_until
from tests.integration.test_reports_due import DONE, PAST, output, reported
from tests.integration.test_web_pages import signed_in

if TYPE_CHECKING:
    from tests.integration.apply_world import World

__all__ = ["api", "client", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def orders(client, world: World) -> None:
    """Make one that is late from long ago, and two that were due yesterday."""
    definition, site = await output(client), world.site()
    due = await world.value("SELECT date_trunc('day', now()) - interval '1 day'")
    told = {"definition_id": definition, "qty_ordered": "10"}
    late = await made_order(client, order_no="WO-late", due_at=PAST, **told)
    for number, end in (("WO-kept", due), ("WO-missed", due + timedelta(hours=6))):
        await made_order(
            client, order_no=number, due_at=canonical(due), actual_end=canonical(end), **told,
            **DONE,
        )  # fmt: skip
    await made_order(client, order_no="WO-done", due_at=PAST, actual_end=PAST, **told, **DONE)
    for segment, good in (("Turning", "30"), ("Packing", "4")):
        at = "2026-11-02T10:00:00.000Z"
        await reported(site, late, ended=at, good=good, segment=segment)
    await known_until(world, await world.value("SELECT now()"))


def panel(text: str, name: str) -> str:
    """Return a panel of a page."""
    begun = text.partition(f'<section class="panel" id="{name}"')[2]
    return begun.partition("</section>")[0]


def values(text: str, column: str) -> list[str]:
    return re.findall(rf'data-column="{column}" data-value="([^"]*)"', text)


@pytest.mark.parametrize(("path", "name"), [("/orders", "progress"), ("/sites/SITE_001", "orders")])
async def test_a_page_shows_late_orders_and_how_many_were_on_time(api, client, world, path, name):
    await orders(client, world)
    async with signed_in(api, "corporate") as browser:
        text = (await browser.get(path)).text
    progress = panel(text, name)
    numbers = re.findall(r"WO-\w+", re.sub(r'href="[^"]*"', "", progress))
    assert numbers == ["WO-late", "WO-missed", "WO-kept"]
    assert "WO-done" not in text
    assert values(progress, "progress")[0] == "0.4"  # not of three operations
    assert values(progress, "orders_open") == ["1", "0", "0"]
    assert values(progress, "late_h")[1:] == ["6", "0"]
    assert "2020-11-02 12:00:00 UTC" in progress
    told = panel(text, "on-time")
    assert values(told, "orders_due") == ["2"]
    assert values(told, "on_time_delivery") == ["0.5"]
    assert "50.0\u202f%" in told
    assert "finished by their due date" in told
    assert values(panel(text, "on-time-trend"), "on_time_delivery") == ["0.5"]


async def test_the_csv_beside_a_chart_of_a_site_is_of_that_site(api, client, world):
    await orders(client, world)
    await made_order(client, "SITE_002", order_no="WO-elsewhere", due_at=PAST)
    async with signed_in(api, "corporate") as browser:
        progress = panel((await browser.get("/sites/SITE_001")).text, "orders")
        (address,) = re.findall(r'class="csv" href="([^"]+)"', progress)
        text = (await browser.get(unescape(address))).text
    assert "WO-late" in text
    assert "WO-elsewhere" not in text


async def test_the_benchmark_shows_on_time_delivery_and_oee_of_each_site(api, client, world):
    await orders(client, world)
    async with signed_in(api, "corporate") as browser:
        text = (await browser.get("/benchmark")).text
    assert values(panel(text, "on-time"), "on_time_delivery") == ["0.5"]
    assert 'id="oee"' in text

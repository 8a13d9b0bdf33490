"""The page of genealogy: both ways, what is on hand, what is not seen, and what is not all."""

from __future__ import annotations

import csv
import io
import re
import uuid
from html import unescape
from typing import TYPE_CHECKING

import pytest

from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.quality_world import Plant
from tests.integration.test_web_oee import panel
from tests.integration.test_web_pages import signed_in

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def kin(world: World) -> dict[str, str]:
    """Have steel of one site become a part at another, of which 28 are left and one lot is held."""
    north, south = Plant(world), Plant(world, "SITE_002")
    steel = await south.lot("S-1", material_code="STEEL")
    blank, part = await north.lots("B-1", "P-1")
    await north.edge(steel, blank, qty="40", uom="kg")
    await north.edge(blank, part)
    await north.moves(part, "30", "-2", uom="pcs")
    await north.hold(blank, reason_code="CRACK", placed_by="q.chief")
    return {"steel": steel, "blank": blank, "part": part}


async def shown(browser: httpx.AsyncClient, **given: str) -> str:
    answer = await browser.get("/genealogy", params=given)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def nodes(text: str) -> dict[str, tuple[int, str]]:
    """Return how far each lot is and what its sign tells, by what it is called."""
    about = r'<tr data-lot="[^"]+" data-level="(-?\d+)" data-state="([\w-]+)"'
    found = re.findall(rf"(?s){about}.*?<th[^>]*>(.*?)</th>", text)
    return {re.sub("<.*?>", "", name): (int(level), state) for level, state, name in found}


def edges(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r'data-parent="([^"]+)" data-child="([^"]+)"', text))


async def test_a_lot_is_shown_with_what_went_in_and_where_it_went_and_what_is_on_hand(world, api):
    lots = await kin(world)
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser, lot=lots["blank"])
        up = await shown(browser, lot=lots["blank"], direction="up")
        (address,) = set(re.findall(r'class="csv" href="([^"]+)"', text))
        rows = list(csv.DictReader(io.StringIO((await browser.get(address)).text)))
    assert nodes(text) == {"B-1": (0, "held"), "S-1": (-1, "none"), "P-1": (1, "on-hand")}
    assert edges(text) == {(lots["steel"], lots["blank"]), (lots["blank"], lots["part"])}
    assert nodes(up).keys() == {"B-1", "S-1"}
    assert "3 lots, 1 on hand, 1 on hold, 0 not visible here." in text
    assert "CRACK, by q.chief" in panel(text, "lots")
    assert re.search(r"28</span>\s+pcs\s+at\s+SITE_001", panel(text, "lots"))
    assert "40 kg" in panel(text, "steps")
    assert {(row["lot_no"], row["on_hand"]) for row in rows} == {
        ("B-1", ""), ("S-1", ""), ("P-1", "28"),
    }  # fmt: skip


async def test_a_lot_of_another_site_is_counted_and_no_more_is_told_of_it(world, api):
    lots = await kin(world)
    async with signed_in(api, "plant:SITE_001") as browser:
        text = await shown(browser, lot=lots["part"])
        refused = await browser.get("/genealogy", params={"lot": lots["steel"]})
    assert nodes(text)["hidden-1"] == (-2, "hidden")
    assert "1 not visible here" in text
    assert "SITE_002" not in text
    assert "S-1" not in text
    assert lots["steel"] not in text
    assert refused.status_code == 404
    assert f"no lot {lots['steel']} here that this key or token reaches" in refused.text


async def test_a_walk_that_is_cut_says_that_it_is_not_all(world, api):
    lots = await kin(world)
    async with signed_in(api, "corporate") as browser:
        whole = await shown(browser, lot=lots["steel"])
        cut = await shown(browser, lot=lots["steel"], depth="1")
    assert "This is not all." not in whole
    assert "This is not all." in cut
    assert "beyond the limit of depth" in cut
    assert nodes(cut).keys() == {"S-1", "B-1"}


async def test_a_lot_is_found_by_its_number_and_leads_to_its_graph(world, api):
    lots = await kin(world)
    async with signed_in(api, "corporate") as browser:
        one = await shown(browser, lot_no="S-1")
        many = await shown(browser, lot_no="B*")
        none = await shown(browser, lot_no="X-9")
        held = await shown(browser, status="QUARANTINED")
        (address,) = re.findall(r'class="csv" href="([^"]+)"', one)
        rows = list(csv.DictReader(io.StringIO((await browser.get(address)).text)))
    assert re.findall(r"/genealogy\?lot=([0-9a-f-]+)", one) == [lots["steel"]]
    assert re.findall(r"/genealogy\?lot=([0-9a-f-]+)", many) == [lots["blank"]]
    assert [row["lot_no"] for row in rows] == ["S-1"]
    assert "No such lot here that this key or token reaches: “X-9”" in none
    assert "No such lot here" in held


async def test_pages_of_lots_are_all_lots_and_each_once(world, api):
    plant = Plant(world)
    await plant.lots(*(f"L-{n:03}" for n in range(130)))
    found, address = [], "/genealogy"
    async with signed_in(api, "corporate") as browser:
        while address:
            text = (await browser.get(address)).text
            found += re.findall(r">(L-\d\d\d)<", text)
            more = re.findall(r'class="more" href="([^"]+)"', text)
            address = f"/genealogy{unescape(more[0])}" if more else ""
    assert sorted(found) == [f"L-{n:03}" for n in range(130)]


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"lot": str(uuid.uuid4())}, 404, "no lot"),
        ({"lot": "S-4711"}, 422, "the id of a lot; find it by its number first"),
        ({"depth": "51"}, 422, "depth"),
        ({"depth": "many"}, 422, "depth"),
        ({"direction": "sideways"}, 422, "direction"),
        ({"lot": "", "status": "LOST"}, 422, "status"),
        ({"lot": "", "cursor": "bm8="}, 422, "is none that a page ended with"),
    ],
)
async def test_what_can_not_be_followed_is_told_in_words(world, api, given, status, said):
    lot = await Plant(world).lot("L")
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/genealogy", params={"lot": lot, **given})
    assert answer.status_code == status, answer.text
    assert 'role="alert"' in answer.text
    assert said in unescape(answer.text)


async def test_the_library_for_graphs_is_loaded_where_there_is_a_graph_and_nowhere_else(world, api):
    lot = await Plant(world).lot("L")
    async with signed_in(api, "corporate") as browser:
        assert "echarts" in await shown(browser, lot=lot)
        for path in ("/genealogy", "/", "/oee", "/spc"):
            assert "echarts" not in (await browser.get(path)).text, path

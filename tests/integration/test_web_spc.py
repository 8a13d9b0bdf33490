"""The page of control charts: what breaks a rule is named in words, capability has its reasons."""

from __future__ import annotations

import csv
import io
import re
import uuid
from html import unescape
from typing import TYPE_CHECKING

import pytest

from central.web import quality
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.quality_world import Plant
from tests.integration.test_web_oee import panel, values
from tests.integration.test_web_pages import signed_in
from tests.unit.test_spc import FLOW, RINGS

if TYPE_CHECKING:
    import httpx

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DAYS = {"from": "2026-11-20", "to": "2026-11-21"}
#: Ten values that vary as they do, and one far above them.
JUMP = [*FLOW, 60.2]


async def shown(browser: httpx.AsyncClient, name: str, **given: str) -> str:
    answer = await browser.get("/spc", params={"characteristic": name, **DAYS, **given})
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


async def bored(plant: Plant, pieces: list[float], **values: str | None) -> str:
    name = await plant.characteristic(**({"lsl": "44", "usl": "57", "uom": "mm"} | values))
    await plant.samples(name, [[value] for value in pieces])
    return name


async def told(browser: httpx.AsyncClient, text: str, part: str) -> list[dict[str, str]]:
    (address,) = re.findall(r'class="csv" href="([^"]+)"', panel(text, part))
    answer = await browser.get(address)
    assert answer.headers["content-type"].startswith("text/csv"), answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_a_chart_has_its_lines_and_the_csv_beside_it_has_the_same(world, api):
    name = await bored(Plant(world), JUMP)
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser, name)
        rows = [row for row in await told(browser, text, "individuals")
                if row["chart"] == "individuals"]  # fmt: skip
    found = values(panel(text, "individuals"))
    assert found["value"] == JUMP
    assert (found["lsl"], found["usl"]) == ([44] * 11, [57] * 11)
    for each in ("value", "centre", "lower", "upper", "lsl", "usl"):
        assert [float(row[each]) for row in rows] == found[each], each
    ranges = values(panel(text, "moving-range"))
    assert ranges["value"][0] is None  # the first value has none before it
    assert ranges["usl"] == [None] * 11  # no specification is of ranges


async def test_a_rule_that_is_broken_is_marked_and_named_in_words(world, api):
    name = await bored(Plant(world), JUMP)
    baseline = {"limits_from": "2026-11-20", "limits_to": "2026-11-21"}
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser, name)
        alone = await shown(browser, name, rules="nelson-1", **baseline)
        rows = await told(browser, text, "individuals")
    part = panel(text, "individuals")
    marked = re.findall(r'data-fires><th scope="row"[^>]*data-value="(\d+)"', part)
    fired = [row["point"] for row in rows
             if row["chart"] == "individuals" and row["violations"]]  # fmt: skip
    assert marked == fired
    assert "10" in fired
    assert "<strong>Point 10</strong>: a point is beyond the control limits" in part
    assert "(<code>nelson-1</code>); 60.2 at" in part
    assert "Nelson, The Shewhart Control Chart" in text
    assert "<code>nelson-2</code>" not in alone


async def test_capability_is_shown_with_formula_source_and_why_it_is_undefined(world, api):
    plant = Plant(world)
    name, one_sided = await bored(plant, JUMP), await bored(plant, JUMP, usl=None)
    async with signed_in(api, "corporate") as browser:
        text = panel(await shown(browser, name), "capability")
        other = panel(await shown(browser, one_sided), "capability")
    found = values(text)
    assert found["cp"] == pytest.approx([0.97792861])
    assert found["cpk"] == pytest.approx([0.80285887])
    assert found["ppk"] == pytest.approx([0.51917888])
    assert "(usl - lsl) / (6 sigma within subgroups)" in text
    assert "ISO 22400-2; NIST/SEMATECH e-Handbook 6.1.6" in text
    assert values(other)["cp"] == [None]
    assert "undefined: the specification is one-sided" in other


async def test_subgroups_are_charted_as_means_without_the_limits_of_single_values(world, api):
    plant = Plant(world)
    name = await plant.characteristic(lsl="73.9", usl="74.1", subgroup_size=5)
    await plant.samples(name, RINGS)
    async with signed_in(api, "corporate") as browser:
        text = await shown(browser, name)
        forced = await shown(browser, name, chart="xbar-s")
    found = values(panel(text, "xbar"))
    assert len(found["value"]) == len(RINGS)
    assert set(found["lsl"]) == {None}
    assert values(panel(text, "range"))["upper"][0] is not None
    assert 'id="s"' in forced


async def test_a_long_chart_shows_its_newest_points_and_says_how_many_there_are(
    world, api, monkeypatch
):
    monkeypatch.setattr(quality, "POINTS_MAX", 4)
    name = await bored(Plant(world), JUMP)
    async with signed_in(api, "corporate") as browser:
        text = panel(await shown(browser, name), "individuals")
    assert values(text)["value"] == JUMP[-4:]
    assert "The newest 4 points; 7 older ones are in the CSV." in text
    assert "Point 10" in text


async def test_characteristics_are_found_by_their_names_and_only_of_the_askers_sites(world, api):
    north, south = Plant(world), Plant(world, "SITE_002")
    bore = await north.characteristic(name="Bore <1>")
    await north.characteristic(name="width")
    await south.characteristic(name="bore of the south")
    async with signed_in(api, "plant:SITE_001") as browser:
        text = (await browser.get("/spc", params=DAYS | {"name": "BORE"})).text
        none = (await browser.get("/spc", params={"name": "no such"})).text
        empty = await shown(browser, bore)
    assert re.findall(r"characteristic=([0-9a-f-]+)", text) == [bore]
    assert "Bore &lt;1&gt;" in text
    assert "south" not in text
    assert "has “no such” in its name or plan" in none
    assert "Nothing was measured in these days" in empty
    assert "too few values, or none of them varies" in empty


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"characteristic": str(uuid.uuid4())}, 404, "no characteristic"),
        ({"characteristic": "bore"}, 422, "an id, as the list of them has it"),
        ({"from": "2026-11-21", "to": "2026-11-20"}, 422, "must be before to"),
        ({"from": "2020-01-01", "to": "2026-11-20"}, 422, "400 days at most"),
        ({"rules": "guess"}, 422, "no such rule"),
        ({"chart": "p"}, 422, "does not fit"),
        ({"chart": "pie"}, 422, "chart"),
        ({"limits_to": "2026-11-20"}, 422, "is needed where limits_to is given"),
        ({"limits_from": "soon"}, 422, "limits_from: a day"),
        ({"site": "SITE_002"}, 422, "belongs to another site"),
        ({"site": "SITE_999"}, 403, "that this key or token reaches"),
    ],
)
async def test_what_can_not_be_charted_is_told_in_words(world, api, given, status, said):
    name = await Plant(world).characteristic()
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/spc", params={"characteristic": name, **DAYS, **given})
    assert answer.status_code == status, answer.text
    assert 'role="alert"' in answer.text
    assert said in unescape(answer.text)

"""Lots are found by what stands on them, page by page, of the asker's sites alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

import central
from central import schema
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world
from tests.integration.quality_world import Plant
from tests.integration.test_reports_genealogy import NORTH, SOUTH, asked

__all__ = ["api", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def pages(api: Api, grant: str = "corporate", **params: Any) -> list[list[str]]:
    found, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        status, page = await asked(api, "lots", grant, **params, **more)
        assert status == 200, page
        found.append([each["lot_no"] for each in page["lots"]])
        if (cursor := page["next"]) is None:
            return found


async def test_lots_are_found_by_number_material_and_status_of_ones_own_sites(world, api):
    north, south = Plant(world), Plant(world, SOUTH)
    lot = await north.lot("L-1", material_code="STEEL", quality_status="REJECTED")
    await north.lot("L-10", material_code="STEEL")
    await south.lot("L-1", material_code="RESIN")
    await north.moves(lot, "3")
    found = {
        (): [["L-1", "L-10", "L-1"]], (("lot_no", "L-1"),): [["L-1", "L-1"]],
        (("lot_no", "L-1*"),): [["L-1", "L-10", "L-1"]], (("lot_no", "L-1%"),): [[]],
        (("material", "STEEL"),): [["L-1", "L-10"]], (("status", "REJECTED"),): [["L-1"]],
        (("lot_no", "L-1"), ("material", "RESIN")): [["L-1"]],
    }  # fmt: skip
    for params, numbers in found.items():
        listed = await pages(api, **dict(params))
        assert [sorted(page) for page in listed] == [sorted(page) for page in numbers], params
    assert await pages(api, f"plant:{SOUTH}") == [["L-1"]]
    _, mine = await asked(api, "lots", f"plant:{NORTH}", lot_no="L-1")
    assert [(each["id"], each["site"]) for each in mine["lots"]] == [(lot, NORTH)]
    assert mine["lots"][0]["on_hand"] == [{"site": NORTH, "uom": "pcs", "qty": 3}]


async def test_pages_hold_every_lot_once_whatever_their_size(world, api):
    await Plant(world, SOUTH).lots(*(f"S{n}" for n in range(4)))
    await Plant(world).lots(*(f"N{n}" for n in range(5)))
    whole = sorted([f"S{n}" for n in range(4)] + [f"N{n}" for n in range(5)])
    for limit in (1, 2, 3, 9, 10):
        found = await pages(api, limit=limit)
        assert sorted(each for page in found for each in page) == whole
        assert all(len(page) <= limit for page in found)
        assert len(found) == -(-9 // limit)


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "", "AAAA", "YXxifGM=", "fHw=", "_" * 201,
        "U0lURV8wMDF8MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMHwwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDA=",
    ],
)  # fmt: skip
async def test_a_cursor_that_no_page_ended_with_is_refused(api, cursor):
    status, problem = await asked(api, "lots", cursor=cursor)
    assert (status, problem["errors"][0]["field"]) == (422, "query.cursor")


async def test_a_made_up_cursor_shows_no_lot_of_another_site(world, api):
    await Plant(world, SOUTH).lots("S1", "S2")
    _, page = await asked(api, "lots", limit=1)
    status, found = await asked(api, "lots", f"plant:{NORTH}", cursor=page["next"])
    assert (status, found["lots"]) == (200, [])


async def test_a_list_that_is_cut_says_so_in_every_line(world, api):
    await Plant(world).lots("=A1", "L2", "L3")
    async with await api.asked_by("corporate") as client:
        answer = await client.get("/v1/reports/lots?limit=2&format=csv")
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert {each["truncated"] for each in lines} == {"yes"}
        assert answer.headers["X-Truncated"] == "true"
        following = answer.headers["Link"].partition(">")[0].lstrip("<")
        rest = list(csv.DictReader(io.StringIO((await client.get(following)).text)))
    assert {each["lot_no"] for each in lines + rest} == {"'=A1", "L2", "L3"}
    assert {each["truncated"] for each in rest} == {"no"}


async def test_tables_that_were_there_before_get_the_paths_that_reports_take(world):
    made = "SELECT indexname FROM pg_indexes WHERE schemaname = 'mes' AND tablename = %s"
    (step,) = Path(central.__file__).parent.glob("migrations/*_paths_of_quality.sql")
    paths = {
        "lot_genealogy": "void_of", "measurements": "characteristic_id",
        "inspection_results": "corrects_id",
    }  # fmt: skip
    for table, column in paths.items():
        assert column in schema.INDEXES[table]
        await world.admin.execute(f"DROP INDEX mes.{table}_by_{column}")
    for _ in range(2):  # a second time it changes nothing
        await world.admin.execute(step.read_bytes())
        for table, column in paths.items():
            assert (f"{table}_by_{column}",) in await world.rows(made, table)


@pytest.mark.parametrize(
    ("accepted", "answered"),
    [
        ("application/vnd.apache.parquet", (406, "application/problem+json")),
        ("text/csv;q=0.1, application/json", (200, "application/json")),
        ("application/json;q=0.1, text/csv", (200, "text/csv")),
        ("text/csv;q=0", (406, "application/problem+json")),
        ("text/html, */*;q=0.8", (200, "application/json")),
        ("", (200, "application/json")),
    ],
)
async def test_lots_come_in_the_form_that_is_liked_best_or_are_refused(api, accepted, answered):
    async with await api.asked_by("corporate") as client:
        answer = await client.get("/v1/reports/lots", headers={"Accept": accepted})
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == answered

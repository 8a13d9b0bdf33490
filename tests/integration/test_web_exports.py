"""The page of exports: asked for, watched, taken along and deleted by whom they belong to alone."""

from __future__ import annotations

import json
import random
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

import pytest

from central.exports import UNDONE_MAX
from central.reports.named import REPORTS
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.test_api_exports import exporter, written
from tests.integration.test_reports import plant
from tests.integration.test_web_pages import signed_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from central.exporting import Exporter
    from tests.integration.api_world import Api

__all__ = ["api", "exporter", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DAYS = {"from": "2026-01-01", "to": "2026-12-01"}


@asynccontextmanager
async def browses(api: Api, exporter: Exporter, *grants: str) -> AsyncIterator[httpx.AsyncClient]:
    reach = replace(api.reach, export_dir=exporter.folder)
    async with signed_in(replace(api, reach=reach), *grants) as browser:
        yield browser


async def sent(browser: httpx.AsyncClient, path: str = "/exports", **fields) -> httpx.Response:
    """Send a form of the page as it was shown just now."""
    shown = (await browser.get("/exports")).text
    (token, *_) = re.findall(r'name="form_token" value="([^"]+)"', shown)
    return await browser.post(path, data={"form_token": token, **fields})


def ids(page: httpx.Response) -> list[str]:
    return re.findall(r'data-export="([^"]+)"', page.text)


async def test_an_export_is_asked_for_watched_taken_along_and_deleted(world, api, exporter, seed):
    await plant(world, world.site(), random.Random(seed), 12)
    async with browses(api, exporter, "corporate") as browser:
        assert "None is kept" in (await browser.get("/exports")).text
        told = await sent(browser, report="log", format="csv", site="SITE_001", **DAYS)
        assert (told.status_code, told.headers["location"]) == (303, "/exports"), told.text
        waiting = await browser.get("/exports")
        assert "waiting" in waiting.text
        assert 'hx-trigger="every 2s"' in waiting.text
        assert await written(exporter)
        done = await browser.get("/exports")
        assert 'hx-trigger="every 2s"' not in done.text  # nothing will be another one soon
        (address,) = re.findall(r'href="(/v1/exports/[^"]+/file)"', done.text)
        file = await browser.get(address)
        assert len(file.text.splitlines()) == 13
        (kept,) = ids(done)
        assert (await sent(browser, f"/exports/{kept}/delete")).status_code == 303
        assert ids(await browser.get("/exports")) == []
        assert (await browser.get(address)).status_code == 404
    assert list(exporter.folder.glob("*")) == []


async def test_what_a_page_shows_in_part_is_exported_as_it_was_asked_there(world, api, exporter):
    await plant(world, world.site(), random.Random(1), 3)
    async with browses(api, exporter, "corporate") as browser:
        there = "/exports?report=output&from=2026-01-01&to=2026-12-01&group_by=machine,person"
        shown = (await browser.get(there)).text
        (more,) = re.findall(r'name="more" value="([^"]+)"', shown)
        assert json.loads(unescape(more)) == {"group_by": ["machine,person"]}
        assert '<option value="output" selected>' in shown
        await sent(browser, report="output", format="csv", more=unescape(more), **DAYS)
        assert await written(exporter)
        (kept,) = ids(await browser.get("/exports"))
        lines = (await browser.get(f"/v1/exports/{kept}/file")).text.splitlines()
        assert lines[0].startswith("machine,person,")


@pytest.mark.parametrize("report", REPORTS)
async def test_every_report_that_is_offered_can_be_exported(api, exporter, report):
    async with browses(api, exporter, "corporate") as browser:
        told = await sent(browser, report=report, format="csv", **DAYS)
        assert told.status_code == 303, told.text
        assert await written(exporter)
        assert "done</span>" in (await browser.get("/exports")).text


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"report": "secrets"}, "report"),
        ({"report": "output", "format": "xlsx"}, "format"),
        ({"report": "output", "more": '{"group_by": ["nothing"]}'}, "group_by"),
        ({"report": "output", "more": '{"limit": ["1"]}'}, "limit"),
        ({"report": "output", "more": "[1]"}, "more"),
        ({"report": "output", "from": "2026-12-01", "to": "2026-01-01"}, "to"),
    ],
)
async def test_what_can_not_be_exported_is_said_in_the_page(api, exporter, fields, rule):
    async with browses(api, exporter, "corporate") as browser:
        told = await sent(browser, **{"format": "csv", **DAYS, **fields})
        assert told.status_code == 422
        assert rule in re.findall(r'class="said failed" role="alert">([^<]+)<', told.text)[0]
        assert ids(await browser.get("/exports")) == []


async def test_too_many_are_refused_in_the_page(api, exporter):
    async with browses(api, exporter, "corporate") as browser:
        for _ in range(UNDONE_MAX):
            assert (await sent(browser, report="log", format="csv")).status_code == 303
        told = await sent(browser, report="log", format="csv")
        assert told.status_code == 409
        assert "delete some" in told.text
        assert len(ids(told)) == UNDONE_MAX


async def test_nobody_sees_or_deletes_the_export_of_somebody_else(api, exporter):
    async with browses(api, exporter, "corporate") as owner:
        await sent(owner, report="log", format="csv")
        (kept,) = ids(await owner.get("/exports"))
        async with browses(api, exporter, "corporate") as other:
            assert ids(await other.get("/exports")) == []
            assert (await sent(other, f"/exports/{kept}/delete")).status_code == 404
        assert ids(await owner.get("/exports")) == [kept]


async def test_what_is_no_id_of_an_export_is_told_and_not_asked_after(api, exporter):
    async with browses(api, exporter, "corporate") as browser:
        assert (await sent(browser, "/exports/none/delete")).status_code == 422


async def test_an_export_of_a_site_of_others_is_not_asked_for(api, exporter):
    async with browses(api, exporter, "plant:SITE_001") as browser:
        told = await sent(browser, report="log", format="csv", site="SITE_002")
        assert told.status_code == 403
        assert ids(await browser.get("/exports")) == []


async def test_a_form_of_another_page_asks_for_nothing(api, exporter):
    async with browses(api, exporter, "corporate") as browser:
        forged = {"form_token": "x" * 43, "report": "log", "format": "csv"}
        assert (await browser.post("/exports", data=forged)).status_code == 400
        assert ids(await browser.get("/exports")) == []


async def test_a_centre_without_a_folder_says_that_it_writes_none(api):
    async with signed_in(api, "corporate") as browser:
        shown = await browser.get("/exports")
    assert "MES_EXPORT_DIR" in shown.text
    assert "<form class" not in shown.text

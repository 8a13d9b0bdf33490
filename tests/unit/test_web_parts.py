"""Parts of the dashboard without a server: files of others, columns, addresses, what is told."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.datastructures import QueryParams

from central.access import NotYourSite
from central.api.live import OF_ONE_MAX, Live, TooManyStreams
from central.reports.dimensions import DIMENSIONS
from central.reports.kpis import KPIS
from central.reports.kpis_of_orders import MEASURES_OF_ORDERS, MEASURES_OF_TIMES, MEASURES_OF_WIP
from central.reports.named import REPORTS
from central.reports.question import BadQuestion
from central.web.asked import asked_of
from central.web.boards import BOARDS
from central.web.columns import column
from central.web.fleet import OF_SITE
from central.web.leading import inner
from central.web.rendering import MENU, figure, per_cent, templates

if TYPE_CHECKING:
    from collections.abc import Collection

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "central/web/static/vendor", ROOT / "tests/browser/vendor"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parts[-3])
def test_every_file_of_others_is_the_one_that_the_manifest_names(folder):
    packages = tomllib.loads((folder / "manifest.toml").read_text())
    named: dict[str, str] = {}
    for package in packages.values():
        assert package["version"]
        assert package["licence"]
        assert any("LICENSE" in name for name in package["files"])
        named |= package["files"]
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "manifest.toml"
    }
    assert found == named


def test_charts_are_put_together_of_the_versions_that_the_manifest_names():
    locked = json.loads((ROOT / "deploy/charts/package-lock.json").read_text())["packages"]
    named = tomllib.loads((FOLDERS[0] / "manifest.toml").read_text())
    for name in ("echarts", "zrender", "tslib"):
        assert locked[f"node_modules/{name}"]["version"] == named[name]["version"]
    # Who builds it takes packages from where they are used to, and the bytes are checked.
    for name, each in locked.items():
        assert "resolved" not in each, name
        assert not name or each["integrity"].startswith("sha512-"), name


def test_a_wheel_brings_all_that_a_page_is_made_of():
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    kept = {
        path
        for pattern in given["package-data"]["central"]
        for path in (ROOT / "central").glob(pattern)
    }
    pages = {path for path in (ROOT / "central/web").rglob("*") if path.is_file()}
    made = {path for path in pages if path.suffix not in (".py", ".pyc")}
    assert made
    assert made <= kept


def test_every_template_can_be_read():
    env = templates()
    assert len(env.list_templates()) >= 9
    for name in env.list_templates():
        env.get_template(name)


def test_every_page_of_the_menu_has_questions_that_there_are():
    assert {board.path for board in BOARDS} <= {path for path, _ in MENU}
    for panel in [panel for board in BOARDS for panel in board.panels] + list(OF_SITE):
        assert panel.report in REPORTS, panel.name
        assert panel.drawn == "table" or panel.drawn_of, panel.name


def test_a_column_is_told_in_the_words_of_its_definition():
    for name, kpi in KPIS.items():
        shown = column(name)
        assert (shown.about, shown.formula, shown.source) == (kpi.about, kpi.formula, kpi.source)
    for name, measure in (MEASURES_OF_TIMES | MEASURES_OF_WIP).items():
        assert (column(name).about, column(name).unit) == (measure.about, measure.unit)
    assert not [name for name in (*DIMENSIONS, "due_at", "finished_at") if column(name).is_number]
    assert column("qty_ordered").about == MEASURES_OF_ORDERS["qty_ordered"].about


def test_numbers_are_shown_as_people_read_them():
    assert figure(None) == figure(None, "ratio") == per_cent(None)
    assert figure(1234567) == "1\u202f234\u202f567"
    assert figure(1234.5) == "1\u202f234.5"
    assert figure(0.8442, "ratio") == "84.4\u202f%"
    assert figure(0) == "0"


# --- what a page is asked for ---------------------------------------------------------------------


def today(sites: Collection[str]) -> date:
    """It is the next day already at C."""
    return date(2026, 11, 28 if "C" in sites else 27)


def test_an_address_without_days_is_about_the_last_two_weeks():
    asked = asked_of(QueryParams(""), ("A", "B"), today)
    assert (asked.start, asked.end, asked.sites) == ("2026-11-14", "2026-11-28", ("A", "B"))


def test_the_last_day_is_the_latest_of_the_sites_that_it_is_about():
    reached = ("A", "B", "C")
    assert asked_of(QueryParams(""), reached, today).end == "2026-11-29"
    assert asked_of(QueryParams("site=A"), reached, today).end == "2026-11-28"


def test_an_address_narrows_to_sites_and_never_widens():
    asked = asked_of(
        QueryParams("site=B&site=&group_by=site&other=1"), ("A", "B"), today, ["group_by"]
    )
    assert asked.sites == ("B",)
    assert asked.given == {"group_by": "site"}
    with pytest.raises(NotYourSite):
        asked_of(QueryParams("site=C"), ("A", "B"), today)


@pytest.mark.parametrize("query", ["from=x", "to=2026-13-01", "from=2026-11-01T00:00:00Z"])
def test_what_is_no_day_is_refused(query):
    with pytest.raises(BadQuestion):
        asked_of(QueryParams(query), ("A",), today)


@pytest.mark.parametrize(
    ("address", "goes"),
    [
        ("/output?from=2026-11-01", "/output?from=2026-11-01"),
        ("//evil", "/"),
        ("/\\evil", "/"),
        ("http://evil/", "/"),
        ("evil", "/"),
        ("", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
    ],
)
def test_a_sign_in_goes_on_at_a_path_of_ours(address, goes):
    assert inner(address) == goes


# --- what is told live ----------------------------------------------------------------------------


def events(text: str) -> dict[str, int]:
    return json.loads(text.partition("data: ")[2])


async def test_a_stream_tells_of_the_sites_that_somebody_reaches_and_of_no_other():
    live = Live({"A": 1, "B": 5})

    async def reached() -> tuple[str, ...]:
        return ("A",)

    told = live.told("key a", reached)
    assert (await anext(told)).startswith("retry: ")
    assert events(await anext(told)) == {"A": 1}
    live.revisions = {"A": 1, "B": 6}
    live._ring()
    waiting = asyncio.create_task(anext(told))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    live.revisions = {"A": 2, "B": 6}
    live._ring()
    assert events(await waiting) == {"A": 2}
    live.end()
    with pytest.raises(StopAsyncIteration):
        await anext(told)
    assert not live._bells


async def test_a_stream_ends_when_who_listens_may_no_more(monkeypatch):
    monkeypatch.setattr("central.api.live.BEAT_S", 0.01)
    live, may = Live({"A": 1}), [("A",), None]

    async def reached():
        return may.pop(0)

    found = [each async for each in live.told("key a", reached)]
    assert found[-1] == ": alive\n\n"
    assert not live._bells


async def test_nobody_opens_streams_without_end():
    live = Live({"A": 1})

    async def reached() -> tuple[str, ...]:
        return ("A",)

    streams = [live.told("key a", reached) for _ in range(OF_ONE_MAX)]
    for each in streams:
        live.check_room("key a")
        await anext(each)
    with pytest.raises(TooManyStreams):
        live.check_room("key a")
    live.check_room("key b")
    for each in streams:
        await each.aclose()
    live.check_room("key a")

"""What is told of months in the archive by answers that are made of single reports."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from central.exporting import Exporter
from central.reports.named import question_of
from central.roles import API, INGEST, as_role
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world
from tests.integration.archive_world import MACHINES, OLD, Archive, attach, old
from tests.integration.planner_world import made_order
from tests.integration.rollup_world import folds
from tests.integration.test_reports_oee import rated
from tests.integration.test_web_pages import signed_in
from tests.integration.union_world import as_ingest, mends

if TYPE_CHECKING:
    import httpx

__all__ = ["api", "link", "old", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

FEBRUARY = {"from": "2024-02-01", "to": "2024-03-01"}
MARCH = {"from": "2024-03-03", "to": "2024-04-01"}


async def told(client: httpx.AsyncClient, report: str, **asked: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/reports/{report}", params=FEBRUARY | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def archived(old: Archive) -> Archive:
    """Forty reports of an old month are in the archive, and three of the next are here."""
    here = [old.site.report(ended_at=f"2024-03-09T1{n}:00:00.000Z") for n in range(3)]
    await old.sends(*here, day="2024-03-09")
    await folds(old.world)
    await old.goes(OLD)
    return old


async def test_a_list_tells_how_many_months_of_its_window_it_lacks(archived, api):
    async with await api.asked_by("admin") as client:
        found = await told(client, "log")
        assert (found["rows"], found["archived_not_counted"]) == ([], 1)
        assert (await told(client, "log", **MARCH))["archived_not_counted"] == 0
        ever = await client.get("/v1/reports/log")
        assert (len(ever.json()["rows"]), ever.json()["archived_not_counted"]) == (3, 1)


async def test_sums_count_what_is_in_the_archive_and_lack_nothing(archived, api):
    async with await api.asked_by("admin") as client:
        found = await told(client, "output", measures="reports")
    assert (found["rows"], found["archived_not_counted"]) == ([{"reports": 40}], 0)


async def test_an_order_ended_with_its_last_report_wherever_that_is(old, api):
    async with await api.asked_by("admin") as client:
        due = "2024-02-20T12:00:00Z"
        order = await made_order(client, order_no="A", due_at=due, exec_state="COMPLETED")
        reports = [
            old.site.report(
                id=str(uuid.UUID(int=day)), work_order_id=order["id"], qty_good="1",
                started_at=f"2024-02-{day}T08:00:00.000Z", ended_at=f"2024-02-{day}T12:00:00.000Z",
            )
            for day in (19, 21)
        ]  # fmt: skip
        await old.sends(*reports)

        async def due_and_late() -> tuple[int, int, int]:
            found = await told(client, "on-time")
            (row,) = found["rows"]
            return row["orders_due"], row["orders_late"], found["archived_not_counted"]

        assert await due_and_late() == (1, 1, 0)  # nothing is folded yet
        await folds(old.world)
        assert await due_and_late() == (1, 1, 0)
        gone = reports[1]["id"]
        await as_ingest(old.world, "DELETE FROM mes.job_responses WHERE id = %s", gone)
        assert await due_and_late() == (1, 0, 0)  # by the facts, since what is kept does not say
        await folds(old.world)
        await mends(old.world)
        assert await due_and_late() == (1, 0, 0)
        await old.goes(OLD)
        assert await due_and_late() == (1, 0, 0)


async def test_minutes_that_are_cut_are_of_reports_that_are_here(archived, api):
    async with await api.asked_by("admin") as client:
        found = await told(client, "output", time_basis="clip", bucket="hour")
    assert found["archived_not_counted"] == 1


async def test_it_is_told_of_sites_that_are_asked_for_alone(archived, api):
    async with await api.asked_by("admin") as client:
        assert (await told(client, "log", site="SITE_002"))["archived_not_counted"] == 0
        assert (await told(client, "log", site="SITE_001"))["archived_not_counted"] == 1
    async with await api.asked_by("plant:SITE_002") as client:
        assert (await told(client, "log"))["archived_not_counted"] == 0


async def test_a_month_that_was_brought_back_is_not_lacking(archived, api):
    await attach(archived.bench, OLD)
    async with await api.asked_by("admin") as client:
        found = await told(client, "log")
    assert (len(found["rows"]), found["archived_not_counted"]) == (40, 0)


async def test_csv_and_whole_answers_tell_it_beside_themselves(archived, api):
    async with await api.asked_by("admin") as client:
        for more in ({}, {"whole": "true"}):
            asked = FEBRUARY | {"format": "csv"} | more
            answer = await client.get("/v1/reports/log", params=asked)
            assert answer.headers["x-archived-not-counted"] == "1"


async def test_an_export_tells_it_once_it_is_written(archived, api, tmp_path):
    url = archived.world.url
    folder = tmp_path / "exports"
    exporter = Exporter(as_role(url, INGEST), as_role(url, API), folder, question_of)
    reach = replace(api.reach, export_dir=folder)
    async with await Api(api.world, reach).asked_by("admin") as client:
        ordered = {"report": "log", "query": FEBRUARY, "format": "csv"}
        made = (await client.post("/v1/exports", json=ordered)).json()
        assert made["archived_not_counted"] is None
        assert await asyncio.to_thread(exporter.write_one)
        found = (await client.get(f"/v1/exports/{made['id']}")).json()
    assert (found["state"], found["archived_not_counted"]) == ("done", 1)


async def test_a_page_says_it_where_a_rate_changed_within_a_day_of_the_archive(archived, api):
    async with signed_in(api, "corporate") as browser:
        page = await browser.get("/oee", params=FEBRUARY)
        assert "not counted" not in page.text
        await rated(archived.world, 60, MACHINES[0], since="2024-02-10T12:00Z")
        page = await browser.get("/oee", params=FEBRUARY)
        assert "1 archived month not counted" in page.text
        page = await browser.get("/oee", params=MARCH)
        assert "not counted" not in page.text

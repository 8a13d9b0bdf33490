"""Whole answers: the rows of all pages in one stream, in every form, of the asker's sites alone."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import random
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet
from starlette.requests import ClientDisconnect

from central.api.streams import AT_ONCE_MAX, OF_ONE_MAX
from central.reports import whole
from central.reports.log import log_statement
from central.reports.paging import Statement
from central.reports.question import Question
from central.web.app import build
from tests.integration.api_world import api, asking, link, nothing_more
from tests.integration.apply_world import world
from tests.integration.test_reports import plant

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

LOG = "/v1/reports/log"
OUTPUT = "/v1/reports/output?group_by=site,machine&measures=qty_good,scrap_ratio"
#: Texts that a form could take for something else.
TEXTS = ("=1+1", "a,b", 'say "x"', "two\nlines", "back\\slash \\N", "Zähler", "\x01\x02", "")


async def ask(client: httpx.AsyncClient, path: str, **more: Any) -> httpx.Response:
    return await client.get(httpx.URL(path).copy_merge_params(more))


async def pages(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        told = await ask(client, path, limit=7, **({"cursor": cursor} if cursor else {}))
        assert told.status_code == 200, told.text
        rows += told.json()["rows"]
        cursor = told.json()["next"]
    return rows


async def stream(client: httpx.AsyncClient, path: str, form: str) -> bytes:
    told = await ask(client, path, format=form, whole="true")
    assert told.status_code == 200, told.text
    assert told.headers["content-disposition"].endswith(f'.{form}"')
    assert told.headers["x-data-as-of"]
    return told.content


def of_arrow(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows with values as JSON has them."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            moment = value.astimezone(UTC).replace(tzinfo=None)
            return f"{moment.isoformat(timespec='milliseconds')}Z"
        return value

    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


@pytest.mark.parametrize("path", [LOG, OUTPUT])
async def test_every_form_holds_the_rows_of_all_pages_in_their_order(world, api, seed, path):
    await plant(world, world.site(), random.Random(seed), 40)
    site = world.site("SITE_002")
    await site.writes(
        site.insert(
            "job_responses",
            *(
                site.report(segment_code=text.replace("\x01\x02", "x"), notes=text)
                for text in TEXTS
            ),
        )
    )
    async with await api.asked_by("corporate") as client:
        rows = await pages(client, path)
        assert len(rows) > 2
        lines = (await stream(client, path, "ndjson")).decode().splitlines()
        assert [json.loads(line) for line in lines] == rows
        arrow = pa.ipc.open_stream(await stream(client, path, "arrow")).read_all()
        assert of_arrow(arrow) == rows
        table = parquet.read_table(io.BytesIO(await stream(client, path, "parquet")))
        assert of_arrow(table) == rows
        paged = await ask(client, path, format="csv", limit=1000)
        at_once = (await stream(client, path, "csv")).decode()
        assert list(csv.reader(io.StringIO(at_once))) == list(csv.reader(io.StringIO(paged.text)))


async def test_a_whole_log_in_no_order_has_all_the_rows_and_a_page_has_one(world, api, seed):
    await plant(world, world.site(), random.Random(seed), 40)
    async with await api.asked_by("corporate") as client:
        rows = await pages(client, LOG)
        lines = (await stream(client, f"{LOG}?sort=none", "ndjson")).decode().splitlines()
        assert sorted(map(json.loads, lines), key=lambda row: row["id"]) == sorted(
            rows, key=lambda row: row["id"]
        )
        refused = await ask(client, LOG, sort="none")
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "query.sort"


async def test_an_answer_without_rows_has_its_columns_in_every_form(api):
    async with await api.asked_by("corporate") as client:
        columns = (await client.get(LOG)).json()["columns"]
        assert (await stream(client, LOG, "csv")).decode().strip().split(",") == columns
        assert await stream(client, LOG, "ndjson") == b""
        assert pa.ipc.open_stream(await stream(client, LOG, "arrow")).schema.names == columns
        table = parquet.read_table(io.BytesIO(await stream(client, LOG, "parquet")))
        assert (table.num_rows, table.schema.names) == (0, columns)


async def test_a_whole_answer_holds_nothing_of_a_site_that_its_asker_does_not_reach(world, api):
    for name in ("SITE_001", "SITE_002"):
        site = world.site(name)
        await site.writes(site.insert("job_responses", site.report()))
    async with await api.asked_by("plant:SITE_002") as client:
        lines = (await stream(client, LOG, "ndjson")).decode().splitlines()
        assert [json.loads(line)["site"] for line in lines] == ["SITE_002"]
        told = await client.get(LOG, params={"format": "arrow", "site": "SITE_001"})
        assert pa.ipc.open_stream(told.content).read_all().num_rows == 0


async def test_json_comes_in_pages_only(api):
    async with await api.asked_by("corporate") as client:
        told = await client.get(LOG, params={"whole": "true"})
        assert told.status_code == 422
        assert told.json()["errors"][0]["field"] == "query.whole"


async def test_blocks_are_of_whole_rows_and_no_more_is_held(world, api, seed, monkeypatch):
    monkeypatch.setattr(whole, "_BLOCK", 600)
    monkeypatch.setattr(whole, "_BATCH", 600)
    await plant(world, world.site(), random.Random(seed), 40)
    question = Question(sites=("SITE_001",), measures=(), limit=None)

    def blocks(form: whole.Form) -> list[bytes]:
        begun = whole.Whole.begun(api.reach.reading_url, question, log_statement)
        return list(begun.blocks(form))

    texts = await asyncio.to_thread(blocks, whole.Form.CSV)
    assert len(texts) > 10
    assert all(text.endswith(b"\n") and len(text) < 900 for text in texts)
    arrow = await asyncio.to_thread(blocks, whole.Form.ARROW)
    assert len(arrow) > 10
    async with await api.asked_by("corporate") as client:
        rows = await pages(client, LOG)
    assert of_arrow(pa.ipc.open_stream(b"".join(arrow)).read_all()) == rows


async def test_an_answer_that_fails_on_its_way_does_not_end_as_if_it_were_whole(api):
    def failing(_: Question) -> Statement:
        made = Statement(columns=("a",))
        numbers = "SELECT 1 / (50000 - g) AS a FROM generate_series(1, 100000) AS g"
        return made.page(numbers, after=(), limit=None, is_sorted=False)

    question = Question(sites=("SITE_001",), measures=(), limit=None)

    def take() -> None:
        begun = whole.Whole.begun(api.reach.reading_url, question, failing)
        assert [*begun.blocks(whole.Form.CSV)] == "no end"

    with pytest.raises(psycopg.errors.DivisionByZero):
        await asyncio.to_thread(take)


async def test_a_reader_who_goes_before_the_first_block_makes_room(world, api):
    site = world.site()
    await site.writes(site.insert("job_responses", site.report()))
    key, app = await api.key("corporate"), build(api.reach)

    async def cut(message: Any) -> None:
        raise OSError("the line is cut")

    for _ in range(AT_ONCE_MAX + 1):
        with contextlib.suppress(OSError, ClientDisconnect):
            await app(asking(LOG, "format=csv&whole=true", key), nothing_more, cut)
    transport, shown = httpx.ASGITransport(app=app), {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://centre") as client:
        told = await client.get(LOG, params={"format": "csv", "whole": "true"}, headers=shown)
        assert told.status_code == 200, told.text


async def test_too_many_at_once_are_told_to_come_again_and_others_have_their_place_then(
    world, api, monkeypatch
):
    site = world.site()
    await site.writes(site.insert("job_responses", *(site.report() for _ in range(50))))
    held, begun = asyncio.Event(), whole.Whole.blocks
    all_read, loop, at_work = asyncio.Event(), asyncio.get_running_loop(), []

    def slow(self: whole.Whole, form: whole.Form) -> Any:
        at_work.append(self)
        if len(at_work) == AT_ONCE_MAX:
            loop.call_soon_threadsafe(all_read.set)
        for block in begun(self, form):
            yield block
            while not held.is_set():
                yield b""

    monkeypatch.setattr(whole.Whole, "blocks", slow)
    app = build(api.reach)
    asked = {"format": "csv", "whole": "true"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://centre") as client:
        keys = [await api.key("corporate") for _ in range(AT_ONCE_MAX // OF_ONE_MAX + 1)]
        *taking, other = [{"Authorization": f"Bearer {key}"} for key in keys]
        reading = [
            asyncio.create_task(client.get(LOG, params=asked, headers=headers))
            for headers in taking
            for _ in range(OF_ONE_MAX)
        ]
        await asyncio.wait_for(all_read.wait(), 60)
        for headers in (other, taking[0]):
            refused = await client.get(LOG, params=asked, headers=headers)
            assert refused.status_code == 503
            assert refused.json()["type"] == "/problems/too-many-whole"
        held.set()
        assert {(await each).status_code for each in reading} == {200}
        assert (await client.get(LOG, params=asked, headers=other)).status_code == 200

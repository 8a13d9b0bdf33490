"""Exports: written while nobody waits, for who asked alone, and never half a file."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pyarrow import parquet

from central import exporting
from central.exporting import ALIVE_S, TRIES_MAX, Exporter
from central.exports import KEPT_MAX, UNDONE_MAX
from central.reports.named import REPORTS, question_of
from central.reports.question import ROWS_USUAL
from central.reports.whole import Whole
from central.roles import API, INGEST, as_role
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world
from tests.integration.test_reports import plant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

    import httpx

    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

EXPORTS = "/v1/exports"


@pytest.fixture
def exporter(world: World, tmp_path: Path) -> Exporter:
    folder = tmp_path / "exports"
    return Exporter(as_role(world.url, INGEST), as_role(world.url, API), folder, question_of)


@asynccontextmanager
async def asked_by(api: Api, exporter: Exporter, *grants: str) -> AsyncIterator[httpx.AsyncClient]:
    reach = replace(api.reach, export_dir=exporter.folder)
    async with await replace(api, reach=reach).asked_by(*grants) as client:
        yield client


async def asked(client: httpx.AsyncClient, report: str = "log", **more: Any) -> str:
    """Ask for an export, and return where it is."""
    told = await client.post(EXPORTS, json={"report": report, **more})
    assert told.status_code == 202, told.text
    assert told.headers["location"] == f"{EXPORTS}/{told.json()['id']}"
    return told.headers["location"]


async def written(exporter: Exporter) -> bool:
    return await asyncio.to_thread(exporter.write_one)


async def state(client: httpx.AsyncClient, where: str) -> tuple[str, str]:
    told = (await client.get(where)).json()
    return told["state"], told["why"]


def files(exporter: Exporter) -> list[str]:
    return sorted(each.name for each in exporter.folder.glob("*"))


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_the_file_is_what_the_whole_answer_would_have_been(world, api, exporter, seed, form):
    await plant(world, world.site(), random.Random(seed), 40)
    async with asked_by(api, exporter, "corporate") as client:
        query = {"report_type": ["PRODUCTION", "SETUP"], "group_by": ""}
        where = await asked(client, query=query, format=form)
        assert await state(client, where) == ("waiting", "")
        assert await written(exporter)
        told = (await client.get(where)).json()
        whole = await client.get(
            "/v1/reports/log", params={**query, "format": form, "whole": "true"}
        )
        file = await client.get(told["file"])
        assert file.content == whole.content
        rows = len(whole.text.splitlines()) - (form == "csv")
        assert (told["state"], told["progress"], told["rows_expected"]) == ("done", 1.0, rows)
        assert (told["rows"], told["bytes"]) == (rows, len(file.content))
        assert told["sha256"] == hashlib.sha256(file.content).hexdigest()
        assert told["complete_through"].keys() == {"SITE_001", "SITE_002", "SITE_003"}
        assert file.headers["content-disposition"].endswith(f'.{form}"')
        part = await client.get(told["file"], headers={"range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, file.content[5:10])
        assert not await written(exporter)


async def test_it_has_all_rows_and_not_a_page_of_them(world, api, exporter):
    site = world.site()
    many = [site.report() for _ in range(ROWS_USUAL + 2)]  # a page is read with one row more
    await site.writes(site.insert("job_responses", *many))
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client, format="ndjson")
        await written(exporter)
        assert (await client.get(where)).json()["rows"] == len(many)
        assert len((await client.get(f"{where}/file")).text.splitlines()) == len(many)


@pytest.mark.parametrize("report", REPORTS)
async def test_every_report_can_be_exported(world, api, exporter, seed, report):
    await plant(world, world.site(), random.Random(seed), 20)
    async with asked_by(api, exporter, "corporate") as client:
        query = {"from": "2026-11-01", "to": "2026-12-01"}
        where = await asked(client, report, query=query, format="parquet")
        await written(exporter)
        told = (await client.get(where)).json()
        assert (told["state"], told["why"]) == ("done", "")
        table = parquet.read_table(io.BytesIO((await client.get(told["file"])).content))
        paged = (await client.get(f"/v1/reports/{report}", params=query)).json()
        assert table.schema.names == paged["columns"]
        assert table.num_rows == told["rows"] == len(paged["rows"])


async def test_it_holds_the_sites_of_who_asked_and_is_theirs_alone(world, api, exporter):
    for name in ("SITE_001", "SITE_002"):
        site = world.site(name)
        await site.writes(site.insert("job_responses", site.report()))
    async with (
        asked_by(api, exporter, "plant:SITE_001", "plant:SITE_002") as analyst,
        asked_by(api, exporter, "admin") as admin,
    ):
        told = await analyst.post(
            EXPORTS, json={"report": "log", "format": "ndjson"}, headers={"X-Site-Id": "SITE_002"}
        )
        where = told.headers["location"]
        await written(exporter)
        lines = (await analyst.get(f"{where}/file")).text.splitlines()
        assert [json.loads(line)["site"] for line in lines] == ["SITE_002"]
        narrowed = {"X-Site-Id": "SITE_001"}
        assert (await analyst.get(where, headers=narrowed)).status_code == 403
        assert (await analyst.get(f"{where}/file", headers=narrowed)).status_code == 403
        assert (await analyst.get(EXPORTS, headers=narrowed)).json()["exports"] == []
        for other in (await admin.get(where), await admin.get(f"{where}/file")):
            assert other.status_code == 404
        assert (await admin.delete(where)).status_code == 404
        assert (await admin.get(EXPORTS)).json()["exports"] == []
        assert len((await analyst.get(EXPORTS)).json()["exports"]) == 1
    log = await api.audited()
    assert any(action == "GET /v1/exports/{export_id}/file" and sites == ["SITE_002"]
               for _, action, _, sites, status, _ in log if status == 200)  # fmt: skip


async def test_what_is_deleted_is_gone_with_its_file(api, exporter):
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        await written(exporter)
        assert files(exporter) == [f"{where.rsplit('/', 1)[1]}.csv"]
        assert (await client.delete(where)).status_code == 204
        assert files(exporter) == []
        assert (await client.get(where)).status_code == 404
        assert (await client.delete(where)).status_code == 404


class Slow:
    """Rows that come only when they are let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.wanted_more = False
        blocks = Whole.blocks

        def slow(whole: Whole, form: Any) -> Generator[bytes]:
            yield b"half"
            self.begun.set()
            assert self.go.wait(30)
            for block in blocks(whole, form):
                yield block
                self.wanted_more = True

        monkeypatch.setattr(Whole, "blocks", slow)
        monkeypatch.setattr(exporting, "BEAT_S", 0.05)


async def test_one_that_is_deleted_while_it_is_written_stops(api, exporter, monkeypatch):
    slow = Slow(monkeypatch)
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        writing = asyncio.create_task(written(exporter))
        await asyncio.to_thread(slow.begun.wait, 30)
        assert (await client.get(f"{where}/file")).status_code == 409
        assert (await client.delete(where)).status_code == 204
        await asyncio.sleep(0.3)
        slow.go.set()
        assert await writing
        assert not slow.wanted_more
        assert files(exporter) == []
        assert (await client.get(EXPORTS)).json()["exports"] == []


async def test_a_long_statement_is_cancelled_when_nobody_wants_it_any_more(
    api, exporter, monkeypatch
):
    monkeypatch.setattr(exporting, "BEAT_S", 0.05)
    counting = threading.Event()

    def count(whole: Whole) -> int:
        counting.set()
        whole.connection.execute("SELECT pg_sleep(60)")
        return 0

    monkeypatch.setattr(Whole, "count", count)
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        writing = asyncio.create_task(written(exporter))
        await asyncio.to_thread(counting.wait, 30)
        await client.delete(where)
        assert await asyncio.wait_for(writing, 20)


async def test_what_a_process_that_stops_has_half_written_waits_again(api, exporter, monkeypatch):
    slow = Slow(monkeypatch)
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        keeping = asyncio.create_task(exporter.keep_writing())
        await asyncio.to_thread(slow.begun.wait, 30)
        keeping.cancel()
        asyncio.get_running_loop().call_later(0.3, slow.go.set)
        await asyncio.gather(keeping, return_exceptions=True)
        assert (await state(client, where), files(exporter)) == (("waiting", ""), [])
        monkeypatch.undo()
        assert await written(replace(exporter, _stop=threading.Event()))
        assert await state(client, where) == ("done", "")


async def test_what_a_process_that_was_killed_has_begun_is_begun_anew_but_not_for_ever(
    world, api, exporter
):
    killed = "UPDATE sync.export SET state = 'running', alive_until = now() - interval '1 s'"
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        alive = f"now() + interval '{ALIVE_S} s'"
        await world.admin.execute(f"{killed}, alive_until = {alive}".replace(
            "alive_until = now() - interval '1 s', ", ""))  # fmt: skip
        assert not await written(exporter)  # whoever writes it is alive
        await world.admin.execute(killed)
        assert await written(exporter)
        assert await state(client, where) == ("done", "")
        await world.admin.execute(f"{killed}, tries = {TRIES_MAX}")
        assert await written(exporter)
        found, why = await state(client, where)
        assert (found, f"ended {TRIES_MAX} times" in why) == ("failed", True)


async def test_a_zombie_neither_finishes_nor_spoils_what_another_one_writes(
    world, api, exporter, monkeypatch
):
    slow = Slow(monkeypatch)
    monkeypatch.setattr(exporting, "BEAT_S", 60)
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        writing = asyncio.create_task(written(exporter))
        await asyncio.to_thread(slow.begun.wait, 30)
        await world.admin.execute("UPDATE sync.export SET alive_until = now() - interval '1 s'")
        monkeypatch.undo()
        assert await written(exporter)
        told = (await client.get(where)).json()
        slow.go.set()
        await writing
        file = (await client.get(f"{where}/file")).content
        assert hashlib.sha256(file).hexdigest() == told["sha256"]
        assert len(files(exporter)) == 1


async def test_so_many_wait_and_are_kept_at_most(world, api, exporter):
    async with asked_by(api, exporter, "corporate") as client:
        for _ in range(UNDONE_MAX):
            await asked(client)
        told = await client.post(EXPORTS, json={"report": "log"})
        assert (told.status_code, told.json()["type"]) == (429, "/problems/too-many-exports")
        assert told.headers["retry-after"] == "60"
        await world.admin.execute("UPDATE sync.export SET state = 'done'")
        await world.admin.execute(
            "INSERT INTO sync.export (who, sites, report, query, form, expires_at, state)"
            " SELECT who, sites, report, query, form, expires_at, 'done' FROM sync.export,"
            f" generate_series(2, {KEPT_MAX // UNDONE_MAX})"
        )
        assert (await client.post(EXPORTS, json={"report": "log"})).status_code == 429


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"report": "log", "query": {"cursor": "x"}}, "body.query.cursor"),
        ({"report": "log", "query": {"limit": "5"}}, "body.query.limit"),
        ({"report": "log", "query": {"from": "soon"}}, "body.query.from"),
        ({"report": "output", "query": {"measures": "luck"}}, "body.query.measures"),
        ({"report": "output", "query": {"nothing": "1"}}, "body.query.nothing"),
        ({"report": "gossip"}, "body.report"),
        ({"report": "log", "format": "json"}, "body.format"),
    ],
)
async def test_what_can_not_be_asked_is_refused_by_its_field_and_nothing_waits(
    api, exporter, body, field
):
    async with asked_by(api, exporter, "corporate") as client:
        told = await client.post(EXPORTS, json=body)
        assert told.status_code == 422
        assert [each["field"] for each in told.json()["errors"]] == [field]
        assert (await client.get(EXPORTS)).json()["exports"] == []


async def test_an_export_that_fails_says_why(api, exporter, monkeypatch):
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        exporter.folder.write_text("no folder")
        await written(exporter)
        found, why = await state(client, where)
        assert (found, "can't be written" in why) == ("failed", True)
        told = await client.get(f"{where}/file")
        assert (told.status_code, why in told.json()["detail"]) == (409, True)
        exporter.folder.unlink()
        monkeypatch.setattr(exporting, "FILE_MAX", 10)
        where = await asked(client)
        await written(exporter)
        assert "is larger than" in (await state(client, where))[1]
        monkeypatch.setattr(
            Whole, "count", lambda whole: whole.connection.execute("SET statement_timeout = 1;"
            " SELECT pg_sleep(5)"))  # fmt: skip
        where = await asked(client)
        await written(exporter)
        assert "it took longer than" in (await state(client, where))[1]
        assert files(exporter) == []


async def test_while_the_database_is_away_exports_wait(api, exporter):
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        away = replace(exporter, reading_url="postgresql://nobody@127.0.0.1:1/none")
        for _ in range(TRIES_MAX + 1):
            with pytest.raises(psycopg.OperationalError):
                await written(away)
            assert await state(client, where) == ("waiting", "")
        await written(exporter)
        assert await state(client, where) == ("done", "")


async def test_one_whose_progress_nobody_hears_of_has_not_taken_too_long(
    world, api, exporter, monkeypatch
):
    monkeypatch.setattr(exporting, "BEAT_S", 0.05)
    monkeypatch.setattr(
        Whole, "count", lambda whole: whole.connection.execute("SELECT pg_sleep(9)")
    )
    monkeypatch.setattr(exporting, "_TELL", "SELECT 1 / 0, %s, %s, %s, %s, %s, %s")
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        with pytest.raises(psycopg.OperationalError):  # it was cancelled, or saw it before it read
            await written(exporter)
        assert await state(client, where) == ("running", "")  # for a minute; then it is begun anew


async def test_what_is_past_its_time_goes_with_its_file_and_nothing_else(world, api, exporter):
    async with asked_by(api, exporter, "corporate") as client:
        old, new = await asked(client), await asked(client)
        assert await written(exporter)
        assert await written(exporter)
        for name in ("somebodys.csv", "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c02.1.part"):
            (exporter.folder / name).write_text("left over")
        await world.admin.execute(
            "UPDATE sync.export SET expires_at = now() WHERE id = %s", [old.rsplit("/", 1)[1]]
        )
        await asyncio.to_thread(exporter.sweep)
        assert (await client.get(old)).status_code == 404
        assert (await client.get(f"{new}/file")).status_code == 200
        assert files(exporter) == [f"{new.rsplit('/', 1)[1]}.csv", "somebodys.csv"]


async def test_one_that_is_asked_for_twice_under_one_name_is_one(api, exporter):
    async with asked_by(api, exporter, "corporate") as client:
        told = [
            await client.post(EXPORTS, json={"report": "log"}, headers={"Idempotency-Key": "a"})
            for _ in range(2)
        ]
        assert [each.status_code for each in told] == [202, 202]
        assert told[0].json() == told[1].json()
        assert len((await client.get(EXPORTS)).json()["exports"]) == 1


async def test_without_a_folder_it_is_said_how_to_set_one(api):
    async with await api.asked_by("corporate") as client:
        told = await client.post(EXPORTS, json={"report": "log"})
        assert (told.status_code, "MES_EXPORT_DIR" in told.json()["detail"]) == (501, True)

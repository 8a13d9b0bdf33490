"""The centre over HTTP: what it answers, to whom, and what a refused decision is told."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from central.api.app import Reach, build
from central.api.serve import is_loopback, listening, read_token, serve
from central.backups import Mark, set_mark
from central.roles import as_role
from central.settings import CentralSettings
from shared.errors import BadSetting
from sync.transport import Link, LinkSettings
from tests.integration.apply_world import world  # noqa: F401
from tests.integration.quarrel import quarrel, stands, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.apply_world import World

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

TOKEN = "a-token-of-more-than-16-characters"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def link(nats_url: str) -> AsyncIterator[Link]:
    async with Link(LinkSettings(servers=(nats_url,), name="api")) as opened:
        await opened.wait_connected(5)
        yield opened


@asynccontextmanager
async def api(
    world: World, link: Link, *, token: str = "", is_local: bool = True, url: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    pool = AsyncConnectionPool[psycopg.AsyncConnection](
        url or as_role(world.url, "mes_ingest"), min_size=0, max_size=2, open=False,
        reconnect_timeout=0.5,
    )  # fmt: skip
    async with pool:
        reach = Reach(pool=pool, catalog=world.catalog, link=link, token=token, is_local=is_local)
        transport = httpx.ASGITransport(app=build(reach))
        async with httpx.AsyncClient(transport=transport, base_url="http://centre") as client:
            yield client


@pytest.fixture
async def client(world: World, link: Link) -> AsyncIterator[httpx.AsyncClient]:
    async with api(world, link, token=TOKEN) as opened:
        opened.headers.update(SHOWN)
        yield opened


NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


# --- health and metrics ----------------------------------------------------------------------


async def test_health_tells_what_answers(client):
    answer = await client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": True, "broker": True}


async def test_a_database_that_is_away_is_told_and_is_no_reason_to_start_again(world, link):
    async with api(world, link, url=NOWHERE) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()["database"]) == (200, False)


async def test_metrics_count_what_waits_at_each_site(client, world):
    await quarrel(world, world.site())
    text = (await client.get("/metrics")).text
    assert 'mes_central_reviews_open{site="SITE_001"} 1.0' in text
    assert 'mes_central_reviews_open{site="SITE_002"} 0.0' in text
    assert "mes_central_ingest_workers 1.0" in text
    assert "mes_central_broker_up 1.0" in text
    assert "mes_central_status_fresh 1.0" in text


async def test_metrics_tell_of_backups_and_of_what_each_site_has_in_them(client, world):
    site = world.site()
    await site.writes(site.insert("work_orders", site.order()))
    for mark in (Mark.BEGUN, Mark.FINISHED):
        await set_mark(world.admin, "mon", mark)
    text = (await client.get("/metrics")).text
    assert "mes_central_backups_restorable 1.0" in text
    assert "mes_central_backup_late 0.0" in text
    assert 'mes_central_backup_age_seconds{which="oldest"}' in text
    assert 'mes_central_protected_age_seconds{site="SITE_001"}' in text
    await set_mark(world.admin, "mon", Mark.GONE)
    text = (await client.get("/metrics")).text
    assert "mes_central_backups_restorable 0.0" in text
    assert "mes_central_backup_late 1.0" in text
    assert "mes_central_backup_age_seconds{" not in text
    assert "mes_central_protected_age_seconds{" not in text


async def test_metrics_of_the_process_are_there_without_the_database(world, link):
    async with api(world, link, url=NOWHERE) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "python_info" in answer.text
    assert "mes_central_status_fresh 0.0" in answer.text


# --- sites -----------------------------------------------------------------------------------


async def test_sites_are_given_as_the_status_command_gives_them(client, world):
    await quarrel(world, world.site("SITE_002"))
    found = (await client.get("/api/v1/sites")).json()
    assert (found["schema"], found["status"]) == ("mes-central.status/v1", "critical")
    assert [site["site"] for site in found["sites"]] == ["SITE_002", "SITE_001", "SITE_003"]
    one = (await client.get("/api/v1/sites/SITE_002")).json()
    assert (one["site"], one["reviews_open"]) == ("SITE_002", 1)
    assert (await client.get("/api/v1/sites/SITE_XXX")).status_code == 404


async def test_a_database_that_is_away_makes_the_sites_unavailable(world, link):
    async with api(world, link, url=NOWHERE) as client:
        assert (await client.get("/api/v1/sites")).status_code == 503


# --- conflicts -------------------------------------------------------------------------------


async def test_conflicts_are_listed_by_what_is_asked_and_shown_in_full(client, world):
    found = await quarrel(world, world.site())
    listed = (await client.get("/api/v1/conflicts", params={"state": "open"})).json()["conflicts"]
    assert [each["id"] for each in listed] == [found.conflict_id]
    other = await client.get("/api/v1/conflicts", params={"site": "SITE_002"})
    assert other.json()["conflicts"] == []
    shown = (await client.get(f"/api/v1/conflicts/{found.conflict_id[-8:]}")).json()
    assert shown["here"]["value"] == {"disposition": "USE_AS_IS"}
    assert shown["standing"]["values"]["disposition"] == "USE_AS_IS"
    assert shown["standing"]["version"] == await world.head(found.row_id)


@pytest.mark.parametrize("asked", [{"state": "lost"}, {"limit": 0}, {"since": "yesterday"}])
async def test_a_question_that_means_nothing_is_refused(client, asked):
    assert (await client.get("/api/v1/conflicts", params=asked)).status_code == 422


async def test_an_unknown_conflict_is_not_found(client):
    answer = await client.get("/api/v1/conflicts/ffffffff")
    assert (answer.status_code, answer.json()["error"]) == (404, "UnknownConflict")


async def decision(world, found, **changed):
    seen = await world.head(found.row_id)
    return {"take": "central", "reason": "recall", "by": "q.chief", "seen": seen} | changed


async def test_a_person_decides_over_http(client, world):
    found = await quarrel(world, world.site())
    answer = await client.post(
        f"/api/v1/conflicts/{found.conflict_id}/resolve", json=await decision(world, found)
    )
    assert answer.status_code == 200
    assert answer.json()["changes"] == {"disposition": "SCRAP"}
    assert await stands(world, found.row_id) == "SCRAP"


async def test_who_saw_another_version_is_told_both_values(client, world):
    found = await quarrel(world, world.site())
    made = await decision(world, found)
    await write(world, found.row_id, "REPAIR")
    answer = await client.post(f"/api/v1/conflicts/{found.conflict_id}/resolve", json=made)
    said = answer.json()
    assert (answer.status_code, said["error"]) == (409, "WrittenSince")
    assert said["shown"] == {"disposition": "USE_AS_IS"}
    assert said["stands"] == {"disposition": "REPAIR"}
    assert said["version"] == await world.head(found.row_id)
    assert await stands(world, found.row_id) == "REPAIR"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"take": "value", "value": {"disposition": "BURN"}}, 422),
        ({"take": "both"}, 422),
        ({"seen": ""}, 422),
        ({"reason": ""}, 422),
    ],
)
async def test_a_decision_that_can_not_be_written_is_refused(client, world, changed, code):
    found = await quarrel(world, world.site())
    made = await decision(world, found, **changed)
    path = f"/api/v1/conflicts/{found.conflict_id}/resolve"
    assert (await client.post(path, json=made)).status_code == code
    assert await stands(world, found.row_id) == "USE_AS_IS"


async def test_a_decision_is_made_once(client, world):
    found = await quarrel(world, world.site())
    path = f"/api/v1/conflicts/{found.conflict_id}/resolve"
    await client.post(path, json=await decision(world, found))
    same = await client.post(path, json=await decision(world, found))
    assert (same.status_code, same.json()["again"]) == (200, True)
    other = await client.post(path, json=await decision(world, found, take="here"))
    assert (other.status_code, other.json()["error"]) == (409, "DecidedAlready")


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "is_local", "shown", "codes"),
    [
        ("", True, {}, (200, 403)),
        ("", False, {}, (403, 403)),
        (TOKEN, True, {}, (401, 401)),
        (TOKEN, False, {"Authorization": "Bearer another-token-of-16-chars"}, (401, 401)),
        (TOKEN, False, {"Authorization": f"Basic {TOKEN}"}, (401, 401)),
        (TOKEN, False, SHOWN, (200, 404)),
    ],
)
async def test_only_who_may_reads_and_decides(world, link, token, is_local, shown, codes):
    made = {"take": "here", "reason": "r", "by": "b", "seen": "v"}
    async with api(world, link, token=token, is_local=is_local) as client:
        reading = await client.get("/api/v1/conflicts", headers=shown)
        path = "/api/v1/conflicts/ffffffff/resolve"
        deciding = await client.post(path, headers=shown, json=made)
        health = await client.get("/healthz")
    assert (reading.status_code, deciding.status_code) == codes
    assert health.status_code == 200


# --- serving ---------------------------------------------------------------------------------


async def test_the_api_is_served_until_it_is_cancelled(world, link):
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    pool = AsyncConnectionPool[psycopg.AsyncConnection](
        as_role(world.url, "mes_ingest"), min_size=0, max_size=1, open=False
    )
    async with pool:
        reach = Reach(pool=pool, catalog=world.catalog, link=link, token="", is_local=True)
        serving = asyncio.create_task(serve(build(reach), listener))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/healthz")).status_code == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    with socket.socket() as taken:
        assert taken.connect_ex(("127.0.0.1", port))


def test_a_port_that_is_taken_is_a_setting_to_mend():
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSetting, match=f"MES_API_PORT={port}"):
            listening("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_loopback_is_this_machine(host, expected):
    assert is_loopback(host) is expected


def test_a_token_is_kept_from_others(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    settings = CentralSettings(database_url="", api_token_file=path)
    assert read_token(settings) == TOKEN
    path.chmod(0o644)
    with pytest.raises(BadSetting, match="chmod 600"):
        read_token(settings)
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(BadSetting, match="16 characters"):
        read_token(settings)
    assert read_token(CentralSettings(database_url="")) == ""

"""Who is refused before anything is done for them, and what never waits for the questions."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from central.access import NARROWED_CHARS_MAX, NARROWED_MAX
from central.api.app import build
from central.api.asking import reading
from central.api.rates import Rates
from central.api.serve import listening, serve
from central.picture import read_picture
from central.scrapes import Scrapers
from tests.integration.api_world import Api, api, client, link, opened
from tests.integration.apply_world import world
from tests.integration.quarrel import quarrel, stands
from tests.unit.test_oidc import Door

__all__ = ["api", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

TOKEN = "0123456789abcdef" * 2


@asynccontextmanager
async def served(api: Api):
    listener = listening("127.0.0.1", 0)
    serving = asyncio.create_task(serve(build(api.reach), listener))
    try:
        yield listener.getsockname()[1]
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


# --- before the body ----------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["", "Authorization: Bearer nothing\r\n"])
async def test_who_shows_no_key_is_refused_without_waiting_for_their_body(api, shown):
    head = (
        "POST /v1/conflicts/ffffffff/resolve HTTP/1.1\r\nHost: centre\r\n"
        f"Content-Type: application/json\r\nContent-Length: 50\r\n{shown}\r\n"
    )
    async with served(api) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.close()


async def test_who_asks_too_often_is_told_when_to_ask_again(api, world):
    api.reach.guard.rates = Rates(0.25)
    async with api.client(await api.key("corporate", name="grafana")) as client:
        assert (await client.get("/v1/conflicts")).status_code == 200
        refused = await client.get("/v1/conflicts")
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-often")
    assert refused.headers["Retry-After"] == "4"
    async with await api.asked_by("corporate") as other:
        assert (await other.get("/v1/conflicts")).status_code == 200
    assert ("key grafana", "GET /v1/conflicts", "/v1/conflicts", [], 429, 1) in await api.audited()


@pytest.mark.parametrize(
    ("sites", "rule"),
    [
        (",".join(["SITE_001"] * (NARROWED_MAX + 1)), f"{NARROWED_MAX} sites"),
        ("S" * (NARROWED_CHARS_MAX + 1), f"{NARROWED_CHARS_MAX:,} characters"),
    ],
)
async def test_a_header_that_names_too_much_is_refused_by_field_and_rule(client, sites, rule):
    answer = await client.get("/v1/conflicts", headers={"X-Site-Id": sites})
    (broken,) = answer.json()["errors"]
    assert (answer.status_code, broken["field"]) == (422, "header.x-site-id")
    assert rule in broken["rule"]


async def test_the_description_is_for_everybody_and_names_no_site(api):
    async with api.client() as client:
        answer = await client.get("/v1/openapi.json")
        assert (answer.status_code, "paths" in answer.json()) == (200, True)
        assert "SITE_003" not in answer.text
        assert (await client.get("/openapi.json")).status_code == 404


# --- a token that is for less -------------------------------------------------------------------


async def test_a_token_for_reading_decides_nothing_though_its_person_may(world, link):
    door, found = Door(), await quarrel(world, world.site())
    made = {"take": "central", "reason": "r", "seen": await world.head(found.row_id)}
    path = f"/v1/conflicts/{found.conflict_id}"
    async with (
        opened(world, link, verifier=door.verifier()) as api,
        api.client(door.token(scope="openid mes:read")) as client,
    ):
        assert (await client.get(path)).status_code == 200
        refused = await client.post(f"{path}/resolve", json=made)
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/not-in-scope")
    assert await stands(world, found.row_id) == "USE_AS_IS"


# --- how the sync is ----------------------------------------------------------------------------


async def test_postgresql_itself_shows_no_status_of_another_site(api, world):
    for name in ("SITE_001", "SITE_002"):
        await quarrel(world, world.site(name))
    async with (
        reading(api.reach.reading, ("SITE_001",)) as theirs,
        api.reach.pool.connection() as connection,
    ):
        picture = await read_picture(connection, world.catalog, None, None, of_sites=theirs)
    assert [(each.site, each.reviews_open) for each in picture.sites] == [("SITE_001", 1)]


async def test_what_is_told_of_sites_is_read_by_the_role_that_sees_no_other(client, world):
    assert (await client.get("/v1/sites")).status_code == 200
    await world.admin.execute("REVOKE SELECT ON sync.site FROM mes_api")
    for path in ("/v1/sites", "/v1/sites/SITE_001"):
        assert (await client.get(path)).status_code == 500


# --- metrics ------------------------------------------------------------------------------------


async def test_metrics_are_given_to_who_shows_their_token_and_to_no_key(api):
    guarded = Api(api.world, replace(api.reach, scrapers=Scrapers(TOKEN)))
    for token, code in (("", 401), (await api.key("admin"), 401), (TOKEN, 200)):
        async with guarded.client(token) as client:
            answer = await client.get("/metrics")
        assert answer.status_code == code
        assert ("SITE_001" in answer.text) == (code == 200)
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_metrics_without_a_token_are_passed_on_by_no_proxy(api):
    async with api.client() as client:
        answer = await client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.7"})
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-from-here")


async def test_metrics_and_health_are_there_while_all_connections_of_the_questions_are_taken(api):
    async with (
        api.reach.pool.connection(),
        api.reach.pool.connection(),
        api.client() as client,
    ):
        text = (await client.get("/metrics")).text
        health = (await client.get("/healthz")).json()
    assert "mes_central_status_fresh 1.0" in text
    assert health["database"] is True

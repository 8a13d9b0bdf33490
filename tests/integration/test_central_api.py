"""The centre over HTTP: what it answers, to whom, and what a refused decision is told."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from central.api.app import build
from central.api.serve import listening, serve
from central.backups import Mark, set_mark
from shared.errors import BadSetting
from tests.integration.api_world import NOWHERE, api, client, link, opened
from tests.integration.apply_world import world
from tests.integration.quarrel import quarrel, stands, write

__all__ = ["api", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


# --- health and metrics ----------------------------------------------------------------------


async def test_health_tells_what_answers(client):
    answer = await client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": True, "broker": True}


async def test_a_database_that_is_away_is_told_and_is_no_reason_to_start_again(world, link):
    async with opened(world, link, url=NOWHERE) as away, away.client() as client:
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
    async with opened(world, link, url=NOWHERE) as away, away.client() as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "python_info" in answer.text
    assert "mes_central_status_fresh 0.0" in answer.text


# --- sites -----------------------------------------------------------------------------------


async def test_sites_are_given_as_the_status_command_gives_them(client, world):
    await quarrel(world, world.site("SITE_002"))
    found = (await client.get("/v1/sites")).json()
    assert (found["schema"], found["status"]) == ("mes-central.status/v1", "critical")
    assert [site["site"] for site in found["sites"]] == ["SITE_002", "SITE_001", "SITE_003"]
    one = (await client.get("/v1/sites/SITE_002")).json()
    assert (one["site"], one["reviews_open"]) == ("SITE_002", 1)
    assert (await client.get("/v1/sites/SITE_XXX")).status_code == 403


async def test_a_database_that_is_away_makes_the_sites_unavailable(world, link):
    key = f"mes_{'a' * 8}_{'b' * 43}"
    async with opened(world, link, url=NOWHERE) as away, away.client(key) as client:
        answer = await client.get("/v1/sites")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")


# --- conflicts -------------------------------------------------------------------------------


async def test_conflicts_are_listed_by_what_is_asked_and_shown_in_full(client, world):
    found = await quarrel(world, world.site())
    listed = (await client.get("/v1/conflicts", params={"state": "open"})).json()["conflicts"]
    assert [each["id"] for each in listed] == [found.conflict_id]
    other = await client.get("/v1/conflicts", params={"site": "SITE_002"})
    assert other.json()["conflicts"] == []
    shown = (await client.get(f"/v1/conflicts/{found.conflict_id[-8:]}")).json()
    assert shown["here"]["value"] == {"disposition": "USE_AS_IS"}
    assert shown["standing"]["values"]["disposition"] == "USE_AS_IS"
    assert shown["standing"]["version"] == await world.head(found.row_id)


async def test_pages_of_conflicts_together_are_the_list(client, world):
    one, two = world.site("SITE_001"), world.site("SITE_002")
    found = [await quarrel(world, site) for site in (one, two, one, two)]
    # Two at the same moment, and the latest of all decided by a person.
    await world.admin.execute("SET session_replication_role = replica")
    await world.admin.execute(
        "UPDATE mes.sync_conflicts SET decided_at = '2026-11-20T08:00:00.123456Z'"
        " WHERE id = ANY(%s)", [[each.conflict_id for each in found[:2]]],
    )  # fmt: skip
    await world.admin.execute("RESET session_replication_role")
    path = f"/v1/conflicts/{found[3].conflict_id}/resolve"
    assert (await client.post(path, json=await decision(world, found[3]))).status_code == 200
    whole = (await client.get("/v1/conflicts")).json()
    assert ([each["state"] for each in whole["conflicts"]], whole["next"]) == (
        ["open", "open", "open", "resolved"], None,
    )  # fmt: skip
    paged, end = [], {}
    while end is not None:
        page = (await client.get("/v1/conflicts", params={"limit": 1, **end})).json()
        paged += page["conflicts"]
        end = page["next"] and {"cursor": page["next"]}
    assert paged == whole["conflicts"]


@pytest.mark.parametrize(
    "asked",
    [
        {"state": "lost"}, {"limit": 0}, {"since": "yesterday"}, {"since": "1795669200"},
        {"since": "2026-11-26T05:00:00"}, {"cursor": ""}, {"cursor": "é"}, {"cursor": "AAAA"},
        {"cursor": "W3RydWUsICIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwgIngiXQ"},
    ],
)  # fmt: skip
async def test_a_question_that_means_nothing_is_refused(client, asked):
    assert (await client.get("/v1/conflicts", params=asked)).status_code == 422


async def test_an_unknown_conflict_is_not_found(client):
    answer = await client.get("/v1/conflicts/ffffffff")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-conflict")


async def decision(world, found, **changed):
    seen = await world.head(found.row_id)
    return {"take": "central", "reason": "recall", "by": "q.chief", "seen": seen} | changed


async def test_a_person_decides_over_http(client, world):
    found = await quarrel(world, world.site())
    answer = await client.post(
        f"/v1/conflicts/{found.conflict_id}/resolve", json=await decision(world, found)
    )
    assert answer.status_code == 200
    assert answer.json()["changes"] == {"disposition": "SCRAP"}
    assert await stands(world, found.row_id) == "SCRAP"


async def test_who_saw_another_version_is_told_both_values(client, world):
    found = await quarrel(world, world.site())
    made = await decision(world, found)
    await write(world, found.row_id, "REPAIR")
    answer = await client.post(f"/v1/conflicts/{found.conflict_id}/resolve", json=made)
    said = answer.json()
    assert (answer.status_code, said["type"]) == (409, "/problems/written-since")
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
    path = f"/v1/conflicts/{found.conflict_id}/resolve"
    assert (await client.post(path, json=made)).status_code == code
    assert await stands(world, found.row_id) == "USE_AS_IS"


async def test_a_decision_is_made_once(client, world):
    found = await quarrel(world, world.site())
    path = f"/v1/conflicts/{found.conflict_id}/resolve"
    await client.post(path, json=await decision(world, found))
    same = await client.post(path, json=await decision(world, found))
    assert (same.status_code, same.json()["again"]) == (200, True)
    other = await client.post(path, json=await decision(world, found, take="here"))
    assert (other.status_code, other.json()["type"]) == (409, "/problems/decided-already")


# --- serving ---------------------------------------------------------------------------------


async def test_the_api_is_served_until_it_is_cancelled(world, link):
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with opened(world, link) as found:
        serving = asyncio.create_task(serve(build(found.reach), listener))
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


def test_no_body_of_an_answer_waits_until_its_head_is_acknowledged():
    with listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

"""Who asks the API, what of which sites they are answered, and what the audit log says of it."""

from __future__ import annotations

import pytest

from central import api_keys
from central.access import Scope
from central.api import asking
from central.api.audit import MANY, WAITING_MAX
from central.audit import Asked
from tests.integration.api_world import Api, api, link, opened
from tests.integration.apply_world import world
from tests.integration.quarrel import quarrel, stands

__all__ = ["api", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DECISION = {"take": "central", "reason": "recall", "by": "q.chief"}


async def asked(api: Api, path: str, *grants: str, **headers: str) -> tuple[int, dict]:
    async with await api.asked_by(*grants) as client:
        answer = await client.get(path, headers=headers)
    return answer.status_code, answer.json()


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "no-key-at-all", "mes_aaaaaaaa_" + "b" * 43, "x" * 9_000])
async def test_nothing_is_answered_to_who_shows_no_key_that_stands(api, token):
    async with api.client(token) as client:
        for path in ("/v1/sites", "/v1/sites/SITE_001", "/v1/conflicts", "/v1/conflicts/ffffffff"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["Content-Type"] == "application/problem+json"
        assert (await client.post("/v1/conflicts/ffffffff/resolve", json={})).status_code == 401


async def test_a_key_is_looked_up_by_its_hash_and_is_nowhere_in_the_database(api, world):
    key = await api.key("corporate", name="grafana")
    secret = key.split("_", 2)[2]
    for (table,) in await world.rows(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'sync'::regnamespace"
    ):
        found = await world.value(
            f"SELECT count(*) FROM {table} AS t WHERE strpos(to_jsonb(t)::text, '{secret}') > 0"
        )
        assert found == 0, table


async def test_a_key_that_was_revoked_is_refused_once_what_was_known_of_it_is_old(
    api, world, monkeypatch
):
    monkeypatch.setattr(asking, "KEY_FRESH_S", 0.0)
    async with api.client(await api.key("corporate", name="grafana")) as client:
        assert (await client.get("/v1/conflicts")).status_code == 200
        await api_keys.revoke(world.admin, "grafana")
        assert (await client.get("/v1/conflicts")).status_code == 401


async def test_a_key_past_its_end_is_refused(api, world):
    key = await api.key("corporate", name="grafana")
    await world.admin.execute("UPDATE sync.api_key SET expires_at = now() - interval '1 second'")
    async with api.client(key) as client:
        assert (await client.get("/v1/conflicts")).status_code == 401


async def test_a_key_does_no_more_than_its_scopes(api, world):
    found = await quarrel(world, world.site())
    key = await api.key("plant:SITE_001", scopes={Scope.READ})
    async with api.client(key) as client:
        path = f"/v1/conflicts/{found.conflict_id}"
        shown = (await client.get(path)).json()
        made = DECISION | {"seen": shown["standing"]["version"]}
        answer = await client.post(f"{path}/resolve", json=made)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-in-scope")
    assert await stands(world, found.row_id) == "USE_AS_IS"


async def test_that_a_key_was_used_is_noted_to_about_a_minute(api, world):
    async with await api.asked_by("corporate") as client:
        await client.get("/v1/conflicts")
    (key,) = await api_keys.listed(world.admin)
    assert key.used_at is not None


# --- sites ------------------------------------------------------------------------------------


async def test_somebody_of_one_site_is_answered_of_no_other(api, world):
    await quarrel(world, world.site("SITE_001"))
    theirs = await quarrel(world, world.site("SITE_002"))
    _, sites = await asked(api, "/v1/sites", "plant:SITE_001")
    assert [each["site"] for each in sites["sites"]] == ["SITE_001"]
    assert "SITE_002" not in str(sites)
    _, conflicts = await asked(api, "/v1/conflicts", "plant:SITE_001")
    assert {each["site"] for each in conflicts["conflicts"]} == {"SITE_001"}
    for path, status in (
        ("/v1/sites/SITE_002", 403), ("/v1/conflicts?site=SITE_002", 403),
        (f"/v1/conflicts/{theirs.conflict_id}", 404),
    ):  # fmt: skip
        assert (await asked(api, path, "plant:SITE_001"))[0] == status, path


async def test_a_conflict_of_another_site_is_not_decided_and_not_told_from_one_that_is_not_there(
    api, world
):
    theirs = await quarrel(world, world.site("SITE_002"))
    async with await api.asked_by("plant:SITE_001") as client:
        made = DECISION | {"seen": await world.head(theirs.row_id)}
        there = await client.post(f"/v1/conflicts/{theirs.conflict_id}/resolve", json=made)
        nowhere = "00000000-0000-7000-8000-000000000000"
        none = await client.post(f"/v1/conflicts/{nowhere}/resolve", json=made)
    assert there.status_code == none.status_code == 404
    assert there.json()["detail"].replace(theirs.conflict_id, nowhere) == none.json()["detail"]
    assert await stands(world, theirs.row_id) == "USE_AS_IS"


async def test_a_header_narrows_an_answer_and_never_widens_it(api, world):
    for site in ("SITE_001", "SITE_002"):
        await quarrel(world, world.site(site))
    of = {"X-Site-Id": "SITE_002"}
    _, narrowed = await asked(api, "/v1/conflicts", "corporate", **of)
    assert {each["site"] for each in narrowed["conflicts"]} == {"SITE_002"}
    status, problem = await asked(api, "/v1/conflicts", "plant:SITE_001", **of)
    assert (status, problem["type"]) == (403, "/problems/not-your-site")
    for wrong in ("SITE_002'--", "*", "SITE_001;SITE_002"):
        status, problem = await asked(api, "/v1/conflicts", "corporate", **{"X-Site-Id": wrong})
        assert (status, problem["type"]) == (422, "/problems/invalid")


async def test_another_site_is_answered_in_the_same_words_as_one_that_is_not_there(api):
    _, there = await asked(api, "/v1/sites/SITE_002", "plant:SITE_001")
    _, none = await asked(api, "/v1/sites/SITE_999", "plant:SITE_001")
    assert str(there).replace("SITE_002", "SITE_999") == str(none)


async def test_a_grant_of_a_site_that_is_not_registered_reaches_nothing(api, world):
    key = await api.key("plant:SITE_001")
    await world.admin.execute("UPDATE sync.api_key SET grants = '{plant:SITE_777}'")
    async with api.client(key) as client:
        assert (await client.get("/v1/conflicts")).status_code == 403


# --- the audit log ------------------------------------------------------------------------------


async def test_who_read_what_of_which_sites_is_in_the_audit_log(api):
    async with api.client(await api.key("plant:SITE_001", name="terminal")) as client:
        await client.get("/v1/conflicts", params={"state": "open"})
        await client.get("/v1/conflicts", params={"state": "open"})
        await client.get("/v1/sites/SITE_002")
    async with api.client() as client:
        await client.get("/v1/sites")
        await client.get("/v1/nowhere")
    one = ["SITE_001"]
    assert await api.audited() == [
        ("key terminal", "GET /v1/conflicts", "/v1/conflicts?state=open", one, 200, 2),
        ("key terminal", "GET /v1/sites/{site}", "/v1/sites/SITE_002", one, 403, 1),
        ("nobody", "GET /v1/sites", "/v1/sites", [], 401, 1),
        ("nobody", "GET (no route)", "/v1/nowhere", [], 404, 1),
    ]


async def test_a_decision_is_in_the_audit_log_with_what_it_changed_or_is_not_made(api, world):
    found = await quarrel(world, world.site())
    async with api.client(await api.key("plant:SITE_001", name="terminal")) as client:
        path = f"/v1/conflicts/{found.conflict_id}/resolve"
        made = DECISION | {"seen": await world.head(found.row_id)}
        assert (await client.post(path, json=made)).status_code == 200
    who, sites, changed = await world.one("SELECT who, sites, changed FROM sync.audit")
    assert (who, sites) == ("key terminal", ["SITE_001"])
    assert changed["changes"] == {"disposition": "SCRAP"}
    assert changed["choice"]["by"] == "q.chief by key terminal"
    assert len(await api.audited()) == 1  # and not once more as a question

    again = await quarrel(world, world.site("SITE_002"))
    await world.admin.execute("REVOKE INSERT ON sync.audit FROM mes_ingest")
    async with await api.asked_by("plant:SITE_002") as client:
        path = f"/v1/conflicts/{again.conflict_id}/resolve"
        made = DECISION | {"seen": await world.head(again.row_id)}
        assert (await client.post(path, json=made)).status_code == 500
    assert await stands(world, again.row_id) == "USE_AS_IS"


async def test_questions_wait_for_the_database_and_are_bounded_while_they_do(world, link):
    async with opened(world, link) as found:
        log = found.reach.audit
        for n in range(WAITING_MAX + 50):
            log.note(Asked("key x", "::1", "GET /v1/a", f"/v1/a?{n}", ("SITE_001",), 200))
        await world.admin.execute("ALTER TABLE sync.audit RENAME TO away")
        with pytest.raises(Exception, match="audit"):
            await log.write()
        await world.admin.execute("ALTER TABLE sync.away RENAME TO audit")
        await log.write()
    assert await world.one("SELECT count(*), sum(times) FROM sync.audit") == (
        WAITING_MAX + 1, WAITING_MAX + 50,
    )  # fmt: skip
    assert await world.value(f"SELECT times FROM sync.audit WHERE target = '{MANY}'") == 50

"""Who asks the API, what of which sites they are answered, and what the audit log says of it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from central import api_keys
from central.access import Scope
from central.api import asking, bounds, oidc
from central.api.audit import MANY, WAITING_MAX, asked_in
from central.audit import Asked
from shared.errors import NotAuthorised
from tests.integration.api_world import Api, api, link, opened, pool
from tests.integration.apply_world import world
from tests.integration.quarrel import quarrel, stands
from tests.unit.test_oidc import Door

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
        for text in (secret, secret[-30:].encode().hex()):
            found = await world.value(
                f"SELECT count(*) FROM {table} AS t WHERE strpos(to_jsonb(t)::text, '{text}') > 0"
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


@pytest.mark.parametrize("text", ["mes\x00x", "a\nb", "\x1b[2J"])
async def test_what_would_draw_a_false_line_or_stop_the_log_is_cleaned(api, text):
    api.reach.audit.note(
        asked_in(
            {
                "method": "X" * 9_000, "raw_path": b"/v1/x", "query_string": text.encode(),
                "client": ("::1", 1), "state": {"who": f"user {text}"},
            },
            200,
        )
    )  # fmt: skip
    ((who, action, target, *_),) = await api.audited()
    assert (who + target).isprintable()
    assert action == "(no method) (no route)"


async def test_a_key_in_a_query_is_not_kept(api):
    key = await api.key("corporate")
    async with api.client() as client:
        await client.get(f"/v1/sites?token={key}")
    ((_, _, target, *_),) = await api.audited()
    assert key.split("_", 2)[2] not in target


async def test_a_line_of_the_log_has_the_time_at_which_it_was_asked(api, world):
    async with api.client() as client:
        await client.get("/v1/sites")
    await world.admin.execute("SELECT pg_sleep(0.3)")
    await api.audited()
    assert await world.value("SELECT extract(epoch FROM now() - at) FROM sync.audit") > 0.25


async def test_a_decision_that_stood_already_is_no_change_by_who_repeats_it(api, world):
    found = await quarrel(world, world.site())
    made = DECISION | {"seen": await world.head(found.row_id)}
    path = f"/v1/conflicts/{found.conflict_id}/resolve"
    for name in ("first", "second"):
        async with api.client(await api.key("plant:SITE_001", name=name)) as client:
            assert (await client.post(path, json=made)).status_code == 200
    await api.audited()
    assert await world.rows("SELECT who, changed IS NULL FROM sync.audit ORDER BY no") == [
        ("key first", False), ("key second", True),
    ]  # fmt: skip


# --- tokens of people ---------------------------------------------------------------------------


async def test_a_person_with_a_token_reads_and_decides_by_their_own_name(world, link):
    door, found = Door(), await quarrel(world, world.site())
    async with (
        opened(world, link, verifier=door.verifier()) as api,
        api.client(door.token(preferred_username="anna")) as client,
    ):
        path = f"/v1/conflicts/{found.conflict_id}"
        seen = (await client.get(path)).json()["standing"]["version"]
        made = {"take": "central", "reason": "recall", "seen": seen}
        named = await client.post(f"{path}/resolve", json=made | {"by": "the.chief"})
        assert (named.status_code, named.json()["type"]) == (422, "/problems/bad-decision")
        assert (await client.post(f"{path}/resolve", json=made)).status_code == 200
    assert await world.value("SELECT decided_by FROM mes.sync_reviews") == "user 7f3a anna"


async def test_a_token_counts_for_a_minute_after_its_key_was_withdrawn(world, link, monkeypatch):
    assert asking.TOKEN_FRESH_S == 60
    monkeypatch.setattr(asking, "TOKEN_FRESH_S", 0.0)  # that minute is over
    monkeypatch.setattr(oidc, "PAUSE_S", -1.0)
    door = Door()
    async with (
        opened(world, link, verifier=door.verifier()) as api,
        api.client(door.token()) as client,
    ):
        assert (await client.get("/v1/conflicts")).status_code == 200
        door.kid = "two"
        new = {"Authorization": f"Bearer {door.token()}"}
        assert (await client.get("/v1/conflicts", headers=new)).status_code == 200
        assert (await client.get("/v1/conflicts")).status_code == 401


# --- what is set is set for one transaction, and nothing is too large ---------------------------


async def test_nothing_that_a_transaction_set_is_left_in_the_session(api, world):
    async with await api.asked_by("plant:SITE_001") as client:
        await client.get("/v1/conflicts")
    names = ("app.sites", "transaction_read_only", "statement_timeout")
    async with api.reach.reading.connection() as connection:
        cursor = await connection.execute(
            "SELECT "
            + ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in names)
        )
        assert await cursor.fetchone() == ("", "off", "0")


async def test_a_transaction_reads_only_for_half_a_minute_and_only_of_named_sites(api):
    async with asking.reading(api.reach.reading, ("SITE_001",)) as connection:
        cursor = await connection.execute(
            "SELECT current_user, current_setting('transaction_read_only'),"
            " current_setting('statement_timeout')"
        )
        assert await cursor.fetchone() == ("mes_api", "on", "30s")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with asking.reading(api.reach.reading, ()):
            pass


async def test_the_api_reads_nothing_by_a_role_that_passes_row_level_security(api, world):
    async with pool(world.url) as superuser:
        with pytest.raises(NotAuthorised, match="MES_API_DATABASE_URL"):
            async with asking.reading(superuser, ("SITE_001",)):
                pass


async def test_a_body_that_is_too_large_or_too_slow_is_refused(api, monkeypatch):
    async def slow():
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    monkeypatch.setattr(bounds, "BODY_MAX_S", 0.2)
    async with await api.asked_by("admin") as client:
        path = "/v1/conflicts/ffffffff/resolve"
        large = await client.post(path, content=b"x" * (bounds.BODY_BYTES_MAX + 1))
        late = await client.post(path, content=slow())
    assert (large.status_code, large.json()["type"]) == (413, "/problems/too-large")
    assert (late.status_code, late.json()["type"]) == (408, "/problems/too-slow")


@pytest.mark.parametrize(
    "query", ["table=%00", "policy=a%00b", "stat=open", "site=", "since=yesterday", "limit=100000"]
)
async def test_what_means_nothing_or_can_not_be_stored_is_refused_by_its_field(api, query):
    status, problem = await asked(api, f"/v1/conflicts?{query}", "corporate")
    assert status in (403, 422)
    assert status == 403 or problem["errors"][0]["field"] == f"query.{query.split('=')[0]}"


@pytest.mark.parametrize(
    "changed", [{"reason": "a\x00b"}, {"by": "a\nb"}, {"value": {"a": ["\x00"]}}, {"more": 1}]
)
async def test_a_decision_that_can_not_be_stored_is_refused_by_its_field(api, changed):
    async with await api.asked_by("admin") as client:
        made = DECISION | {"seen": "x"} | changed
        answer = await client.post("/v1/conflicts/ffffffff/resolve", json=made)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"body.{next(iter(changed))}"


async def test_every_kind_of_problem_tells_what_it_is(api):
    async with api.client() as client:
        for path in ("/nowhere", "/v1/sites/", "/v1/sites"):
            problem = (await client.get(path)).json()
            told = await client.get(problem["type"])
            assert (told.status_code, told.json()["title"]) == (200, problem["title"])

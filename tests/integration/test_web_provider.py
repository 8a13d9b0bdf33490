"""Signing in at an identity provider over real HTTP: there and back, renewed, and out."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from central.api.code_flow import Client
from central.api.oidc import LEEWAY_S
from central.api.signing_in import ANSWER_BYTES_MAX
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.idp import CLIENT, OTHER_KEY, SECRET
from tests.integration.sign_in_world import HERE, HTML, Signing, names, signing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["api", "link", "signing", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


def refusal(error: str) -> Callable[[], Response]:
    return lambda: JSONResponse({"error": error}, 400)


def large() -> Response:
    return PlainTextResponse("x" * (ANSWER_BYTES_MAX + 1))


# --- there and back -------------------------------------------------------------------------------


async def test_somebody_signs_in_at_the_provider_and_goes_on_where_they_wanted_to(signing):
    back = await signing.goes("/output?from=2026-10-20&to=2026-11-01")
    done = await signing.comes(back)
    assert done.status_code == 200, done.text
    assert (
        'http-equiv="refresh" content="0;url=/output?from=2026-10-20&amp;to=2026-11-01"'
        in done.text
    )
    page = await signing.browser.get("/output?from=2026-10-20&to=2026-11-01")
    assert page.status_code == 200
    assert "user 7f3a anna" in page.text
    assert "SITE_001" in page.text
    assert "SITE_002" not in page.text
    assert signing.idp.grants == ["authorization_code"]
    assert signing.idp.refused == []


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example/", "/\\evil.example"])
async def test_nobody_is_led_elsewhere_after_the_provider_signed_them_in(signing, wanted):
    done = await signing.signs_in(wanted)
    assert 'content="0;url=/"' in done.text
    assert "evil" not in done.text


async def test_the_cookie_of_a_sign_in_is_lent_for_minutes_and_that_of_a_session_is_strict(signing):
    page = await signing.browser.get("/sign-in/provider")
    (lent,) = page.headers.get_list("set-cookie")
    state = parse_qs(urlsplit(page.headers["location"]).query)["state"][0]
    assert lent.startswith("__Host-mes-sign-in-")
    said = set(lent.split("; "))
    assert {"HttpOnly", "SameSite=lax", "Secure", "Path=/", "Max-Age=600"} <= said
    assert state not in lent
    async with httpx.AsyncClient() as outside:
        asked = await outside.get(page.headers["location"])
    done = await signing.comes(asked.headers["location"])
    kept, forgotten = done.headers.get_list("set-cookie")
    assert kept.startswith("__Host-mes-session=")
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/"} <= set(kept.split("; "))
    assert forgotten.startswith(lent.partition("=")[0] + '=""')
    assert "Max-Age=0" in forgotten


@pytest.mark.parametrize("auth", ["header", "form"])
async def test_a_client_shows_its_secret_as_the_provider_takes_it(signing, auth):
    signing.idp.auth = auth
    assert (await signing.signs_in()).status_code == 200
    assert signing.idp.refused == []


async def test_a_public_client_shows_none(signing):
    signing.idp.secret = ""
    signing.flow.client = Client(client_id=CLIENT, public_url=HERE)
    assert (await signing.signs_in()).status_code == 200


async def test_two_tabs_sign_in_beside_each_other(signing):
    one, other = await signing.goes("/scrap"), await signing.goes("/oee")
    assert "url=/scrap" in (await signing.comes(one)).text
    assert "url=/oee" in (await signing.comes(other)).text


async def test_a_new_session_takes_the_place_of_the_one_that_the_browser_had(signing):
    await signing.signs_in()
    first = signing.session
    await signing.signs_in()
    assert signing.session is not first


@pytest.mark.parametrize("by", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Dest": "image"}])
async def test_no_other_page_begins_a_sign_in(signing, by):
    answer = await signing.browser.get("/sign-in/provider?next=/scrap", headers=by)
    assert answer.headers["location"] == "/sign-in?next=%2Fscrap"
    assert "set-cookie" not in answer.headers
    assert len(signing.flow.pending) == 0


async def test_without_a_client_there_is_no_such_way(api):
    async with api.client() as browser:
        for path in ("/sign-in/provider", "/sign-in/back"):
            assert (await browser.get(path, headers=HTML)).status_code == 404
        assert "/sign-in/provider" not in (await browser.get("/sign-in")).text


async def test_a_key_signs_in_beside_the_provider(signing):
    key = await signing.api.key("corporate")
    done = await signing.browser.post("/sign-in", data={"key": key}, headers={"Origin": HERE})
    assert done.status_code == 303
    assert (await signing.browser.get("/")).status_code == 200


# --- what is kept to itself ----------------------------------------------------------------------


async def test_nothing_secret_is_in_pages_addresses_cookies_logs_or_the_audit_log(signing, caplog):
    caplog.set_level(logging.DEBUG)
    back = await signing.goes()
    seen = [await signing.comes(back), await signing.comes(back)]
    signing.is_due()
    seen += [await signing.browser.get(path) for path in ("/", "/v1/sites")]
    signing.is_due()
    signing.idp.instead = refusal("invalid_grant")
    seen.append(await signing.browser.get("/"))
    query = parse_qs(urlsplit(back).query)
    secret = [*signing.idp.given, SECRET, query["code"][0], query["state"][0]]
    assert len(secret) == 10
    for answer in seen:
        told = answer.text + repr(answer.headers.multi_items())
        assert names(secret, told) == []
    # What the browsers of this test log themselves is not of the process.
    ours = [each for each in caplog.records if not names([HERE, "/authorize"], each.getMessage())]
    assert {each.name for each in ours} >= {"httpx", "central.api.signing_in"}
    assert names(secret, "\n".join(f"{each.getMessage()} {each.__dict__}" for each in ours)) == []
    audited = await signing.api.audited()
    assert names(secret, repr(audited)) == []
    assert ("user 7f3a anna", "GET /sign-in/back", "/sign-in/back") in [a[:3] for a in audited]
    assert all(answer.headers["referrer-policy"] == "no-referrer" for answer in seen[:2])


async def test_a_way_back_is_gone_once(signing):
    back = await signing.goes()
    assert (await signing.comes(back)).status_code == 200
    again = await signing.comes(back)
    assert again.status_code == 400
    assert "Sign in</a>" in again.text
    assert "set-cookie" not in again.headers
    assert signing.idp.grants == ["authorization_code"]  # the provider never sees it twice


# --- renewing -------------------------------------------------------------------------------------


async def test_a_token_is_renewed_once_though_many_requests_come_at_the_same_time(signing):
    await signing.signs_in()
    shown, refresh = signing.session.shown, signing.granted.refresh_token
    signing.is_due(ended=True)
    signing.idp.waits_s = 0.3
    paths = ["/", "/scrap", "/v1/sites", "/v1/reports/output"] * 5
    forms = {"Accept": "text/html, */*"}
    answers = await asyncio.gather(*(signing.browser.get(path, headers=forms) for path in paths))
    assert {each.status_code for each in answers} == {200}
    assert signing.idp.grants == ["authorization_code", "refresh_token"]
    assert signing.session.shown != shown
    assert signing.granted.refresh_token != refresh
    assert (await signing.browser.get("/")).status_code == 200
    signing.is_due(ended=True)
    assert (await signing.browser.get("/")).status_code == 200  # by the token that it rotated to
    assert signing.idp.refused == []


async def test_a_renewed_token_may_do_what_it_says_from_then_on(signing):
    await signing.signs_in()
    assert [each["site"] for each in await sites(signing)] == ["SITE_001"]
    signing.idp.access_claims = {"mes_grants": ["mes:region:SITE_002,SITE_003"]}
    signing.is_due()
    assert [each["site"] for each in await sites(signing)] == ["SITE_002", "SITE_003"]


async def sites(signing: Signing) -> list[dict[str, Any]]:
    answer = await signing.browser.get("/v1/sites")
    assert answer.status_code == 200, answer.text
    return answer.json()["sites"]


async def test_a_refresh_token_that_stays_is_kept(signing):
    signing.idp.answer_more = {"refresh_token": None}
    await signing.signs_in()
    assert signing.granted.refresh_token == ""
    signing.granted.refresh_token = next(iter(signing.idp.refreshes))
    signing.is_due()
    kept = signing.granted.refresh_token
    assert (await signing.browser.get("/")).status_code == 200
    assert signing.granted.refresh_token == kept


async def test_a_request_that_is_given_up_loses_no_token_that_rotated(signing):
    await signing.signs_in()
    signing.is_due()
    signing.idp.waits_s = 0.3
    asking = asyncio.create_task(signing.browser.get("/"))
    signing.idp.asked.clear()
    await signing.idp.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await signing.browser.get("/")).status_code == 200
    assert signing.idp.grants == ["authorization_code", "refresh_token"]
    assert signing.idp.refused == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"instead": refusal("invalid_grant")}, id="invalid_grant"),
        pytest.param({"instead": refusal("interaction_required")}, id="interaction_required"),
        pytest.param({"key": OTHER_KEY}, id="another key"),
        {"sub": "another"}, {"access_claims": {"sub": "another"}},
        {"access_claims": {"aud": "other"}}, {"id_claims": {"nonce": "another"}},
        {"id_claims": {"aud": "another"}},
    ],
    ids=str,
)  # fmt: skip
async def test_a_session_ends_that_the_provider_does_not_renew_for_the_same_person(
    signing, changed
):
    await signing.signs_in()
    for name, value in changed.items():
        setattr(signing.idp, name, value)
    signing.is_due()
    told = await signing.browser.get("/v1/sites", headers={"Accept": "application/json"})
    assert told.status_code == 401
    assert told.headers["content-type"] == "application/problem+json"
    assert len(signing.api.reach.guard.sessions) == 0
    page = await signing.browser.get("/scrap")
    assert page.status_code == 303
    assert page.headers["location"] == "/sign-in?next=/scrap"
    swap = {"HX-Request": "true", "HX-Current-URL": f"{HERE}/scrap", "Accept": "*/*"}
    part = await signing.browser.get("/scrap", headers=swap)
    assert part.headers["hx-redirect"] == "/sign-in?next=/scrap"


@pytest.mark.parametrize(
    "instead",
    [lambda: PlainTextResponse("down", 503), lambda: PlainTextResponse("not here", 404), large],
)
async def test_while_the_provider_is_away_a_session_goes_on_as_long_as_its_token_is_good(
    signing, instead, monkeypatch
):
    await signing.signs_in()
    signing.idp.instead = instead
    signing.is_due()
    for _ in range(3):
        assert (await signing.browser.get("/")).status_code == 200
    assert signing.idp.grants == ["authorization_code", "refresh_token"]  # not with each request
    signing.is_due(ended=True)
    page = await signing.browser.get("/")
    assert page.status_code == 503
    assert "does not answer; try again" in page.text
    told = await signing.browser.get("/v1/sites", headers={"Accept": "application/json"})
    assert told.status_code == 503
    assert told.json()["type"] == "/problems/provider-away"
    signing.idp.instead = None
    signing.granted.renew_at_s = 0.0  # ten seconds later
    assert (await signing.browser.get("/")).status_code == 200


async def test_keys_that_are_away_lose_no_refresh_token_that_rotated(signing):
    await signing.signs_in()
    verifier, keys = signing.flow.verifier, dict(signing.flow.verifier._keys)
    signing.is_due()
    verifier._keys.clear()
    verifier._away_because = "down"
    first = signing.granted.refresh_token
    assert (await signing.browser.get("/healthz")).status_code == 200
    await signing.flow.keep_good(signing.session, signing.granted, time.time_ns() / 1e9)
    assert signing.granted.refresh_token != first
    verifier._keys.update(keys)
    signing.is_due()
    assert (await signing.browser.get("/")).status_code == 200
    assert signing.idp.refused == []


async def test_without_a_refresh_token_a_session_ends_with_its_token(signing):
    signing.idp.answer_more = {"refresh_token": None}
    await signing.signs_in()
    signing.is_due()
    assert (await signing.browser.get("/")).status_code == 200
    signing.is_due(ended=True)
    assert (await signing.browser.get("/")).status_code == 303
    assert len(signing.api.reach.guard.sessions) == 0


async def test_a_session_is_renewed_by_the_clock_of_its_token(signing):
    began = time.time_ns() // 10**9
    await signing.signs_in()
    ended = time.time_ns() // 10**9 + 1
    granted, session = signing.granted, signing.session
    assert began + 300 - 61 <= granted.renew_at_s <= ended + 300 - 59
    assert began + 300 + LEEWAY_S <= granted.good_until_s <= ended + 301 + LEEWAY_S
    await signing.flow.keep_good(session, granted, granted.renew_at_s - 1)
    assert signing.idp.grants == ["authorization_code"]
    await signing.flow.keep_good(session, granted, granted.renew_at_s)
    assert signing.idp.grants == ["authorization_code", "refresh_token"]


async def test_a_form_renews_the_token_that_it_is_sent_by(signing):
    signing.idp.access_claims = {"mes_grants": ["mes:admin"]}
    await signing.signs_in()
    signing.is_due(ended=True)
    answer = await signing.browser.post("/conflicts/abcd1234", data={
        "form_token": signing.session.form_token, "take": "here", "reason": "x", "seen": "y",
    })  # fmt: skip
    assert answer.status_code in (404, 422), answer.text
    assert signing.idp.grants == ["authorization_code", "refresh_token"]


# --- signing out ----------------------------------------------------------------------------------


async def test_who_signs_out_here_signs_out_at_the_provider_as_well(signing):
    await signing.signs_in()
    hint, form = signing.granted.id_token, {"form_token": signing.session.form_token}
    answer = await signing.browser.post("/sign-out", data=form)
    assert answer.status_code == 200
    assert len(signing.api.reach.guard.sessions) == 0
    (there,) = re.findall(r'content="0;url=([^"]+)"', answer.text)
    async with httpx.AsyncClient() as outside:
        left = await outside.get(there.replace("&amp;", "&"))
    assert left.headers["location"] == f"{HERE}/sign-in"
    assert [each["id_token_hint"] for each in signing.idp.left] == [hint]
    assert (await signing.browser.get("/")).status_code == 303


async def test_where_the_provider_signs_nobody_out_ours_is_ended_all_the_same(signing):
    signing.idp.about_more = {"end_session_endpoint": None}
    await signing.signs_in()
    form = {"form_token": signing.session.form_token}
    answer = await signing.browser.post("/sign-out", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert (await signing.browser.get("/")).status_code == 303


async def test_who_showed_a_key_is_not_sent_to_the_provider_to_sign_out(signing):
    key = await signing.api.key("corporate")
    await signing.browser.post("/sign-in", data={"key": key}, headers={"Origin": HERE})
    form = {"form_token": signing.session.form_token}
    assert (await signing.browser.post("/sign-out", data=form)).status_code == 303

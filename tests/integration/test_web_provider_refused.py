"""What goes wrong between the dashboard and an identity provider: a page that says what to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from central.api import signing_in
from central.api.asking import Guard
from central.api.audit import AuditLog
from central.api.code_flow import Client
from central.api.oidc import Provider
from central.api.reach import Reach
from central.api.signing_in import ANSWER_BYTES_MAX
from sync.transport import Link, LinkSettings
from tests.integration.api_world import NOWHERE, Api, pool
from tests.integration.central_world import CATALOG
from tests.integration.idp import AUDIENCE, CLIENT, OTHER_KEY
from tests.integration.sign_in_world import FROM_THERE, HERE, Signing, beside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def signing() -> AsyncIterator[Signing]:
    """Who comes back from the provider is taken in, or not, without database and broker."""
    nowhere = pool(NOWHERE)
    reach = Reach(
        pool=nowhere, reading=nowhere, reading_url=NOWHERE, watching=nowhere,
        guard=Guard(nowhere), audit=AuditLog(nowhere), catalog=CATALOG,
        link=Link(LinkSettings(servers=(), name="api")),
    )  # fmt: skip
    async with beside(Api(None, reach)) as found:  # type: ignore[arg-type]
        yield found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "x" * 43), ("state", ""), ("iss", "https://evil.example"), ("iss", ""),
        ("code", ""), ("state", "\ud800"),
    ],
    ids=ascii,
)  # fmt: skip
async def test_an_answer_that_we_did_not_ask_for_signs_nobody_in(signing, name, value):
    parts = urlsplit(await signing.goes())
    given = {each: values[0] for each, values in parse_qs(parts.query).items()} | {name: value}
    sent = {each: text for each, text in given.items() if text}
    query = "&".join(f"{each}={quote(text, errors='surrogatepass')}" for each, text in sent.items())
    answer = await signing.comes(f"/sign-in/back?{query}")
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers
    assert signing.idp.grants == []


async def test_an_answer_that_says_something_twice_signs_nobody_in(signing):
    back = await signing.goes()
    assert (await signing.comes(f"{back}&code=other")).status_code == 400
    assert signing.idp.grants == []


async def test_an_answer_in_another_browser_signs_nobody_in_and_spoils_nothing(signing):
    back = await signing.goes()
    async with signing.other() as victim:
        answer = await victim.get(back, headers=FROM_THERE)
        assert answer.status_code == 400
        assert not victim.cookies
    assert signing.idp.grants == []
    assert (await signing.comes(back)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        ("access_denied", 403, "whether your account may use this system"),
        ("invalid_scope", 502, "tell whoever runs this system"),
        ("temporarily_unavailable", 503, "does not answer"),
        ("<script>alert(1)</script>", 502, "an unknown error"),
    ],
)
async def test_what_the_provider_refuses_is_a_page_that_says_what_to_do(
    signing, error, status, says
):
    signing.idp.back_more = {"code": "", "error": error, "error_description": "<b>evil</b>"}
    answer = await signing.signs_in()
    assert answer.status_code == status
    assert says in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>alert" not in answer.text
    assert "evil" not in answer.text
    assert "set-cookie" not in answer.headers


def large() -> Response:
    return PlainTextResponse("x" * (ANSWER_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("instead", "status", "says"),
    [
        (lambda: JSONResponse({"error": "invalid_grant"}, 400), 400, "sign in again"),
        (lambda: JSONResponse({"error": "invalid_client"}, 401), 502, "invalid_client"),
        (lambda: JSONResponse({"error": "<b>"}, 400), 502, "an unknown error"),
        (lambda: PlainTextResponse("not here", 404), 502, "gives no token (404)"),
        (lambda: PlainTextResponse("down", 500), 503, "does not answer"),
        (lambda: RedirectResponse("https://evil.example", 307), 502, "gives no token (307)"),
        (lambda: PlainTextResponse("<html>"), 502, "gives no token (200)"),
        (large, 502, "more than 262,144 bytes"),
    ],
)
async def test_a_token_endpoint_that_gives_none_is_a_page_that_says_so(
    signing, instead, status, says
):
    signing.idp.instead = instead
    answer = await signing.signs_in()
    assert answer.status_code == status, answer.text
    assert says in answer.text
    assert "set-cookie" not in answer.headers
    assert len(signing.api.reach.guard.sessions) == 0


async def test_a_token_endpoint_that_takes_too_long_is_waited_for_no_longer(signing, monkeypatch):
    monkeypatch.setattr(signing_in, "ANSWER_MAX_S", 0.2)
    signing.idp.waits_s = 10.0
    began = time.monotonic()
    answer = await signing.signs_in()
    assert answer.status_code == 503
    assert time.monotonic() - began < 9.0


async def test_a_wrong_secret_is_told_as_what_it_is_and_not_shown(signing):
    wrong = "wr0ng-secret"
    signing.flow.client = Client(client_id=CLIENT, secret=wrong, public_url=HERE)
    answer = await signing.signs_in()
    assert answer.status_code == 502
    assert "invalid_client" in answer.text
    assert wrong not in answer.text


@pytest.mark.parametrize(
    "changed",
    [
        {"id_claims": {"nonce": "x" * 43}}, {"id_claims": {"nonce": None}},
        {"id_claims": {"aud": "other"}}, {"id_claims": {"aud": [CLIENT, "other"]}},
        {"id_claims": {"iss": "https://evil.example"}}, {"id_claims": {"exp": 1}},
        {"id_claims": {"at_hash": "x"}}, {"id_claims": {"azp": "other"}},
        {"id_claims": {"sub": None}}, pytest.param({"key": OTHER_KEY}, id="another key"),
        {"answer_more": {"id_token": None}}, {"answer_more": {"id_token": "x.y.z"}},
    ],
    ids=str,
)  # fmt: skip
async def test_an_id_token_that_is_not_the_answer_to_our_question_signs_nobody_in(signing, changed):
    for name, value in changed.items():
        setattr(signing.idp, name, value)
    answer = await signing.signs_in()
    assert answer.status_code == 502
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers
    assert len(signing.api.reach.guard.sessions) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"answer_more": {"access_token": "opaque-7f3a"}, "id_claims": {"at_hash": None}},
        {"access_claims": {"aud": "https://graph.example.com"}}, {"access_claims": {"exp": 1}},
    ],
    ids=str,
)  # fmt: skip
async def test_an_access_token_that_is_not_for_us_is_told_by_the_setting_to_mend(signing, changed):
    for name, value in changed.items():
        setattr(signing.idp, name, value)
    answer = await signing.signs_in()
    assert answer.status_code == 502
    assert "MES_OIDC_AUDIENCE" in answer.text
    assert "opaque-7f3a" not in answer.text


@pytest.mark.parametrize("claims", [{"mes_grants": []}, {"scope": "openid mes:plan"}])
async def test_whoever_may_read_nothing_here_is_told_to_ask_for_a_grant(signing, claims):
    signing.idp.access_claims = claims
    answer = await signing.signs_in()
    assert answer.status_code == 403
    assert "no grant to read here" in answer.text
    assert len(signing.api.reach.guard.sessions) == 0


async def test_while_the_provider_is_away_the_page_says_so_and_keys_go_on(signing):
    signing.flow.verifier.provider = Provider(
        issuer="http://127.0.0.1:1", audience=AUDIENCE, grants_claim="mes_grants"
    )
    answer = await signing.browser.get("/sign-in/provider")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert (await signing.browser.get("/sign-in")).status_code == 200

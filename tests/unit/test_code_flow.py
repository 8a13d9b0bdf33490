"""Signing in at the identity provider, without one: what is asked, taken, and how long it lasts."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from central.api.code_flow import (
    HINT_MAX,
    Client,
    GrantRefused,
    ProviderUnfit,
    SignInInvalid,
    SignInRefused,
    Tokens,
    asking_url,
    challenge,
    check_identity,
    code_of,
    leaving_url,
    renews_at,
    shows_secret_in,
    tokens_in,
)
from central.api.oidc import ProviderAway
from central.api.serve import client_of
from central.api.sessions import COOKIES
from central.api.sign_ins import PENDING_MAX, PENDING_S, WANTED_MAX, SignIns, cookie_name
from central.settings import CentralSettings
from shared.errors import BadSetting

ISSUER = "https://login.example.org"
CLIENT = Client(client_id="mes dash", secret="hush", public_url="https://mes.example.org")
ABOUT = {
    "authorization_endpoint": f"{ISSUER}/go?realm=a%20b", "end_session_endpoint": f"{ISSUER}/end",
}  # fmt: skip
DISCOVERED = {"authorization_response_iss_parameter_supported": True}


# --- what it is asked -----------------------------------------------------------------------------


def test_the_challenge_is_the_one_of_the_example_of_rfc_7636():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_browser_is_sent_with_all_that_binds_the_answer_and_none_of_what_proves_it():
    url = asking_url(CLIENT, ABOUT, state="s", nonce="n", verifier="v" * 43)
    assert url.startswith(f"{ISSUER}/go?realm=a%20b&")  # what stood there stays (RFC 6749, 3.1)
    asked = parse_qs(urlsplit(url).query)
    assert asked == {
        "realm": ["a b"], "response_type": ["code"], "client_id": ["mes dash"],
        "redirect_uri": ["https://mes.example.org/sign-in/back"], "scope": ["openid"],
        "state": ["s"], "nonce": ["n"], "code_challenge": [challenge("v" * 43)],
        "code_challenge_method": ["S256"],
    }  # fmt: skip
    assert "hush" not in url
    assert "v" * 43 not in url


@pytest.mark.parametrize("said", [None, "", "http://login.example.org/go", "javascript:x", 7])
def test_a_browser_is_sent_nowhere_that_others_could_listen_to(said):
    with pytest.raises(ProviderUnfit, match="https://"):
        asking_url(CLIENT, {"authorization_endpoint": said}, state="s", nonce="n", verifier="v")
    assert leaving_url(CLIENT, {"end_session_endpoint": said}, "token") == ""


def test_who_signs_out_shows_whose_session_ends_unless_an_address_can_not_hold_it():
    for token, shown in (("a.b.c", ["a.b.c"]), ("x" * (HINT_MAX + 1), None), ("", None)):
        asked = parse_qs(urlsplit(leaving_url(CLIENT, ABOUT, token)).query)
        assert asked.get("id_token_hint") == shown
        assert asked["client_id"] == ["mes dash"]
        assert asked["post_logout_redirect_uri"] == ["https://mes.example.org/sign-in"]


@pytest.mark.parametrize(
    ("listed", "where"),
    [
        (None, "header"), ([], "header"), (["private_key_jwt"], "header"), ("x", "header"),
        (["client_secret_post", "client_secret_basic"], "header"), (["client_secret_post"], "form"),
    ],
)  # fmt: skip
def test_a_secret_goes_into_the_header_unless_the_provider_takes_forms_alone(listed, where):
    assert shows_secret_in({"token_endpoint_auth_methods_supported": listed}) == where


# --- what it answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("about", [{}, DISCOVERED])
def test_a_code_of_the_provider_that_was_asked_is_taken(about):
    assert code_of({"code": "c", "iss": ISSUER}, ISSUER, about) == "c"
    assert code_of({"code": "c"}, ISSUER, {}) == "c"


@pytest.mark.parametrize(
    ("params", "about"),
    [
        ({"code": "c", "iss": "https://other.example.org"}, {}),
        ({"code": "c", "iss": ""}, {}),
        ({"code": "c", "iss": f"{ISSUER}/"}, {}),
        ({"code": "c"}, DISCOVERED),
        ({"error": "access_denied"}, DISCOVERED),
        ({"iss": ISSUER}, {}),
        ({"code": ""}, {}),
        ({"code": "c" * 5_000}, {}),
    ],
)
def test_an_answer_of_another_provider_or_without_a_code_is_refused(params, about):
    with pytest.raises(SignInInvalid):
        code_of(params, ISSUER, about)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("access_denied", SignInRefused), ("login_required", SignInRefused),
        ("server_error", ProviderAway), ("temporarily_unavailable", ProviderAway),
        ("invalid_scope", ProviderUnfit), ("<script>", ProviderUnfit), ("x" * 99, ProviderUnfit),
    ],
)  # fmt: skip
def test_what_the_provider_refuses_is_told_by_what_can_be_done_about_it(error, raised):
    with pytest.raises(raised) as told:
        code_of({"error": error, "error_description": "<b>evil</b>", "code": "c"}, ISSUER, {})
    assert "<" not in str(told.value)
    assert "x" * 61 not in str(told.value)


def body(**changed) -> bytes:
    said = {"access_token": "a", "token_type": "Bearer", "id_token": "i", "refresh_token": "r"}
    return json.dumps({k: v for k, v in (said | changed).items() if v is not None}).encode()


def test_tokens_are_taken_as_the_provider_gives_them_and_are_in_no_representation():
    found = tokens_in(200, body(access_token="hush-a", id_token="hush-i", refresh_token="hush-r"))
    assert (found.access, found.identity, found.refresh) == ("hush-a", "hush-i", "hush-r")
    assert "hush" not in repr(found) + repr(CLIENT)
    bare = tokens_in(200, body(id_token=None, refresh_token=None, token_type="bearer"))
    assert (bare.identity, bare.refresh) == ("", "")


@pytest.mark.parametrize(
    ("status", "content", "raised"),
    [
        (400, b'{"error": "invalid_grant"}', GrantRefused),
        (401, b'{"error": "invalid_client"}', GrantRefused),
        (404, b'{"error": "invalid_grant"}', ProviderUnfit),  # not where OAuth says so
        (404, b"<h1>404 page not found</h1>", ProviderUnfit),
        (302, b"", ProviderUnfit),
        (200, b"", ProviderUnfit), (200, b"[]", ProviderUnfit), (200, b"\xff", ProviderUnfit),
        (200, b"[" * 100_000, ProviderUnfit),
        (200, body(access_token=None), ProviderUnfit), (200, body(access_token=7), ProviderUnfit),
        (200, body(token_type="DPoP"), ProviderUnfit), (200, body(token_type=None), ProviderUnfit),
        (200, body(id_token=7), ProviderUnfit), (200, body(refresh_token=["r"]), ProviderUnfit),
        (500, b'{"error": "invalid_grant"}', ProviderAway), (503, b"", ProviderAway),
        (429, b"", ProviderAway), (408, b"", ProviderAway),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_without_tokens_is_a_refusal_trouble_or_of_no_use(status, content, raised):
    with pytest.raises(raised):
        tokens_in(status, content)


def signed(algorithm: str = "HS256") -> Tokens:
    token = jwt.encode({}, "k" * 64, algorithm)
    return Tokens(access="access", identity=token, refresh="")


def test_an_id_token_that_answers_our_question_is_accepted():
    tokens, half = signed(), hashlib.sha256(b"access").digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    for claims in (
        {"aud": "mes dash", "nonce": "n"},
        {"aud": ["mes dash"], "nonce": "n", "azp": "mes dash"},
        {"aud": ["mes dash", "other"], "nonce": "n", "azp": "mes dash", "at_hash": at_hash},
    ):
        check_identity(claims, CLIENT, "n", tokens)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "mes dash"}, {"aud": "mes dash", "nonce": "m"}, {"aud": "mes dash", "nonce": ""},
        {"aud": "mes dash", "nonce": ["n"]},
        {"aud": ["mes dash", "other"], "nonce": "n"},
        {"aud": ["mes dash", "other"], "nonce": "n", "azp": "other"},
        {"aud": "mes dash", "nonce": "n", "azp": "other"},
        {"aud": "mes dash", "nonce": "n", "at_hash": "x"},
        {"aud": "mes dash", "nonce": "n", "at_hash": None},
    ],
    ids=str,
)  # fmt: skip
def test_an_id_token_of_another_question_client_or_access_token_is_refused(claims):
    with pytest.raises(ProviderUnfit):
        check_identity(claims, CLIENT, "n", signed())


@pytest.mark.parametrize(
    ("lives_s", "before_s"), [(3600, 60), (300, 60), (240, 60), (60, 15), (0, 0), (-30, 0)]
)
def test_a_token_is_renewed_shortly_before_its_end_and_never_all_the_time(lives_s, before_s):
    assert renews_at(1_000, 1_000 + lives_s) == 1_000 + lives_s - before_s


# --- under way ------------------------------------------------------------------------------------


def brought(begun, *, secure: bool = True) -> dict[str, str]:
    return {cookie_name(begun.state, secure=secure): begun.cookie}


def test_a_sign_in_is_used_once_by_the_browser_that_began_it():
    under_way = SignIns()
    one, other = (under_way.begin(f"/{n}", {COOKIES[1]: "c"}, 0.0) for n in range(2))
    for cookies in ({}, brought(other), {cookie_name(one.state, secure=True): other.cookie}):
        with pytest.raises(SignInInvalid):
            under_way.take(one.state, cookies, 1.0, secure=True)
    with pytest.raises(SignInInvalid):  # a host beside ours can set a cookie of this name
        under_way.take(one.state, brought(one, secure=False), 1.0, secure=True)
    found = under_way.take(one.state, brought(one) | brought(other), 1.0, secure=True)
    assert (found.wanted, found.earlier) == ("/0", {COOKIES[1]: "c"})
    with pytest.raises(SignInInvalid):
        under_way.take(one.state, brought(one), 1.0, secure=True)
    assert under_way.take(other.state, brought(other, secure=False), 1.0, secure=False) is other
    assert len(under_way) == 0


def test_chance_tells_sign_ins_apart_and_none_of_it_is_in_a_representation():
    under_way = SignIns()
    begun = [under_way.begin("/", {}, 0.0) for _ in range(20)]
    chances = [text for b in begun for text in (b.state, b.cookie, b.nonce, b.verifier)]
    assert len(set(chances)) == 80
    assert all(len(text) >= 43 for text in chances)
    assert not [text for text in chances if text in repr(begun) + repr(list(under_way._known))]


@pytest.mark.parametrize(("after_s", "is_good"), [(PENDING_S, True), (PENDING_S + 1, False)])
def test_a_sign_in_waits_for_ten_minutes_and_no_longer(after_s, is_good):
    under_way = SignIns()
    begun = under_way.begin("/", {}, 100.0)
    if is_good:
        under_way.take(begun.state, brought(begun), 100.0 + after_s, secure=True)
        return
    with pytest.raises(SignInInvalid):
        under_way.take(begun.state, brought(begun), 100.0 + after_s, secure=True)


def test_there_are_never_more_sign_ins_than_the_limit_and_the_oldest_makes_room():
    under_way = SignIns()
    first = under_way.begin("/", {}, 0.0)
    begun = [under_way.begin("/", {}, 1.0) for _ in range(PENDING_MAX)]
    assert len(under_way) == PENDING_MAX
    with pytest.raises(SignInInvalid):
        under_way.take(first.state, brought(first), 1.0, secure=True)
    assert under_way.take(begun[0].state, brought(begun[0]), 1.0, secure=True)
    under_way.begin("/", {}, PENDING_S + 2)
    assert len(under_way) == 1


def test_a_sign_in_does_not_keep_an_address_without_end():
    assert SignIns().begin("/" + "x" * WANTED_MAX, {}, 0.0).wanted == "/"


# --- settings -------------------------------------------------------------------------------------


def settings(tmp_path: Path | None = None, **changed) -> CentralSettings:
    given = {
        "oidc_issuer": ISSUER, "oidc_audience": "mes", "oidc_client_id": "mes-dashboard",
        "public_url": "https://mes.example.org/", "oidc_scopes": "openid  offline_access",
    }  # fmt: skip
    return CentralSettings(database_url="", **(given | changed))


def test_a_client_is_read_with_its_secret_and_without_the_slash_of_its_address(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(" hush\n")
    found = client_of(settings(oidc_client_secret_file=secret))
    assert found
    assert (found.secret, found.scopes) == ("hush", ("openid", "offline_access"))
    assert found.redirect_uri == "https://mes.example.org/sign-in/back"
    assert client_of(settings(oidc_client_id="")) is None


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"public_url": ""}, "MES_PUBLIC_URL"), ({"oidc_issuer": ""}, "MES_OIDC_ISSUER"),
        ({"public_url": "http://mes.example.org"}, "https://"),
        ({"public_url": "mes.example.org"}, "https://"),
        ({"public_url": "https://mes.example.org/mes"}, "without a path"),
        ({"public_url": "https://mes.example.org?x"}, "without a path"),
        ({"public_url": "https://"}, "without a path"),
        ({"public_url": "https://u@mes.example.org"}, "without a path"),
        ({"oidc_scopes": "profile"}, "openid"),
        ({"oidc_client_secret_file": Path("/nowhere")}, "MES_OIDC_CLIENT_SECRET_FILE=/nowhere"),
        ({"oidc_client_id": "", "oidc_client_secret_file": Path("x")}, "MES_OIDC_CLIENT_ID"),
    ],
)  # fmt: skip
def test_a_client_that_could_not_sign_anybody_in_is_a_setting_to_mend(changed, rule):
    with pytest.raises(BadSetting, match=rule):
        client_of(settings(**changed))


def test_an_empty_file_is_no_secret(tmp_path):
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(BadSetting, match="empty"):
        client_of(settings(oidc_client_secret_file=tmp_path / "secret"))

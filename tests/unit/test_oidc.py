"""Tokens of people: which are accepted, and how the provider's keys are had."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from central.access import Scope, reached
from central.api import oidc
from central.api.oidc import BadToken, Provider, ProviderAway, Verifier
from shared.errors import BadSetting

ISSUER = "https://login.example.org/realms/plants"
SITES = frozenset({"SITE_001", "SITE_002"})
RSA_KEY = rsa.generate_private_key(65537, 2048)
KINDS: dict[str, tuple[Any, Any]] = {
    "RS256": (RSA_KEY, RSAAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
}


def now_s() -> int:
    return time.time_ns() // 10**9


def coded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@dataclass
class Door:
    """An identity provider, as it is asked over HTTP."""

    algorithm: str = "RS256"
    kid: str = "one"
    issuer: str = ISSUER
    jwks_uri: str = f"{ISSUER}/keys"
    away: bool = False
    more: list[Any] = field(default_factory=list)
    asked: int = 0

    @property
    def key(self) -> Any:
        return KINDS[self.algorithm][0]

    async def about(self, _: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(0)  # as a network would have others come in between
        if self.away:
            return PlainTextResponse("down for maintenance", 502)
        return JSONResponse({"issuer": self.issuer, "jwks_uri": self.jwks_uri})

    async def keys(self, _: Any) -> JSONResponse:
        public = KINDS[self.algorithm][1].to_jwk(self.key.public_key(), as_dict=True)
        public |= {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        return JSONResponse({"keys": [*self.more, public]})

    def verifier(self, claim: str = "mes_grants", audience: str = "mes") -> Verifier:
        path = "/realms/plants"
        app = Starlette(routes=[
            Route(f"{path}/.well-known/openid-configuration", self.about),
            Route(f"{path}/keys", self.keys),
        ])  # fmt: skip
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
        return Verifier(Provider(issuer=ISSUER, audience=audience, grants_claim=claim), client)

    def token(self, *, kid: str = "", **changed: Any) -> str:
        """Sign claims; instants are given in seconds from now."""
        claims = {
            "iss": ISSUER, "aud": "mes", "sub": "7f3a", "iat": 0, "exp": 300,
            "mes_grants": ["mes:plant:SITE_001"],
        }  # fmt: skip
        said = {k: v for k, v in (claims | changed).items() if v is not None}
        said |= {name: now_s() + said[name] for name in ("iat", "exp", "nbf") if name in said}
        return jwt.encode(said, self.key, self.algorithm, headers={"kid": kid or self.kid})


@pytest.mark.parametrize("algorithm", KINDS)
async def test_a_token_that_the_provider_signed_tells_who_asks_and_until_when(algorithm):
    door = Door(algorithm)
    found, until = await door.verifier().verify(door.token(preferred_username="anna"))
    assert found.name == "user 7f3a anna"
    assert reached(found, Scope.REVIEW, SITES) == ("SITE_001",)
    assert 295 < until - oidc.LEEWAY_S - now_s() <= 300


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": -3600}, {"exp": None}, {"aud": "other"}, {"aud": None},
        {"iss": "https://other.example.org"}, {"iss": None}, {"sub": None}, {"sub": 7},
        {"nbf": 3600},
    ],
    ids=str,
)  # fmt: skip
async def test_a_token_that_is_old_for_another_or_says_not_whose_it_is_is_refused(changed):
    door = Door()
    with pytest.raises(BadToken):
        await door.verifier().verify(door.token(**changed))


async def test_a_token_that_was_changed_is_refused():
    door = Door()
    head, body, signature = door.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = claims | {"mes_grants": ["admin"]}
    with pytest.raises(BadToken):
        await door.verifier().verify(f"{head}.{coded(forged)}.{signature}")


async def test_a_token_without_a_signature_is_refused():
    claims = {"iss": ISSUER, "aud": "mes", "sub": "x", "exp": now_s() + 60}
    token = jwt.encode(claims, None, "none", headers={"kid": "one"})
    with pytest.raises(BadToken):
        await Door().verifier().verify(token)


@pytest.mark.parametrize(("exp", "is_good"), [(-oidc.LEEWAY_S + 3, True), (-33, False)])
async def test_a_token_is_good_for_half_a_minute_after_its_end_and_no_longer(exp, is_good):
    door = Door()
    if is_good:
        await door.verifier().verify(door.token(exp=exp))
    else:
        with pytest.raises(BadToken):
            await door.verifier().verify(door.token(exp=exp))


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt"])
async def test_a_token_that_is_for_something_else_is_refused(typ):
    door = Door()
    claims = {"iss": ISSUER, "aud": "mes", "sub": "x", "exp": now_s() + 60}
    token = jwt.encode(claims, RSA_KEY, "RS256", headers={"kid": "one", "typ": typ})
    with pytest.raises(BadToken):
        await door.verifier().verify(token)


async def test_a_token_that_is_signed_by_the_public_key_as_a_secret_is_refused():
    public = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": ISSUER, "aud": "mes", "sub": "x", "exp": now_s() + 60, "mes_grants": ["admin"]}
    said = ".".join(coded(each) for each in ({"alg": "HS256", "kid": "one"}, claims))
    seal = hmac.digest(public, said.encode(), "sha256")
    token = f"{said}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"
    with pytest.raises(BadToken):
        await Door().verifier().verify(token)


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "..", "é.é.é", "a" * 8_000])
async def test_what_is_no_token_is_refused_and_the_provider_is_not_asked(text):
    door = Door()
    with pytest.raises(BadToken):
        await door.verifier().verify(text)
    assert not door.asked


# --- grants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "changed", "sites"),
    [
        ("mes_grants", {"mes_grants": "mes:plant:SITE_002"}, ("SITE_002",)),
        ("realm_access.roles", {"realm_access": {"roles": ["uma", "admin", "mes:corporate"]}},
         ("SITE_001", "SITE_002")),
        ("roles", {"roles": ["offline_access", "mes:plant:SITE_002", "mes:king", 7, None]},
         ("SITE_002",)),
        ("https://example.org/mes", {"https://example.org/mes": ["mes:plant:SITE_002"]},
         ("SITE_002",)),
    ],
)  # fmt: skip
async def test_grants_are_found_where_the_provider_puts_them_among_roles_of_others(
    claim, changed, sites
):
    door = Door()
    found, _ = await door.verifier(claim).verify(door.token(**changed))
    assert reached(found, Scope.READ, SITES) == sites
    assert Scope.ADMIN not in found.reach


@pytest.mark.parametrize(
    ("changed", "scopes"),
    [
        ({}, {"read", "review"}),
        ({"scope": "openid email"}, {"read", "review"}),
        ({"scope": "openid mes:read"}, {"read"}),
        ({"scp": ["mes:review", "User.Read"]}, {"review"}),
        ({"scp": "mes:read mes:review"}, {"read", "review"}),
        ({"scope": "mes:read", "scp": ["mes:review"]}, set()),
        ({"scope": "mes:admin"}, set()),  # no more than the grants
        ({"scope": "mes:anything"}, set()),
        ({"scope": 7}, set()),
        ({"scp": ["mes:read", 7]}, set()),
    ],
    ids=lambda each: str(sorted(each)),  # a set has no order of its own
)
async def test_a_token_is_for_no_more_than_its_scopes_and_none_adds_to_the_grants(changed, scopes):
    door = Door()
    found, _ = await door.verifier().verify(door.token(**changed))
    assert {scope.value for scope in found.reach} == scopes


async def test_a_role_of_the_providers_own_that_is_called_as_one_of_ours_grants_nothing():
    door = Door()
    found, _ = await door.verifier().verify(door.token(mes_grants=["admin", "corporate"]))
    assert found.reach == {}


@pytest.mark.parametrize(
    ("sub", "name"),
    [
        ("7f3a", "user 7f3a"),
        ("auth0|5f7c8ec7c33c6c004bbafe82", "user auth0|5f7c8ec7c33c6c004bbafe82"),
    ],
)
async def test_a_person_is_named_by_what_never_changes(sub, name):
    door = Door()
    assert (await door.verifier().verify(door.token(sub=sub)))[0].name == name


async def test_no_two_people_are_one_in_a_log_and_none_draws_a_line_of_it():
    door, subs = Door(), ["a b", "a\nb", "a\x00b", "x" * 99 + "1", "x" * 99 + "2", "a"]
    verifier = door.verifier()
    names = [
        (await verifier.verify(door.token(sub=each, preferred_username="an\nna")))[0].name
        for each in subs
    ]
    assert len({name.split()[1] for name in names}) == len(subs)
    assert all(name.isprintable() and len(name) <= 80 for name in names)


@pytest.mark.parametrize("claim", ["nowhere", "mes_grants.deeper", "sub.deeper", "exp"])
async def test_a_token_without_grants_says_who_it_is_and_reaches_nothing(claim):
    door = Door()
    found, _ = await door.verifier(claim).verify(door.token())
    assert (found.name, found.reach) == ("user 7f3a", {})


# --- the provider's keys ----------------------------------------------------------------------


async def test_the_keys_are_asked_for_once_and_again_when_one_is_new(monkeypatch):
    door = Door()
    verifier = door.verifier()
    for _ in range(3):
        await verifier.verify(door.token())
    assert door.asked == 1
    door.kid = "two"
    with pytest.raises(BadToken):  # just asked
        await verifier.verify(door.token())
    monkeypatch.setattr(oidc, "PAUSE_S", -1.0)
    await verifier.verify(door.token())
    assert door.asked == 2
    with pytest.raises(BadToken):  # a key that the provider withdrew
        await verifier.verify(door.token(kid="one"))


async def test_who_comes_while_the_provider_is_being_asked_waits_for_its_answer():
    door = Door()
    verifier = door.verifier()
    found = await asyncio.gather(
        *(verifier.verify(door.token()) for _ in range(5)), *(verifier.about() for _ in range(5))
    )
    assert len(found) == 10
    assert door.asked == 1


async def test_tokens_of_unknown_keys_do_not_make_us_ask_the_provider_each_time():
    door = Door()
    verifier = door.verifier()
    for n in range(20):
        with pytest.raises(BadToken):
            await verifier.verify(door.token(kid=f"unknown {n}"))
    assert door.asked == 1


async def test_while_the_provider_is_away_known_keys_go_on_and_unknown_ones_are_told_why(
    monkeypatch,
):
    monkeypatch.setattr(oidc, "PAUSE_S", -1.0)
    monkeypatch.setattr(oidc, "FRESH_S", -1.0)
    door = Door(away=True)
    verifier = door.verifier()
    with pytest.raises(ProviderAway) as told:
        await verifier.verify(door.token())
    assert ISSUER not in str(told.value)  # whoever asks with any token is told no more
    door.away = False
    await verifier.verify(door.token())
    door.away = True
    await verifier.verify(door.token())
    with pytest.raises(ProviderAway):
        await verifier.verify(door.token(kid="two"))


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://other.example.org"},
        {"jwks_uri": ISSUER.replace("https", "http") + "/keys"},
    ],
)
async def test_keys_that_anybody_could_have_put_there_are_not_taken(changed):
    door = Door(**changed)
    with pytest.raises(ProviderAway):
        await door.verifier().verify(door.token())


def test_only_public_keys_that_sign_are_taken_and_one_that_is_damaged_spoils_no_other():
    public = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    found = oidc.keys_in({
        "keys": [
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0" * 5, "alg": "HS256"},
            public | {"kid": "damaged", "alg": ["x"]}, public | {"kid": "enc", "use": "enc"},
            public | {"kid": "good"}, public, None, 7,
        ]
    })  # fmt: skip
    assert list(found) == ["good"]
    assert oidc.keys_in({"keys": 7}) == oidc.keys_in({}) == {}
    assert not {each for each in oidc.ALGORITHMS if each.startswith(("HS", "none"))}


async def test_keys_of_a_kind_that_we_do_not_know_or_that_sign_nothing_are_passed_over():
    door = Door(more=[
        {"kty": "future", "kid": "a"}, {"kty": "oct", "kid": "one", "k": "c2VjcmV0"}, 7, {},
        {"kty": "RSA", "kid": "one", "use": "enc", "n": "x", "e": "AQAB"},
    ])  # fmt: skip
    await door.verifier().verify(door.token())


@pytest.mark.parametrize(
    ("issuer", "audience", "rule"),
    [
        ("http://login.example.org", "mes", "https://"),
        ("login.example.org", "mes", "https://"),
        ("https://login.example.org", "", "MES_OIDC_AUDIENCE"),
    ],
)
def test_a_provider_that_could_be_impersonated_is_a_setting_to_mend(issuer, audience, rule):
    with pytest.raises(BadSetting, match=rule):
        Provider(issuer=issuer, audience=audience, grants_claim="mes_grants")


def test_a_provider_on_this_machine_needs_no_tls():
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080"):
        Provider(issuer=f"http://{host}/realms/x", audience="mes", grants_claim="mes_grants")

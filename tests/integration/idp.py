"""An identity provider over real HTTP, as strict as OAuth and OpenID Connect have one be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from central.api.serve import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
CLIENT, SECRET, AUDIENCE = "mes-dashboard", "s3cret /+:~é", "mes"


def b64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Asked:
    """What was asked at the authorization endpoint, kept with its code or refresh token."""

    params: dict[str, str]
    #: All refresh tokens that came of one sign-in: using one twice ends them all.
    family: str
    is_used: bool = False


@dataclass
class Idp:
    """The provider, and what it is to do wrong."""

    issuer: str
    redirect_uri: str
    left_uri: str
    secret: str = SECRET
    lives_s: int = 300
    #: header, form, or both.
    auth: str = "header"
    sub: str = "7f3a"
    id_claims: dict[str, Any] = field(default_factory=dict)
    access_claims: dict[str, Any] = field(default_factory=dict)
    answer_more: dict[str, Any] = field(default_factory=dict)
    about_more: dict[str, Any] = field(default_factory=dict)
    back_more: dict[str, str] = field(default_factory=dict)
    key: Any = KEY
    #: Answers at the token endpoint in its place.
    instead: Callable[[], Response] | None = None
    waits_s: float = 0.0
    asks_first: bool = False
    codes: dict[str, Asked] = field(default_factory=dict)
    refreshes: dict[str, Asked] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    given: list[str] = field(default_factory=list)
    #: Grants that were asked for, refused or not; and what was refused, in words.
    grants: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    # --- what it says of itself -------------------------------------------------------------

    async def about(self, _: Request) -> Response:
        methods = {"header": ["client_secret_basic"], "form": ["client_secret_post"]}
        return JSONResponse({
            "issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys",
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=plants",
            "token_endpoint": f"{self.issuer}/token",
            "end_session_endpoint": f"{self.issuer}/leave",
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": methods[self.auth],
        } | self.about_more)  # fmt: skip

    async def keys(self, _: Request) -> Response:
        public = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        return JSONResponse({"keys": [public | {"kid": "one", "use": "sig", "alg": "RS256"}]})

    # --- signing in ---------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        given = dict(request.query_params)
        assert given.pop("tenant") == "plants"
        if given.get("client_id") != CLIENT or given.get("redirect_uri") != self.redirect_uri:
            return self._no("no such client or redirect_uri", 400)  # it is never gone back then
        right = {"response_type": "code", "code_challenge_method": "S256"}
        wrong = [name for name, value in right.items() if given.get(name) != value]
        wrong += [name for name in ("state", "nonce") if len(given.get(name, "")) < 22]
        if wrong or len(given["code_challenge"]) != 43 or "openid" not in given["scope"].split():
            return self._no(f"asked wrongly: {wrong}", 400)
        if self.asks_first and "agreed" not in given:
            more = urlencode(given | {"tenant": "plants", "agreed": "1"})
            return HTMLResponse(f"<h1>Provider</h1><a href='/authorize?{more}'>I am Anna</a>")
        code = secrets.token_urlsafe(16)
        self.codes[code] = Asked(given, secrets.token_hex(4))
        self.given.append(code)
        back = {"state": given["state"], "iss": self.issuer, "code": code} | self.back_more
        return RedirectResponse(
            f"{self.redirect_uri}?{urlencode({k: v for k, v in back.items() if v})}", 303
        )

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        self.grants.append(str(form.get("grant_type")))
        self.asked.set()
        await asyncio.sleep(self.waits_s)
        if self.instead is not None:
            return self.instead()
        if not self._is_client(request, form):
            return self._no("invalid_client", 401)
        known = self.codes if form.get("grant_type") == "authorization_code" else self.refreshes
        found = known.get(str(form.get("code") or form.get("refresh_token")))
        if found is None or found.family in self.ended:
            return self._no("invalid_grant")
        if found.is_used:  # somebody stole it: nothing that came of it is worth anything now
            self.ended.add(found.family)
            return self._no("invalid_grant")
        found.is_used = True
        if known is self.codes and not self._is_proven(found, form):
            return self._no("invalid_grant")
        return JSONResponse(self._tokens(found))

    def _is_client(self, request: Request, form: dict[str, Any]) -> bool:
        header = request.headers.get("authorization", "")
        if self.auth == "header" and self.secret:
            name, _, secret = (
                base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            )
            shown = (unquote_plus(name), unquote_plus(secret))
            return shown == (CLIENT, self.secret) and not {"client_id", "client_secret"} & set(form)
        return (
            not header
            and form.get("client_id") == CLIENT
            and form.get("client_secret", "") == self.secret
        )

    def _is_proven(self, found: Asked, form: dict[str, Any]) -> bool:
        shown = b64(hashlib.sha256(str(form.get("code_verifier")).encode()).digest())
        is_whole = 43 <= len(str(form.get("code_verifier"))) <= 128
        is_back = form.get("redirect_uri") == self.redirect_uri
        return is_whole and is_back and shown == found.params["code_challenge"]

    def _tokens(self, found: Asked) -> dict[str, Any]:
        refresh = secrets.token_urlsafe(16)
        self.refreshes[refresh] = Asked(found.params, found.family)
        access = self.signed({"aud": AUDIENCE, "mes_grants": ["mes:plant:SITE_001"],
                              "preferred_username": "anna", "jti": refresh[:8]}
                             | self.access_claims)  # fmt: skip
        half = hashlib.sha256(access.encode()).digest()[:16]
        identity = self.signed(
            {"aud": CLIENT, "nonce": found.params["nonce"], "at_hash": b64(half)} | self.id_claims,
            self.key,
        )
        self.given += [refresh, access, identity]
        answer = {
            "access_token": access, "id_token": identity, "refresh_token": refresh,
            "token_type": "Bearer", "expires_in": self.lives_s,
        } | self.answer_more  # fmt: skip
        return {name: value for name, value in answer.items() if value is not None}

    def signed(self, claims: dict[str, Any], key: Any = KEY) -> str:
        now_s = time.time_ns() // 10**9
        said = {"iss": self.issuer, "sub": self.sub, "iat": now_s, "exp": now_s + self.lives_s}
        whole = {name: value for name, value in (said | claims).items() if value is not None}
        return jwt.encode(whole, key, "RS256", headers={"kid": "one"})

    def _no(self, why: str, status: int = 400) -> Response:
        self.refused.append(why)
        return JSONResponse({"error": why, "error_description": f"<b>{why}</b>"}, status)

    # --- signing out --------------------------------------------------------------------------

    async def leave(self, request: Request) -> Response:
        given = dict(request.query_params)
        jwt.decode(
            given["id_token_hint"], KEY.public_key(), ["RS256"], audience=CLIENT,
            options={"verify_exp": False},
        )  # fmt: skip
        assert (given["client_id"], given["post_logout_redirect_uri"]) == (CLIENT, self.left_uri)
        self.left.append(given)
        return RedirectResponse(self.left_uri, 303)

    def app(self) -> Starlette:
        return Starlette(routes=[
            Route("/.well-known/openid-configuration", self.about), Route("/keys", self.keys),
            Route("/authorize", self.authorize), Route("/leave", self.leave),
            Route("/token", self.token, methods=["POST"]),
        ])  # fmt: skip


@asynccontextmanager
async def provider(public_url: str, host: str = "127.0.0.1") -> AsyncIterator[Idp]:
    """Run a provider that knows the dashboard at this address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        issuer = f"http://{host}:{listener.getsockname()[1]}"
        found = Idp(issuer, f"{public_url}/sign-in/back", f"{public_url}/sign-in")
        serving = asyncio.create_task(serve(found.app(), listener))
        try:
            yield found
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

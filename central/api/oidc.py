"""Tokens of people, as an identity provider signs them (OpenID Connect, OAuth 2.0; RFC 9068).

The provider's keys are found by its discovery document, kept, and asked for again when a token
names one that is not known; not more often than every ten seconds, whatever anybody sends.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
import jwt

from central.access import Scope, who
from central.audit import cleaned
from shared import reviews
from shared.errors import BadSetting, SyncError, Transient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from central.access import Who

#: Never one by a shared secret, and never none.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
#: By this a provider's clock may differ from ours.
LEEWAY_S: Final = 30
#: After so long the provider's keys are asked for again, though all are known.
FRESH_S: Final = 3600.0
#: Not more often than this, whatever anybody sends.
PAUSE_S: Final = 10.0
#: Characters of a person's number at the provider, as logs have it; a longer one they have hashed.
NAME_MAX: Final = 60
#: What a grant or scope begins with in a token: roles of the provider's own are called admin, too.
PREFIX: Final = "mes:"
#: Types of tokens that are for an API (RFC 9068; many providers say JWT, or nothing).
_TYPES: Final = ("", "jwt", "at+jwt", "application/at+jwt")
_TIMEOUT_S: Final = 5.0
_DOCUMENT_BYTES_MAX: Final = 1 << 20
_YEAR_MAX_S: Final = 1 << 40
_log = logging.getLogger(__name__)


class BadToken(SyncError):
    """The token is not accepted."""


class ProviderAway(Transient):
    """The identity provider does not answer, so that a token can't be checked; try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Who signs the tokens, and what they have to say."""

    #: ``iss`` of its tokens; its discovery document is below it.
    issuer: str
    #: One of ``aud``.
    audience: str
    #: Where the grants stand in a token, as ``realm_access.roles``.
    grants_claim: str

    def __post_init__(self) -> None:
        """Refuse a provider that is not asked over TLS, unless it is on this machine."""
        try:
            check_address(self.issuer, "MES_OIDC_ISSUER")
        except ValueError as error:
            raise BadSetting(str(error)) from error
        if not self.audience:
            raise BadSetting("MES_OIDC_ISSUER is set: set MES_OIDC_AUDIENCE, too")


def check_address(url: str, name: str) -> None:
    """Raise ValueError where an address is not asked over TLS, unless it is on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError(f"{name}={url} does not begin with https://")


def _is_here(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _claim(claims: dict[str, Any], name: str) -> Any:
    """Return a claim by its whole name, which may be an address, or by its path."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _name(claims: dict[str, Any]) -> str:
    """Return how a person is named in logs: what never changes, and what people know them by."""
    known_by = claims.get("preferred_username") or claims.get("email") or ""
    sub = cleaned(str(claims["sub"]), NAME_MAX)
    if sub != claims["sub"] or " " in sub:  # two people must never be one in a log
        sub = hashlib.sha256(str(claims["sub"]).encode("utf-8", "replace")).hexdigest()[:32]
    return cleaned(f"user {sub} {known_by}".strip(), reviews.BY_MAX)


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    """Return what a token may be used for, of all that its person may.

    A provider names scopes of its own there (``openid``). Where a claim names any of ours the
    token is for these alone; a claim that can't be read is for none.
    """
    scopes = frozenset(Scope)
    for name in ("scope", "scp"):
        said = claims.get(name, "")
        listed = said.split() if isinstance(said, str) else said
        if not (isinstance(listed, list) and all(isinstance(each, str) for each in listed)):
            return frozenset()
        ours = {each.removeprefix(PREFIX) for each in listed if each.startswith(PREFIX)}
        if ours:
            scopes &= {each for each in Scope if each.value in ours}
    return scopes


@dataclass(slots=True)
class Verifier:
    """Checks tokens of one provider."""

    provider: Provider
    client: httpx.AsyncClient
    _keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    _about: dict[str, Any] = field(default_factory=dict)
    _asked_at: float = float("-inf")
    _had_at: float = float("-inf")
    #: Why the keys could not be had when they were asked for last; empty where they could.
    _away_because: str = ""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def verify(self, token: str) -> tuple[Who, float]:
        """Return whose the token is, and until when it is good, in seconds since 1970.

        Raise BadToken, and ProviderAway where its key is not known and can't be asked for.
        """
        claims = await self.signed(token, self.provider.audience)
        return self._who(claims), min(int(claims["exp"]), _YEAR_MAX_S) + LEEWAY_S

    async def about(self) -> Mapping[str, Any]:
        """Return what the provider says of itself, as it was had last; raise ProviderAway."""
        await self._ask_if(stale=not self._about)
        if not self._about:
            raise ProviderAway
        return self._about

    async def signed(self, token: str, audience: str) -> dict[str, Any]:
        """Return what a token says that the provider signed for somebody; raise as ``verify``."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise BadToken("this is no token") from error
        if str(header.get("typ") or "").lower() not in _TYPES:
            raise BadToken("this is no access token")
        key = await self._key(str(header.get("kid", "")))
        if key is None:
            raise BadToken("the token is signed by no key of the identity provider")
        try:
            return jwt.decode(
                token, key, algorithms=[key.algorithm_name], audience=audience,
                issuer=self.provider.issuer, leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except jwt.InvalidTokenError as error:
            raise BadToken(f"the token is not accepted: {error}") from error

    def _who(self, claims: dict[str, Any]) -> Who:
        found = _claim(claims, self.provider.grants_claim)
        listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        grants: list[str] = []
        for each in listed:
            if not (isinstance(each, str) and each.startswith(PREFIX)):
                continue  # a provider gives roles there that are none of ours
            grant = each.removeprefix(PREFIX)
            try:
                who("", [grant])
            except BadSetting as error:
                _log.warning("a token of the identity provider has what is no grant: %s", error)
                continue
            grants.append(grant)
        return who(_name(claims), grants, _scopes(claims))

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        await self._ask_if(stale=kid not in self._keys)
        if kid not in self._keys and self._away_because:
            raise ProviderAway
        return self._keys.get(kid)

    async def _ask_if(self, *, stale: bool) -> None:
        """Ask the provider where it is time to; who lacks something waits for who asks already."""
        now = time.monotonic()
        is_time = (stale or now - self._had_at > FRESH_S) and now - self._asked_at > PAUSE_S
        if is_time or (stale and self._asking.locked()):
            async with self._asking:
                if now - self._asked_at > PAUSE_S:  # nobody asked while we waited
                    await self._ask()

    async def _ask(self) -> None:
        """Ask for the provider's keys; those at hand go on while it is away."""
        self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(2 * _TIMEOUT_S):
                self._keys = await self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            self._away_because = str(error) or type(error).__name__
            _log.warning("%s does not give its keys: %s", self.provider.issuer, self._away_because)
        else:
            self._had_at, self._away_because = self._asked_at, ""

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        base = self.provider.issuer.rstrip("/")
        about = await self._document(f"{base}/.well-known/openid-configuration")
        if about.get("issuer") != self.provider.issuer:
            raise ValueError(f"it calls itself {about.get('issuer')}")
        check_address(str(about.get("jwks_uri")), "jwks_uri")
        keys = keys_in(await self._document(about["jwks_uri"]))
        self._about = about
        return keys

    async def _document(self, url: str) -> dict[str, Any]:
        answer = await self.client.get(url, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        if len(answer.content) > _DOCUMENT_BYTES_MAX:
            raise ValueError(f"{url} gives more than a MiB")
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError(f"{url} gives no object")  # noqa: TRY004 - it is their value
        return found


def keys_in(document: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """Return the keys that sign tokens, by their names, of a JSON Web Key Set (RFC 7517)."""
    found = {}
    listed = document.get("keys")
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or "kid" not in each:
            continue
        try:
            key = jwt.PyJWK(each)
        except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
            continue  # of a kind that this release does not know
        if key.algorithm_name in ALGORITHMS:
            found[str(each["kid"])] = key
    return found

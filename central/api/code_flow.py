"""Signing in at the identity provider: what it is asked, and which of its answers are taken. Pure.

The authorization code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636), as RFC 9700 asks for:
``state`` and a cookie bind the answer to the browser that asked, ``nonce`` the ID token to the
question, the verifier the code to us, and ``iss`` (RFC 9207) the answer to the provider.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import jwt

from central.api.oidc import ProviderAway, check_address
from shared.errors import BadSetting, SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where somebody goes to sign in there, and where the provider sends them back to.
THERE: Final = "/sign-in/provider"
BACK: Final = "/sign-in/back"
#: Where it sends them after they signed out there.
LEFT: Final = "/sign-in"
#: So long before its end a token is renewed, or in its last quarter where it lives for minutes.
RENEW_BEFORE_S: Final = 60.0
#: Characters of an ID token that goes into the address by which somebody signs out there.
HINT_MAX: Final = 4_096
_CODE_MAX: Final = 4_096
_ERROR: Final = re.compile(r"[a-z_]{1,60}")
#: What the provider says where it is in trouble itself, and where somebody may not, or would not.
_ITS_TROUBLE: Final = ("server_error", "temporarily_unavailable")
_NOT_YOU: Final = (
    "access_denied", "account_selection_required", "consent_required", "interaction_required",
    "login_required",
)  # fmt: skip
#: What to do about what nobody who signs in can mend.
TELL: Final = "tell whoever runs this system; the log says more"


class SignInInvalid(SyncError):
    """No such sign-in is under way in this browser: it was used, took long, or began elsewhere."""


class SignInRefused(SyncError):
    """The identity provider did not sign somebody in."""


class ProviderUnfit(SyncError):
    """The identity provider's answer can't be used."""


class GrantRefused(SyncError):
    """The identity provider does not take a code or refresh token."""

    def __init__(self, error: str) -> None:
        super().__init__(f"the identity provider says {error}")
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What this system is to the identity provider."""

    client_id: str
    #: Empty for a public client, whose codes PKCE alone binds to it.
    secret: str = field(default="", repr=False)
    #: How browsers reach the dashboard; the address that the provider sends them back to is below.
    public_url: str
    scopes: tuple[str, ...] = ("openid",)

    def __post_init__(self) -> None:
        """Refuse an address that others could listen to, and scopes that give no ID token."""
        parts = urlsplit(self.public_url)
        try:
            check_address(self.public_url, "MES_PUBLIC_URL")
        except ValueError as error:
            raise BadSetting(str(error)) from error
        if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise BadSetting(
                f"MES_PUBLIC_URL={self.public_url} is to be scheme and host alone, without a path:"
                " https://mes.example.com"
            )
        if "openid" not in self.scopes:
            raise BadSetting(f"MES_OIDC_SCOPES={' '.join(self.scopes)} lacks openid")

    @property
    def redirect_uri(self) -> str:
        """Return where the provider sends browsers back to, to the letter."""
        return self.public_url + BACK

    @property
    def is_over_tls(self) -> bool:
        """Tell whether browsers speak TLS."""
        return self.public_url.startswith("https:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the provider gives for a code, or for a refresh token."""

    access: str = field(repr=False)
    #: Empty where it gave none.
    identity: str = field(repr=False)
    refresh: str = field(repr=False)


# --- what it is asked -----------------------------------------------------------------------------


def challenge(verifier: str) -> str:
    """Return what the provider is shown of a verifier before it has the verifier itself (S256)."""
    return _base64(hashlib.sha256(verifier.encode("ascii")).digest())


def endpoint(about: Mapping[str, Any], name: str) -> str:
    """Return one of the provider's addresses; raise ProviderUnfit where it is no safe one."""
    try:
        found = str(about.get(name) or "")
        check_address(found, name)
    except ValueError as error:
        raise ProviderUnfit(
            f"the identity provider names no {name} that begins with https://: {TELL}"
        ) from error
    return found


def asking_url(
    client: Client, about: Mapping[str, Any], *, state: str, nonce: str, verifier: str
) -> str:
    """Return where a browser goes to sign somebody in; raise ProviderUnfit."""
    return _with(endpoint(about, "authorization_endpoint"), {
        "response_type": "code", "client_id": client.client_id,
        "redirect_uri": client.redirect_uri, "scope": " ".join(client.scopes),
        "state": state, "nonce": nonce,
        "code_challenge": challenge(verifier), "code_challenge_method": "S256",
    })  # fmt: skip


def leaving_url(client: Client, about: Mapping[str, Any], id_token: str) -> str:
    """Return where a browser goes to sign somebody out there as well; empty where that is nowhere.

    An ID token that an address might not hold is left out: the provider then asks them first.
    """
    try:
        there = endpoint(about, "end_session_endpoint")
    except ProviderUnfit:
        return ""
    hint = {"id_token_hint": id_token} if 0 < len(id_token) <= HINT_MAX else {}
    left = client.public_url + LEFT
    return _with(there, hint | {"client_id": client.client_id, "post_logout_redirect_uri": left})


def shows_secret_in(about: Mapping[str, Any]) -> str:
    """Return how the provider wants a secret: in a header as RFC 6749 asks, or in the form."""
    listed = about.get("token_endpoint_auth_methods_supported")
    if not isinstance(listed, list) or "client_secret_basic" in listed:
        return "header"
    return "form" if "client_secret_post" in listed else "header"


def _with(address: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(address)
    query = "&".join(filter(None, (parts.query, urlencode(more))))
    return urlunsplit(parts._replace(query=query, fragment=""))


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# --- what it answers ------------------------------------------------------------------------------


def code_of(params: Mapping[str, str], issuer: str, about: Mapping[str, Any]) -> str:
    """Return the code that a browser brings back.

    Raise SignInInvalid, SignInRefused, ProviderAway, ProviderUnfit.
    """
    told = params.get("iss")
    must_tell = about.get("authorization_response_iss_parameter_supported") is True
    if (told is not None or must_tell) and told != issuer:
        raise SignInInvalid(
            "the answer is not from the identity provider that was asked: sign in again"
        )
    if "error" in params:
        raise _refusal(error_in(params))
    code = params.get("code", "")
    if not 0 < len(code) <= _CODE_MAX:
        raise SignInInvalid("the identity provider sent no code: sign in again")
    return code


def error_in(answer: Mapping[str, Any]) -> str:
    """Return the kind of error that an answer names, and nothing that anybody could write there."""
    found = answer.get("error")
    return found if isinstance(found, str) and _ERROR.fullmatch(found) else "an unknown error"


def _refusal(error: str) -> SyncError:
    if error in _ITS_TROUBLE:
        return ProviderAway()
    if error in _NOT_YOU:
        return SignInRefused(
            f"the identity provider did not sign you in ({error}): sign in again, or ask whoever"
            " runs it whether your account may use this system"
        )
    return ProviderUnfit(f"the identity provider refuses what it was asked ({error}): {TELL}")


def tokens_in(status: int, content: bytes) -> Tokens:
    """Return the tokens of an answer of the token endpoint.

    Raise GrantRefused where the provider refuses in the words of OAuth, ProviderAway where it is in
    trouble, and ProviderUnfit for all else: what stands before it may answer in its place.
    """
    if status in (408, 429) or status >= 500:
        raise ProviderAway
    answer = _object(content)
    if status in (400, 401, 403) and "error" in answer:
        raise GrantRefused(error_in(answer))
    access = answer.get("access_token")
    is_bearer = str(answer.get("token_type") or "").lower() == "bearer"
    if status != 200 or not isinstance(access, str) or not access or not is_bearer:
        raise ProviderUnfit(f"the identity provider gives no token ({status}): {TELL}")
    identity, refresh = (answer.get(name) or "" for name in ("id_token", "refresh_token"))
    if not (isinstance(identity, str) and isinstance(refresh, str)):
        raise ProviderUnfit(f"the identity provider gives what is no token: {TELL}")
    return Tokens(access=access, identity=identity, refresh=refresh)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check_identity(claims: Mapping[str, Any], client: Client, nonce: str, tokens: Tokens) -> None:
    """Raise ProviderUnfit where a signed ID token for us is not the answer to our question."""
    parties = claims.get("aud")
    is_shared = isinstance(parties, list) and len(parties) > 1
    if (is_shared or "azp" in claims) and claims.get("azp") != client.client_id:
        raise ProviderUnfit(f"the ID token is for another client: {TELL}")
    if claims.get("nonce") != nonce:
        raise ProviderUnfit("the ID token is the answer to another question: sign in again")
    if "at_hash" in claims and claims["at_hash"] != _hash_of(tokens):
        raise ProviderUnfit(f"the ID token is of another access token: {TELL}")


def _hash_of(tokens: Tokens) -> Any:
    """Return what an ID token says of its access token (OpenID Connect Core, 3.1.3.6)."""
    algorithm = jwt.get_algorithm_by_name(str(jwt.get_unverified_header(tokens.identity)["alg"]))
    try:
        digest = algorithm.compute_hash_digest(tokens.access.encode())
    except NotImplementedError:  # Ed25519 names no hash of its own: SHA-512 is what it signs with
        digest = hashlib.sha512(tokens.access.encode()).digest()
    return _base64(digest[: len(digest) // 2])


# --- how long it is good --------------------------------------------------------------------------


def renews_at(now_s: float, ends_s: float) -> float:
    """Return when a token is to be renewed that ends then."""
    return ends_s - min(RENEW_BEFORE_S, max(0.0, ends_s - now_s) / 4)

"""Sign-ins that are under way at the identity provider: each of one browser, and used once.

What is kept here is chance alone, and where to go on. A cookie of the browser that began has to
come back together with the ``state``, so that nobody signs another browser in as somebody else. The
cookie is ``SameSite=Lax``: the way back comes from the provider's page, and ``Strict`` would have
the browser keep it to itself just then. Each has a name of its own: tabs do not disturb each other.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from central.api.code_flow import SignInInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

#: Seconds that somebody may take at the provider.
PENDING_S: Final = 600.0
#: Sign-ins at once; the oldest makes room, so whoever begins many keeps nobody out for long.
PENDING_MAX: Final = 10_000
#: Characters of where to go on afterwards; of a longer address the front page is shown.
WANTED_MAX: Final = 2_000
_NAMES: Final = ("mes-sign-in-", "__Host-mes-sign-in-")
_BYTES: Final = 32
#: Of a verifier: 64 characters, between the 43 and 128 of RFC 7636.
_VERIFIER_BYTES: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A sign-in that is under way."""

    state: str = field(repr=False)
    cookie: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    #: A path of ours to go on at.
    wanted: str
    #: Cookies of the session that the browser had: the new one takes its place.
    earlier: Mapping[str, str] = field(repr=False)
    began_s: float


@dataclass(slots=True)
class SignIns:
    """Those that are under way, by their ``state``, the oldest first."""

    _known: dict[bytes, Pending] = field(default_factory=dict)

    def begin(self, wanted: str, earlier: Mapping[str, str], now_s: float) -> Pending:
        """Begin one."""
        state, cookie, nonce = (secrets.token_urlsafe(_BYTES) for _ in range(3))
        begun = Pending(
            state=state, cookie=cookie, nonce=nonce,
            verifier=secrets.token_urlsafe(_VERIFIER_BYTES),
            wanted=wanted if len(wanted) <= WANTED_MAX else "/",
            earlier=dict(earlier), began_s=now_s,
        )  # fmt: skip
        while self._known and self._makes_way(oldest := next(iter(self._known)), now_s):
            del self._known[oldest]
        self._known[_digest(state)] = begun
        return begun

    def _makes_way(self, digest: bytes, now_s: float) -> bool:
        return len(self._known) >= PENDING_MAX or _is_over(self._known[digest], now_s)

    def take(
        self, state: str, cookies: Mapping[str, str], now_s: float, *, secure: bool
    ) -> Pending:
        """Return the one that a browser comes back from, which is thereby over.

        Raise SignInInvalid where there is none, and where it is another browser's, which may still
        come back itself.
        """
        digest = _digest(state)
        found = self._known.get(digest)
        if found is None or not _is_brought(found, cookies, secure=secure):
            raise SignInInvalid
        del self._known[digest]
        if _is_over(found, now_s):
            raise SignInInvalid
        return found

    def __len__(self) -> int:
        """Return how many there are, also of those that took too long."""
        return len(self._known)


def lend(response: Response, begun: Pending, *, secure: bool) -> None:
    """Have a browser keep the cookie of a sign-in until it comes back."""
    response.set_cookie(
        cookie_name(begun.state, secure=secure), begun.cookie,
        max_age=int(PENDING_S), path="/", secure=secure, httponly=True, samesite="lax",
    )  # fmt: skip


def take_in(response: Response, state: str, *, secure: bool) -> None:
    """Have a browser forget the cookie of a sign-in that it came back from."""
    name = cookie_name(state, secure=secure)
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="lax")


def cookie_name(state: str, *, secure: bool) -> str:
    """Return the name of a sign-in's cookie: over TLS one that this very host alone can set."""
    return _NAMES[secure] + _digest(state).hex()[:16]


def _is_brought(pending: Pending, cookies: Mapping[str, str], *, secure: bool) -> bool:
    # Over TLS no other name counts: another host of the domain could have set a cookie of it.
    brought = cookies.get(cookie_name(pending.state, secure=secure), "")
    return secrets.compare_digest(brought.encode(), pending.cookie.encode())


def _is_over(pending: Pending, now_s: float) -> bool:
    return not 0 <= now_s - pending.began_s <= PENDING_S


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

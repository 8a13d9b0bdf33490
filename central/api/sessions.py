"""People who signed in with a browser: a cookie that is worth nothing elsewhere, and what it means.

The cookie holds chance alone. The key or token that was shown stays in this process, and each
request is answered by it as if it had been sent: one that is revoked or past its end is refused
here as well. So nothing is signed or encrypted, to sign out ends it at once, and whoever reads the
cookie later has nothing; a start of the process has everybody sign in again.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from starlette.responses import Response

#: The first is used over TLS: a browser takes a cookie of such a name from this very host alone.
COOKIES: Final = ("__Host-mes-session", "mes-session")
#: Seconds without a request after which a session ends, and after which it does in any case.
IDLE_MAX_S: Final = 12 * 3600.0
AGE_MAX_S: Final = 7 * 86_400.0
#: Sessions at once, and those of one person; the one that was used least lately makes room.
SESSIONS_MAX: Final = 10_000
OF_ONE_MAX: Final = 50
_BYTES: Final = 32


@dataclass(slots=True, kw_only=True)
class Granted:
    """What the identity provider gave for a session that began there."""

    #: Empty where it gave none: the session then ends with its token.
    refresh_token: str = field(repr=False)
    #: Shown to it again to sign out there; and whom it names, in the answer to which question.
    id_token: str = field(repr=False)
    subject: str
    nonce: str
    #: From when on the token is to be renewed, and until when it is good.
    renew_at_s: float
    good_until_s: float
    #: While it is being renewed: who asks meanwhile waits for this, too.
    renewing: asyncio.Task[Any] | None = field(default=None, repr=False)


@dataclass(slots=True)
class Session:
    """Somebody who signed in."""

    #: The key or token that they showed, or that the identity provider gave for them.
    shown: str = field(repr=False)
    #: As the audit log names them.
    name: str
    #: What their forms have to carry, so that no other page can send one in their name.
    form_token: str = field(repr=False)
    began_s: float
    used_s: float
    #: None of who showed a key or token themselves.
    granted: Granted | None = None


@dataclass(slots=True)
class Sessions:
    """Who is signed in, by the hash of their cookie."""

    _known: dict[bytes, Session] = field(default_factory=dict)

    def open(self, shown: str, name: str, now_s: float, granted: Granted | None = None) -> str:
        """Begin a session and return what its cookie holds."""
        self._make_room(name, now_s)
        cookie = secrets.token_urlsafe(_BYTES)
        form_token = secrets.token_urlsafe(_BYTES)
        self._known[_digest(cookie)] = Session(shown, name, form_token, now_s, now_s, granted)
        return cookie

    def find(self, cookies: Mapping[str, str], now_s: float) -> Session | None:
        """Return the session of a request's cookies, which is thereby used; None without one."""
        for digest in _digests(cookies):
            found = self._known.get(digest)
            if found is None:
                continue
            if _is_over(found, now_s):
                del self._known[digest]
                continue
            found.used_s = now_s
            return found
        return None

    def close(self, cookies: Mapping[str, str]) -> None:
        """End the session of a request's cookies."""
        for digest in _digests(cookies):
            self._known.pop(digest, None)

    def end(self, session: Session) -> None:
        """End a session, whichever cookie stands for it."""
        for digest in [key for key, each in self._known.items() if each is session]:
            del self._known[digest]

    def __len__(self) -> int:
        """Return how many there are, also of those that are over and were not looked for since."""
        return len(self._known)

    def _make_room(self, name: str, now_s: float) -> None:
        for digest in [key for key, each in self._known.items() if _is_over(each, now_s)]:
            del self._known[digest]
        own = [key for key, each in self._known.items() if each.name == name]
        for group, most in ((own, OF_ONE_MAX), (list(self._known), SESSIONS_MAX)):
            if len(group) >= most:
                oldest = min(group, key=lambda key: self._known[key].used_s)
                del self._known[oldest]


def give(response: Response, cookie: str, *, secure: bool) -> None:
    """Have a browser keep the cookie of a session: no script reads it, no other site sends it."""
    response.set_cookie(
        COOKIES[0] if secure else COOKIES[1], cookie,
        max_age=int(AGE_MAX_S), path="/", secure=secure, httponly=True, samesite="strict",
    )  # fmt: skip


def take_back(response: Response) -> None:
    """Have a browser forget the cookie of a session."""
    for name in COOKIES:
        is_secure = name == COOKIES[0]
        response.delete_cookie(name, path="/", secure=is_secure, httponly=True, samesite="strict")


def _is_over(session: Session, now_s: float) -> bool:
    return now_s > min(session.used_s + IDLE_MAX_S, session.began_s + AGE_MAX_S)


def _digests(cookies: Mapping[str, str]) -> list[bytes]:
    return [_digest(cookies[name]) for name in COOKIES if name in cookies]


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()

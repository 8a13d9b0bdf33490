"""Who asks, and of which sites: found once at the beginning of each request.

A key is looked up, a token of a person verified; both are then remembered for a while, so that a
key that was revoked is refused after ``KEY_FRESH_S`` at the latest.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, cast
from weakref import WeakKeyDictionary

import psycopg_pool
from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from central import api_keys
from central.access import NARROWED_CHARS_MAX, NARROWED_MAX, NotYourSite, Scope, Who, reached, who
from central.api.oidc import BadToken, Verifier
from central.api.problems import NeedsToken
from central.api.rates import Rates
from central.api.sessions import Session, Sessions
from central.api.signing_in import CodeFlow, SessionOver
from central.api.turns import Busy, Turns
from central.reports.freshness import TODAY
from shared.errors import NotAuthorised

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from datetime import date

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool
    from starlette.requests import HTTPConnection

    Pool = AsyncConnectionPool[AsyncConnection[Any]]

#: Seconds that a key, and the list of sites, count as they were read.
KEY_FRESH_S: Final = 5.0
SITES_FRESH_S: Final = 5.0
#: And a token: for so long it counts though the provider may have withdrawn its key.
TOKEN_FRESH_S: Final = 60.0
#: Seconds that one statement may take.
READING_MAX_S: Final = 30
#: Keys and tokens that are remembered; beyond it all are forgotten.
REMEMBERED_MAX: Final = 10_000
#: Characters of a token.
TOKEN_MAX: Final = 8_192
#: Methods that change nothing: for these a browser's session stands for the key or token.
_READING_METHODS: Final = ("GET", "HEAD")

_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="bearer",
    description="A key of `mes-central api-keys add`, or a token of the identity provider.",
)  # fmt: skip
_A_SITE: Final = "[A-Z0-9_-]{1,20}"
_NARROWING: Final = Header(
    description="Sites to narrow the answer to, parted by commas; it never adds one.",
    # Told to clients alone: who has no scope is to hear that before the form of a header is judged.
    json_schema_extra={
        "pattern": f"^{_A_SITE}( ?, ?{_A_SITE}){{0,{NARROWED_MAX - 1}}}$",
        "maxLength": NARROWED_CHARS_MAX, "example": "SITE_001,SITE_002",
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and the sites whose rows the answer may hold."""

    who: Who
    sites: tuple[str, ...]
    #: The request named the sites itself, by X-Site-Id.
    narrowed: bool = False

    def may_share(self, scope: Scope) -> bool:
        """Tell whether rows that all sites share are theirs: of whoever reaches every site."""
        return scope in self.who.reach and self.who.reach[scope].every and not self.narrowed


class _Now(NamedTuple):
    """Who is being answered in the task that looks, and whose turn it is."""

    asking: Asking
    turns: Turns


_NOW: Final[ContextVar[_Now | None]] = ContextVar("asking", default=None)


def asking_now() -> Asking | None:
    """Return who is being answered; None where this is no answer to anybody."""
    return now.asking if (now := _NOW.get()) else None


@dataclass(slots=True)
class Guard:
    """Knows who may ask."""

    #: As mes_ingest: keys and sites are read, and used keys noted.
    pool: Pool
    #: None where no identity provider was named.
    verifier: Verifier | None = None
    #: How often each may ask.
    rates: Rates = field(default_factory=Rates)
    #: How much of the database each may take at once.
    turns: Turns = field(default_factory=Turns)
    #: People who signed in with a browser.
    sessions: Sessions = field(default_factory=Sessions)
    #: None where people can't be sent to the identity provider to sign in there.
    flow: CodeFlow | None = None
    _known: dict[bytes, tuple[Who, float]] = field(default_factory=dict)
    _sites: frozenset[str] = frozenset()
    #: The business day that it is at each.
    _days: dict[str, date] = field(default_factory=dict)
    _sites_until: float = float("-inf")

    def remembered(self, shown: str) -> tuple[Who, float] | None:
        """Return whose key or token it is, and until when by the clock of the loop that stands."""
        if len(shown) > TOKEN_MAX:
            return None
        digest = hashlib.sha256(shown.encode()).digest()
        found, until = self._known.get(digest, (None, 0.0))
        left_s = until - time.time_ns() / 1e9
        return (found, time.monotonic() + left_s) if found and left_s > 0 else None

    def remembered_sites(self) -> tuple[frozenset[str], float] | None:
        """Return the sites that are registered, and until when that stands; None of old ones."""
        if time.monotonic() > self._sites_until:
            return None
        return self._sites, self._sites_until

    async def who(self, shown: str) -> Who:
        """Return whose key or token it is; raise BadToken, ProviderAway."""
        if len(shown) > TOKEN_MAX:
            raise BadToken(f"it is longer than {TOKEN_MAX} characters")
        digest = hashlib.sha256(shown.encode()).digest()
        found, until = self._known.get(digest, (None, 0.0))
        now_s = time.time_ns() / 1e9
        if found is not None and now_s < until:
            return found
        found, until = await self._found(shown, now_s)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[digest] = (found, until)
        return found

    async def _found(self, shown: str, now_s: float) -> tuple[Who, float]:
        if api_keys.looks_like_one(shown):
            async with self.pool.connection() as connection:
                key = await api_keys.find(connection, shown)
            if key is None:
                raise BadToken("there is no such key, or it is revoked or past its end")
            ends = key.expires_at.timestamp() if key.expires_at else float("inf")
            return who(f"key {key.name}", key.grants, key.scopes), min(now_s + KEY_FRESH_S, ends)
        if self.verifier is None:
            raise BadToken("it is no key of this system, and no identity provider is set up")
        found, ends = await self.verifier.verify(shown)
        return found, min(now_s + TOKEN_FRESH_S, ends)

    def signed_in(self, request: HTTPConnection) -> Session | None:
        """Return the session of a request's browser; None where nobody signed in with it."""
        return self.sessions.find(request.cookies, time.time_ns() / 1e9)

    async def fresh(self, session: Session) -> str:
        """Return the key or token of a session, which is renewed first where its end is near.

        Raise ProviderAway; NeedsToken where the session is thereby over.
        """
        if session.granted is not None and self.flow is not None:
            try:
                await self.flow.keep_good(session, session.granted, time.time_ns() / 1e9)
            except SessionOver as over:
                self.sessions.end(session)
                raise NeedsToken from over
        return session.shown

    async def asking(self, request: Request, shown: str, scope: Scope) -> Asking:
        """Return who asks by a key or token; raise NotInScope, NotYourSite, TooOften."""
        one = await self.who(shown)
        request.state.who = one.name
        self.rates.take(one.name, time.monotonic())
        return await self.reach_of(request, one, scope)

    async def reach_of(self, request: Request, one: Who, scope: Scope) -> Asking:
        """Return of which sites somebody asks; raise NotInScope, NotYourSite.

        Each X-Site-Id narrows what is left by the others: whoever stands before us may add one.
        What was found stands in the request's state, for the audit log.
        """
        narrowings = request.headers.getlist("x-site-id")
        sites = reached(one, scope, await self.registered(), *narrowings)
        if not sites:
            raise NotYourSite("none of the sites of this key or token is registered")
        request.state.sites = sites
        asking = Asking(one, sites, narrowed=bool(narrowings))
        _NOW.set(_Now(asking, self.turns))
        return asking

    async def registered(self) -> frozenset[str]:
        """Return the sites that are registered."""
        if time.monotonic() > self._sites_until:
            async with self.pool.connection() as connection:
                cursor = await connection.execute(TODAY)
                self._days = dict(await cursor.fetchall())
            self._sites = frozenset(self._days)
            self._sites_until = time.monotonic() + SITES_FRESH_S
        return self._sites

    def today(self, sites: Collection[str]) -> date:
        """Return the business day that it is at some sites now, the latest of them.

        As it was when the list of sites was read, some seconds ago at most.
        """
        return max(self._days[site] for site in sites)


def asks(guard: Guard, scope: Scope) -> Callable[..., Any]:
    """Return what finds the sites of who asks, and refuses who has no such scope or site.

    Every question below ``/v1`` depends on one.
    """

    async def asking(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],  # for the description
        x_site_id: Annotated[str | None, _NARROWING] = None,  # noqa: ARG001 - for the same
    ) -> Asking:
        if not hasattr(request.state, "asker"):  # of a page, which is no V1Route
            shown = await shown_now(guard, request, request.method)
            return await guard.asking(request, shown, scope)
        return await guard.reach_of(request, cast("Who", request.state.asker), scope)

    asking.is_asking = True  # type: ignore[attr-defined]
    return asking


async def asked_again(guard: Guard, request: Request, scope: Scope) -> Asking:
    """Return who asks, looked at once more: of an answer that goes on for long."""
    one = await guard.who(await shown_now(guard, request, request.method))
    return await guard.reach_of(request, one, scope)


async def shown_now(guard: Guard, asked: HTTPConnection, method: str) -> str:
    """Return the key or token of a request, that of a session renewed where its end is near.

    Raise NeedsToken where it has none, and ProviderAway.
    """
    found = _shown(guard, asked, method)
    return found if isinstance(found, str) else await guard.fresh(found)


def shown_by(guard: Guard, asked: HTTPConnection, method: str) -> str:
    """Return the key or token of a request as it stands; raise NeedsToken where it has none."""
    found = _shown(guard, asked, method)
    return found if isinstance(found, str) else found.shown


def _shown(guard: Guard, asked: HTTPConnection, method: str) -> str | Session:
    """Return the key or token that a request carries, or the session that stands for it.

    That of a browser's session counts for what only reads. Whatever changes something takes it
    together with a token of the form (``central.web``): a cookie alone is sent by any page.
    """
    scheme, token = get_authorization_scheme_param(asked.headers.get("Authorization"))
    if scheme.lower() == "bearer" and token:
        return token
    session = guard.signed_in(asked) if not scheme and method in _READING_METHODS else None
    if session is None:
        raise NeedsToken
    return session


@asynccontextmanager
async def reading(
    pool: Pool, sites: tuple[str, ...], *, of_one_moment: bool = True
) -> AsyncIterator[AsyncConnection[Any]]:
    """Open a transaction that reads rows of these sites and of no other, as mes_api.

    All that it reads is of one moment, unless each statement is to see what was committed before
    it. The pool has to be that of mes_api. PostgreSQL refuses the transaction where no site is
    named.
    All is set for the transaction alone: between us and the server a pool may share sessions out.
    Raise Busy where too much is asked at once.
    """
    async with _lent(pool) as connection:
        async with connection.pipeline():  # one way there and back; it begins the transaction, too
            await connection.execute(_ONE_MOMENT if of_one_moment else _EACH_ITS_OWN)
            cursor = await connection.execute(_READING, [",".join(sites), f"{READING_MAX_S}s"])
            await connection.execute("SELECT mes.asked_sites()")
            row = await cursor.fetchone()
        if row is None or row[0]:
            raise NotAuthorised(
                "MES_API_DATABASE_URL is of a role that row-level security does not bind: let it"
                " log in as mes_api"
            )
        yield connection


@asynccontextmanager
async def _lent(pool: Pool) -> AsyncIterator[AsyncConnection[Any]]:
    """Lend a connection when it is the turn of who asks: one is always left for others."""
    async with AsyncExitStack() as stack:
        if (now := _NOW.get()) is not None:
            most = max(1, pool.max_size - 1)
            await stack.enter_async_context(now.turns.of(now.asking.who.name, most))
        try:
            connection = await stack.enter_async_context(pool.connection())
        except psycopg_pool.PoolTimeout as why:
            if _all_lent(pool):  # and not away
                raise Busy(str(Busy.__doc__)) from why
            raise
        _LENT[pool] = _LENT.get(pool, 0) + 1
        try:
            yield connection
        finally:
            _LENT[pool] -= 1


#: How many connections of a pool somebody is being answered by.
_LENT: Final[WeakKeyDictionary[Pool, int]] = WeakKeyDictionary()


def _all_lent(pool: Pool) -> bool:
    return _LENT.get(pool, 0) >= pool.max_size


_ONE_MOMENT: Final = b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_EACH_ITS_OWN: Final = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"
_READING: Final = b"""
SELECT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
       set_config('app.sites', %s, true),
       set_config('statement_timeout', %s, true)"""

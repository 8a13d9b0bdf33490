"""People who sign in at the identity provider: the way there and back, and tokens renewed.

What the provider is asked and which answers are taken is decided in ``code_flow``. Nothing of a
code, token or secret is logged, told or put into an address of ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

import httpx

from central.api.code_flow import (
    TELL,
    GrantRefused,
    ProviderUnfit,
    SignInInvalid,
    asking_url,
    check_identity,
    code_of,
    endpoint,
    leaving_url,
    renews_at,
    shows_secret_in,
    tokens_in,
)
from central.api.oidc import LEEWAY_S, BadToken, ProviderAway
from central.api.sessions import Granted
from central.api.sign_ins import Pending, SignIns
from shared.errors import SyncError
from shared.observe import note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from central.access import Who
    from central.api.code_flow import Client, Tokens
    from central.api.oidc import Verifier
    from central.api.sessions import Session

#: Seconds that the token endpoint may take, and bytes that it may answer with.
ANSWER_MAX_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 256 << 10
#: While the provider is away a token is not tried to be renewed more often than this.
RETRY_S: Final = 10.0
#: Compressed, a small answer could be a large one.
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity"}
_log = logging.getLogger(__name__)


class SessionOver(SyncError):
    """The identity provider does not renew the token of a session."""


class Renewal(Enum):
    """What came of renewing the token of a session."""

    DONE = "done"
    AWAY = "away"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Somebody who came back from the provider."""

    who: Who
    #: Their access token, by which each request is answered from now on.
    shown: str = field(repr=False)
    granted: Granted
    pending: Pending


@dataclass(slots=True)
class CodeFlow:
    """Sends people to the provider, takes them in when they come back, and renews their tokens."""

    client: Client
    verifier: Verifier
    #: Keeps no cookies: what the provider sets for one person is not to be sent for another.
    http: httpx.AsyncClient
    pending: SignIns = field(default_factory=SignIns)

    async def begin(
        self, wanted: str, earlier: Mapping[str, str], now_s: float
    ) -> tuple[str, Pending]:
        """Return where a browser signs in, and what is under way then.

        Raise ProviderAway, ProviderUnfit.
        """
        begun = self.pending.begin(wanted, earlier, now_s)
        with _noted():
            address = asking_url(
                self.client, await self.verifier.about(),
                state=begun.state, nonce=begun.nonce, verifier=begun.verifier,
            )  # fmt: skip
        return address, begun

    async def finish(
        self, params: Mapping[str, str], cookies: Mapping[str, str], now_s: float
    ) -> SignedIn:
        """Return who came back from the provider; what was under way is over, however it ended.

        Raise SignInInvalid, SignInRefused, ProviderUnfit, ProviderAway.
        """
        pending = self.pending.take(
            params.get("state", ""), cookies, now_s, secure=self.client.is_over_tls
        )
        with _noted():
            code = code_of(params, self.verifier.provider.issuer, await self.verifier.about())
            tokens = await self._given_for(code, pending)
            claims = await self._identity(tokens, pending.nonce)
            who, until_s = await self._access(tokens)
        granted = Granted(
            refresh_token=tokens.refresh, id_token=tokens.identity, subject=str(claims["sub"]),
            nonce=pending.nonce, renew_at_s=renews_at(now_s, until_s - LEEWAY_S),
            good_until_s=until_s,
        )  # fmt: skip
        return SignedIn(who=who, shown=tokens.access, granted=granted, pending=pending)

    async def leaving(self, session: Session) -> str:
        """Return where a browser signs out of the provider as well; empty where that is nowhere."""
        if session.granted is None:
            return ""
        try:
            about = await self.verifier.about()
        except ProviderAway:
            return ""
        return leaving_url(self.client, about, session.granted.id_token)

    # --- renewing ---------------------------------------------------------------------------------

    async def keep_good(self, session: Session, granted: Granted, now_s: float) -> None:
        """Renew the token of a session where it is time to, once however many wait for it.

        Raise SessionOver where the provider refuses, and ProviderAway where it does not answer and
        the token is good no longer.
        """
        if granted.refresh_token and now_s >= granted.renew_at_s:
            if granted.renewing is None or granted.renewing.done():
                granted.renewing = asyncio.create_task(self._renew(session, granted), name="renew")
            # Whoever gives up waiting must not have a refresh token lost that was used already.
            if await asyncio.shield(granted.renewing) is Renewal.OVER:
                raise SessionOver
        if now_s >= granted.good_until_s:
            raise ProviderAway if granted.refresh_token else SessionOver

    async def _renew(self, session: Session, granted: Granted) -> Renewal:
        """Have the token of a session renewed; all that fails leaves it as it was."""
        try:
            tokens = await self._tokens(
                {"grant_type": "refresh_token", "refresh_token": granted.refresh_token}
            )
            # First of all: where tokens rotate, the one that was shown is worth nothing any more.
            granted.refresh_token = tokens.refresh or granted.refresh_token
            if tokens.identity:
                await self._same_identity(tokens, granted)
            who, until_s = await self.verifier.verify(tokens.access)
        except (GrantRefused, BadToken, _AnotherPerson) as why:
            note(_log, "session not renewed", who=session.name, why=str(why))
            return Renewal.OVER
        except (ProviderAway, ProviderUnfit) as why:
            note(_log, "session not renewed yet", who=session.name, why=str(why))
            granted.renew_at_s = time.time_ns() / 1e9 + RETRY_S
            return Renewal.AWAY
        if _number(who.name) != _number(session.name):
            note(_log, "session not renewed", who=session.name, why="the token is of another")
            return Renewal.OVER
        session.shown, granted.good_until_s = tokens.access, until_s
        granted.id_token = tokens.identity or granted.id_token
        granted.renew_at_s = renews_at(time.time_ns() / 1e9, until_s - LEEWAY_S)
        return Renewal.DONE

    async def _same_identity(self, tokens: Tokens, granted: Granted) -> None:
        """Raise BadToken, _AnotherPerson, ProviderAway (OpenID Connect Core, 12.2)."""
        claims = await self.verifier.signed(tokens.identity, self.client.client_id)
        if claims["sub"] != granted.subject or claims.get("nonce", granted.nonce) != granted.nonce:
            raise _AnotherPerson

    # --- asking -----------------------------------------------------------------------------------

    async def _given_for(self, code: str, pending: Pending) -> Tokens:
        try:
            return await self._tokens({
                "grant_type": "authorization_code", "code": code,
                "redirect_uri": self.client.redirect_uri, "code_verifier": pending.verifier,
            })  # fmt: skip
        except GrantRefused as refused:
            if refused.error == "invalid_grant":
                raise SignInInvalid(
                    "the identity provider does not take its code any more: sign in again"
                ) from refused
            raise ProviderUnfit(
                f"the identity provider gives this system no token ({refused.error}): {TELL}"
            ) from refused

    async def _identity(self, tokens: Tokens, nonce: str) -> dict[str, Any]:
        try:
            claims = await self.verifier.signed(tokens.identity, self.client.client_id)
        except BadToken as error:
            raise ProviderUnfit(
                f"the identity provider's ID token is not accepted ({error}): {TELL}"
            ) from error
        check_identity(claims, self.client, nonce, tokens)
        return claims

    async def _access(self, tokens: Tokens) -> tuple[Who, float]:
        try:
            return await self.verifier.verify(tokens.access)
        except BadToken as error:
            raise ProviderUnfit(
                "the identity provider signed you in, but its access token is no signed JWT for"
                f" MES_OIDC_AUDIENCE ({error}): {TELL}"
            ) from error

    async def _tokens(self, form: Mapping[str, str]) -> Tokens:
        """Return what the token endpoint gives; raise as ``tokens_in`` does."""
        about = await self.verifier.about()
        url = endpoint(about, "token_endpoint")
        named, auth = self._named(about)
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                status, content = await self._post(url, {**form, **named}, auth)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            _log.warning("%s does not answer: %s", url, str(error) or type(error).__name__)
            raise ProviderAway from None
        return tokens_in(status, content)

    def _named(self, about: Mapping[str, Any]) -> tuple[dict[str, str], httpx.BasicAuth | None]:
        """Return what of a form names this system, or the header that does."""
        one, secret = self.client.client_id, self.client.secret
        if secret and shows_secret_in(about) == "header":
            # Each is encoded before it goes into the header (RFC 6749, 2.3.1).
            return {}, httpx.BasicAuth(quote_plus(one), quote_plus(secret))
        return {"client_id": one} | ({"client_secret": secret} if secret else {}), None

    async def _post(
        self, url: str, form: dict[str, str], auth: httpx.BasicAuth | None
    ) -> tuple[int, bytes]:
        content = bytearray()
        async with self.http.stream(
            "POST", url, data=form, headers=_HEADERS, auth=auth, timeout=ANSWER_MAX_S,
            follow_redirects=False,
        ) as answer:  # fmt: skip
            async for part in answer.aiter_raw():
                content += part
                if len(content) > ANSWER_BYTES_MAX:
                    raise ProviderUnfit(
                        f"the identity provider answers with more than {ANSWER_BYTES_MAX:,} bytes:"
                        f" {TELL}"
                    )
        return answer.status_code, bytes(content)


@contextmanager
def _noted() -> Iterator[None]:
    """Note why a sign-in fails: the page tells it to somebody who can't mend it."""
    try:
        yield
    except SyncError as why:
        note(_log, "sign-in failed", why=str(why), cause=str(why.__cause__ or ""))
        raise


class _AnotherPerson(SyncError):
    """The token that was renewed is another person's."""


def _number(name: str) -> str:
    """Return what never changes of how a person is named in logs: their number at the provider."""
    return name.split(" ")[1]

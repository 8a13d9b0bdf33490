"""The dashboard beside an identity provider over real HTTP, and somebody with a browser."""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from central.api.code_flow import Client
from central.api.oidc import Provider, Verifier
from central.api.signing_in import CodeFlow
from central.web.app import build
from tests.integration.idp import AUDIENCE, CLIENT, SECRET, Idp, provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from central.api.sessions import Granted, Session
    from tests.integration.api_world import Api

HERE = "https://mes.test"
HTML = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
FROM_THERE = {"Sec-Fetch-Site": "cross-site"}


@dataclass
class Signing:
    """The dashboard beside a provider, and somebody with a browser."""

    api: Api
    idp: Idp
    flow: CodeFlow
    browser: httpx.AsyncClient

    def other(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=build(self.api.reach), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=HERE, headers=HTML)

    async def goes(self, wanted: str = "/") -> str:
        """Follow the link of our page to the provider; return where it sends the browser back."""
        page = await self.browser.get(f"/sign-in?next={quote(wanted)}")
        (there,) = re.findall(r'href="([^"]+/sign-in/provider[^"]*)"', page.text)
        left = await self.browser.get(there.replace("&amp;", "&"))
        assert left.status_code == 303, left.text
        async with httpx.AsyncClient() as outside:
            asked = await outside.get(left.headers["location"])
        assert asked.status_code == 303, asked.text
        return asked.headers["location"]

    async def comes(self, back: str) -> httpx.Response:
        return await self.browser.get(back, headers=FROM_THERE)

    async def signs_in(self, wanted: str = "/") -> httpx.Response:
        return await self.comes(await self.goes(wanted))

    @property
    def session(self) -> Session:
        (found,) = self.api.reach.guard.sessions._known.values()
        return found

    @property
    def granted(self) -> Granted:
        assert self.session.granted
        return self.session.granted

    def is_due(self, *, ended: bool = False) -> None:
        """Let time pass until the token is to be renewed, or is good no longer."""
        now_s = time.time_ns() / 1e9
        self.granted.renew_at_s = now_s - 1
        if ended:
            self.granted.good_until_s = now_s - 1


@asynccontextmanager
async def beside(api: Api) -> AsyncIterator[Signing]:
    """Have people sign in to a dashboard at a provider of their own."""
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    async with provider(HERE) as idp, httpx.AsyncClient(cookies=nothing) as http:
        signed = Provider(issuer=idp.issuer, audience=AUDIENCE, grants_claim="mes_grants")
        verifier = Verifier(signed, http)
        client = Client(client_id=CLIENT, secret=SECRET, public_url=HERE)
        flow = CodeFlow(client, verifier, http)
        api.reach.guard.verifier, api.reach.guard.flow = verifier, flow
        found = Signing(api, idp, flow, None)  # type: ignore[arg-type]
        async with found.other() as found.browser:
            yield found


@pytest.fixture
async def signing(api: Api) -> AsyncIterator[Signing]:
    async with beside(api) as found:
        yield found


def names(secret: list[str], text: str) -> list[str]:
    """Return what of the secrets a text holds."""
    return [each for each in secret if each in text]

"""Signing in at an identity provider of another site, and out, as a browser binds its cookies."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import async_playwright

from central.api.code_flow import Client
from central.api.oidc import Provider, Verifier
from central.api.serve import serve
from central.api.signing_in import CodeFlow
from central.web.app import build
from tests.browser.conftest import FLAGS, Watched, chromium
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.conftest import centre
from tests.integration.idp import AUDIENCE, CLIENT, SECRET, Idp, provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.api_world import Api

__all__ = ["api", "centre", "link", "world"]
pytestmark = [
    pytest.mark.system, pytest.mark.browser, pytest.mark.postgres, pytest.mark.nats,
    pytest.mark.slow,
]  # fmt: skip


@asynccontextmanager
async def beside(api: Api) -> AsyncIterator[tuple[str, Idp]]:
    """Run the dashboard on 127.0.0.1, and a provider on localhost: to a browser, two sites."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with provider(here, "localhost") as idp, httpx.AsyncClient() as http:
            idp.asks_first = True
            signed = Provider(issuer=idp.issuer, audience=AUDIENCE, grants_claim="mes_grants")
            verifier = Verifier(signed, http)
            client = Client(client_id=CLIENT, secret=SECRET, public_url=here)
            guard = api.reach.guard
            guard.verifier, guard.flow = verifier, CodeFlow(client, verifier, http)
            serving = asyncio.create_task(serve(build(api.reach), listener))
            try:
                yield here, idp
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def watched(origin: str, *, scripts: bool = True) -> AsyncIterator[Watched]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=chromium(), args=list(FLAGS), headless=True
        )
        opened = await browser.new_context(java_script_enabled=scripts)
        seen = Watched(await opened.new_page(), origin)
        seen.watch()
        yield seen
        await browser.close()


@pytest.mark.parametrize("scripts", [True, False])
async def test_somebody_signs_in_at_a_provider_of_another_site_and_out_again(api, scripts):
    async with beside(api) as (here, idp), watched(here, scripts=scripts) as seen:
        page = seen.page
        await seen.goes("/scrap?from=2026-10-20&to=2026-11-01")
        await seen.sees("sign-in-provider")
        await page.get_by_role("link", name="Sign in at your identity provider").click()
        await page.get_by_role("link", name="I am Anna").click()
        await page.wait_for_url(f"{here}/scrap?from=2026-10-20&to=2026-11-01")
        assert "user 7f3a anna" in await page.locator(".who").inner_text()
        cookies = {each["name"]: each for each in await page.context.cookies()}
        assert list(cookies) == ["mes-session"]  # that of the sign-in is gone
        assert (cookies["mes-session"]["sameSite"], cookies["mes-session"]["httpOnly"]) == (
            "Strict", True,
        )  # fmt: skip
        await page.go_back()  # to where it began, and never to an address with a code
        assert "code=" not in page.url
        await seen.goes("/")
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url(f"{here}/sign-in")
        assert len(idp.left) == 1
        await seen.goes("/scrap")
        assert urlsplit(page.url).path == "/sign-in"
        assert not [each for each in seen.complained if here in each]


async def test_somebody_who_is_refused_sees_why_and_signs_in_anew(api):
    async with beside(api) as (here, idp), watched(here) as seen:
        idp.back_more = {"code": "", "error": "access_denied"}
        await seen.goes("/sign-in")
        await seen.page.get_by_role("link", name="Sign in at your identity provider").click()
        await seen.page.get_by_role("link", name="I am Anna").click()
        assert "access_denied" in await seen.page.get_by_role("alert").inner_text()
        await seen.sees("sign-in-refused")
        idp.back_more = {}
        await seen.page.get_by_role("link", name="Sign in", exact=True).click()
        await seen.page.get_by_role("link", name="Sign in at your identity provider").click()
        await seen.page.get_by_role("link", name="I am Anna").click()
        await seen.page.wait_for_url(f"{here}/")

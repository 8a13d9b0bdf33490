"""Chromium from the distribution, a system to look at, and a folder for what was seen.

A missing Chromium is a failure: `make test-system` installs it.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from deploy.local.servers import NatsServer
from tests.browser.plants import Plants, plants
from tests.integration.central_world import copy_of
from tests.integration.conftest import centre_template

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, ConsoleMessage, Page, Request

__all__ = ["centre_template"]

#: Where screenshots are left for people; git ignores it.
SEEN = Path(__file__).parents[2] / ".browser"
#: It runs as root in a container there, with nothing that asks its maker for anything.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # A name as a plant has one: browsers trust what is on their own machine more than that.
    "--host-resolver-rules=MAP centre.test 127.0.0.1",
)  # fmt: skip


def chromium() -> str:
    """Return where Chromium is; fail where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("no chromium is installed; next: make test-system (as root), or"
                    " apt install chromium")  # fmt: skip
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(
    centre_template: str, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> AsyncIterator[Plants]:
    """Two plants, for all tests of a module."""
    with (
        NatsServer(tmp_path_factory.mktemp("nats")) as broker,
        copy_of(centre_template) as centre,
    ):
        folder = tmp_path_factory.mktemp("edges")
        async with plants(centre, broker.url, folder, random.Random(seed)) as found:
            yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    async with async_playwright() as driver:
        found = await driver.chromium.launch(
            executable_path=chromium(), args=list(FLAGS), headless=True
        )
        yield found
        await found.close()


@dataclass
class Watched:
    """A page, all that it asked for, and all that it complained of."""

    page: Page
    origin: str
    asked: list[str] = field(default_factory=list)
    complained: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def asked(request: Request) -> None:
            self.asked.append(request.url)

        def said(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.complained.append(f"{message.text} ({message.location})")

        self.page.on("request", asked)
        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.complained.append(str(error)))

    async def goes(self, path: str) -> None:
        await self.page.goto(f"{self.origin}{path}")

    async def sees(self, name: str) -> None:
        """Leave what is seen for people."""
        SEEN.mkdir(exist_ok=True)
        await self.page.screenshot(path=SEEN / f"{name}.png", full_page=True)

    def check_quiet(self) -> None:
        """Nothing left the origin, and nothing went wrong in the page."""
        away = [url for url in self.asked if not url.startswith((self.origin, "data:"))]
        assert not away
        assert not self.complained


async def looks(
    browser: Browser, system: Plants, who: str = "boss", **context: Any
) -> Watched:  # fmt: skip
    """Sign somebody in with a browser of their own."""
    origin = context.pop("origin", system.origin)
    opened = await browser.new_context(viewport={"width": 1280, "height": 900}, **context)
    found = Watched(await opened.new_page(), origin)
    found.watch()
    await found.goes("/")
    await found.page.get_by_label("Key or token").fill(system.keys[who])
    await found.page.get_by_role("button", name="Sign in").click()
    await found.page.wait_for_selector("h1:has-text('Fleet')")
    return found

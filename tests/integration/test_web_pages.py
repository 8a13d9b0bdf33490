"""Pages without a browser: who sees them, what binds browsers, and whose rows are in them."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from central.web.rendering import MENU
from tests.integration.api_world import api, link
from tests.integration.apply_world import world
from tests.integration.central_world import SITES
from tests.integration.test_reports import plant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.integration.api_world import Api

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

HTML = {"Accept": "text/html"}
FROM_HERE = {"Sec-Fetch-Site": "same-origin"}
DAYS = {"from": "2026-10-20", "to": "2026-11-01"}
PATHS = [path for path, _ in MENU]


@asynccontextmanager
async def signed_in(api: Api, *grants: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who signed in with a browser."""
    key = await api.key(*grants)
    async with api.client() as browser:
        browser.headers.update(HTML | FROM_HERE)
        answer = await browser.post("/sign-in", data={"key": key, "next": "/"})
        assert answer.status_code == 303, answer.text
        yield browser


@pytest.mark.parametrize("path", [*PATHS, "/sites/SITE_001"])
async def test_a_page_shows_rows_of_the_plants_to_who_is_signed_in(world, api, seed, path):
    chance = random.Random(seed)
    for name in SITES[:2]:
        await plant(world, world.site(name), chance, 12)
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get(path, params=DAYS)
    assert answer.status_code == 200, answer.text
    assert "<h1>" in answer.text
    assert "SITE_001" in answer.text

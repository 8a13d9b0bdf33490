"""Every page in a real browser: what is on it, who can use it, and what it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from central.web.rendering import MENU
from tests.browser.conftest import looks
from tests.browser.plants import ONE, in_review

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

    from tests.browser.plants import Plants

pytestmark = [
    pytest.mark.system, pytest.mark.browser, pytest.mark.postgres, pytest.mark.nats,
    pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip

AXE = Path(__file__).with_name("vendor") / "axe.min.js"
PATHS = {name.lower(): path for path, name in MENU} | {"site": f"/sites/{ONE}"}
#: Pages that are reached by a link of another one.
BEHIND = {"chart": ("/spc", "bore"), "lot": ("/genealogy", f"BLANK-{ONE[-1]}")}


async def broken_rules(page: Page) -> list[str]:
    """Return what axe finds serious, and where."""
    # Run in the page's world from outside, so the page's own policy stays as it is.
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(AXE.read_text())
    found: dict[str, Any] = await page.evaluate("axe.run()")
    return [
        f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes']][:4]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PATHS, *BEHIND])
async def test_a_page_shows_the_plants_and_axe_finds_nothing_serious(
    system: Plants, browser: Browser, name: str, scheme: Any
):
    seen = await looks(browser, system, color_scheme=scheme, reduced_motion="reduce")
    page = seen.page
    if name in BEHIND:
        path, link = BEHIND[name]
        await seen.goes(path)
        await page.get_by_role("link", name=link).first.click()
        await page.wait_for_selector("h1:has-text(': bore'), h1:has-text('BLANK')")
    else:
        await seen.goes(PATHS[name])
    await page.wait_for_selector("#live[data-state=on]")
    await page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    if await page.locator(".plot").count():
        assert await page.locator(".plot canvas").count() == await page.locator(".plot").count()
    await seen.sees(f"{name}-{scheme}")
    assert await broken_rules(page) == []
    seen.check_quiet()
    await page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_where_somebody_decides_or_signs_in(
    system: Plants, browser: Browser, scheme: Any
):
    conflict = await in_review(system.world, ONE, f"P-{scheme}")
    seen = await looks(browser, system, color_scheme=scheme, reduced_motion="reduce")
    for path in ("/conflicts?state=open", f"/conflicts/{conflict}", "/nothing-here"):
        await seen.goes(path)
        assert await broken_rules(seen.page) == [], path
    await seen.goes("/conflicts?state=open")
    assert await seen.page.locator("[data-card] form").count() >= 1
    await seen.sees(f"review-{scheme}")
    await seen.page.get_by_role("button", name="Sign out").click()
    await seen.page.get_by_label("Key or token").fill("no key at all")
    await seen.page.get_by_role("button", name="Sign in").click()
    await seen.page.wait_for_selector("[role=alert]")
    assert await broken_rules(seen.page) == []
    await seen.sees(f"sign-in-{scheme}")
    await seen.page.context.close()

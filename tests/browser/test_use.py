"""What people do with the dashboard: filter, export, watch, decide, and only what they may."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import looks
from tests.browser.plants import ONE, OTHER, in_review, text
from tests.browser.test_pages import broken_rules

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

    from tests.browser.conftest import Watched
    from tests.browser.plants import Plants

pytestmark = [
    pytest.mark.system, pytest.mark.browser, pytest.mark.postgres, pytest.mark.nats,
    pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip


async def shown(seen: Watched, panel: str, column: str) -> list[str]:
    """Return the raw values of a column of a panel's table."""
    cells = seen.page.locator(f"#{panel} tbody [data-column='{column}']")
    return await cells.evaluate_all(
        "(cells) => cells.map((each) => each.dataset.value ?? each.textContent.trim())"
    )


async def test_a_filter_changes_what_is_shown_and_the_address(system: Plants, browser: Browser):
    seen = await looks(browser, system)
    await seen.goes("/downtime")
    page = seen.page
    assert {ONE, OTHER} == {each.split()[0] for each in await shown(seen, "pareto", "site")}
    await page.get_by_label("Sites").select_option(OTHER)
    await page.locator(f"#pareto tbody tr:has-text('{ONE}')").first.wait_for(state="hidden")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["site"] == [OTHER]
    await page.get_by_label("By", exact=True).select_option("shift")
    await page.wait_for_selector("#pareto [data-column='shift']")
    there = page.url
    await page.go_back()  # what was before the last choice
    await page.wait_for_selector("#pareto [data-column='machine']")
    await page.go_forward()
    await page.wait_for_selector("#pareto [data-column='shift']")
    assert page.url == there
    again = await looks(browser, system)
    await again.goes(page.url.removeprefix(system.origin))  # the address is all that there is to it
    assert await shown(again, "pareto", "shift") == await shown(seen, "pareto", "shift")
    assert await again.page.get_by_label("Sites").input_value() == OTHER
    seen.check_quiet()
    await page.context.close()
    await again.page.context.close()


async def test_what_the_centre_could_not_answer_is_said_and_what_was_shown_stays(
    system: Plants, browser: Browser
):
    seen = await looks(browser, system)
    await seen.goes("/downtime")
    page, said = seen.page, seen.page.get_by_role("alert")
    before = await shown(seen, "pareto", "site")
    assert await said.count() == 0

    async def fails(route: Route) -> None:
        await route.fulfill(status=503, content_type="text/html", body="<p>Bad gateway</p>")

    async def is_lost(route: Route) -> None:
        await route.abort()

    for how, told in ((fails, "could not answer (503)"), (is_lost, "is not reached")):
        await page.route("**/downtime?*", how)
        await page.get_by_label("Sites").select_option(OTHER)
        await said.filter(has_text=told).wait_for()
        assert await shown(seen, "pareto", "site") == before
        await page.unroute("**/downtime?*", how)
        await page.get_by_label("Sites").select_option([])  # and once it answers, no more is said
        await said.wait_for(state="hidden")
    await page.context.close()


async def test_a_name_that_is_typed_narrows_the_fleet(system: Plants, browser: Browser):
    seen = await looks(browser, system)
    rows = seen.page.locator("tr[data-site]")
    assert await rows.count() == 3
    await seen.page.get_by_label("Site contains").press_sequentially("_002")
    await seen.page.locator(f"tr[data-site={ONE}]").wait_for(state="detached")
    assert await rows.count() == 1
    assert parse_qs(urlsplit(seen.page.url).query)["q"] == ["_002"]
    seen.check_quiet()
    await seen.page.context.close()


async def test_filters_work_without_javascript(system: Plants, browser: Browser):
    seen = await looks(browser, system, java_script_enabled=False)
    await seen.goes("/scrap")
    await seen.page.get_by_label("By", exact=True).select_option("scrap_reason")
    await seen.page.get_by_role("button", name="Show").click()
    assert "group_by=scrap_reason" in seen.page.url
    rows = seen.page.locator("#pareto tbody tr")
    assert {"crack", "size"} <= set(" ".join(await rows.all_inner_texts()).split())
    await seen.page.context.close()


@pytest.mark.parametrize(
    ("path", "panel"),
    [("/output", "trend"), ("/output", "by"), ("/oee", "trend"), ("/oee", "by"),
     ("/downtime", "pareto"), ("/downtime", "trend"),
     ("/downtime", "reliability"), ("/scrap", "pareto"), ("/scrap", "trend"), ("/scrap", "fpy"),
     ("/orders", "progress"), ("/orders", "on-time"), ("/orders", "on-time-trend"),
     ("/orders", "wip"), ("/orders", "throughput"), ("/utilisation", "machines"),
     ("/benchmark", "benchmark"), ("/benchmark", "oee"), ("/benchmark", "on-time")],
)  # fmt: skip
async def test_the_csv_beside_a_chart_has_the_numbers_that_are_shown(
    system: Plants, browser: Browser, path: str, panel: str
):
    seen = await looks(browser, system)
    await seen.goes(f"{path}?site={ONE}")
    address = await seen.page.locator(f"#{panel} a.csv").get_attribute("href")
    answer = await seen.page.request.get(f"{system.origin}{address}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(await answer.text())))
    assert rows
    for name in rows[0]:
        values = [row[name] for row in rows]
        told = [each.replace("(none)", "") for each in await shown(seen, panel, name)]
        if not name.startswith(("first_", "last_", "late_", "mean_late")) and not (
            name.endswith("_at")
        ):  # instants are shown as people read them
            assert told == values or alike(told, values), name
    await seen.page.context.close()


def alike(told: list[str], values: list[str]) -> bool:
    """Whether numbers differ by no more than the plant went on meanwhile: a page is read before.

    What is held against time counts until the moment through which the site is complete.
    """
    numbers = [[float(each or "nan") for each in side] for side in (told, values)]
    return numbers[0] == pytest.approx(numbers[1], rel=1e-3, nan_ok=True)


async def test_late_orders_and_on_time_delivery_are_seen_where_orders_and_sites_are(
    system: Plants, browser: Browser
):
    seen = await looks(browser, system)
    for path in (f"/orders?site={ONE}", f"/sites/{ONE}"):
        await seen.goes(path)
        panel = "orders" if path.startswith("/sites") else "progress"
        numbers = await shown(seen, panel, "order")
        late = [float(each) for each in await shown(seen, panel, "late_h")]
        assert numbers[0] == "WO-107"  # due 40 days ago, and open
        assert late[0] > 24 * 39
        assert late == sorted(late, reverse=True)
        assert "WO-106" not in numbers  # due then as well, and finished
        assert {"WO-101", "WO-103", "WO-105"} <= set(numbers)
        assert all(float(each) <= 9 for each in await shown(seen, panel, "progress"))
        assert await shown(seen, "on-time", "orders_due") == ["6"]
        assert await shown(seen, "on-time", "on_time_delivery") == ["0.333333333"]
        assert await seen.page.locator("#on-time-trend .plot canvas").count() == 1
        await seen.sees("orders" if panel == "progress" else "site-orders")
    await seen.goes("/benchmark")
    assert sorted(await shown(seen, "on-time", "site")) == [ONE, OTHER]
    assert await shown(seen, "on-time", "on_time_delivery") == ["0.333333333"] * 2
    assert sorted(await shown(seen, "oee", "site")) == [ONE, OTHER]
    seen.check_quiet()
    await seen.page.context.close()


async def test_what_a_plant_writes_is_shown_without_a_reload(system: Plants, browser: Browser):
    seen = await looks(browser, system)
    await seen.goes("/output?group_by=segment")
    page = seen.page
    await page.wait_for_selector("#live[data-state=on]")
    await page.evaluate("window.neverLoadedAgain = true")
    await page.locator("#by details summary").click()
    now = text(datetime.fromtimestamp(time.time_ns() / 1e9, UTC))
    system.edge(ONE).write((
        "INSERT INTO job_responses (created_at, report_type, segment_code, started_at, ended_at,"
        " qty_good) VALUES (?, 'PRODUCTION', 'OP live', ?, ?, 4321)", (now, now, now),
    ))  # fmt: skip
    await page.wait_for_selector("#by tr:has-text('OP live') [data-value='4321']", timeout=15_000)
    assert await page.evaluate("window.neverLoadedAgain")
    assert await page.locator("#by details").get_attribute("open") is not None  # as it was left
    await seen.sees("live")
    seen.check_quiet()
    await page.context.close()


async def test_an_export_is_asked_for_where_a_page_shows_a_part_and_taken_along(
    system: Plants, browser: Browser
):
    seen = await looks(browser, system)
    await seen.goes("/exports?report=output&group_by=machine&bucket=day")
    page = seen.page
    assert await page.get_by_label("Report").input_value() == "output"
    await page.get_by_role("button", name="Export").click()
    link = page.get_by_role("link", name="csv,")
    await link.wait_for()  # without a reload
    assert await broken_rules(page) == []
    await seen.sees("exports-done")
    async with page.expect_download() as begun:
        await link.click()
    text = await asyncio.to_thread((await (await begun.value).path()).read_text)
    assert text.startswith("day,machine,")
    assert len(text.splitlines()) > 10
    await page.get_by_role("button", name="Delete the export of output").click()
    await page.wait_for_selector("text=None is kept")
    seen.check_quiet()
    await page.context.close()


async def test_a_decision_made_in_a_page_reaches_the_store_of_the_site(
    system: Plants, browser: Browser
):
    conflict = await in_review(system.world, ONE, "P-page")
    seen = await looks(browser, system)
    await seen.goes("/conflicts?state=open")
    page = seen.page
    card = page.locator(f"#conflict-{conflict[-8:]}")
    assert await card.locator("[data-side=here]").all_inner_texts() == ["7"]
    assert await card.locator("[data-side=central]").all_inner_texts() == ["9"]
    await seen.sees("conflict-open")
    await page.keyboard.press("j")  # to the first card
    await page.keyboard.press("1")
    assert await page.evaluate("document.activeElement.name") == "reason"
    await page.keyboard.type("measured again")
    await page.keyboard.press("Tab")
    await page.keyboard.type("J. Kiss")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"#conflict-{conflict[-8:]} .decided")
    await seen.sees("conflict-decided")

    def at_site() -> bool:
        edge = system.edge(ONE)
        found = edge.read("SELECT sample_size FROM inspection_plans WHERE plan_code = 'P-page'")
        states = edge.read("SELECT state, decided_by FROM sync_reviews")
        return found == [(7,)] and ("RESOLVED", "J. Kiss by key boss") in states

    await system.world.eventually(at_site)
    seen.check_quiet()
    await page.context.close()


async def test_whoever_decides_on_what_was_written_since_sees_the_newer_state(
    system: Plants, browser: Browser
):
    conflict = await in_review(system.world, OTHER, "P-since")
    seen = await looks(browser, system)
    await seen.goes(f"/conflicts/{conflict}")
    page = seen.page
    await page.get_by_label("1 · what the site wrote").check()
    await page.get_by_label("Reason").fill("as I saw it")
    await system.world.central(
        "UPDATE mes.inspection_plans SET sample_size = 11 WHERE plan_code = 'P-since' RETURNING 1"
    )
    await page.get_by_role("button", name="Decide").click()
    await page.wait_for_selector(".said.failed")
    assert await page.locator("[data-side=stands]").inner_text() == "11"
    await page.get_by_label("3 · another value").check()
    await page.get_by_role("textbox", name="sample_size").fill("12")
    await page.get_by_label("Reason").fill("agreed")
    await page.get_by_role("button", name="Decide").click()
    await page.wait_for_selector(".decided")
    edge = system.edge(OTHER)
    await system.world.eventually(lambda: edge.read(
        "SELECT 1 FROM inspection_plans WHERE plan_code = 'P-since' AND sample_size = 12"
    ))  # fmt: skip
    # A browser reports each answer of 4xx itself; nothing else was complained of.
    assert [each for each in seen.complained if "409" not in each] == []
    await page.context.close()


async def test_a_plants_own_people_see_nothing_of_the_other_plant(system: Plants, browser: Browser):
    seen = await looks(browser, system, "one")
    for path in ("/", "/output", "/oee", "/downtime", "/scrap", "/spc", "/genealogy", "/orders",
                 "/utilisation", "/benchmark", "/conflicts"):  # fmt: skip
        await seen.goes(path)
        content = await seen.page.content()
        assert OTHER not in content, path
        assert "WO-2" not in content, path
    seen.check_quiet()
    for path in (f"/sites/{OTHER}", f"/output?site={OTHER}"):
        answer = await seen.page.goto(f"{system.origin}{path}")
        assert answer is not None
        assert answer.status == 403
    await seen.page.context.close()


async def test_everything_is_reached_by_the_keyboard(system: Plants, browser: Browser):
    seen = await looks(browser, system)
    await seen.goes("/output")
    page = seen.page
    reached: set[str] = set()
    for _ in range(80):
        await page.keyboard.press("Tab")
        found = await page.evaluate(
            "(() => { const e = document.activeElement;"
            " return e === document.body ? '' : e.name || e.innerText || e.className; })()"
        )
        if not found:
            break
        reached.add(found.strip().splitlines()[0])
    wanted = {"Skip to the content", "Fleet", "Conflicts", "Sign out", "site", "from", "to",
              "group_by", "bucket", "machine.contains", "Show", "Show as table"}  # fmt: skip
    assert wanted <= reached, wanted - reached
    await page.context.close()


async def test_a_chosen_theme_stays_and_colours_the_page(system: Plants, browser: Browser):
    seen = await looks(browser, system, color_scheme="light")
    page = seen.page
    light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    for _ in range(2):
        await page.get_by_role("button", name="Theme").click()
    await seen.goes("/scrap")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert "dark" in await page.get_by_role("button", name="Theme").inner_text()
    seen.check_quiet()
    await page.context.close()


@pytest.mark.parametrize("width", [360, 3840])
async def test_no_page_is_wider_than_a_phone_or_lost_on_a_wall(
    system: Plants, browser: Browser, width: int
):
    seen = await looks(browser, system)
    await seen.page.set_viewport_size({"width": width, "height": 800})
    for name in ("", "output", "oee", "downtime", "scrap", "spc", "genealogy", "orders",
                 "utilisation", "benchmark", "conflicts", f"sites/{ONE}"):  # fmt: skip
        await seen.goes(f"/{name}")
        wide = await seen.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name}: {await _wide(seen, width)}"
    await seen.sees(f"site-{width}")
    seen.check_quiet()
    await seen.page.context.close()


async def _wide(seen: Watched, width: int) -> list[str]:
    return await seen.page.evaluate(
        "(most) => [...document.querySelectorAll('body *')]"
        ".filter((e) => e.getBoundingClientRect().right > most && !e.closest('.scrolls'))"
        ".map((e) => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 30))",
        width,
    )


async def test_whoever_signed_out_is_asked_for_a_key(system: Plants, browser: Browser):
    seen = await looks(browser, system)
    kept = await seen.page.context.cookies()
    assert [(each["httpOnly"], each["sameSite"]) for each in kept] == [(True, "Strict")]
    assert await seen.page.evaluate("document.cookie") == ""
    await seen.page.get_by_role("button", name="Sign out").click()
    await seen.goes("/orders?from=2026-01-01")
    assert await seen.page.get_by_label("Key or token").count() == 1
    await seen.page.context.add_cookies([{
        "name": kept[0]["name"], "value": kept[0]["value"], "url": system.origin,
    }])  # fmt: skip
    await seen.goes("/orders")  # the cookie of before is worth nothing any more
    assert await seen.page.get_by_label("Key or token").count() == 1
    await seen.page.context.close()


async def test_a_decision_is_taken_at_a_plain_address_in_the_plants_own_network(
    system: Plants, browser: Browser
):
    conflict = await in_review(system.world, ONE, "P-plain")
    origin = system.origin.replace("127.0.0.1", "centre.test")
    seen = await looks(browser, system, origin=origin)  # no TLS, and not this very machine
    await seen.goes(f"/conflicts/{conflict}")
    page = seen.page
    await page.wait_for_selector("#live[data-state=on]")
    await page.get_by_label("2 · what the centre had").check()
    await page.get_by_label("Reason").fill("agreed")
    await page.get_by_role("button", name="Decide").click()
    await page.wait_for_selector(".decided")
    seen.check_quiet()
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_selector("h1:has-text('Sign in')")
    await page.context.close()

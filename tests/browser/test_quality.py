"""What people do with OEE, control charts and the genealogy of lots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import looks
from tests.browser.plants import ONE, OTHER

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.browser.plants import Plants

pytestmark = [
    pytest.mark.system, pytest.mark.browser, pytest.mark.postgres, pytest.mark.nats,
    pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip


async def test_oee_falls_from_planned_time_and_is_undefined_where_no_rate_is_known(
    system: Plants, browser: Browser
):
    seen = await looks(browser, system)
    page = seen.page
    await seen.goes(f"/oee?site={ONE}")
    bars = page.locator("#waterfall .waterfall rect.fill, #waterfall .waterfall rect.lost")
    spans = await bars.evaluate_all(
        "(all) => all.map((e) => [e.x.baseVal.value, e.width.baseVal.value])"
    )
    assert len(spans) == 7
    for (left, width), (lost, loss), (rest, less) in zip(
        spans[::2], spans[1::2], spans[2::2], strict=False
    ):
        assert (left, rest) == (0, 0)
        assert min(lost, lost + loss) == pytest.approx(min(width, less), abs=0.02)
        assert max(lost, lost + loss) == pytest.approx(max(width, less), abs=0.02)
    await page.get_by_label("Sites").select_option(OTHER)
    await page.wait_for_selector("#waterfall :text('undefined: no rate is known')")
    assert await page.locator("#by [data-column=oee][data-value='']").count() == 4
    assert f"site={OTHER}" in page.url
    seen.check_quiet()
    await page.context.close()


async def test_a_line_has_a_gap_where_a_day_or_month_says_nothing(system: Plants, browser: Browser):
    seen = await looks(browser, system)
    await seen.goes("/oee")
    day = 86_400
    for piece, times, filled in (
        ("day", [day, 2 * day, 5 * day], [day, 2 * day, 3 * day, 4 * day, 5 * day]),
        ("week", [day, 15 * day], [day, 8 * day, 15 * day]),
        ("month", [0, 59 * day], [0, 31 * day, 59 * day]),
        ("weekday", [1, 5], [1, 5]),
    ):
        found, (values,) = await seen.page.evaluate(
            "([piece, times]) => mesCharts.withGaps(times, [times.map(() => 7)], piece)",
            [piece, times],
        )
        assert found == filled
        assert values == [7 if at in times else None for at in filled]
    seen.check_quiet()
    await seen.page.context.close()


async def test_a_point_beyond_the_limits_is_ringed_and_named(system: Plants, browser: Browser):
    seen = await looks(browser, system, color_scheme="light")
    page = seen.page
    await seen.goes("/spc?name=bore")
    await page.locator(f"tr:has-text('{ONE}') a").click()
    await page.wait_for_selector("#individuals .plot canvas")
    assert await page.locator("#individuals tr[data-fires]").count() >= 1
    told = await page.locator("#individuals .violations li").all_inner_texts()
    assert any("Point 20: a point is beyond the control limits (nelson-1); 10.09 at" in each
               for each in told)  # fmt: skip
    legend = await page.locator("#individuals .u-legend .u-label").all_inner_texts()
    assert {"Value", "Centre", "Upper control limit", "USL", "Breaks a rule"} <= set(legend)
    ranges = await page.locator("#moving-range .u-legend .u-label").all_inner_texts()
    assert "USL" not in ranges
    await page.get_by_label("Rules", exact=True).select_option("western-electric")
    await page.wait_for_selector("#individuals .violations li:has-text('we-1')")
    assert "rules=western-electric" in page.url
    assert await page.locator("#individuals .plot canvas").count() == 1
    seen.check_quiet()
    await page.context.close()


async def test_a_lot_is_found_followed_and_walked_on_from_in_its_graph(
    system: Plants, browser: Browser
):
    seen = await looks(browser, system)
    page = seen.page
    await seen.goes("/genealogy")
    await page.get_by_label("Lot number").fill(f"BLANK-{ONE[-1]}")
    await page.keyboard.press("Tab")
    await page.locator("#lots tr:has-text('STEEL')").first.wait_for(state="detached")
    assert "lot_no=BLANK-1" in page.url
    await page.get_by_role("link", name=f"BLANK-{ONE[-1]}").click()
    await page.wait_for_selector(".graph[data-drawn='5'] canvas")
    boxes = page.locator("#lots tr[data-state=on-hand]")
    assert "28 pcs at SITE_001" in " ".join((await boxes.inner_text()).split())
    drawn = await page.evaluate(
        "(() => { const c = document.querySelector('.graph canvas');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return d.some((v, i) => i % 4 === 3 && v > 0); })()"
    )
    assert drawn
    await page.get_by_label("Direction", exact=True).select_option("down")
    await page.wait_for_selector(".graph[data-drawn='3'] canvas")
    # A lot in the graph leads to its own page: of three columns the last one is the box.
    plot = await page.locator(".graph").bounding_box()
    assert plot
    await page.mouse.click(plot["x"] + plot["width"] * 5 / 6, plot["y"] + plot["height"] / 2)
    await page.wait_for_selector(f"h1:has-text('BOX-{ONE[-1]}')")
    seen.check_quiet()
    await page.context.close()


@pytest.mark.parametrize("width", [360, 3840])
async def test_a_chart_and_a_graph_fit_a_phone_and_fill_a_wall(
    system: Plants, browser: Browser, width: int
):
    seen = await looks(browser, system)
    page = seen.page
    for path, link, drawn in (
        ("/spc?name=bore", "bore", "#individuals .plot canvas"),
        ("/genealogy?lot_no=BLANK-1", "BLANK-1", ".graph[data-drawn='5'] canvas"),
    ):
        await seen.goes(path)
        await page.get_by_role("link", name=link).first.click()
        await page.wait_for_selector(drawn)
        await page.set_viewport_size({"width": width, "height": 800})
        await page.wait_for_timeout(400)  # it is drawn anew a moment after the last change
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        box = await page.locator(drawn).bounding_box()
        assert box
        assert box["width"] > 0.4 * width
        await seen.sees(f"{link}-{width}")
        await page.set_viewport_size({"width": 1280, "height": 900})
    seen.check_quiet()
    await page.context.close()


async def test_a_graph_says_the_same_in_tables_without_javascript(system: Plants, browser: Browser):
    seen = await looks(browser, system, java_script_enabled=False)
    await seen.goes("/genealogy")
    await seen.page.get_by_role("link", name=f"PART-{OTHER[-1]}").click()
    rows = seen.page.locator("#lots tbody tr")
    assert await rows.count() == 5
    assert await seen.page.locator("#steps tbody tr").count() == 4
    assert "CRACK, by q.chief" in await seen.page.locator("#lots").inner_text()
    await seen.page.context.close()


async def test_days_that_can_not_be_are_told_in_the_page_and_can_be_put_right(
    system: Plants, browser: Browser
):
    seen = await looks(browser, system)
    page = seen.page
    await seen.goes(f"/oee?site={ONE}&from=2026-11-20&to=2026-11-25")
    await page.get_by_label("From", exact=True).fill("2026-11-26")
    await page.keyboard.press("Tab")
    await page.wait_for_selector("[role=alert]:has-text('later than from')")
    assert await page.get_by_label("From", exact=True).input_value() == "2026-11-26"
    await page.get_by_label("From", exact=True).fill("2026-11-24")
    await page.keyboard.press("Tab")
    await page.wait_for_selector("#waterfall .waterfall")
    # A browser reports each answer of 4xx itself; nothing else was complained of.
    assert [each for each in seen.complained if "422" not in each] == []
    await page.context.close()

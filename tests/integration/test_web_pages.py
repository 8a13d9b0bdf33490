"""Pages without a browser: who sees them, what binds browsers, and whose rows are in them."""

from __future__ import annotations

import csv
import io
import random
import re
from contextlib import asynccontextmanager
from html import unescape
from typing import TYPE_CHECKING

import pytest

from central.reports.kpis import KPIS
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
#: Those that show rows of the plants, and not what somebody has asked for.
OF_PLANTS = [path for path in PATHS if path != "/exports"]


@asynccontextmanager
async def signed_in(api: Api, *grants: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who signed in with a browser."""
    key = await api.key(*grants)
    async with api.client() as browser:
        browser.headers.update(HTML | FROM_HERE)
        answer = await browser.post("/sign-in", data={"key": key, "next": "/"})
        assert answer.status_code == 303, answer.text
        yield browser


@pytest.mark.parametrize("path", [*OF_PLANTS, "/sites/SITE_001"])
async def test_a_page_shows_rows_of_the_plants_to_who_is_signed_in(world, api, seed, path):
    chance = random.Random(seed)
    for name in SITES[:2]:
        await plant(world, world.site(name), chance, 12)
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get(path, params=DAYS)
    assert answer.status_code == 200, answer.text
    assert "<h1>" in answer.text
    assert "SITE_001" in answer.text


# --- signing in -----------------------------------------------------------------------------------


async def test_whoever_is_not_signed_in_is_led_to_sign_in_and_back(api):
    async with api.client() as browser:
        browser.headers.update(HTML | FROM_HERE)
        asked = await browser.get("/output?from=2026-10-20&to=2026-11-01")
        assert asked.status_code == 303
        assert asked.headers["location"].startswith("/sign-in?next=/output%3Ffrom")
        form = await browser.get(asked.headers["location"])
        (wanted,) = re.findall(r'name="next" value="([^"]+)"', form.text)
        key = await api.key("corporate")
        done = await browser.post("/sign-in", data={"key": key, "next": unescape(wanted)})
        assert done.headers["location"] == "/output?from=2026-10-20&to=2026-11-01"
        assert (await browser.get(done.headers["location"])).status_code == 200
        here = {"HX-Request": "true", "HX-Current-URL": "http://centre/output?site=SITE_001"}
        swapped = await api.client().get("/output", headers={"Accept": "*/*"} | here)
        assert swapped.headers["hx-redirect"] == "/sign-in?next=/output%3Fsite%3DSITE_001"


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x", "/\t/x"],
)
async def test_nobody_is_led_elsewhere_after_they_signed_in(api, wanted):
    key = await api.key("corporate")
    async with api.client() as browser:
        answer = await browser.post(
            "/sign-in", data={"key": key, "next": wanted}, headers=HTML | FROM_HERE
        )
    assert answer.headers["location"] == "/"


async def test_a_cookie_is_for_no_script_and_no_other_site_and_holds_no_key(api):
    key = await api.key("corporate")
    async with api.client() as browser:
        plain = await browser.post("/sign-in", data={"key": key}, headers=HTML | FROM_HERE)
        over_tls = await browser.post(
            "/sign-in", data={"key": key}, headers=HTML | FROM_HERE | {"Origin": "https://centre"}
        )
    for answer, name, is_secure in (
        (plain, "mes-session", False), (over_tls, "__Host-mes-session", True),
    ):  # fmt: skip
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{name}=")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert ("Secure" in cookie) == is_secure
        assert key not in cookie


@pytest.mark.parametrize("key", ["", "mes_not_a_key", "x" * 10_000, "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_key_signs_nobody_in(api, key):
    async with api.client() as browser:
        answer = await browser.post("/sign-in", data={"key": key}, headers=HTML | FROM_HERE)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text


async def test_a_key_that_is_revoked_signs_its_browser_out(api):
    async with signed_in(api, "corporate") as browser:
        assert (await browser.get("/")).status_code == 200
        await api.world.admin.execute("UPDATE sync.api_key SET revoked_at = now()")
        api.reach.guard._known.clear()  # five seconds later
        answer = await browser.get("/")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")


async def test_a_cookie_reads_reports_and_changes_nothing(api):
    async with signed_in(api, "admin") as browser:
        told = await browser.get("/v1/reports/output?format=csv")
        assert told.status_code == 200
        assert "cookie" in told.headers["vary"]
        written = await browser.post("/v1/conflicts/abcd/resolve", json={
            "take": "here", "reason": "x", "seen": "y"})  # fmt: skip
        assert written.status_code == 401


# --- forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/conflicts/abcd1234", "/sign-out"])
@pytest.mark.parametrize(
    "forged",
    [
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Sec-Fetch-Site": "same-site"}},
        {"headers": {"Sec-Fetch-Site": "", "Origin": "http://evil.example"}},
        {"headers": {"Sec-Fetch-Site": ""}},
        {"headers": {"Content-Type": "text/plain"}},
        {"token": ""},
        {"token": "of somebody else"},
    ],
)
async def test_a_form_of_another_page_changes_nothing(api, path, forged):
    async with signed_in(api, "admin") as browser:
        page = (await browser.get("/conflicts")).text
        (token,) = set(re.findall(r'name="form_token" value="([^"]+)"', page))
        data = {
            "form_token": forged.get("token", token),
            "take": "here",
            "reason": "x",
            "seen": "y",
        }
        answer = await browser.post(path, data=data, headers=forged.get("headers", {}))
        assert answer.status_code == 400, answer.text
        assert (await browser.get("/")).status_code == 200  # and nobody was signed out


async def test_a_reader_gets_no_form_and_is_refused_if_they_make_one(api):
    async with signed_in(api, "corporate") as browser:
        page = (await browser.get("/conflicts")).text
        (token,) = set(re.findall(r'name="form_token" value="([^"]+)"', page))
        answer = await browser.post("/conflicts/abcd1234", data={
            "form_token": token, "take": "here", "reason": "x", "seen": "y"})  # fmt: skip
    assert answer.status_code == 403


# --- what binds browsers --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nothing-here", "/static/live.js", "/v1/sites"])
async def test_every_answer_lets_a_browser_load_nothing_from_elsewhere(api, path):
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


async def test_no_page_has_a_script_or_a_style_of_its_own(api, world, seed):
    await plant(world, world.site(), random.Random(seed), 12)
    async with signed_in(api, "corporate") as browser:
        for path in [*PATHS, "/sites/SITE_001", "/sign-in"]:
            text = (await browser.get(path, params=DAYS)).text
            assert not re.findall(r"<script(?![^>]* src=)", text), path
            assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), path
            assert not re.findall(r'(?:src|href)="(?:https?:)?//', text), path


async def test_what_a_plant_writes_is_text_in_a_page_whatever_it_looks_like(api, world):
    site, evil = world.site(), "<script>alert(1)</script>\"'><img src=x onerror=y>"
    await site.writes(site.insert("job_responses", site.report(
        segment_code=evil[:80], ended_at="2026-10-25T10:00:00.000Z")))  # fmt: skip
    async with signed_in(api, "corporate") as browser:
        text = (await browser.get("/output", params=DAYS | {"group_by": "segment"})).text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text


# --- whose, and what is said of it ----------------------------------------------------------------


async def test_pages_hold_nothing_of_a_site_that_is_not_the_askers(api, world, seed):
    chance = random.Random(seed)
    for name in SITES[:2]:
        await plant(world, world.site(name), chance, 12)
    async with signed_in(api, "plant:SITE_002") as browser:
        for path in [*PATHS, "/sites/SITE_002"]:
            text = (await browser.get(path, params=DAYS)).text
            assert "SITE_001" not in text, path
            assert "SITE_003" not in text, path
        for path in ("/sites/SITE_001", "/output?site=SITE_001", "/sites/SITE_999"):
            refused = await browser.get(path)
            assert refused.status_code == 403
            assert "that this key or token reaches" in refused.text


async def test_what_is_looked_at_is_in_the_audit_log(api):
    async with signed_in(api, "plant:SITE_002") as browser:
        await browser.get("/downtime?from=2026-10-20&to=2026-11-01")
    noted = [line for line in await api.audited() if line[1] == "GET /downtime"]
    ((who, _, target, sites, status, _),) = noted
    assert who.startswith("key ")
    assert target == "/downtime?from=2026-10-20&to=2026-11-01"
    assert (sites, status) == (["SITE_002"], 200)


async def test_each_figure_is_shown_with_the_formula_that_computes_it(api, world, seed):
    await plant(world, world.site(), random.Random(seed), 30)
    async with signed_in(api, "corporate") as browser:
        for path, name in (
            ("/downtime", "mttr_min"),
            ("/scrap", "fpy"),
            ("/benchmark", "setup_ratio"),
        ):
            text = unescape((await browser.get(path, params=DAYS)).text)
            assert f'<code class="formula">{KPIS[name].formula}</code>' in text
            assert KPIS[name].source in text


async def test_the_sites_come_as_csv_too(api):
    async with signed_in(api, "region:SITE_001,SITE_002") as browser:
        told = await browser.get("/v1/sites?format=csv")
    rows = list(csv.DictReader(io.StringIO(told.text)))
    assert {row["site"] for row in rows} == {"SITE_001", "SITE_002"}
    assert {row["verdict"] for row in rows} == {"never seen"}


@pytest.mark.parametrize("query", ["from=yesterday", "from=2026-11-02&to=2026-11-01",
                                   "group_by=nothing", "bucket=fortnight"])  # fmt: skip
async def test_a_page_that_is_asked_for_what_can_not_be_says_why(api, query):
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get(f"/output?{query}")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_filter_that_can_not_be_is_told_beside_the_filters(api):
    swap = {"Accept": "*/*", "HX-Request": "true", "HX-Target": "results"}
    async with signed_in(api, "corporate") as browser:
        answer = await browser.get("/output?from=2026-11-02&to=2026-11-01", headers=swap)
    assert answer.status_code == 422
    part = answer.text.partition('<div id="results"')[2]
    assert "later than from" in part.partition("</main>")[0]


async def test_pages_of_orders_are_all_orders_and_each_once(api, world):
    site = world.site()
    due = "2026-10-25T10:00:00.000Z"
    orders = [
        site.order(order_no=f"A-{n:03}", qty_ordered="7", due_at=due) for n in range(120)
    ]  # whether anything was reported of them or not
    await site.writes(site.insert("work_orders", *orders))
    found, address = [], "/orders?from=2026-10-20&to=2026-11-01"
    async with signed_in(api, "corporate") as browser:
        while address:
            text = (await browser.get(address)).text
            panel = text.partition('id="progress"')[2].partition("</section>")[0]
            found += re.findall(r">(A-\d\d\d)<", panel)
            more = re.findall(r'class="more" href="([^"]+)"', panel)
            address = f"/orders{unescape(more[0])}" if more else ""
    assert found == [f"A-{n:03}" for n in range(120)]


async def test_a_site_of_which_the_present_is_not_known_is_named_as_stale(api, world, seed):
    await plant(world, world.site(), random.Random(seed), 12)
    async with signed_in(api, "corporate") as browser:
        text = (await browser.get("/benchmark", params=DAYS)).text
        fleet = (await browser.get("/")).text
    assert "Stale: nothing of the last 15 minutes is known of" in text
    assert "SITE_003: never heard (stale)" in text
    assert 'data-site="SITE_003" class="stale"' in fleet

"""Answers are given again while they are current, to whoever may read them, and no longer."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from central.api import cache, kept, live
from central.api.cache import Cached
from central.archive import archive, attach, detach, drop
from central.feed import Sequencer
from central.migrate import migrate
from central.rolled import rebuild
from central.web.app import build
from tests.integration.api_world import Api, api, asking, link, nothing_more
from tests.integration.apply_world import world
from tests.integration.archive_world import OLD, archive_of
from tests.integration.central_world import SITES
from tests.integration.test_central_extra import grown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tests.integration.apply_world import Site, World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

OUTPUT = "/v1/reports/output?measures=qty_good&group_by=site"


def counted(outcome: str) -> float:
    return cache.ANSWERED.labels(outcome)._value.get()


class Counting:
    """How many answers of each kind there were since the last question."""

    def __init__(self) -> None:
        self.before = self._all()

    def _all(self) -> dict[str, float]:
        return {each: counted(each) for each in ("kept", "not modified", "read", "not kept")}

    def since(self) -> dict[str, int]:
        before, self.before = self.before, self._all()
        return {name: int(n - before[name]) for name, n in self.before.items() if n > before[name]}


class Fronted:
    """The API behind what keeps its answers."""

    def __init__(self, api: Api, looking: psycopg.AsyncConnection[Any]) -> None:
        self.api, self.world, self.looking = api, api.world, looking
        self.app = Cached(build(api.reach), api.reach)
        self.count = Counting()

    async def look(self) -> None:
        await self.api.reach.live.look(self.looking)

    def client(self, token: str, **headers: str) -> httpx.AsyncClient:
        shown = {"Authorization": f"Bearer {token}", **headers}
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://centre", headers=shown)

    async def asked_by(self, *grants: str, **headers: str) -> httpx.AsyncClient:
        return self.client(await self.api.key(*grants), **headers)


@asynccontextmanager
async def fronted_by(api: Api) -> AsyncIterator[Fronted]:
    looking = await psycopg.AsyncConnection.connect(api.reach.reading_url, autocommit=True)
    async with looking:
        found = Fronted(api, looking)
        await found.look()
        yield found


@pytest.fixture
async def fronted(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fronted]:
    monkeypatch.setattr(live, "LOOK_FRESH_S", 60.0)  # a slow machine is slow in between
    async with fronted_by(api) as found:
        yield found


async def reports(site: Site, good: str = "5") -> None:
    await site.writes(site.insert("job_responses", site.report(qty_good=good)))


def good(answer: httpx.Response) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    return {row["site"]: row["qty_good"] for row in answer.json()["rows"]}


async def remembered(client: httpx.AsyncClient) -> None:
    """Have the key and the sites remembered: before that no answer is kept."""
    assert (await client.get("/v1/reports/definitions")).status_code == 200


async def test_an_answer_is_read_once_and_given_again_until_something_is_applied(fronted):
    site = fronted.world.site()
    await reports(site)
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        fronted.count.since()
        first = await client.get(OUTPUT)
        again = await client.get(OUTPUT)
        assert fronted.count.since() == {"read": 1, "kept": 1}
        assert (again.content, again.headers) == (first.content, first.headers)
        assert good(again) == {"SITE_001": 5}
        await reports(site)
        await fronted.look()
        assert good(await client.get(OUTPUT)) == {"SITE_001": 10}
        assert fronted.count.since() == {"read": 1}


async def test_a_browser_that_has_the_answer_is_told_so_until_it_is_another_one(fronted):
    await reports(fronted.world.site())
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        first = await client.get(OUTPUT)
        assert first.headers["cache-control"] == "private, no-cache"
        known = {"If-None-Match": f'"other", {first.headers["etag"]}'}
        same = await client.get(OUTPUT, headers=known)
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == first.headers["etag"]
        assert "content-length" not in same.headers
        await reports(fronted.world.site("SITE_002"))
        await fronted.look()
        assert (await client.get(OUTPUT, headers=known)).status_code == 200


async def test_a_browser_is_told_so_by_a_process_that_has_not_kept_the_answer(fronted, api):
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        first = await client.get(OUTPUT)
    async with fronted_by(api) as other, await other.asked_by("admin") as client:
        await remembered(client)
        other.count.since()
        same = await client.get(OUTPUT, headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert other.count.since() == {"not modified": 1}


async def test_what_is_applied_of_one_site_leaves_answers_on_another_as_they_are(fronted):
    await reports(fronted.world.site("SITE_002"))
    await fronted.look()
    async with await fronted.asked_by("plant:SITE_002") as client:
        await remembered(client)
        await client.get(OUTPUT)
        await reports(fronted.world.site())
        await fronted.look()
        fronted.count.since()
        assert good(await client.get(OUTPUT)) == {"SITE_002": 5}
        assert fronted.count.since() == {"kept": 1}


async def test_who_reads_the_same_sites_shares_an_answer_and_nobody_else_gets_it(fronted):
    for name in SITES[:2]:
        await reports(fronted.world.site(name))
    await fronted.look()
    people = [
        await fronted.asked_by(*grants, **headers)
        for grants, headers in (
            (("region:SITE_001,SITE_002",), {}),
            (("admin",), {"X-Site-Id": "SITE_001,SITE_002"}),
            (("plant:SITE_001",), {}),
            (("admin",), {"X-Site-Id": "SITE_002"}),
        )
    ]
    for client in people:
        await remembered(client)
    fronted.count.since()
    found = [good(await client.get(OUTPUT)) for client in people]
    both = {"SITE_001": 5, "SITE_002": 5}
    assert found == [both, both, {"SITE_001": 5}, {"SITE_002": 5}]
    assert fronted.count.since() == {"read": 3, "kept": 1}
    for client in people:
        await client.aclose()


async def test_a_site_that_is_not_ones_own_is_refused_though_its_answer_is_kept(fronted):
    await reports(fronted.world.site())
    await fronted.look()
    async with await fronted.asked_by("admin", **{"X-Site-Id": "SITE_001"}) as client:
        await remembered(client)
        await client.get(OUTPUT)
    async with await fronted.asked_by("plant:SITE_002") as client:
        await remembered(client)
        refused = await client.get(OUTPUT, headers={"X-Site-Id": "SITE_001"})
        assert refused.status_code == 403
        assert good(await client.get(OUTPUT)) == {}


async def test_forms_of_one_answer_are_kept_apart(fronted):
    await reports(fronted.world.site())
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        for _ in range(2):
            table = await client.get(OUTPUT, headers={"Accept": "text/csv"})
            assert table.text.splitlines()[0] == "site,qty_good"
            assert good(await client.get(OUTPUT)) == {"SITE_001": 5}


async def test_a_key_that_is_known_no_more_gets_nothing_that_is_kept(fronted, api):
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        await client.get(OUTPUT)
        await api.world.admin.execute("UPDATE sync.api_key SET revoked_at = now()")
        api.reach.guard._known.clear()  # as it is after five seconds
        fronted.app._askers.clear()
        assert (await client.get(OUTPUT)).status_code == 401


async def test_nothing_is_given_again_where_the_last_look_is_too_old(fronted, api):
    site = fronted.world.site()
    await reports(site)
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        await client.get(OUTPUT)
        await reports(site)
        api.reach.live._looked_at_s -= live.LOOK_FRESH_S
        fronted.count.since()
        answer = await client.get(OUTPUT)
        assert good(answer) == {"SITE_001": 10}
        assert "etag" not in answer.headers
        assert fronted.count.since() == {"not kept": 1}


async def test_many_that_ask_the_same_at_once_have_it_read_once(fronted):
    await reports(fronted.world.site())
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        fronted.count.since()
        answers = await asyncio.gather(*(client.get(OUTPUT) for _ in range(20)))
        assert {each.content for each in answers} == {answers[0].content}
        assert fronted.count.since() == {"read": 1, "kept": 19}


async def test_nobody_waits_for_the_slow_line_of_who_asked_first(fronted, api):
    await reports(fronted.world.site())
    await fronted.look()
    key = await api.key("admin")
    async with fronted.client(key) as client:
        await remembered(client)
        has_room = asyncio.Event()

        async def crawl(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                await has_room.wait()

        path, _, query = OUTPUT.partition("?")
        slow = asyncio.create_task(fronted.app(asking(path, query, key), nothing_more, crawl))
        await asyncio.sleep(0)  # it has begun: who asks now waits for what is read for it
        answer = await asyncio.wait_for(client.get(OUTPUT), 10)
        assert good(answer) == {"SITE_001": 5}
        assert not slow.done()
        has_room.set()
        await slow


async def test_a_kept_answer_is_noted_in_the_audit_log_with_who_got_it(fronted, api):
    names = ["one", "two"]
    for name in names:
        async with fronted.client(await api.key("admin", name=name)) as client:
            await remembered(client)
            await client.get(OUTPUT)
    noted = [line for line in await api.audited() if "output" in line[1]]
    assert [(who, action, status) for who, action, _, _, status, _ in noted] == [
        (f"key {name}", "GET /v1/reports/output", 200) for name in names
    ]
    assert {line[3] == SITES or set(line[3]) == set(SITES) for line in noted} == {True}


async def test_who_asks_too_often_is_refused_what_is_kept_as_well(fronted, api):
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        await client.get(OUTPUT)
        api.reach.guard.rates.per_s = 0.001
        statuses = [(await client.get(OUTPUT)).status_code for _ in range(2)]
        assert statuses == [200, 429]


async def test_an_answer_that_is_a_problem_is_not_kept(fronted):
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        for _ in range(2):
            wrong = await client.get("/v1/reports/output?measures=nonsense")
            assert wrong.status_code == 422
            assert "etag" not in wrong.headers


async def test_what_is_kept_has_a_bound_and_the_oldest_goes(fronted, monkeypatch):
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        size = len((await client.get(OUTPUT)).content)
        monkeypatch.setattr(kept, "BYTES_MAX", int((size + kept.OVERHEAD) * 1.5))
        await client.get(f"{OUTPUT}&limit=7")
        fronted.count.since()
        await client.get(f"{OUTPUT}&limit=7")
        await client.get(OUTPUT)
        assert fronted.count.since() == {"kept": 1, "read": 1}


# --- whatever changes an answer changes the revision --------------------------------------------


async def _applied(world: World, site: Site) -> None:
    await reports(site)


async def _written_at_the_centre(world: World, site: Site) -> None:
    await world.client("UPDATE mes.work_orders SET notes = 'n' WHERE site_id = 'SITE_001'")


async def _rebuilt(world: World, site: Site) -> None:
    await rebuild(world.admin, "SITE_001")


@pytest.mark.parametrize("change", [_applied, _written_at_the_centre, _rebuilt])
async def test_the_revision_of_a_site_alone_is_another_one_after_a_change(
    fronted: Fronted, change: Callable[[World, Site], Awaitable[None]]
):
    world, known, site = fronted.world, fronted.api.reach.live, fronted.world.site()
    await site.writes(site.insert("work_orders", site.order()))
    await fronted.look()
    before = known.current(["SITE_001", "SITE_002"])
    await change(world, site)
    await fronted.look()
    after = known.current(["SITE_001", "SITE_002"])
    assert after[0] > before[0]
    assert after[1] == before[1]


async def test_the_revision_is_another_one_though_a_change_was_told_between_two_looks(fronted):
    world, known = fronted.world, fronted.api.reach.live
    site, step = world.site(), Sequencer(world.admin, world.catalog).step
    await site.writes(site.insert("work_orders", site.order()))
    await step(1)
    await fronted.look()
    before = known.current(["SITE_001"])
    await _written_at_the_centre(world, site)
    await step(2)
    await fronted.look()
    assert known.current(["SITE_001"]) > before


async def test_the_revision_of_every_site_is_another_one_after_a_row_of_all_sites(fronted):
    world, known = fronted.world, fronted.api.reach.live
    before = known.current(SITES)
    await world.client(
        "INSERT INTO mes.materials (site_id, id, created_at, material_code)"
        " VALUES ('*', %s, now(), 'M-1')",
        str(uuid.uuid4()), site="*",
    )  # fmt: skip
    await fronted.look()
    assert all(new > old for new, old in zip(known.current(SITES), before, strict=True))


async def test_the_revision_of_every_site_is_another_one_after_a_migration(fronted):
    known = fronted.api.reach.live
    before = known.current(SITES)
    await migrate(fronted.world.url, grown(1, 10), SITES)
    await fronted.look()
    assert all(new > old for new, old in zip(known.current(SITES), before, strict=True))


async def test_the_revision_is_another_one_at_each_step_into_the_archive_and_back(
    fronted, tmp_path
):
    known = fronted.api.reach.live
    async with archive_of(fronted.world, tmp_path) as old:
        await old.sends(*old.reports(5))
        await fronted.look()
        before = known.current(["SITE_001"])
        for step in (detach, archive, drop, attach):
            await step(old.bench, OLD)
            await fronted.look()
            now = known.current(["SITE_001"])
            assert now > before, step
            before = now

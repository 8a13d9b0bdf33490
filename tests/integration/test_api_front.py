"""What stands in front of the API refuses as the API does, and holds no more than it may."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.api import kept, serve
from central.api.kept import ASKED_MAX, Keeping, Kept, Key, size_of
from central.api.live import Live
from central.settings import CentralSettings
from tests.integration.api_world import Api, api, asking, link, nothing_more
from tests.integration.apply_world import world
from tests.integration.test_api_cache import (
    OUTPUT,
    Fronted,
    fronted,
    fronted_by,
    good,
    remembered,
    reports,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["api", "fronted", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

#: Each is the name of no site, or of too many.
NO_NAMES = ("a b", "SITE_001,,", "", " ", b"\xff", "A" * 5_000, ",".join(["SITE_001"] * 201))


@pytest.mark.parametrize("named", NO_NAMES, ids=range(len(NO_NAMES)))
async def test_sites_that_are_no_names_are_refused_alike_whether_the_answer_is_kept_or_not(
    fronted: Fronted, named: str | bytes
):
    path, _, query = OUTPUT.partition("?")
    key = await fronted.api.key("admin")
    async with fronted.client(key) as client:
        await remembered(client)
        for kept_first in (False, True):
            if kept_first:
                assert (await client.get(OUTPUT)).status_code == 200
            request = asking(path, query, key)
            value = named if isinstance(named, bytes) else named.encode()
            request["headers"] = [*request["headers"], (b"x-site-id", value)]
            sent: list[Mapping[str, Any]] = []

            async def send(message: Mapping[str, Any], sent: list = sent) -> None:
                sent.append(message)

            await fronted.app(request, nothing_more, send)
            assert sent[0]["status"] == 422, sent
            assert b"header.x-site-id" in sent[1]["body"]
    statuses = [line[4] for line in await fronted.api.audited() if line[2].startswith(path)]
    assert statuses.count(422) == 1  # two of one second are one line
    assert 500 not in statuses


async def test_of_several_narrowings_each_narrows_and_none_widens(fronted: Fronted):
    """A gateway adds its own beside that of the client."""
    key = await fronted.api.key("admin")
    async with fronted.client(key) as client:
        await remembered(client)
        both = [("X-Site-Id", "SITE_001,SITE_002"), ("X-Site-Id", "SITE_002")]
        answer = await client.get(OUTPUT, headers=both)
        assert list(answer.json()["complete_through"]) == ["SITE_002"]
        wider = await client.get(OUTPUT, headers=[*reversed(both)])
        assert (wider.status_code, wider.json()["type"]) == (403, "/problems/not-your-site")


async def test_a_change_of_release_gives_answers_other_tags(fronted: Fronted, monkeypatch):
    await reports(fronted.world.site())
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        first = await client.get(OUTPUT)
        known = {"If-None-Match": first.headers["etag"]}
    monkeypatch.setattr(kept, "release", lambda: "another")
    async with fronted_by(fronted.api) as other, await other.asked_by("admin") as client:
        await remembered(client)
        answer = await client.get(OUTPUT, headers=known)
        assert answer.status_code == 200
        assert answer.headers["etag"] != first.headers["etag"]


def test_any_change_of_a_module_or_its_name_is_another_release(tmp_path):
    def digest(texts: dict[str, str]) -> str:
        for each in tmp_path.glob("*"):
            each.unlink()
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return kept.digest_of((tmp_path,), lambda path: path.read_bytes())

    told = [
        digest({"a.py": "1", "b.sql": "2"}), digest({"a.py": "1", "b.sql": "3"}),
        digest({"a.py": "2", "b.sql": "2"}), digest({"c.py": "1", "b.sql": "2"}),
    ]  # fmt: skip
    assert len(set(told)) == 4
    assert digest({"a.py": "1", "b.sql": "2", "c.txt": "3"}) == told[0]


async def test_nothing_of_an_earlier_life_of_the_database_is_given_or_confirmed(fronted: Fronted):
    """A restore to an earlier moment counts revisions through the same numbers again."""
    site = fronted.world.site()
    await reports(site)
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        first = await client.get(OUTPUT)
        before = fronted.api.reach.live.current(["SITE_001"])
        # As a dump does that is loaded: all is made anew, and counts from where it was then.
        admin = fronted.world.admin
        await admin.execute(
            "CREATE TEMP TABLE held AS SELECT * FROM sync.revision; TRUNCATE sync.revision;"
            " INSERT INTO sync.revision SELECT * FROM held"
        )
        await fronted.look()
        assert fronted.api.reach.live.current(["SITE_001"]) == before
        fronted.count.since()
        again = await client.get(OUTPUT, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, good(again)) == (200, {"SITE_001": 5})
        assert fronted.count.since() == {"read": 1}
        assert again.headers["etag"] != first.headers["etag"]


async def test_who_reads_answers_reads_the_revisions_of_all_sites_and_no_other_bookkeeping(
    fronted: Fronted,
):
    found = fronted.api.reach.live
    assert set(found.revisions) == {"SITE_001", "SITE_002", "SITE_003"}
    assert found.life
    reading = await psycopg.AsyncConnection.connect(fronted.api.reach.reading_url, autocommit=True)
    async with reading:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await reading.execute("SELECT * FROM sync.site_revision")


async def test_revisions_are_followed_on_the_server_that_answers_are_read_from(
    api: Api, monkeypatch
):
    """With a replica: what it does not have yet is no reason to take an old answer for current."""
    followed: list[str] = []

    async def follow(_: Live, url: str) -> None:
        followed.append(url)

    monkeypatch.setattr(Live, "follow", follow)
    settings = CentralSettings(
        database_url="postgresql://primary/mes", api_database_url="postgresql://replica/mes"
    )
    reach = replace(api.reach, reading_url=serve.reading_url(settings))
    works = dict(serve._beside(settings, reach))
    await works["live"]
    works["audit"].close()
    assert followed == ["postgresql://replica/mes"]


# --- how much is kept ----------------------------------------------------------------------------


async def test_an_answer_to_a_long_question_is_not_kept(fronted: Fronted):
    await reports(fronted.world.site())
    await fronted.look()
    async with await fronted.asked_by("admin") as client:
        await remembered(client)
        for more, accept in (("&" * ASKED_MAX, "*/*"), ("", "*/*" + "," * ASKED_MAX)):
            for _ in range(2):
                answer = await client.get(f"{OUTPUT}{more}", headers={"Accept": accept})
                assert answer.status_code in (200, 422)
                assert "etag" not in answer.headers
        assert len(fronted.app.kept) == 0
        await client.get(OUTPUT)
        assert len(fronted.app.kept) == 1


def made(body: bytes, *, site: str = "SITE_001", revision: int = 1) -> Kept:
    start = {"type": "http.response.start", "status": 200, "headers": []}
    content = {"type": "http.response.body", "body": body}
    return Kept((site,), (revision,), start, content, start, b"", None)  # type: ignore[arg-type]


def live(now_s: float = float("inf"), **revisions: int) -> Live:
    found = Live(dict(revisions), "life")
    found._looked_at_s = now_s
    return found


def key(number: int, query: bytes = b"") -> Key:
    return Key(1, "life", b"/v1", b"%d" % number + query, b"")


def test_what_is_kept_counts_with_its_question_and_its_place(monkeypatch):
    found = Keeping(live(SITE_001=1))
    monkeypatch.setattr(kept, "BYTES_MAX", 100_000)
    for number in range(100):
        found.keep(key(number, b"q" * 1_000), made(b""))
    assert len(found) == 100_000 // (kept.OVERHEAD + 1_005)
    assert found.size == sum(size_of(*each) for each in found._kept.items()) <= 100_000


def test_no_more_answers_are_kept_than_there_may_be_however_small(monkeypatch):
    monkeypatch.setattr(kept, "ENTRIES_MAX", 7)
    found = Keeping(live(SITE_001=1))
    for number in range(20):
        found.keep(key(number), made(b""))
    assert len(found) == 7
    assert found.current(key(19)) is not None
    assert found.current(key(12)) is None


def test_what_was_superseded_makes_room_though_nobody_asks_for_it_again(monkeypatch):
    monkeypatch.setattr(kept, "PURGE_S", 0.0)
    of = live(SITE_001=1, SITE_002=1)
    found = Keeping(of)
    for number in range(5):
        found.keep(key(number), made(b"x" * 100))
    found.keep(key(5), made(b"", site="SITE_002"))
    of.revisions = {"SITE_001": 2, "SITE_002": 1}
    found.keep(key(6), made(b"", revision=2))
    assert [each.query for each in found._kept] == [b"5", b"6"]
    of.life = "another"
    of.revisions = dict(of.revisions)
    found.keep(key(7)._replace(life="another"), made(b"", revision=2))
    assert [each.query for each in found._kept] == [b"7"]
    assert found.size == size_of(*next(iter(found._kept.items())))


def test_an_answer_that_is_found_superseded_is_dropped_at_once():
    of = live(SITE_001=1)
    found = Keeping(of)
    found.keep(key(1), made(b"x"))
    of.revisions = {"SITE_001": 2}
    assert found.current(key(1)) is None
    assert (len(found), found.size) == (0, 0)

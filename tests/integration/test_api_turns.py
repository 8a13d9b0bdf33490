"""Nobody who asks much at once keeps others from their answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg_pool
import pytest

from central.api import asking as asked
from central.api import turns
from central.api.turns import Busy, Turns
from central.reports import answer as answers
from tests.integration.api_world import NOWHERE, Api, api, link
from tests.integration.api_world import opened as opened_api
from tests.integration.apply_world import world

if TYPE_CHECKING:
    from typing import Any

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

LOG = "/v1/reports/log"
MANY = 30


@pytest.fixture
def slow(monkeypatch) -> None:
    """Each answer takes a while of the database."""
    fast = answers.answer

    async def slowly(connection: Any, *given: Any) -> Any:
        await connection.execute("SELECT pg_sleep(0.1)")
        return await fast(connection, *given)

    monkeypatch.setattr("central.api.reports.answer", slowly)


async def test_who_asks_once_is_answered_before_all_that_somebody_else_asked_at_once(
    api: Api, slow: None
):
    async with await api.asked_by("admin") as greedy, await api.asked_by("corporate") as other:
        for client in (greedy, other):
            assert (await client.get(LOG)).status_code == 200
        done: list[int] = []
        first = asyncio.Event()

        async def one() -> None:
            done.append((await greedy.get(LOG)).status_code)
            first.set()

        asking = [asyncio.create_task(one()) for _ in range(MANY)]
        await first.wait()
        assert (await other.get(LOG)).status_code == 200
        assert len(done) < MANY / 2, "it waited until others had all their answers"
        await asyncio.gather(*asking)
    assert set(done) <= {200, 503}


async def test_who_asks_too_much_at_once_is_told_so_and_when_to_ask_again(
    api: Api, slow: None, monkeypatch
):
    monkeypatch.setattr(turns, "TURN_MAX_S", 0.3)
    async with await api.asked_by("admin") as greedy:
        found = await asyncio.gather(*(greedy.get(LOG) for _ in range(MANY)))
    refused = [each for each in found if each.status_code != 200]
    assert 0 < len(refused) < MANY
    for each in refused:
        assert (each.status_code, each.json()["type"]) == (503, "/problems/busy")
        assert int(each.headers["retry-after"]) >= 1
    assert not api.reach.guard.turns._of


async def test_all_connections_at_work_is_busy_and_none_to_be_had_is_away(
    api: Api, world, link, monkeypatch
):
    pool = api.reach.reading
    monkeypatch.setattr(pool, "timeout", 0.2)
    async with asked.reading(pool, ("SITE_001",)), asked.reading(pool, ("SITE_001",)):
        with pytest.raises(Busy):
            async with asked.reading(pool, ("SITE_001",)):
                pass
    async with asked.reading(pool, ("SITE_001",)):
        pass
    async with opened_api(world, link, url=NOWHERE) as away:
        monkeypatch.setattr(away.reach.reading, "timeout", 0.2)
        with pytest.raises(psycopg_pool.PoolTimeout):
            async with asked.reading(away.reach.reading, ("SITE_001",)):
                pass


async def test_places_of_one_are_nobody_elses_and_are_given_back():
    found, most = Turns(), 2
    async with found.of("a", most), found.of("a", most), found.of("b", most):
        third = asyncio.create_task(found.of("a", most).__aenter__())
        await asyncio.sleep(0)
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        assert set(found._of) == {"a", "b"}
    assert not found._of

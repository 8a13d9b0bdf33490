"""A session that stands still amid a statement is ended, where a site's chain waits for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.roles import as_role
from central.store import CentralStore, abandoned
from central.store.abandoned import STILL_MAX_S, StandingStill
from shared.catalog_file import load_catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SITE = "SITE_001"


@pytest.fixture
async def store(centre) -> AsyncIterator[CentralStore]:
    url = as_role(centre, "mes_ingest")
    async with CentralStore.open(url, load_catalog()) as store:
        yield store


async def state_of(centre: str, connection, *, after_s: int = 0):
    """Return what PostgreSQL says of a connection's session, and what it waits for."""
    async with await psycopg.AsyncConnection.connect(centre, autocommit=True) as admin:
        await admin.execute("SELECT pg_sleep(%s)", [after_s])
        state = "SELECT state, wait_event FROM pg_stat_activity WHERE pid = %s"
        return await (await admin.execute(state, [connection.info.backend_pid])).fetchone()


@asynccontextmanager
async def copying(centre: str, *, chain: bool = True, limit: str = "0"):
    """Be amid a COPY, as a worker that applies facts; it may hold the site's chain."""
    url = as_role(centre, "mes_ingest")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for name in ("transaction_timeout", "idle_in_transaction_session_timeout"):
            await connection.execute("SELECT set_config(%s, %s, true)", [name, limit])
        await connection.execute("CREATE TEMPORARY TABLE staged (n integer) ON COMMIT DROP")
        if chain:
            await connection.execute("SELECT FROM sync.epoch WHERE site = %s FOR UPDATE", [SITE])
        cursor = connection.cursor()
        copy = cursor.copy("COPY staged FROM STDIN")
        writer = await copy.__aenter__()
        while await state_of(centre, connection) != ("active", "ClientRead"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            yield connection, writer
        finally:
            await connection.close()


async def looked(store, times: tuple[float, ...], seen: StandingStill | None = None):
    """Look at these times, and return what was ended at each."""
    seen = seen or StandingStill()
    return [await store.end_abandoned(seen, now_s) for now_s in times]


async def test_postgresql_itself_ends_no_session_amid_a_copy_whatever_its_limits(centre):
    """Why workers look at all: should this fail one day, they need not any more."""
    async with copying(centre, limit="1s") as (connection, _):
        state = await state_of(centre, connection, after_s=3)
    assert state == ("active", "ClientRead")


async def test_a_session_that_stands_still_amid_a_copy_is_ended_and_lets_go_of_its_chain(
    centre, store
):
    async with copying(centre) as (connection, _):
        pid = connection.info.backend_pid
        ended = await looked(store, (0, STILL_MAX_S - 1, STILL_MAX_S, 2 * STILL_MAX_S))
        assert ended == [[], [], [pid], []]
        async with await psycopg.AsyncConnection.connect(centre) as other:
            await other.execute("SET LOCAL lock_timeout = '10s'")
            await other.execute("SELECT FROM sync.epoch WHERE site = %s FOR UPDATE", [SITE])


async def test_a_copy_that_goes_on_is_left_alone_however_long_it_takes(centre, store):
    seen = StandingStill()
    async with copying(centre) as (_, writer):
        for turn in range(4):
            for n in range(2_000):  # more than libpq and PostgreSQL hold back
                await writer.write(f"{turn}{n:05}\n")
            assert await looked(store, (turn * STILL_MAX_S,), seen) == [[]]


async def test_a_copy_that_holds_no_chain_is_nobodys_business(centre, store):
    async with copying(centre, chain=False):
        assert await looked(store, (0, STILL_MAX_S)) == [[], []]


async def test_one_that_moved_since_it_was_looked_at_is_left_alone(centre):
    url = as_role(centre, "mes_ingest")
    async with copying(centre) as (copier, _), await psycopg.AsyncConnection.connect(url) as ours:
        ((pid, began, read),) = await abandoned.standing(ours)
        assert pid == copier.info.backend_pid
        assert await abandoned.end(ours, [(pid, began, read + 1)]) == []
        assert await abandoned.end(ours, [(pid, began, read)]) == [pid]


def test_what_was_not_seen_in_between_begins_anew():
    seen, at = StandingStill(), (7, None, 0)
    assert seen.look([at], 0) == []
    assert seen.look([], 10) == []
    assert seen.look([at], 20) == []
    assert seen.look([at], STILL_MAX_S + 1) == []
    assert seen.look([at], 20 + STILL_MAX_S) == [at]

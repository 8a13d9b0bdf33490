"""A reader who takes nothing is cut off, and until then others have their whole answers."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from central.api.serve import listening, serve
from central.api.streams import OF_ONE_MAX, Streams
from central.reports import whole
from central.reports.paging import Statement
from central.web.app import build
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.apply_world import World

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

LOG = "/v1/reports/log?format=csv&whole=true"
ROWS = 20_000_000
#: Seconds that an answer may take here.
SHORT_S = 10


def endless(_: Any) -> Statement:
    """Far more than the buffers of any line hold: PostgreSQL waits until somebody reads it."""
    made = Statement(columns=("a",))
    rows = f"SELECT g AS a FROM generate_series(1, {ROWS}) AS g"
    return made.page(rows, after=(), limit=None, is_sorted=False)


def stalled(port: int, key: str) -> socket.socket:
    """Ask for a whole answer, and read nothing of it."""
    line = socket.create_connection(("127.0.0.1", port))
    asked = f"GET {LOG}&sort=none HTTP/1.1\r\nHost: centre\r\nAuthorization: Bearer {key}\r\n\r\n"
    line.sendall(asked.encode())
    return line


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110 - what the database says, and not an event
            await asyncio.sleep(0.05)


async def sending(world: World) -> int:
    """How many sessions of PostgreSQL send rows that nobody takes."""
    query = "SELECT count(*)::int FROM pg_stat_activity WHERE query ~ '^COPY .*generate_series'"
    return await world.value(f"{query} AND state = 'active'")


def read_to_its_end(line: socket.socket) -> int:
    """Return how many bytes there were until the line was dropped."""
    line.settimeout(30)
    size = 0
    try:
        while data := line.recv(1 << 20):
            size += len(data)
    except ConnectionResetError:
        pass
    return size


@pytest.fixture
def long_ones(monkeypatch) -> None:
    """A whole answer in no order is one without an end, and is cut off soon."""
    monkeypatch.setattr(whole, "WHOLE_MAX_S", SHORT_S)
    answered = Streams.answered

    async def of(self: Streams, request: Any, question: Any, made: Any, form: Any) -> Any:
        made = endless if "sort=none" in request.url.query else made
        return await answered(self, request, question, made, form)

    monkeypatch.setattr(Streams, "answered", of)


async def test_a_reader_who_takes_nothing_is_cut_off_and_others_have_their_answers_meanwhile(
    api: Api, world: World, long_ones: None
):
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(build(api.reach), listener))
    keys = [await api.key("corporate") for _ in range(2)]
    own, other = ({"Authorization": f"Bearer {key}"} for key in keys)
    lines: list[socket.socket] = []
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            lines += [stalled(port, keys[0]) for _ in range(OF_ONE_MAX)]

            async def is_stalled() -> bool:
                return await sending(world) == OF_ONE_MAX

            await until(is_stalled)
            refused = await client.get(LOG, headers=own)
            assert refused.json()["type"] == "/problems/too-many-whole"
            assert (await client.get(LOG, headers=other)).status_code == 200

            async def is_over() -> bool:
                return (await client.get(LOG, headers=own)).status_code == 200

            async def is_quiet() -> bool:
                return await sending(world) == 0

            await until(is_over)  # where one of them was cut off, the other may be about to be
            await until(is_quiet)
        sizes = [await asyncio.to_thread(read_to_its_end, line) for line in lines]
        assert all(size < ROWS for size in sizes), sizes
    finally:
        for line in lines:
            line.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

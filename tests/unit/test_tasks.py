"""A task that tries again ends when it is told to, whatever a library made of that."""

from __future__ import annotations

import asyncio

import pytest

from central import agent, ingest
from edge.patience import Patience
from shared.errors import Transient


class Line:
    connected = True


def of_the_centre(work):
    async def given(*_) -> None:
        await work()

    return agent._forever(given, None, None, None)


def of_the_ingest(work):
    return ingest._retrying()(work)


def of_an_edge(work):
    return Patience(Line(), lambda _: None).retrying()(work)


@pytest.mark.parametrize("trying", [of_the_centre, of_the_ingest, of_an_edge])
async def test_a_cancellation_that_a_library_turned_into_an_error_ends_the_work(trying):
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Transient("pipeline.level == 0") from None

    task = asyncio.create_task(trying(work))
    await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done, "it goes on"
    assert task.cancelled()

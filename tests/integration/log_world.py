"""The real production log, loaded at so many sites by their agents, asked about at the centre."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from deploy.local.broker import NatsServer
from tests.integration.central_world import copy_of, make_centre
from tests.integration.import_world import LOG_FOLDER, LOG_MAP, Site, real_log
from tests.integration.whole_world import whole_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def site_names(count: int) -> tuple[str, ...]:
    return tuple(f"SITE_{number:03d}" for number in range(1, count + 1))


@contextmanager
def loaded_log(server_url: str, folder: Path, count: int) -> Iterator[str]:
    """Give a superuser's address of a centre that has got the log from so many sites."""
    empty = urlunsplit(urlsplit(server_url)._replace(path="/template0"))
    with copy_of(empty, "log") as url:
        with NatsServer(folder / "nats") as nats:
            asyncio.run(_load(url, nats.url, folder, site_names(count)))
        yield url


async def _load(url: str, nats_url: str, folder: Path, sites: tuple[str, ...]) -> None:
    await make_centre(url, sites)
    async with whole_world(url, nats_url, folder, sites) as world:
        await world.settle(120)
        for number, name in enumerate(sites, 1):
            site = Site(name, world.edges[name].path)
            outcome = await asyncio.to_thread(
                site.load_part, real_log(), LOG_MAP, number, len(sites)
            )
            assert outcome.progress.rejected == 0
        await world.settle(300)


def expected(question: str) -> dict[str, Any]:
    """Return a question of the verified answers, with its result and tolerance."""
    path = LOG_FOLDER / "answers.json"
    if not path.is_file():
        pytest.fail(f"{path} is missing: the verified answers must stand beside the checkout")
    document = json.loads(path.read_text(encoding="utf-8"))
    return next(each for each in document["questions"] if each["id"] == question)


def alike(one: Any, other: Any, tolerance: float) -> bool:
    """Tell whether two answers are the same, numbers as far as they are given."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(
            alike(a, b, tolerance) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, int | float) and isinstance(other, int | float):
        # What is given with six decimals was rounded to them.
        return abs(one - other) <= max(tolerance, 1e-9)
    return bool(one == other)

"""A whole system of one site for each fault."""

from __future__ import annotations

import pytest

from tests.integration.conftest import centre, centre_template
from tests.integration.whole_world import whole_world

__all__ = ["centre", "centre_template", "world"]

SITE = "SITE_001"


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        yield world

"""A migrated centre for each test, copied from one that is migrated once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.central_world import copy_of, make_centre

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def centre_template(postgres_url: str) -> str:
    """The address of a migrated database that nobody is connected to."""
    asyncio.run(make_centre(postgres_url))
    return postgres_url


@pytest.fixture
def centre(centre_template: str) -> Iterator[str]:
    """A superuser's address of a migrated centre with the sites of ``central_world.SITES``."""
    with copy_of(centre_template) as url:
        yield url

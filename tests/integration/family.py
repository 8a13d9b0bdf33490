"""Tables of a plant as the acceptance scenarios have them: items, and three generations.

A row is written by the site that owns it and by the centre; items are shown to other sites, too.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from central.migrate import migrate
from deploy.local.servers import NatsServer
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from tests.integration.central_world import CATALOG, SITES, copy_of
from tests.integration.whole_world import Edge, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

F1, F2, F3 = SITES
TEXT, WHOLE = ColumnType(Kind.TEXT, length=40), ColumnType(Kind.INTEGER)
WRITER = Column("changed_by", TEXT, writer=True)


def _text(name: str, policy: Policy = Policy.LAST_WRITE, **more: Any) -> Column:
    return Column(name, TEXT, policy=policy, **more)


ITEMS = Table(
    "items",
    Direction.BOTH,
    (
        _text("code", Policy.SITE, nullable=False),
        _text("name"),
        Column("qty", WHOLE),
        _text("due", Policy.CENTRAL),
        _text("size", Policy.REVIEW),
        Column("seen_by", ColumnType(Kind.SET), policy=Policy.CENTRAL),
        WRITER,
    ),
    share=("site_id", "seen_by"),
    natural_keys=(("code",),),
)


def _generation(name: str, parent: str, **more: Any) -> Table:
    columns = (
        _text("name", Policy.SITE, nullable=False),
        Column("pid", ColumnType(Kind.UUID), policy=Policy.SITE, references=parent, **more),
        _text("notes"),
        WRITER,
    )
    return Table(name, Direction.BOTH, columns, natural_keys=(("name",),))


PARENTS = _generation("parents", "parents")
CHILDREN = _generation("children", "parents", enforced=True)
GRANDCHILDREN = _generation("grandchildren", "children", enforced=True)
FAMILY = (ITEMS, PARENTS, CHILDREN, GRANDCHILDREN)
WITH_FAMILY = Catalog(CATALOG.version + 1, (*CATALOG.tables, *FAMILY))


@pytest.fixture(scope="session")
def family_template(centre_template: str) -> Iterator[str]:
    """The address of a database with the family's tables that nobody is connected to."""
    with copy_of(centre_template, "family") as url:
        asyncio.run(migrate(url, WITH_FAMILY, SITES))
        yield url


@pytest.fixture
def family_centre(family_template: str) -> Iterator[str]:
    """A superuser's address of a migrated centre that has the family's tables."""
    with copy_of(family_template) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    family_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A centre and three sites that the tests of a module share: each uses rows of its own."""
    folder = tmp_path_factory.mktemp("family")
    with copy_of(family_template) as url, NatsServer(folder) as broker:
        edges = {site: Edge(site, folder / f"{site}.db", broker.url, WITH_FAMILY) for site in SITES}
        world = World(url, broker.url, edges)
        async with AsyncExitStack() as stack:
            await world.start_centre(WITH_FAMILY)
            stack.push_async_callback(world.stop_centre)
            for edge in edges.values():
                await edge.start()
                stack.push_async_callback(edge.stop)
            await world.settle()
            yield world

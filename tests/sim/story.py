"""Stories of stores and a centre that go back to older copies, told step by step.

Real stores, a real PostgreSQL, on the campaign's world; restores are as ``Starts`` has them.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from sync import codec
from tests.sim.campaign import Lab
from tests.sim.catalogue import CREATED, NEW, as_in
from tests.sim.narrow import narrow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.catalog import Catalog
    from tests.sim.site import Site
    from tests.sim.world import World

NORTH, SOUTH = "NORTH", "SOUTH"
#: Two sites of the newest release on a centre of the same; the tests tell all else themselves.
CONFIG = 1


@pytest.fixture(scope="module")
def lab(_superuser_url):
    with Lab(_superuser_url) as lab:
        yield lab


def id_of(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-000000000000"


class Story:
    """A world whose steps are told."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.oracle.is_blind = True  # what must stand, the test says
        world.is_unmarked = False

        async def nothing() -> None:
            """Let nothing arrive that is not told to."""

        world._all_hear = nothing  # type: ignore[method-assign]

    def site(self, name: str = NORTH) -> Site:
        return self.world.sites[name]

    def write(self, text: str, *given: Any, site: str = NORTH) -> None:
        self.world.clock.now_ms += 60_000
        refused = self.site(site).write([(text, given)])
        assert not refused, refused

    def _named(self, site: str, values: dict[str, Any]) -> dict[str, Any]:
        return as_in(self.site(site).catalog.table("orders"), values)

    def begin_with(self, catalog: Catalog, site: str = NORTH) -> None:
        """Have a site begin with a store of that release."""
        there = self.site(site)
        there.close()
        for file in there.path.parent.glob(f"{there.path.name}*"):
            file.unlink()
        there.catalog = catalog
        there.open()

    def order(self, number: int, site: str = NORTH, **values: Any) -> None:
        keys = {"id": id_of(number), "site_id": site, "created_at": CREATED}
        row = self._named(site, {**keys, "state": "planned", "holds": "[]", "made": 0, **values})
        holes = ", ".join("?" * len(row))
        text = f"INSERT INTO orders ({', '.join(row)}) VALUES ({holes})"
        self.write(text, *row.values(), site=site)

    def change(self, number: int, site: str = NORTH, **values: Any) -> None:
        values = self._named(site, values)
        listed = ", ".join(f"{name} = ?" for name in values)
        self.write(
            f"UPDATE orders SET {listed} WHERE id = ?", *values.values(), id_of(number), site=site
        )

    def report(self, number: int, order: int, good: int = 7) -> None:
        self.write(
            "INSERT INTO reports (id, site_id, created_at, order_id, good) VALUES (?, ?, ?, ?, ?)",
            id_of(number), NORTH, CREATED, id_of(order), good,
        )  # fmt: skip

    async def plan(self, number: int, **values: Any) -> None:
        """A program of the centre changes an order."""
        self.world.clock.now_ms += 60_000
        listed = ", ".join(f"{name} = %s" for name in values)
        text = f"UPDATE mes.orders SET {listed} WHERE id = %s"
        assert await self.world._execute(NORTH, text, [*values.values(), id_of(number)])

    async def rest(self, *, owed: bool = False) -> None:
        """Let all come to rest, and compare what no restore may part."""
        await self.world._rounds()
        await self.world.oracle.follow()
        await self.world.hear_entries()
        await self.world._feeds_are_the_centres()
        await self.world._sites_hold_their_share()
        await self.world._what_was_applied_is_there()
        if not owed:
            await self.world._nothing_is_owed()

    async def step(self, name: str, site: str = NORTH) -> None:
        await self.world.step(name, 4, site=site)

    async def welcome(self, site: str = NORTH) -> str:
        """Return what the centre answers to a site's hello, and do nothing of it."""
        said, agent = self.site(site).store.hello(with_order=True), self.site(site).agent
        fields = said.fields() | agent._handshake.about
        fields |= {"now_ms": self.world.clock.now_ms, "sent_n": 0}
        assert self.world.centre.control is not None
        answer = await self.world.centre.control.answer(
            f"ctl.{site}.hello", codec.encode_control(fields)
        )
        return str(codec.decode_control(answer)["verdict"])

    async def let_go(self) -> list[bool]:
        """A person discards all that is parked; return of each whether that was still possible."""
        tickets = await self.world.database.rows(
            "SELECT id::text FROM mes.sync_parked ORDER BY table_name"
        )
        return [await self.world.centre.by_hand.discard(each, "a person") for (each,) in tickets]

    async def back_up(self) -> None:
        """Let all come to rest, and make a backup of the centre."""
        await self.rest()
        await self.world.centre_is_backed_up()

    async def back_up_as_it_is(self) -> None:
        """Make a backup of the centre, whatever is owed."""
        await self.world.centre_is_backed_up()
        await self.world._rounds()

    async def restore(self) -> None:
        await self.world.centre_is_restored()

    def copy(self, site: str = NORTH) -> None:
        self.world.copies[site] = self.site(site).files.copy()

    def put_back(self, site: str = NORTH) -> None:
        there = self.site(site)
        there.close()
        there.files.put(self.world.copies[site])
        there.open()
        self.world.went_back(there)

    # --- what stands -----------------------------------------------------------------------------

    def shown(self, number: int, *names: str, site: str = NORTH) -> tuple[Any, ...]:
        listed = ", ".join(names)
        ((*found,),) = self.site(site).read(
            f"SELECT {listed} FROM orders WHERE id = ?", id_of(number)
        )
        return tuple(found)

    async def stands(self, number: int, *names: str) -> tuple[Any, ...]:
        ((*found,),) = await self.world.database.rows(
            f"SELECT {', '.join(names)} FROM mes.orders WHERE id = %s", id_of(number)
        )
        return tuple(found)

    async def both(self, number: int, *names: str) -> tuple[Any, ...]:
        there = await self.stands(number, *names)
        assert there == self.shown(number, *names)
        return there

    async def count(self, table: str, where: str = "true") -> int:
        ((count,),) = await self.world.database.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(count)

    async def conflicts(self) -> list[tuple[str, Any, Any]]:
        rows = await self.world.database.rows(
            "SELECT column_group, here_value::text, central_value::text FROM mes.sync_conflicts"
            " ORDER BY id"
        )
        return [(group, here, central) for group, here, central in rows]


@pytest.fixture
def play(lab):
    """Plays a story on a world of its own."""

    def played(story: Callable[[Story], Awaitable[None]]) -> None:
        world = lab.world(CONFIG)

        async def run() -> None:
            with narrow(world.clock, world.ids, is_small=False):
                try:
                    for site in world.sites.values():
                        site.restart(NEW)
                    world.clock.skew = dict.fromkeys(world.sites, 0)
                    world.settling = True  # nobody writes but who is told to
                    await world.start()
                    await story(Story(world))
                finally:
                    await world.close()

        try:
            lab.runner.run(run())
        finally:
            shutil.rmtree(world.folder)

    return played

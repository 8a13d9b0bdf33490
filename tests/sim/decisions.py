"""Persons who decide on reviews at both ends, and what must stand when all have heard of it.

Rows of the campaign's world whose ``dose`` two sides wrote at once, or that one side deleted while
the other wrote it: each waits for a person, at both ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central import reviews as of_centre
from central.roles import as_role
from edge import reviews as of_edge
from shared.conflicts import UnknownConflict
from shared.reviews import BadDecision, DecidedAlready, WrittenSince
from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

CENTRE: Final = "*"
ENDS: Final = (NORTH, CENTRE)
#: What each side wrote unseen by the other; None where it deleted the row.
Sides = tuple[int | None, int | None]
#: What a person takes: a side, or a value of their own.
Taken = str | int
#: What a command tells somebody who decides; the review waits on, or is decided already.
REFUSED: Final = (BadDecision, DecidedAlready, UnknownConflict, WrittenSince)


@dataclass(frozen=True)
class Held:
    """What a review of a row says at the centre."""

    group: str
    state: str
    value: dict[str, Any] | None
    is_there: bool
    dose: int | None


class Persons:
    """Decide on the reviews of a story."""

    def __init__(self, story: Story) -> None:
        self.story, self.world = story, story.world

    async def quarrel(self, sides: dict[int, Sides]) -> None:
        """Let both ends write orders, by number, at once; a review of each waits at both ends."""
        for number in sides:
            self.story.order(number, dose=9)
        await self.story.rest()
        for number, (here, there) in sides.items():
            await self._write_there(number, there)
            if here is None:
                self.story.write("DELETE FROM orders WHERE id = ?", id_of(number))
            else:
                self.story.change(number, dose=here)
        await self.story.rest()
        assert await self.story.count("mes.sync_reviews", "state = 'OPEN'") == len(sides)

    async def _write_there(self, number: int, dose: int | None) -> None:
        if dose is not None:
            await self.story.plan(number, dose=dose)
            return
        text = "DELETE FROM mes.orders WHERE id = %s"
        self.world.clock.now_ms += 60_000
        assert await self.world._execute(NORTH, text, [id_of(number)])

    # --- deciding --------------------------------------------------------------------------------

    async def decide(
        self, end: str, number: int, taken: Taken, *, insists: bool = False, last: bool = False
    ) -> bool:
        """Decide on the first review of an order that is open at an end, or on the last.

        Return whether there was one, and the command did not refuse.
        """
        self.world.clock.now_ms += 60_000
        find = self._open_there if end == CENTRE else self._open_here
        if not (found := await find(number)):
            return False
        given: dict[str, Any] = {"take": taken, "reason": "looked at it", "by": f"chief of {end}"}
        if isinstance(taken, int):
            given |= {"take": "value", "value": {"dose": taken}}
        decide = self._decide_there if end == CENTRE else self._decide_here
        try:
            await decide(found[-1 if last else 0], given, insists=insists)
        except REFUSED as why:
            self.world.trace.append(f"   {end} may not take {taken} of {number}: {why}")
            return False
        self.world.trace.append(f"   {end} takes {taken} of {number}")
        return True

    async def _open_here(self, number: int) -> list[str]:
        query = "SELECT conflict_id FROM sync_reviews WHERE state = 'OPEN' AND row_id = ?"
        return [each for (each,) in self.story.site().read(f"{query} ORDER BY id", id_of(number))]

    async def _open_there(self, number: int) -> list[str]:
        rows = await self.world.database.rows(
            "SELECT conflict_id::text FROM mes.sync_reviews WHERE state = 'OPEN' AND row_id = %s"
            " ORDER BY id",
            id_of(number),
        )
        return [each for (each,) in rows]

    async def _decide_here(self, name: str, given: dict[str, Any], *, insists: bool) -> None:
        self.story.site().decide(name, of_edge.Choice(**given, anyway=insists))

    async def _decide_there(self, name: str, given: dict[str, Any], *, insists: bool) -> None:
        url = as_role(self.world.database.url, "mes_ingest")
        catalog = self.world.database.catalog
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            now_ms = str(self.world.clock.now_ms)
            await connection.execute("SELECT set_config('sim.now_ms', %s, false)", [now_ms])
            try:
                await of_centre.resolve(connection, catalog, name, of_centre.Choice(**given))
            except WrittenSince as why:
                if not insists or why.version is None:
                    raise
                seen = of_centre.Choice(**given, seen=why.version)
                await of_centre.resolve(connection, catalog, name, seen)

    # --- what stands -----------------------------------------------------------------------------

    async def held(self, number: int) -> list[Held]:
        """Return the reviews of an order in the order in which they were last decided on."""
        rows = await self.world.database.rows(
            "SELECT r.column_group, r.state, r.value::text, o.id IS NOT NULL, o.dose"
            " FROM mes.sync_reviews AS r"
            " JOIN sync.table_no AS t ON t.name = 'sync_reviews'"
            " JOIN LATERAL (SELECT max(ord) AS ord FROM sync.version AS v"
            " WHERE v.table_no = t.no AND v.site_id = r.site_id AND v.id = r.id"
            " AND v.mask & ~v.overruled & %s <> 0) AS v ON true"
            " LEFT JOIN mes.orders AS o ON o.id = r.row_id AND o.created_at = %s"
            " WHERE r.row_id = %s ORDER BY v.ord NULLS FIRST",
            self.world.database.catalog.table("sync_reviews").mask(["take"]), CREATED,
            id_of(number),
        )  # fmt: skip
        return [
            Held(group, state, json.loads(value) if value else None, is_there, dose)
            for group, state, value, is_there, dose in rows
        ]

    async def check(self, numbers: Iterable[int]) -> list[int]:
        """Hold that what was decided stands, or somebody is asked; return of which order they are.

        A review of the whole row that is open asks for its columns as well.
        """
        asked = []
        for number in numbers:
            found = await self.held(number)
            if any(each.state == "OPEN" for each in found):
                asked.append(number)
                continue
            rows = [each for each in found if each.group == "*"]
            doses = [each for each in found if each.group == "dose"]
            is_there, dose = found[-1].is_there, found[-1].dose
            said = f"{number}: {found}"
            assert is_there == (not rows or rows[-1].value != {}), said
            if is_there and doses:
                assert doses[-1].value == {"dose": dose}, said
        return asked

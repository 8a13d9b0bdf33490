"""Which lots went into a lot, and where it went, along the edges that stand.

Lots are found level by level, each once, so a cycle ends the walk as a leaf does, and a lot that is
reached by a thousand paths costs what it costs by one. An edge belongs to the site that wrote it:
whoever reads it may follow it, also through a lot whose own row they don't see.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from central.reports.reading import rows
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal
    from uuid import UUID

    from psycopg import AsyncConnection

    #: An edge, or what voids one: its site, and its id there, which another's row may have as well.
    Key = tuple[str, UUID]

DEPTH_MAX: Final = 50
LOTS_MAX: Final = 5_000
EDGES_MAX: Final = 20_000


class UnknownLot(SyncError):
    """There is no such lot, or none that the asker reaches."""


class Way(StrEnum):
    """Which way edges are followed: up to what went in, down to where it went."""

    UP = "up"
    DOWN = "down"


#: The statement that reads the next edges of a way.
_EDGES: Final = {Way.UP: "read_edges_up", Way.DOWN: "read_edges_down"}


@dataclass(frozen=True, slots=True)
class Edge:
    """A lot went into another one."""

    id: UUID
    site: str
    parent: UUID
    child: UUID
    relation: str
    qty: Decimal | None
    uom: str | None
    response_id: UUID | None

    @property
    def key(self) -> Key:
        """Return what tells it from all others."""
        return self.site, self.id


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a walk goes."""

    depth: int = DEPTH_MAX
    lots: int = LOTS_MAX
    edges: int = EDGES_MAX


@dataclass(slots=True)
class Walk:
    """What was found, and why there is more."""

    bounds: Bounds
    #: By way: each lot with the length of the shortest path to it.
    levels: dict[Way, dict[UUID, int]] = field(default_factory=dict)
    edges: dict[Key, Edge] = field(default_factory=dict)
    #: Names of the bounds that something lies beyond.
    truncated_by: set[str] = field(default_factory=set)

    @property
    def lots(self) -> set[UUID]:
        """Return all lots that were reached, the first one among them."""
        return {lot for levels in self.levels.values() for lot in levels}

    def take(self, way: Way, level: int, edges: Iterable[Edge]) -> list[UUID]:
        """Note edges of a step, and return the lots that are new; those beyond a bound are not."""
        levels, known, new = self.levels[way], self.lots, []
        for edge in edges:
            far = edge.child if way is Way.DOWN else edge.parent
            if far not in levels:
                if level > self.bounds.depth:
                    self.truncated_by.add("depth")
                    continue
                if far not in known and len(known) >= self.bounds.lots:
                    self.truncated_by.add("lots")
                    continue
                levels[far] = level
                known.add(far)
                new.append(far)
            self.edges[edge.key] = edge
        return new


async def walk(
    connection: AsyncConnection[Any],
    sites: Sequence[str],
    start: UUID,
    ways: Iterable[Way],
    bounds: Bounds,
) -> Walk:
    """Follow the edges of some sites from a lot, each way by itself."""
    found = Walk(bounds)
    for way in ways:
        found.levels[way] = {start: 0}
        frontier = [start]
        for level in range(1, bounds.depth + 2):  # a step beyond, to tell whether there is more
            if not frontier:
                break
            edges = await _step(connection, sites, way, frontier, found)
            frontier = found.take(way, level, edges)
    return found


async def _step(
    connection: AsyncConnection[Any],
    sites: Sequence[str],
    way: Way,
    frontier: Sequence[UUID],
    found: Walk,
) -> list[Edge]:
    """Return the edges that stand from some lots, as many as there is still room for."""
    room = found.bounds.edges - len(found.edges)
    given = {"sites": list(sites), "lots": list(frontier), "edges_max": room + 1}
    edges = [Edge(**row) for row in await rows(connection, _EDGES[way], given)]
    if len(edges) > room:
        found.truncated_by.add("edges")
        del edges[room:]
    if not edges:
        return []
    voids = await rows(
        connection,
        "read_voids",
        {
            "sites": list(sites),
            "edges": [edge.id for edge in edges],
            "owners": [edge.site for edge in edges],
        },
    )
    return standing(
        edges, {(row["site_id"], row["id"]): (row["site_id"], row["void_of"]) for row in voids}
    )


def standing(edges: Iterable[Edge], voids: Mapping[Key, Key]) -> list[Edge]:
    """Return the edges that nothing voids; what is voided itself voids nothing.

    ``voids`` tells of each row that voids another which one. None voids two, so the rows that bear
    on an edge are a tree, which is read from its leaves.
    """
    of: dict[Key, list[Key]] = defaultdict(list)
    for void, voided in voids.items():
        of[voided].append(void)

    def stands(row: Key) -> bool:
        order = [row]
        for each in order:  # grows meanwhile: each before what voids it
            order += of.get(each, ())
        voided: set[Key] = set()
        for each in reversed(order):
            if each not in voided and each in voids and each != row:
                voided.add(voids[each])
        return row not in voided

    return [edge for edge in edges if stands(edge.key)]

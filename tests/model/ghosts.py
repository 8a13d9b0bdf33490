"""What only the checks know: every value ever written, and who still knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.changes import Op
from tests.model.checks import Checks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.changes import Value
    from tests.model.edge import Edge
    from tests.model.file import Touch
    from tests.model.vocabulary import Key, Values
    from tests.model.world import World

#: Columns whose every value is told apart from any other, so its way can be followed.
MARKED: Final = (
    "note", "due", "shelf", "severity", "earliest", "limit", "worker", "seat", "extra",
    "name", "phone",
)  # fmt: skip


class Writer(NamedTuple):
    """Who wrote, and when in truth."""

    true_at: int
    #: The user transaction of a site; below 0 for the centre.
    commit: int
    site: str


@dataclass(slots=True)
class Written:
    """One value that somebody wrote into one column."""

    key: Key
    column: str
    value: Value
    saw: Value
    true_at: int
    commit: int
    site: str
    #: How wrong the clock was.
    skew: int = 0
    #: Whether the clock was right when it was drained, as far as the agent knew.
    honest: bool = True
    #: A restore of the centre that was reported destroyed it.
    destroyed: bool = False


@dataclass(slots=True)
class Ghosts(Checks):
    """Follows what was written."""

    written: list[Written] = field(default_factory=list)
    born: dict[tuple[str, Value], Written] = field(default_factory=dict)
    #: Whole rows that somebody deleted having seen them.
    deleted: list[tuple[Key, Mapping[str, Value], int]] = field(default_factory=list)
    #: User transactions of each site.
    commits: dict[int, str] = field(default_factory=dict)
    #: User transaction -> the sync transactions that carry it.
    carried: dict[int, set[str]] = field(default_factory=dict)
    #: User transactions that nobody knows of any more, since a store went back.
    gone: set[int] = field(default_factory=set)
    #: Those that a lost life of a store had sent: what became of them is told, they are not kept.
    taken_home: set[int] = field(default_factory=set)
    #: Sync transactions in the broker that it has lost, or may lose.
    unpromised: set[str] = field(default_factory=set)
    facts: dict[str, tuple[int, Values]] = field(default_factory=dict)
    #: What facts were before they were made again under the same id.
    again: list[tuple[str, int, Values]] = field(default_factory=list)
    #: Rows whose counter can't be told: deleted, parked, or lost in part.
    uncounted: set[Key] = field(default_factory=set)
    #: Rows that a site inserted, and those that it did more than once.
    inserted: set[Key] = field(default_factory=set)
    made_again: set[Key] = field(default_factory=set)
    #: The centre went back.
    went_back: bool = False
    counted: list[tuple[Key, int, int]] = field(default_factory=list)
    ranks: dict[Key, int] = field(default_factory=dict)

    # --- what happens -------------------------------------------------------------------------

    def wrote(self, site: str, commit: int, touches: list[Touch], now: int) -> None:
        """Follow what a user of a site wrote."""
        self.commits[commit] = site
        by = Writer(now, commit, site)
        for touch in touches:
            if touch.op is Op.INSERT:
                (self.made_again if touch.key in self.inserted else self.inserted).add(touch.key)
            if touch.op is Op.DELETE:
                self.deleted.append((touch.key, dict(touch.old), commit))
                self.uncounted.add(touch.key)
            elif touch.key[0] == "reports":
                if touch.key[1] in self.facts:
                    self.again.append((touch.key[1], *self.facts[touch.key[1]]))
                self.facts[touch.key[1]] = (commit, dict(touch.new))
            else:
                self._wrote(touch.key, touch.new, touch.old, by, touch.skew)

    def wrote_at_centre(
        self, world: World, key: Key, op: Op, new: Values, seen: Values, at: int | None = None
    ) -> None:
        """Follow what a client of the centre wrote."""
        if op is Op.DELETE:
            self.deleted.append((key, seen, -world.count))
            self.uncounted.add(key)
            return
        when = world.now if at is None else at
        self._wrote(key, new, seen, Writer(when, -world.count, ""))

    def _wrote(
        self, key: Key, new: Mapping[str, Value], old: Mapping[str, Value], by: Writer,
        skew: int = 0,
    ) -> None:  # fmt: skip
        for column, value in new.items():
            if column in MARKED and value is not None:
                made = Written(key, column, value, old.get(column), *by, skew)
                self.written.append(made)
                self.born[column, value] = made
            elif column == "made":
                before = old.get("made")
                change = int(value or 0) - int(before or 0)
                self.counted.append((key, by.commit, change))

    def drained(self, edge: Edge, commits: set[int]) -> None:
        """Note which sync transaction carries which user transactions."""
        links = edge.file.outbox or edge.file.undecided
        if links:
            for commit in commits:
                self.carried.setdefault(commit, set()).add(links[-1].tx_id)
        for each in self.written:
            if each.commit in commits:
                each.honest &= each.skew + edge.file.offset == 0

    # --- who still knows ----------------------------------------------------------------------

    def recount(self, world: World, *, at_rest: bool = False) -> None:
        """Note what nobody knows of any more, or again: a store went back, or a message is lost.

        At rest nothing may be missing but what was missed before.
        """
        heard = world.centre.sessions  # of others the centre takes nothing
        under_way = {link.tx_id for site in heard for link in world.up[site]}
        known = (under_way - self.unpromised) | world.centre.book.applied
        for commit, site in self.commits.items():
            held = commit in world.edges[site].file.held
            if held or not known.isdisjoint(self.carried.get(commit, ())):
                self.gone.discard(commit)
            elif not at_rest:
                self.gone.add(commit)
        if world.went_back and not at_rest:
            self._forget_at_centre(world)

    def centre_restored(self, world: World, made: int) -> None:
        """Note what a restore of the centre takes away: what no site has of its own writes."""
        self.ranks.clear()
        self.went_back = True
        self._forget_at_centre(world)
        writes = [(w.key, w.commit) for w in self.written]
        writes += [(key, commit) for key, _, commit in self.deleted]
        writes += [(key, commit) for key, commit, _ in self.counted]
        self.uncounted |= {key for key, commit in writes if -commit > made}

    def _forget_at_centre(self, world: World) -> None:
        for each in self.written:
            if each.commit < 0 and not each.destroyed:
                held = self._is_held(world, each) or self.is_accounted(world, each)
                each.destroyed = not held

    def _is_held(self, world: World, each: Written) -> bool:
        pair = (each.column, each.value)
        for edge in world.edges.values():
            for values in (edge.values_of(each.key), edge.file.aside.get(each.key)):
                if values and values.get(each.column) == each.value:
                    return True
            if any(r.key == each.key and pair in r.values for r in edge.file.records.values()):
                return True
        return False

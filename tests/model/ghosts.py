"""What only the checks know: every value ever written, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.changes import Op
from tests.model.vocabulary import DRIFT_MAX, MINUTE, STATES, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.changes import Value
    from sync.decisions import Conflict
    from tests.model.edge import Edge, File, Touch
    from tests.model.vocabulary import Key, Values
    from tests.model.world import World

#: Columns whose every value is told apart from any other, so its way can be followed.
MARKED: Final = (
    "note", "due", "shelf", "severity", "earliest", "limit", "worker", "seat", "extra",
    "name", "phone",
)  # fmt: skip
#: Columns in which what a writer saw last is what a reader sees.
_PLAIN: Final = tuple(c for c in MARKED if c not in ("severity", "earliest", "limit"))


class Violation(AssertionError):
    """An invariant that does not hold."""


class Writer(NamedTuple):
    """Who wrote, and when in truth."""

    true_at: int
    #: The user transaction of a site; below 0 for the centre.
    commit: int
    site: str
    #: Whether the clock was right at that time.
    honest: bool


@dataclass(slots=True)
class Written:
    """One value that somebody wrote into one column."""

    key: Key
    column: str
    value: Value
    saw: Value
    true_at: int
    #: The user transaction of a site; 0 for the centre.
    commit: int
    site: str
    honest: bool = True
    #: A restore that was reported destroyed it.
    destroyed: bool = False


@dataclass(slots=True)
class Ghosts:
    """Follows what was written."""

    written: list[Written] = field(default_factory=list)
    born: dict[Value, Written] = field(default_factory=dict)
    #: Whole rows that somebody deleted having seen them.
    deleted: list[tuple[Key, Mapping[str, Value], int]] = field(default_factory=list)
    #: User transaction -> the sync transaction that carries it.
    carried: dict[int, str] = field(default_factory=dict)
    #: User transactions that a restore of their site took away.
    lost: set[int] = field(default_factory=set)
    #: Sync transactions that were under way then, and so must arrive.
    under_way: set[str] = field(default_factory=set)
    facts: dict[str, tuple[int, Values]] = field(default_factory=dict)
    #: Rows whose counter can't be told: deleted, parked, or lost in part.
    uncounted: set[Key] = field(default_factory=set)
    counted: list[tuple[Key, int, int]] = field(default_factory=list)
    ranks: dict[Key, int] = field(default_factory=dict)

    def fail(self, why: str) -> None:
        """Raise a violation."""
        raise Violation(why)

    # --- what happens -------------------------------------------------------------------------

    def wrote(self, site: str, commit: int, touches: list[Touch], *, honest: bool) -> None:
        """Follow what a user of a site wrote."""
        for touch in touches:
            if touch.op is Op.DELETE:
                self.deleted.append((touch.key, dict(touch.old), commit))
                self.uncounted.add(touch.key)
            elif touch.key[0] == "reports":
                self.facts[touch.key[1]] = (commit, dict(touch.new))
            else:
                self._wrote(
                    touch.key, touch.new, touch.old, Writer(touch.true_at, commit, site, honest)
                )

    def wrote_at_centre(
        self, world: World, key: Key, op: Op, new: Values, seen: Values, at: int | None = None
    ) -> None:
        """Follow what a client of the centre wrote."""
        if op is Op.DELETE:
            self.deleted.append((key, seen, -world.count))
            self.uncounted.add(key)
            return
        when = world.now if at is None else at
        self._wrote(key, new, seen, Writer(when, -world.count, "", honest=True))

    def _wrote(
        self, key: Key, new: Mapping[str, Value], old: Mapping[str, Value], by: Writer
    ) -> None:
        for column, value in new.items():
            if column in MARKED and value is not None:
                made = Written(key, column, value, old.get(column), *by)
                self.written.append(made)
                self.born[value] = made
            elif column == "made":
                before = old.get("made")
                change = int(value or 0) - int(before or 0)  # type: ignore[call-overload]
                self.counted.append((key, by.commit, change))

    def drained(self, edge: Edge, commits: set[int]) -> None:
        """Note which sync transaction carries which user transactions."""
        if edge.file.outbox or edge.file.undecided:
            tx_id = (edge.file.outbox or edge.file.undecided)[-1].tx_id
            for commit in commits:
                self.carried.setdefault(commit, tx_id)
        # A row is dated by the last touch that went into the same transaction.
        links = [*edge.file.outbox, *edge.file.undecided]
        dates = {c.key: c.true_at for link in links[-1:] for c in link.changes}
        for each in self.written:
            if each.commit in commits:
                each.true_at = dates.get(each.key, each.true_at)

    def broker_lost(self, tx_ids: Iterable[str]) -> None:
        """Note what the broker lost: nobody has it any more, should the site be restored."""
        self.under_way -= set(tx_ids)

    def site_restored(self, world: World, edge: Edge, lost: File) -> None:
        """Note what a restore of a site takes away, but for what has reached the centre."""
        site = edge.file.site
        for commit in self._commits_of(site):
            if commit > edge.file.commits:
                self.lost.add(commit)
        self.under_way |= {link.tx_id for link in world.up[site]}
        self._forget_at_centre(world, edge)
        if lost.made_as != edge.file.made_as:
            self.fail("a restore changed the place of a file")

    def _commits_of(self, site: str) -> set[int]:
        found = {w.commit for w in self.written if w.site == site and w.commit > 0}
        found |= {commit for key, _, commit in self.deleted if commit > 0 and site in key[1]}
        return found | {c for name, (c, _) in self.facts.items() if name.startswith(site)}

    def centre_restored(self, world: World, made: int) -> None:
        """Note what a restore of the centre takes away: what no site has of its own writes."""
        for each in self.written:
            if each.commit < 0 and -each.commit > made and not self._is_held(world, each):
                each.destroyed = True
                self.uncounted.add(each.key)
        for key, seen, commit in self.deleted:
            if commit < 0 and -commit > made:
                self.uncounted.add(key)
            del seen
        for key in {w.key for w in self.written if w.commit < 0 and -w.commit > made}:
            self.uncounted.add(key)

    def _is_held(self, world: World, each: Written) -> bool:
        for edge in world.edges.values():
            head = edge.file.heads.get(each.key)
            if head and head.values and head.values.get(each.column) == each.value:
                return True
        return False

    def _forget_at_centre(self, world: World, edge: Edge) -> None:
        """Where the centre went back as well, only what it has by now is known to anybody."""
        book = world.centre.book
        for each in self.written:
            if each.commit < 0 and not each.destroyed:
                row = book.rows.get(each.key)
                there = row and row.values and row.values.get(each.column) == each.value
                if (
                    not there
                    and not self._is_accounted(world, each)
                    and not self._is_held(world, each)
                ):
                    each.destroyed = True
        del edge

    def judge(self, conflict: Conflict, key: Key) -> None:
        """Check that no older write won by its clock; a deletion has a time of its own."""
        if str(conflict.policy) != "last_write" or any(k == key for k, _, _ in self.deleted):
            return
        for column in conflict.columns:
            here, there = conflict.here.get(column), conflict.central.get(column)
            won = conflict.result.get(column)
            lost = there if won == here else here
            winner, loser = self.born.get(won), self.born.get(lost)
            if winner and loser and winner is not loser and loser.honest and winner.honest:
                if winner.true_at > loser.true_at or winner.saw == lost:
                    continue
                if loser.true_at - winner.true_at > DRIFT_MAX + MINUTE:
                    self.fail(f"{column} of {conflict.group}: {won} is older than {lost} and won")

    # --- always -------------------------------------------------------------------------------

    def always(self, world: World) -> None:
        """Check what must hold at every moment."""
        if any(count > 1 for count in world.centre.effects.values()):
            self.fail("a transaction had its effect twice")
        for edge in world.edges.values():
            self._own_writes_are_seen(edge)
        self._pairs_are_whole(world)
        self._states_go_on(world)
        self._parents_are_there(world)
        self._nobody_is_of_tomorrow(world)

    def _nobody_is_of_tomorrow(self, world: World) -> None:
        for known in world.centre.book.versions.values():
            if known and known[-1].version.author.at_ms > world.now + DRIFT_MAX:
                self.fail(f"{known[-1].version.id} is dated ahead, and will win until then")

    def _own_writes_are_seen(self, edge: Edge) -> None:
        wants: dict[tuple[Key, str], Value] = {}
        for touch in edge.undecided_touches():
            for column in TABLES[touch[0][0]].names:
                wants.pop((touch[0], column), None) if touch[1] is Op.DELETE else None
            if touch[0][0] != "reports":
                wants |= {(touch[0], c): v for c, v in touch[2].items() if c in _PLAIN}
        for (key, column), value in wants.items():
            seen = edge.view(key)
            if seen is None or seen.get(column) != value:
                self.fail(f"{key} {column}: {value} was written here and is not seen")

    def _pairs_are_whole(self, world: World) -> None:
        versions = world.centre.book.versions
        halves = {key[1][:-1] for key in versions if "/pair" in key[1]}
        for half in halves:
            known = {k for k in "ab" if ("orders", half + k) in versions}
            apart = [key[1] for key, _, _ in self.deleted] + list(world.centre.book.parked)
            if len(known) == 1 and not any(half in name for name in apart):
                self.fail(f"{half}: half of a user transaction")

    def _states_go_on(self, world: World) -> None:
        for key, row in world.centre.book.rows.items():
            if key[0] != "orders" or row.values is None or row.values.get("state") is None:
                continue
            rank = STATES.index(str(row.values["state"]))
            if rank < self.ranks.get((*key, row.version), rank):  # type: ignore[arg-type]
                self.fail(f"{key}: its state went back")

    def _parents_are_there(self, world: World) -> None:
        book = world.centre.book
        for values in book.facts.values():
            if ("orders", str(values["order"])) not in book.versions and not book.forgot:
                self.fail("a fact without its order")

    # --- at rest ------------------------------------------------------------------------------

    def at_rest(self, world: World) -> None:
        """Check what must hold once nothing is under way."""
        self.always(world)
        for site, edge in world.edges.items():
            if edge.file.log or edge.file.undecided:
                self.fail(f"{site} is not rid of its writes")
            self._same_rows(world, site, edge)
        self._facts_are_there(world)
        for each in self.written:
            if not self._is_excused(world, each) and not self._is_accounted(world, each):
                self.fail(f"{each.key} {each.column}: {each.value} of {each.commit} is lost")
        for tx_id in self.under_way:
            if tx_id not in world.centre.book.applied:
                self.fail(f"{tx_id} was under way and never arrived")
        self._counters_add_up(world)

    def _same_rows(self, world: World, site: str, edge: Edge) -> None:
        centre = {
            key: row.values
            for key, row in world.centre.book.rows.items()
            if row.values is not None and world.centre.shares(site, key, row.values)
        }
        here = {key: edge.view(key) for key in edge.rows() if edge.view(key) is not None}
        for key in sorted(centre.keys() | here.keys()):
            if _filled(centre.get(key)) != _filled(here.get(key)):
                self.fail(f"{site} {key}: {here.get(key)} here, {centre.get(key)} at the centre")

    def _facts_are_there(self, world: World) -> None:
        book = world.centre.book
        waiting = {item.change.key[1] for item in book.parked.values() if item.state == "parked"}
        for name, (commit, values) in self.facts.items():
            if commit in self.lost and self.carried.get(commit, "") not in book.applied:
                continue
            if name not in waiting and book.facts.get(name) != values:
                self.fail(f"the fact {name} is lost")

    def _is_excused(self, world: World, each: Written) -> bool:
        gone = each.commit in self.lost or each.commit in world.discarded
        applied = self.carried.get(each.commit, "") in world.centre.book.applied
        return each.destroyed or (gone and not applied)

    def _is_accounted(self, world: World, each: Written) -> bool:
        book = world.centre.book
        row = book.rows.get(each.key)
        for values in (row.values, row.last) if row else ():
            if values and values.get(each.column) == each.value:
                return True
        if any(
            other.saw == each.value and other.key == each.key and other.column == each.column
            and other is not each
            for other in self.written
        ):  # fmt: skip
            return True
        if any(
            k == each.key and seen.get(each.column) == each.value for k, seen, _ in self.deleted
        ):
            return True
        pair = (each.column, each.value)
        return any(
            record.key == each.key and pair in record.values for record, _ in book.records.values()
        )

    def _counters_add_up(self, world: World) -> None:
        book = world.centre.book
        apart = {item.change.key for item in book.parked.values()}
        lost = {w.key for w in self.written if w.destroyed}
        totals: dict[Key, int] = {}
        for key, commit, change in self.counted:
            gone = commit in self.lost or commit in world.discarded
            if not gone or self.carried.get(commit, "") in book.applied:
                totals[key] = totals.get(key, 0) + change
        for key, total in totals.items():
            row = book.rows.get(key)
            if key in self.uncounted | apart | lost or row is None or row.values is None:
                continue
            if row.values.get("made") != total:
                self.fail(f"{key}: {row.values.get('made')} counted instead of {total}")


def _filled(values: Values | None) -> Values | None:
    """Return what is there: a column that is not known yet is as good as empty."""
    return None if values is None else {c: v for c, v in values.items() if v is not None}

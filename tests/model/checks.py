"""The invariants: what must hold at every moment, and what must hold at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.changes import Op
from sync.decisions import CENTRE
from tests.model.vocabulary import ADDED, DRIFT_MAX, MINUTE, POISON, STATES, Fate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.changes import Value
    from sync.decisions import Conflict, Resolution
    from tests.model.book import Row
    from tests.model.edge import Edge
    from tests.model.ghosts import Written
    from tests.model.vocabulary import Change, Key, Values
    from tests.model.world import World

#: Columns in which what a writer saw last is what a reader sees.
_PLAIN: Final = ("note", "due", "shelf", "worker", "seat", "extra", "name", "phone")
#: Parked changes that have had no effect: they are in the history, and nowhere else.
KEPT: Final = ("parked", "discarded")


class Violation(AssertionError):
    """An invariant that does not hold."""


class Checks:
    """Checks a world against what was written in it."""

    __slots__ = ()

    written: list[Written]
    born: dict[tuple[str, Value], Written]
    deleted: list[tuple[Key, Mapping[str, Value], int]]
    carried: dict[int, set[str]]
    gone: set[int]
    taken_home: set[int]
    facts: dict[str, tuple[int, Values]]
    again: list[tuple[str, int, Values]]
    uncounted: set[Key]
    went_back: bool
    made_again: set[Key]
    counted: list[tuple[Key, int, int]]
    ranks: dict[Key, int]

    def fail(self, why: str) -> None:
        """Raise a violation."""
        raise Violation(why)

    def decided(self, world: World, change: Change, row: Row, done: Resolution) -> None:
        """Check a decision on what a site sent: who saw a value may replace it, nobody else may.

        What was deleted is left out: who deletes has seen the whole row.
        """
        if any(key == change.key for key, _, _ in self.deleted):
            return
        self._nothing_goes_unseen(world, change.key, row.values, done)
        # After a restore of the centre what came home is as old as the restore, and the base of a
        # write may be unknown. After one of a site what its lost life has sent is not its own, even
        # what both lives have written. So no more is promised than for a write onto one's own.
        if not world.restores or (row.version and row.version == change.after):
            for conflict in done.conflicts:
                if str(conflict.policy) in ("last_write", "central", "site"):
                    self._who_saw_it_wins(world, change.key, conflict)

    def _who_saw_it_wins(self, world: World, key: Key, conflict: Conflict) -> None:
        """Check that a write does not lose to what its writer saw, but by a clock that is wrong.

        Nor is it promised where somebody of the centre wrote as well, and lost, or a change of the
        site that had been parked and is tried again: then the centre's value is held to be unseen.
        """
        versions = [known.version for known in world.centre.book.versions.get(key, [])]
        lost = {c for v in versions if v.author.site == CENTRE for c in v.overruled}
        for record in world.centre.book.records.values():
            if record.key == key and record.policy == "applied":
                lost |= {column for column, _ in record.values}
        for column in set(conflict.columns) - lost:
            here = self.born.get((column, conflict.here.get(column)))
            stands = conflict.result.get(column)
            if (
                here is None
                or POISON in (here.value, stands)
                or here.value == stands
                or not here.honest
            ):
                continue
            if stands == conflict.central.get(column) and stands in self._seen_by(here):
                self.fail(f"{column}: {here.value} was written over {stands}, and lost to it")

    def _seen_by(self, wrote: Written) -> set[Value]:
        """Return what stood in the column before a write, as its writers saw it come and go."""
        seen: set[Value] = set()
        before = self.born.get((wrote.column, wrote.saw))
        while before is not None and before.value not in seen:
            seen.add(before.value)
            before = self.born.get((wrote.column, before.saw))
        return seen

    def _nothing_goes_unseen(
        self, world: World, key: Key, before: Values | None, done: Resolution
    ) -> None:
        """Check that a value goes only with a record, or by who saw it."""
        if done.delete or done.revive or before is None:
            return
        recorded = {column for conflict in done.conflicts for column in conflict.columns}
        refused = {  # its site was told that it does not stand, and has written since
            pair
            for record in world.centre.book.records.values()
            if record.key == key and record.policy in ("parked", "applied", "discarded")
            for pair in record.values
        }
        for column in done.values.keys() - recorded:
            new = self.born.get((column, done.values[column]))
            old = self.born.get((column, before.get(column)))
            if not new or not old or new is old or (column, old.value) in refused:
                continue
            if {POISON, old.value}.isdisjoint({new.value, *self._seen_by(new)}):
                self.fail(f"{key} {column}: {new.value} replaced {old.value} unseen, unrecorded")

    def judge(self, conflict: Conflict, key: Key) -> None:
        """Check that no older write won by its clock; a deletion has a time of its own."""
        if str(conflict.policy) != "last_write" or any(k == key for k, _, _ in self.deleted):
            return
        if self.went_back:
            return  # what came home is as old as the restore: nobody knows better
        for column in conflict.columns:
            here, there = conflict.here.get(column), conflict.central.get(column)
            won = conflict.result.get(column)
            lost = there if won == here else here
            winner, loser = self.born.get((column, won)), self.born.get((column, lost))
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
            self._codes_are_given_once(world, edge)
        if not world.went_back:  # what comes home row by row is whole at rest
            self._pairs_are_whole(world)
            self._parents_are_there(world)
        self._states_go_on(world)
        self._nobody_is_of_tomorrow(world)

    def _nobody_is_of_tomorrow(self, world: World) -> None:
        for known in world.centre.book.versions.values():
            if known and known[-1].version.author.at_ms > world.now + DRIFT_MAX:
                self.fail(f"{known[-1].version.id} is dated ahead, and will win until then")

    def _own_writes_are_seen(self, edge: Edge) -> None:
        wants: dict[Key, dict[str, Value]] = {}
        for key, op, new in edge.undecided_touches():
            if key[0] == "reports":
                continue
            wanted = wants.setdefault(key, {})
            if op is Op.DELETE:
                wanted.clear()
            wanted |= {c: v for c, v in new.items() if c in _PLAIN}
        for key, wanted in wants.items():
            head = edge.file.heads.get(key)
            is_out = head is not None and head.fate is Fate.LEFT
            if not wanted or is_out or edge.is_aside(key):
                continue
            seen = edge.view(key) or {}
            for column, value in wanted.items():
                if seen.get(column) != value:
                    self.fail(f"{key} {column}: {value} was written here and is not seen")

    def _codes_are_given_once(self, world: World, edge: Edge) -> None:
        if edge.file.loading is not None or world.went_back:
            return
        codes = edge.codes()
        if len(set(codes)) == len(codes):
            return
        shown: dict[Value, Key] = {}
        for key in edge.rows():
            code = (edge.laid(key) or {}).get("code")
            if code is None or (code in shown and edge.is_aside(key)):
                continue
            if code in shown and not edge.is_aside(shown[code]):
                self.fail(f"{edge.file.site} shows {code} in {shown[code]} and {key}")
            shown[code] = key

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
            if key[0] != "orders":
                continue
            comes_home = self.went_back and any(key == each for each, _, _ in self.deleted)
            if comes_home or row.values is None or row.values.get("state") is None:
                self.ranks.pop(key, None)
                continue
            rank = STATES.index(str(row.values["state"]))
            if rank < self.ranks.get(key, rank):
                self.fail(f"{key}: its state went back")
            self.ranks[key] = rank

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
            self._same_facts(world, site, edge)
        self._facts_are_there(world)
        for each in self.written:
            if not self._is_excused(each) and not self.is_accounted(world, each):
                self.fail(f"{each.key} {each.column}: {each.value} of {each.commit} is lost")
        self._counters_add_up(world)
        self._parked_can_be_tried(world)
        self._waits_for_something(world)
        if not world.restores:
            self._last_writes_stand(world)

    def _last_writes_stand(self, world: World) -> None:
        """Check that a column which only its site wrote holds what was written last."""
        book = world.centre.book
        apart = {item.change.key for item in book.parked.values() if item.state in KEPT}
        apart |= {key for key, _, _ in self.deleted} | self.made_again
        wrote: dict[tuple[Key, str], list[Written]] = {}
        for each in self.written:
            wrote.setdefault((each.key, each.column), []).append(each)
        for (key, column), some in wrote.items():
            alone = all(each.site and key[1].startswith(each.site) for each in some)
            row = book.rows.get(key)
            if column not in _PLAIN or not alone or key in apart or row is None:
                continue
            if (row.values or {}).get(column) != some[-1].value:
                self.fail(f"{key} {column}: {some[-1].value!r} was the last word, and is not there")

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

    def _same_facts(self, world: World, site: str, edge: Edge) -> None:
        book = world.centre.book
        waiting = {i.change.key[1] for i in book.parked.values() if i.state in KEPT}
        centre = {n: v for n, v in book.facts.items() if n.startswith(site)}
        for name in sorted(centre.keys() ^ edge.file.facts.keys()):
            if name not in waiting and name not in edge.file.dropped:
                self.fail(f"the fact {name} is at one end only")

    def _facts_are_there(self, world: World) -> None:
        book = world.centre.book
        waiting = [item.change for item in book.parked.values() if item.state in KEPT]
        parked = [(change.key[1], dict(change.new)) for change in waiting]
        made = [(name, commit, values) for name, (commit, values) in self.facts.items()]
        for name, commit, values in made + self.again:
            if commit in self.gone or (name, values) in parked:
                continue
            if book.facts.get(name) != values:
                self.fail(f"the fact {name} is lost")

    def _parked_can_be_tried(self, world: World) -> None:
        """Check that what the history calls parked is there to be tried again."""
        owed = {
            tx_id
            for commit, carriers in self.carried.items()  # what is forged is nobody's write
            for tx_id in carriers
            if commit not in self.gone and commit not in self.taken_home
        }
        book = world.centre.book
        for record in book.records.values():
            tx_id = record.name.split("/")[0]
            waits = record.policy == "parked" and record.name not in book.parked
            if waits and tx_id in owed:
                self.fail(f"{record.name} is called parked, and nobody can try it again")

    def _waits_for_something(self, world: World) -> None:
        """Check that what waits behind a parked change waits for one that was sent before it."""
        before: set[tuple[Key, str]] = set()
        for ticket, item in world.centre.book.parked.items():
            if item.state != "parked":
                continue
            whose = (item.change.key, item.link.site)
            if item.reason == "behind" and whose not in before:
                self.fail(f"{ticket} waits for nothing that was sent before it")
            before.add(whose)

    def _is_excused(self, each: Written) -> bool:
        return each.destroyed or each.commit in self.gone

    def is_accounted(self, world: World, each: Written) -> bool:
        """Return whether the centre has a value, had it when someone replaced it, or records it."""
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
        if each.column in ADDED and any(  # who deleted may not have had the column yet
            values.get(each.column) == each.value for values in book.replaced.get(each.key, ())
        ):
            return True
        return any(r.key == each.key and pair in r.values for r in book.records.values())

    def _counters_add_up(self, world: World) -> None:
        book = world.centre.book
        apart = {item.change.key for item in book.parked.values() if item.state in KEPT}
        # What was discarded before we went back comes home as a record alone.
        apart |= {record.key for record in book.records.values() if record.policy in KEPT}
        lost = {w.key for w in self.written if w.destroyed}
        if self.went_back:  # what is gone may have come home with a head all the same
            lost |= {key for key, commit, _ in self.counted if commit in self.gone}
        totals: dict[Key, int] = {}
        for key, commit, change in self.counted:
            if commit not in self.gone:
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

"""Scenes: several things in the order in which they matter, with chance in between."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from shared.changes import Op
from tests.model.part import Part
from tests.model.vocabulary import MINUTE, POISON
from tests.model.writers import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.changes import Value
    from tests.model.edge import Edge
    from tests.model.file import File
    from tests.model.ghosts import Ghosts
    from tests.model.vocabulary import Key, Values


class Scenes(Part):
    """Plays what single steps seldom come to."""

    ghosts: Ghosts
    _site: Callable[[], str]
    _replace: Callable[[Edge, File], None]
    _goes_back: Callable[[int], None]
    backup_centre: Callable[[], None]
    centre_writes: Callable[[], None]
    user_commits: Callable[[Edge], None]
    commits: Callable[[Edge, list[tuple[Key, Op, Values]]], None]
    hello: Callable[[Edge], None]
    drain: Callable[[Edge], None]
    send: Callable[[Edge], None]
    ingest: Callable[[str], None]
    _inserts: Callable[[Key, Values], None]
    _client: Callable[[Key, int], None]
    _some_columns: Callable[[Key, Values, int], Values]
    lets_go: Callable[[], None]
    receive: Callable[[Edge], None]

    def parked_and_overtaken(self) -> None:
        """What is parked is tried again after its site wrote on, by a clock that went back."""
        site = self._site()
        edge = self.edges[site]
        self._lives(site, sends=True)
        rows = [key for key in edge.rows() if key[0] == "orders" and edge.view(key)]
        if not rows or edge.file.undecided:
            return
        key = self.chance.choice(rows)
        self.centre.mended = False
        self._writes(edge, key, due=POISON)
        edge.skew -= 90 * MINUTE  # and nobody measures it
        if edge.view(key):  # an insert that is parked is in sight no more
            self._writes(edge, key)
        self.centre.mended = True
        for ticket in sorted(self.centre.book.parked):
            self.centre.retry(ticket, self.now)
        self.centre.mended = False

    def _writes(self, edge: Edge, key: Key, **new: Value) -> None:
        """Let a user write some columns of a row, and hear what became of it."""
        site, mark = edge.file.site, self.name("m")
        self.now += MINUTE
        self.commits(edge, [(key, Op.UPDATE, {"note": mark, "shelf": mark, **new})])
        self.drain(edge)
        self.send(edge)
        self._is_applied(site)
        self.sequence()
        self.receive(edge)

    def discarded_and_built_on(self) -> None:
        """A change hides what the centre wrote; it is parked and discarded, and its site writes on.

        What is built on it may come before it is discarded or after.
        """
        edge = self.edges[self._site()]
        self._lives(edge.file.site, sends=True)
        known = {key for key, row in self.centre.book.rows.items() if row.values is not None}
        rows = [k for k in edge.rows() if k[0] == "orders" and k in known and edge.view(k)]
        if not rows:
            return
        key = self.chance.choice(rows)
        self._changes(edge, key, due=POISON)
        self._client(key, self.centre.begin())
        self.sequence()
        self.receive(edge)
        if self.chance.random() < 0.5:
            self.send(edge)
            self._is_applied(edge.file.site)
        if edge.view(key):
            self._changes(edge, key)
        self.send(edge)
        if self.chance.random() < 0.5:
            self._is_applied(edge.file.site)
        elif self.up[edge.file.site]:
            self.ingest(edge.file.site)
        self.lets_go()

    def _changes(self, edge: Edge, key: Key, **new: Value) -> None:
        """Let a user write some columns of a row, and drain that."""
        self.now += MINUTE
        some = self._some_columns(key, edge.view(key) or {}, edge.file.schema)
        self.commits(edge, [(key, Op.UPDATE, some | new)])
        self.drain(edge)

    def newer_after_older(self) -> None:
        """A site is put back to a copy, lives on, and is then put to a newer copy of before."""
        site = self._site()
        older = self._copy(site)
        self._lives(site, sends=self.chance.random() < 0.5)
        newer = self.edges[site].copy()
        self._is(site, older)
        self._lives(site, sends=True)
        self._is(site, newer)
        self._lives(site, sends=True)
        if self.chance.random() < 0.5:
            self._is(site, newer)
            self._lives(site, sends=True)

    def fact_made_again(self) -> None:
        """A program makes a fact under an id that its site has dropped, with another content."""
        site = self._site()
        edge = self.edges[site]
        self._lives(site, sends=True)
        for _ in range(2):  # none of before is kept
            self.backup_centre()
        self.sequence()
        self.receive(edge)
        edge.drop_facts(edge.not_owed())
        if not edge.file.dropped:
            return
        name = self.chance.choice(sorted(edge.file.dropped))
        _, known = self.ghosts.facts[name]
        edge.file.dropped.discard(name)
        new = {"order": known["order"], "good": self.chance.randrange(3)}
        self.commits(edge, [(("reports", name), Op.INSERT, new)])

    def code_of_both(self) -> None:
        """A site and the centre give a code to a row each, before either has heard of the other."""
        site, code = self._site(), self.name("C")
        edge = self.edges[site]
        self._says_hello(site)
        mine, theirs = (("orders", f"{site}/{self.name('o')}") for _ in range(2))
        new: Values = {"state": "planned", "made": 0, "holds": "[]", "code": code}
        for key, by_site in ((mine, True), (theirs, False)):
            row = whole(key, edge.file.schema if by_site else self.centre.book.schema) | new
            if by_site:
                self.commits(edge, [(key, Op.INSERT, row | {"note": self.name("m")})])
            else:
                self._inserts(key, row | {"note": self.name("m")})
        if self.chance.random() < 0.5:
            self.drain(edge)
        self.sequence()
        self.receive(edge)

    def state_goes_back(self) -> None:
        """A program sets a state back, and its store has not refused it."""
        edge = self.edges[self._site()]
        rows = [key for key in edge.rows() if key[0] == "orders" and edge.view(key)]
        if rows:
            key = self.chance.choice(rows)
            self.commits(edge, [(key, Op.UPDATE, {"state": "planned"})])

    def epochs_of_a_lost_past(self) -> None:
        """A site goes on in a new epoch, of which the centre loses all; then it goes back again."""
        site = self._site()
        older = self._copy(site)
        self._lives(site, sends=True)
        newer = self._copy(site)
        self.send(self.edges[site])
        self._is_applied(site)
        backup = self._backup()
        self._is(site, older)
        self._lives(site, sends=True)
        self._goes_back(backup)
        self._lives(site, sends=True)
        self._is(site, newer)
        self._lives(site, sends=True)

    def parents_of_a_lost_past(self) -> None:
        """The centre loses the end of an epoch, and the next one; then some come late."""
        site = self._site()
        backup = self._backup()
        self._lives(site, sends=True)
        older = self._copy(site)
        self._lives(site, sends=True)
        self._is(site, older)
        self._lives(site, sends=True)
        self._goes_back(backup)
        self._says_hello(site)
        self._some_is_lost(site)

    def entries_of_a_lost_past(self) -> None:
        """What the centre told goes on being under way when it has gone back."""
        self.sequence()
        site = self._site()
        self.receive(self.edges[site])
        backup = self._backup()
        for _ in range(self.chance.randrange(1, 4)):
            self._lives(site, sends=True)
            self.centre_writes()
            self.sequence()
        self._goes_back(backup)
        self._lives(site, sends=True)
        self.receive(self.edges[site])
        self._lives(site, sends=True)

    def _copy(self, site: str) -> File:
        """Copy a site's file with an empty log.

        What stands in it would be drained by each life that begins with the copy, and counted by
        each: only what a restored store has in its log is held against what was sent before.
        """
        self._says_hello(site)
        self.drain(self.edges[site])
        return self.edges[site].copy()

    def _backup(self) -> int:
        self.backup_centre()
        return len(self.backups) - 1

    def _is(self, site: str, file: File) -> None:
        self._replace(self.edges[site], copy.deepcopy(file))

    def _lives(self, site: str, *, sends: bool) -> None:
        """Let users of a site write, and its agent drain; maybe what it sends is applied, too."""
        edge = self.edges[site]
        self._says_hello(site)
        for _ in range(self.chance.randrange(1, 4)):
            self.now += self.chance.choice((1000, MINUTE, 20 * MINUTE))
            self.user_commits(edge)
        if self.chance.random() < 0.7:
            self.drain(edge)
        if sends:
            self.send(edge)
            self._is_applied(site)

    def _says_hello(self, site: str) -> None:
        self._is_applied(site)
        for _ in range(2):  # the first may be answered with a new epoch
            self.hello(self.edges[site])

    def _is_applied(self, site: str) -> None:
        for _ in range(len(self.up[site])):
            if self.up[site]:
                self.ingest(site)

    def _some_is_lost(self, site: str) -> None:
        """Let a site send all that it owes, some of which comes late."""
        self.send(self.edges[site])
        queue = self.up[site]
        while queue and self.chance.random() < 0.5:
            self.limbo.append(queue.pop(0))
        self._is_applied(site)

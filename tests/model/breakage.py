"""What breaks in the model."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.model.edge import Edge
from tests.model.part import Part
from tests.model.vocabulary import (
    MINUTE,
    SITES,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.book import Chain
    from tests.model.file import File
    from tests.model.rules import Rule

#: Backups of the centre that may still be restored.
BACKUPS: Final = 2


class Breakage(Part):
    """Breaks one thing at a time."""

    off: frozenset[Rule]
    files: dict[str, list[File]]
    stale: dict[tuple[str, str], Chain]
    may_work: Callable[[Edge], bool]

    def _faults(self, *, restores: bool) -> list[Callable[[], None]]:
        faults = [
            self.broker_loses, self.broker_repeats, self.broker_swaps, self.agent_dies,
            self.backup_centre, self.feed_is_pruned, self.forgets, self.clock_jumps, self.retries,
            self.mends, self.migrates, self.forges, self.asks_for_a_snapshot, self.broker_delays,
            self.facts_grow_old, self.centre_restarts, self.lets_go,
        ]  # fmt: skip
        return faults + (self.of_a_restore() if restores else [])

    def of_a_restore(self) -> list[Callable[[], None]]:
        """Return the faults that take a store back, or double it."""
        return [
            self.restore_site, self.restore_site, self.clone_site, self.restore_centre,
            self.restore_both,
        ]  # fmt: skip

    def _site(self) -> str:
        return self.chance.choice(SITES)

    def broker_loses(self) -> None:
        """Lose the end of a stream, or all of it, whatever was acknowledged."""
        site = self._site()
        which = self.chance.choice((self.up, self.down))
        queue = which[site]
        keep = self.chance.randrange(len(queue) + 1)
        if which is self.up:
            self.ghosts.unpromised |= {link.tx_id for link in self.up[site][keep:]}
        del queue[keep:]
        self.ghosts.recount(self)
        self.note(f"{site}: the broker keeps {keep}")

    def broker_repeats(self) -> None:
        """Deliver something twice."""
        queue = self.chance.choice((self.up, self.down))[self._site()]
        if queue:
            queue.insert(self.chance.randrange(len(queue) + 1), self.chance.choice(queue))  # type: ignore[arg-type]

    def broker_swaps(self) -> None:
        """Deliver two messages in the wrong order."""
        queue = self.chance.choice((self.up, self.down))[self._site()]
        if len(queue) > 1:
            k = self.chance.randrange(len(queue) - 1)
            queue[k], queue[k + 1] = queue[k + 1], queue[k]  # type: ignore[assignment]

    def broker_delays(self) -> None:
        """Hold a message up somewhere; it comes later, or much later."""
        queue = self.up[self._site()]
        if queue:
            link = queue.pop(self.chance.randrange(len(queue)))
            self.limbo.append(link)
            self.ghosts.unpromised.add(link.tx_id)
            self.ghosts.recount(self)

    def agent_dies(self) -> None:
        """Kill an agent."""
        self.edges[self._site()].restart()

    def restore_site(self) -> None:
        """Copy a site's file, or put an older copy in its place."""
        site = self._site()
        if not self.files[site] or self.chance.random() < 0.5:
            self.files[site].append(self.edges[site].copy())
            if self.bias.copies:
                del self.files[site][: -self.bias.copies]
        else:
            self._replace(self.edges[site], copy.deepcopy(self.chance.choice(self.files[site])))

    def _replace(self, edge: Edge, file: File) -> None:
        file.made_as = edge.place  # a person says so, where it is another one
        edge.file = file
        edge.restart()
        self.note(f"{file.site} is restored to {file.epoch} n {file.last_n}")
        self.centre.reach["site restored"] += 1
        self.ghosts.recount(self)

    def clone_site(self) -> None:
        """Start an agent on a copy of a site's file, elsewhere.

        Or the site's host dies, and a person says that the clone is the site from now on.
        """
        site = self._site()
        clone = self.clones.pop(site, None)
        if clone is None:
            clone = Edge(self.edges[site].copy(), self.name("place"), self.off, self.name)
            self.clones[site] = clone
            self.note(f"{site} is cloned")
        else:
            self.edges[site] = clone
            self._replace(clone, clone.file)
            self.centre.reach["clone adopted"] += 1

    def backup_centre(self) -> None:
        """Take a backup of the centre; the oldest but some will not be restored any more."""
        self.backups.append(
            (self.count, copy.deepcopy(self.centre.book), Counter(self.centre.effects))
        )
        del self.backups[:-BACKUPS]
        oldest = self.backups[0][1]
        self.centre.safe = {place: chain.last_n for place, chain in oldest.chains.items()}

    def restore_centre(self) -> None:
        """Put a backup in the place of the centre's book; it takes its time."""
        if self.chance.random() < 0.5:
            return
        self._goes_back(self.chance.randrange(len(self.backups)))

    def _goes_back(self, at: int) -> None:
        del self.backups[at + 1 :]
        made, book, effects = self.backups[at]
        self.went_back = True
        self.centre.restore(copy.deepcopy(book), Counter(effects), self.now)
        self._is_started()
        self.ghosts.centre_restored(self, made)
        self.centre.reach["centre restored"] += 1
        self.note(f"the centre goes back to order {book.order}")

    def restore_both(self) -> None:
        """Restore a site and the centre before they speak again."""
        self.restore_site()
        self.restore_centre()
        self.restore_site()

    def centre_restarts(self) -> None:
        """Start PostgreSQL again, as it was; not as often as other things happen."""
        if self.chance.random() < 0.7:
            return
        self.centre.start(self.now)
        self._is_started()
        self.note("the centre starts again")

    def _is_started(self) -> None:
        self.open.clear()
        self.stale.clear()
        # What nobody holds but the broker is not promised: it is dropped until the hello.
        self.ghosts.unpromised |= {link.tx_id for queue in self.up.values() for link in queue}
        self.ghosts.recount(self)

    def facts_grow_old(self) -> None:
        """Drop facts at a site that are safe, as its retention says."""
        edge = self.edges[self._site()]
        edge.drop_facts(edge.not_owed()[:3])

    def feed_is_pruned(self) -> None:
        """Forget the entries for a site."""
        self.centre.prune_feed(self._site())

    def forgets(self) -> None:
        """Forget deletions."""
        self.sequence()
        if self.centre.forget():
            for site in SITES:  # copies are not older than deletions are remembered
                self.files[site].clear()
                self.clones.pop(site, None)

    def clock_jumps(self) -> None:
        """Put a site's clock ahead."""
        self.edges[self._site()].skew += self.chance.choice((90 * MINUTE, -90 * MINUTE))

    def retries(self) -> None:
        """A person tries a parked change again."""
        parked = sorted(self.centre.book.parked)
        if parked:
            self.centre.retry(self.chance.choice(parked), self.now)

    def lets_go(self) -> None:
        """A person gives up a parked change."""
        parked = sorted(t for t, i in self.centre.book.parked.items() if i.state == "parked")
        if parked:
            ticket = self.chance.choice(parked)
            self.note(f"lets go of {ticket}")
            self.centre.discard(ticket, self.now)

    def mends(self) -> None:
        """A person mends what made changes fail."""
        self.centre.mended = True

    def migrates(self) -> None:
        """One end learns the new columns."""
        if self.chance.random() < 0.5:
            self.centre.migrate()
        else:
            self.migrate_site(self.edges[self._site()])

    def migrate_site(self, edge: Edge) -> None:
        """Let a site learn the new columns, once its agent may drain."""
        if self.may_work(edge):
            self.drain_whole(edge)
            edge.migrate()

    def forges(self) -> None:
        """A site sends a row of another."""
        site, other = self.chance.sample(SITES, 2)
        edge = self.edges[site]
        if edge.file.schema == 2 and self.may_work(edge):
            self.drain_whole(edge)
            edge.forge(("orders", f"{other}/forged"), self.name("m"), self.now)

    def asks_for_a_snapshot(self) -> None:
        """An operator has a site's rows sent again; the snapshot may be older than the feed."""
        edge = self.edges[self._site()]
        if edge.file.loading is None and edge.session and edge.file.site in self.centre.sessions:
            spooled = self.centre.snapshot(edge.file.site, anew=False)
            self.centre.reach["snapshot"] += 1
            edge.begin_loading(spooled)

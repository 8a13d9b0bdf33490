"""What breaks in the model."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.model.edge import Edge
from tests.model.vocabulary import (
    MINUTE,
    SITES,
)

if TYPE_CHECKING:
    from collections.abc import Callable


#: Backups of the centre that may still be restored.
BACKUPS: Final = 2


class Breakage:
    """Breaks one thing at a time."""

    def _faults(self, *, restores: bool) -> list[Callable[[], None]]:
        faults = [
            self.broker_loses, self.broker_repeats, self.broker_swaps, self.agent_dies,
            self.backup_centre, self.feed_is_pruned, self.forgets, self.clock_jumps, self.retries,
            self.mends, self.migrates, self.forges, self.asks_for_a_snapshot,
        ]  # fmt: skip
        return faults + (self.of_a_restore() if restores else [])

    def of_a_restore(self) -> list[Callable[[], None]]:
        """Return the faults that take a store back, or double it."""
        return [
            self.backup_site, self.restore_site, self.restore_site, self.clone_site,
            self.restore_centre,
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
            self.ghosts.broker_lost(link.tx_id for link in queue[keep:])
        del queue[keep:]
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

    def agent_dies(self) -> None:
        """Kill an agent."""
        self.edges[self._site()].restart()

    def backup_site(self) -> None:
        """Copy a site's file."""
        site = self._site()
        self.files[site].append(self.edges[site].copy())

    def restore_site(self) -> None:
        """Put an older copy in the place of a site's file."""
        site = self._site()
        if not self.files[site]:
            return
        edge = self.edges[site]
        lost, edge.file = edge.file, copy.deepcopy(self.chance.choice(self.files[site]))
        edge.restart()
        self.note(f"{site} is restored to {edge.file.epoch} n {edge.file.last_n}")
        self.ghosts.site_restored(self, edge, lost)

    def clone_site(self) -> None:
        """Start an agent on a copy of a site's file, elsewhere."""
        site = self._site()
        if site not in self.clones:
            self.clones[site] = Edge(self.edges[site].copy(), "elsewhere", self.off, self.name)
            self.note(f"{site} is cloned")

    def backup_centre(self) -> None:
        """Take a backup of the centre; the oldest but some will not be restored any more."""
        self.backups.append(
            (self.count, copy.deepcopy(self.centre.book), Counter(self.centre.effects))
        )
        del self.backups[:-BACKUPS]
        oldest = self.backups[0][1]
        self.centre.safe = {place: chain.last_n for place, chain in oldest.chains.items()}

    def restore_centre(self) -> None:
        """Put a backup in the place of the centre's book."""
        at = self.chance.randrange(len(self.backups))
        del self.backups[at + 1 :]
        made, book, effects = self.backups[at]
        self.ghosts.centre_restored(self, made)
        self.centre.restore(copy.deepcopy(book), Counter(effects), self.now)
        self.open.clear()
        self.stale.clear()
        self.note(f"the centre goes back to order {book.order}")

    def feed_is_pruned(self) -> None:
        """Forget the entries for a site."""
        self.centre.prune_feed(self._site())

    def forgets(self) -> None:
        """Forget deletions."""
        self.sequence()
        self.centre.forget()

    def clock_jumps(self) -> None:
        """Put a site's clock ahead."""
        self.edges[self._site()].skew += self.chance.choice((90 * MINUTE, -90 * MINUTE))

    def retries(self) -> None:
        """A person tries a parked change again."""
        parked = sorted(self.centre.book.parked)
        if parked:
            self.centre.retry(self.chance.choice(parked), self.now)

    def mends(self) -> None:
        """A person mends what made changes fail."""
        self.centre.mended = True

    def migrates(self) -> None:
        """One end learns the new columns."""
        if self.chance.random() < 0.5:
            self.centre.migrate()
        else:
            self._migrate(self.edges[self._site()])

    def _migrate(self, edge: Edge) -> None:
        self.drain_whole(edge)
        edge.migrate()

    def forges(self) -> None:
        """A site sends a row of another."""
        site, other = self.chance.sample(SITES, 2)
        edge = self.edges[site]
        key = ("orders", f"{other}/forged")
        self.drain(edge)
        edge.forge(key, self.name("m"), self.now)

    def asks_for_a_snapshot(self) -> None:
        """An operator has a site's rows sent again; the snapshot may be older than the feed."""
        edge = self.edges[self._site()]
        if edge.file.loading is None and edge.file.site in self.centre.verified:
            spooled = self.centre.snapshot(edge.file.site, anew=False)
            self.centre.reach["snapshot"] += 1
            edge.begin_loading(spooled)

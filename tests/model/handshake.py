"""The hello of the model: both ends tell where they stand, and whichever went back is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.part import Part
from tests.model.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.edge import Edge
    from tests.model.ghosts import Ghosts


class Handshake(Part):
    """Lets agents say hello."""

    ghosts: Ghosts
    restores: bool
    may_speak: Callable[[Edge], bool]

    def hello(self, edge: Edge) -> None:
        """Let the agent and the centre tell one another where they stand."""
        if not self.may_speak(edge):
            return
        site, centre = edge.file.site, self.centre
        is_new = edge.session == "" or edge.session != centre.sessions.get(site)
        if is_new and self.up[site] and self.on(Rule.NOTHING_IN_FLIGHT):
            return  # what is under way is applied, or dropped, before anything is decided
        if not self._agree(edge):
            return
        if is_new or edge.session == "":
            edge.session = centre.sessions[site] = self.name("session")
            edge.ends = centre.ends()
        if is_new or not self.up[site]:
            edge.sent = {e: c.last_n for (of, e), c in centre.book.chains.items() if of == site}
        file = edge.file
        if file.loading is None and centre.fetch(site, file.pos, file.pos_hash) is None:
            self.note(f"{site} needs a snapshot")
            centre.reach["snapshot"] += 1
            edge.begin_loading(centre.snapshot(site, anew=False))

    def _agree(self, edge: Edge) -> bool:
        """Mend whichever end went back; False where something of the site is still under way."""
        site, centre = edge.file.site, self.centre
        hello = edge.hello()
        centre.hear(site, hello)
        if centre.lost(site, hello):
            self._come_home(edge)
            hello = edge.hello()
        fork = centre.fork_of(site, hello)
        if fork is None or not self.on(Rule.NEW_EPOCH):
            return True
        centre.reach["fork found"] += 1
        if self.up[site] and self.on(Rule.NOTHING_IN_FLIGHT):
            return False
        if not self.restores:
            self.ghosts.fail(f"{site} is told that it went back, and did not")
        self._begin_epoch(edge, fork)
        edge.session = ""
        return True

    def _come_home(self, edge: Edge) -> None:
        """The centre went back: what it lost comes home from this site."""
        site, centre = edge.file.site, self.centre
        self.note(f"{site} knows more of the centre than the centre: it comes home")
        centre.reach["resync"] += 1
        self.down[site].clear()
        if self.on(Rule.SALVAGE):
            centre.salvage(edge)
        edge.begin_loading(centre.snapshot(site, anew=True))

    def _begin_epoch(self, edge: Edge, fork: int) -> None:
        site, old = edge.file.site, edge.file.epoch
        epoch = self.name(f"{site}-e")
        told = self.centre.close(edge, fork, epoch)
        self.centre.reach["new epoch"] += 1
        before = {touch.commit for touch in edge.file.log}
        dropped = edge.begin_epoch(epoch, told)
        self.centre.reach["touch dropped"] += len(dropped)
        sent = {touch.commit for touch in dropped}
        self.ghosts.taken_home |= sent
        self.ghosts.drained(edge, before - sent)
        self.note(f"{site} leaves {old} at {fork} for {epoch}, {len(dropped)} touches dropped")

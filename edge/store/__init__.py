"""The store of one site: SQLite, used from one thread, and read for sending from another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edge.store import (
    apply,
    asked,
    cursor,
    drain,
    epochs,
    fullness,
    homecoming,
    lives,
    materialise,
    outbox,
    position,
    sent,
    setup,
    snapshot,
    spent,
    steps,
    taken,
    tips,
    tombstones,
    unsent,
    watch,
)
from edge.store.apply import FeedOutcome
from edge.store.drain import Drained
from edge.store.open import writing
from edge.store.position import EdgePosition
from edge.store.snapshot import SnapshotState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from random import Random

    from edge.store.open import Opened
    from edge.store.steps import Shown
    from edge.store.tips import Lost
    from shared.catalog import Catalog
    from shared.changes import FeedEntry, HeadBlock, Part, Position
    from sync.handshake import Closed, Hello, Met

__all__ = ["Drained", "EdgePosition", "EdgeStore", "FeedOutcome", "SnapshotState"]


class EdgeStore:
    """A site's store, as its agent uses it; each method commits what it did, or did nothing."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        #: Called with what was drained on the way to something else, when it is committed.
        self.on_drained: Callable[[Drained], object] = lambda _: None

    @classmethod
    def open(
        cls,
        path: Path,
        catalog: Catalog,
        *,
        site: str,
        now_ms: int,
        host: str,
        chance: Random | None = None,
    ) -> EdgeStore:
        """Open, create or migrate the store and hold it: one agent at a time.

        Raises WrongSite, SchemaMismatch or CatalogError, and has changed nothing then.
        """
        store = cls(
            setup.open_for_agent(path, catalog, site=site, now_ms=now_ms, host=host, chance=chance)
        )
        try:
            store.materialise(now_ms)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def look(cls, path: Path) -> EdgeStore:
        """Open an existing store beside its agent, for the command line."""
        return cls(setup.open_to_look(path))

    def close(self) -> None:
        """Close the store and let go of it."""
        setup.close(self.opened)

    @property
    def catalog(self) -> Catalog:
        """Return the catalogue that the store's tables stand at."""
        return self.opened.catalog

    # --- where it stands ----------------------------------------------------------------------

    def position(self) -> EdgePosition:
        """Return where the store stands."""
        return position.read(self.opened.connection)

    def losses(self) -> dict[str, int]:
        """Return the tables that were found without our triggers, and how often they were by now.

        Until they are the same at both ends again.
        """
        return watch.losses(self.opened.connection)

    def shown(self) -> Shown:
        """Return where each feed stands in what a reader sees; more of it may wait here."""
        connection = self.opened.connection
        return steps.shown(connection, cursor.read(connection))

    def hello(self, *, with_order: bool = False) -> Hello:
        """Return what the store says of itself on each connect."""
        return epochs.hello(self.opened.connection, with_order=with_order)

    def drained_through(self, now_ms: int) -> int | None:
        """Return until when all that programs committed is drained, by the centre's clock.

        None where something waits. Asked before a hello, it holds for the n of the hello.
        """
        if drain.waiting(self.opened):
            return None
        return now_ms + self.position().offset_ms

    def meet(self, life: Met, after: str | None) -> None:
        """Remember a life of the centre's server in which both agreed, and which it follows."""
        with writing(self.opened.connection):
            lives.meet(self.opened.connection, life, after)

    def link_hash(self, n: int) -> bytes | None:
        """Return the hash of an own transaction; None where it is not kept any more."""
        return outbox.link_hash(self.opened.connection, n)

    def ids_after(self, n: int) -> list[tuple[int, str]]:
        """Return n and id of the next own transactions after one, some at a time."""
        return asked.ids_after(self.opened.connection, n)

    def first_change(self, fork_n: int, known_n: int, now_ms: int) -> asked.First | None:
        """Return the first transaction that is new to the centre and brings changes.

        After a drain; the centre has all up to the fork, and up to ``known_n``.
        """
        if (drained := self.drain(now_ms)) is not None:
            self.on_drained(drained)
        return asked.first_change(self.opened, fork_n, known_n)

    def questions(self, first: asked.First) -> Iterator[asked.Question]:
        """Give the rows of which the centre may have been told before, some at a time."""
        return asked.questions(self.opened, first)

    def take_out(self, first: asked.First, answers: Sequence[bytes], hlc: int) -> sent.TakenOut:
        """Return the transaction without what had been sent before; nothing is changed yet."""
        return sent.take_out(self.opened, first, answers, hlc)

    def begin_epoch(
        self, closed: Closed, now_ms: int, taken: sent.TakenOut | None = None, known_n: int = 0
    ) -> epochs.Begun:
        """Go on in a new epoch: the store went back to an older copy of itself."""
        kept, drained = epochs.Kept(taken, known_n), self._drained(now_ms)
        return epochs.begin(self.opened, closed, kept, now_ms=now_ms, drained=drained)

    def kept(self) -> list[taken.Kept]:
        """Return what was taken out as sent before, and no snapshot has brought yet."""
        return taken.all_kept(self.opened.connection)

    def kept_questions(self, kept: taken.Kept) -> Iterator[asked.Question]:
        """Give the rows of which a centre that went back may have been told, some at a time."""
        return taken.questions(self.opened, kept)

    def send_again(self, kept: taken.Kept, answers: Sequence[bytes], hlc: int, now_ms: int) -> int:
        """Put into the outbox what the centre no longer has of it; return the rows."""
        return taken.send_again(
            self.opened, kept, answers, hlc, now_ms=now_ms, drained=self._drained(now_ms)
        )

    def owe_from(self, applied_n: int) -> None:
        """Let go of nothing that the centre lacks, whatever it had called safe."""
        with writing(self.opened.connection):
            homecoming.owe_from(self.opened.connection, applied_n)

    def seen_lives(self) -> tuple[tuple[Met, ...], bool]:
        """Return the centre's lives that the heads are of, and whether their orders are void."""
        return lives.seen(self.opened.connection)

    def tips(self, lost: Lost, now_ms: int) -> Iterator[list[HeadBlock]]:
        """Give what the store knows of a history that the centre lost."""
        return tips.tips(self.opened, lost, self._drained(now_ms))

    def took_effect(self) -> set[tuple[str, str, str]]:
        """Return which own changes took effect after they had been parked: table, id and tx_id."""
        return homecoming.took_effect(self.opened)

    def included(
        self, lost: Lost
    ) -> tuple[list[tuple[int, str, bytes]], list[tuple[str, str, str]]]:
        """Return which own transactions are in the tips, and rows in which they are not."""
        return homecoming.included(self.opened, lost)

    def before_first(self) -> Position:
        """Return the link before the first transaction that can still be sent."""
        return homecoming.before_first(self.opened.connection)

    def begin_anew(
        self, lost: Lost, again: Sequence[tuple[str, str, str]], why: str, now_ms: int
    ) -> None:
        """Follow the centre from the beginning: it went back, and has been told all."""
        homecoming.begin_anew(
            self.opened, lost, again, why, now_ms=now_ms, drained=self._drained(now_ms)
        )

    def set_offset(self, offset_ms: int, now_ms: int) -> None:
        """Remember the centre's clock minus ours, measured at ``now_ms``."""
        with writing(self.opened.connection):
            position.set_offset(self.opened.connection, offset_ms, now_ms)

    def note(self, code: str, message: str, now_ms: int) -> None:
        """Keep an event for the operator."""
        with writing(self.opened.connection):
            position.note(self.opened.connection, code, message, now_ms)

    def stop(self, why: str, now_ms: int) -> None:
        """Note that a person has to look before anything is sent or received again."""
        with writing(self.opened.connection):
            position.stop(self.opened.connection, why, now_ms)

    # --- up -----------------------------------------------------------------------------------

    def drain(self, now_ms: int) -> Drained | None:
        """Move everything that programs committed into the outbox; None where nothing was."""
        return drain.drain(self.opened, now_ms)

    def outbox(self, after: tuple[int, int], *, bytes_max: int) -> list[Part]:
        """Return the parts after (n, part), in order, at least one where there is one.

        The one method that may be called from another thread while the others are at work.
        """
        return outbox.parts_after(self.opened.reading, after, bytes_max=bytes_max)

    def transactions(self, after_n: int, last_n: int) -> list[tuple[int, str]]:
        """Return n and tx_id of what was made after a number, up to another; of many the ends."""
        return outbox.transactions(self.opened.connection, after_n, last_n)

    def prune(self, now_ms: int) -> int:
        """Remove what is safe from the outbox, never more; return the number of parts.

        Some of what is long past beside it is forgotten, too, and where the plant has changed its
        rules, what these had refused is tried again: last, so that no rule holds up the rest.
        """
        tombstones.prune(self.opened, now_ms)
        spent.prune(self.opened, now_ms)
        with writing(self.opened.connection):
            parts = outbox.prune(self.opened.connection)
        materialise.try_refused(self.opened, now_ms=now_ms, drained=self._drained(now_ms))
        return parts

    def send_parents(self) -> int:
        """Have parents sent that nobody captured and that children wait for; return how many."""
        return unsent.send_parents(self.opened)

    def keep_room(self, limits: fullness.Limits, now_ms: int) -> bool:
        """Refuse new facts while the disk is nearly full; return whether they are refused now."""
        return fullness.keep_room(self.opened, limits, now_ms)

    # --- down ---------------------------------------------------------------------------------

    def apply_entries(self, entries: Sequence[tuple[FeedEntry, bytes]], now_ms: int) -> FeedOutcome:
        """Apply entries of the feeds, each with its uncompressed body, in order."""
        return apply.apply_entries(
            self.opened, entries, now_ms=now_ms, drained=self._drained(now_ms)
        )

    def show_all(self, why: str | None, now_ms: int) -> FeedOutcome:
        """Apply what waits for the other feed, which brings no more; note why where it is said."""
        if why is not None:
            self.note("MES-FEED-UNORDERED", why, now_ms)
        return apply.show_all(self.opened, now_ms=now_ms, drained=self._drained(now_ms))

    def want_snapshot(self, why: str, now_ms: int) -> None:
        """Note that the feed can't bring the store up to date any more."""
        with writing(self.opened.connection):
            snapshot.want(self.opened.connection, why, now_ms)

    def snapshot_state(self) -> SnapshotState | None:
        """Return the load under way, if there is one."""
        return snapshot.state(self.opened.connection)

    def begin_snapshot(self, snapshot_id: str, manifest: Mapping[str, Any]) -> SnapshotState:
        """Start a load, or go on with it where this snapshot is under way already."""
        return snapshot.begin(self.opened, snapshot_id, manifest)

    def apply_chunk(self, k: int, blocks: Sequence[HeadBlock], now_ms: int) -> int:
        """Apply chunk ``k`` and return its number of rows; 0 where it was applied before."""
        return snapshot.apply_chunk(
            self.opened, k, blocks, now_ms=now_ms, drained=self._drained(now_ms)
        )

    def finish_snapshot(self, now_ms: int) -> None:
        """End the load and follow the feeds from where it was made."""
        snapshot.finish(self.opened, now_ms=now_ms, drained=self._drained(now_ms))

    def materialise(self, now_ms: int) -> int:
        """Fill what a migration added with what had come for it before; return how many."""
        return materialise.materialise(self.opened, now_ms=now_ms, drained=self._drained(now_ms))

    def _drained(self, now_ms: int) -> Callable[[], AbstractContextManager[None]]:
        """Return the opening of every transaction that applies."""
        return partial(drain.drained_first, self.opened, now_ms, self.on_drained)

"""Applies what the centre decided: entries of the site's own feed and of the shared one, in order.

In one write transaction: drain (so that every write of a program is based on what stood before),
the heads of the entry, the ack, cursor and hash. A reader sees a step of the centre whole or not at
all: an entry is only kept until the last one of its run is here, and what the other feed has of
that step and of those before (``edge.store.steps``).

The order within a run matters: heads first, with the run's ack already counted as the bound of what
is decided; then the ack itself, which tells the head of every row that the centre took as the site
wrote it; then rows that had made way and may come back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from edge.store import cursor, knock_on, position, steps
from edge.store.ack import settle_own
from edge.store.applying import Applying
from edge.store.comeback import bring_back
from edge.store.heads import land
from edge.store.open import silent
from edge.store.outbox import is_own
from edge.store.rollbacks import done_anew
from edge.store.steps import Run, Shown, Waits, next_runs, run_of
from shared.changes import SHARED, FeedEntry, Position
from sync.protocol import Verdict, entry_hash, judge

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from edge.store.cursor import Cursor
    from edge.store.open import Opened

    #: Opens a write transaction in which everything that programs committed is drained.
    DrainedFirst = Callable[[], AbstractContextManager[None]]

#: A transaction ends after the entry that goes beyond it: programs wait for the lock no longer.
TRANSACTION_ROWS_MAX: Final = 5_000
#: Pause between two such transactions: programs that wait for the lock look for it now and then
#: only, and would find it taken for seconds.
BREATH_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class FeedOutcome:
    """What became of the entries that were handed in."""

    #: Leading entries that are settled: applied, kept for the end of their run, or known before.
    applied: int
    #: GAP or FORK on the first entry that is not settled; else APPLY, or SKIP for all known.
    verdict: Verdict
    acked_n: int
    #: Rows that came with the entries.
    rows: int = 0
    #: Why the verdict is GAP or FORK, in words.
    reason: str = ""
    #: What came in one feed and waits for the other one.
    waits: Waits | None = None


@dataclass(slots=True)
class _Step:
    """One write transaction's worth of entries."""

    opened: Opened
    at: Cursor
    now_ms: int
    #: A run waits for the other feed; else what waits is shown though the centre has no more.
    is_patient: bool = True
    applied: int = 0
    verdict: Verdict = Verdict.SKIP
    rows: int = 0
    reason: str = ""
    links: dict[str, list[Position]] = field(default_factory=dict)
    #: Something came too early and may be kept still.
    has_kept: bool = True
    #: Some of what could be done is left for a transaction after this one.
    goes_on: bool = False
    waits: Waits | None = None

    @property
    def is_full(self) -> bool:
        return self.rows >= TRANSACTION_ROWS_MAX

    @property
    def connection(self) -> sqlite3.Connection:
        return self.opened.connection


def apply_entries(
    opened: Opened,
    entries: Sequence[tuple[FeedEntry, bytes]],
    *,
    now_ms: int,
    drained: DrainedFirst,
) -> FeedOutcome:
    """Apply entries that are next in their feeds, each whole; stop before the first that is not.

    With each entry comes its uncompressed body, which its hash is checked against. ``drained``
    opens each write transaction. A failure leaves what earlier transactions applied.
    """
    return _in_transactions(opened, entries, now_ms, drained, is_patient=True)


def show_all(opened: Opened, *, now_ms: int, drained: DrainedFirst) -> FeedOutcome:
    """Apply all runs that wait, each whole, though the other feed does not bring what goes before.

    A step seen in part, or a row whose parent is not here, does less harm than a site that no
    longer hears of its own orders, or than a loss; so this is for when nothing more can come.
    """
    return _in_transactions(opened, (), now_ms, drained, is_patient=False)


def _in_transactions(
    opened: Opened, entries: Sequence[tuple[FeedEntry, bytes]], now_ms: int, drained: DrainedFirst,
    *, is_patient: bool,
) -> FeedOutcome:  # fmt: skip
    def in_one() -> _Step:
        with drained(), silent(opened.connection):
            step = _Step(opened, cursor.read(opened.connection), now_ms, is_patient)
            _apply_some(step, entries[outcome.applied if outcome else 0 :])
        return step

    outcome: FeedOutcome | None = None
    while True:
        step = done_anew(in_one)
        outcome = _added(outcome, step)
        if not step.goes_on:
            return outcome
        time.sleep(BREATH_S)  # lets programs that wait for the lock have it


def _added(before: FeedOutcome | None, step: _Step) -> FeedOutcome:
    earlier = before or FeedOutcome(0, Verdict.SKIP, 0)
    any_applied = Verdict.APPLY in (earlier.verdict, step.verdict)
    settled = step.verdict in (Verdict.APPLY, Verdict.SKIP)
    return FeedOutcome(
        applied=earlier.applied + step.applied,
        verdict=Verdict.APPLY if settled and any_applied else step.verdict,
        acked_n=step.at.acked_n,
        rows=earlier.rows + step.rows,
        reason=step.reason,
        waits=step.waits,
    )


def _apply_some(step: _Step, entries: Sequence[tuple[FeedEntry, bytes]]) -> None:
    """Apply entries until one is not next, or the transaction is large enough."""
    step.has_kept = steps.are_there(step.connection)
    _show(step)  # what a transaction before has left
    for entry, body in entries:
        if step.is_full:
            break
        verdict = _judge(step, entry, body)
        if verdict is Verdict.APPLY:
            _take(step, entry, body)
            step.verdict = verdict
        elif verdict is not Verdict.SKIP:
            step.verdict = verdict
            break
        step.applied += 1
    _note_wait(step)
    if step.is_full and step.verdict in (Verdict.APPLY, Verdict.SKIP):
        step.goes_on = step.applied < len(entries) or bool(_next_runs(step, None))
    for scope, links in step.links.items():
        cursor.leave_trail(step.connection, scope, links)
    cursor.save(step.connection, step.at)


# --- judging --------------------------------------------------------------------------------------


def _judge(step: _Step, entry: FeedEntry, body: bytes) -> Verdict:
    """Decide on an entry, and keep the reason where it is not applied."""
    at = step.at
    if entry.scope not in (at.site, SHARED):
        message = f"an entry of the feed of {entry.scope} came to {at.site}; it was not applied"
        position.note(step.connection, "MES-FEED-FOREIGN", message, step.now_ms)
        return Verdict.SKIP
    if at.needs_snapshot:
        step.reason = "the feed waits until a snapshot is loaded"
        return Verdict.GAP
    verdict = judge(at.of(entry.scope), entry.pos, entry.previous, entry.hash)
    if verdict is Verdict.APPLY:
        verdict = _check(step, entry, body)
    if verdict is Verdict.FORK:
        step.reason = step.reason or f"entry {entry.pos} of {entry.scope} has another history"
        position.note(step.connection, "MES-FEED-FORK", step.reason, step.now_ms)
    elif verdict is Verdict.GAP and not step.reason:
        step.reason = f"entry {at.of(entry.scope).n + 1} of {entry.scope} is missing"
    return verdict


def _check(step: _Step, entry: FeedEntry, body: bytes) -> Verdict:
    """Judge the content of an entry that is next by its number."""
    at, ack = step.at, entry.ack
    if entry_hash(entry.previous, entry.scope, entry.pos, body) != entry.hash:
        step.reason = f"entry {entry.pos} of {entry.scope} is damaged: its hash is another one"
        position.note(step.connection, "MES-FEED-DAMAGED", step.reason, step.now_ms)
        return Verdict.GAP
    if ack is not None and ack.epoch == at.epoch and ack.n > at.last_n:
        step.reason = f"the centre decided on n {ack.n}, this store has made {at.last_n} only"
        return Verdict.FORK
    if ack is not None and ack.epoch == at.epoch and not is_own(step.connection, ack):
        step.reason = f"the centre decided on another n {ack.n} than this store has made"
        return Verdict.FORK
    return Verdict.APPLY


# --- applying -------------------------------------------------------------------------------------


def _take(step: _Step, entry: FeedEntry, body: bytes) -> None:
    """Take an entry and show what can be shown now; either way the cursor passes it."""
    fresh = None if entry.more else run_of(entry, step.at.site)
    runs = _next_runs(step, fresh)
    if fresh not in runs:
        steps.keep(step.connection, entry, body, step.at.site)
        step.has_kept = True
        runs = ()
    link = Position(entry.pos, entry.hash)
    step.at.follow(entry.scope, link)
    step.links.setdefault(entry.scope, []).append(link)
    if runs:
        _apply_runs(step, runs, entry)
        _show(step)


def _next_runs(step: _Step, fresh: Run | None) -> tuple[Run, ...]:
    """Return what can be shown now, ``fresh`` being a run whose last entry is no more than read."""
    at, first = step.at, dict[str, Run | None]()
    shown = Shown(at.own.n, at.shared.n)
    if step.has_kept:
        first = {scope: steps.first_run(step.connection, scope) for scope in (at.site, SHARED)}
        shown = steps.shown(step.connection, at)
    if fresh and first.get(fresh.scope) is None:
        first[fresh.scope] = fresh
    own, shared = first.get(at.site), first.get(SHARED)
    runs = next_runs(shown, own, shared)
    if not runs and not step.is_patient and (run := own or shared):
        return (run,)
    return runs


def _show(step: _Step) -> None:
    """Apply runs that wait, as long as they are next and the transaction is not too large."""
    while step.has_kept and not step.is_full and (runs := _next_runs(step, None)):
        _apply_runs(step, runs)


def _note_wait(step: _Step) -> None:
    """Tell what waits for the other feed, and since when nothing of it could be shown."""
    step.waits = steps.waits(step.connection, step.at) if step.has_kept else None
    if step.waits is None:
        step.at.waits_since_ms = None
    elif step.at.waits_since_ms is None:
        step.at.waits_since_ms = step.now_ms


def _apply_runs(step: _Step, runs: Sequence[Run], fresh: FeedEntry | None = None) -> None:
    """Apply what the centre did in one step; the end of one run may have been read just now."""
    at, connection = step.at, step.connection
    here = (fresh.scope, fresh.pos) if fresh else None
    ends = [
        fresh if fresh and (run.scope, run.end) == here
        else steps.take(connection, run.scope, run.end)
        for run in runs
    ]  # fmt: skip
    acked = at.decide(next((e.ack for e in ends if e.scope != SHARED), None), step.now_ms)
    applying = Applying(step.opened, at.epoch, at.acked_n, step.now_ms)
    for end in ends:
        for entry in chain(steps.take_before(connection, end), [end]):
            for block in entry.blocks:
                land(applying, block, entry.schema)
    knock_on.drain(applying)
    if acked:
        settle_own(applying)
    bring_back(applying)
    applying.note_asides()
    step.rows += applying.rows
    at.waits_since_ms = None

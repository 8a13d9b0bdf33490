"""Applies what the centre decided: entries of the site's own feed and of the shared one, in order.

In one write transaction: drain (so that every write of a program is based on what stood before),
the heads of the entry, the ack, cursor and hash. A reader sees an entry whole or not at all. An
entry that says ``more`` is only kept; it is applied with the one that ends its run.

The order within a run matters: heads first, with the run's ack already counted as the bound of what
is decided; then the ack itself, which tells the head of every row that the centre took as the site
wrote it; then rows that had made way and may come back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.store import cursor, knock_on, position
from edge.store.ack import settle_own
from edge.store.applying import Applying
from edge.store.comeback import bring_back
from edge.store.heads import land
from edge.store.open import silent
from shared.changes import SHARED, FeedEntry, Position
from sync import codec
from sync.protocol import Verdict, entry_hash, judge

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
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
#: How long an entry waits for the shared feed before it is applied all the same.
SHARED_WAIT_MAX_MS: Final = 60_000


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


@dataclass(slots=True)
class _Step:
    """One write transaction's worth of entries."""

    opened: Opened
    at: Cursor
    now_ms: int
    applied: int = 0
    verdict: Verdict = Verdict.SKIP
    rows: int = 0
    reason: str = ""
    links: dict[str, list[Position]] = field(default_factory=dict)

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
    outcome: FeedOutcome | None = None
    while outcome is None or (
        outcome.applied < len(entries) and outcome.verdict in (Verdict.APPLY, Verdict.SKIP)
    ):
        done = outcome.applied if outcome else 0
        if done:
            time.sleep(BREATH_S)
        with drained(), silent(opened.connection):
            step = _Step(opened, cursor.read(opened.connection), now_ms)
            _apply_some(step, entries[done:])
        outcome = _added(outcome, step)
        if not entries:
            break
    return outcome


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
    )


def _apply_some(step: _Step, entries: Sequence[tuple[FeedEntry, bytes]]) -> None:
    """Apply entries until one is not next, or the transaction is large enough."""
    for entry, body in entries:
        verdict = _judge(step, entry, body)
        if verdict is Verdict.APPLY:
            _take(step, entry, body)
            step.verdict = verdict
        elif verdict is not Verdict.SKIP:
            step.verdict = verdict
            break
        step.applied += 1
        if step.rows >= TRANSACTION_ROWS_MAX:
            break
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
    if entry.scope != SHARED and entry.shared_pos > at.shared.n and _may_wait(step, entry):
        step.reason = f"entry {entry.pos} needs the shared feed up to {entry.shared_pos}"
        return Verdict.GAP
    at.waits_since_ms = None if entry.scope != SHARED else at.waits_since_ms
    return Verdict.APPLY


def _may_wait(step: _Step, entry: FeedEntry) -> bool:
    """Return whether the wait for the shared feed is still within its bound.

    Beyond it the entry is applied: a row whose parent is not here yet does less harm than a site
    that no longer hears of its own orders.
    """
    at = step.at
    at.waits_since_ms = step.now_ms if at.waits_since_ms is None else at.waits_since_ms
    if step.now_ms - at.waits_since_ms < SHARED_WAIT_MAX_MS:
        return True
    message = f"entry {entry.pos} was applied before the shared feed reached {entry.shared_pos}"
    position.note(step.connection, "MES-FEED-UNORDERED", message, step.now_ms)
    return False


# --- applying -------------------------------------------------------------------------------------


def _take(step: _Step, entry: FeedEntry, body: bytes) -> None:
    """Apply an entry, or keep it until its run is whole; either way the cursor passes it."""
    if entry.more:
        message = codec.encode_entry(
            entry.scope, entry.pos, entry.previous, entry.hash, codec.compress(body)
        )
        step.connection.execute(
            "INSERT INTO _sync_in (scope, pos, message) VALUES (?, ?, ?)",
            (entry.scope, entry.pos, message),
        )
    else:
        _apply_run(step, entry)
    link = Position(entry.pos, entry.hash)
    step.at.follow(entry.scope, link)
    step.links.setdefault(entry.scope, []).append(link)


def _apply_run(step: _Step, last: FeedEntry) -> None:
    """Apply the entries of one transaction of the centre, of which ``last`` is the last."""
    at, ack = step.at, last.ack if last.scope != SHARED else None
    acked = at.decide(ack, step.now_ms)
    applying = Applying(step.opened, at.epoch, at.acked_n, step.now_ms)
    for entry in (*_kept(step.connection, last.scope), last):
        for block in entry.blocks:
            land(applying, block, entry.schema)
    knock_on.drain(applying)
    if acked:
        settle_own(applying)
    bring_back(applying)
    applying.note_asides()
    step.rows += applying.rows


def _kept(connection: sqlite3.Connection, scope: str) -> Iterator[FeedEntry]:
    """Yield and forget the entries of a run whose end is here, one in memory at a time."""
    kept = connection.execute("SELECT pos FROM _sync_in WHERE scope = ? ORDER BY pos", (scope,))
    for (pos,) in kept.fetchall():
        (message,) = connection.execute(
            "DELETE FROM _sync_in WHERE scope = ? AND pos = ? RETURNING message", (scope, pos)
        ).fetchone()
        yield codec.decode_entry(message)[0]

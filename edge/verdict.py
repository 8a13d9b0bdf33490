"""How a site's sync is: a verdict in words, with reasons and what to type next.

Pure: ``edge.status`` reads what is judged here. A site that is cut off works on its own and is no
emergency. Critical is what a person has to see to before anything goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.clock import DRIFT_MAX_MS
from shared.look import counted
from shared.verdict import Level, Reason, gravest_first, worst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.picture import Picture, Space

SCHEMA: Final = "mes-sync.status/v1"

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000

#: How long a transaction may wait for the centre's decision while the link stands.
BACKLOG_OLD_MS: Final = 10 * _MINUTE_MS
BACKLOG_CRITICAL_MS: Final = 60 * _MINUTE_MS
#: How long a committed write may wait for a running agent to take it up.
DRAIN_MAX_MS: Final = _MINUTE_MS
FEED_WAITS_MAX_MS: Final = _MINUTE_MS
#: Agents say hello every 15 s. Without an answer for so long nobody at the centre listens; where it
#: answers, and nothing is agreed on, something goes wrong or much comes home.
SILENT_MAX_MS: Final = 3 * _MINUTE_MS
#: How long an error of the agent's own is shown.
FAILURE_SHOWN_MS: Final = 60 * _MINUTE_MS
CLOCK_MAX_MS: Final = 5_000
DISK_LOW: Final = 0.10
DISK_CRITICAL: Final = 0.02
DISK_CRITICAL_BYTES: Final = 200_000_000
KEPT_LONG_MS: Final = 14 * _DAY_MS
#: Why a row is set aside, where somebody has to see to it.
SEEN_TO: Final = ("unique", "refused", "too_large", "uncaptured")


# --- what is said of it --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole status."""

    picture: Picture
    level: Level
    words: str
    reasons: tuple[Reason, ...] = ()


def judge(picture: Picture) -> Verdict:
    """Return the verdict, the gravest reason first."""
    reasons = gravest_first(_reasons(picture))
    level = worst(reasons)
    return Verdict(picture, level, _words(picture, level), reasons)


def document(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict for programs; within a schema's version fields are only added."""
    return {
        "schema": SCHEMA,
        "status": verdict.level.word,
        "exit_code": int(verdict.level),
        "verdict": verdict.words,
        "reasons": [asdict(each) | {"level": each.level.word} for each in verdict.reasons],
        **asdict(verdict.picture),
    }


def _words(picture: Picture, level: Level) -> str:
    agent = picture.agent
    said = (
        (picture.stopped_because is not None, "stopped, a person has to look"),
        (not agent.running, "not running, writes are kept here"),
        (agent.refused, "refused by the broker, working locally"),
        (not agent.connected, "offline, working locally"),
        (_is_apart(picture), "not agreed with the centre, working locally"),
        (_is_silent(picture), "the centre does not answer, working locally"),
        (picture.feed.needs_snapshot, "loading the centre's state"),
        (level > Level.OK, "connected, needs a look"),
        (picture.backlog.transactions > 0, "sending"),
    )
    return next((words for holds, words in said if holds), "in step with the centre")


def _reasons(picture: Picture) -> Iterator[Reason]:
    yield from _of_agent(picture)
    yield from _of_lanes(picture)
    yield from _for_people(picture)
    yield from _of_machine(picture)


def _at_end(picture: Picture) -> Reason | None:
    """Return why no agent works for the store; None where one does."""
    agent, why = picture.agent, picture.stopped_because
    if why is not None:
        return Reason("MES-STOPPED", Level.CRITICAL, why, "mes-sync explain MES-STOPPED")
    if agent.damaged:
        return Reason(
            "MES-STORE-DAMAGED", Level.CRITICAL, f"the agent has ended: {agent.damaged}",
            "mes-sync explain MES-STORE-DAMAGED",
        )  # fmt: skip
    if not agent.running:
        return Reason(
            "MES-AGENT-DOWN", Level.CRITICAL,
            "no agent runs for this store: nothing is sent or received",
            "systemctl start mes-edge (or: mes-edge run)",
        )  # fmt: skip
    return None


def _of_agent(picture: Picture) -> Iterator[Reason]:
    agent = picture.agent
    if ended := _at_end(picture):
        yield ended
        return
    if agent.failed_ms is not None and picture.age(agent.failed_ms) < FAILURE_SHOWN_MS:
        yield Reason(
            "MES-AGENT-FAILED", Level.DEGRADED, agent.failure, "journalctl -u mes-edge -p err"
        )
    if agent.refused:
        yield Reason("MES-REFUSED", Level.CRITICAL, agent.refused, "mes-sync explain MES-REFUSED")
    elif not agent.connected:
        why = f": {agent.last_error}" if agent.last_error else ""
        yield Reason(
            "MES-OFFLINE",
            Level.DEGRADED,
            f"no connection to {', '.join(agent.servers) or 'the broker'}{why}",
            "mes-sync explain MES-OFFLINE",
        )
    elif _is_apart(picture):
        yield Reason(
            "MES-NOT-AGREED",
            Level.DEGRADED,
            f"the centre answers, and the two do not agree yet: {agent.apart}",
            "mes-sync explain MES-NOT-AGREED",
        )
    elif _is_silent(picture):
        yield Reason(
            "MES-CENTRE-SILENT",
            Level.DEGRADED,
            "the broker is reached, but the centre answers no hello",
            "mes-central status (at the centre)",
        )


def _is_silent(picture: Picture) -> bool:
    """Return whether the link stands and nobody at the other end answers."""
    return _waits_to_agree(picture) and not picture.agent.apart


def _is_apart(picture: Picture) -> bool:
    """Return whether what the centre answers is still not what lets both go on."""
    return _waits_to_agree(picture) and bool(picture.agent.apart)


def _waits_to_agree(picture: Picture) -> bool:
    agent = picture.agent
    agreed = max(agent.met_ms or 0, agent.since_ms or 0)
    return agent.connected and picture.at_ms - agreed > SILENT_MAX_MS


def _of_lanes(picture: Picture) -> Iterator[Reason]:
    agent, backlog, feed = picture.agent, picture.backlog, picture.feed
    undrained = picture.age(backlog.undrained_since_ms)
    if agent.running and picture.stopped_because is None and undrained > DRAIN_MAX_MS:
        yield Reason(
            "MES-DRAIN-STUCK",
            Level.CRITICAL,
            f"a write was committed {undrained // 1000} s ago and not taken up",
            f"fuser {picture.store}",
        )
    waited = picture.age(backlog.oldest_ms)
    if agent.connected and waited > BACKLOG_OLD_MS:
        why = f"; the broker does not take it: {agent.not_taken}" if agent.not_taken else ""
        yield Reason(
            "MES-BACKLOG-OLD",
            Level.CRITICAL if waited > BACKLOG_CRITICAL_MS else Level.DEGRADED,
            f"the oldest write without a decision is {waited // _MINUTE_MS} min old{why}",
            "mes-central status (at the centre)",
        )
    if feed.needs_snapshot and agent.connected:
        yield Reason(
            "MES-SNAPSHOT",
            Level.DEGRADED,
            counted(feed.snapshot_chunks or 0, "chunk is", "chunks are") + " loaded",
            "mes-sync status --watch",
        )
    if picture.age(feed.waits_since_ms) > FEED_WAITS_MAX_MS:
        yield Reason(
            "MES-FEED-WAITS",
            Level.DEGRADED,
            "what came in one of the feeds waits for the other one",
            "mes-sync explain MES-FEED-WAITS",
        )


def _for_people(picture: Picture) -> Iterator[Reason]:
    conflicts, unapplied = picture.conflicts, picture.unapplied
    if conflicts.open:
        yield Reason(
            "MES-REVIEWS",
            Level.DEGRADED,
            counted(conflicts.open, "conflict needs a person", "conflicts need a person"),
            "mes-sync conflicts list",
        )
    if unapplied.parked:
        yield Reason(
            "MES-PARKED",
            Level.DEGRADED,
            counted(unapplied.parked, "row", "rows") + " could not be applied at the centre",
            "mes-sync parked list",
        )
    if picture.compared.differing:
        yield Reason(
            "MES-DIFFERS",
            Level.DEGRADED,
            counted(picture.compared.differing, "row differs", "rows differ")
            + " from the centre's",
            "mes-sync verify --repair",
        )
    if tables := picture.compared.uncaptured:
        yield Reason(
            "MES-CAPTURE-LOST",
            Level.DEGRADED,
            f"our triggers had been away from {', '.join(tables)}",
            "mes-sync verify --repair",
        )
    aside = sum(unapplied.aside.get(code, 0) for code in SEEN_TO)
    if aside:
        yield Reason(
            "MES-ASIDE",
            Level.DEGRADED,
            counted(aside, "row stands aside here", "rows stand aside here"),
            "mes-sync parked list",
        )


def _of_machine(picture: Picture) -> Iterator[Reason]:
    offset, space, kept = abs(picture.clock.offset_ms), picture.space, picture.kept
    if offset > CLOCK_MAX_MS:
        yield Reason(
            "MES-CLOCK",
            Level.CRITICAL if offset > DRIFT_MAX_MS else Level.DEGRADED,
            f"this clock is {offset / 1000:.1f} s"
            f" {'behind' if picture.clock.offset_ms > 0 else 'ahead of'} the centre's",
            "timedatectl set-ntp true",
        )
    yield from _of_disk(space)
    protected = picture.protected
    if picture.agent.connected and protected.why:
        yield Reason(
            "MES-BACKUP-OLD", Level.DEGRADED, f"at the centre: {protected.why}",
            "mes-central backup list (at the centre)",
        )  # fmt: skip
    # Where backups are marked, their oldest tells how long: that is somebody's choice.
    kept_long = picture.age(kept.oldest_ms) > KEPT_LONG_MS and not protected.marked
    if picture.agent.connected and kept_long:
        yield Reason(
            "MES-KEPT-LONG", Level.DEGRADED,
            f"transactions are kept for {picture.age(kept.oldest_ms) // _DAY_MS} days",
            "mes-sync explain MES-KEPT-LONG",
        )  # fmt: skip


def _of_disk(space: Space) -> Iterator[Reason]:
    if space.read_only:
        yield Reason(
            "MES-DISK-READ-ONLY", Level.CRITICAL,
            "the store's disk is read-only: neither programs nor the agent can write",
            "mes-sync explain MES-DISK-READ-ONLY",
        )  # fmt: skip
    if space.facts_refused:
        yield Reason(
            "MES-DISK-FULL", Level.CRITICAL,
            "new rows of append-only tables are refused: the store's disk is nearly full",
            "mes-sync explain MES-DISK-FULL",
        )  # fmt: skip
    share = space.free_bytes / space.disk_bytes if space.disk_bytes else 1.0
    if share < DISK_LOW:
        grave = share < DISK_CRITICAL or space.free_bytes < DISK_CRITICAL_BYTES
        yield Reason(
            "MES-DISK-LOW", Level.CRITICAL if grave else Level.DEGRADED,
            f"{share:.0%} of the store's disk is free", "mes-sync explain MES-DISK-LOW",
        )  # fmt: skip

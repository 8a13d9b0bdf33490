"""The handshake: what an edge says on each connect, and what follows from it.

Both sides show a position with its hash (protocol, rules 19 and 20). ``judge`` is pure: from what
the edge says and what the centre knows it tells which of the two went back to an older state of
itself, if any. Nothing is sent or taken between the two until it says that they agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from shared.changes import SHARED, START, Position
from shared.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Welcome(StrEnum):
    """What the centre answers to a hello."""

    OK = "ok"
    SNAPSHOT = "snapshot"  #: the feed no longer goes back to where the edge stands
    BEHIND = "behind"  #: the edge is an older copy of itself, or a new store: it begins a new epoch
    LOST = "lost"  #: the centre is an older copy of itself: the edge brings home what it knows
    TELL = "tell"  #: the server was started since: say hello with the highest order, too
    SHOW = "show"  #: show which later decisions you know: they may be of this life of the server
    STOP = "stop"  #: a person has to look


@dataclass(frozen=True, slots=True)
class Closure:
    """An epoch that ended, since the store went back to an older copy of itself."""

    epoch: str
    #: The last transaction of it that the store still has.
    fork_n: int
    #: The last that had its effect at the centre; any later one is fenced.
    closed_n: int


def read_lineage(listed: Any) -> tuple[Closure, ...]:
    """Return the closures that a control message lists, oldest first."""
    try:
        return tuple(Closure(str(epoch), int(fork), int(end)) for epoch, fork, end in listed)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedMessage(f"the lineage can't be read: {error!r}") from error


def _hash(value: Any) -> bytes:
    """Return a hash; a number would be taken for as many zeros."""
    if not isinstance(value, bytes):
        raise TypeError(f"a hash is expected, not {type(value).__name__}")
    return value


@dataclass(frozen=True, slots=True)
class Closed:
    """What a store has to know of its epoch that the centre closed."""

    closure: Closure
    #: Where it goes on.
    next_epoch: str
    #: The highest clock of any drain; the store goes on above it.
    hlc: int

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """Return what a control message holds; MalformedMessage where it holds none."""
        try:
            closure = Closure(str(said["epoch"]), int(said["fork_n"]), int(said["closed_n"]))
            return cls(closure, str(said["next"]), int(said["hlc"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise MalformedMessage(f"the closure can't be read: {error!r}") from error

    def fields(self) -> dict[str, Any]:
        """Return it as the fields of a control message."""
        return {
            "epoch": self.closure.epoch,
            "fork_n": self.closure.fork_n,
            "closed_n": self.closure.closed_n,
            "next": self.next_epoch,
            "hlc": self.hlc,
        }


#: ``SentBefore.hlc`` of what may be of any drain.
ANY_DRAIN: Final = 0


class SentBefore(NamedTuple):
    """A touch that the lost life of a store has sent."""

    #: Of the row among those that were asked for.
    place: int
    #: Clock of the drain.
    hlc: int
    #: The columns that it touched, by the catalogue's bits; of a row that was made or deleted, all.
    mask: int
    #: When, by the site's own clock.
    at_ms: int
    #: Else it was at that time or before.
    is_exact: bool


def read_sent_before(listed: Any) -> tuple[SentBefore, ...]:
    """Return the touches that a control message lists."""
    try:
        return tuple(
            SentBefore(int(place), int(hlc), int(mask), int(at_ms), bool(is_exact))
            for place, hlc, mask, at_ms, is_exact in listed
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedMessage(f"what was sent before can't be read: {error!r}") from error


def read_epochs(listed: Any, count: int) -> tuple[str | None, ...]:
    """Return of which closed epoch each touch is; None of all where an earlier release tells."""
    epochs = (None,) * count if listed is None else listed
    if not isinstance(epochs, list | tuple) or len(epochs) != count:
        raise MalformedMessage("what was sent before can't be read: not each has an epoch")
    return tuple(None if each is None else str(each) for each in epochs)


class Met(NamedTuple):
    """A life of the centre's server in which both ends agreed."""

    life: str
    #: Highest order of any version that it has in common with the one before it in a list; None
    #: where that is not known.
    parted_order: int | None = None


def read_met(said: Mapping[str, Any]) -> tuple[Met, ...]:
    """Return the lives that a control message tells of; an earlier release does not say more."""
    lives = [str(each) for each in said["lives"]]
    parted = said.get("parted") or [None] * len(lives)
    if len(parted) != len(lives):
        raise MalformedMessage("the lives can't be read: not each has an order")
    return tuple(map(Met, lives, parted))


def met_fields(lives: Sequence[Met]) -> dict[str, Any]:
    """Return lives as the fields of a control message."""
    return {
        "lives": [each.life for each in lives],
        "parted": [each.parted_order for each in lives],
    }


@dataclass(frozen=True, slots=True)
class Hello:
    """Where an edge stands."""

    #: Host and path of the file, and where it was before a person said that it had been moved.
    instance: str
    moved_from: str | None
    epoch: str
    n: int
    hash: bytes
    #: The last own transaction that the centre decided on; its hash, where it is still known.
    acked_n: int
    acked_hash: bytes | None
    own: Position
    shared: Position
    lineage: tuple[Closure, ...] = ()
    needs_snapshot: bool = False
    #: Lives of the centre's server that lead to the one of the store's heads, which is the last.
    lives: tuple[Met, ...] = ()
    #: Highest order of any version that the store has; None where it was not asked for.
    max_order: int | None = None

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """Return the hello that a control message holds; MalformedMessage where it holds none."""
        try:
            return cls(
                instance=str(said["instance"]),
                moved_from=said.get("moved_from"),
                epoch=str(said["epoch"]),
                n=int(said["n"]),
                hash=_hash(said["hash"]),
                acked_n=int(said["acked_n"]),
                acked_hash=said.get("acked_hash"),
                own=Position(int(said["own"][0]), _hash(said["own"][1])),
                shared=Position(int(said["shared"][0]), _hash(said["shared"][1])),
                lineage=read_lineage(said["lineage"]),
                needs_snapshot=bool(said["needs_snapshot"]),
                lives=read_met(said),
                max_order=said.get("max_order"),
            )
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise MalformedMessage(f"the hello can't be read: {error!r}") from error

    def fields(self) -> dict[str, Any]:
        """Return it as the fields of a control message."""
        return {
            "instance": self.instance,
            "moved_from": self.moved_from,
            "epoch": self.epoch,
            "n": self.n,
            "hash": self.hash,
            "acked_n": self.acked_n,
            "acked_hash": self.acked_hash,
            "own": [self.own.n, self.own.hash],
            "shared": [self.shared.n, self.shared.hash],
            "lineage": [[each.epoch, each.fork_n, each.closed_n] for each in self.lineage],
            "needs_snapshot": self.needs_snapshot,
            "max_order": self.max_order,
        } | met_fields(self.lives)


@dataclass(frozen=True, slots=True)
class KnownChain:
    """What the centre knows of one epoch of a site."""

    last: Position
    #: Up to this transaction rows came home with a salvage.
    included: Position = START
    is_closed: bool = False
    #: Hash of the transaction that the edge names as decided; None where it is not remembered.
    acked_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class KnownFeed:
    """What the centre knows of a feed."""

    end: Position
    #: Hash of the entry at which the edge stands; None where it is not remembered.
    hash_there: bytes | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the centre knows of a site."""

    instance: str | None = None
    stopped_because: str | None = None
    #: By epoch; of others than the edge's own only whether they are closed counts.
    chains: Mapping[str, KnownChain] = field(default_factory=dict)
    own: KnownFeed = KnownFeed(Position(0, b""))
    shared: KnownFeed = KnownFeed(Position(0, b""))
    #: Highest order that the history of the site's heads is known to have in common with ours, as
    #: of the first life that the site has not met; None where it has met that of now.
    held_order: int | None = None
    #: The site has met a life of the server that is not of our history.
    is_other_history: bool = False


def judge(site: str, said: Hello, known: Known) -> tuple[Welcome, str]:
    """Return what follows from a hello, and why; OK also where the feed has gaps to fill."""
    if why := _needs_a_person(site, said, known):
        return Welcome.STOP, why
    if known.held_order is not None and said.max_order is None:
        return Welcome.TELL, ""
    if why := _centre_went_back(site, said, known):
        return Welcome.LOST, why
    if known.held_order is not None and (said.max_order or 0) > known.held_order:
        return _knows_more(site, said, known)
    why = _edge_went_back(site, said, known)
    return (Welcome.BEHIND if why else Welcome.OK), why


def _needs_a_person(site: str, said: Hello, known: Known) -> str:
    if known.stopped_because:
        return known.stopped_because
    if known.instance not in (None, said.instance, said.moved_from):
        return (
            f"the store of {site} is {known.instance}, this one is {said.instance}: if it takes"
            f" the other's place, run `mes-edge moved` there, or `mes-central sites release {site}`"
        )
    chain = known.chains.get(said.epoch)
    if chain and None is not chain.acked_hash != said.acked_hash is not None:
        # A newer copy stands in place of a store that had gone back, as the centre had. Two
        # transactions of one number were both decided; what is built on either looks the same.
        return (
            f"the centre decided on another n {said.acked_n} of {site} than this store has: these"
            " are two lives of one store; put the file back that stood here before, or begin with"
            " a new store (docs/restores.md)"
        )
    return ""


def _knows_more(site: str, said: Hello, known: Known) -> tuple[Welcome, str]:
    """Return what follows where a site knows of later decisions than the server began with.

    A feed that goes on from where the site stands vouches for them. Where there is none, that the
    centre has all rows proves nothing: another site may have told of them, and orders are void.
    """
    if known.is_other_history:
        return Welcome.LOST, f"{site} knows of decisions of a life of the server that is lost"
    if said.needs_snapshot or None in (known.own.hash_there, known.shared.hash_there):
        return Welcome.LOST, f"nothing tells whether what {site} knows of was lost"
    return Welcome.SHOW, f"{site} knows of decisions since the server was started, or lost ones"


def _centre_went_back(site: str, said: Hello, known: Known) -> str:
    chain = known.chains.get(said.epoch)
    decided_n = max(chain.last.n, chain.included.n) if chain else 0
    if said.acked_n > decided_n:
        return f"the centre decided on n {said.acked_n} of {site} and knows {decided_n} only"
    before = [known.chains.get(each.epoch) for each in said.lineage]
    if not all(each and each.is_closed for each in before):
        return f"the centre closed an epoch of {site} and no longer knows it"
    # What a store followed counts no more where it needs a snapshot.
    return "" if said.needs_snapshot else _feeds_went_back(site, said, known)


def _feeds_went_back(site: str, said: Hello, known: Known) -> str:
    for scope, at, feed in ((site, said.own, known.own), (SHARED, said.shared, known.shared)):
        if at.n > feed.end.n:
            return f"{site} followed feed {scope} to {at.n}, it ends at {feed.end.n}"
        if feed.hash_there not in (None, at.hash):
            return f"{site} followed another feed {scope} up to {at.n}"
    return ""


def _edge_went_back(site: str, said: Hello, known: Known) -> str:
    chain = known.chains.get(said.epoch)
    if chain is None:
        return f"a new store speaks for {site}" if known.chains else ""
    if chain.is_closed:
        return f"the store of {site} is in an epoch that is closed"
    known_n = max(chain.last.n, chain.included.n)
    if said.n < known_n:
        return f"the store of {site} is at {said.n}, the centre knows {known_n}"
    if said.n == chain.last.n and said.hash != chain.last.hash:
        return f"the store of {site} has another transaction {said.n} than the centre applied"
    return ""

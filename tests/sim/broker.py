"""A broker in this process that is trusted with nothing: it breaks in every way that it is told to.

It speaks to the product's own pump: what is published passes the check of the expected last
sequence, what is delivered comes again until it is acked. Faults are armed one at a time, by
whoever drives the world, and counted where they take effect.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import (
    BrokerUnreachable,
    NoResponder,
    StreamFull,
    SyncError,
    WrongLastSequence,
)
from sync.pump import BATCH_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

#: How a stream loses what it had acknowledged, or how it hands out what it has.
LOSSES = ("tail lost", "all lost", "head lost", "one lost")
DELIVERIES = ("repeated", "swapped", "not delivered", "damaged")
PUBLISHES = ("refused", "unheard", "full")
ANSWERS = ("no responder", "answer lost")


@dataclass(frozen=True)
class Delivery:
    """A message as the broker hands it over."""

    payload: bytes
    stored_at_ms: int
    seq: int


@dataclass
class Lane:
    """The stream of one subject, and how far each consumer has acked it."""

    stored: list[Delivery] = field(default_factory=list)
    last: int = 0
    acked: Counter[str] = field(default_factory=Counter)

    def store(self, payloads: Sequence[bytes], at_ms: int) -> int:
        """Store messages and return the sequence of the last."""
        for payload in payloads:
            self.last += 1
            self.stored.append(Delivery(payload, at_ms, self.last))
        return self.last

    def waiting(self, consumer: str) -> list[Delivery]:
        """Return what a consumer has not acked."""
        after = self.acked[consumer]
        return [each for each in self.stored if each.seq > after]

    def lose(self, how: str, chance: Random) -> bool:
        """Lose something that was acknowledged to its sender; return whether there was any."""
        if not self.stored:
            return False
        if how == "all lost":  # the stream is made anew
            self.stored, self.last = [], 0
            self.acked.clear()
            return True
        if how == "tail lost":
            del self.stored[chance.randrange(len(self.stored)) :]
            self.last = self.stored[-1].seq if self.stored else max(0, self.last - 1)
            for consumer, seq in self.acked.items():
                self.acked[consumer] = min(seq, self.last)
        elif how == "head lost":
            del self.stored[: chance.randrange(1, len(self.stored) + 1)]
        else:
            del self.stored[chance.randrange(len(self.stored))]
        return True


class Broker:
    """All streams; also the transport and the link that the product's lanes speak to."""

    def __init__(self, chance: Random, now_ms: Callable[[], int]) -> None:
        self.chance, self.now_ms = chance, now_ms
        self.lanes: dict[str, Lane] = {}
        #: Orders of the centre to a site's agent, by site.
        self.orders: dict[str, deque[tuple[str, bytes]]] = {}
        self.met: Counter[str] = Counter()
        #: What goes wrong next, by kind of fault; used up where it takes effect.
        self.armed: dict[str, str] = {}
        self.answering: Callable[[str, bytes], Awaitable[bytes]] | None = None
        self.is_down = False
        #: Called with the subject of each question before it is asked.
        self.between: Callable[[str], Awaitable[None]] | None = None

    def lane(self, subject: str) -> Lane:
        """Return the stream of a subject."""
        return self.lanes.setdefault(subject, Lane())

    def arm(self, kind: str, how: str) -> None:
        """Have something go wrong the next time."""
        self.armed[kind] = how

    def _fault(self, kind: str) -> str:
        how = self.armed.pop(kind, "")
        if how:
            self.met[how] += 1
        return how

    def mend(self) -> None:
        """Have nothing go wrong any more."""
        self.armed.clear()
        self.is_down = False

    # --- what the product's lanes ask of a transport and a link ---------------------------------

    @property
    def batch_bytes_max(self) -> int:
        """How large a batch may be."""
        return BATCH_BYTES_MAX

    async def publish_batch(
        self, subject: str, payloads: Sequence[bytes], *, expected_last: int, over: str
    ) -> int:
        """Store all or none, behind the last that the sender knows of."""
        del over
        if self.is_down:
            raise BrokerUnreachable
        lane = self.lane(subject)
        if expected_last != lane.last:
            raise WrongLastSequence(lane.last)
        how = self._fault("publish")
        if how == "refused":
            raise BrokerUnreachable
        if how == "full":
            raise StreamFull
        last = lane.store(payloads, self.now_ms())
        if how == "unheard":
            raise BrokerUnreachable
        return last

    async def publish(self, subject: str, payload: bytes) -> None:
        """Pass an order of the centre on to a site's agent; nobody hears whether it arrived."""
        _, site, order = subject.split(".")
        self.orders.setdefault(site, deque(maxlen=4)).append((order, payload))

    async def request(self, subject: str, payload: bytes, timeout_s: float = 10.0) -> bytes:
        """Ask the centre, and return its answer where it comes."""
        del timeout_s
        if self.is_down or self.answering is None:
            raise BrokerUnreachable
        how = self._fault("answer")
        if how == "no responder":
            raise NoResponder
        if self.between is not None:
            await self.between(subject)
        try:
            answer = await self.answering(subject, payload)
        except SyncError as why:
            if "cut:" in str(why):  # an error there is told to nobody here
                raise NoResponder from why
            raise
        if how == "answer lost":
            raise BrokerUnreachable
        return answer

    # --- delivering ------------------------------------------------------------------------------

    def deliver(self, subject: str, consumer: str, count: int) -> list[Delivery]:
        """Return the next messages for a consumer, which come again until they are acked."""
        if self.is_down:
            return []
        lane = self.lane(subject)
        some = lane.waiting(consumer)[:count]
        if not some:
            return some
        how = self._fault("delivery")
        at = self.chance.randrange(len(some))
        if how == "repeated":
            some.insert(self.chance.randrange(at, len(some)) + 1, self.chance.choice(lane.stored))
        elif how == "swapped" and len(some) > 1:
            at = min(at, len(some) - 2)
            some[at], some[at + 1] = some[at + 1], some[at]
        elif how == "not delivered":  # and nobody will hear of it again
            del some[at]
        elif how == "damaged":
            some[at] = self._damaged(some[at])
        return some

    def _damaged(self, whole: Delivery) -> Delivery:
        raw = bytearray(whole.payload)
        raw[self.chance.randrange(len(raw))] ^= 1 << self.chance.randrange(8)
        return Delivery(bytes(raw), whole.stored_at_ms, whole.seq)

    def ack(self, subject: str, consumer: str, some: Sequence[Delivery]) -> None:
        """Hear that these need not come again."""
        lane = self.lane(subject)
        seqs = [each.seq for each in some if each.seq <= lane.last]
        lane.acked[consumer] = max([lane.acked[consumer], *seqs])

    def waiting(self, subject: str, consumer: str) -> int:
        """Return how many messages wait for a consumer."""
        return len(self.lane(subject).waiting(consumer))

    def lose(self, subject: str, how: str) -> None:
        """Lose something of a stream."""
        if self.lane(subject).lose(how, self.chance):
            self.met[how] += 1

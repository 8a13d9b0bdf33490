"""The pump: what comes next goes out, what came in is judged and taken. The same at both ends.

An outbox numbers its messages and never forgets one before the other side has decided on it; an
inbox takes messages in order, each once, in one transaction with its own position. Between them
lies a broker that is trusted with nothing: it may lose what it acknowledged, deliver twice, late,
or never. So a batch that was sent is only *in flight*; what the other side has decided is said by
that side alone (the ack in the feed, the cursor in the hello).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from shared.errors import MalformedMessage, Poison, WrongLastSequence
from sync import codec
from sync.protocol import Verdict, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes in one atomic batch: as much as a link of 100 Mbit/s and 200 ms round trip has in flight.
BATCH_BYTES_MAX = 4 << 20
#: Messages in one atomic batch; the broker's own limit.
BATCH_PIECES_MAX = 1_000


class Outbox(Protocol):
    """Where messages wait until the other side has decided on them."""

    #: The subject they go out on, and the filter of all subjects of this sender.
    subject: str
    over: str

    async def next(self, bytes_max: int) -> Sequence[bytes]:
        """Return the messages after the last one sent, in order; at least one if there is any."""

    async def sent(self, count: int) -> None:
        """Note that the first ``count`` messages of the last ``next`` are in flight."""

    async def rewind(self) -> None:
        """Take everything that the other side has not decided on as not sent."""


class Transport(Protocol):
    """The part of a link that sends."""

    @property
    def batch_bytes_max(self) -> int:
        """How large a batch may be at the bandwidth that there is."""

    async def publish_batch(
        self, subject: str, payloads: Sequence[bytes], *, expected_last: int, over: str
    ) -> int:
        """Store all or none; return the stream sequence of the last."""


class Delivery(Protocol):
    """A message that the broker handed over and will hand over again unless it is acked."""

    @property
    def payload(self) -> bytes:
        """The bytes."""

    @property
    def stored_at_ms(self) -> int:
        """The broker's clock when it took the message."""


class Inbox(Protocol):
    """Where messages are decided on."""

    async def take(self, messages: Sequence[Message]) -> Verdict:
        """Take as many as are in order, and return the verdict on the first that was not taken."""

    async def refuse(self, message: Message, why: Poison) -> None:
        """Keep a message that can never be taken, with the reason, where a person finds it."""

    async def ask_again(self) -> None:
        """Ask the other side to send everything after our position again."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, whatever number of fragments it came in."""

    payload: bytes
    stored_at_ms: int


@dataclass(slots=True)
class Sender:
    """Sends what an outbox holds, one atomic batch at a time."""

    outbox: Outbox
    transport: Transport
    #: Last stream sequence of the sender's subjects, as far as we know; the broker corrects us.
    tail: int = 0

    async def send_next(self) -> int:
        """Send the next batch and return its number of messages; 0 when there is nothing to send.

        Nothing is lost by a failure: whatever the broker did not say it stored is sent again, and
        what it stored without our hearing of it is skipped as a duplicate at the other side.
        """
        size = min(BATCH_BYTES_MAX, self.transport.batch_bytes_max)
        messages, pieces = _batch(await self.outbox.next(size))
        if not messages:
            return 0
        while True:
            try:
                self.tail = await self.transport.publish_batch(
                    self.outbox.subject, pieces, expected_last=self.tail, over=self.outbox.over
                )
            except WrongLastSequence as wrong:
                went_back = wrong.actual < self.tail
                self.tail = wrong.actual
                if went_back:  # the stream lost messages that it had acknowledged
                    await self.outbox.rewind()
                    return await self.send_next()
                # Ahead of us: a batch of ours was stored and its ack lost. Where it was this very
                # batch, it goes out twice, and the other side skips it.
            else:
                break
        await self.outbox.sent(len(messages))
        return len(messages)


def _batch(messages: Sequence[bytes]) -> tuple[Sequence[bytes], list[bytes]]:
    """Return as many messages as the broker takes in one batch, and the pieces they make."""
    pieces: list[bytes] = []
    for count, message in enumerate(messages):
        more = codec.fragments(message)
        if count and len(pieces) + len(more) > BATCH_PIECES_MAX:
            return messages[:count], pieces
        pieces += more
    return messages, pieces


#: The digest of a message in pieces, and their count: those that count otherwise are of another.
_Name = tuple[bytes, int]


@dataclass(slots=True)
class Receiver:
    """Hands what was delivered to an inbox, whole messages in order."""

    inbox: Inbox
    #: By the name that the pieces give their message.
    _pieces: dict[_Name, dict[int, bytes]] = field(default_factory=dict)
    #: Messages of which all pieces are here, kept until the inbox has said something.
    _joined: set[_Name] = field(default_factory=set)
    #: The message whose last pieces are still to come, and how many of it are here.
    _open: tuple[_Name, int] | None = None
    _waits: bool = False

    async def receive_next(self, deliveries: Sequence[Delivery]) -> Verdict:
        """Take what was delivered; the caller acks what is ``settled`` when this returns.

        SKIP and APPLY mean that all was taken. After GAP the missing messages were asked for; the
        ones that came too early come again with them. After FORK the caller must stop: a person
        has to look. Where it raises, the same deliveries may be given once more.
        """
        verdict = await self._hand_on(deliveries)
        for name in self._joined:
            self._pieces.pop(name, None)
        self._joined.clear()
        before, self._open = self._open, self._ends_open(deliveries)
        # Where the same is still missing, its rest was lost: it is asked for as a gap.
        self._waits = self._open is not None and self._open != before
        return verdict

    def settled(self, deliveries: Sequence[Delivery]) -> int:
        """Return how many of these, from the first, need not come again should we be killed."""
        if self._open is None or not self._waits:
            return len(deliveries)
        places = (at for at, each in enumerate(deliveries) if _name_of(each) == self._open[0])
        return next(places, len(deliveries))

    async def _hand_on(self, deliveries: Sequence[Delivery]) -> Verdict:
        verdict = Verdict.APPLY
        for run in self._whole(deliveries):
            if isinstance(run, _Refused):
                await self.inbox.refuse(run.message, run.why)
                continue
            verdict = await self.inbox.take(run)
            if verdict is Verdict.GAP:
                await self.inbox.ask_again()
            if verdict in (Verdict.GAP, Verdict.FORK):
                return verdict
        return verdict

    def _whole(self, deliveries: Sequence[Delivery]) -> list[list[Message] | _Refused]:
        """Return runs of whole messages, parted by those that can't be put together."""
        runs: list[list[Message] | _Refused] = []
        messages: list[Message] = []
        for each in deliveries:
            whole: Message | None = Message(each.payload, each.stored_at_ms)
            if codec.is_fragment(each.payload):
                try:
                    whole = self._join(each)
                except Poison as why:
                    runs += [messages, _Refused(Message(each.payload, each.stored_at_ms), why)]
                    messages = []
                    continue
            if whole is not None:
                messages.append(whole)
        runs.append(messages)
        return [run for run in runs if run]

    def _join(self, delivery: Delivery) -> Message | None:
        """Return the message when this was the last piece of it that was missing."""
        whole, number, count, piece = codec.decode_fragment(delivery.payload)
        name = (whole, count)
        if name not in self._pieces and len(self._pieces) >= _OPEN_MAX:
            self._pieces.pop(next(iter(self._pieces)))
        pieces = self._pieces.setdefault(name, {})
        pieces[number] = piece
        if len(pieces) < count:
            return None
        self._joined.add(name)
        joined = b"".join(pieces[k] for k in range(count))
        if digest(joined) != whole:
            raise MalformedMessage("the fragments don't make the message that they name")
        return Message(joined, delivery.stored_at_ms)

    def _ends_open(self, deliveries: Sequence[Delivery]) -> tuple[_Name, int] | None:
        """Return the message that the last delivery is a piece of, where its rest is to come."""
        name = _name_of(deliveries[-1]) if deliveries else None
        pieces = self._pieces.get(name) if name is not None else None
        return (name, len(pieces)) if name is not None and pieces is not None else None


def _name_of(delivery: Delivery) -> _Name | None:
    """Return the name of the message that this is a readable piece of."""
    if not codec.is_fragment(delivery.payload):
        return None
    try:
        whole, _, count, _ = codec.decode_fragment(delivery.payload)
    except Poison:
        return None
    return whole, count


#: Messages that may be in pieces at the same time; more than one only after a loss.
_OPEN_MAX = 4


@dataclass(frozen=True, slots=True)
class _Refused:
    message: Message
    why: Poison

    def __bool__(self) -> bool:
        return True

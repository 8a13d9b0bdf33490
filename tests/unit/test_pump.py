"""The pump sends in order what the outbox holds, and hands on whole messages in order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from shared.errors import BrokerUnreachable, MalformedMessage, Poison, StoreBusy
from sync import codec
from sync.frames import frame
from sync.protocol import Verdict
from sync.pump import Message, Receiver, Sender
from tests.contract.fakes import FakeOutbox, FakeStream


async def drain(sender):
    while await sender.send_next():
        pass


NUMBERS = [b"%d" % k for k in range(10)]


async def test_everything_goes_out_once_and_in_order():
    stream, outbox = FakeStream(), FakeOutbox()
    await drain(Sender(outbox, stream))
    assert stream.messages == NUMBERS


async def test_a_backlog_of_many_small_messages_goes_in_batches_that_the_broker_takes():
    stream, outbox = FakeStream(), FakeOutbox(count=2_500)

    async def next_many(bytes_max):
        return [b"%d" % k for k in range(outbox.at, outbox.count)]

    outbox.next = next_many
    await drain(Sender(outbox, stream))
    assert stream.messages == [b"%d" % k for k in range(2_500)]
    assert stream.batches == [1_000, 1_000, 500]


async def test_a_sender_that_starts_anew_learns_the_tail_from_the_broker():
    stream = FakeStream(messages=[b"old"] * 5)
    await drain(Sender(FakeOutbox(), stream))
    assert stream.messages[5:] == NUMBERS


async def test_a_tail_that_is_ahead_of_us_is_no_loss_and_rewinds_nothing():
    outbox = FakeOutbox()
    await drain(Sender(outbox, FakeStream(messages=[b"old"] * 5)))
    assert outbox.rewinds == 0


async def test_a_message_in_pieces_counts_as_one_and_the_next_is_not_left_out():
    large = bytes(codec.FRAME_BYTES_MAX + 1)
    messages = [large, *NUMBERS]
    outbox, stream, inbox = FakeOutbox(count=len(messages)), FakeStream(), FakeInbox()

    async def next_one(bytes_max):
        return messages[outbox.at : outbox.at + 1]

    outbox.next = next_one
    await drain(Sender(outbox, stream))
    await Receiver(inbox).receive_next([Message(m, 1) for m in stream.messages])
    assert [m.payload for m in inbox.taken] == messages


async def test_a_lost_ack_doubles_a_batch_but_loses_nothing():
    stream, outbox = FakeStream(lose_acks=1), FakeOutbox()
    sender = Sender(outbox, stream)
    try:
        await drain(sender)
    except BrokerUnreachable:
        await drain(sender)
    assert stream.messages == NUMBERS[:3] + NUMBERS


async def test_a_stream_that_lost_its_tail_gets_everything_undecided_again():
    stream, outbox = FakeStream(), FakeOutbox(decided=2)
    sender = Sender(outbox, stream)
    await sender.send_next()
    await sender.send_next()
    del stream.messages[1:]
    await drain(sender)
    assert outbox.rewinds == 1
    assert stream.messages == NUMBERS[:1] + NUMBERS[2:]


async def test_a_message_larger_than_a_frame_arrives_whole():
    large = bytes(codec.FRAME_BYTES_MAX * 2 + 7)
    outbox = FakeOutbox()

    async def next_large(bytes_max):
        return [large] if outbox.at == 0 else []

    outbox.next = next_large
    stream, inbox = FakeStream(), FakeInbox()
    await drain(Sender(outbox, stream))
    assert len(stream.messages) == 3
    assert await Receiver(inbox).receive_next([Message(m, 1) for m in stream.messages]) is (
        Verdict.APPLY
    )
    assert [m.payload for m in inbox.taken] == [large]


@dataclass
class FakeInbox:
    """Says what it is told to say, and keeps what it is given."""

    verdicts: list[Verdict] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)
    refused: list[Poison] = field(default_factory=list)
    asked: int = 0
    busy: int = 0

    async def take(self, messages):
        if self.busy:
            self.busy -= 1
            raise StoreBusy
        self.taken += messages
        return self.verdicts.pop(0) if self.verdicts else Verdict.APPLY

    async def refuse(self, message, why):
        self.refused.append(why)

    async def ask_again(self):
        self.asked += 1


async def test_after_a_gap_the_missing_messages_are_asked_for():
    inbox = FakeInbox(verdicts=[Verdict.GAP])
    assert await Receiver(inbox).receive_next([Message(b"9", 1)]) is Verdict.GAP
    assert inbox.asked == 1


async def test_after_a_fork_nothing_of_what_follows_is_handed_on():
    inbox = FakeInbox(verdicts=[Verdict.FORK])
    piece = codec.fragments(bytes(codec.FRAME_BYTES_MAX + 1))[0]
    deliveries = [Message(b"1", 1), Message(piece[:-5], 1), Message(b"2", 1)]
    assert await Receiver(inbox).receive_next(deliveries) is Verdict.FORK
    assert ([m.payload for m in inbox.taken], inbox.refused) == ([b"1"], [])


async def test_pieces_that_make_another_message_than_they_name_are_refused():
    inbox = FakeInbox()
    whole, other = codec.fragments(LARGE), codec.fragments(LARGE[::-1])
    name = codec.decode_fragment(whole[0])[0]
    forged = frame("X", (name, *codec.decode_fragment(other[1])[1:]))
    pieces = [whole[0], forged, *whole[2:]]
    await Receiver(inbox).receive_next([Message(piece, 1) for piece in pieces])
    assert [type(why) for why in inbox.refused] == [MalformedMessage]
    assert inbox.taken == []


async def test_pieces_that_count_otherwise_are_of_another_message_and_stop_nothing():
    inbox = FakeInbox()
    name = codec.decode_fragment(PIECES[0].payload)[0]
    forged = [frame("X", (name, number, count, b"x")) for number, count in ((4, 5), (0, 2), (0, 1))]
    deliveries = [*PIECES[:1], *[Message(each, 1) for each in forged], *PIECES[1:]]
    for each in deliveries:
        assert await Receiver(inbox).receive_next([each]) is Verdict.APPLY
    receiver, inbox.refused = Receiver(inbox), []
    assert await receiver.receive_next(deliveries) is Verdict.APPLY
    assert len(inbox.refused) == 1
    assert [m.payload for m in inbox.taken] == [LARGE]


async def test_a_damaged_fragment_is_refused_and_what_follows_goes_on():
    inbox = FakeInbox()
    piece = codec.fragments(bytes(codec.FRAME_BYTES_MAX + 1))[0]
    assert codec.is_fragment(piece)
    verdict = await Receiver(inbox).receive_next(
        [Message(b"1", 1), Message(piece[:-5], 1), Message(b"2", 1)]
    )
    assert verdict is Verdict.APPLY
    assert len(inbox.refused) == 1
    assert [m.payload for m in inbox.taken] == [b"1", b"2"]


async def test_fragments_that_come_apart_over_deliveries_make_the_message():
    inbox = FakeInbox()
    receiver = Receiver(inbox)
    message = bytes(range(256)) * 8000
    for piece in reversed(codec.fragments(message)):
        await receiver.receive_next([Message(piece, 1)])
    assert [m.payload for m in inbox.taken] == [message]


LARGE = bytes(range(256)) * 8000
PIECES = [Message(piece, 1) for piece in codec.fragments(LARGE)]


async def test_a_message_in_pieces_is_taken_when_the_store_was_busy_at_first():
    inbox = FakeInbox(busy=1)
    receiver = Receiver(inbox)
    *first, last = PIECES
    for piece in first:
        await receiver.receive_next([piece])
    with pytest.raises(StoreBusy):
        await receiver.receive_next([last])
    assert await receiver.receive_next([last]) is Verdict.APPLY
    assert [m.payload for m in inbox.taken] == [LARGE]


async def test_pieces_are_settled_with_the_last_one_and_not_before():
    receiver, before = Receiver(FakeInbox()), Message(b"1", 1)
    unsettled = [before, *PIECES[:1]]
    await receiver.receive_next(unsettled)
    assert receiver.settled(unsettled) == 1
    for piece in PIECES[1:]:
        unsettled.append(piece)
        await receiver.receive_next([piece])
    assert receiver.settled(unsettled) == len(unsettled)


async def test_a_piece_is_settled_once_its_rest_does_not_come():
    receiver, piece = Receiver(FakeInbox()), PIECES[0]
    await receiver.receive_next([piece])
    assert receiver.settled([piece]) == 0
    await receiver.receive_next([piece])  # the broker had it again, and nothing after it
    assert receiver.settled([piece, piece]) == 2
    await receiver.receive_next([PIECES[1]])
    await receiver.receive_next([Message(b"1", 1)])
    assert receiver.settled([PIECES[1]]) == 1

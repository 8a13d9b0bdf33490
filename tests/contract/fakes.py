"""What stands for the broker and the stores in tests of the pump, and passes their contracts."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.errors import BrokerUnreachable, WrongLastSequence
from sync.pump import BATCH_PIECES_MAX


@dataclass
class FakeStream:
    """A stream that checks the expected last sequence, and loses acks as it is told to."""

    messages: list[bytes] = field(default_factory=list)
    lose_acks: int = 0
    batch_bytes_max: int = 1 << 20
    batches: list[int] = field(default_factory=list)

    async def publish_batch(self, subject, payloads, *, expected_last, over):
        if not 1 <= len(payloads) <= BATCH_PIECES_MAX:
            raise ValueError(len(payloads))
        if expected_last != len(self.messages):
            raise WrongLastSequence(len(self.messages))
        self.messages += payloads
        self.batches.append(len(payloads))
        if self.lose_acks:
            self.lose_acks -= 1
            raise BrokerUnreachable
        return len(self.messages)


@dataclass
class FakeOutbox:
    """Numbered messages of a byte or so, of which the first are decided."""

    subject: str = "up.A.tx"
    over: str = "up.A.>"
    count: int = 10
    at: int = 0
    decided: int = 0
    rewinds: int = 0

    async def next(self, bytes_max):
        there = [b"%d" % k for k in range(self.at, self.count)]
        return there[: max(1, min(3, bytes_max))]

    async def sent(self, count):
        self.at += count

    async def rewind(self):
        self.rewinds += 1
        self.at = self.decided

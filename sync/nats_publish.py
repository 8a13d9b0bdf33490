"""Storing messages in a stream: all of a batch or none, and only behind the sequence expected.

`Nats-Expected-Last-Subject-Sequence` over the sender's own subjects is the only thing that makes
a repeated publish harmless: it has no time window, and it tells a lost ack (the sequence is
further than expected) from a stream that lost messages (it is behind).
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from shared.errors import (
    BrokerUnreachable,
    NoResponder,
    PayloadTooLarge,
    StreamFull,
    SyncError,
    WrongLastSequence,
)
from sync.nats_errors import BUSY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync.nats_pace import Pace
    from sync.nats_session import Session

#: The broker refuses a larger batch.
BATCH_MESSAGES_MAX: Final = 1000
#: What the headers below and the subject may take of the broker's limit for a message.
HEADER_BYTES_MAX: Final = 1024

_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_OVER: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
_BATCH_ID: Final = "Nats-Batch-Id"
_BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
_BATCH_COMMIT: Final = "Nats-Batch-Commit"

_FULL: Final = frozenset({10002, 10023, 10028, 10047, 10077, 10122})
_TOO_LARGE: Final = frozenset({10054, 10097, 10199})
_WRONG_SEQUENCE: Final = 10071
_ATTEMPTS_MAX: Final = 5


class _Busy(BrokerUnreachable):
    """The stream can't take the batch at this moment."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one subject that are stored together or not at all."""

    subject: str
    payloads: Sequence[bytes]
    #: The stream sequence of the last message that the sender knows of, 0 for none.
    expected_last: int
    #: The subjects over which that is checked, like `up.<site>.>`.
    over: str

    def check(self, payload_bytes_max: int) -> None:
        """Raise where the broker would have to refuse the batch, which it does by hanging up."""
        if not 1 <= len(self.payloads) <= BATCH_MESSAGES_MAX:
            msg = f"a batch holds 1 to {BATCH_MESSAGES_MAX} messages, not {len(self.payloads)}"
            raise ValueError(msg)
        largest = max(map(len, self.payloads))
        if largest > payload_bytes_max:
            msg = f"a message of {largest} bytes is over the broker's {payload_bytes_max}"
            raise PayloadTooLarge(msg)


async def store(session: Session, pace: Pace, batch: Batch, *, timeout_s: float) -> int:
    """Return the stream sequence of the last message, when all are stored.

    Raises what the broker answers: WrongLastSequence, StreamFull, PayloadTooLarge, NoResponder
    (the stream is not there), BrokerUnreachable (also when nothing is known of the outcome).
    """
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(_Busy),
        wait=wait_random_exponential(multiplier=0.05, max=2.0),
        stop=stop_after_attempt(_ATTEMPTS_MAX),
        reraise=True,
    ):
        with attempt:
            return await _send(session, pace, batch, timeout_s)
    raise AssertionError  # tenacity returns or raises


async def _send(session: Session, pace: Pace, batch: Batch, timeout_s: float) -> int:
    batch_id, count = uuid.uuid4().hex, len(batch.payloads)
    for number, payload in enumerate(batch.payloads, 1):
        await pace.settled()
        await session.room()
        pace.charge(len(payload))
        headers = _expectation(batch) if number == 1 else {}
        if count > 1:
            headers[_BATCH_ID] = batch_id
            headers[_BATCH_SEQUENCE] = str(number)
        if number < count:
            await session.publish(batch.subject, payload, headers=headers)
            continue
        if count > 1:
            headers[_BATCH_COMMIT] = "1"
        answer = await session.ask(batch.subject, payload, timeout_s=timeout_s, headers=headers)
        return _sequence(answer.data)
    raise AssertionError  # check() saw at least one payload


def _expectation(batch: Batch) -> dict[str, str]:
    return {_EXPECTED: str(batch.expected_last), _OVER: batch.over}


def _sequence(answer: bytes) -> int:
    try:
        ack: dict[str, Any] = json.loads(answer)
        refusal = ack.get("error")
        return int(ack["seq"]) if refusal is None else _raise(refusal)
    except (ValueError, KeyError, AttributeError) as error:
        msg = f"not an answer of JetStream: {answer[:80]!r}"
        raise NoResponder(msg) from error


def _raise(refusal: dict[str, Any]) -> int:
    raise refusal_error(refusal)


def refusal_error(refusal: dict[str, Any]) -> SyncError:
    """Return the error that stands for a refusal of JetStream."""
    code, text = int(refusal.get("err_code", 0)), str(refusal.get("description", "refused"))
    if code == _WRONG_SEQUENCE and (actual := re.search(r"\d+", text)):
        return WrongLastSequence(int(actual.group()))
    if code in _FULL:
        return StreamFull(f"the stream takes no more: {text}")
    if code in _TOO_LARGE:
        return PayloadTooLarge(text)
    if code in BUSY:
        return _Busy(f"the stream is busy: {text}")
    return BrokerUnreachable(f"JetStream refuses ({code}): {text}")

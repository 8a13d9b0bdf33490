"""What the client raises, sorted by what the one who asked should do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import nats.errors

from shared.errors import BrokerUnreachable, NoResponder, PayloadTooLarge

if TYPE_CHECKING:
    from shared.errors import SyncError

#: What the client raises for whatever goes wrong.
CLIENT_ERRORS: Final = (nats.errors.Error, OSError, TimeoutError, asyncio.InvalidStateError)


def sorted_error(subject: str, error: BaseException) -> SyncError:
    """Return the error of ours that says what went wrong on a subject."""
    if isinstance(error, BrokerUnreachable):
        return error
    if isinstance(error, nats.errors.NoRespondersError):
        return NoResponder(f"nobody answers on {subject}")
    if isinstance(error, nats.errors.MaxPayloadError):
        return PayloadTooLarge(f"the message for {subject} is larger than the broker accepts")
    return BrokerUnreachable(f"{subject}: {str(error) or type(error).__name__}")

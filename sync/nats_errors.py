"""What the client raises, sorted by what the one who asked should do."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import nats.errors

from shared.errors import BrokerUnreachable, NoResponder, PayloadTooLarge

if TYPE_CHECKING:
    from shared.errors import SyncError

#: What the client raises for whatever goes wrong.
CLIENT_ERRORS: Final = (nats.errors.Error, OSError, TimeoutError, asyncio.InvalidStateError)

#: Too many batches are open (10210, 10211; seen as incomplete, 10176, when the first message of
#: a batch asks for no answer), or another batch for these subjects is just being agreed on.
BUSY: Final = frozenset({10163, 10164, 10176, 10210, 10211})
#: What JetStream answers without a leader (503), and a leader that waits for its followers.
_UNDECIDED: Final = re.compile(
    rb'"code":503|"err_code":(?:%s)\b' % b"|".join(b"%d" % code for code in sorted(BUSY))
)


def is_undecided(answer: bytes) -> bool:
    """Say whether a broker that is cut off from the others may answer this, again and again."""
    return _UNDECIDED.search(answer[:256]) is not None


def sorted_error(subject: str, error: BaseException) -> SyncError:
    """Return the error of ours that says what went wrong on a subject."""
    if isinstance(error, BrokerUnreachable):
        return error
    if isinstance(error, nats.errors.NoRespondersError):
        return NoResponder(f"nobody answers on {subject}")
    if isinstance(error, nats.errors.MaxPayloadError):
        return PayloadTooLarge(f"the message for {subject} is larger than the broker accepts")
    return BrokerUnreachable(f"{subject}: {str(error) or type(error).__name__}")

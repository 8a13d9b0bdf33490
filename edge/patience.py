"""Doing the same work again until it is done: after a failure, a little later each time.

Only what needs a person ends an agent. Anything else, foreseen or not, is logged and shown by the
status command, and holds up nobody but the one task that met it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from edge.store.open import is_damage, is_passing
from shared.errors import BrokerUnreachable, Fatal, NotAuthorised, ServerTooOld, Transient
from shared.tasks import end_if_cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync.transport import Link

_log = logging.getLogger(__name__)

_WAIT_MAX_S: Final = 15
#: What a broker refuses us for and may take us in for later: a new node may not know us yet.
_OF_LINK: Final = (NotAuthorised, ServerTooOld)


@dataclass(frozen=True, slots=True)
class Patience:
    """How the tasks of an agent try again; ``unforeseen`` hears of failures nobody thought of."""

    link: Link
    unforeseen: Callable[[BaseException], None]

    def retrying(self) -> AsyncRetrying:
        """Return what calls a piece of work until it ends well; raises what needs a person."""
        return AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.1, max=_WAIT_MAX_S),
            before_sleep=self._note_failure,
            sleep=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        """Wait so long; where the link is down, at most until it stands again."""
        if self.link.connected:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(BrokerUnreachable, Fatal):  # the work itself will say why
            await self.link.wait_connected(timeout_s=seconds)

    def _note_failure(self, state: RetryCallState) -> None:
        end_if_cancelled()
        why = state.outcome.exception() if state.outcome else None
        foreseen = isinstance(why, (Transient, TimeoutError)) or is_passing(why) or (
            isinstance(why, _OF_LINK) and not self.link.connected
        )  # fmt: skip
        _log.log(
            logging.INFO if foreseen else logging.ERROR, "trying again",
            exc_info=None if foreseen else why,
            extra={"fields": {"why": f"{type(why).__name__}: {why}", "try": state.attempt_number}},
        )  # fmt: skip
        if why is not None and not foreseen:
            self.unforeseen(why)


def _may_pass(why: BaseException) -> bool:
    if is_damage(why):  # to go on would make it worse
        return False
    return isinstance(why, _OF_LINK) or (isinstance(why, Exception) and not isinstance(why, Fatal))

"""Does what the schedule says, in a thread of its own."""

from __future__ import annotations

import asyncio
import heapq
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from shared.errors import Transient
from sync.streams import DOWN, up_stream
from tests.soak.plan import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.soak.plan import Fault
    from tests.soak.system import System

_KILLS: Final = (Kind.KILL_AGENT, Kind.KILL_INGEST, Kind.KILL_FEED)
_PAUSES: Final = (Kind.PAUSE_AGENT, Kind.PAUSE_INGEST, Kind.PAUSE_FEED)


class Breaker(threading.Thread):
    """Breaks things, and mends them again."""

    def __init__(self, system: System, faults: Sequence[Fault], say: Callable[[str], None]) -> None:
        super().__init__(name="breaker", daemon=True)
        self._system = system
        self._say = say
        self._finish = threading.Event()
        #: (at, order, is the end, fault)
        self._due = [(f.at_s, n, False, f) for n, f in enumerate(faults)]
        heapq.heapify(self._due)
        #: Faults that were done.
        self.done: list[Fault] = []
        #: What is down or paused by our doing.
        self.broken: set[str] = set()
        self.failure: BaseException | None = None

    def finish(self) -> None:
        """Mend all that is broken, and break nothing more; raise what went wrong."""
        self._finish.set()
        self.join(120)
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        began = time.monotonic()
        try:
            while self._due:
                at, number, ends, fault = heapq.heappop(self._due)
                if self._finish.wait(max(0.0, began + at - time.monotonic())) and not ends:
                    continue
                if ends:
                    self._mend(fault)
                    self.broken.discard(fault.target)
                    continue
                self._say(f"{fault.at_s:6.1f} s  {fault.kind} {fault.target} {fault.lasts_s} s")
                self.broken.add(fault.target)
                self._break(fault)
                self.done.append(fault)
                heapq.heappush(self._due, (fault.ends_s, number, True, fault))
        except BaseException as why:  # noqa: BLE001 - told by whoever waits for the end
            self.failure = why

    def _break(self, fault: Fault) -> None:
        system, kind = self._system, fault.kind
        if kind in _KILLS:
            system.kill(fault.target)
        elif kind in _PAUSES:
            system.pause(fault.target, paused=True)
        elif kind is Kind.CUT_LINK:
            system.network.cut(fault.target)
        elif kind is Kind.KILL_BROKER:
            system.broker.kill()
        elif kind is Kind.PAUSE_BROKER:
            system.broker.running.signal(signal.SIGSTOP)
        elif kind is Kind.KILL_POSTGRES:
            system.postgres.kill()
        elif kind is Kind.RESTART_POSTGRES:
            system.postgres.stop()
        else:
            self._purge(up_stream(fault.target) if kind is Kind.PURGE_UP else DOWN)

    def _mend(self, fault: Fault) -> None:
        system, kind = self._system, fault.kind
        if kind in _KILLS:
            system.start(fault.target)
        elif kind in _PAUSES:
            system.pause(fault.target, paused=False)
        elif kind is Kind.CUT_LINK:
            system.network.heal(fault.target)
        elif kind is Kind.KILL_BROKER:
            system.broker.start()
        elif kind is Kind.PAUSE_BROKER:
            system.broker.running.signal(signal.SIGCONT)
        elif kind in (Kind.KILL_POSTGRES, Kind.RESTART_POSTGRES):
            system.postgres.start()

    def _purge(self, stream: str) -> None:
        try:
            purged = asyncio.run(self._system.purge(stream))
        except (TimeoutError, OSError, Transient) as why:
            self._say(f"          not purged: {why}")
        else:
            self._say(f"          {purged} messages of {stream} are lost")

"""What one input may cost: time, and memory of Python's."""

from __future__ import annotations

import signal
import time
import tracemalloc
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


#: A machine that is shared gives less than all of its time; what waits for nothing still ends.
_WALL_TIMES: Final = 10


class Hung(BaseException):
    """An input takes longer than any should; no ``except Exception`` swallows it."""


class Flooded(AssertionError):
    """An input takes more memory than any should."""


@contextmanager
def bounded(*, seconds: float, megabytes: float | None = None) -> Iterator[None]:
    """Fail where the block takes more of the processor, or more memory above what there was.

    To look at memory makes Python slow, so it may be left out.
    """
    began, ends = time.process_time(), time.monotonic() + _WALL_TIMES * seconds

    def stop(*_: Any) -> None:
        owed = seconds - (time.process_time() - began)
        if owed > 0 and time.monotonic() < ends:
            signal.setitimer(signal.ITIMER_REAL, max(owed, 0.01))
            return
        raise Hung(f"no end within {seconds} s")

    handler = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with traced(megabytes) if megabytes is not None else nullcontext():
            yield
    finally:
        # A test's own time limit goes by the same clock: it is set back as it was.
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def traced(megabytes: float) -> Iterator[None]:
    """Fail where the block takes more memory at any moment than there was before it."""
    is_first = not tracemalloc.is_tracing()
    if is_first:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if is_first:
            tracemalloc.stop()
    if peak - before > megabytes * (1 << 20):
        raise Flooded(f"{(peak - before) >> 20} MB, at most {megabytes} are allowed")

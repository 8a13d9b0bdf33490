"""Runs a program of ours by a clock that a test sets: ``python shifted_clock.py FILE MODULE …``.

The file holds how many seconds the clock is off; a signal (SIGUSR1) has it read again. What is
shifted is what our programs ask for the time of day by; the clock that only counts seconds goes on,
as it does where somebody sets a machine's clock. SQLite's own `now` is not shifted: a test dates
what its programs write.
"""

from __future__ import annotations

import runpy
import signal
import sys
import time
from pathlib import Path

_real_ns = time.time_ns
_off_ns = [0]


def _shifted_ns() -> int:
    return _real_ns() + _off_ns[0]


def _run(file: Path, module: str, *words: str) -> None:
    def read(*_: object) -> None:
        _off_ns[0] = int(file.read_text()) * 10**9

    read()
    signal.signal(signal.SIGUSR1, read)
    time.time_ns = _shifted_ns
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run(Path(sys.argv[1]), *sys.argv[2:])

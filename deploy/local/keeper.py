"""The main of a small process that runs one program and ends it when its starter is gone.

The starter holds the other end of this process's standard input and asks by one byte: `s` to stop,
`k` to kill. The end of input means that the starter is gone, however it died, and counts as `s`.
Should this process itself be killed, the kernel kills the program. So nothing is left running,
whichever of the three dies first and by whatever signal.

Standard library only, no threads, started with `-I -S`: it must be up in some ten milliseconds, and
only a process without threads may safely run Python between fork and exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1

#: A child that the starter forked without exec holds the pipe open as well; so its id is asked too.
STARTER_POLL_S = 0.5


def start(order: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the program of the order, tied to the life of this process."""
    libc = ctypes.CDLL(None)
    keeper = os.getpid()

    def die_with_keeper() -> None:
        # Runs after the change of account, which would undo it.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)

    with open(order["log"], "ab") as log:
        return subprocess.Popen(
            order["argv"],
            cwd=order["cwd"],
            env=order["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=order["uid"],
            group=order["gid"],
            extra_groups=None if order["uid"] is None else [],
            pass_fds=order["held"],
            preexec_fn=die_with_keeper,  # noqa: PLW1509 - this process has no threads
        )


def end_at_once(program: subprocess.Popen[bytes]) -> None:
    """Kill a program with the processes that it has started, so that none sees another one die.

    The sessions of a PostgreSQL whose main process alone is killed live on for some milliseconds,
    and show what they have committed but no standby has: no power cut does that.
    """
    program.send_signal(signal.SIGSTOP)  # from now on it starts no more of them
    while program.poll() is None and _stat(program.pid)[0] not in "TZ":
        time.sleep(0.001)  # a stop comes a moment after its signal, and is only seen by looking
    for pid in _children(program.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    program.kill()


def _children(parent: int) -> list[int]:
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in found if _stat(pid)[1] == str(parent)]


def _stat(pid: int) -> list[str]:
    """Return state and parent of a process, and what the kernel says of it then; Z of none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return ["Z", ""]


class Asked:
    """What the starter has asked for, or what its absence means."""

    def __init__(self, starter: int) -> None:
        self._starter = starter
        self._open = True
        self._wakeup, wakeup_in = os.pipe()
        os.set_blocking(wakeup_in, False)
        signal.set_wakeup_fd(wakeup_in)
        # Handlers, not SIG_IGN: what is ignored would be ignored by the program too.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    def next(self, wait_s: float) -> str:
        """Return `stop`, `kill`, or nothing after a child ended or ``wait_s`` seconds passed."""
        sources = [self._wakeup, sys.stdin.fileno()] if self._open else [self._wakeup]
        ready, _, _ = select.select(sources, [], [], wait_s)
        if self._wakeup in ready and set(os.read(self._wakeup, 256)) - {signal.SIGCHLD}:
            return "stop"
        if sys.stdin.fileno() in ready:
            asked = os.read(sys.stdin.fileno(), 256)
            self._open = bool(asked)
            return "kill" if b"k" in asked else "stop"
        return "stop" if os.getppid() != self._starter else ""


def keep(program: subprocess.Popen[bytes], order: dict[str, Any], asked: Asked) -> int:
    """Wait until the program has ended, ending it when asked; return its exit status."""
    deadline_s = None
    while program.poll() is None:
        left_s = STARTER_POLL_S if deadline_s is None else deadline_s - time.monotonic()
        wish = asked.next(min(STARTER_POLL_S, max(0.0, left_s)))
        if wish == "kill" or (deadline_s is not None and time.monotonic() >= deadline_s):
            end_at_once(program)
        elif wish == "stop" and deadline_s is None:
            program.send_signal(order["stop_signal"])
            deadline_s = time.monotonic() + order["grace_s"]
    return program.returncode


def main() -> int:
    """Run the order given as JSON in the first argument; report the program's id, or why not."""
    order = json.loads(sys.argv[1])
    asked = Asked(order["starter"])
    try:
        program = start(order)
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return 127
    sys.stdout.write(f"{program.pid}\n")
    sys.stdout.flush()
    status = keep(program, order, asked)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())

"""Start a program that ends with its starter, even when the starter is killed with `kill -9`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Mapping

KEEPER = Path(__file__).with_name("keeper.py")

#: How long a killed program may take to be gone, in seconds.
KILL_WAIT_S = 15.0


class ProgramFailed(Fatal):
    """A program that was started here did not come up."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine that a program runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, where, and as whom."""

    argv: tuple[str, ...]
    cwd: Path
    #: Standard output and standard error are added to this file.
    log: Path
    #: The whole environment: nothing of the starter's is passed on by itself.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: None: the account of the starter.
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: How long a stop may take before the program is killed, in seconds.
    grace_s: float = 10.0
    #: Open files that the program inherits, such as the lock on its folder.
    held: tuple[int, ...] = ()


class Running:
    """A started program."""

    def __init__(self, program: Program, keeper: subprocess.Popen[bytes], pid: int) -> None:
        self.program = program
        #: The process id of the program itself, not of its keeper.
        self.pid = pid
        self._keeper = keeper

    @property
    def alive(self) -> bool:
        """Tell whether the program still runs."""
        if self._keeper.poll() is None:
            return True
        self._close()
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal, such as SIGSTOP or SIGHUP."""
        if self.alive:
            os.kill(self.pid, number)

    def stop(self) -> None:
        """End the program in its own good order; kill it when that takes over ``grace_s``."""
        self._ask(b"s")
        self.wait(self.program.grace_s + KILL_WAIT_S)

    def kill(self) -> None:
        """End the program at once, as a power cut would."""
        self._ask(b"k")
        self.wait(KILL_WAIT_S)

    def wait(self, timeout_s: float) -> int:
        """Return the exit status (128 + number after a signal) once the program has ended."""
        try:
            status = self._keeper.wait(timeout_s)
        except subprocess.TimeoutExpired:
            message = f"{self.program.argv[0]} (process {self.pid}) still runs after {timeout_s} s"
            raise ProgramFailed(message) from None
        self._close()
        return status

    def _close(self) -> None:
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()

    def _ask(self, wish: bytes) -> None:
        # The keeper may have gone by itself a moment ago, and then what was asked for holds.
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            try:
                self._keeper.stdin.write(wish)
            except BrokenPipeError:
                return


def run(program: Program) -> Running:
    """Start the program under a keeper; raise ProgramFailed, with the reason, if it can't start."""
    account = program.account
    order = {
        "argv": program.argv,
        "cwd": str(program.cwd),
        "log": str(program.log),
        "environment": dict(program.environment),
        "uid": account.uid if account else None,
        "gid": account.gid if account else None,
        "stop_signal": int(program.stop_signal),
        "grace_s": program.grace_s,
        "held": program.held,
        "starter": os.getpid(),
    }
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(KEEPER), json.dumps(order)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=program.held,
        # Ctrl-C in the terminal reaches the starter alone, which then stops things in order.
        start_new_session=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper.stdout as report:
        answer = report.readline().decode(errors="replace").strip()
    if not answer.isdigit():
        keeper.stdin.close()
        keeper.wait(KILL_WAIT_S)
        message = f"{program.argv[0]} did not start: {answer or 'no reason given'}"
        raise ProgramFailed(message)
    return Running(program, keeper, int(answer))


def log_tail(log: Path, lines_max: int = 15) -> str:
    """Return the last lines of a log file, for the message of an error."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines_max:])

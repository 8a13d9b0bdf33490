"""The processes of the centre and of the sites, each as its command of the command line.

Like the servers they run under keepers, so that none outlives whoever started them.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.program import Program, ProgramFailed, Running, log_tail, run

if TYPE_CHECKING:
    from collections.abc import Mapping

CENTRAL = "central.cli.command"
EDGE = "edge.cli.edge_command"
PLANT = "deploy.local.plant"

STOPS_TOGETHER_MAX = 40

#: The checkout, or the folder that the packages are installed in.
CODE = Path(__file__).parents[2]


@dataclass(slots=True)
class Fleet:
    """Starts programs of ours and keeps an eye on them."""

    #: Where the logs go.
    logs: Path
    #: Open files that each program holds, such as the lock on the demo's folder.
    held: tuple[int, ...] = ()
    _running: dict[str, Running] = field(default_factory=dict)

    def start(self, name: str, module: str, *arguments: str, **settings: object) -> Running:
        """Start a program that runs until it is stopped; ``settings`` are its MES_ variables."""
        running = self._running[name] = run(self._program(name, module, arguments, settings))
        return running

    def finish(
        self, name: str, module: str, *arguments: str, timeout_s: float = 120.0, **settings: object
    ) -> str:
        """Run a program to its end and return what it wrote; raise ProgramFailed where it fails."""
        self.start(name, module, *arguments, **settings)
        return self.wait(name, timeout_s)

    def check(self) -> None:
        """Raise ProgramFailed where a program has failed; a plant may have ended its day."""
        for name, running in self._running.items():
            if not running.alive and (status := running.wait(1.0)) != 0:
                raise ProgramFailed(self._ended(name, running.program.argv[2], status))

    def wait(self, name: str, timeout_s: float) -> str:
        """Wait for a started program to end by itself; return what it wrote."""
        running = self._running[name]
        status = running.wait(timeout_s)  # one that takes too long is stopped with all others
        del self._running[name]
        if status != 0:
            raise ProgramFailed(self._ended(name, running.program.argv[2], status))
        return self.log(name).read_text(errors="replace")

    def stop(self, name: str) -> None:
        """Stop one program in good order."""
        self._running.pop(name).stop()

    def stop_all(self) -> None:
        """Stop all programs at once; one that does not stop stops no other."""
        failures = []
        with ThreadPoolExecutor(STOPS_TOGETHER_MAX) as pool:
            stops = {name: pool.submit(self.stop, name) for name in list(self._running)}
        for name, stop in stops.items():
            if (failure := stop.exception()) is not None:
                failures.append(f"{name}: {failure}")
        if failures:
            raise ProgramFailed("; ".join(failures))

    def log(self, name: str) -> Path:
        """Return a program's log file."""
        return self.logs / f"{name}.log"

    def _program(
        self, name: str, module: str, arguments: tuple[str, ...], settings: Mapping[str, object]
    ) -> Program:
        variables = {f"MES_{key.upper()}": str(value) for key, value in settings.items()}
        return Program(
            argv=(sys.executable, "-m", module, *arguments),
            cwd=CODE,
            log=self.log(name),
            environment=variables,
            held=self.held,
            grace_s=15.0,
        )

    def _ended(self, name: str, module: str, status: int) -> str:
        log = self.log(name)
        return f"{name} ({module}) ended with status {status}; {log} ends:\n{log_tail(log)}"

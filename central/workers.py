"""The ingest as processes of their own: started, started again when they die, ended together.

A worker is tied to the process that keeps it: the kernel kills it when that one is gone, however it
died. What it was about to apply is then not committed, and comes again.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shared.errors import Fatal
from shared.observe import note

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_log = logging.getLogger(__name__)

#: A worker that is told to stop and does not is killed after this.
STOP_S: Final = 20.0
#: The wait before a dead worker is started again: doubled each time, from the first again once it
#: has lived for a while.
WAIT_MIN_S: Final = 0.5
WAIT_MAX_S: Final = 30.0
STABLE_S: Final = 60.0
_PR_SET_PDEATHSIG: Final = 1


class WorkerRefused(Fatal):
    """A worker can't start with these settings; its own message tells why."""

    def __init__(self, number: int, code: int) -> None:
        super().__init__(f"ingest worker {number} ended with code {code}; see its message above")
        self.code = code


def tie_to(parent: int) -> None:
    """Have the kernel kill this process when ``parent``, which started it, is gone.

    To be called first of all: who is an orphan already ends here.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


async def keep(commands: Sequence[Sequence[str]], refusals: Collection[int]) -> None:
    """Run these commands, each again whenever it ends, until cancelled; then end them all.

    Raise WorkerRefused where one ends with one of the codes that no restart mends.
    """
    async with asyncio.TaskGroup() as tasks:
        for number, command in enumerate(commands, 1):
            tasks.create_task(_keep_one(number, command, refusals), name=f"worker {number}")


async def _keep_one(number: int, command: Sequence[str], refusals: Collection[int]) -> None:
    loop = asyncio.get_running_loop()
    wait_s = WAIT_MIN_S
    while True:
        begun = loop.time()
        code = await _run(number, command)
        if code in refusals:
            raise WorkerRefused(number, code)
        if loop.time() - begun > STABLE_S:
            wait_s = WAIT_MIN_S
        note(_log, "worker died", level=logging.ERROR, worker=number, code=code, again_in_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, WAIT_MAX_S)


async def _run(number: int, command: Sequence[str]) -> int:
    """Run a command to its end and return its code; when cancelled, end it."""
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    note(_log, "worker started", worker=number, pid=process.pid)
    try:
        return await process.wait()
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        note(_log, "worker does not stop: killed", level=logging.ERROR, pid=process.pid)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

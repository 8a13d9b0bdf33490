"""A site on a disk of a few megabytes, which a program fills; run by the test of it.

The disk is a tmpfs in a mount namespace of its own, so no right is needed for it. What happened is
printed as JSON: the test reads it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from edge.status import read_picture
from tests.integration.import_world import Site
from tests.integration.test_edge_agent import offline_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1_000_000
DISK_MB, BALLAST_MB = 48, 16
STOP, GO = 10 * MB, 14 * MB
SESSION = str(UUID(int=1))
_FACT = "INSERT INTO user_sessions (session_id, event) VALUES (?, 'LOGIN')"
_ORDER = (
    "INSERT INTO work_orders (order_no, source, qty_ordered, uom) VALUES (?, 'LOCAL', 1, 'pcs')"
)


async def fill(folder: Path) -> dict[str, object]:
    """Fill the disk by facts, make room, fill it by something else, make room; tell all."""
    site, told = Site("F07", folder / "F07.db"), {}
    met = _agent_meets("disk is full")
    ballast, more = folder / "ballast", folder / "more"
    ballast.write_bytes(bytes(BALLAST_MB * MB))
    async with offline_agent(site, facts_stop_bytes=STOP, facts_go_bytes=GO):
        # A copy of a store would be refused by its agent, so it is made here.
        with closing(_connect(site)) as program:
            told["first"], told["refusal"] = await _facts(program)
            told["free_at_refusal"] = _free(folder)
            told["orders"] = await asyncio.to_thread(_orders, program, "A")
            ballast.unlink()
            await _refused(site, wanted=False)
            told["second"], _ = await _facts(program)
            more.write_bytes(bytes(_free(folder) // 4096 * 4096))  # and now it is really full
            told["full"] = await _until_the_agent_meets_it(program, met)
            more.unlink()
            told["orders_later"] = await asyncio.to_thread(_orders, program, "C")
            await _drained(site)
    told["accepted"] = _count(site, "SELECT count(*) FROM user_sessions")
    told["orders_there"] = _count(site, "SELECT count(*) FROM work_orders")
    told["kept"] = _count(site, "SELECT sum(rows) FROM _sync_out")
    return told


class _Heard(logging.Handler):
    """Sets an event once the agent's tasks tell that they try again, and why."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why, self.event = why, asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.why in getattr(record, "fields", {}).get("why", ""):
            self.event.set()


def _agent_meets(why: str) -> asyncio.Event:
    """Return what is set once a task of the agent has failed for this, and waits."""
    heard, log = _Heard(why), logging.getLogger("edge.patience")
    log.setLevel(logging.INFO)
    log.addHandler(heard)
    return heard.event


def _connect(site: Site) -> sqlite3.Connection:
    return sqlite3.connect(site.store, timeout=20, check_same_thread=False)


async def _facts(program: sqlite3.Connection) -> tuple[int, str]:
    """Add facts as a program does until they are refused; return how many, and what was said."""
    return await asyncio.to_thread(_add_facts, program)


def _add_facts(program: sqlite3.Connection) -> tuple[int, str]:
    taken = 0
    while True:
        try:
            with program:
                program.executemany(_FACT, [(SESSION,)] * 50)
        except sqlite3.IntegrityError as error:
            return taken, str(error)
        taken += 50
        time.sleep(0.002)


def _orders(program: sqlite3.Connection, prefix: str) -> int:
    for number in range(200):
        with program:
            program.execute(_ORDER, (f"{prefix}-{number}",))
    return 200


async def _until_the_agent_meets_it(program: sqlite3.Connection, met: asyncio.Event) -> str:
    """Write until the agent is refused as well; return what the program was told the last time.

    What a program could write before it was refused may be little enough to be drained in the room
    that is left in the log; and there is room in it again once that is done.
    """
    numbers, told = itertools.count(), ""
    async with asyncio.timeout(30):
        while not met.is_set():
            told = await asyncio.to_thread(_orders_until_full, program, numbers)
            await asyncio.sleep(0.1)
    return told


def _orders_until_full(program: sqlite3.Connection, numbers: Iterator[int]) -> str:
    for number in itertools.islice(numbers, 100_000):
        try:
            with program:
                program.execute(_ORDER, (f"B-{number}",))
        except sqlite3.OperationalError as error:
            return f"{number}: {error}"
    return "never"


async def _refused(site: Site, *, wanted: bool) -> None:
    async with asyncio.timeout(30):
        while read_picture(site.store, 0).space.facts_refused is not wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _drained(site: Site) -> None:
    async with asyncio.timeout(60):
        while read_picture(site.store, 0).backlog.undrained_rows:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _count(site: Site, query: str) -> int:
    return int(site.rows(query)[0][0])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(fill(Path(sys.argv[1])))))  # noqa: T201

"""The folder of one server: claimed by one run at a time, remembering its ports."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from shared.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"

#: Ports are taken from here, below the range that the kernel gives to outgoing connections
#: (32768 and up by default): no client's connection can take a server's port while it is down.
PORTS = range(20_000, 32_000)
PORT_TRIES_MAX = 200

#: What this process gave away of late: a cluster's servers choose before the first of them listens.
_given: deque[int] = deque(maxlen=100)

#: How long a run waits for the one before it, which may still be stopping, in seconds.
CLAIM_WAIT_S = 20.0


class FolderInUse(Fatal):
    """The folder belongs to a run that is still going on."""


class NoFreePort(Fatal):
    """Too many ports of the loopback are taken."""


def claim(folder: Path, wait_s: float = CLAIM_WAIT_S) -> int:
    """Return an open file that holds the folder for this run until its last copy is closed.

    A server inherits it, so the folder stays claimed for as long as anything of that server lives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline_s:
                time.sleep(0.1)  # flock waits for ever, or not at all
                continue
            owner = os.pread(lock, 32, 0).decode().strip() or "unknown"
            os.close(lock)
            message = f"{folder} is in use by process {owner}; stop it or choose another folder"
            raise FolderInUse(message) from None
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock


def choose_ports(folder: Path, names: Sequence[str], *, anew: bool) -> dict[str, int]:
    """Return a free port of the loopback for each name, those of the last run where still free.

    ``anew`` forgets the last run's: somebody has taken one of them in the meantime.
    """
    path = folder / "ports.json"
    known = _kept_ports(path) if not anew else {}
    if set(known) != set(names) or not all(is_free(port) for port in known.values()):
        known = dict(zip(names, free_ports(len(names)), strict=True))
        path.write_text(json.dumps(known))
    return {name: int(known[name]) for name in names}


def _kept_ports(path: Path) -> dict[str, int]:
    """Return the ports of the last run; none where it was killed while it wrote them down."""
    try:
        kept: dict[str, int] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return kept


def free_ports(count: int) -> list[int]:
    """Return ``count`` ports of the loopback on which nothing listens, none of them twice."""
    found: list[int] = []
    for _ in range(PORT_TRIES_MAX):
        port = PORTS[secrets.randbelow(len(PORTS))]
        if port not in _given and is_free(port):
            found.append(port)
            _given.append(port)
        if len(found) == count:
            return found
    message = f"{count} ports between {PORTS.start} and {PORTS.stop} were not to be found"
    raise NoFreePort(message)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do; connections of a server that is gone may still linger.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True

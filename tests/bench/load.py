"""Load on a server: kept-alive connections, each asking again as soon as it is answered.

Its own process (``python -m tests.bench.load``), so that it shares no interpreter with what
it measures. It knows just enough HTTP/1.1 for that: answers have a Content-Length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a run."""

    seconds: float
    answers: int
    #: Answers that were neither 200 nor 304, and connections that were lost.
    errors: int
    bytes: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        """Return the answers a second."""
        return self.answers / self.seconds


class _Asker(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, requests: Sequence[bytes], until: float, start: int) -> None:
        self._requests, self._until, self._next = requests, until, start
        self._space = memoryview(bytearray(64 << 10))
        self._buffer, self._missing = b"", -1
        self.took: list[float] = []
        self.errors = self.bytes = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        if self._asked > self._until:
            self._transport.close()
            return
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        self._take(bytes(self._space[:nbytes]))

    def _take(self, data: bytes) -> None:
        self.bytes += len(data)
        if self._missing >= 0:
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(_HEAD_END)
            if end < 0:
                return
            head = self._buffer[:end].lower()
            self.errors += head[9:12] not in (b"200", b"304")
            at = head.find(_LENGTH)
            size = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._missing = size - (len(self._buffer) - end - len(_HEAD_END))
        if self._missing == 0:
            self._buffer, self._missing = b"", -1
            self.took.append(time.perf_counter() - self._asked)
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += time.perf_counter() < self._until
        if not self.done.done():
            self.done.set_result(None)


def _itself(asker: _Asker) -> _Asker:
    return asker


async def _run(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> Load:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    askers = [_Asker(requests, began + seconds, number) for number in range(connections)]
    for each in askers:
        await loop.create_connection(partial(_itself, each), "127.0.0.1", port)
    # Whoever is not answered by then never will be, and is an error.
    await asyncio.wait([each.done for each in askers], timeout=seconds + PATIENCE_S)
    lost = sum(not each.done.done() for each in askers)
    took = sorted(one for each in askers for one in each.took)
    at = [took[min(len(took) - 1, int(len(took) * share))] * 1000 for share in (0.5, 0.95, 0.99)]
    return Load(
        time.perf_counter() - began, len(took), lost + sum(each.errors for each in askers),
        sum(each.bytes for each in askers), *at,
    )  # fmt: skip


def request(path: str, headers: Mapping[str, str]) -> bytes:
    """Return a request."""
    lines = [f"GET {path} HTTP/1.1", "Host: centre", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def load(
    port: int,
    requests: Sequence[bytes],
    *,
    seconds: float,
    connections: int,
    cpu: int | None = None,
) -> Load:
    """Put load on a server of this machine, from one CPU if named; return what came of it."""
    given = {"requests": [each.decode() for each in requests], "cpu": cpu}
    told = subprocess.run(
        [
            sys.executable, "-m", "tests.bench.load", "--port", str(port),
            "--seconds", str(seconds), "--connections", str(connections),
        ],
        input=json.dumps(given), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Load(**json.loads(told.stdout))


def main() -> None:
    """Read the requests from the input, ask, and print what came of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--connections", type=int, required=True)
    given = arguments.parse_args()
    read = json.load(sys.stdin)
    if read["cpu"] is not None:
        os.sched_setaffinity(0, {read["cpu"]})
    requests = [each.encode() for each in read["requests"]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_run(given.port, requests, given.seconds, given.connections))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()

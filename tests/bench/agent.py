"""What an agent costs: at rest, at its start, and on the wire; and as its backlog grows."""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.bench import frame
from tests.bench.facts import course
from tests.bench.rows import as_json, write
from tests.bench.system import SITE, cpu_s, memory_mb, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.facts import Course

IDLE_S = 16.0
#: Rows of the smallest backlog.
BACKLOG_ROWS = 2_000
FACTS = 50_000


def agent_idle(runs: int = frame.RUNS) -> list[frame.Result]:
    """CPU and memory of an agent that has nothing to do, and how soon a started one has sent."""
    with course() as on:
        pid = on.world.agents[SITE].pid
        cpu, memory = [], []
        for _ in range(runs):
            before, began = cpu_s(pid), time.monotonic()
            time.sleep(IDLE_S)
            cpu.append((cpu_s(pid) - before) / (time.monotonic() - began) * 100)
            memory.append(memory_mb(pid, "VmRSS"))
        starts = [_start(on) for _ in range(runs)]
    return [
        frame.single(
            "agent_idle_cpu", "% of a core", cpu, target=frame.Target(1.0, at_least=False)
        ),
        frame.single("agent_idle_memory", "MB", memory, target=frame.Target(70, at_least=False)),
        frame.single(
            "agent_start_to_first_send", "s", starts, target=frame.Target(1.0, at_least=False),
            note="until a row that waited is visible at the centre, which is later than the send",
        ),
    ]  # fmt: skip


def _start(on: Course) -> float:
    on.world.fleet.stop(f"{SITE}-agent")
    (row,) = on.fresh(1)
    write(on.world.store(SITE), [row])
    started = time.perf_counter()
    on.world.start_site(SITE)
    wait_until(lambda: on.eye.fact_is_there(row))
    return time.perf_counter() - started


# --- backlog --------------------------------------------------------------------------------------


def backlog_flat(runs: int = frame.RUNS) -> list[frame.Result]:
    """Microseconds a row until a backlog of 1, 10 and 100 times as many rows is at the centre."""
    with course() as on:
        found: dict[int, list[float]] = {1: [], 10: [], 100: []}
        for _ in range(runs + 1):
            for times, values in found.items():
                values.append(_clear(on, times * BACKLOG_ROWS))
        base = found[1][1:]
        return [
            frame.Result(
                name=f"backlog_flat_{times}x", unit="us/row", value=frame.Spread.of(values[1:]),
                reference=f"{BACKLOG_ROWS:,} rows waiting", reference_value=frame.Spread.of(base),
                ratio=frame.Spread.of(ratios), interval=frame.interval(ratios),
                target=frame.Target(1.2, at_least=False),
            )
            for times, values in found.items()
            if times > 1
            for ratios in [[mine / own for mine, own in zip(values[1:], base, strict=True)]]
        ]  # fmt: skip


def _clear(on: Course, count: int) -> float:
    """Let rows gather while the agent stands still, then let it go on; microseconds a row."""
    rows = on.fresh(count)
    there = on.eye.count("job_responses")
    agent = on.world.agents[SITE]
    agent.signal(signal.SIGSTOP)
    try:
        write(on.world.store(SITE), rows)
    finally:
        started = time.perf_counter()
        agent.signal(signal.SIGCONT)
    wait_until(lambda: on.eye.fact_is_there(rows[-1]))
    took = time.perf_counter() - started
    on.check(there + count)
    return took / count * 1e6


# --- on the wire ----------------------------------------------------------------------------------


class Counting:
    """A line between the agent and the broker that counts the bytes of both directions."""

    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        self._target = (url.hostname or "", url.port or 4222)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"nats://127.0.0.1:{self._listening.getsockname()[1]}"
        self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        for near in self._connections():
            far = socket.create_connection(self._target)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _connections(self) -> Iterator[socket.socket]:
        while True:
            try:
                yield self._listening.accept()[0]
            except OSError:  # closed
                return

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with source, sink:
            while data := _received(source):
                self.bytes += len(data)
                sink.sendall(data)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:  # the other direction has closed it
        return b""


def bytes_per_fact(runs: int = frame.RUNS) -> list[frame.Result]:
    """All bytes between agent and broker, both ways, for facts in large batches."""
    with course() as on, closing(Counting(on.world.broker_address)) as line:
        on.world.fleet.stop(f"{SITE}-agent")
        on.world.address = line.address
        on.world.start_site(SITE)
        pairs = [_sent(on, line) for _ in range(runs)]
    ratios = [sent / plain for sent, plain in pairs]
    return [
        frame.Result(
            name="bytes_per_fact", unit="bytes", value=frame.Spread.of([sent for sent, _ in pairs]),
            reference="the row as compact JSON",
            reference_value=frame.Spread.of([plain for _, plain in pairs]),
            ratio=frame.Spread.of(ratios), interval=frame.interval(ratios),
            target=frame.Target(0.25, at_least=False),
        )
    ]  # fmt: skip


def _sent(on: Course, line: Counting) -> tuple[float, float]:
    """Return the bytes a fact on the wire, and as JSON."""
    rows = on.fresh(FACTS)
    time.sleep(0.5)
    before = line.bytes
    write(on.world.store(SITE), rows)
    wait_until(lambda: on.eye.fact_is_there(rows[-1]))
    time.sleep(1.0)  # the ack comes back by the feed
    plain = sum(len(as_json(row)) for row in rows[:1000]) / 1000
    return (line.bytes - before) / FACTS, plain

"""Facts on their whole way: from the commits in the site's SQLite to the commit in PostgreSQL."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.bench import frame
from tests.bench.replication import replicated, timed
from tests.bench.rows import BATCH_ROWS, FACT_COLUMNS, Facts, make_orders
from tests.bench.system import SITE, Eye, System, system, wait_until
from tests.bench.writer import Writer, lay_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.rows import Row

#: Rows that either side moves in one run.
ROWS = 100_000
#: How often the centre is asked for the last row: of a run of seconds, and it costs CPU.
LOOK_S = 0.01


@dataclass(slots=True)
class Course:
    """A running system with orders that facts may refer to."""

    world: System
    eye: Eye
    orders: Sequence[str]
    seed: int = 0
    #: Seconds that the plant's program wrote for, by run.
    wrote_s: list[float] = field(default_factory=list)

    def fresh(self, count: int) -> list[Row]:
        """Return rows that were never sent."""
        self.seed += 1
        return Facts(self.orders, self.seed).rows(count)

    def whole_path(self) -> float:
        """Return the rows a second of a plant that writes at full speed, until all are there."""
        rows = self.fresh(ROWS)
        source = self.world.root / "ready.db"
        lay_ready(source, rows)
        there = self.eye.count("job_responses")
        writer = Writer(self.world.store(SITE), source)
        started = time.perf_counter()
        writer.go()
        wait_until(lambda: self.eye.fact_is_there(rows[-1]), every_s=LOOK_S)
        took = time.perf_counter() - started
        self.wrote_s.append(writer.wait())
        self.check(there + ROWS)
        return ROWS / took

    def copied(self) -> float:
        """Return the rows a second of COPY into the same table, as the ingest's own role."""
        return ROWS / copy(self.world.url("mes_ingest"), self.fresh(ROWS))

    def check(self, count: int) -> None:
        """Raise where the centre does not hold exactly so many rows, or parked one."""
        found, parked = self.eye.count("job_responses"), self.eye.parked()
        if found != count or parked:
            raise AssertionError(f"{found} rows instead of {count}, {parked} parked")


@contextmanager
def course() -> Iterator[Course]:
    """Run a system with one site."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world") as world,
        Eye.on(world.url()) as eye,
    ):
        orders = make_orders(world.store(SITE))
        wait_until(lambda: eye.count("work_orders") == len(orders))
        yield Course(world, eye, orders)


def copy(url: str, rows: Sequence[Row], batch: int = BATCH_ROWS) -> float:
    """COPY the rows in transactions of ``batch`` and return the seconds: the physical limit."""
    texts = copy_texts(rows, batch)
    with psycopg.connect(url) as connection:
        started = time.perf_counter()
        for text in texts:
            with connection.cursor().copy(
                f"COPY mes.job_responses ({', '.join(FACT_COLUMNS)}) FROM STDIN"
            ) as into:
                into.write(text)
            connection.commit()
        return time.perf_counter() - started


def copy_texts(rows: Sequence[Row], batch: int) -> list[bytes]:
    """Return the rows as texts for COPY, made before the clock starts."""
    return [
        "".join(
            "\t".join("\\N" if v is None else str(v) for v in row) + "\n"
            for row in rows[start : start + batch]
        ).encode()
        for start in range(0, len(rows), batch)
    ]


def facts_vs_copy(runs: int = frame.RUNS) -> list[frame.Result]:
    """Whole path against COPY of as many rows."""
    with course() as on:
        result = frame.paired(
            "facts_vs_copy", "rows/s", on.whole_path, on.copied,
            reference="COPY, 2,000 rows a transaction, same table",
            target=frame.Target(0.5), runs=runs,
        )  # fmt: skip
        wrote = frame.single(
            "facts_vs_copy_writer", "rows/s", [ROWS / s for s in on.wrote_s[1:]],
            note="the plant's program in the same runs: no path can be faster than what it sends",
        )  # fmt: skip
    return [result, wrote]


def facts_vs_logical_replication(runs: int = frame.RUNS) -> list[frame.Result]:
    """Whole path against PostgreSQL's own logical replication into the same table."""
    with (
        course() as on,
        replicated(on.world.root / "rival", on.world.url(), "job_responses") as rival,
    ):
        names = ", ".join(FACT_COLUMNS)
        insert = f"INSERT INTO mes.job_responses ({names}) SELECT {names} FROM ready r WHERE"

        def theirs() -> float:
            rows = on.fresh(ROWS)
            rival.lay_ready(FACT_COLUMNS, rows)
            there = on.eye.count("job_responses")
            took = timed(
                rival, insert, ROWS, BATCH_ROWS,
                lambda: wait_until(lambda: on.eye.fact_is_there(rows[-1]), every_s=LOOK_S),
            )  # fmt: skip
            on.check(there + ROWS)
            return ROWS / took

        return [
            frame.paired(
                "facts_vs_logical_replication", "rows/s", on.whole_path, theirs,
                reference="PostgreSQL logical replication, same table",
                target=frame.Target(1.0), runs=runs,
            )
        ]  # fmt: skip

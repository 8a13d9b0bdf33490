"""A program of the plant that writes at full speed, as a process of its own.

``python -m tests.bench.writer STORE SOURCE BATCH`` says ``ready``, waits for a line, and then moves
the rows of SOURCE's table ``rows`` into production reports, BATCH rows a transaction. The rows lie
ready in a file, so what it costs is SQLite's own work and not Python's.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.rows import BATCH_ROWS, FACT_COLUMNS, plant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rows import Row


def lay_ready(source: Path, rows: Sequence[Row]) -> None:
    """Put rows into a file of their own."""
    source.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute(f"CREATE TABLE rows ({', '.join(FACT_COLUMNS)})")
        marks = ", ".join("?" * len(FACT_COLUMNS))
        connection.executemany(f"INSERT INTO rows VALUES ({marks})", rows)
        connection.commit()


class Writer:
    """The process, ready to go."""

    def __init__(self, store: Path, source: Path, batch: int = BATCH_ROWS) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.writer", str(store), str(source), str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def go(self) -> None:
        """Start writing."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def wait(self) -> float:
        """Return the seconds that it wrote for, when it is done."""
        said, _ = self._process.communicate(timeout=300)
        return float(said.split()[-1])


def main(store: str, source: str, batch: int) -> None:
    """Write the rows when told to."""
    names = ", ".join(FACT_COLUMNS)
    with closing(plant(Path(store))) as connection:
        connection.execute("ATTACH ? AS src", (source,))
        (count,) = connection.execute("SELECT count(*) FROM src.rows").fetchone()
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        for start in range(0, count, batch):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                f"INSERT INTO job_responses ({names}) SELECT {names} FROM src.rows"
                " WHERE rowid > ? AND rowid <= ?",
                (start, start + batch),
            )
            connection.execute("COMMIT")
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

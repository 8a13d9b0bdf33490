"""The rows that the benchmarks send: production reports and orders, as a plant writes them."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Rows in one transaction of the plant, and in one COPY of the reference.
BATCH_ROWS = 2_000

FACT_COLUMNS = (
    "id", "site_id", "created_at", "work_order_id", "equipment_id", "person_id", "report_type",
    "segment_code", "started_at", "ended_at", "duration_s", "duration_known", "qty_good",
    "qty_scrap", "qty_rework", "qty_mrb", "scrap_reason", "shift_code", "business_date",
    "is_rework", "source_row",
)  # fmt: skip
INSERT_FACT = (
    f"INSERT INTO job_responses ({', '.join(FACT_COLUMNS)}) VALUES ({', '.join('?' * 21)})"
)

Row = tuple[Any, ...]


class Facts:
    """Makes production reports; the same seed makes the same rows but for their times."""

    def __init__(self, orders: Sequence[str], seed: int = 1, site: str = "SITE_001") -> None:
        self._chance = random.Random(seed)
        self._orders = orders
        self._site = site
        self._equipment = [self.uuid(0) for _ in range(30)]
        self._persons = [self.uuid(0) for _ in range(50)]
        #: When the last row was made.
        self.now = datetime.now(UTC) - timedelta(hours=3)

    def uuid(self, ms: int) -> str:
        """Return a UUIDv7 of that time."""
        bits = self._chance.getrandbits(74)
        text = f"{ms:012x}7{bits >> 62:03x}{8 | (bits >> 60 & 3):x}{bits & (1 << 60) - 1:015x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def at(self, milliseconds: int) -> None:
        """Let time go on."""
        self.now += timedelta(milliseconds=milliseconds)

    def rows(self, count: int) -> list[Row]:
        """Return the next rows."""
        chance = self._chance
        made: list[Row] = []
        for _ in range(count):
            self.at(milliseconds=7)
            end = stamp(self.now)
            good = chance.randrange(1, 200)
            made.append((
                self.uuid(int(self.now.timestamp() * 1000)), self._site, end,
                chance.choice(self._orders), chance.choice(self._equipment),
                chance.choice(self._persons), chance.choice(("PRODUCTION", "PRODUCTION", "SETUP")),
                f"MILL-{chance.randrange(8)}", stamp(self.now - timedelta(seconds=good)), end,
                str(good), 1, str(good), str(chance.randrange(3)), "0", "0", None,
                "S1", end[:10], 0, None,
            ))  # fmt: skip
        return made


def stamp(instant: datetime) -> str:
    """Return the canonical form of an instant."""
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"


def as_json(row: Row) -> bytes:
    """Return a production report as compact JSON with its column names, as a REST call has it."""
    return json.dumps(dict(zip(FACT_COLUMNS, row, strict=True)), separators=(",", ":")).encode()


def plant(store: Path) -> sqlite3.Connection:
    """Return a connection as a program of the plant opens it."""
    connection = sqlite3.connect(store, isolation_level=None, timeout=60)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def write(store: Path, rows: Sequence[Row], batch: int = BATCH_ROWS) -> None:
    """Commit facts in transactions of ``batch`` rows."""
    with closing(plant(store)) as connection:
        for start in range(0, len(rows), batch):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT_FACT, rows[start : start + batch])
            connection.execute("COMMIT")


def make_orders(store: Path, number: int = 200, at_once: int = 1_000) -> list[str]:
    """Make orders at the site and return their ids."""
    made: list[str] = []
    with closing(plant(store)) as connection:
        for start in range(0, number, at_once):
            connection.execute("BEGIN IMMEDIATE")
            for k in range(start, min(start + at_once, number)):
                inserted = connection.execute(
                    "INSERT INTO work_orders (order_no, source, qty_ordered, uom)"
                    " VALUES (?, 'LOCAL', '10', 'pcs') RETURNING id",
                    (f"B-{time.time_ns()}-{k}",),
                )
                made.append(inserted.fetchall()[0][0])
            connection.execute("COMMIT")
    return made

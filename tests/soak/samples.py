"""How large everything is now and then: memory of processes, rows of bookkeeping at both ends."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from central.rollups import deltas_of
from central.unions import UNIONS
from deploy.local.settled import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

#: Beside every table of the bookkeeping: history, and what has a time of its own within a table.
CENTRAL: Final = {
    "deleted heads": "sync.head WHERE deleted",
    "conflicts": "mes.sync_conflicts",
    "reviews": "mes.sync_reviews",
    "parked": "mes.sync_parked",
    # Within a version first, and in a table of its own from when that is forgotten.
    "overwritten": "(SELECT FROM sync.version WHERE replaced IS NOT NULL"
    " UNION ALL SELECT FROM sync.overwritten) AS o",
    "deltas": f"mes.{deltas_of('job_responses')}",
    **{f"stale {each.name}": f"mes.{each.name} WHERE is_stale" for each in UNIONS},
}
EDGE: Final = {
    "row": "_sync_row WHERE gone = 0",
    "deletions": "_sync_row WHERE gone > 0",
    "conflicts": "sync_conflicts",
    "reviews": "sync_reviews",
    "parked": "sync_parked",
}


@dataclass(frozen=True, slots=True)
class Process:
    """Memory of a process, in MB: all that is resident, and what is its own."""

    pid: int
    resident: float
    own: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at everything; a part that could not be asked is empty."""

    at_s: float
    processes: Mapping[str, Process]
    #: Rows by table, at the centre and added up over the sites.
    central: Mapping[str, int] = field(default_factory=dict)
    edge: Mapping[str, int] = field(default_factory=dict)
    #: Undecided transactions of all sites, and of the one with the most.
    undecided: int = 0
    undecided_most: int = 0
    #: How long ago the oldest transaction was made that the centre has not decided, seconds.
    lag_s: float = 0.0
    database_mb: float = 0.0
    stores_mb: float = 0.0
    broker_mb: float = 0.0
    writes: int = 0


def memory(pids: Mapping[str, int]) -> dict[str, Process]:
    """Return what each process takes; PostgreSQL with all processes that it has started."""
    found = {}
    for name, pid in pids.items():
        family = [pid, *_children(pid)] if name == "postgres" else [pid]
        with contextlib.suppress(OSError):  # it has just ended
            statuses = [_status(each) for each in family]
            resident = max if name == "postgres" else sum  # its shared memory is in each of them
            found[name] = Process(
                pid,
                resident(s.get("VmRSS", 0.0) for s in statuses),
                sum(s.get("RssAnon", 0.0) for s in statuses),
            )
    return found


def _status(pid: int) -> dict[str, float]:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    pairs = (line.split(":", 1) for line in text.splitlines() if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 / 1e6 for name, value in pairs}


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def central_rows(centre: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the rows of every table of the centre's bookkeeping, and of the history."""
    tables = centre.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'sync'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
        " ORDER BY relname"
    ).fetchall()
    wanted = {name: f"sync.{name}" for (name,) in tables} | CENTRAL
    counts = ", ".join(f"(SELECT count(*) FROM {what})" for what in wanted.values())
    row = centre.execute(f"SELECT {counts}".encode()).fetchone()
    assert row is not None
    return dict(zip(wanted, row, strict=True))


def database_mb(centre: psycopg.Connection[Any]) -> float:
    """Return the size of the database."""
    row = centre.execute("SELECT pg_database_size(current_database())").fetchone()
    return float(row[0]) / 1e6 if row else 0.0


@dataclass(frozen=True, slots=True)
class StoreLook:
    """What a look into a store finds."""

    rows: Mapping[str, int]
    undecided: int
    #: When the oldest undecided transaction was made, ms since 1970; None where there is none.
    oldest_ms: int | None


def store_rows(store: Path) -> StoreLook | None:
    """Return the rows of a store's bookkeeping; None where it is being made, or held."""
    try:
        with contextlib.closing(look(store)) as connection:
            return _store_rows(connection)
    except sqlite3.OperationalError:
        return None


def _store_rows(connection: sqlite3.Connection) -> StoreLook:
    connection.execute("BEGIN")
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_sync_*' ORDER BY name"
    )
    tables = [name for (name,) in found]
    logs = [name for name in tables if name.startswith("_sync_log_")]
    wanted = {n.removeprefix("_sync_"): f'"{n}"' for n in tables if n not in logs} | EDGE
    logged = " + ".join(f'(SELECT count(*) FROM "{name}")' for name in logs)
    counts = ", ".join(f"(SELECT count(*) FROM {what})" for what in wanted.values())
    *rows, log = connection.execute(f"SELECT {counts}, {logged}").fetchone()
    undecided, oldest_ms = connection.execute(
        "SELECT last_n - acked_n, (SELECT min(o.made_at_ms) FROM _sync_out o"
        " WHERE o.epoch = s.epoch AND o.n > s.acked_n) FROM _sync_site s"
    ).fetchone()
    return StoreLook(dict(zip(wanted, rows, strict=True)) | {"logs": log}, undecided, oldest_ms)


def folder_mb(folder: Path) -> float:
    """Return what the files of a folder take on the disk; files and folders may go meanwhile."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(at) / name).lstat().st_blocks * 512
    return round(total / 1e6, 1)


def added(looks: Iterable[StoreLook]) -> dict[str, int]:
    """Add up the rows of all stores."""
    total: dict[str, int] = {}
    for each in looks:
        for name, count in each.rows.items():
            total[name] = total.get(name, 0) + count
    return total

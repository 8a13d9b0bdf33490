"""Reads how a site's sync is: from the store, and from what its agent left beside it.

Only reads, and needs neither agent nor centre. Loads nothing of the store's code, so that a status
takes a twentieth of a second. Every query is bounded, whatever the store holds.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge.beat import read_state
from edge.picture import (
    Agent,
    Backlog,
    Centre,
    Clock,
    Compared,
    Conflicts,
    Feed,
    Kept,
    Picture,
    Protected,
    Space,
    Unapplied,
)
from shared.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How long a look waits for a program that holds the store.
BUSY_TIMEOUT_S: Final = 2.0
#: Waiting messages whose rows and bytes are added up; what is beyond is not counted.
PARTS_MAX: Final = 10_000
#: The latest conflicts that are looked at.
CONFLICTS_MAX: Final = 10_000
_DAY_MS: Final = 86_400_000
#: The triggers of ``edge.store.fullness``.
_REFUSING: Final = (
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema"
    " WHERE type = 'trigger' AND name GLOB 'mes_disk_full_*')"
)


def read_picture(store: Path, now_ms: int) -> Picture:
    """Return how the sync of this store is, as of one moment.

    Raises SchemaMismatch where there is no store, and sqlite3.Error where it can't be read.
    """
    with looking(store) as connection:
        site = _site(connection)
        return Picture(
            at_ms=now_ms,
            store=str(store),
            site=site["site"],
            epoch=site["epoch"],
            stopped_because=site["stopped_because"],
            agent=read_agent(store),
            backlog=_backlog(connection, site, read_state(store).get("owed_from")),
            feed=_feed(connection, site),
            centre=Centre(
                last_n=site["last_n"],
                decided_n=site["acked_n"],
                decided_at_ms=site["acked_at_ms"],
            ),
            kept=_kept(connection, site),
            protected=read_protected(store),
            conflicts=_conflicts(connection, now_ms),
            unapplied=_unapplied(connection),
            clock=Clock(offset_ms=site["offset_ms"], measured_at_ms=site["offset_at_ms"]),
            compared=_compared(connection),
            space=_space(connection, store),
        )


@contextmanager
def looking(store: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing store to read it as of one moment, whoever writes it."""
    if not store.is_file():
        raise SchemaMismatch(f"{store} does not exist; check --store, or make it: mes-edge init")
    with closing(_open(store)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        if not _has(connection, "_sync_site"):
            raise SchemaMismatch(f"{store} is no store of mes-sync; make it one: mes-edge init")
        yield connection


def _open(store: Path) -> sqlite3.Connection:
    address = f"{store.resolve().as_uri()}?mode=ro"
    connection = _connect(address)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        real = store.resolve()
        if real.with_name(real.name + "-wal").exists():
            raise
        # Nobody has it open, and this account may not make the files that a reader of a WAL needs.
        return _connect(f"{address}&immutable=1")
    return connection


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)


def _site(connection: sqlite3.Connection) -> sqlite3.Row:
    row: sqlite3.Row = connection.execute("SELECT * FROM _sync_site").fetchone()
    return row


def _has(connection: sqlite3.Connection, table: str) -> bool:
    query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return bool(connection.execute(query, (table,)).fetchone()[0])


# --- lanes ---------------------------------------------------------------------------------------


def _backlog(connection: sqlite3.Connection, site: sqlite3.Row, owed_from: object) -> Backlog:
    """Return what waits; after a restore of the centre also what it had decided before."""
    decided_n = site["acked_n"]
    if isinstance(owed_from, int):
        decided_n = min(decided_n, owed_from)
    rows, size, oldest = connection.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(bytes), 0), min(made_at_ms)"
        " FROM (SELECT rows, length(body) AS bytes, made_at_ms FROM _sync_out"
        " WHERE epoch = ? AND n > ? ORDER BY n, part LIMIT ?)",
        (site["epoch"], decided_n, PARTS_MAX),
    ).fetchone()
    undrained, since = 0, None
    for count, at_ms in undrained_rows(connection).values():
        undrained += count
        since = at_ms if since is None or (at_ms is not None and at_ms < since) else since
    return Backlog(
        # Numbers have no gaps within an epoch.
        transactions=site["last_n"] - decided_n,
        rows=rows,
        bytes=size,
        oldest_ms=oldest,
        undrained_rows=undrained,
        undrained_since_ms=since,
    )


def undrained_rows(connection: sqlite3.Connection) -> dict[str, tuple[int, int | None]]:
    """Return what the agent has not taken up yet: table -> changes, and when the first was made.

    Facts do not tell when they were committed.
    """
    found: dict[str, tuple[int, int | None]] = {}
    for table, mark in connection.execute("SELECT name, journal_mark FROM _sync_table").fetchall():
        log = f"_sync_log_{table}"
        if _has(connection, log):
            # By its ends, not by counting: weeks of writes may be in it.
            query = (
                f'SELECT coalesce(max(seq) - min(seq) + 1, 0), (SELECT at_ms FROM "{log}"'
                f' ORDER BY seq LIMIT 1) FROM "{log}"'
            )
        elif _has_journal(connection, table):
            query = f'SELECT max(0, coalesce(max(_seq), 0) - {int(mark)}), NULL FROM "{table}"'
        else:
            continue
        count, at_ms = connection.execute(query).fetchone()
        if count:
            found[table] = (count, at_ms)
    return found


@dataclass(frozen=True, slots=True)
class TableRows:
    """How many rows a table holds, and how many of them the centre has not decided on."""

    rows: int
    #: None for facts: what was sent of them is told by transactions, not by rows.
    waiting: int | None


def count_rows(connection: sqlite3.Connection) -> dict[str, TableRows]:
    """Return how many rows each table holds. Takes a while where there are millions."""
    pending = dict(
        connection.execute(
            "SELECT name, count(DISTINCT id) FROM _sync_pending JOIN _sync_table"
            " ON no = table_no GROUP BY name"
        ).fetchall()
    )
    found = {}
    for (table,) in connection.execute("SELECT name FROM _sync_table ORDER BY name").fetchall():
        if _has(connection, table):
            (rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
            waiting = None if _has_journal(connection, table) else pending.get(table, 0)
            found[table] = TableRows(rows, waiting)
    return found


def _has_journal(connection: sqlite3.Connection, table: str) -> bool:
    query = "SELECT count(*) FROM pragma_table_info(?) WHERE name = '_seq'"
    return bool(connection.execute(query, (table,)).fetchone()[0])


def _feed(connection: sqlite3.Connection, site: sqlite3.Row) -> Feed:
    loading = connection.execute("SELECT next_chunk FROM _sync_snapshot").fetchone()
    return Feed(
        own=site["own_pos"],
        shared=site["shared_pos"],
        waits_since_ms=site["waits_since_ms"],
        needs_snapshot=bool(site["needs_snapshot"]),
        snapshot_chunks=loading[0] if loading else None,
    )


def _kept(connection: sqlite3.Connection, site: sqlite3.Row) -> Kept:
    first = connection.execute(
        "SELECT n, made_at_ms FROM _sync_out WHERE epoch = ? AND n > ? ORDER BY n LIMIT 1",
        (site["epoch"], site["safe_n"]),
    ).fetchone()
    return Kept(
        safe_n=site["safe_n"],
        transactions=site["last_n"] - site["safe_n"],
        oldest_n=first["n"] if first else None,
        oldest_ms=first["made_at_ms"] if first else None,
    )


# --- what people have to see to ------------------------------------------------------------------


def _conflicts(connection: sqlite3.Connection, now_ms: int) -> Conflicts:
    waiting, oldest = 0, None
    if _has(connection, "sync_reviews"):
        waiting, oldest = connection.execute(
            "SELECT count(*), min(created_at) FROM sync_reviews WHERE state = 'OPEN'"
        ).fetchone()
    today: dict[str, int] = {}
    if _has(connection, "sync_conflicts"):
        day = f"{datetime.fromtimestamp((now_ms - _DAY_MS) / 1000, UTC):%Y-%m-%dT%H:%M:%S}"
        today = dict(
            connection.execute(
                "SELECT policy, count(*) FROM (SELECT policy, decided_at, review_id"
                " FROM sync_conflicts ORDER BY rowid DESC LIMIT ?)"
                " WHERE decided_at >= ? AND review_id IS NULL GROUP BY policy ORDER BY policy",
                (CONFLICTS_MAX, day),
            ).fetchall()
        )
    return Conflicts(open=waiting, oldest_ms=to_ms(oldest), decided_today=today)


def _unapplied(connection: sqlite3.Connection) -> Unapplied:
    states: dict[str, tuple[int, str | None]] = {}
    if _has(connection, "sync_parked"):
        for state, count, oldest in connection.execute(
            "SELECT state, count(*), min(parked_at) FROM sync_parked"
            " WHERE state IN ('parked', 'waiting') GROUP BY state"
        ):
            states[state] = (count, oldest)
    aside = dict(connection.execute("SELECT code, count(*) FROM _sync_aside GROUP BY code"))
    return Unapplied(
        parked=states.get("parked", (0, None))[0],
        waiting=states.get("waiting", (0, None))[0],
        oldest_ms=min(filter(None, (to_ms(oldest) for _, oldest in states.values())), default=None),
        aside=aside,
    )


#: Of each table what it was compared with last; the newest report goes first.
_DIFFERING: Final = """
SELECT coalesce(sum(differing), 0) FROM (
    SELECT max(c.at_ms), t.value ->> 'differing' - (t.value ->> 'repaired') AS differing
    FROM _sync_compare AS c, json_each(c.report, '$.tables') AS t
    WHERE t.value ->> 'skipped' = '' GROUP BY t.value ->> 'table')"""


def _compared(connection: sqlite3.Connection) -> Compared:
    if not _has(connection, "_sync_compare"):  # a store of an earlier release
        return Compared()
    (at_ms,) = connection.execute("SELECT max(at_ms) FROM _sync_compare WHERE whole").fetchone()
    (differing,) = connection.execute(_DIFFERING).fetchone()
    return Compared(at_ms=at_ms, differing=differing, uncaptured=_uncaptured(connection))


def _uncaptured(connection: sqlite3.Connection) -> tuple[str, ...]:
    known = "SELECT 1 FROM pragma_table_info('_sync_table') WHERE name = 'uncaptured_ms'"
    if connection.execute(known).fetchone() is None:  # a store of an earlier release
        return ()
    query = "SELECT name FROM _sync_table WHERE uncaptured_ms IS NOT NULL ORDER BY name"
    return tuple(name for (name,) in connection.execute(query))


# --- beside the store ----------------------------------------------------------------------------


def read_agent(store: Path) -> Agent:
    """Return how the agent is: whether one holds the store, and what it last told of its link."""
    running = is_held(store)
    told = read_state(store)
    # A file of a process that has ended says nothing of the one that runs now.
    fresh = running and not told.get("stopped")
    failure = told.get("failure") or {}
    return Agent(
        running=running,
        connected=bool(fresh and told.get("connected")),
        since_ms=told.get("since_ms") if fresh else None,
        told_ms=told.get("beat_ms"),
        version=str(told.get("version", "")),
        rtt_ms=told.get("rtt_ms") if fresh else None,
        disconnects=int(told.get("disconnects", 0)),
        last_error=str(told.get("last_error") or ""),
        refused=str(told.get("refused") or "") if fresh else "",
        not_taken=str(told.get("not_taken") or "") if fresh else "",
        apart=str(told.get("apart") or "") if fresh else "",
        servers=tuple(told.get("servers", ())),
        bytes_per_s_max=int(told.get("bytes_per_s_max") or 0),
        met_ms=told.get("met_ms") if fresh else None,
        failure=str(failure.get("why", "")),
        failed_ms=failure.get("at_ms"),
        damaged="" if running else str(told.get("damaged") or ""),
    )


def read_protected(store: Path) -> Protected:
    """Return what the centre last told of its backups, also where no agent runs."""
    told = read_state(store).get("protected") or {}
    return Protected(
        marked=bool(told.get("marked")),
        through_ms=told.get("through_ms"),
        newest_ms=told.get("newest_ms"),
        why=str(told.get("why") or ""),
    )


def is_held(store: Path) -> bool:
    """Return whether an agent holds the store, also one in another container."""
    store = store.resolve()
    try:
        lock = os.open(store.with_name(store.name + "-agent.lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two looks at once do not take one another for an agent.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _space(connection: sqlite3.Connection, store: Path) -> Space:
    store = store.resolve()
    disk = os.statvfs(store.parent)
    wal = store.with_name(store.name + "-wal")
    return Space(
        store_bytes=store.stat().st_size,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        free_bytes=disk.f_bavail * disk.f_frsize,
        disk_bytes=disk.f_blocks * disk.f_frsize,
        facts_refused=bool(connection.execute(_REFUSING).fetchone()[0]),
        read_only=bool(disk.f_flag & os.ST_RDONLY),
    )


def to_ms(text: str | None) -> int | None:
    """Return a canonical timestamp as milliseconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp() * 1000) if text else None

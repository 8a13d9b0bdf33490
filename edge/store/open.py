"""An open store: its connection, its transactions, and what it was built from."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.catalog import from_json
from shared.errors import SchemaMismatch, StoreBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from random import Random

    from edge.capture import Form
    from shared.catalog import Catalog

#: How long a write waits for a program that holds the store, before StoreBusy.
BUSY_TIMEOUT_MS: Final = 10_000
#: What the agent keeps of the file in memory.
CACHE_KIB: Final = 16_384
_STATEMENTS_MAX: Final = 512
#: While another program holds the store: how long we look now and then, and how long all the time.
_NAP_S: Final = 0.0005
_NAP_FOR_S: Final = 0.005
_SPIN_FOR_S: Final = 0.03


@dataclass(slots=True)
class Seen:
    """How the store was when it was last looked at."""

    #: The version of the file's schema at which our triggers were found as they should be.
    version: int = 0
    #: Hash of the site's last transaction when rows that had made way were looked for.
    brought_back: bytes | None = None
    #: The version of the file's schema at which what was refused was tried last.
    tried: int = -1
    #: Tables of which nothing comes back, as a trigger rolled all back: the schema's version then.
    hindered: dict[str, int] = field(default_factory=dict)
    #: The last row of ``_sync_row`` that was looked at for old deletions; None before the first.
    pruned_to: tuple[int, str] | None = None


@dataclass(slots=True)
class KnockOn:
    """Triggers of the plant's on our tables; see ``edge.store.knock_on``."""

    #: The version of the file's schema at which they were looked for.
    version: int = -1
    #: The tables that have any.
    tables: frozenset[str] = frozenset()
    #: The id of the row that the agent is putting, where its table has any.
    putting: str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A place between two transactions of the programs, as the marks of the journals."""

    #: Journal number of the newest fact, by table.
    marks: Mapping[str, int]
    #: Logs waited as well: what they hold may belong to the same transaction as the newest facts.
    mixed: bool
    #: All that was committed by then lies before it.
    at_ms: int = 0

    def rows_after(self, marks: Mapping[str, int]) -> int:
        """Return about how many facts lie between other marks and these."""
        return sum(mark - marks.get(name, 0) for name, mark in self.marks.items())


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store: what every function of ``edge.store`` works on, from one thread.

    But for ``reading``, which the outbox is read by.
    """

    path: Path
    connection: sqlite3.Connection
    #: Reads the outbox in another thread, while the first waits for a program or is at its work.
    reading: sqlite3.Connection
    catalog: Catalog
    site: str
    #: Table name -> its number in ``_sync_table``, for every table the store ever had.
    numbers: Mapping[str, int]
    #: Table name -> how it stands here.
    forms: Mapping[str, Form]
    #: The query for the tables that hold changes which are not drained.
    look: str
    chance: Random
    seen: Seen
    #: Places between transactions of the programs that are not drained yet, oldest first.
    bounds: deque[Bound] = field(default_factory=deque)
    knock_on: KnockOn = field(default_factory=KnockOn)
    #: Held while the agent runs; None for those who only look.
    lock: int | None = None


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection set up as ours are: WAL, FULL, explicit transactions.

    Foreign keys are not enforced here: what the centre decided is applied as it comes, and a
    program's reference to a row that is gone must not stop it. Raises SchemaMismatch where the
    file is none of SQLite's.
    """
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_MS / 1000,
        cached_statements=_STATEMENTS_MAX,
        check_same_thread=False,  # opened in one thread, used from the agent's store thread
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_NOTADB:
            raise
        message = f"{path} is not a database of SQLite; name another file"
        raise SchemaMismatch(message) from error
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA recursive_triggers = OFF")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that can't write."""
    connection = connect(path)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -256")  # what it reads it reads once
    return connection


@contextmanager
def writing(
    connection: sqlite3.Connection, *, meanwhile: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Run the block in one write transaction: all of it is kept, or nothing.

    ``meanwhile`` is called while another program holds the store; it returns whether it had
    anything to do. Raises StoreBusy where another program holds the store for too long.
    """
    _begin(connection, meanwhile)
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise busy_or_same(error) from error


def _begin(connection: sqlite3.Connection, meanwhile: Callable[[], bool] | None) -> None:
    """Take the lock for writing.

    SQLite's own waiting sleeps for up to 100 ms at a time. Beside a program that writes without
    pause it would hardly ever look in the moment between two transactions, which takes
    microseconds; so where naps don't help, we look without any, for as long as transactions take.
    """
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    spin_from = time.monotonic() + _NAP_FOR_S
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                why = busy_or_same(error)
                if not isinstance(why, StoreBusy) or time.monotonic() > until:
                    raise why from error
            else:
                return
            if meanwhile is not None and meanwhile():
                continue
            now = time.monotonic()
            if now < spin_from:
                time.sleep(_NAP_S)
            elif now > spin_from + _SPIN_FOR_S:
                spin_from = now + _NAP_FOR_S
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


@contextmanager
def silent(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep the triggers silent for the block, which runs inside a write transaction.

    The flag is never committed as set: no other connection ever sees it. A block within another
    leaves it set.
    """
    (before,) = connection.execute("SELECT flag FROM _sync_applying").fetchone()
    connection.execute("UPDATE _sync_applying SET flag = 1")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("UPDATE _sync_applying SET flag = ?", (before,))


@contextmanager
def lenient(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts that are no UTF-8 as bytes, where they would raise an error."""
    connection.text_factory = _text_or_bytes
    try:
        yield
    finally:
        connection.text_factory = str


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def busy_or_same(error: sqlite3.Error) -> Exception:
    """Return StoreBusy for the errors that pass when another program lets go; else the error."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"the store is held by another program: {error}")
    return error


def is_damage(error: BaseException) -> bool:
    """Return whether SQLite has found the file damaged: no further try will make it whole.

    A virtual table that says so of itself, as a full-text index of the plant's, is not the file.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    damage = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return damage and code != sqlite3.SQLITE_CORRUPT_VTAB


def is_passing(error: BaseException | None) -> bool:
    """Return whether another program holds the store, or its disk is full, which a status tells."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)


def current_catalog(connection: sqlite3.Connection) -> Catalog | None:
    """Return the catalogue that the business tables stand at; None in a new store."""
    row = connection.execute(
        "SELECT content FROM _sync_catalogue ORDER BY rowid DESC LIMIT 1"
    ).fetchone()
    return from_json(row[0]) if row else None

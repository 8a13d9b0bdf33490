"""Opens a site's store: creates or migrates it, and lets one agent at a time hold it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from edge.store import schema
from shared.catalog import Catalog, from_json
from shared.changes import GENESIS
from shared.errors import SchemaMismatch, StoreBusy, WrongSite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: How long a write waits for a program that holds the store, before StoreBusy.
BUSY_TIMEOUT_MS: Final = 10_000
#: What the agent keeps of the file in memory.
CACHE_KIB: Final = 16_384


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store: what every function of ``edge.store`` works on, from one thread."""

    path: Path
    connection: sqlite3.Connection
    catalog: Catalog
    site: str
    #: Table name -> its number in ``_sync_table``, for every table the store ever had.
    numbers: Mapping[str, int]
    #: Held while the agent runs; None for those who only look.
    lock: int | None = None


def open_for_agent(path: Path, catalog: Catalog, *, site: str, now_ms: int, host: str) -> Opened:
    """Open, create or migrate the store and hold it, so that no second agent can.

    Raises WrongSite where another agent holds it, or where it belongs to another site;
    SchemaMismatch where a newer release wrote it. Nothing is changed then.
    """
    lock = _lock(path)
    try:
        connection = connect(path)
        _create(connection, site=site, instance=instance_of(path, host))
        _check_site(connection, path, site)
        numbers = schema.bring_to(connection, catalog, site=site, now_ms=now_ms)
    except BaseException:
        os.close(lock)
        raise
    return Opened(path, connection, catalog, site, numbers, lock)


def open_to_look(path: Path) -> Opened:
    """Open an existing store beside a running agent, under the catalogue it was built from."""
    if not path.is_file():
        message = f"{path} does not exist; `mes-edge init` makes it"
        raise SchemaMismatch(message)
    connection = connect(path)
    if not _has_bookkeeping(connection):
        message = f"{path} is not a store of mes-sync; `mes-edge init` makes it one"
        raise SchemaMismatch(message)
    (site,) = connection.execute("SELECT site FROM _sync_site").fetchone()
    catalog = current_catalog(connection)
    assert catalog is not None, "bookkeeping and catalogue are made in one transaction"
    return Opened(path, connection, catalog, site, schema.numbers(connection))


def close(opened: Opened) -> None:
    """Close the store and let go of it."""
    opened.connection.close()
    if opened.lock is not None:
        os.close(opened.lock)


def instance_of(path: Path, host: str) -> str:
    """Return what tells a copied file from the one it was copied from."""
    return f"{host}:{path.resolve()}"


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection set up as ours are: WAL, FULL, explicit transactions.

    Foreign keys are not enforced here: what the centre decided is applied as it comes, and a
    programs' reference to a row that is gone must not stop it.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA recursive_triggers = OFF")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction: all of it is kept, or nothing.

    Raises StoreBusy where another program holds the store for too long.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise busy_or_same(error) from error
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise busy_or_same(error) from error


@contextmanager
def silent(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep the triggers silent for the block, which runs inside a write transaction.

    The flag is never committed as set: no other connection ever sees it.
    """
    connection.execute("UPDATE _sync_applying SET flag = 1")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("UPDATE _sync_applying SET flag = 0")


def busy_or_same(error: sqlite3.Error) -> Exception:
    """Return StoreBusy for the errors that pass when another program lets go; else the error."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"the store is held by another program: {error}")
    return error


def current_catalog(connection: sqlite3.Connection) -> Catalog | None:
    """Return the catalogue that the business tables stand at; None in a new store."""
    row = connection.execute(
        "SELECT content FROM _sync_catalogue ORDER BY applied_at_ms DESC, rowid DESC LIMIT 1"
    ).fetchone()
    return from_json(row[0]) if row else None


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + "-agent.lock"), os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        message = f"another agent holds {path}; stop it first"
        raise WrongSite(message) from error
    return lock


def _has_bookkeeping(connection: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_schema WHERE name = '_sync_site'"
    return bool(connection.execute(query).fetchone()[0])


def _steps() -> list[tuple[int, str]]:
    """Return the numbered migrations of our own tables, in order."""
    folder = files("edge") / "migrations"
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    return [(int(name[:4]), (folder / name).read_text(encoding="utf-8")) for name in names]


def _create(connection: sqlite3.Connection, *, site: str, instance: str) -> None:
    """Bring the bookkeeping tables up to this release."""
    steps = _steps()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > steps[-1][0] and _has_bookkeeping(connection):
        message = f"the store has bookkeeping {found}, this release {steps[-1][0]}; upgrade it"
        raise SchemaMismatch(message)
    if found == steps[-1][0]:
        return
    with writing(connection):
        new = not _has_bookkeeping(connection)
        for number, text in steps:
            if new or number > found:
                for statement in schema.statements(text):
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {steps[-1][0]}")
        if new:
            connection.execute(
                "INSERT INTO _sync_site (one, site, instance, epoch, last_hash, own_hash,"
                " shared_hash) VALUES (1, ?, ?, ?, ?, ?, ?)",
                (site, instance, str(uuid4()), GENESIS, GENESIS, GENESIS),
            )


def _check_site(connection: sqlite3.Connection, path: Path, site: str) -> None:
    (owner,) = connection.execute("SELECT site FROM _sync_site").fetchone()
    if owner != site:
        message = f"{path} belongs to site {owner}, not to {site}"
        raise WrongSite(message)

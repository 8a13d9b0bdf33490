"""Opens a site's store: creates or migrates it, and lets one agent at a time hold it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from random import SystemRandom
from typing import TYPE_CHECKING, Final

from edge.store import migrate, schema
from edge.store.ids import uuid7
from edge.store.open import Opened, connect, current_catalog, writing
from shared.changes import GENESIS
from shared.errors import SchemaMismatch, WrongSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from shared.catalog import Catalog

#: How often a lock that is taken is asked for, and how long between.
_LOCK_TRIES: Final = 5
_LOCK_PAUSE_S: Final = 0.02


def open_for_agent(
    path: Path,
    catalog: Catalog,
    *,
    site: str,
    now_ms: int,
    host: str,
    chance: Random | None = None,
) -> Opened:
    """Open, create or migrate the store and hold it, so that no second agent can.

    Raises WrongSite where another agent holds it, or where it belongs to another site;
    SchemaMismatch where a newer release wrote it, CatalogError where the catalogue would lose
    something. Nothing is changed then. Where the file was copied from elsewhere, its position says
    so in ``stopped_because``.
    """
    lock = _lock(path)
    try:
        opened = make(path, catalog, site=site, now_ms=now_ms, host=host, chance=chance)
    except BaseException:
        os.close(lock)
        raise
    return replace(opened, lock=lock)


def make(
    path: Path,
    catalog: Catalog,
    *,
    site: str,
    now_ms: int,
    host: str,
    chance: Random | None = None,
) -> Opened:
    """Do the same without holding the store."""
    chance = chance or SystemRandom()
    connection = connect(path)
    try:
        bookkeeping(
            connection, site=site, instance=instance_of(path, host), epoch=uuid7(now_ms, chance)
        )
        _check_owner(connection, path, site=site, instance=instance_of(path, host))
        return migrate.bring_to(path, connection, catalog, now_ms=now_ms, chance=chance)
    except BaseException:
        connection.close()
        raise


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a store, and since when."""

    site: str
    host: str
    now_ms: int


@contextmanager
def holding(path: Path, owner: Owner) -> Iterator[sqlite3.Connection]:
    """Hold a database as its agent would, with our bookkeeping in it, but no table of ours."""
    lock = _lock(path)
    try:
        with closing(connect(path)) as connection:
            instance = instance_of(path, owner.host)
            epoch = uuid7(owner.now_ms, SystemRandom())
            bookkeeping(connection, site=owner.site, instance=instance, epoch=epoch)
            _check_owner(connection, path, site=owner.site, instance=instance)
            yield connection
    finally:
        os.close(lock)


def open_to_look(path: Path) -> Opened:
    """Open an existing store beside a running agent, under the catalogue it was built from.

    Raises SchemaMismatch where there is no store; a file of somebody else is left as it is.
    """
    if not path.is_file():
        message = f"{path} does not exist; `mes-edge init` makes it"
        raise SchemaMismatch(message)
    if not _is_store(path):
        message = f"{path} is not a store of mes-sync; `mes-edge init` makes it one"
        raise SchemaMismatch(message)
    connection = connect(path)
    catalog = current_catalog(connection)
    if catalog is None:
        connection.close()
        message = f"{path} was never finished; `mes-edge init` goes on with it"
        raise SchemaMismatch(message)
    return migrate.describe(path, connection, catalog, chance=SystemRandom())


def _is_store(path: Path) -> bool:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return has_bookkeeping(connection)
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()


def close(opened: Opened) -> None:
    """Close the store and let go of it."""
    opened.reading.close()
    opened.connection.close()
    if opened.lock is not None:
        os.close(opened.lock)


def instance_of(path: Path, host: str) -> str:
    """Return what tells a copied file from the one it was copied from."""
    return f"{host}:{path.resolve()}"


def accept_instance(opened: Opened, host: str) -> None:
    """Take the file as moved, not copied: a person has said that the other one is gone."""
    with writing(opened.connection):
        opened.connection.execute(
            "UPDATE _sync_site SET moved_from = CASE instance WHEN :here THEN moved_from"
            " ELSE instance END, instance = :here, stopped_because = NULL",
            {"here": instance_of(opened.path, host)},
        )


def has_bookkeeping(connection: sqlite3.Connection) -> bool:
    """Return whether the file is a store of ours."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = '_sync_site'"
    return bool(connection.execute(query).fetchone()[0])


def bookkeeping(connection: sqlite3.Connection, *, site: str, instance: str, epoch: str) -> None:
    """Bring our own tables up to this release; in a new store, make them."""
    steps = _steps()
    newest = steps[-1][0]
    new = not has_bookkeeping(connection)
    (found,) = (0,) if new else connection.execute("PRAGMA user_version").fetchone()
    if found > newest:
        message = f"the store has bookkeeping {found}, this release {newest}; upgrade the program"
        raise SchemaMismatch(message)
    if found == newest:
        return
    with writing(connection):
        for number, text in steps:
            if number > found:
                for statement in schema.statements(text):
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        if new:
            connection.execute(
                "INSERT INTO _sync_site (one, site, instance, epoch, last_hash, own_hash,"
                " shared_hash) VALUES (1, ?, ?, ?, ?, ?, ?)",
                (site, instance, epoch, GENESIS, GENESIS, GENESIS),
            )


def _steps() -> list[tuple[int, str]]:
    """Return the numbered migrations of our own tables, in order."""
    folder = files("edge") / "migrations"
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    return [(int(name[:4]), (folder / name).read_text(encoding="utf-8")) for name in names]


def _lock(path: Path) -> int:
    """Hold the store. A status command looks at the lock for a moment; an agent keeps it."""
    path = path.resolve()  # whatever link it is called by, it is one store
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + "-agent.lock"), os.O_RDWR | os.O_CREAT, 0o640)
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not tries_left:
                os.close(lock)
                message = f"another agent holds {path}; stop it first"
                raise WrongSite(message) from error
            time.sleep(_LOCK_PAUSE_S)
        else:
            break
    return lock


def _check_owner(connection: sqlite3.Connection, path: Path, *, site: str, instance: str) -> None:
    owner, made_as = connection.execute("SELECT site, instance FROM _sync_site").fetchone()
    if owner != site:
        message = f"{path} belongs to site {owner}, not to {site}"
        raise WrongSite(message)
    if made_as != instance:
        why = (
            f"the file was {made_as} and is now {instance}: if it was moved, run `mes-edge moved`;"
            " if it was copied, use the original"
        )
        with writing(connection):
            connection.execute("UPDATE _sync_site SET stopped_because = ?", (why,))

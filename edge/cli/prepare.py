"""``mes-edge init``, ``migrate`` and ``moved``: make a store, bring it to this release, own it."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits, given, look
from edge.store import setup
from shared.errors import BadSetting, WrongSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.settings import EdgeSettings
    from shared.catalog import Catalog

_OPTIONS: Final = ("site", "store", "catalogue_dirs")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a store is built from; all empty where there is none."""

    site: str = ""
    bookkeeping: int = 0
    version: int = 0
    digest: str = ""
    tables: tuple[str, ...] = ()


@click.command()
@given.settings_options(*_OPTIONS)
@look.as_json
def init(*, json_wanted: bool, **options: str | None) -> int:
    """Make the site's store, or bring the one that is there to this release and catalogue.

    Does nothing where nothing is left to do, also while the agent runs.
    """
    return _prepare(given.settings(**options), json_wanted=json_wanted)


@click.command()
@given.settings_options(*_OPTIONS)
@look.as_json
def migrate(*, json_wanted: bool, **options: str | None) -> int:
    """Bring an existing store to this release and catalogue; the agent must be stopped."""
    settings = given.settings(**options)
    if not settings.store.exists():
        raise BadSetting(f"{settings.store} does not exist; `mes-edge init` makes it")
    return _prepare(settings, json_wanted=json_wanted)


@click.command()
@given.settings_options("site", "store", "catalogue_dirs")
def moved(**options: str | None) -> int:
    """Say that the store was moved to this place, and that nothing uses the old copy any more.

    Two live copies of one store would each claim the same numbers: only run this on one of them.
    """
    settings = given.settings(**options)
    if not settings.store.exists():
        raise BadSetting(f"{settings.store} does not exist; name the store by --store")
    with contextlib.closing(_Held(settings, given.catalogue(settings))) as held:
        setup.accept_instance(held.opened, socket.gethostname())
    look.say(f"{settings.store} is the store of site {settings.site} from now on; start its agent")
    return exits.OK


class _Held:
    """A store that no agent can hold at the same time."""

    def __init__(self, settings: EdgeSettings, catalog: Catalog) -> None:
        self.opened = setup.open_for_agent(
            settings.store,
            catalog,
            site=settings.site,
            now_ms=given.now_ms(),
            host=socket.gethostname(),
        )

    def close(self) -> None:
        setup.close(self.opened)


def _prepare(settings: EdgeSettings, *, json_wanted: bool) -> int:
    catalog = given.catalogue(settings)
    before = _standing(settings.store)
    try:
        _Held(settings, catalog).close()
    except WrongSite:
        # Held by its agent, which has brought it to the same catalogue: nothing is left to do.
        if (before.site, before.digest) != (settings.site, catalog.digest):
            raise
    _tell(settings.store, before, _standing(settings.store), json_wanted=json_wanted)
    return exits.OK


def _standing(path: Path) -> Standing:
    """Return what the store is built from, without changing it."""
    if not path.is_file():
        return Standing()
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        if not setup.has_bookkeeping(db):
            return Standing()
        (site,) = db.execute("SELECT site FROM _sync_site").fetchone()
        (bookkeeping,) = db.execute("PRAGMA user_version").fetchone()
        latest = db.execute(
            "SELECT version, digest FROM _sync_catalogue ORDER BY rowid DESC LIMIT 1"
        ).fetchone()
        tables = tuple(name for (name,) in db.execute("SELECT name FROM _sync_table ORDER BY name"))
    version, digest = latest or (0, "")
    return Standing(site, bookkeeping, version, digest, tables)


def _tell(path: Path, before: Standing, after: Standing, *, json_wanted: bool) -> None:
    done = list(_done(path, before, after))
    if json_wanted:
        document: dict[str, Any] = {"schema": "mes-edge.init/v1", "store": str(path), "done": done}
        look.say_json(document | asdict(after))
        return
    for line in done or [f"{path} is up to date: nothing to do"]:
        look.say(line)
    look.say(f"site {after.site}, catalogue {after.version}, {len(after.tables)} tables")


def _done(path: Path, before: Standing, after: Standing) -> Iterator[str]:
    """Yield what was done, in words."""
    if not before.site:
        yield f"made {path}, the store of site {after.site}"
    elif before.bookkeeping != after.bookkeeping:
        yield f"migrated the bookkeeping from {before.bookkeeping} to {after.bookkeeping}"
    fresh = [name for name in after.tables if name not in before.tables]
    if before.site and fresh:
        yield f"made the tables {', '.join(fresh)}"
    if before.site and before.digest != after.digest:
        yield f"brought the catalogue from version {before.version} to {after.version}"

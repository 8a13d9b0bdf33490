"""``mes-edge version``."""

from __future__ import annotations

import platform
import sqlite3
from pathlib import Path

import click

from edge.agent import VERSION
from edge.cli import exits, look
from edge.conflicts import catalogue_of
from edge.status import looking
from shared.catalog_file import load_catalog
from sync.codec import WIRE_VERSION


@click.command()
@click.option("--store", "-s", envvar="MES_STORE", type=click.Path(path_type=Path), metavar="FILE",
              help="A store, to tell what it was made by; also MES_STORE.")  # fmt: skip
@look.as_json
def version(*, store: Path | None, json_wanted: bool) -> int:
    """Print the release, what it runs on, and which catalogue a store stands at."""
    packaged = load_catalog()
    found: dict[str, object] = {
        "release": VERSION,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "wire": WIRE_VERSION,
        "catalogue": packaged.version,
    }
    if store is not None and store.exists():
        with looking(store) as connection:
            found["store"] = str(store)
            found["store_catalogue"] = catalogue_of(connection).version
    if json_wanted:
        look.say_json({"schema": "mes-edge.version/v1", **found})
        return exits.OK
    look.say(f"mes-sync {VERSION}")
    for name, value in found.items():
        if name != "release":
            look.say(f"  {name.replace('_', ' '):<16}{value}")
    return exits.OK

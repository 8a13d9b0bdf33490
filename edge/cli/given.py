"""What a command is given: options and the environment, and what is made of them."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.settings import EdgeSettings
from shared.errors import SyncError
from shared.settings import WHERE, read_settings, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.catalog import Catalog

    Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)

#: The store to look at; it need not be writable.
store_option = click.option(
    "--store", "-s", envvar="MES_STORE", required=True, type=_FILE, metavar="FILE",
    help="The SQLite file of the site; also MES_STORE.",
)  # fmt: skip


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each of these settings, all where none is named.

    What is not given on the command line stands in the environment.
    """
    chosen = [each for each in fields(EdgeSettings) if not names or each.name in names]

    def decorate(command: Command) -> Command:
        for each in reversed(chosen):
            flag = f"--{each.name.replace('_', '-')}"
            text = f"{each.metadata['help']}; also {variable(each.name)}"
            command = click.option(flag, each.name, metavar="TEXT", help=text)(command)
        return command

    return decorate


def settings(**given: str | None) -> EdgeSettings:
    """Return the settings; options go before the environment.

    Raises BadSetting that names every variable that is missing or can't be read.
    """
    options = {variable(name): text for name, text in given.items() if text is not None}
    where = f"by option (MES_STORE: --store), {WHERE}"
    return read_settings(EdgeSettings, {**os.environ, **options}, where=where)


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def catalogue(read: EdgeSettings) -> Catalog:
    """Return the catalogue of the packaged and the plant's own files."""
    from shared.catalog_file import load_catalog

    return load_catalog(*read.catalogue_dirs)


# --- completion of words by the shell; what can't be looked up is simply not offered ------------


def complete_table(ctx: click.Context, param: click.Parameter, start: str) -> list[str]:
    """Return the tables of the store that begin so."""
    del param
    from edge.conflicts import catalogue_of

    with _looked(ctx) as connection:
        tables = catalogue_of(connection).tables if connection else ()
        return [table.name for table in tables if table.name.startswith(start)]


def complete_conflict(ctx: click.Context, param: click.Parameter, start: str) -> list[Any]:
    """Return the conflicts that wait for a person and whose short name begins so."""
    del param
    from click.shell_completion import CompletionItem

    from edge.conflicts import catalogue_of, read_conflicts

    with _looked(ctx) as connection:
        if connection is None:
            return []
        found = read_conflicts(connection, catalogue_of(connection), state="open", limit=50)
        return [
            CompletionItem(each.short, help=f"{each.table} {each.key or each.row_id} {each.group}")
            for each in found
            if each.short.startswith(start)
        ]


@contextmanager
def _looked(ctx: click.Context) -> Iterator[sqlite3.Connection | None]:
    from edge.status import looking

    store = ctx.params.get("store") or os.environ.get("MES_STORE")
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(looking(Path(store or "")))
        except (SyncError, OSError, sqlite3.Error):
            connection = None
        yield connection

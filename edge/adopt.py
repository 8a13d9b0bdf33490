"""Adopts a table that a plant had before: it stays where it is and replicates from now on.

Its rows get the common columns, its changes a log, and every row that is there is queued as an
insert, exactly once, however often this is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from edge.store import adoption, setup
from edge.store.open import writing
from shared.errors import BadSetting, SchemaMismatch, UnknownTable

if TYPE_CHECKING:
    from pathlib import Path

    from edge.store.setup import Owner
    from shared.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of a table."""

    table: str
    #: Columns that it lacked.
    added: tuple[str, ...] = ()
    #: Rows that were there and go to the centre with the next drain; 0 where it was adopted before.
    queued: int = 0
    #: What the catalogue does not allow in them, in words. They travel, and the centre parks them.
    problems: tuple[str, ...] = ()


def adopt(
    path: Path, table: str, catalog: Catalog, owner: Owner, *, created_from: str | None = None,
    zone: str | None = None,
) -> Adopted:  # fmt: skip
    """Adopt a table of the database at ``path``, which becomes the site's store if it is none yet.

    ``created_from`` names the column that says when a row was made; without it, that is now. Times
    that name no zone are of ``zone``. A created_at that the table has stays as its programs write
    it. All of it happens, or nothing. Raises UnknownTable where the catalogue does not declare the
    table (the message holds a draft of its declaration), SchemaMismatch where it can't be adopted
    as it is, BadSetting where there is no such zone, WrongSite where an agent holds the store.
    """
    if not path.is_file():
        raise SchemaMismatch(f"{path} does not exist; name the database that holds the table")
    _check_zone(zone)
    table = table if table in catalog else table.lower()  # SQLite tells no case of names apart
    with setup.holding(path, owner) as connection:
        there = adoption.state(connection, table)
        if there == "missing":
            message = f"{path} has no table {table}"
            raise SchemaMismatch(message)
        if table not in catalog:
            message = (
                f"the catalogue has no table {table}; complete this draft and put it into a folder"
                f" of the catalogue:\n\n{adoption.draft(connection, table)}"
            )
            raise UnknownTable(message)
        if there != "theirs":
            return Adopted(table)
        with writing(connection):
            added, queued = adoption.take_in(
                connection,
                catalog.table(table),
                catalog,
                site=owner.site,
                created_from=created_from,
                zone=zone,
            )
        problems = adoption.problems(connection, catalog.table(table))
    return Adopted(table, tuple(added), queued, tuple(problems))


def _check_zone(zone: str | None) -> None:
    if zone is not None and zone not in available_timezones():
        message = f"--zone: {zone} is no time zone; Europe/Berlin is one, UTC another"
        raise BadSetting(message)

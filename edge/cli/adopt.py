"""``mes-edge adopt``: a table that the plant had before replicates from now on."""

from __future__ import annotations

import socket
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge.adopt import Adopted
from edge.adopt import adopt as take_in
from edge.cli import exits, given, look
from edge.store.setup import Owner
from shared.look import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBLEMS_SHOWN: Final = 20


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--table", required=True, help="The table, as file and catalogue call it.")
@click.option("--created-from", metavar="COLUMN",
              help="Column that tells when a row was made; else now.")  # fmt: skip
@click.option("--zone", help="Zone of such times, and of created_at, that name none: Europe/Berlin")
@given.settings_options("site", "catalogue_dirs")
@look.as_json
def adopt(
    *, file: Path, table: str, created_from: str | None, zone: str | None, json_wanted: bool,
    **options: str | None,
) -> int:  # fmt: skip
    """Let a table of FILE replicate; FILE becomes the site's store if it is none yet.

    The table stays where it is, with its rows, and programs go on using it. It gets the columns
    id, site_id and created_at, as far as it lacks them, and every row goes to the centre, once. A
    created_at of its own stays as its programs write it. The agent must be stopped.
    """
    settings = given.settings(**options, store=str(file))
    owner = Owner(site=settings.site, host=socket.gethostname(), now_ms=given.now_ms())
    catalog = given.catalogue(settings)
    adopted = take_in(file, table, catalog, owner, created_from=created_from, zone=zone)
    if json_wanted:
        look.say_json({"schema": "mes-edge.adopt/v1", "store": str(file), **asdict(adopted)})
        return exits.OK
    for line in _said(file, adopted):
        look.say(line)
    return exits.OK


def _said(file: Path, adopted: Adopted) -> Iterator[str]:
    if not adopted.queued and not adopted.added and not adopted.problems:
        yield f"{adopted.table} of {file} replicates already: nothing to do"
        return
    rows = counted(adopted.queued, "row goes", "rows go")
    yield f"{adopted.table} of {file} replicates: {rows} to the centre"
    if adopted.added:
        yield f"  new columns  {', '.join(adopted.added)}"
    for problem in adopted.problems[:_PROBLEMS_SHOWN]:
        yield f"  will be parked at the centre: {look.short(problem, look.COLUMNS - 32)}"
    more = len(adopted.problems) - _PROBLEMS_SHOWN
    if more > 0:
        yield f"  and {counted(more, 'more problem', 'more problems')}"

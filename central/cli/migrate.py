"""``mes-central migrate``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central.cli import exits
from central.cli.given import admin_url, catalogue, settings
from central.cli.look import as_json, say, say_json
from shared.errors import BadSetting
from shared.given import read_environment

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the steps and do none of them.")
@click.option(
    "--passwords", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with a line role=password for each role that shall have one; mode 0600.",
)  # fmt: skip
@as_json
def migrate(passwords: Path | None, *, dry_run: bool, json_wanted: bool) -> int:
    """Bring the database of MES_ADMIN_URL to this release and catalogue.

    All in one transaction; run a second time it does nothing. Sites and old agents go on meanwhile.
    """
    from central.migrate import migrate as bring_up

    read = settings()
    given = read_passwords(passwords) if passwords else {}
    catalog = catalogue(read)
    steps = asyncio.run(bring_up(admin_url(read), catalog, (), dry_run=dry_run, passwords=given))
    if json_wanted:
        say_json({"schema": "mes-central.migrate/v1", "dry_run": dry_run, "steps": steps})
        return exits.OK
    for step in steps:
        say(f"  {step}")
    done = "would be done" if dry_run else "done"
    say(f"{len(steps)} steps {done}" if steps else "nothing to do: the database is up to date")
    return exits.OK


def read_passwords(path: Path) -> Mapping[str, str]:
    """Return the passwords of a file that nobody else can read; raise BadSetting otherwise."""
    if path.stat().st_mode & 0o077:
        raise BadSetting(f"{path} holds passwords and is open to others; run `chmod 600 {path}`")
    return read_environment(path.read_text(encoding="utf-8"), str(path))

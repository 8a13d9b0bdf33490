"""``mes-sync events``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge.cli import exits, given, look
from edge.status import looking

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@given.store_option
@click.option("--code", help="Only this code.")
@click.option("--limit", default=50, show_default=True, help="At most so many.")
@look.as_json
def events(*, store: Path, code: str | None, limit: int, json_wanted: bool) -> int:
    """List what an operator should know of, latest last; `mes-sync explain CODE` tells more."""
    with looking(store) as connection:
        rows = connection.execute(
            "SELECT at_ms, code, message FROM _sync_event WHERE ?1 IS NULL OR code = ?1"
            " ORDER BY no DESC LIMIT ?2",
            (code, limit),
        ).fetchall()
    rows.reverse()
    if json_wanted:
        found = [{"at_ms": at, "code": name, "message": message} for at, name, message in rows]
        look.say_json({"schema": "mes-sync.events/v1", "events": found})
        return exits.OK
    for at_ms, name, message in rows:
        look.say(f"{look.local(at_ms)}  {name:<20}  {message}")
    if not rows:
        look.say("no events")
    return exits.OK

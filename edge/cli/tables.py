"""``tables`` of both commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits, given, look
from edge.conflicts import catalogue_of
from edge.status import count_rows, looking, undrained_rows

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTIONS: Final = {"up": "to the centre", "down": "from the centre", "both": "both ways"}


@click.command()
@given.store_option
@click.option("--filled", is_flag=True, help="Only tables that hold rows.")
@look.as_json
def tables(*, store: Path, filled: bool, json_wanted: bool) -> int:
    """List the tables: which way their rows go, how many there are, and what waits.

    WAITING counts rows with writes that the centre has not decided on; NOT TAKEN UP counts changes
    that the agent has not packed yet.
    """
    found = [each for each in _tables(store) if each["rows"] or not filled]
    if json_wanted:
        look.say_json({"schema": "mes-sync.tables/v1", "tables": found})
        return exits.OK
    rows = [
        (
            each["table"],
            _DIRECTIONS[each["direction"]],
            "facts" if each["append_only"] else "state",
            each["rows"],
            each["waiting"],
            each["not_taken_up"],
        )
        for each in found
    ]
    titles = ("TABLE", "DIRECTION", "KIND", "ROWS", "WAITING", "NOT TAKEN UP")
    for line in look.table(titles, rows):
        look.say(line)
    return exits.OK


def _tables(store: Path) -> list[dict[str, Any]]:
    with looking(store) as connection:
        rows, fresh = count_rows(connection), undrained_rows(connection)
        return [
            {
                "table": table.name,
                "direction": table.direction.value,
                "append_only": table.append_only,
                "rows": rows[table.name].rows,
                "waiting": rows[table.name].waiting,
                "not_taken_up": fresh.get(table.name, (0, None))[0],
                "help": table.help,
            }
            for table in catalogue_of(connection).tables
            if table.name in rows
        ]

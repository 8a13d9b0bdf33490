"""``mes-central``: the commands of the centre. Each module is loaded when its command is called."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from central.cli import exits
from shared import frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import NoReturn

NAME: Final = "mes-central"

#: Command, the module in this package that holds it under that name, and what it does.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "status": ("status", "All sites, worst first: link, backlog, feed, reviews, parked rows."),
    "conflicts": ("conflicts", "What two sides wrote at once; decide where a person has to."),
    "parked": ("parked", "Rows that could not be applied: look, try again, give up."),
    "refused": ("parked", "Messages that nobody could read."),
    "verify": ("verify", "Have a site compare its store with the centre; repair what differs."),
    "report": ("report", "Answer a question on production; without a name, list them."),
    "run": ("run", "Run the centre: the feed here, the ingest in processes of its own."),
    "ingest": ("run", "Run one ingest process."),
    "feed": ("run", "Run the feed process."),
    "api": ("run", "Run the API alone, beside those of the feed process."),
    "migrate": ("migrate", "Bring the database to this release and catalogue."),
    "backup": ("backup", "Tell which backups the centre may be restored from."),
    "restores": ("restores", "Who went back to an older copy of itself, and what came of it."),
    "withheld": ("withheld", "What sites told after a restore of rows of others; take it or not."),
    "sites": ("sites", "Register sites, list them, let a stopped one go on."),
    "readers": ("readers", "Logins that read by plain SQL, each of its sites only."),
    "api-keys": ("api_keys", "Keys by which programs ask the API, and what each may."),
    "audit": ("audit", "Who read and changed what over the API."),
    "partitions": ("partitions", "How the tables are split, and how large the parts are."),
    "rollups": ("rollups", "Hold the sums that reports are made of against the facts."),
    "keys": ("keys", "Make keys and credentials; print the broker's configuration."),
    "streams": ("streams", "Compare the broker's streams with what they must be, and mend them."),
    "catalogue": ("catalogue", "Check the catalogue's files, show its tables."),
    "explain": ("explain", "What a code such as MES-AWAY means, and what to do."),
    "completion": ("completion", "Print the completion script of a shell."),
}


@click.command(
    cls=frame.Commands,
    package="central.cli",
    index=COMMANDS,
    context_settings=frame.CONTEXT,
    epilog="Exit codes: 0 ok, 1 failed, 2 critical (status), 64 usage, 69 unreachable,"
    " 75 try later, 77 not allowed.",
)
@frame.env_file_option
def mes_central(env_file: Path | None) -> None:
    """Run and look after the centre. Settings are MES_... variables; docs/operations.md."""
    if env_file is not None:
        from central.cli.given import load_environment

        load_environment(env_file)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    return frame.run(
        mes_central, NAME, arguments, verdict_on=exits.verdict_on,
        colours=not os.environ.get("NO_COLOR"),
    )  # fmt: skip


def main() -> NoReturn:
    """Run what the command line asks for."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

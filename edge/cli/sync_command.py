"""``mes-sync``: how a site's sync is doing, and what a person has to decide.

Works when the agent is down and the centre is away: it reads the store, and what the agent left.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from edge.cli.frame import load_environment, run
from shared.frame import CONTEXT, Commands, env_file_option

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

NAME: Final = "mes-sync"

#: Command, the module in this package that holds it under that name, and what it does.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "status": ("status", "Is all well? A verdict in words, why, and what to type next."),
    "check": ("check", "The same for monitoring: one line for Nagios or Checkmk."),
    "conflicts": ("conflicts", "What two sides wrote at once; decide where a person has to."),
    "parked": ("parked", "Rows that could not be applied, and why."),
    "verify": ("verify", "Compare the store with the centre; repair the rows that differ."),
    "events": ("events", "What an operator should know of: clamps, refusals, resyncs."),
    "tables": ("tables", "Tables of the catalogue: direction, rows, what waits to be sent."),
    "explain": ("explain", "What a code such as MES-BACKLOG-OLD means, and what to do."),
    "completion": ("completion", "Print the completion script of a shell."),
}


@click.command(
    cls=Commands,
    package="edge.cli",
    index=COMMANDS,
    context_settings=CONTEXT,
    epilog="Exit codes: 0 ok, 1 degraded or failed, 2 critical, 64 usage (3 under check),"
    " 75 try later, 77 not allowed.",
)
@env_file_option
def mes_sync(env_file: Path | None) -> None:
    """Look at a site's sync. The store is --store, or MES_STORE."""
    if env_file is not None:
        load_environment(env_file)


def main() -> NoReturn:
    """Run what the command line asks for."""
    sys.exit(run(mes_sync, NAME, sys.argv[1:]))


if __name__ == "__main__":
    main()

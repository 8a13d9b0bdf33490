"""``mes-edge``: the commands of a site's agent and store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from edge.cli.frame import load_environment, run
from shared.frame import CONTEXT, Commands, env_file_option

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

NAME: Final = "mes-edge"

#: Command, the module in this package that holds it under that name, and what it does.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("run", "Run the agent: keep the store in step with the centre."),
    "init": ("prepare", "Make the store, or bring it to this release and catalogue."),
    "migrate": ("prepare", "Bring an existing store to this release and catalogue."),
    "moved": ("prepare", "Say that the store was moved here, and the old copy is gone."),
    "adopt": ("adopt", "Replicate a table that the plant already has in its SQLite file."),
    "import": ("load", "Import a CSV file by a map, exactly once."),
    "bandwidth": ("bandwidth", "Limit what the agent takes of the line, also while it runs."),
    "tables": ("tables", "Tables of the catalogue: direction, rows, what waits to be sent."),
    "version": ("release", "Print the release, and what the store was made by."),
    "completion": ("completion", "Print the completion script of a shell."),
}


@click.command(
    cls=Commands,
    package="edge.cli",
    index=COMMANDS,
    context_settings=CONTEXT,
    epilog="Exit codes: 0 ok, 1 failed, 64 usage, 65 lines rejected, 69 unreachable,"
    " 75 try later, 77 not allowed.",
)
@env_file_option
def mes_edge(env_file: Path | None) -> None:
    """Run and look after one site. Settings are MES_… variables; deploy/edge.env.example."""
    if env_file is not None:
        load_environment(env_file)


def main() -> NoReturn:
    """Run what the command line asks for."""
    sys.exit(run(mes_edge, NAME, sys.argv[1:]))


if __name__ == "__main__":
    main()

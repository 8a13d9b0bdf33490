"""What both commands of a site have in common: their package, their exit codes, the settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge.cli import exits
from shared import frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import click


def load_environment(path: Path) -> None:
    """Take the variables of a file like ``deploy/edge.env.example``; set ones are kept."""
    from shared.given import read_environment

    for name, value in read_environment(path.read_text(encoding="utf-8"), str(path)).items():
        os.environ.setdefault(name, value)


def run(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; ``check`` has one of its own for wrong usage."""
    usage = exits.UNKNOWN if "check" in arguments[:3] else exits.USAGE
    return frame.run(
        command, name, arguments, verdict_on=exits.verdict_on, usage=usage,
        colours=not os.environ.get("NO_COLOR"),
    )  # fmt: skip

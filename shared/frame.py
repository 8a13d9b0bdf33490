"""How a program of many commands runs: each loaded when called, errors told in words."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shared.exits import INTERRUPTED, OK, USAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    #: Exit code and message of an error that an operator can do something about; None of another.
    VerdictOn = Callable[[BaseException], tuple[int, str] | None]

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

env_file_option = click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with MES_… settings, such as the one of the system unit.",
)


class Commands(click.Group):
    """Commands that are loaded when they are asked for: ``--help`` needs none of them."""

    def __init__(
        self, *given: Any, package: str, index: Mapping[str, tuple[str, str]], **named: Any
    ) -> None:
        """Take the commands as name -> (module of the package, what it does)."""
        super().__init__(*given, **named)
        self.package, self.index = package, index

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, most used first."""
        del ctx
        return list(self.index)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        del ctx
        if cmd_name not in self.index:
            return None
        module = importlib.import_module(f"{self.package}.{self.index[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        # A trailing underscore where the name is a word of Python's.
        found: click.Command = getattr(module, name, None) or getattr(module, f"{name}_")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without loading anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.index.items()])


def run(
    command: click.Command, name: str, arguments: Sequence[str], *, verdict_on: VerdictOn,
    usage: int = USAGE, colours: bool = True,
) -> int:  # fmt: skip
    """Run a command and return its exit code; what went wrong is said on standard error.

    A command's own return value is its exit code. A pipe gets no colours in any case.
    """
    color = None if colours else False
    try:
        code = command.main(list(arguments), prog_name=name, standalone_mode=False, color=color)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return usage
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        found = verdict_on(error)
        if found is None:
            raise
        return _tell(name, *found, as_json="--json" in arguments)
    return code if isinstance(code, int) else OK


def _tell(name: str, code: int, message: str, *, as_json: bool) -> int:
    if as_json:
        error = {"schema": f"{name}.error/v1", "message": message, "exit_code": code}
        click.echo(json.dumps(error, ensure_ascii=False), err=True)
    else:
        click.echo(f"{name}: {message}", err=True)
    return code

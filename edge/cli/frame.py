"""What both commands of a site have in common: subcommands loaded when called, errors in words."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """Commands that are loaded when they are asked for: ``--help`` needs none of them."""

    def __init__(self, *given: Any, index: Mapping[str, tuple[str, str]], **named: Any) -> None:
        """Take the commands as name -> (module of ``edge.cli``, what it does)."""
        super().__init__(*given, **named)
        self.index = index

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, most used first."""
        del ctx
        return list(self.index)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        del ctx
        if cmd_name not in self.index:
            return None
        module = importlib.import_module(f"edge.cli.{self.index[cmd_name][0]}")
        # A trailing underscore where the name is a word of Python's.
        found: click.Command = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without loading anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.index.items()])


def run(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; what went wrong is said on standard error.

    A command's own return value is its exit code.
    """
    usage = exits.UNKNOWN if "check" in arguments[:3] else exits.USAGE
    color = False if os.environ.get("NO_COLOR") else None
    try:
        code = command.main(list(arguments), prog_name=name, standalone_mode=False, color=color)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return usage
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:
        found = exits.verdict_on(error)
        if found is None:
            raise
        return _tell(name, *found, as_json="--json" in arguments)
    return code if isinstance(code, int) else exits.OK


def _tell(name: str, code: int, message: str, *, as_json: bool) -> int:
    if as_json:
        module = importlib.import_module("json")
        error = {"schema": f"{name}.error/v1", "message": message, "exit_code": code}
        click.echo(module.dumps(error, ensure_ascii=False), err=True)
    else:
        click.echo(f"{name}: {message}", err=True)
    return code

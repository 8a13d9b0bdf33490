"""``completion`` of the commands: the script by which a shell completes them."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


def completion_of(name: str) -> click.Command:
    """Return the command ``completion``, whose help shows how a command of this name uses it."""

    @click.command(
        help="Print the script by which a shell completes the commands.\n\n"
        f"bash: {name} completion bash > /etc/bash_completion.d/{name}"
    )
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    @click.pass_context
    def completion(ctx: click.Context, shell: str) -> None:
        root = ctx.find_root()
        called = str(root.info_name)
        found = get_completion_class(shell)
        assert found is not None
        variable = f"_{called.replace('-', '_').upper()}_COMPLETE"
        click.echo(found(root.command, {}, called, variable).source())

    return completion

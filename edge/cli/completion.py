"""``completion`` of both commands: the script by which a shell completes them."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which a shell completes the commands.

    bash: mes-sync completion bash > /etc/bash_completion.d/mes-sync
    """
    root = ctx.find_root()
    name = str(root.info_name)
    found = get_completion_class(shell)
    assert found is not None
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    click.echo(found(root.command, {}, name, variable).source())

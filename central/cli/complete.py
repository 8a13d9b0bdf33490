"""Words that a shell is offered; what can't be looked up is simply not offered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from central.cli import exits
from central.cli.given import load_environment, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    from central.settings import CentralSettings


def words(
    ctx: click.Context, start: str, find: Callable[[CentralSettings], Iterable[str]]
) -> list[str]:
    """Return the words that begin so, of those that are found by the command's settings."""
    env_file = ctx.find_root().params.get("env_file")
    try:
        if env_file is not None:
            load_environment(env_file)
        return [word for word in find(settings()) if word.startswith(start)]
    except Exception as error:
        if exits.verdict_on(error) is None:
            raise
        return []


def complete_site(ctx: click.Context, param: click.Parameter, start: str) -> list[str]:
    """Return the registered sites that begin so."""
    del param
    return words(ctx, start, lambda read: asyncio.run(_registered(read)))


async def _registered(read: CentralSettings) -> list[str]:
    import psycopg

    from central.partitions import site_names

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        return await site_names(connection)

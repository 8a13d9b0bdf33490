"""``mes-sync verify``."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits, given, look
from edge.differences import document
from shared.compare_lines import Asked, Seat, is_equal, lines

if TYPE_CHECKING:
    from edge.differences import Report
    from edge.settings import EdgeSettings

_CONNECT_MAX_S: Final = 15.0
_SEAT: Final = Seat(
    command="mes-sync verify",
    title="HERE",
    here="here",
    moving="does the agent run?",
    aside="mes-sync parked list",
    parked="mes-sync parked list --all",
    history="mes-sync conflicts list --all",
)


@click.command()
@given.settings_options("store", "nats_servers", "nats_creds", "bytes_per_s_max")
@click.option("--table", "tables", multiple=True, shell_complete=given.complete_table,
              help="Only this table; may be given several times.")  # fmt: skip
@click.option("--repair", is_flag=True, help="Repair the rows that differ, and no others.")
@look.as_json
def verify(
    *, tables: tuple[str, ...], repair: bool, json_wanted: bool, **options: str | None
) -> int:
    """Compare the store with what the centre holds of this site, row by row where they differ.

    Both ends may write meanwhile, and the agent goes on. Exit code 0: no row differs; 1: some
    do, or not all could be looked at.

    With --repair the centre's rows are sent down, what only this site has is sent up, and whatever
    is overwritten here stands in the conflict history.
    """
    settings = _settings(options)
    report = document(asyncio.run(_verify(settings, tables, repair=repair)))
    if json_wanted:
        look.say_json(report)
    else:
        for line in lines(_SEAT, report, Asked(tables=tables, repair=repair)):
            look.say(line)
    return exits.OK if is_equal(report) else exits.FAILED


def _settings(options: dict[str, str | None]) -> EdgeSettings:
    """Return the settings; which site it is, the store says."""
    from edge.status import looking

    read = given.settings(site="-", **options)
    with looking(read.store) as connection:
        (site,) = connection.execute("SELECT site FROM _sync_site").fetchone()
    return given.settings(site=site, **options)


async def _verify(settings: EdgeSettings, tables: tuple[str, ...], *, repair: bool) -> Report:
    from edge.cli.run import link_settings
    from edge.compare import Order, compare
    from edge.store import EdgeStore
    from sync.transport import Link

    store = EdgeStore.look(settings.store)
    try:
        async with Link(link_settings(settings)) as link:
            await link.wait_connected(_CONNECT_MAX_S)
            order = Order(run=str(uuid.uuid4()), tables=tables, repair=repair)
            return await compare(store.opened, link, order, _write)
    finally:
        store.close()


async def _write(work: Any, *given_: Any) -> Any:
    return await asyncio.to_thread(work, *given_)

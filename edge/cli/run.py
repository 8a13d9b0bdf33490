"""``mes-edge run``: the agent as a process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from typing import TYPE_CHECKING, Final

import click
from prometheus_client import start_http_server

from edge.agent import VERSION, Agent
from edge.cli import exits, given
from edge.lanes import now_ms
from edge.store import EdgeStore
from shared.errors import BadSetting
from shared.observe import note, start_logging
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.settings import EdgeSettings

_log = logging.getLogger(__name__)

#: The centre's JetStream API as a site's account imports it.
SITE_PREFIX: Final = "hub.API"
#: Metrics are for this machine: whoever scrapes from afar goes through its exporter or a tunnel.
LOOPBACK: Final = "127.0.0.1"

#: New objects before Python looks for cycles among them.
_GARBAGE_MIN: Final = 50_000


@click.command()
@given.settings_options()
def run(**options: str | None) -> int:
    """Run the agent until it is told to stop (SIGTERM, Ctrl-C).

    It drains what was committed by then and exits with 0. Killed, it loses nothing: what it owes
    stands in the store.
    """
    settings = given.settings(**options)
    _check_credentials(settings)
    start_logging(settings.log_level)
    store = EdgeStore.open(
        settings.store,
        given.catalogue(settings),
        site=settings.site,
        now_ms=now_ms(),
        host=socket.gethostname(),
    )
    _collect_rarely()
    with contextlib.closing(store), _metrics(settings):
        return asyncio.run(_serve(settings, store))


def _collect_rarely() -> None:
    """Look for garbage in cycles less often: rows come in lists of thousands, and make none.

    Each of those lists would be looked through again and again, for a tenth of a drain's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_MIN, 20, 50)


def _check_credentials(settings: EdgeSettings) -> None:
    """Refuse credentials that can't be read: the link would try them for ever."""
    if settings.nats_creds is None:
        return
    try:
        settings.nats_creds.read_bytes()
    except OSError as error:
        raise BadSetting(f"MES_NATS_CREDS: {error}") from error


async def _serve(settings: EdgeSettings, store: EdgeStore) -> int:
    """Keep the store in step until a signal comes; raise what only a person can mend."""
    loop = asyncio.get_running_loop()
    async with Link(link_settings(settings)) as link:
        agent = asyncio.create_task(Agent(settings, store, link).run(), name="agent")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, agent, number)
        note(_log, "started", site=settings.site, store=str(settings.store), version=VERSION)
        with contextlib.suppress(asyncio.CancelledError):
            await agent
    note(_log, "stopped", site=settings.site)
    return exits.OK


def _stop(agent: asyncio.Task[None], number: signal.Signals) -> None:
    """Stop in good order; the same signal once more ends the process at once."""
    note(_log, "stopping", signal=number.name)
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(each)
    agent.cancel()


def link_settings(settings: EdgeSettings) -> LinkSettings:
    """Return how this site's agent reaches the broker."""
    return LinkSettings(
        servers=settings.nats_servers,
        name=settings.site,
        creds_file=settings.nats_creds,
        # Without credentials the broker has no accounts, and the API its own name.
        prefix=SITE_PREFIX if settings.nats_creds else "$JS.API",
        bytes_per_s_max=settings.bytes_per_s_max or None,
    )


@contextlib.contextmanager
def _metrics(settings: EdgeSettings) -> Iterator[None]:
    if not settings.metrics_port:
        yield
        return
    server, thread = start_http_server(settings.metrics_port, addr=LOOPBACK)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()

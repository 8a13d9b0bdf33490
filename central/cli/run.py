"""``mes-central run``, ``ingest`` and ``feed``: the centre's processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from central.cli import exits
from central.cli.given import catalogue, settings
from shared.errors import BadSetting
from shared.observe import note, start_logging

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from central.settings import CentralSettings
    from shared.catalog import Catalog

_log = logging.getLogger(__name__)

#: What a worker ends with where starting it again would mend nothing.
_REFUSALS: Final = (exits.USAGE, exits.NOT_ALLOWED)


@click.command()
@click.option("--workers", type=click.IntRange(0), help="Ingest processes; else MES_WORKERS.")
def run(workers: int | None) -> int:
    """Run the centre: the feed in this process, the ingest in MES_WORKERS processes of its own.

    A worker that dies is started again; all end together, on SIGTERM and on Ctrl-C in good order,
    and whatever becomes of this process. Metrics and API are on MES_API_PORT where it is set, those
    of the workers on the ports after it.
    """
    from central.workers import WorkerRefused, keep

    read = settings(workers=workers)
    catalog = catalogue(read)
    start_logging(read.log_level)
    try:
        return asyncio.run(
            _until_told(_feed(read, catalog), keep(_worker_commands(read), _REFUSALS))
        )
    except BaseExceptionGroup as errors:
        why = exits.first(errors)
        if isinstance(why, WorkerRefused):
            return why.code  # it has told why
        raise


@click.command()
@click.option("--parent", type=int, hidden=True, help="End when this process does.")
@click.option("--metrics-port", type=int, default=0, help="Port of its metrics; 0 for none.")
def ingest(parent: int | None, metrics_port: int) -> int:
    """Run one ingest process: it applies what its share of the sites sends."""
    if parent is not None:
        from central.workers import tie_to

        tie_to(parent)
    from central.agent import run_ingest

    read = _named(settings(), "ingest")
    catalog = catalogue(read)
    start_logging(read.log_level)
    with _metrics(read, metrics_port):
        return asyncio.run(_until_told(run_ingest(read, catalog)))


@click.command()
def feed() -> int:
    """Run the feed process: it tells the sites, answers them, declares streams, does the upkeep."""
    read = settings()
    catalog = catalogue(read)
    start_logging(read.log_level)
    return asyncio.run(_until_told(_feed(read, catalog)))


@click.command()
def api() -> int:
    """Run the API and the dashboard alone, on MES_API_PORT: as many such processes as are needed.

    Each keeps answers of its own. The feed process needs no MES_API_PORT then.
    """
    import uvloop

    read = settings()
    if not read.api_port:
        raise BadSetting("MES_API_PORT says on which port the API is to be; it is not set")
    catalog = catalogue(read)
    start_logging(read.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told(_api(read, catalog)))


async def _api(read: CentralSettings, catalog: Catalog) -> None:
    from central.api.serve import serve_api
    from central.web.app import build

    await serve_api(_named(read, "api"), catalog, build)


async def _feed(read: CentralSettings, catalog: Catalog) -> None:
    from central.agent import run_feed

    named = _named(read, "feed")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_feed(named, catalog), name="feed")
        if read.api_port:
            tasks.create_task(_api(read, catalog), name="api")


def _named(read: CentralSettings, what: str) -> CentralSettings:
    """Return the settings with connections that PostgreSQL, and the status, know by this name."""
    from psycopg.conninfo import make_conninfo

    named = make_conninfo(read.database_url, application_name=f"mes-central {what}")
    return replace(read, database_url=named)


def _worker_commands(read: CentralSettings) -> list[Sequence[str]]:
    import os

    start = (sys.executable, "-m", "central", "ingest", "--parent", str(os.getpid()))
    return [
        (*start, "--metrics-port", str(read.api_port + number if read.api_port else 0))
        for number in range(1, read.workers + 1)
    ]


async def _until_told(*works: Coroutine[None, None, None]) -> int:
    """Do the works until one fails, or a signal comes; the same signal once more ends at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    told: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        note(_log, "stopping", signal=number.name)
        told.append(number)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(work)
    except asyncio.CancelledError:
        if not told:
            raise
    note(_log, "stopped")
    return exits.OK


@contextlib.contextmanager
def _metrics(read: CentralSettings, port: int) -> Iterator[None]:
    """Serve the metrics of this process from a thread: they are there while an apply takes long."""
    if not port:
        yield
        return
    from central.scrapes import read_scrapers
    from central.worker_metrics import serving

    with serving(read.api_host, port, read_scrapers(read.metrics_token_file)):
        yield

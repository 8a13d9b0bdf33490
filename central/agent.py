"""The centre's processes, each put together in one place: the ingest, and the feed.

The *ingest* applies what sites send; any number may run. The *feed* process sequences, publishes,
answers the sites' questions, declares the streams and does the upkeep; one is enough.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping
from psycopg_pool import AsyncConnectionPool
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    before_sleep_log,
    retry_if_exception,
    retry_if_result,
    stop_after_delay,
)
from tenacity.wait import wait_random_exponential

from central import metrics
from central.archive_loading import Shelf
from central.control import Control
from central.feed import Sequencer
from central.handshake import now_ms
from central.ingest import Stores, Worker
from central.layout import keep_refusals, layout
from central.partitions import make_ahead, site_names
from central.relay import Relay
from central.retention import Kept
from central.rolled import keep_folding
from central.rollup_checks import keep_checking
from central.store import CentralStore
from central.store.lives import life_now
from central.upkeep import keep_up
from shared.errors import ConsumerGone, Fatal, Transient
from shared.observe import note
from shared.tasks import end_if_cancelled
from sync.streams import (
    APPLY,
    StreamRefused,
    StreamUnavailable,
    provision,
    purge_applied,
    up_stream,
)
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from central.settings import CentralSettings
    from shared.catalog import Catalog

_log = logging.getLogger(__name__)

#: How often the streams are compared with what they should be; a wiped one is back within this.
_STREAMS_EVERY_S = 5.0
_PARTITIONS_EVERY_S = 3600.0
_CONTROL_CONNECTIONS = 12
#: How long an ingest waits at its start for PostgreSQL before it ends and says why.
_STARTING_MAX_S = 30.0
_PING_TIMEOUT_S = 5
_IS_STARTING = (Ping.REJECT, Ping.NO_RESPONSE)


def link_of(settings: CentralSettings, name: str) -> Link:
    """Return the link of one of the centre's processes."""
    return Link(
        LinkSettings(servers=settings.nats_servers, creds_file=settings.nats_creds, name=name)
    )


async def run_ingest(settings: CentralSettings, catalog: Catalog) -> None:
    """Apply what the sites send, until cancelled."""
    # The last part tells one life from the next under the same number: a lease is of one life.
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(link_of(settings, f"ingest {name}"))
        await _started(settings)
        leases, *stores = [
            await stack.enter_async_context(
                CentralStore.open(settings.database_url, catalog, asks_hello=True)
            )
            for _ in range(1 + settings.connections)
        ]
        lent = Stores(stores, catalog)
        await Worker(name, lent, leases, link, lease_s=settings.lease_s).run()


async def _started(settings: CentralSettings) -> None:
    """Return once PostgreSQL takes connections, or was waited for; who connects will say why not.

    All of a host may be started at once, and what a refusal says is in the server's language.
    """
    address = make_conninfo(settings.database_url, connect_timeout=_PING_TIMEOUT_S).encode()
    retrying = AsyncRetrying(
        retry=retry_if_result(lambda found: found in _IS_STARTING),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(_STARTING_MAX_S),
        before_sleep=before_sleep_log(_log, logging.WARNING),
        retry_error_callback=lambda _: None,
    )
    await retrying(asyncio.to_thread, PGconn.ping, address)


async def run_feed(settings: CentralSettings, catalog: Catalog) -> None:
    """Sequence, publish, answer and keep up, until cancelled."""
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(link_of(settings, "feed"))
        pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            settings.database_url, min_size=2, max_size=_CONTROL_CONNECTIONS, open=False
        )
        await stack.enter_async_context(pool)
        control = Control(
            pool, catalog, lambda site: _waiting(link, site),
            fact_days=settings.fact_days, backup_hours=settings.backup_hours,
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(control.serve(link), name="control")
            for work in (
                _relay,
                _declare_streams,
                _upkeep,
                _fold,
                _check_rollups,
                _make_partitions,
                _archive,
            ):
                tasks.create_task(_forever(work, settings, catalog, link), name=work.__name__)


async def _forever(
    work: Callable[[CentralSettings, Catalog, Link], Awaitable[None]],
    settings: CentralSettings, catalog: Catalog, link: Link,
) -> None:  # fmt: skip
    """Do the work again and again; after a failure, wait a little longer each time.

    Only what needs a person ends the process; anything else holds up nobody but this one work.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(multiplier=0.1, max=10),
        before_sleep=_note_failure,
    )
    while True:
        await retrying(work, settings, catalog, link)


def _note_failure(state: RetryCallState) -> None:
    end_if_cancelled()
    before_sleep_log(_log, logging.WARNING, exc_info=True)(state)


def _may_pass(why: BaseException) -> bool:
    return isinstance(why, Exception) and not isinstance(why, Fatal)


async def _relay(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    async with (
        _connection(settings) as sequencing,
        _connection(settings, autocommit=True) as publishing,
        _connection(settings, autocommit=True) as listening,
    ):
        await life_now(listening)
        relay = Relay(listening, publishing, Sequencer(sequencing, catalog), link)
        await relay.run(now_ms)


async def _declare_streams(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    """Make the broker have what it must have: a wiped stream is a normal event.

    A stream that it refuses is of one site, which has none until a person has made room or mended
    the setting; the status says so, and all others go on.
    """
    del catalog
    await link.wait_connected(timeout_s=3600)
    async with _connection(settings, autocommit=True) as connection:
        sites = await site_names(connection)
        differences = await provision(link, layout(settings, sites))
        refused = {each.name: each.refused for each in differences if each.refused}
        new = await keep_refusals(connection, refused)
    for each in differences:
        if each.name in new:
            note(_log, "stream refused", level=logging.ERROR, stream=each.name, why=each.refused)
        elif each.kind != "extra" and not each.refused:
            note(_log, "stream declared", difference=str(each))
    for site in sites:
        if up_stream(site) not in refused:
            await _purge(link, site)
    await asyncio.sleep(_STREAMS_EVERY_S)


async def _purge(link: Link, site: str) -> None:
    try:
        await purge_applied(link, site)
    except (StreamRefused, StreamUnavailable, ConsumerGone) as why:
        note(_log, "not purged", level=logging.WARNING, site=site, why=str(why))


async def _upkeep(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    del link
    async with _connection(settings, autocommit=True) as connection:
        await keep_up(
            connection,
            shelf=Shelf(catalog, settings.archive_dir),
            safe_after_s=settings.safe_after_s,
            feed_days=settings.feed_days,
            kept=Kept(
                version_days=settings.version_days,
                history_days=settings.history_days,
                audit_days=settings.audit_days,
                known_days=settings.known_days,
            ),
        )


async def _fold(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    del catalog, link
    async with _connection(settings, autocommit=True) as connection:
        await keep_folding(connection)


async def _check_rollups(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    del link
    if not settings.rollup_check_hours:
        await asyncio.Event().wait()  # a person does it, or nobody
    async with _connection(settings, autocommit=True) as connection:
        # A plan that is kept is one for the partitions of all sites: 12 MB of thirty.
        connection.prepare_threshold = None
        shelf = Shelf(catalog, settings.archive_dir)
        await keep_checking(connection, settings.rollup_check_hours, shelf)


async def _make_partitions(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    del link
    async with _connection(settings, autocommit=True) as connection:
        made = await make_ahead(connection, catalog, await site_names(connection), now_ms())
    if made:
        note(_log, "partitions made ahead", count=len(made))
    await asyncio.sleep(_PARTITIONS_EVERY_S)


async def _archive(settings: CentralSettings, catalog: Catalog, link: Link) -> None:
    del link
    if not settings.archive_after_months:
        await asyncio.Event().wait()  # a person does it, or nobody
    from central.archiving import keep_archiving  # noqa: PLC0415 - no ingest is to load Parquet

    shelf = Shelf(catalog, settings.archive_dir)
    url = settings.admin_url or settings.database_url
    await keep_archiving(url, shelf, settings.archive_after_months)


@asynccontextmanager
async def _connection(
    settings: CentralSettings, *, autocommit: bool = False
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    connection = await psycopg.AsyncConnection.connect(settings.database_url, autocommit=autocommit)
    async with connection:
        yield connection


#: What the broker says of a stream or durable that is not there.
_NOT_FOUND = 404


async def _waiting(link: Link, site: str) -> int:
    """Return how many messages of a site the broker holds for the ingest; -1 where it can't tell.

    0 without a stream.
    """
    try:
        answer = json.loads(
            await link.request(f"$JS.API.CONSUMER.INFO.{up_stream(site)}.{APPLY}", b"")
        )
    except Transient:
        return -1
    if "error" in answer:
        return 0 if answer["error"].get("code") == _NOT_FOUND else -1
    waiting = int(answer["num_pending"]) + int(answer["num_ack_pending"])
    metrics.BACKLOG.labels(site).set(waiting)
    return waiting

"""The API as a part of the feed process, in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import uvicorn
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from central.agent import link_of
from central.api.asking import Guard
from central.api.audit import AuditLog
from central.api.cache import Cached
from central.api.code_flow import Client
from central.api.oidc import Provider, Verifier
from central.api.rates import Rates
from central.api.reach import Reach
from central.api.signing_in import CodeFlow
from central.api.streams import ABORT
from central.exporting import Exporter
from central.reports.named import question_of
from central.roles import API, as_role
from central.scrapes import read_scrapers
from shared.errors import BadSetting
from shared.settings import variable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from starlette.types import ASGIApp

    from central.api.asking import Pool
    from central.settings import CentralSettings
    from shared.catalog import Catalog

_CONNECTIONS_MAX = 4
#: Of metrics and health: one is read at a time.
_WATCHING_MAX = 1
#: Connections beyond which the next is told to come again.
_REQUESTS_MAX = 500
#: Seconds that a request waits for a connection before it is told to come again.
_WAIT_S = 5.0


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Lets an answer drop its connection, which an application has no other way to do."""

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Keep what drops it where each request of the connection finds it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, ABORT: transport.abort}


async def serve_api(
    settings: CentralSettings, catalog: Catalog, build: Callable[[Reach], FastAPI]
) -> None:
    """Answer on ``api_port`` until cancelled; raise BadSetting where the port is taken.

    ``build`` makes the application of what it reaches.
    """
    scrapers = read_scrapers(settings.metrics_token_file)
    with listening(settings.api_host, settings.api_port) as listener:
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(link_of(settings, "api"))
            pool = await stack.enter_async_context(_pool(settings.database_url))
            reading = await stack.enter_async_context(_pool(reading_url(settings)))
            watching = await stack.enter_async_context(_pool(settings.database_url, _WATCHING_MAX))
            guard = await stack.enter_async_context(guarding(settings, pool))
            audit = AuditLog(pool)
            reach = Reach(
                pool=pool, reading=reading, reading_url=_bounded(reading_url(settings)),
                watching=watching, scrapers=scrapers, audit=audit,
                catalog=catalog, link=link, guard=guard,
                backup_hours=settings.backup_hours, archive_dir=settings.archive_dir,
                export_dir=settings.export_dir, export_days=settings.export_days,
            )  # fmt: skip
            beside = [
                asyncio.create_task(each, name=name) for name, each in _beside(settings, reach)
            ]
            try:
                await serve(Cached(build(reach), reach), listener, ends=reach.live.end)
            finally:  # when the last answer is given: it is to be noted, too
                for each in beside:
                    each.cancel()
                await asyncio.gather(*beside, return_exceptions=True)


def _beside(
    settings: CentralSettings, reach: Reach
) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """Give what is done beside the answers, by its name."""
    yield "audit", reach.audit.keep_writing()
    # Of the server that answers are read from: the other one may be ahead of it.
    yield "live", reach.live.follow(reach.reading_url)
    if settings.export_dir is not None:
        exporter = Exporter(
            settings.database_url, reading_url(settings), settings.export_dir, question_of
        )
        yield "exports", exporter.keep_writing()


def _pool(
    url: str, most: int = _CONNECTIONS_MAX
) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    return AsyncConnectionPool[psycopg.AsyncConnection[Any]](
        _bounded(url), min_size=1, max_size=most, timeout=_WAIT_S, open=False
    )


def _bounded(url: str) -> str:
    """Return the address of sessions in which nothing waits for ever."""
    given = psycopg.conninfo.conninfo_to_dict(url).get("options") or ""
    bounds = (
        "-c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
    )
    return make_conninfo(url, options=f"{given} {bounds}".strip())


def reading_url(settings: CentralSettings) -> str:
    """Return how PostgreSQL is reached as the role that can't pass row-level security."""
    return settings.api_database_url or as_role(settings.database_url, API)


@contextlib.asynccontextmanager
async def guarding(settings: CentralSettings, pool: Pool) -> AsyncIterator[Guard]:
    """Give who knows who may ask; raise BadSetting."""
    provider, client = provider_of(settings), client_of(settings)
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    async with httpx.AsyncClient(cookies=nothing) as http:
        verifier = Verifier(provider, http) if provider else None
        flow = CodeFlow(client, verifier, http) if client and verifier else None
        yield Guard(pool, verifier, Rates(settings.api_rate), flow=flow)


def client_of(settings: CentralSettings) -> Client | None:
    """Return this system as a client of the provider; None where none is named. Raise BadSetting.

    A secret is read from a file once: a new one counts from the next start on.
    """
    path = settings.oidc_client_secret_file
    if not settings.oidc_client_id:
        if path is not None:
            raise BadSetting("MES_OIDC_CLIENT_SECRET_FILE is set: set MES_OIDC_CLIENT_ID, too")
        return None
    for name in ("oidc_issuer", "public_url"):
        if not getattr(settings, name):
            raise BadSetting(f"MES_OIDC_CLIENT_ID is set: set {variable(name)}, too")
    return Client(
        client_id=settings.oidc_client_id, secret=_secret_in(path) if path else "",
        public_url=settings.public_url.removesuffix("/"),
        scopes=tuple(settings.oidc_scopes.split()),
    )  # fmt: skip


def _secret_in(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise BadSetting(f"MES_OIDC_CLIENT_SECRET_FILE={path}: {error}") from error
    if not secret:
        raise BadSetting(f"MES_OIDC_CLIENT_SECRET_FILE={path}: it is empty")
    return secret


def provider_of(settings: CentralSettings) -> Provider | None:
    """Return who signs the tokens of people; None where nobody is named. Raise BadSetting."""
    if not settings.oidc_issuer:
        return None
    return Provider(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        grants_claim=settings.oidc_grants_claim,
    )


async def serve(
    app: ASGIApp, listener: socket.socket, *, ends: Callable[[], None] = lambda: None
) -> None:
    """Serve an application until cancelled; requests under way are answered.

    ``ends`` is called first then: it ends the answers that go on for as long as anybody listens.
    """
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", lifespan="off", log_config=None, log_level="warning",
        access_log=False, timeout_graceful_shutdown=5, proxy_headers=False,
        limit_concurrency=_REQUESTS_MAX,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    try:
        await asyncio.shield(serving)
    finally:
        ends()
        server.should_exit = True
        await serving


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise BadSetting where the address can't be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadSetting(f"MES_API_HOST={host}, MES_API_PORT={port}: {error.strerror}") from error
    # What it accepts takes this over. Without uvloop, asyncio sets it only where a socket names its
    # protocol, and these don't: bodies waited 40 ms until their head was acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener

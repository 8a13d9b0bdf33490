"""The API as a part of the feed process, in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import uvicorn
from psycopg_pool import AsyncConnectionPool

from central.agent import link_of
from central.api.app import Reach, build
from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from central.settings import CentralSettings
    from shared.catalog import Catalog

_CONNECTIONS_MAX = 4


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve_api(settings: CentralSettings, catalog: Catalog) -> None:
    """Answer on ``api_port`` until cancelled; raise BadSetting where the port is taken."""
    with listening(settings.api_host, settings.api_port) as listener:
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(link_of(settings, "api"))
            pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
                settings.database_url, min_size=1, max_size=_CONNECTIONS_MAX, open=False
            )
            await stack.enter_async_context(pool)
            reach = Reach(
                pool=pool, catalog=catalog, link=link, token=read_token(settings),
                is_local=is_loopback(settings.api_host), backup_hours=settings.backup_hours,
            )  # fmt: skip
            await serve(build(reach), listener)


async def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve an application until cancelled; requests under way are answered."""
    config = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise BadSetting where the address can't be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadSetting(f"MES_API_HOST={host}, MES_API_PORT={port}: {error.strerror}") from error


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(settings: CentralSettings) -> str:
    """Return the token that a bearer has to show; empty where no file is named."""
    path = settings.api_token_file
    if path is None:
        return ""
    if path.stat().st_mode & 0o077:
        raise BadSetting(
            f"{path} holds the API's token and is open to others; run `chmod 600 {path}`"
        )
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < 16:
        raise BadSetting(f"{path}: a token of at least 16 characters is expected")
    return token

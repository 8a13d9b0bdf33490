"""Which releases of the servers are supported, and how to ask a server for its own."""

from __future__ import annotations

import json
import re
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from shared.errors import BadSetting, BrokerUnreachable, ServerTooOld, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASE_MIN = 18
BROKER_MIN = (2, 12)
NATS_PORT = 4222


class DatabaseUnreachable(Transient):
    """The database server can't be reached, or refuses the login."""


def database_version(url: str, timeout_s: int = 5) -> str:
    """Return the version of the PostgreSQL server at ``url``."""
    try:
        with psycopg.connect(url, connect_timeout=timeout_s) as connection:
            return connection.info.parameter_status("server_version") or "unknown"
    except psycopg.OperationalError as error:
        message = f"no PostgreSQL answers at MES_DATABASE_URL: {error}"
        raise DatabaseUnreachable(message) from error


def check_database_version(text: str) -> None:
    """Raise ServerTooOld unless ``text``, such as `18.6`, names a supported PostgreSQL."""
    found = re.search(r"(\d+)(?:\.\d+)?", text)
    if found is None or int(found[1]) < DATABASE_MIN:
        message = (
            f"PostgreSQL {DATABASE_MIN} or newer is needed, this is {text.strip()!r}; upgrade it, "
            "or unset MES_DATABASE_URL to use the embedded one"
        )
        raise ServerTooOld(message)


def broker_version(url: str, timeout_s: float = 5.0) -> str:
    """Return the version that a server tells everybody who connects; ``url`` may list several."""
    reasons = []
    for address in url.split(","):
        try:
            return str(_greeting(address.strip(), timeout_s)["version"])
        except (OSError, ValueError, KeyError) as error:
            reasons.append(f"{address.strip()}: {error}")
    message = f"no NATS server answers at {'; '.join(reasons)}"
    raise BrokerUnreachable(message)


def check_broker_version(text: str) -> None:
    """Raise ServerTooOld unless ``text``, such as `2.15.1`, names a supported nats-server."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < BROKER_MIN:
        message = (
            f"nats-server {BROKER_MIN[0]}.{BROKER_MIN[1]} or newer is needed, this is {text!r}; "
            "upgrade it, or unset MES_NATS_URL to use the embedded one"
        )
        raise ServerTooOld(message)


def host_and_port(address: str) -> tuple[str, int]:
    """Return where a broker's address leads, the scheme and the port being left out or not."""
    parts = urlsplit(address if "://" in address else f"nats://{address}")
    if parts.scheme not in ("nats", "tls"):
        message = f"{address} is no nats:// or tls:// address"
        raise BadSetting(message)
    return parts.hostname or "localhost", parts.port or NATS_PORT


def _greeting(address: str, timeout_s: float) -> dict[str, object]:
    host, port = host_and_port(address)
    with socket.create_connection((host, port), timeout_s) as plain:
        for stream in _streams(plain, host):
            with stream.makefile("rb") as lines:
                line = lines.readline(65_536)
            if line.startswith(b"INFO "):
                found: dict[str, object] = json.loads(line[5:])
                return found
    message = "this is no NATS server"
    raise ValueError(message)


def _streams(plain: socket.socket, host: str) -> Iterator[socket.socket]:
    """Give the connection as it is and, where the server says nothing, under TLS.

    A server set to `handshake_first` waits for the client. Who it is does not matter here: nothing
    secret is sent, and only a version is read.
    """
    wait_s = plain.gettimeout() or 1.0
    plain.settimeout(wait_s / 2)
    try:
        plain.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        plain.settimeout(wait_s)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        yield context.wrap_socket(plain, server_hostname=host)
    else:
        yield plain

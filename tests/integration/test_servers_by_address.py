"""Servers of somebody else, given by address: used, left alone, and refused when too old."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from deploy.local.folder import free_ports
from deploy.local.servers import ServerSettings, open_servers
from deploy.local.versions import DatabaseUnreachable, check_database_version, host_and_port
from shared.errors import BadSetting, BrokerUnreachable, ServerTooOld

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


@contextmanager
def fake_broker(greeting: bytes) -> Iterator[str]:
    """Greet one client with these bytes, as a server of another kind or release would."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as client:
                client.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        yield f"nats://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_servers_given_by_address_are_used_and_left_running(tmp_path):
    with open_servers(ServerSettings(root=tmp_path / "theirs")) as theirs:
        given = ServerSettings(
            root=tmp_path / "ours", database_url=theirs.database_url, nats_url=theirs.nats_url
        )
        with open_servers(given) as servers:
            assert (servers.database_url, servers.nats_url) == (given.database_url, given.nats_url)
            assert (servers.postgres, servers.nats) == (None, None)
        assert theirs.postgres.alive
        assert theirs.nats.alive
    assert not (tmp_path / "ours").exists()


def test_a_database_older_than_supported_is_refused_with_the_next_step():
    with pytest.raises(ServerTooOld, match=r"18 or newer .*'15\.18'.*unset MES_DATABASE_URL"):
        check_database_version("15.18")


@pytest.mark.parametrize("version", ["2.11.9", "1.99.0", "dev"])
def test_a_broker_older_than_supported_is_refused_with_the_next_step(tmp_path, version):
    message = rf"2\.12 or newer .*{version}.*unset MES_NATS_URL"
    greeting = f'INFO {{"version":"{version}"}}\r\n'
    with fake_broker(greeting.encode()) as url, pytest.raises(ServerTooOld, match=message):
        open_servers(ServerSettings(root=tmp_path, nats_url=url))


def test_what_is_no_broker_or_no_address_is_said_so(tmp_path):
    with (
        fake_broker(b"SSH-2.0-OpenSSH\r\n") as url,
        pytest.raises(BrokerUnreachable, match="no NATS server"),
    ):
        open_servers(ServerSettings(root=tmp_path, nats_url=url))
    with pytest.raises(BadSetting, match="wss://x is no nats:// or tls:// address"):
        open_servers(ServerSettings(root=tmp_path, nats_url="wss://x"))


def test_a_database_that_does_not_answer_is_said_so(tmp_path):
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/postgres"
    with pytest.raises(DatabaseUnreachable, match="no PostgreSQL answers at MES_DATABASE_URL"):
        open_servers(ServerSettings(root=tmp_path, database_url=nowhere))


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("nats://broker.example.com:4333", ("broker.example.com", 4333)),
        ("tls://broker", ("broker", 4222)),
        ("broker:4333", ("broker", 4333)),
        ("broker", ("broker", 4222)),
    ],
)
def test_scheme_and_port_of_a_broker_may_be_left_out(address, leads_to):
    assert host_and_port(address) == leads_to

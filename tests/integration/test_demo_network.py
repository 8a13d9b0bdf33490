from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from deploy.local.network import Network, Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back whatever comes."""
    with socket.create_server((LOOPBACK, 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    with connection:
        try:
            while piece := connection.recv(65536):
                connection.sendall(piece)
        except OSError:
            return


def connect(address: str) -> socket.socket:
    url = urlsplit(address)
    assert url.scheme == "nats"
    return socket.create_connection((url.hostname, url.port), timeout=5)


def connect_and_ask(address: str) -> None:
    with connect(address) as connection:
        said_back(connection, b"hello")


def said_back(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    found = b""
    while len(found) < len(text):
        piece = connection.recv(65536)
        if not piece:
            break
        found += piece
    return found


def test_bytes_pass_unchanged_in_both_directions(echo):
    text = bytes(range(256)) * 4000
    with Network(LOOPBACK, echo) as network, connect(network.address("A")) as connection:
        sender = threading.Thread(target=connection.sendall, args=(text,))
        sender.start()
        found = b""
        while len(found) < len(text):
            found += connection.recv(65536)
        sender.join()
    assert found == text


def test_a_cut_drops_what_stands_and_refuses_what_comes(echo):
    with Network(LOOPBACK, echo) as network, connect(network.address("A")) as connection:
        assert said_back(connection, b"hello") == b"hello"
        network.cut("A")
        with pytest.raises(ConnectionResetError):
            said_back(connection, b"is anybody there")
        with pytest.raises(ConnectionResetError):
            connect_and_ask(network.address("A"))


def test_only_the_site_that_is_cut_off_is_cut_off(echo):
    with Network(LOOPBACK, echo) as network, connect(network.address("A")) as mine:
        with connect(network.address("B")) as other:
            network.cut("A")
            assert said_back(other, b"hello") == b"hello"
        with pytest.raises(ConnectionResetError):
            said_back(mine, b"hello")


async def test_a_connection_that_is_being_laid_is_cut_as_well(echo, monkeypatch):
    laying, go_on = asyncio.Event(), asyncio.Event()
    lay = asyncio.open_connection

    async def slowly(*target):
        laying.set()
        await go_on.wait()
        return await lay(*target)

    relay = Relay(LOOPBACK, echo)
    await relay.open()
    monkeypatch.setattr(asyncio, "open_connection", slowly)
    reader, writer = await lay(LOOPBACK, relay.port)
    writer.write(b"hello")
    await laying.wait()
    relay.cut = True
    relay.drop()
    go_on.set()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.readexactly(5), 5)
    monkeypatch.undo()
    writer.close()
    await relay.close()
    async with asyncio.timeout(5):
        while relay._live:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_healed_link_works_at_the_same_address(echo):
    with Network(LOOPBACK, echo) as network:
        address = network.address("A")
        network.cut("A")
        network.heal("A")
        assert network.address("A") == address
        with connect(address) as connection:
            assert said_back(connection, b"hello") == b"hello"


def test_a_broker_that_is_down_looks_like_a_cut_link():
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
    with Network(LOOPBACK, port) as network, pytest.raises(ConnectionResetError):
        connect_and_ask(network.address("A"))

"""The broker hangs up with an error, after which the client library alone would stay away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from typing import TYPE_CHECKING, Self

import pytest

from shared.errors import NotAuthorised
from sync.accounts import creds_path, ensure_keys
from sync.nats_grants import site_user
from sync.nats_keys import ACCOUNT, USER, creds_text, new_key, read_or_make_key, sign_token
from sync.transport import Link, LinkSettings
from tests.integration.accounts_world import broker  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("broker") / "keys"
    ensure_keys(path, ["ROT"])
    return path


def settings(url: str, creds: Path | None = None, name: str = "ROT") -> LinkSettings:
    return LinkSettings(
        servers=(url,),
        name=name,
        creds_file=creds,
        reconnect_spread_s=0.1,
        reconnect_wait_max_s=0.3,
    )


class Greeter:
    """A server that hangs up with an error: at once, or some time after it has let a client in."""

    def __init__(self, error: Callable[[], bytes], *, after_s: float | None) -> None:
        self._error = error
        self._after_s = after_s
        self._writers: set[asyncio.StreamWriter] = set()
        self.hellos = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hellos += 1
        self._writers.add(writer)
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576}\r\n')
        with contextlib.suppress(OSError):
            await reader.readline()
            if self._after_s is not None:
                writer.write(b"PONG\r\n")
                await asyncio.sleep(self._after_s)
            writer.write(b"-ERR " + self._error() + b"\r\n")
            await writer.drain()
        writer.close()


async def reached(link: Link, *, connected: bool) -> None:
    async with asyncio.timeout(8):
        while link.connected is not connected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_credentials_that_expire_are_read_again_when_they_were_renewed(
    broker, keys, tmp_path
):
    creds, login = tmp_path / "user.creds", new_key(USER)
    holder = read_or_make_key(keys / "sites" / "ROT" / "account.seed", ACCOUNT)

    def renew(lifetime_s: int) -> None:
        now_s = time.time_ns() // 10**9
        token = sign_token(
            holder,
            login.public,
            "ROT",
            site_user("ROT"),
            issued_at_s=now_s,
            expires_at_s=now_s + lifetime_s,
        )
        creds.write_bytes(creds_text(token, login))

    renew(4)
    async with Link(settings(broker.url, creds)) as link:
        await link.wait_connected(3)
        await reached(link, connected=False)
        assert "expired" in link.last_error
        async with asyncio.timeout(8):  # within the same second it may get in once more
            while "refuses the credentials" not in link.last_error:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(NotAuthorised):
            await link.publish("pres.ROT", b"")
        renew(3600)
        await reached(link, connected=True)
        await link.publish("pres.ROT", b"")


async def test_a_connection_that_an_operator_kicks_is_built_anew(broker, keys):
    centre = settings(broker.url, creds_path(keys, "central"), name="kicked")
    async with (
        Link(settings(broker.url, creds_path(keys, "sys"), name="sys")) as system,
        Link(centre) as link,
    ):
        await system.wait_connected(1)
        await link.wait_connected(1)
        found = json.loads(await system.request("$SYS.REQ.SERVER.PING.CONNZ", b""))
        cid = next(c["cid"] for c in found["data"]["connections"] if c["name"] == "kicked")
        kick = f"$SYS.REQ.SERVER.{found['server']['id']}.KICK"
        await system.request(kick, json.dumps({"cid": cid}).encode())
        await reached(link, connected=False)
        await reached(link, connected=True)
        assert link.disconnects == 1


async def test_any_error_that_the_server_hangs_up_with_is_survived_with_growing_waits():
    errors = itertools.cycle(
        [b"'Maximum Payload Violation'", b"'Unknown Protocol Operation'", b"'Slow Consumer'"]
    )
    async with (
        Greeter(lambda: next(errors), after_s=0.02) as server,
        Link(settings(server.url)) as link,
    ):
        await asyncio.sleep(2)
        assert server.hellos < 30, "a server that hangs up at once is not to be hammered"
        async with asyncio.timeout(20):
            while link.disconnects < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert "nats:" in link.last_error


async def test_a_link_closes_at_once_at_whatever_moment_of_connecting_it_is():
    chance = random.Random(11)
    async with Greeter(lambda: b"'Authorization Violation'", after_s=None) as server:
        for _ in range(300):
            async with asyncio.timeout(3), Link(settings(server.url)):
                for _ in range(chance.randrange(40)):
                    await asyncio.sleep(0)

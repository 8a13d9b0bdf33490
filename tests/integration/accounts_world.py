"""A broker with an account a site, the links of each, and a rogue, for the tests of accounts."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client, RawCredentials

from deploy.local.servers import NatsServer
from shared.errors import NoResponder
from sync.accounts import (
    creds_path,
    ensure_keys,
    trust_config,
)
from sync.nats_grants import user
from sync.nats_keys import (
    ACCOUNT,
    USER,
    creds_text,
    new_key,
    read_or_make_key,
    sign_token,
)
from sync.streams import StreamLimits, desired, provision
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.nats

SITES = ["LYO", "ROT"]
#: The server asks its cluster for an account that it does not know, and that takes two seconds.
TURNED_AWAY_S = 3.0
LIMITS = StreamLimits(up_bytes_max=16 << 20, down_bytes_max=16 << 20)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("broker") / "keys"
    ensure_keys(path, SITES)
    return path


@pytest.fixture(scope="module")
def broker(keys: Path) -> Iterator[NatsServer]:
    root = keys.parent / "nats"
    with NatsServer(root, config=trust_config(keys, root / "accounts")) as server:
        yield server


def settings(broker: NatsServer, keys: Path, who: str) -> LinkSettings:
    prefix = "$JS.API" if who in ("central", "sys") else "hub.API"
    return LinkSettings(
        servers=(broker.url,), name=who, creds_file=creds_path(keys, who), prefix=prefix
    )


@pytest.fixture
async def central(broker: NatsServer, keys: Path) -> AsyncIterator[Link]:
    async with Link(settings(broker, keys, "central")) as link:
        await link.wait_connected(5)
        for stream in ("DOWN", "UP_LYO", "UP_ROT"):
            with contextlib.suppress(NoResponder):
                await link.request(f"$JS.API.STREAM.DELETE.{stream}", b"")
        await provision(link, desired(SITES, limits=LIMITS))
        yield link


@pytest.fixture
async def rot(broker: NatsServer, keys: Path, central: Link) -> AsyncIterator[Link]:
    async with Link(settings(broker, keys, "ROT")) as link:
        await link.wait_connected(5)
        yield link


@pytest.fixture
async def lyo(broker: NatsServer, keys: Path, central: Link) -> AsyncIterator[Link]:
    async with Link(settings(broker, keys, "LYO")) as link:
        await link.wait_connected(5)
        yield link


@pytest.fixture(params=["the site's own user", "a rogue without restrictions"])
async def attacker(
    request: pytest.FixtureRequest, broker: NatsServer, keys: Path, central: Link
) -> AsyncIterator[Client]:
    """A bare client in the account of ROT."""
    if request.param == "the site's own user":
        creds = creds_path(keys, "ROT").read_text()
    else:
        holder = read_or_make_key(keys / "sites" / "ROT" / "account.seed", ACCOUNT)
        rogue = new_key(USER)
        token = sign_token(holder, rogue.public, "rogue", user(), issued_at_s=0)
        creds = creds_text(token, rogue).decode()

    async def quiet(error: Exception) -> None:
        """Refusals are expected."""

    client = await nats.connect(
        broker.url, user_credentials=RawCredentials(creds), error_cb=quiet, allow_reconnect=False
    )
    yield client
    await client.close()


async def stored(central: Link, stream: str) -> int:
    answer = json.loads(await central.request(f"$JS.API.STREAM.INFO.{stream}", b""))
    return int(answer["state"]["last_seq"])


async def ask(client: Client, subject: str, order: object = None) -> dict[str, Any]:
    """Return the answer, empty where there was none."""
    text = b"" if order is None else json.dumps(order).encode()
    try:
        answer = await client.request(subject, text, timeout=0.3)
    except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
        return {}
    return json.loads(answer.data) if answer.data else {"status": answer.headers}

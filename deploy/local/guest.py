"""The demo as a guest on a broker of somebody else: it uses no stream that was there before."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from deploy.local.versions import broker_version, check_broker_version
from shared.errors import Fatal
from sync.streams import read_layout
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONNECT_S = 10.0


class BrokerInUse(Fatal):
    """The broker has streams of mes-sync already; the demo would mix its rows into theirs."""


def enter(url: str) -> None:
    """Check that the demo may use this broker; raise BrokerInUse or ServerTooOld where not."""
    check_broker_version(broker_version(url))
    if found := asyncio.run(_streams(url)):
        names = ", ".join(sorted(found))
        raise BrokerInUse(
            f"{url} has the streams {names} of mes-sync; give the demo a broker of its own"
        )


def leave(url: str, names: Iterable[str]) -> None:
    """Delete the streams that the demo has made."""
    asyncio.run(_delete(url, names))


async def _streams(url: str) -> set[str]:
    async with _link(url) as link:
        await link.wait_connected(_CONNECT_S)
        return set((await read_layout(link)).streams)


async def _delete(url: str, names: Iterable[str]) -> None:
    async with _link(url) as link:
        await link.wait_connected(_CONNECT_S)
        for name in names:
            answer = json.loads(await link.request(f"$JS.API.STREAM.DELETE.{name}", b""))
            # 10059: there is none, as the demo ended before it was made.
            if answer.get("error", {}).get("err_code", 10059) != 10059:
                raise BrokerInUse(f"stream {name} can't be deleted: {answer['error']}")


def _link(url: str) -> Link:
    return Link(LinkSettings(servers=(url,), name="demo"))

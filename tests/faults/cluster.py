"""Three brokers whose lines to one another may each be cut."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from deploy.local.broker import PORT_TRIES
from deploy.local.program import ProgramFailed
from deploy.local.servers import NatsServer
from sync.streams import up_stream
from tests.faults.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_READY_S = 30.0


class WiredCluster:
    """Each server reaches each other through a wire of its own; `async with WiredCluster(root)`."""

    def __init__(self, root: Path) -> None:
        self.servers = [NatsServer(root / f"n{n}", name=f"n{n}") for n in (1, 2, 3)]
        self._wires: dict[tuple[str, str], Wire] = {}
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Return the addresses of all servers, separated by commas."""
        return ",".join(server.url for server in self.servers)

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in self.servers))
        await self._stack.aclose()

    async def _open(self) -> None:
        for attempt in range(PORT_TRIES):
            await self._launch(anew=attempt > 0)
            answers = [asyncio.to_thread(each.answers, _READY_S) for each in self.servers]
            if all(await asyncio.gather(*answers)):
                await self.ready()
                return
            await self.__aexit__()
        message = "the wired cluster found no free ports"
        raise ProgramFailed(message)

    async def _launch(self, *, anew: bool) -> None:
        ports = {each.name: each.choose_ports(anew=anew)["route"] for each in self.servers}
        for one, other in itertools.permutations(self.servers, 2):
            wire = Wire(f"nats://127.0.0.1:{ports[other.name]}")
            self._wires[one.name, other.name] = await self._stack.enter_async_context(wire)
        for server in self.servers:
            routes = ", ".join(
                f'"{wire.url}"' for (one, _), wire in self._wires.items() if one == server.name
            )
            # What it advertises leads nowhere: nobody finds a way around the wires.
            server.config = (
                f'cluster {{\n  name: mes\n  listen: "127.0.0.1:{ports[server.name]}"\n'
                f'  advertise: "127.0.0.1:1"\n  routes: [{routes}]\n}}\n'
            )
            await asyncio.to_thread(server.launch)

    async def start(self, *servers: NatsServer) -> None:
        """Start servers that were killed, without waiting for a majority."""
        for server in servers:
            await asyncio.to_thread(server.launch)

    async def ready(self) -> None:
        """Wait until all servers follow one leader."""
        async with asyncio.timeout(_READY_S):
            while not await asyncio.to_thread(self._follow_one):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _follow_one(self) -> bool:
        views: list[Any] = [server.monitor("/jsz").get("meta_cluster") for server in self.servers]
        known = [view for view in views if isinstance(view, dict)]
        leaders = {view.get("leader") for view in known}
        sizes = {view.get("cluster_size") for view in known}
        if len(known) < len(views) or sizes != {len(views)} or len(leaders) != 1:
            return False
        healthy = all(each.monitor("/healthz").get("status") == "ok" for each in self.servers)
        return healthy and leaders.isdisjoint({None, ""})

    def leader_of(self, site: str, *, besides: NatsServer | None = None) -> NatsServer | None:
        """Return the server that leads a site's stream, as the servers ``besides`` one know it."""
        for server in self.servers:
            found: Any = server.monitor("/jsz?streams=1&accounts=1") if server != besides else {}
            for account in found.get("account_details", ()):
                for stream in account.get("stream_detail", ()):
                    if stream["name"] == up_stream(site):
                        name = stream["cluster"].get("leader")
                        return next((each for each in self.servers if each.name == name), None)
        return None

    def isolate(self, server: NatsServer) -> None:
        """Cut the lines between a server and the others."""
        for wire in self._lines_of(server.name):
            wire.cut()

    def heal(self) -> None:
        """Make all lines whole again."""
        for wire in self._wires.values():
            wire.heal()

    def _lines_of(self, name: str) -> Iterable[Wire]:
        return (wire for pair, wire in self._wires.items() if name in pair)

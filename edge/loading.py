"""Loading a snapshot: fetched chunk by chunk, applied as it comes, resumed wherever it ended."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from edge.lanes import StoreThread, now_ms
from edge.store import lives
from edge.store.apply import BREATH_S
from shared.errors import NoResponder, StaleSnapshot
from shared.observe import note
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.store import EdgeStore
    from sync.handshake import Met
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: Chunks asked for ahead of the one being applied.
_AHEAD = 3
_NOT_YET_S = 0.05
#: A chunk takes the centre milliseconds, behind a long sort seconds.
_CHUNK_WAIT_MAX_S = 60.0
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Taking:
    """Writes what the centre answered: while both ends agree, in the life it was asked for in.

    What was asked for in an earlier life may be of a history that is lost. In the same life it is
    right whoever answered: where the centre went back and no hello was said since, the next one
    finds what was written among the orders that the store names, and all of it is brought home.
    """

    store: EdgeStore
    thread: StoreThread
    agreed: asyncio.Event
    #: The life of the centre's server that both had met last when the load began.
    met: tuple[Met, ...]

    async def take(self, work: Callable[..., Result], *given: Any) -> Result:
        """Do the work of the store; raise StaleSnapshot where another life was met meanwhile."""
        await self.agreed.wait()
        return await self.thread.run(self._take, work, *given)

    def _take(self, work: Callable[..., Result], *given: Any) -> Result:
        if _last_met(self.store) != self.met:
            raise StaleSnapshot("the centre was started since this was asked for; asking again")
        return work(*given)


def _last_met(store: EdgeStore) -> tuple[Met, ...]:
    return lives.met(store.opened.connection)[-1:]


async def load_snapshot(
    link: Link, store: EdgeStore, thread: StoreThread, site: str, agreed: asyncio.Event
) -> None:
    """Bring the store to the centre's state of now; go on with a load that is under way.

    Nothing is applied but while both ends have ``agreed``. Raises StaleSnapshot where the centre
    was started meanwhile, and what was asked for has to be asked for again.
    """
    taking = _Taking(store, thread, agreed, await thread.run(_last_met, store))
    state = await thread.run(store.snapshot_state)
    asked = {"id": state.id} if state is not None else {}
    answer = await _ask(link, f"ctl.{site}.snapshot", asked)
    if state is None or answer["id"] != state.id:
        state = await taking.take(store.begin_snapshot, answer["id"], answer["manifest"])
        note(_log, "snapshot begins", id=state.id)
    k, rows = state.next_chunk, 0
    fetches: dict[int, asyncio.Task[bytes | None]] = {}
    try:
        while True:
            for ahead in range(k, k + _AHEAD):
                if ahead not in fetches:
                    fetches[ahead] = asyncio.create_task(_chunk(link, site, state.id, ahead))
            chunk = await fetches.pop(k)
            if chunk is None:
                break
            rows += await taking.take(store.apply_chunk, k, codec.decode_chunk(chunk), now_ms())
            await asyncio.sleep(BREATH_S)
            k += 1
    finally:
        for fetch in fetches.values():
            fetch.cancel()
        await asyncio.gather(*fetches.values(), return_exceptions=True)
    await taking.take(store.finish_snapshot, now_ms())
    note(_log, "snapshot loaded", id=state.id, chunks=k, rows=rows)


async def _chunk(link: Link, site: str, snapshot: str, k: int) -> bytes | None:
    """Return a chunk, waiting until the centre has made it; None after the last one."""
    body = bytearray()
    until = time.monotonic() + _CHUNK_WAIT_MAX_S
    while True:
        asked = {"id": snapshot, "k": k, "offset": len(body)}
        answer = await _ask(link, f"ctl.{site}.chunk", asked)
        if answer.get("gone"):
            raise NoResponder(f"snapshot {snapshot} is gone at the centre; a new one is asked for")
        if answer.get("end"):
            return None
        if answer.get("wait"):
            if time.monotonic() > until:  # whoever was making it may be gone
                raise NoResponder(f"chunk {k} of snapshot {snapshot} does not come; asking anew")
            await asyncio.sleep(_NOT_YET_S)
            continue
        body += answer["piece"]
        if len(body) >= answer["size"]:
            return bytes(body)


async def _ask(link: Link, subject: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer = await link.request(subject, codec.encode_control(fields), timeout_s=10.0)
    return codec.decode_control(answer)

"""Brings home what the centre lost: chunk by chunk, idempotent, begun again wherever it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edge.lanes import StoreThread, now_ms
from edge.store.homecoming import Lost
from shared.changes import GENESIS
from shared.observe import note
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.store import EdgeStore
    from shared.changes import HeadBlock
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: What a question may hold; the broker takes 1 MiB.
_CHUNK_BYTES_MAX = 700 << 10
_WAIT_S = 60.0
_LINKS_MAX = 5_000


async def bring_home(
    link: Link, store: EdgeStore, thread: StoreThread, site: str, answer: dict[str, Any]
) -> None:
    """Tell the centre what it decided and no longer knows, then follow it from the beginning.

    Rows that the centre has already are left out by it, so all of it may be told again.
    """
    why = str(answer["why"])
    note(_log, "the centre went back", level=logging.WARNING, why=why)
    said = await thread.run(store.hello)
    life = await _ask(link, site, "life", {"lives": list(said.lives)})
    lost = Lost(int(life["held_order"]), int(answer["applied_n"]))
    rows, chunks = 0, store.tips(lost, now_ms())
    while (blocks := await thread.run(next, chunks, None)) is not None:
        rows += await _tell(link, site, str(life["life"]), blocks)
    links, again = await thread.run(store.included, lost)
    for start in range(0, len(links), _LINKS_MAX):
        some = [list(each) for each in links[start : start + _LINKS_MAX]]
        await _ask(link, site, "included", {"epoch": said.epoch, "links": some})
    included_n, _, included_hash = links[-1] if links else (0, "", GENESIS)
    before = await thread.run(store.before_first)
    fields = said.fields()
    await _ask(
        link, site, "take_up",
        {
            "epoch": said.epoch, "included": [included_n, included_hash],
            "lineage": fields["lineage"],
            "before_first": [before.n, before.hash], "why": why, "rows": rows,
            "again": again,
        },
    )  # fmt: skip
    told = f"{why}: {rows} rows were brought home"
    await thread.run(store.begin_anew, lost, told, now_ms())
    note(_log, "brought home", level=logging.WARNING, rows=rows, included_n=included_n)


async def _tell(link: Link, site: str, life: str, blocks: Sequence[HeadBlock]) -> int:
    """Send blocks in one question, or in halves where they are too large for one."""
    chunk = codec.encode_chunk(blocks)
    if len(chunk) > _CHUNK_BYTES_MAX and sum(map(len, blocks)) > 1:
        return sum([await _tell(link, site, life, half) for half in _halves(blocks)])
    counts = await _ask(link, site, "home", {"chunk": chunk, "life": life})
    return int(counts["rows"])


def _halves(blocks: Sequence[HeadBlock]) -> list[list[HeadBlock]]:
    if len(blocks) > 1:
        middle = len(blocks) // 2
        return [list(blocks[:middle]), list(blocks[middle:])]
    middle = len(blocks[0]) // 2
    return [[blocks[0].part(slice(0, middle))], [blocks[0].part(slice(middle, None))]]


async def _ask(link: Link, site: str, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
    asked = codec.encode_control(fields)
    return codec.decode_control(await link.request(f"ctl.{site}.{verb}", asked, timeout_s=_WAIT_S))

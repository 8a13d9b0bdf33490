"""Brings home what the centre lost: chunk by chunk, idempotent, begun again wherever it ended."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from edge.lanes import StoreThread, now_ms
from edge.sent_again import send_again
from edge.store.ids import uuid7
from edge.store.tips import Lost
from shared.changes import GENESIS
from shared.observe import note
from sync import codec
from sync.handshake import met_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.store import EdgeStore
    from shared.changes import HeadBlock
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: What a question may hold; the broker takes 1 MiB.
_CHUNK_BYTES_MAX = 700 << 10
_WAIT_S = 60.0
#: Transactions and rows in a question that names them: 120 bytes each.
_LINES_MAX = 4_000


@dataclass(slots=True)
class Homecoming:
    """Tells the centre what it decided and may no longer know.

    Rows that the centre has already are left out by it, so all of it may be told again.
    """

    link: Link
    store: EdgeStore
    thread: StoreThread
    site: str
    #: The centre's answer to the hello.
    answer: dict[str, Any]
    _lost: Lost = field(default_factory=lambda: Lost(0, 0))

    async def show(self, *, whole: bool) -> int:
        """Tell of rows whose decisions the centre may have lost; return how many it had.

        ``whole`` where it is known to have lost something.
        """
        applied_n = int(self.answer["applied_n"])
        if whole:
            await self.thread.run(self.store.owe_from, applied_n)
            # What waits for the other feed has come, too; of the lost history nothing more will.
            await self.thread.run(self.store.show_all, None, now_ms())
        lives, void = await self.thread.run(self.store.seen_lives)
        life = await _ask(self.link, self.site, "life", met_fields(lives))
        self._lost = Lost(int(life["held_order"]), applied_n, whole or void)
        # Orders of one history can be compared, whichever site tells them.
        asked = {
            "life": str(life["life"]),
            "held_order": self._lost.max_order,
            "history": lives[-1].life if lives else None,
        }
        took_effect = await self.thread.run(self.store.took_effect)
        unknown, chunks = 0, self.store.tips(self._lost, now_ms())
        while (blocks := await self.thread.run(next, chunks, None)) is not None:
            # Of an own change that waits in the backup the row alone does not tell that it did.
            named = [
                [block.table, row_id]
                for block in blocks
                for row_id, tx_id in zip(block.ids, block.version, strict=True)
                if (block.table, row_id, tx_id) in took_effect
            ]
            unknown += await _tell(self.link, self.site, asked | {"took_effect": named}, blocks)
        return unknown

    async def begin_anew(self, rows: int) -> None:
        """Tell the rest, and follow the centre from the beginning."""
        why, thread, store = str(self.answer["why"]), self.thread, self.store
        note(_log, "the centre went back", level=logging.WARNING, why=why)
        said = await thread.run(store.hello)
        links, again = await thread.run(store.included, self._lost)
        home = uuid7(now_ms(), SystemRandom())
        for verb, asked in questions(links, again):
            await _ask(self.link, self.site, verb, asked | {"epoch": said.epoch, "home": home})
        n, _, own = links[-1] if links else (0, "", GENESIS)
        before = await thread.run(store.before_first)
        await _ask(
            self.link, self.site, "take_up",
            {
                "epoch": said.epoch, "included": [n, own], "lineage": said.fields()["lineage"],
                "before_first": [before.n, before.hash], "why": why, "rows": rows,
            },
        )  # fmt: skip
        sent_again = await send_again(self.link, store, thread, self.site)
        told = f"{why}: {rows} rows were brought home"
        if sent_again:
            told += f"; {sent_again} that had been sent before are sent again"
        await thread.run(store.begin_anew, self._lost, again, told, now_ms())
        note(_log, "brought home", level=logging.WARNING, rows=rows, included_n=n)


def questions(
    links: Sequence[Sequence[Any]], again: Sequence[Sequence[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give verb and content of the questions that tell of transactions that came home.

    A transaction goes in one question with its rows that did not: a centre that knew it alone would
    never apply it to them. Where these are too many for that, most of them go before it.
    """
    rows_of: defaultdict[str, list[list[str]]] = defaultdict(list)
    for row in again:
        rows_of[row[0]].append(list(row))
    some: list[list[Any]] = []
    rows: list[list[str]] = []
    for link in links:
        own = rows_of[link[1]]
        while len(own) >= _LINES_MAX:
            yield "again", {"rows": own[:_LINES_MAX]}
            own = own[_LINES_MAX:]
        if len(some) + len(rows) + len(own) >= _LINES_MAX:
            yield "included", {"links": some, "rows": rows}
            some, rows = [], []
        some.append(list(link))
        rows += own
    if some:
        yield "included", {"links": some, "rows": rows}


async def _tell(link: Link, site: str, asked: dict[str, Any], blocks: Sequence[HeadBlock]) -> int:
    """Send blocks in one question, or in halves where they are too large for one."""
    chunk = codec.encode_chunk(blocks)
    if len(chunk) > _CHUNK_BYTES_MAX and sum(map(len, blocks)) > 1:
        return sum([await _tell(link, site, asked, half) for half in _halves(blocks)])
    counts = await _ask(link, site, "home", {**asked, "chunk": chunk})
    return int(counts["rows"]) + int(counts["parked"])


def _halves(blocks: Sequence[HeadBlock]) -> list[list[HeadBlock]]:
    if len(blocks) > 1:
        middle = len(blocks) // 2
        return [list(blocks[:middle]), list(blocks[middle:])]
    middle = len(blocks[0]) // 2
    return [[blocks[0].part(slice(0, middle))], [blocks[0].part(slice(middle, None))]]


async def _ask(link: Link, site: str, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
    asked = codec.encode_control(fields)
    return codec.decode_control(await link.request(f"ctl.{site}.{verb}", asked, timeout_s=_WAIT_S))

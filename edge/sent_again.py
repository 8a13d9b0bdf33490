"""Asks a centre that went back for what had been taken out as sent before, and sends what it lost.

A store that went back takes out of its outbox what its lost life had sent. Where the centre then
goes back behind that life, before its snapshot is loaded, nobody else has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.lanes import StoreThread, now_ms
from edge.store.sent import earliest
from sync import codec
from sync.handshake import ANY_DRAIN

if TYPE_CHECKING:
    from edge.store import EdgeStore
    from edge.store.taken import Kept
    from sync.transport import Link

#: The centre may have to look through all versions.
_ANSWER_S = 30.0


async def send_again(link: Link, store: EdgeStore, thread: StoreThread, site: str) -> int:
    """Put into the outbox what the centre no longer has; return the number of rows.

    Once the centre has taken the site up: then it knows which versions were a lost life's.
    """
    rows = 0
    for kept in await thread.run(store.kept):
        hlc, answers = await _ask(link, store, thread, f"ctl.{site}.sent", kept)
        rows += await thread.run(store.send_again, kept, answers, hlc, now_ms())
    return rows


async def _ask(
    link: Link, store: EdgeStore, thread: StoreThread, subject: str, kept: Kept
) -> tuple[int, list[bytes]]:
    hlc, answers = ANY_DRAIN, list[bytes]()
    asked = {"epoch": kept.epoch, "n": kept.fork_n, "after_hlc": kept.after_hlc}
    asking = store.kept_questions(kept)
    while (rows := await thread.run(next, asking, None)) is not None:
        question = codec.encode_control(asked | {"rows": [list(row) for row in rows]})
        answers.append(await link.request(subject, question, timeout_s=_ANSWER_S))
        hlc = earliest(hlc, answers[-1])
    return hlc, answers

"""What can't be applied is kept, with its reason, where both ends list it; nothing is dropped.

A parked row lies in ``sync.waiting`` as it was sent and has a row in ``mes.sync_parked``. Its site
gets the row's head, so that people there see the truth, but for rows that only wait for something
on its way, and for facts: they stay as they are where they were made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from central.store.fixed import fixed
from central.store.literals import array
from central.store.records import as_json, instant, queue_touched, record
from shared.catalog import CREATED_AT, ID, Kind
from shared.changes import PartBody
from shared.values import rule_broken
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.store.applying import Applying
    from central.store.changeset import Refusal, Source
    from shared.changes import Value

#: Characters of a message that are kept.
MESSAGE_MAX: Final = 1000
_NAME_MAX: Final = 40
#: Rows that are parked at a time; bounds the memory.
_ROWS_MAX: Final = 500


async def park(applying: Applying, refused: Sequence[Refusal]) -> None:
    """Keep rows that are not applied, and tell their site."""
    for start in range(0, len(refused), _ROWS_MAX):
        some = refused[start : start + _ROWS_MAX]
        await _keep(applying, some)
        await record(
            applying,
            "sync_parked",
            [
                (
                    each.source.ticket,
                    instant(each.source.origin.stored_at_ms),
                    _listed(applying, each),
                )
                for each in some
            ],
        )
        await tell(applying, some)
        applying.tally.parked += len(some)
        applying.waiting = True


def body_of(source: Source) -> bytes:
    """Return the canonical bytes of a part that holds just this row."""
    origin = source.origin
    return codec.encode_body(
        PartBody(
            schema=origin.schema,
            hlc=origin.hlc,
            offset_ms=origin.offset_ms,
            blocks=(source.alone(),),
        )
    )


async def _keep(applying: Applying, refused: Sequence[Refusal]) -> None:
    sources = [each.source for each in refused]
    lists: dict[str, tuple[Kind, list[Any]]] = {
        "ticket": (Kind.UUID, [s.ticket for s in sources]),
        "table_name": (Kind.TEXT, [plain(s.block.table, _NAME_MAX) for s in sources]),
        "row_id": (Kind.TEXT, [plain(s.id, MESSAGE_MAX) for s in sources]),
        "tx_id": (Kind.UUID, [s.origin.tx_id for s in sources]),
        "epoch": (Kind.UUID, [s.origin.epoch for s in sources]),
        "n": (Kind.INTEGER, [s.origin.n for s in sources]),
        "reason": (Kind.TEXT, [each.reason.value for each in refused]),
        "schema": (Kind.INTEGER, [s.origin.schema for s in sources]),
        "needs": (Kind.UUID, [each.needs for each in refused]),
        "behind": (Kind.UUID, [each.behind for each in refused]),
        "quiet": (Kind.BOOLEAN, [each.is_quiet for each in refused]),
        "block": (Kind.BYTES, [body_of(s) for s in sources]),
        "stored_at_ms": (Kind.INTEGER, [s.origin.stored_at_ms for s in sources]),
    }
    given = {name: array(kind, values) for name, (kind, values) in lists.items()}
    await applying.connection.execute(fixed("insert_waiting"), given | {"site": applying.site})


def _listed(applying: Applying, refusal: Refusal) -> dict[str, Value]:
    source = refusal.source
    content = as_json(source.new()) or "{}"
    return {
        "table_name": plain(source.block.table, _NAME_MAX),
        "row_id": source.id if rule_broken(ID, source.id) is None else None,
        "op": source.block.op.value,
        "reason": refusal.reason.value,
        "message": plain(refusal.message, MESSAGE_MAX),
        "content": plain(content, len(content)),
        "tx_id": source.origin.tx_id,
        "n": source.origin.n,
        "state": "waiting" if refusal.reason.waits else "parked",
        "parked_at": applying.now,
    }


def plain(text: str, length_max: int) -> str:
    """Return a text that PostgreSQL takes, cut to a length."""
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


async def tell(applying: Applying, refused: Sequence[Refusal]) -> None:
    """Have the site get the heads of its rows, where the rows can have one at all."""
    told = []
    for each in refused:
        source = each.source
        block, created = source.block, source.block.created[source.place]
        if block.table not in applying.catalog or each.is_quiet:
            continue
        table = applying.catalog.table(block.table)
        named = rule_broken(ID, source.id) or rule_broken(CREATED_AT, created)
        if not table.fact and not named and block.sites[source.place] == applying.site:
            told.append((table, source.id, created, (applying.site,)))
    await queue_touched(applying, told)

"""What can't be applied is kept, with its reason, where both ends list it; nothing is dropped.

A parked row lies in ``sync.waiting`` as it was sent and has a row in ``mes.sync_parked``. Its site
gets the row's head, so that people there see the truth, but for rows that only wait for something
on its way, and for facts: they stay as they are where they were made.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from central.store.changeset import Reason, name_of
from central.store.fixed import fixed
from central.store.literals import array
from central.store.overrule import UNREADABLE, overrule
from central.store.records import as_json, instant, queue_touched, record
from shared.catalog import CREATED_AT, ID, Kind
from shared.changes import Op, PartBody
from shared.values import rule_broken
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.changeset import Refusal, Source
    from shared.catalog import Table
    from shared.changes import Value

#: Characters of a message that are kept.
MESSAGE_MAX: Final = 1000
#: Characters of a table's name, of one that is not here, too.
NAME_MAX: Final = 40
#: Characters of an id that are kept beside the row: those of a real one, and few enough to be
#: indexed whatever they are. The row itself is kept whole.
_ID_MAX: Final = 100
#: Rows that are parked at a time; bounds the memory.
_ROWS_MAX: Final = 500


async def park(applying: Applying, refused: Sequence[Refusal]) -> None:
    """Keep rows that are not applied, and tell their site."""
    tickets = _Tickets()
    for start in range(0, len(refused), _ROWS_MAX):
        some = await tickets.given(applying, refused[start : start + _ROWS_MAX])
        await _keep(applying, some)
        listed = [
            (ticket, instant(each.source.origin.stored_at_ms), _listed(applying, each))
            for ticket, each in some
        ]
        await record(applying, "sync_parked", listed)
        await tell(applying, [each for _, each in some])
        applying.tally.parked += len(some)
        applying.waiting = True


class _Tickets:
    """Gives each row a ticket of its own, also where an id comes more than once.

    The second one's follows from the first one's and its number, so that a replay makes the same.
    """

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    async def given(
        self, applying: Applying, refused: Sequence[Refusal]
    ) -> list[tuple[str, Refusal]]:
        """Return the rows with tickets that nothing else has."""
        own = [each.source.ticket for each in refused]
        tickets = [self._next(ticket) for ticket in own]
        step = 1
        # Another part of the transaction may have had some of them: we go on after those.
        while taken := await _taken(applying, tickets):
            for row in [row for row, ticket in enumerate(tickets) if ticket in taken]:
                self._given[own[row]] += step
                tickets[row] = self._next(own[row])
            step *= 2
        for before, ticket in zip(own, tickets, strict=True):
            self._first.setdefault(before, ticket)
        return list(zip(tickets, map(self._behind, refused), strict=True))

    def _next(self, own: str) -> str:
        number = self._given[own]
        self._given[own] += 1
        return name_of(own, str(number)) if number else own

    def _behind(self, refusal: Refusal) -> Refusal:
        """Return the row as it waits for the ticket that was given to the one it is tied to."""
        behind = refusal.behind
        if refusal.reason is not Reason.TIED or behind is None:
            return refusal
        return replace(refusal, behind=self._first.get(behind, behind))


async def _taken(applying: Applying, tickets: Sequence[str]) -> set[str]:
    parked = applying.catalog.table("sync_parked")
    given = {"ids": array(Kind.UUID, tickets), "site": applying.site, "no": applying.no(parked)}
    cursor = await applying.connection.execute(
        b"SELECT id::text FROM sync.head"
        b" WHERE site_id = %(site)s AND table_no = %(no)s AND id = ANY(%(ids)s::uuid[])",
        given,
    )
    return {ticket for (ticket,) in await cursor.fetchall()}


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


async def _keep(applying: Applying, some: Sequence[tuple[str, Refusal]]) -> None:
    refused = [each for _, each in some]
    sources = [each.source for each in refused]
    lists: dict[str, tuple[Kind, list[Any]]] = {
        "ticket": (Kind.UUID, [ticket for ticket, _ in some]),
        "table_name": (Kind.TEXT, [plain(s.block.table, NAME_MAX) for s in sources]),
        "row_id": (Kind.TEXT, [plain(s.id, _ID_MAX) for s in sources]),
        "tx_id": (Kind.UUID, [s.origin.tx_id for s in sources]),
        "epoch": (Kind.UUID, [s.origin.epoch for s in sources]),
        "n": (Kind.INTEGER, [s.origin.n for s in sources]),
        "reason": (Kind.TEXT, [each.reason.value for each in refused]),
        "schema": (Kind.INTEGER, [s.origin.schema for s in sources]),
        "needs": (Kind.UUID, [each.needs for each in refused]),
        "needs_no": (Kind.INTEGER, [needs_no(applying, each) for each in refused]),
        "behind": (Kind.UUID, [each.behind for each in refused]),
        "quiet": (Kind.BOOLEAN, [each.is_quiet for each in refused]),
        "block": (Kind.BYTES, [body_of(s) for s in sources]),
        "stored_at_ms": (Kind.INTEGER, [s.origin.stored_at_ms for s in sources]),
    }
    given = {name: array(kind, values) for name, (kind, values) in lists.items()}
    given |= {"site": applying.site, "catalogue": applying.catalog.digest}
    await applying.connection.execute(fixed("insert_waiting"), given)


async def forget(applying: Applying, tickets: Sequence[str]) -> None:
    """Keep rows no longer, given by their tickets."""
    await applying.connection.execute(
        b"DELETE FROM sync.waiting WHERE ticket = ANY(%s::uuid[])", [array(Kind.UUID, tickets)]
    )


def needs_no(applying: Applying, refusal: Refusal) -> int | None:
    """Return the number of the table whose row is missing: another's may have the same id."""
    return None if refusal.needs_of is None else applying.table_nos[refusal.needs_of]


def _listed(applying: Applying, refusal: Refusal) -> dict[str, Value]:
    source = refusal.source
    return {
        "table_name": plain(source.block.table, NAME_MAX),
        "row_id": source.id if rule_broken(ID, source.id) is None else None,
        "op": source.block.op.value,
        "reason": refusal.reason.value,
        "message": plain(refusal.message, MESSAGE_MAX),
        "content": content_of(source),
        "tx_id": source.origin.tx_id,
        "n": source.origin.n,
        "state": "waiting" if refusal.reason.waits else "parked",
        "parked_at": applying.now,
    }


def content_of(source: Source) -> str:
    """Return what a row was sent with, as its record has it; its site where it is another one's."""
    block = source.block
    key: dict[str, Value] = {}
    if block.op is Op.INSERT:
        key["created_at"] = block.created[source.place]
        if (owner := block.sites[source.place]) != source.origin.site:
            key["site_id"] = owner
    content = as_json(key | source.new()) or "{}"
    return plain(content, len(content))


async def quarantine(
    connection: AsyncConnection[Any], site: str, payload: bytes, *,
    reason: str, message: str, stored_at_ms: int,
) -> None:  # fmt: skip
    """Keep bytes that nothing can be done with, once however often they come."""
    given = {
        "site": site,
        "reason": reason,
        "message": plain(message, MESSAGE_MAX),
        "sha256": hashlib.sha256(payload).digest(),
        "payload": payload,
        "stored_at_ms": stored_at_ms,
    }
    await connection.execute(fixed("insert_refused"), given)


def plain(text: str, length_max: int) -> str:
    """Return a text that PostgreSQL takes, cut to a length."""
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


async def tell(applying: Applying, refused: Sequence[Refusal]) -> None:
    """Have the site get the heads of its rows, but for those that only wait."""
    told = [each for each in refused if not each.is_quiet]
    # What is parked again after a restore of ours its site has heard of, and has built on since.
    news = [each for each in told if each.source.origin.tx_id not in applying.came_home]
    await overrule(applying, [each.source for each in news if each.reason not in UNREADABLE])
    await send_heads(applying, [each.source for each in told])


async def send_heads(applying: Applying, sources: Iterable[Source]) -> None:
    """Have the site get the heads of rows that it sent, where they can have one at all."""
    told = [
        (table, source.id, source.block.created[source.place], (applying.site,))
        for table, source in with_heads(applying, sources)
        if source.block.sites[source.place] == applying.site
    ]
    await queue_touched(applying, told)


def with_heads(applying: Applying, sources: Iterable[Source]) -> Iterator[tuple[Table, Source]]:
    """Give those rows that can have a head, with their tables."""
    for source in sources:
        block, created = source.block, source.block.created[source.place]
        if block.table not in applying.catalog:
            continue
        table = applying.catalog.table(block.table)
        named = rule_broken(ID, source.id) or rule_broken(CREATED_AT, created)
        if not table.fact and not named:
            yield table, source

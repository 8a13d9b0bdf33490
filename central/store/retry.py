"""Parked rows are tried again, where it is their turn or a person asks for it, or are let go of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.store.applying import Setback
from central.store.changeset import Extra, Origin, Reason, Refusal, Rows, Source
from central.store.extras import forget_extras, keep_extras
from central.store.facts import apply_facts
from central.store.fixed import fixed
from central.store.groups import apply_group, part_orphans
from central.store.intake import take_in
from central.store.let_go import bare_of, digest, is_let_go, note_let_go
from central.store.literals import array
from central.store.overrule import overrule
from central.store.parking import MESSAGE_MAX, forget, needs_no, plain, send_heads
from central.store.records import News, queue_touched, restate
from shared.catalog import Kind
from shared.errors import WaitsBehind
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that was not applied, as it lies in ``sync.waiting``."""

    ticket: str
    origin: Origin
    reason: Reason
    behind: str | None
    #: The site goes on as if it had been applied; it has not been told otherwise yet.
    is_quiet: bool
    block: bytes


class _Refused(Setback):
    """A group of parked rows can't be applied yet."""

    def __init__(self, refused: list[Refusal]) -> None:
        super().__init__(f"{len(refused)} rows")
        self.refused = refused


async def retry(applying: Applying, ticket: str, *, is_asked: bool = False) -> bool:
    """Try a parked row again with those that are tied to it; return whether it is applied.

    Then those that wait behind it have their turn. A row that fails again keeps its place, with
    what is in its way now. ``is_asked`` by a person, who is told also where that is the same.
    """
    done: list[bool] = []
    queue = [ticket]
    for each in queue:
        group = await _group(applying, each)
        applied = bool(group) and await _retry(applying, group, is_asked=is_asked)
        done.append(applied)
        if applied:
            queue += await _behind(applying, group)
    return done[0]


async def discard(applying: Applying, ticket: str, by: str) -> bool:
    """Let go of a parked row for good, on a person's word; return whether there was one.

    What waited behind it is tried without it. Its site, which goes on showing a row that only
    waited, gets what the centre has of it. Of one that came home after a restore there may be no
    more than the record. Raises WaitsBehind for one that waits behind another: what its site
    builds on it has to wait behind that one, too.
    """
    found = await _read(applying, [ticket])
    if front := await _front(applying, found):
        raise WaitsBehind(
            f"ticket {ticket[-8:]} waits behind {front[-8:]}, an earlier change of the same row;"
            " retry or discard that one first"
        )
    if not found and await listed_of(ticket, applying.connection) is None:
        return False
    found += await _same_facts(applying, found)
    tickets = [ticket, *(each.ticket for each in found if each.ticket != ticket)]
    await forget(applying, tickets)
    tickets += await bare_of(applying, tickets)
    message = plain(f"discarded by {by}", MESSAGE_MAX)
    await restate(applying, {each: News("discarded", message=message) for each in tickets})
    await note_let_go(applying, tickets)
    await overrule(applying, _shown(found), is_shown=True)
    await send_heads(applying, [source for waiting in found for source in _sources(waiting)])
    for each in await _behind(applying, found):
        await retry(applying, each)
    return True


async def _same_facts(applying: Applying, found: Sequence[Waiting]) -> list[Waiting]:
    """Return what else waits of the same facts, which their store has sent more than once."""

    def says(waiting: Waiting) -> set[tuple[tuple[str, str], bytes]]:
        facts = [each for each in _sources(waiting) if is_let_go(applying, each)]
        return {(each.key, digest(applying, each)) for each in facts}

    same = {each for waiting in found for each in says(waiting)}
    cursor = await applying.connection.execute(
        b"SELECT ticket::text FROM sync.waiting WHERE site_id = %s AND row_id = ANY(%s::text[])",
        [applying.site, array(Kind.TEXT, [row_id for (_, row_id), _ in same])],
    )
    tickets = {ticket for (ticket,) in await cursor.fetchall()} - {each.ticket for each in found}
    return [each for each in await _read(applying, sorted(tickets)) if says(each) & same]


async def _front(applying: Applying, found: Sequence[Waiting]) -> str | None:
    """Return the ticket of the change of its row that one waits behind."""
    behind = [each.behind for each in found if each.reason is Reason.BEHIND and each.behind]
    return behind[0] if behind and await _read(applying, behind) else None


async def listed_of(ticket: str, connection: AsyncConnection[Any]) -> str | None:
    """Return the site that lists a row as parked, whether or not the row itself is here."""
    cursor = await connection.execute(
        b"SELECT site_id FROM mes.sync_parked WHERE id = %s AND state IN ('parked', 'waiting')",
        [ticket],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


def _sources(waiting: Waiting) -> Iterable[Source]:
    for block in codec.decode_body(waiting.block).blocks:
        yield from (Source(block, row, waiting.origin) for row in range(len(block)))


def _shown(some: Iterable[Waiting]) -> list[Source]:
    """Return the rows of those that their site still shows as if they had been applied."""
    return [source for each in some if each.is_quiet for source in _sources(each)]


async def _retry(applying: Applying, group: Sequence[Waiting], *, is_asked: bool) -> bool:
    try:
        async with applying.savepoint():
            await forget(applying, [each.ticket for each in group])
            await _apply(applying, group)
            await restate(applying, {each.ticket: News("applied") for each in group})
            await _bring_home(applying, group)
    except _Refused as why:
        await restate(applying, await _keep_back(applying, group, why.refused), anyway=is_asked)
        return False
    return True


async def _bring_home(applying: Applying, group: Sequence[Waiting]) -> None:
    """Send the site its facts that its store has lost since: it went back to before them."""
    facts = [
        (source.origin, (applying.catalog.table(source.block.table), source))
        for waiting in group
        for source in _sources(waiting)
        if applying.catalog.table(source.block.table).fact
    ]
    if not facts:
        return
    cursor = await applying.connection.execute(
        b"SELECT epoch::text, fork_n FROM sync.epoch WHERE site = %s AND fork_n IS NOT NULL",
        [applying.site],
    )
    fork_of = dict(await cursor.fetchall())
    lost = [told for origin, told in facts if origin.n > fork_of.get(origin.epoch, origin.n)]
    await queue_touched(
        applying,
        [(t, s.id, s.block.created[s.place], (applying.site,)) for t, s in lost],
    )


async def _group(applying: Applying, ticket: str) -> list[Waiting]:
    """Return the row, the one it is tied to, and all that are tied to that one."""
    found = await _read(applying, [ticket])
    if found and found[0].reason is Reason.TIED and found[0].behind:
        ticket = found[0].behind
    cursor = await applying.connection.execute(
        b"SELECT ticket::text FROM sync.waiting"
        b" WHERE site_id = %s AND behind = %s AND reason = 'tied'",
        [applying.site, ticket],
    )
    tied = [row[0] for row in await cursor.fetchall()]
    return await _read(applying, [ticket, *tied]) or found


async def _read(applying: Applying, tickets: Sequence[str]) -> list[Waiting]:
    cursor = await applying.connection.execute(
        fixed("read_tickets"), {"site": applying.site, "tickets": array(Kind.UUID, tickets)}
    )
    return [
        Waiting(
            ticket,
            _origin(applying, ticket, block, fields),
            Reason(reason),
            behind,
            quiet,
            bytes(block),
        )
        for ticket, reason, behind, quiet, block, *fields in await cursor.fetchall()
    ]


def _origin(applying: Applying, ticket: str, block: bytes, fields: Sequence[Any]) -> Origin:
    tx_id, epoch, n, stored_at_ms, place = fields
    body = codec.decode_body(bytes(block))
    return Origin(
        site=applying.site,
        epoch=epoch,
        n=n,
        tx_id=tx_id,
        schema=body.schema,
        hlc=body.hlc,
        offset_ms=body.offset_ms,
        stored_at_ms=stored_at_ms,
        ticket=ticket,
        place=place,
    )


async def _apply(applying: Applying, group: Iterable[Waiting]) -> None:
    """Apply rows as they were sent; raises ``_Refused`` where any can't be."""
    refused: list[Refusal] = []
    extras: list[Extra] = []
    pieces: list[Rows] = []
    for waiting in group:
        for block in codec.decode_body(waiting.block).blocks:
            intake = take_in(block, waiting.origin, applying.catalog)
            refused += intake.refused
            extras += intake.extras
            if intake.rows is not None:
                pieces.append(intake.rows)
    _all_or_none(refused)
    facts, absent = await part_orphans(applying, [p for p in pieces if p.table.fact])
    for rows in facts:
        refused += await apply_facts(applying, rows)
    others = [p for p in pieces if not p.table.fact]
    refused += absent + await apply_group(applying, others, again=True)
    _all_or_none(refused)
    await forget_extras(applying, others)
    await keep_extras(applying, extras)


def _all_or_none(refused: list[Refusal]) -> None:
    if refused:
        raise _Refused(refused)


async def _keep_back(
    applying: Applying, group: Sequence[Waiting], refused: Iterable[Refusal]
) -> dict[str, News]:
    """Note what is in the way of rows now, and return that; the others wait for the first of them.

    They have been tried in vain once more, so others have their turn before them.
    """
    by_ticket = {each.source.ticket: each for each in refused}
    await _tell_shown(applying, _loud(group, by_ticket))
    await applying.connection.execute(
        b"UPDATE sync.waiting SET catalogue = %s, tries = tries + 1 WHERE ticket = ANY(%s::uuid[])",
        [applying.catalog.digest, array(Kind.UUID, [each.ticket for each in group])],
    )
    told: dict[str, News] = {}
    for waiting in group:
        why = by_ticket.get(waiting.ticket)
        if why is None or (why.reason is Reason.TIED and waiting.reason is Reason.TIED):
            told[waiting.ticket] = News("waiting")
            continue
        state = "waiting" if why.reason.waits else "parked"
        told[waiting.ticket] = News(state, why.reason.value, plain(why.message, MESSAGE_MAX))
        await applying.connection.execute(
            b"UPDATE sync.waiting SET reason = %s, needs = %s, needs_no = %s, behind = %s"
            b" WHERE ticket = %s",
            [why.reason.value, why.needs, needs_no(applying, why), why.behind, waiting.ticket],
        )
    return told


def _loud(group: Sequence[Waiting], refused: Mapping[str, Refusal]) -> list[Waiting]:
    """Return those that only waited and are refused now, or are tied to one that is."""
    waits = all(each.is_quiet for each in refused.values())
    return [
        each
        for each in group
        if each.is_quiet
        and not (refused[each.ticket].is_quiet if each.ticket in refused else waits)
    ]


async def _tell_shown(applying: Applying, loud: Sequence[Waiting]) -> None:
    """Let a site see the truth of rows that it has taken for applied.

    With them goes out of its sight what it has built on them, which waits behind them.
    """
    told: dict[str, Waiting] = {}
    while loud := [each for each in loud if each.is_quiet and each.ticket not in told]:
        told |= {each.ticket: each for each in loud}
        loud = await _read(applying, await _behind(applying, loud))
    sources = [source for each in told.values() for source in _sources(each)]
    await overrule(applying, sources, is_shown=True)
    await send_heads(applying, sources)
    await applying.connection.execute(
        b"UPDATE sync.waiting SET quiet = false WHERE ticket = ANY(%s::uuid[])",
        [array(Kind.UUID, list(told))],
    )


async def _behind(applying: Applying, group: Sequence[Waiting]) -> list[str]:
    """Return the tickets that wait behind these, in the order in which they were sent."""
    cursor = await applying.connection.execute(
        b"SELECT ticket::text FROM sync.waiting WHERE site_id = %s AND behind = ANY(%s::uuid[])"
        b" ORDER BY ord",
        [applying.site, array(Kind.UUID, [each.ticket for each in group])],
    )
    return [ticket for (ticket,) in await cursor.fetchall()]

"""Two-way rows that something is in the way of: decided one by one, through ``sync.resolve``.

What a decision asks for is read for many rows at once, under the locks of their heads; so is what
it says written. Nothing here knows a policy.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from central.store import releases
from central.store.changeset import Reason, Refusal, Rows
from central.store.decision import Decision
from central.store.later import counted, later_of_site, unseen, yielded
from central.store.overwrite import overwrite
from central.store.standing import Parked, Standing, read_standing
from central.store.times import by_columns
from shared.changes import Op
from shared.errors import InvalidValue
from sync.decisions import Author, Conflict, Resolution, Write
from sync.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.store.applying import Applying
    from sync.decisions import Version

#: Rows that are decided on at a time; bounds the memory of what is read for them.
ROWS_MAX: Final = 1_000
_NOTHING: Final = Resolution({})
_BEFORE_ALL: Final = -1


async def settle(applying: Applying, rows: Rows, *, again: bool = False) -> list[Refusal]:
    """Decide on each of the rows and write what was decided; return those that can't be.

    ``again`` is for rows that were parked: they give way to what their site wrote since, and the
    site is told in any case. Where any row is refused, nothing of what was written may stay.
    """
    refused: list[Refusal] = []
    if not rows.ids:
        return refused
    for portion in rows.slices(ROWS_MAX):
        refused += await _settle(applying, portion, again=again)
    return refused


async def _settle(applying: Applying, rows: Rows, *, again: bool) -> list[Refusal]:
    await applying.plan(indexed=True)
    standing = await read_standing(applying, rows)
    unspent = await releases.unspent(applying, rows)
    decisions: list[Decision] = []
    refused: list[Refusal] = []
    for row, each in enumerate(standing):
        if refusal := _refusal(rows, row, each):
            refused.append(refusal)
            continue
        relaxed = releases.relaxed(rows, row, each.values, unspent)
        try:
            decisions.append(decide(rows, row, each, relaxed, again=again))
        except InvalidValue as why:
            refused.append(Refusal(rows.source(row), Reason.INVALID_VALUE, str(why)))
    if not refused:
        refused = await overwrite(applying, rows, decisions)
        applying.tally.rows += 0 if refused else len(decisions)
        await releases.spend(applying, rows, decisions, unspent)
    return refused


def _refusal(rows: Rows, row: int, standing: Standing) -> Refusal | None:
    """Return why a row can't even be decided on."""
    if first := _in_front(rows, row, standing):
        return Refusal(
            rows.source(row),
            Reason.BEHIND,
            "an earlier change of the row is parked",
            behind=first.ticket,
            quiet=first.is_quiet,
        )
    head = standing.head
    if head and not head.deleted and head.created_at != rows.created[row]:
        message = f"created_at is {rows.created[row]}, that of the row is {head.created_at}"
        return Refusal(rows.source(row), Reason.MOVED, message)
    return None


def _in_front(rows: Rows, row: int, standing: Standing) -> Parked | None:
    """Return the parked change that a row builds on; one of a row that never was builds on all.

    On all before it: what was sent later and is tried again waits for this one, or for nothing.
    """
    place = rows.source(row).origin.place
    before = [parked for parked in standing.parked if place is None or parked.place < place]
    builds_on = {rows.base[row], rows.after[row]}
    found = [parked for parked in before if parked.tx_id in builds_on]
    if not found and standing.head is None and rows.op is not Op.INSERT:
        found = before
    return found[-1] if found else None


def decide(
    rows: Rows, row: int, standing: Standing, relaxed: frozenset[str], *, again: bool
) -> Decision:
    """Return what becomes of a row; InvalidValue where a merge makes what a column can't hold."""
    table, head = rows.table, standing.head
    write = write_of(rows, row, relaxed)
    left: Write | None = write
    records: tuple[Conflict, ...] = ()
    since: Sequence[Version] | None = standing.since
    if again:
        # What came home has no clock: what its site wrote on what stood then came after it.
        clock = _BEFORE_ALL if rows.source(row).origin.is_home else rows.hlc[row]
        since, clocks = counted(standing.since, standing.clocks, clock)
        later = later_of_site(since, clocks, write, clock)
        left, records = yielded(table, standing.values, later, write)
        since = unseen(since, later)
    resolution = _NOTHING
    if left is not None:
        resolution = resolve(table, standing.values, standing.last_values, since, left)
    dropped = frozenset(write.new) - frozenset(left.new if left else ())
    resolution = replace(
        resolution,
        conflicts=(*records, *resolution.conflicts),
        overruled=resolution.overruled | dropped,
    )
    expected = rows.after[row] or rows.base[row]
    is_clean = (
        (head is None and write.op is Op.INSERT)
        or (head is not None and not head.deleted and head.version == expected)
    ) and not (resolution.conflicts or resolution.overruled)
    return Decision(
        row=row,
        standing=standing,
        write=write,
        resolution=resolution,
        version=write.tx_id if is_clean else str(uuid.uuid4()),
        is_clean=is_clean,
        tells_site=again or not is_clean,
    )


def write_of(rows: Rows, row: int, relaxed: frozenset[str] = frozenset()) -> Write:
    """Return a row as the write that asks for a decision."""
    names = [column.name for column in rows.columns]
    new = {name: values[row] for name, values in zip(names, rows.new, strict=True)}
    old = {name: values[row] for name, values in zip(names, rows.old, strict=False)}
    writer = rows.table.writer_column
    person = new.get(writer.name) if writer else None
    return Write(
        op=rows.op,
        tx_id=rows.tx_ids[row],
        base=rows.base[row],
        new=new,
        old=old,
        author=Author(
            site=rows.source(row).origin.site,
            writer=None if person is None else str(person),
            at_ms=rows.at[row],
            clamped=rows.clamped[row],
        ),
        relaxed=relaxed,
        times=by_columns(rows.table, rows.times[row] if rows.times else None),
    )

"""Repairs rows that a comparison has found to differ: those rows, and by the ways that all rows go.

The centre decides. Where a row stands, or was deleted, its site gets the head anew, by the feed;
what the site had instead is kept in the conflict history. What only the site has, and may write, it
sends again, by its outbox. No value of the centre's is overwritten: a row that was lost here,
though its head says that it stands, is put back as its site has it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from central.compare.lost import put_back
from central.compare.rows import standing_of
from central.store.applying import Applying
from central.store.changeset import name_of
from central.store.fixed import fixed
from central.store.literals import array
from central.store.parents import KnownIds
from central.store.records import as_json, record
from shared import sums
from shared.catalog import Catalog, Kind, Table
from shared.changes import SHARED
from sync.decisions import CENTRE, WHOLE_ROW, Outcome
from sync.policies import same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from central.compare.rows import Part, Standing
    from shared.changes import Value

#: What stands as policy in the history of a repaired row.
REPAIR: Final = "repair"
_WRITER: Final = "mes-sync verify"
_LOCK_MAX_MS: Final = 2_000


class Action(StrEnum):
    """What becomes of a row."""

    SENT = "sent"  #: its head comes to the site by the feed
    RESEND = "resend"  #: the site is to send it again
    RESTORED = "restored"  #: it was lost at the centre, and stands there again as the site has it
    KEYS = "keys"  #: the site is to give it the keys that it has at the centre
    LOST = "lost"  #: it was lost at the centre, and what the site has can't be put back
    MOVED = "moved"  #: it was written since it was compared: it has to be compared again


@dataclass(frozen=True, slots=True)
class Item:
    """A row as it was compared."""

    site_id: str
    created_at: str
    id: str
    #: The centre's version, None where it had none.
    version: str | None
    #: What the site has, by the columns asked for; None where it has no row.
    here: tuple[Value, ...] | None
    #: site_id and created_at as the site has them, where it has a row.
    here_key: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Decided:
    item: Item
    standing: Standing
    action: Action
    #: Given to the row's head; None where it gets none.
    version: str | None = None


def decide(table: Table, site: str, item: Item, standing: Standing) -> Action:
    """Return what becomes of a row that differed, as it stands now."""
    moved_keys = standing.values is not None and bool(_keys_apart(item, standing))
    if standing.version != item.version or (standing.values == item.here and not moved_keys):
        return Action.MOVED
    if table.fact:
        kept = Action.KEYS if moved_keys else Action.RESEND
        return Action.SENT if item.here is None else kept
    stands = standing.values is not None or standing.left
    if stands or standing.deleted:
        return Action.SENT
    may_send = table.two_way and standing.site_id == site
    if standing.version is None:
        return Action.RESEND if may_send else Action.SENT
    return Action.RESTORED if may_send and item.here is not None else Action.LOST


def _keys_apart(item: Item, standing: Standing) -> dict[str, tuple[str, str]]:
    """Return the keys that a row has otherwise at its site, each as it is there and here."""
    there = (standing.site_id, standing.created_at)
    pairs = zip(("site_id", "created_at"), item.here_key or there, there, strict=True)
    return {name: (one, other) for name, one, other in pairs if one != other}


async def repair(
    connection: AsyncConnection[Any], catalog: Catalog, part: Part, began_at: str,
    items: Sequence[Item],
) -> list[Action]:  # fmt: skip
    """Repair rows; return what becomes of each.

    ``began_at`` is when the comparison began. All of it is one transaction.
    """
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MAX_MS}".encode())
        applying = await _applying(connection, catalog, part.site)
        keys = [(item.site_id, item.created_at, item.id) for item in items]
        await _lock(connection, applying.no(part.table), keys)
        rows = await standing_of(connection, part, keys)
        decided = [_decided(part, *each) for each in zip(items, rows, strict=True)]
        decided = [await _restored(applying, part, each) for each in decided]
        await _renew(applying, part, decided)
        await _send(applying, part, decided)
        await _record(applying, part, began_at, decided)
        await connection.execute("SELECT pg_notify('mes_feed', '')")
    return [each.action for each in decided]


def _decided(part: Part, item: Item, standing: Standing) -> _Decided:
    action = decide(part.table, part.site, item, standing)
    # A site has no say in rows that are none of its share: of those it is told again, no more.
    own = standing.values is not None or (
        not standing.left and standing.site_id in (part.site, SHARED)
    )
    renewed = action in (Action.SENT, Action.RESTORED) and standing.version is not None and own
    return _Decided(item, standing, action, str(uuid.uuid4()) if renewed else None)


async def _restored(applying: Applying, part: Part, each: _Decided) -> _Decided:
    """Put a row back that is to be restored; LOST where that can't be done."""
    here = each.item.here
    if each.action is not Action.RESTORED or here is None:
        return each
    if await put_back(applying, part, each.standing, here):
        return each
    return replace(each, action=Action.LOST, version=None)


async def _applying(connection: AsyncConnection[Any], catalog: Catalog, site: str) -> Applying:
    cursor = await connection.execute("SELECT name, no FROM sync.table_no")
    numbers = dict(await cursor.fetchall())
    cursor = await connection.execute(
        """SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
    )
    row = await cursor.fetchone()
    assert row is not None
    return Applying(connection, catalog, numbers, frozenset(), site, KnownIds(), now=row[0])


async def _lock(
    connection: AsyncConnection[Any], number: int, keys: Sequence[tuple[str, str, str]]
) -> None:
    await connection.execute(
        """SELECT FROM sync.head AS h
           JOIN unnest(%s::text[], %s::uuid[]) AS k (site_id, id) USING (site_id, id)
           WHERE h.table_no = %s ORDER BY h.site_id, h.id FOR UPDATE OF h""",
        [[site for site, _, _ in keys], [row_id for _, _, row_id in keys], number],
    )


def _scopes(part: Part, each: _Decided) -> list[str]:
    """Return whom the row's head is sent to: everybody who may have the version before."""
    row = each.standing
    return sorted(row.share) or [SHARED if row.site_id == SHARED else part.site]


async def _renew(applying: Applying, part: Part, decided: Sequence[_Decided]) -> None:
    some = [each for each in decided if each.version is not None]
    if not some:
        return
    given = {
        "table_no": applying.no(part.table),
        "writer": _WRITER,
        "sites": array(Kind.TEXT, [each.standing.site_id for each in some]),
        "ids": array(Kind.UUID, [each.item.id for each in some]),
        "created": array(Kind.TIMESTAMP, [each.standing.created_at for each in some]),
        "versions": array(Kind.UUID, [each.version for each in some]),
        "deleted": array(Kind.BOOLEAN, [each.standing.deleted for each in some]),
        "scopes": array(Kind.TEXT, [array(Kind.TEXT, _scopes(part, each)) for each in some]),
    }
    await applying.connection.execute(fixed("renew_heads"), given)


async def _send(applying: Applying, part: Part, decided: Sequence[_Decided]) -> None:
    """Queue rows that have no head: facts, and rows that the centre never had."""
    some = [each for each in decided if each.action is Action.SENT and each.version is None]
    if not some:
        return
    await applying.connection.execute(
        """INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
           SELECT %s, k.site_id, k.id, k.created_at, ARRAY[%s]
           FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS k (site_id, id, created_at)""",
        [
            applying.no(part.table),
            part.site,
            [each.standing.site_id for each in some],
            [each.item.id for each in some],
            [each.standing.created_at for each in some],
        ],
    )


async def _record(
    applying: Applying, part: Part, began_at: str, decided: Sequence[_Decided]
) -> None:
    """Keep what each site had instead of what it is sent."""
    items = [
        (_record_id(part, began_at, each.item), began_at, _values(applying, part, each))
        for each in decided
        if each.action in (Action.SENT, Action.RESTORED, Action.KEYS)
    ]
    await record(applying, "sync_conflicts", items)


def _record_id(part: Part, began_at: str, item: Item) -> str:
    """Return the id of a row's record: one a day where comparisons at once find the same."""
    day, had = began_at[: sums.DAY_CHARACTERS], as_json(_named(part, item.here))
    keys = " ".join(item.here_key or ())
    return name_of(
        part.site, part.table.name, item.id, REPAIR, item.version or "", day, keys, str(had)
    )


def _values(applying: Applying, part: Part, each: _Decided) -> dict[str, Any]:
    here = _named(part, each.item.here)
    there = _named(part, each.standing.values)
    if here and there:  # only what differs
        here = {name: value for name, value in here.items() if not same(value, there[name])}
        there = {name: there[name] for name in here}
        apart = _keys_apart(each.item, each.standing)
        here |= {name: one for name, (one, _) in apart.items()}
        there |= {name: other for name, (_, other) in apart.items()}
    restored = each.action is Action.RESTORED
    return {
        "table_name": part.table.name,
        "row_id": each.item.id,
        "column_group": WHOLE_ROW,
        "policy": REPAIR,
        "verdict": str(Outcome.HERE if restored else Outcome.CENTRAL),
        "here_value": as_json(here),
        "central_value": as_json(there),
        "result_value": as_json(here if restored else there),
        "here_site": part.site,
        "central_site": CENTRE,
        "clock_clamped": 0,
        "base_version": each.item.version,
        "decided_at": applying.now,
    }


def _named(part: Part, values: Sequence[Value] | None) -> dict[str, Value]:
    """Return values by column; none where there is no row."""
    if values is None:
        return {}
    return dict(zip((column.name for column in part.columns), values, strict=True))

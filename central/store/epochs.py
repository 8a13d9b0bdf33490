"""Epochs: a site's chain ends where its store went back to an older copy, and goes on in a new one.

The old epoch is closed before anything of the new one is taken, so whatever of the store's lost
life arrives later is fenced (protocol, rule 19). What that life had sent stays and counts; but the
store has not seen it, so its versions are no longer the site's own: they are marked as lost, until
what made one comes again in a later epoch, as of a copy that held it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.store.homecoming import note_home
from central.store.literals import array
from central.store.parking import with_heads
from shared.catalog import Kind
from shared.changes import GENESIS, Position
from shared.errors import ForkedHistory, SyncError
from sync.handshake import Closed, Closure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.changeset import Source

#: A store that goes back this often within an hour is two stores that take turns.
_CLOSURES_MAX = 3


@dataclass(frozen=True, slots=True)
class Fork:
    """Up to where a store has what the centre knows of its epoch."""

    site: str
    epoch: str
    n: int
    #: None where the store keeps it no more: it was safe.
    hash: bytes | None
    #: Where the store means to go on, should the centre have no epoch for it yet.
    next_epoch: str


async def close(connection: AsyncConnection[Any], fork: Fork, why: str) -> Closed:
    """Close the epoch of a store that went back, and any later one; open its next one.

    In a transaction of the caller's. Repeated, it returns the same. Raises ForkedHistory where a
    person has to look: the fork is not what the centre remembers, or it is closed too often.
    """
    epochs = await _hold(connection, fork.site)
    old = next((each for each in epochs if each["epoch"] == fork.epoch), None)
    if old is None:
        return await _begin_anew(connection, fork, epochs, why)
    newest = epochs[-1]
    if newest is not old and old["fork_n"] == fork.n and not newest["last_n"]:
        return await _closed(connection, fork, old, newest["epoch"])
    await _check(connection, fork, old)
    later = epochs[epochs.index(old) + 1 :]
    await close_chain(connection, fork.site, Closure(fork.epoch, fork.n, old["last_n"]))
    for each in later:
        closure = Closure(each["epoch"], 0, each["last_n"])
        await close_chain(connection, fork.site, closure, kept=fork)
    await _open(connection, fork.site, fork.next_epoch)
    closed = await _closed(connection, fork, old, fork.next_epoch)
    await _tell(connection, fork, why, [(old, fork.n), *((each, 0) for each in later)])
    return closed


# Of what has moved into a later epoch the store has what it holds in the one that it is in still:
# applied there, or come home.
_NOT_KEPT: Final = b"""NOT EXISTS (
    SELECT FROM (SELECT tx_id, site, epoch, n FROM sync.applied UNION ALL
                 SELECT tx_id, site, epoch, n FROM sync.included) AS k
    WHERE k.tx_id = a.tx_id AND k.site = a.site
    AND k.epoch = %(kept_epoch)s AND k.n <= %(kept_n)s)"""

# The clock of the first transaction beyond a fork, and an order that all versions since are above:
# it was noted before any of these was applied, or came home, which we note when all has.
_BOUND: Final = (
    b"""
WITH drained AS (
    SELECT hlc, applied_at AS at FROM sync.applied AS a
    WHERE site = %(site)s AND epoch = %(epoch)s AND n > %(n)s AND """
    + _NOT_KEPT
    + b""" ORDER BY n LIMIT 1
), first AS (
    SELECT at FROM drained UNION ALL SELECT min(at) - interval '1 day' FROM sync.included
    WHERE site = %(site)s AND epoch = %(epoch)s AND n > %(n)s
)
SELECT (SELECT hlc FROM drained), coalesce((
    SELECT max(m.ord) FROM sync.order_mark AS m
    WHERE m.at < (SELECT min(at) FROM first) - interval '1 minute'), 0)"""
)

# All that a site drained later than that lies beyond the fork: its clocks never go back.
_LOSE_DRAINED: Final = b"""UPDATE sync.version SET lost = true
    WHERE origin = %(site)s AND NOT lost AND hlc >= %(hlc)s AND ord >= %(from_order)s"""
_LOSE_INCLUDED: Final = (
    b"""UPDATE sync.version SET lost = true
    WHERE origin = %(site)s AND NOT lost AND ord >= %(from_order)s AND version IN (
        SELECT tx_id FROM sync.included AS a
        WHERE site = %(site)s AND epoch = %(epoch)s AND n > %(n)s AND """
    + _NOT_KEPT
    + b")"
)


async def close_chain(
    connection: AsyncConnection[Any], site: str, closure: Closure, *, kept: Fork | None = None
) -> None:
    """Close one epoch where it stands; what lies beyond the fork is the site's own no more.

    But what had moved into it from ``kept``, up to where that goes: its store has that.
    """
    await connection.execute(
        """UPDATE sync.epoch SET closed_at_n = coalesce(closed_at_n, last_n),
                  fork_n = least(fork_n, %s) WHERE site = %s AND epoch = %s""",
        [closure.fork_n, site, closure.epoch],
    )
    beyond = {
        "site": site, "epoch": closure.epoch, "n": closure.fork_n,
        "kept_epoch": kept.epoch if kept else None, "kept_n": kept.n if kept else 0,
    }  # fmt: skip
    bound = await (await connection.execute(_BOUND, beyond)).fetchone()
    hlc, from_order = bound or (None, 0)
    for statement in (_LOSE_DRAINED, _LOSE_INCLUDED):
        await connection.execute(statement, beyond | {"hlc": hlc, "from_order": from_order})


async def make_own(applying: Applying, sources: Iterable[Source]) -> None:
    """Take what a site wrote for its own again: its store has it under the same id in a later life.

    A copy was taken between a drain and its sending, and put back after that: what is built on it
    there has seen it. What stands as it was written has the transaction's id for its version; else
    it is told by the drain's clock. Two lives of one copy may have drained with the same, so only
    where no other version of the row has it, and this one was not parked and may have none.
    """
    held = list(with_heads(applying, sources))
    if not held:
        return
    await applying.connection.execute(
        b"""UPDATE sync.version AS v SET lost = false
            FROM unnest(%(owner)s::text[], %(no)s::smallint[], %(id)s::uuid[], %(tx)s::uuid[],
                        %(hlc)s::bigint[], %(op)s::text[]) AS k (owner, no, id, tx, hlc, op)
            WHERE v.site_id = k.owner AND v.table_no = k.no AND v.id = k.id AND v.lost
              AND v.origin = %(site)s AND v.hlc = k.hlc AND v.hlc > 0
              AND (v.version = k.tx OR v.op = k.op::"char" AND NOT EXISTS (
                      SELECT FROM sync.version AS o WHERE o.site_id = k.owner AND o.table_no = k.no
                      AND o.id = k.id AND o.origin = v.origin AND o.hlc = v.hlc AND o.ord <> v.ord)
                  AND NOT EXISTS (
                      SELECT FROM mes.sync_parked AS p WHERE p.site_id = %(site)s
                      AND p.tx_id = k.tx AND p.row_id = k.id))""",
        {
            "site": applying.site,
            "owner": array(Kind.TEXT, [each.block.sites[each.place] for _, each in held]),
            "no": array(Kind.INTEGER, [applying.no(table) for table, _ in held]),
            "id": array(Kind.UUID, [each.id for _, each in held]),
            "tx": array(Kind.UUID, [each.origin.tx_id for _, each in held]),
            "hlc": array(Kind.INTEGER, [each.origin.hlc for _, each in held]),
            "op": array(Kind.TEXT, [each.block.op.value for _, each in held]),
        },
    )


async def link_hash(
    connection: AsyncConnection[Any], site: str, epoch: str, n: int
) -> bytes | None:
    """Return the hash of a transaction that was applied; None where it is not remembered."""
    if n == 0:
        return GENESIS
    cursor = await connection.execute(
        """SELECT hash FROM sync.applied WHERE site = %(site)s AND epoch = %(epoch)s AND n = %(n)s
           UNION ALL SELECT last_hash FROM sync.epoch
           WHERE site = %(site)s AND epoch = %(epoch)s AND last_n = %(n)s
           UNION ALL SELECT hash FROM sync.included
           WHERE site = %(site)s AND epoch = %(epoch)s AND n = %(n)s LIMIT 1""",
        {"site": site, "epoch": epoch, "n": n},
    )
    row = await cursor.fetchone()
    return bytes(row[0]) if row else None


async def applied_of(
    connection: AsyncConnection[Any], site: str, tx_ids: Sequence[str]
) -> list[str]:
    """Return which of these transactions of a site have had their effect, in whatever epoch."""
    cursor = await connection.execute(
        """SELECT tx_id::text FROM sync.applied
           WHERE site = %(site)s AND tx_id = ANY(%(ids)s::uuid[])
           UNION SELECT i.tx_id::text FROM sync.included AS i
           WHERE i.site = %(site)s AND i.tx_id = ANY(%(ids)s::uuid[]) AND NOT EXISTS (
               SELECT FROM sync.again AS a WHERE a.site = i.site AND a.tx_id = i.tx_id)""",
        {"site": site, "ids": array(Kind.UUID, tx_ids)},
    )
    return [tx_id for (tx_id,) in await cursor.fetchall()]


# --- the steps -------------------------------------------------------------------------------


async def _hold(connection: AsyncConnection[Any], site: str) -> list[dict[str, Any]]:
    """Hold all epochs of a site until the commit, and return them, oldest first."""
    cursor = await connection.execute(
        """SELECT epoch::text, last_n, last_hash, safe_n, closed_at_n, fork_n, included_n
           FROM sync.epoch WHERE site = %s ORDER BY opened_at, epoch FOR UPDATE""",
        [site],
    )
    names = ("epoch", "last_n", "last_hash", "safe_n", "closed_at_n", "fork_n", "included_n")
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def _check(connection: AsyncConnection[Any], fork: Fork, old: dict[str, Any]) -> None:
    known = await link_hash(connection, fork.site, fork.epoch, fork.n)
    # What is pruned was safe, and that the store has it from us.
    if None in (known, fork.hash) and fork.n > old["safe_n"]:
        raise ForkedHistory(f"n {fork.n} of {fork.site} is not remembered, and was not safe")
    if None is not known != fork.hash is not None:
        raise ForkedHistory(f"n {fork.n} of {fork.site} is another one at the centre")
    if old["last_n"] > fork.n and not await _remembers_first(connection, fork):
        raise ForkedHistory(
            f"the store of {fork.site} is older than what the centre remembers of its numbers;"
            " put it aside and begin with a new one (docs/restores.md)"
        )
    cursor = await connection.execute(
        """SELECT count(*) FROM sync.restore AS r JOIN sync.site AS s USING (site)
           WHERE r.site = %s AND r.who = 'edge' AND r.at > now() - interval '1 hour'
             AND r.at > coalesce(s.released_at, '-infinity')""",
        [fork.site],
    )
    row = await cursor.fetchone()
    if row and row[0] >= _CLOSURES_MAX:
        raise ForkedHistory(
            f"the store of {fork.site} went back {row[0]} times within an hour: two stores seem to"
            f" take turns; stop one, run `mes-central sites release {fork.site}`, and at the other"
            " `mes-edge moved`"
        )


async def _open(connection: AsyncConnection[Any], site: str, epoch: str) -> None:
    # Not now(): an epoch that is opened in the same transaction would be as old as this one.
    cursor = await connection.execute(
        """INSERT INTO sync.epoch (site, epoch, opened_at) VALUES (%s, %s, clock_timestamp())
           ON CONFLICT (site, epoch) DO NOTHING""",
        [site, epoch],
    )
    if not cursor.rowcount:
        raise SyncError(f"epoch {epoch} of {site} is there already")


async def _begin_anew(
    connection: AsyncConnection[Any], fork: Fork, epochs: list[dict[str, Any]], why: str
) -> Closed:
    """Take in a store that was made anew: it has nothing of what the site's former one sent."""
    for each in epochs:
        await close_chain(connection, fork.site, Closure(each["epoch"], 0, each["last_n"]))
    await _open(connection, fork.site, fork.epoch)
    await _tell(connection, fork, why, [(each, 0) for each in epochs])
    return Closed(Closure(fork.epoch, 0, 0), fork.epoch, await _latest(connection, fork.site))


async def _closed(
    connection: AsyncConnection[Any], fork: Fork, old: dict[str, Any], next_epoch: str
) -> Closed:
    closed_n = old["last_n"] if old["closed_at_n"] is None else old["closed_at_n"]
    closure = Closure(fork.epoch, fork.n, max(closed_n, old["included_n"]))
    return Closed(closure, next_epoch, await _latest(connection, fork.site))


async def _remembers_first(connection: AsyncConnection[Any], fork: Fork) -> bool:
    """Return whether the first transaction beyond the fork is known, and so its clock."""
    cursor = await connection.execute(
        "SELECT 1 FROM sync.applied WHERE site = %s AND epoch = %s AND n = %s",
        [fork.site, fork.epoch, fork.n + 1],
    )
    return await cursor.fetchone() is not None


async def _latest(connection: AsyncConnection[Any], site: str) -> int:
    cursor = await connection.execute(
        """SELECT coalesce(max(a.hlc), 0) FROM sync.epoch AS e CROSS JOIN LATERAL (
               SELECT hlc FROM sync.applied WHERE site = e.site AND epoch = e.epoch
               ORDER BY n DESC LIMIT 1) AS a
           WHERE e.site = %s""",
        [site],
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _tell(
    connection: AsyncConnection[Any], fork: Fork, why: str,
    ended: Iterable[tuple[dict[str, Any], int]],
) -> None:  # fmt: skip
    """Keep for people what was found, and how many transactions the store no longer has.

    Of those that came home as rows, and were not sent again, the facts and parked rows are gone.
    """
    found = {
        "ended": [
            {
                "epoch": each["epoch"], "fork_n": n,
                "closed_n": max(each["last_n"], each["included_n"]),
                "rows_only": max(0, each["included_n"] - max(each["last_n"], n)),
            }
            for each, n in ended
        ]
    }  # fmt: skip
    await connection.execute(
        "INSERT INTO sync.restore (site, who, why, found) VALUES (%s, 'edge', %s, %s::jsonb)",
        [fork.site, why, json.dumps(found)],
    )


# --- the centre went back ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """How far a site knows that the centre had been, before the centre went back."""

    site: str
    epoch: str
    #: The last transaction whose effects are in the rows that came home.
    included: Position
    #: The last link before the first one that the site can send again.
    before_first: Position
    lineage: tuple[Closure, ...] = ()


async def take_up(connection: AsyncConnection[Any], known: Known, why: str) -> int:
    """Go on with a site's chain from where the site can send again, once its rows are home.

    In a transaction of the caller's. Of transactions that are included only the facts take effect
    when they come again. Returns how many can't come again: the site was told that they
    were safe, and no backup that was marked held them.
    """
    epochs = {each["epoch"]: each for each in await _hold(connection, known.site)}
    await _close_others(connection, known, epochs)
    if known.epoch not in epochs:
        await _open(connection, known.site, known.epoch)
    last_n: int = epochs.get(known.epoch, {"last_n": 0})["last_n"]
    missing = max(0, known.before_first.n - last_n)
    if missing:
        await connection.execute(
            "UPDATE sync.epoch SET last_n = %s, last_hash = %s WHERE site = %s AND epoch = %s",
            [known.before_first.n, known.before_first.hash, known.site, known.epoch],
        )
    await connection.execute(
        """UPDATE sync.epoch SET included_n = %s, included_hash = %s
           WHERE site = %s AND epoch = %s AND included_n < %s""",
        [known.included.n, known.included.hash, known.site, known.epoch, known.included.n],
    )
    await note_home(connection, known.site)
    found = {
        "epoch": known.epoch, "from_n": last_n, "included_n": known.included.n, "missing": missing,
    }  # fmt: skip
    await connection.execute(
        "INSERT INTO sync.restore (site, who, why, found) VALUES (%s, 'centre', %s, %s::jsonb)",
        [known.site, why, json.dumps(found)],
    )
    return missing


async def _close_others(
    connection: AsyncConnection[Any], known: Known, epochs: Mapping[str, dict[str, Any]]
) -> None:
    """Close every epoch of the site but the one that it is in, as it says or as we have it."""
    for closure in known.lineage:
        if closure.epoch not in epochs:
            await connection.execute(
                """INSERT INTO sync.epoch (site, epoch, closed_at_n, opened_at)
                   VALUES (%s, %s, 0, clock_timestamp())""",
                [known.site, closure.epoch],
            )
        elif epochs[closure.epoch]["closed_at_n"] is None:
            await close_chain(connection, known.site, closure)
    told = {known.epoch, *(closure.epoch for closure in known.lineage)}
    for epoch, each in epochs.items():  # of a store that is no more
        if epoch not in told and each["closed_at_n"] is None:
            await close_chain(connection, known.site, Closure(epoch, 0, each["last_n"]))

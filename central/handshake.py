"""What the centre answers to a hello, and how either side is healed that went back.

``sync.handshake`` judges; this reads what it judges by, and does what follows. A site that has said
hello and agrees with us is *verified*: only then the ingest takes what it sends. Who is verified is
forgotten with every start of the server, since any start may be that of an older copy.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from central.feed import feed_position
from central.store import CentralStore, Teller, epochs, homecoming
from central.store.finish import stop
from central.store.lives import begun_beside, life_now, life_of, parting
from central.store.sent import Beyond, sent_before
from shared.changes import GENESIS, SHARED, Position
from shared.errors import ForkedHistory, SyncError
from shared.observe import note
from sync import codec
from sync.handshake import (
    Hello,
    Known,
    KnownChain,
    KnownFeed,
    Welcome,
    judge,
    read_lineage,
    read_met,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from central.store.lives import Parting
    from shared.catalog import Catalog

    Fields = dict[str, Any]

_log = logging.getLogger(__name__)


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Handshake:
    """Answers what a site asks before anything is sent, and when it or the centre went back."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    catalog: Catalog
    #: Tells how many messages of a site the broker still holds for the ingest.
    waiting: Callable[[str], Awaitable[int]]

    async def hello(self, site: str, asked: Fields) -> Fields:
        """Say whether the two agree, and where the centre stands."""
        waiting = await self.waiting(site)
        said = Hello.read(asked)
        async with self.pool.connection() as connection:
            known, safe_n, parted = await _judged_by(connection, site, said)
            now = await life_now(connection)
            welcome, why = judge(site, said, known)
            if welcome in (Welcome.OK, Welcome.BEHIND):
                # Of one that is behind, what is under way is applied before its epoch is closed.
                await _verify(connection, site)
            if welcome is Welcome.OK:
                await _remember(connection, site, said, asked)
                why = await _outdated(connection, site, said)
                welcome = Welcome.SNAPSHOT if why else welcome
            elif welcome is Welcome.STOP and not known.stopped_because:
                await _claim(connection, site, said, known, why)
        if welcome is Welcome.LOST:
            note(_log, "centre went back", level=logging.WARNING, site=site, why=why)
        elif welcome is Welcome.BEHIND:
            # Or what it sent since it said so was faster: then it does not ask for a new epoch.
            note(_log, "behind", site=site, why=why)
        chain = known.chains.get(said.epoch, KnownChain(Position(0, GENESIS)))
        return {
            "now_ms": now_ms(),
            "verdict": welcome.value,
            "why": why,
            "applied_n": chain.last.n,
            "applied_hash": chain.last.hash,
            "included": [chain.included.n, chain.included.hash],
            "safe_n": safe_n,
            "waiting": max(0, waiting),
            "ends": [known.own.end.n, known.shared.end.n],
            "schema": self.catalog.version,
            "life": now.id,
            "after": parted.after,
            "parted_order": parted.unmet.held_order if parted.unmet else None,
            "noted_ms": now.noted_ms,
        }

    async def link(self, site: str, asked: Fields) -> Fields:
        """Return the hash of one transaction of the site: so it finds how far the two agree."""
        async with self.pool.connection() as connection:
            found = await epochs.link_hash(connection, site, str(asked["epoch"]), int(asked["n"]))
        return {"hash": found}

    async def close(self, site: str, asked: Fields) -> Fields:
        """Close the epoch of a store that went back; nothing of it may be under way any more."""
        if waiting := await self.waiting(site):  # below zero: the broker does not tell
            return {"wait": waiting}
        fork = epochs.Fork(
            site, str(asked["epoch"]), int(asked["n"]), asked["hash"], str(asked["next"])
        )
        why = str(asked["why"])
        async with self.pool.connection() as connection:
            try:
                closed = await epochs.close(connection, fork, why)
            except ForkedHistory as error:
                await connection.rollback()
                await stop(connection, site, str(error))
                note(_log, "stopped", level=logging.ERROR, site=site, why=str(error))
                return {"stop": str(error)}
            await _verify(connection, site)
        closure = closed.closure
        note(
            _log, "epoch closed", level=logging.WARNING, site=site, why=why, epoch=closure.epoch,
            fork_n=closure.fork_n, closed_n=closure.closed_n, next=closed.next_epoch,
        )  # fmt: skip
        return closed.fields()

    async def known(self, site: str, asked: Fields) -> Fields:
        """Return which of these transactions of the site were applied, in whatever epoch."""
        async with self.pool.connection() as connection:
            return {"tx_ids": await epochs.applied_of(connection, site, asked["tx_ids"])}

    async def sent(self, site: str, asked: Fields) -> Fields:
        """Say which touches of these rows the lost life of a store has sent first."""
        after_hlc = int(asked.get("after_hlc", 0))
        beyond = Beyond(site, str(asked["epoch"]), int(asked["n"]), after_hlc)
        rows = [(table, owner, row_id) for table, owner, row_id in asked["rows"]]
        async with self.pool.connection() as connection:
            found = await sent_before(connection, self.catalog, beyond, rows)
        # Beside the touches: an earlier release takes these apart as they are.
        return {
            "rows": [list(each) for each, _ in found],
            "epochs": [epoch for _, epoch in found],
        }

    async def life(self, site: str, asked: Fields) -> Fields:
        """Tell a site that knows more than we do which versions we may not know: any later one."""
        del site
        async with self.pool.connection() as connection:
            now = await life_now(connection)
            life = (await parting(connection, read_met(asked))).since or now
            return {"life": life.id, "held_order": life.held_order}

    async def home(self, site: str, asked: Fields) -> Fields:
        """Take in some rows that the site knows of our lost history; return how many."""
        blocks = codec.decode_chunk(bytes(asked["chunk"]))
        async with self.pool.connection() as connection:
            async with connection.transaction():
                verified = await _one(connection, "SELECT sync.is_verified(%s)", [site])
                life = await life_of(connection, str(asked["life"]))
            if (order := asked.get("held_order")) is not None:
                life = life.from_order(int(order))
            took = asked.get("took_effect")  # an agent of before says nothing of it
            teller = Teller(
                site,
                only_own=bool(verified and verified[0]),
                history=asked.get("history"),
                took_effect=None if took is None else frozenset((t, i) for t, i in took),
            )
            store = CentralStore(connection, self.catalog)
            return dict(await store.take_home(teller, life, blocks))

    async def included(self, site: str, asked: Fields) -> Fields:
        """Note transactions of the site whose rows came home with the others, but for some."""
        told, epoch = homecoming.Told(site, asked.get("home")), str(asked["epoch"])
        links, rows = asked["links"], asked.get("rows", ())
        async with self.pool.connection() as connection:
            await homecoming.include(connection, told, epoch=epoch, links=links, rows=rows)
        return {}

    async def again(self, site: str, asked: Fields) -> Fields:
        """Note rows of these transactions that had not taken effect in them."""
        told = homecoming.Told(site, asked.get("home"))
        async with self.pool.connection() as connection:
            await homecoming.try_again(connection, told, asked["rows"])
        return {}

    async def take_up(self, site: str, asked: Fields) -> Fields:
        """Go on with the site, once all has come home that it knows."""
        known = epochs.Known(
            site, str(asked["epoch"]), _position(asked["included"]),
            _position(asked["before_first"]), read_lineage(asked["lineage"]),
        )  # fmt: skip
        async with self.pool.connection() as connection:
            missing = await epochs.take_up(connection, known, str(asked["why"]))
        note(
            _log, "history came home", level=logging.WARNING, site=site, rows=asked["rows"],
            included_n=known.included.n, missing=missing,
        )  # fmt: skip
        return {"missing": missing}


def _position(given: Sequence[Any]) -> Position:
    n, own = given
    return Position(int(n), bytes(own))


# --- what the centre knows -----------------------------------------------------------------------


async def _judged_by(
    connection: AsyncConnection[Any], site: str, said: Hello
) -> tuple[Known, int, Parting]:
    """Return what a hello is judged by, up to where the site may prune, and where we part."""
    await life_now(connection)
    parted = await parting(connection, said.lives)
    known, safe_n = await _known(connection, site, said, parted)
    if parted.is_beside and judge(site, said, known)[0] is not Welcome.STOP:
        # Not for a store that is sent away: all other sites would have to tell, too.
        parted = await begun_beside(connection, parted)
        known, safe_n = await _known(connection, site, said, parted)
    return known, safe_n, parted


async def _known(
    connection: AsyncConnection[Any], site: str, said: Hello, parted: Parting
) -> tuple[Known, int]:
    """Return what we know of a site, and up to where it may prune."""
    row = await _one(
        connection, "SELECT instance, stopped_because FROM sync.site WHERE site = %s", [site]
    )
    if row is None:
        raise SyncError(f"site {site} is not registered; run `mes-central sites add {site}`")
    cursor = await connection.execute(
        """SELECT epoch::text, last_n, last_hash, included_n, included_hash,
                  closed_at_n IS NOT NULL, safe_n
           FROM sync.epoch WHERE site = %s""",
        [site],
    )
    chains, safe_n = {}, 0
    for epoch, n, own, included_n, included, is_closed, safe in await cursor.fetchall():
        acked = None
        if epoch == said.epoch:
            safe_n = safe
            acked = await epochs.link_hash(connection, site, epoch, said.acked_n)
        chains[epoch] = KnownChain(
            Position(n, bytes(own)), Position(included_n, bytes(included)), is_closed, acked
        )
    own = await _known_feed(connection, site, said.own)
    shared = await _known_feed(connection, SHARED, said.shared)
    since, is_other = parted.since, parted.other is not None
    held_order = None if since is None else since.held_order
    return Known(row[0], row[1], chains, own, shared, held_order, is_other), safe_n


async def _known_feed(connection: AsyncConnection[Any], scope: str, at: Position) -> KnownFeed:
    end = await feed_position(connection, scope)
    if at.n == end.n:
        return KnownFeed(end, end.hash)
    # Where the entry was pruned, the next one still says what it followed.
    entry = await _one(
        connection,
        """SELECT hash FROM sync.feed WHERE scope = %s AND pos = %s
           UNION ALL SELECT previous FROM sync.feed WHERE scope = %s AND pos = %s LIMIT 1""",
        [scope, at.n, scope, at.n + 1],
    )
    return KnownFeed(end, bytes(entry[0]) if entry else None)


async def _outdated(connection: AsyncConnection[Any], site: str, said: Hello) -> str:
    for scope, at in ((site, said.own), (SHARED, said.shared)):
        if await is_gone(connection, scope, at.n):
            return f"feed {scope} no longer goes back to {at.n}"
    home = await _one(
        connection,
        """SELECT 1 FROM sync.site WHERE site = %s AND home_no > coalesce((
               SELECT max(no) FROM sync.life WHERE id = ANY(%s::uuid[])), 0)""",
        [site, [each.life for each in said.lives]],
    )
    return (
        f"the store of {site} is from before it brought home what the centre had lost"
        if home
        else ""
    )


async def is_gone(connection: AsyncConnection[Any], scope: str, after: int) -> bool:
    """Return whether the entry after a position was pruned."""
    position = await feed_position(connection, scope)
    if after >= position.n:
        return False
    entry = await _one(
        connection, "SELECT 1 FROM sync.feed WHERE scope = %s AND pos = %s", [scope, after + 1]
    )
    return entry is None


async def _one(
    connection: AsyncConnection[Any], query: Any, given: list[Any]
) -> tuple[Any, ...] | None:
    cursor = await connection.execute(query, given)
    row: tuple[Any, ...] | None = await cursor.fetchone()
    return row


# --- what it keeps -------------------------------------------------------------------------------


async def _verify(connection: AsyncConnection[Any], site: str) -> None:
    """Let the ingest take what the site sends, until the server starts again."""
    await connection.execute(
        """INSERT INTO sync.verified (site) VALUES (%s) ON CONFLICT (site) DO UPDATE
           SET started_at = excluded.started_at
           WHERE verified.started_at <> excluded.started_at""",
        [site],
    )


async def _remember(
    connection: AsyncConnection[Any], site: str, said: Hello, asked: Mapping[str, Any]
) -> None:
    """Keep what the agent said of itself, for the status of the centre.

    Until when the site is complete may be another moment then. Answers that are kept say the one
    before for up to a minute: else a hello would make all of them be read again.
    """
    kept = dict(asked) | said.fields()
    cursor = await connection.execute(
        """UPDATE sync.site AS s SET instance = %s, hello = %s, hello_at = now(), seen_at = now(),
                  clock_offset_ms = %s, claimed_by = NULL, claimed_at = NULL,
                  claimed_because = NULL
             FROM (SELECT hello ->> 'drained_ms' AS drained_ms FROM sync.site WHERE site = %s) AS o
            WHERE s.site = %s
           RETURNING o.drained_ms""",
        [said.instance, Jsonb(_as_json(kept)), now_ms() - int(asked["now_ms"]), site, site],
    )
    (before,) = await cursor.fetchone() or (None,)
    if _minute(before) != _minute(kept.get("drained_ms")):
        await connection.execute("SELECT sync.count_change(%s, 'heard')", [site])


def _minute(drained_ms: Any) -> int | None:
    return None if drained_ms is None else int(drained_ms) // 60_000


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value


async def _claim(
    connection: AsyncConnection[Any], site: str, said: Hello, known: Known, why: str
) -> None:
    """Note for the status that another store wants to speak for the site.

    And why it may not, where it stands in the place of the site's own. Nothing of the site is
    stopped by it: it ends with the hello of the right one.
    """
    is_own = known.instance in (None, said.instance, said.moved_from)
    await connection.execute(
        "UPDATE sync.site SET claimed_by = %s, claimed_at = now(), claimed_because = %s"
        " WHERE site = %s",
        [said.instance, why if is_own else None, site],
    )

"""Lives of the server: each start may be that of an older copy of the centre.

Nothing tells a restored server from one that was only restarted. So each start is noted, in a table
that is restored with the rest, and each site remembers the lives that it has met. What a site knows
from beyond the first life that it has *not* met may be lost here, however often the server was
started since (protocol, rule 20).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from shared.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from sync.handshake import Met

_LOCK: Final = 0x6D65_7303
_LIFE: Final = b"SELECT l.id::text, l.started_ms, l.held_order, l.order_here, l.noted_ms"
_NOW: Final = (
    b"""%b FROM sync.life AS l JOIN sync.life_now AS n ON n.life = l.id
    WHERE n.started_at = pg_postmaster_start_time()"""
    % _LIFE
)

# A replica began when it was promoted: what it had replayed by then was there. Of what clients
# wrote since, some is queued for the feed, which begins by noting this; some is not committed yet,
# and its order is drawn already. So a life begins right above all that was there, at a free order.
# Where a life goes on beside one that sites have met meanwhile, another one begins now.
_BEGIN: Final = b"""WITH began AS MATERIALIZED (
        SELECT floor(extract(epoch FROM CASE WHEN %(beside)s::uuid IS NOT NULL THEN now()
            ELSE greatest(pg_postmaster_start_time(), pg_last_xact_replay_timestamp()) END
            ) * 1000)::bigint AS ms
    ), queued AS MATERIALIZED (
        SELECT v.site_id, v.table_no, v.id, v.ord, v.origin = '*' AND v.at_ms > b.ms AS is_since
        FROM began AS b CROSS JOIN sync.touched AS t JOIN sync.version AS v
            ON v.site_id = t.site_id AND v.table_no = t.table_no AND v.id = t.row_id
    ), held AS MATERIALIZED (
        SELECT coalesce(greatest(
            (SELECT max(ord) FROM queued WHERE NOT is_since),
            (SELECT max(h.ord) FROM sync.head AS h WHERE NOT EXISTS (
                SELECT FROM queued AS q WHERE q.is_since AND q.site_id = h.site_id
                AND q.table_no = h.table_no AND q.id = h.id AND q.ord = h.ord))), 0) AS ord
    ), life AS (
        INSERT INTO sync.life (started_ms, held_order, order_here)
        SELECT b.ms, h.ord, h.ord + (h.ord > 0)::int FROM began AS b CROSS JOIN held AS h
        WHERE NOT EXISTS (
            SELECT FROM sync.life_now WHERE started_at = pg_postmaster_start_time()
            AND life IS DISTINCT FROM %(beside)s::uuid)
        RETURNING id)
    INSERT INTO sync.life_now (one, started_at, life)
    SELECT true, pg_postmaster_start_time(), id FROM life
    ON CONFLICT (one) DO UPDATE SET started_at = excluded.started_at, life = excluded.life"""


_AFTER: Final = b"%b FROM sync.life AS l WHERE l.no > %%s ORDER BY l.no LIMIT 1" % _LIFE


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the server."""

    id: str
    #: When it began, in milliseconds since 1970.
    started_ms: int
    #: Highest order of any version that was there then.
    held_order: int
    #: An order that no version has: above all that was there, below all that was written since.
    order_here: int
    #: When it was noted: the feed makes no entry in it before that.
    noted_ms: int

    def from_order(self, order: int) -> Life:
        """Return it as it is to who has no more than this of what was there in common with it."""
        if order >= self.held_order:
            return self
        return replace(self, held_order=order, order_here=order + (order > 0))


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the history of a site's heads leaves ours."""

    #: The last life of the server that both know; None where there is none.
    after: str | None
    #: The first of ours that the site has not met; None where there is none.
    unmet: Life | None
    #: What the site met next, as it told it; None where it met none but ours.
    other: Met | None

    @property
    def is_beside(self) -> bool:
        """Return whether the site has met, after all of ours, another one."""
        return self.other is not None and self.unmet is None

    @property
    def since(self) -> Life | None:
        """Return the life since which, and the order beyond which, we may not know what it knows.

        None where it has met all of ours, and no other.
        """
        order = self.other.parted_order if self.other else None
        return self.unmet if self.unmet is None or order is None else self.unmet.from_order(order)


async def life_now(connection: AsyncConnection[Any]) -> Life:
    """Return the life of the server, and note where it began where nobody has yet.

    To be called after each start before anything is taken from the queue of the feed.
    """
    return await _read(connection, _NOW, []) or await _begin(connection, beside=None)


async def _begin(connection: AsyncConnection[Any], *, beside: str | None) -> Life:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        await connection.execute(_BEGIN, {"beside": beside})
    life = await _read(connection, _NOW, [])
    assert life is not None
    return life


async def parting(connection: AsyncConnection[Any], met: Sequence[Met]) -> Parting:
    """Return where the history of a site's heads leaves ours: ``met`` leads to it.

    Where an older backup was restored before this one, the site has met lives that we never had,
    and the histories parted at that older backup, not where our own next life began.
    """
    cursor = await connection.execute(
        b"SELECT id::text, no FROM sync.life WHERE id = ANY(%s::uuid[])",
        [[each.life for each in met]],
    )
    ours = dict(await cursor.fetchall())
    known = [place for place, each in enumerate(met) if each.life in ours]
    last = known[-1] if known else -1
    after = met[last].life if known else None
    other = met[last + 1] if last + 1 < len(met) else None
    return Parting(after, await _read(connection, _AFTER, [ours[after] if after else 0]), other)


async def begun_beside(connection: AsyncConnection[Any], parted: Parting) -> Parting:
    """Return where a site's history leaves ours that goes on beside the other life it has met.

    So it is with a server that was not started since, as one that another took the place of for a
    while: a life of it begins now, since the site has not seen what it decided meanwhile.
    """
    return replace(parted, unmet=await _begin(connection, beside=parted.after))


async def life_of(connection: AsyncConnection[Any], life: str) -> Life:
    """Return a life by its id; raise MalformedMessage where there is none."""
    found = await _read(connection, b"%b FROM sync.life AS l WHERE l.id = %%s" % _LIFE, [life])
    if found is None:
        raise MalformedMessage(f"the centre has had no life {life}")
    return found


async def _read(connection: AsyncConnection[Any], query: bytes, given: list[Any]) -> Life | None:
    row = await (await connection.execute(query, given)).fetchone()
    return Life(*row) if row else None

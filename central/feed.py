"""The sequencer: from touched rows to numbered, hash-chained entries of each site's feed.

Whoever changes a row at the centre (a client's SQL by trigger, the ingest where its result is not
what the site wrote) leaves a row in ``sync.touched``. The sequencer, one at a time, deletes what
its snapshot sees, reads the heads in the same snapshot, and appends the entries: numbers have no
gaps because nobody else gives them, and neither the order of commits nor a long transaction
matters. All that became visible together goes into one entry, or a run of entries of which all but
the last say ``more``: an edge shows them together.

A site follows two feeds, its own and the shared one, and a step may write both. The entry that ends
a run names where the other feeds stand at the end of the step; so a site can show just what the
centre showed: whole steps, in their order.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, IsolationLevel

from central.heads import Touched, blocks_by_scope, created_expression, read_heads
from central.store.session import ABANDONED_LONG
from shared.changes import GENESIS, SHARED, Ack, HeadBlock, Position
from sync import codec, protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.catalog import Catalog

#: Rows taken from the queue at a time, whose entries are written before the next are taken.
PAGE_ROWS_MAX = 2_000
#: Rows in one entry; keeps its message below the broker's limit.
ENTRY_ROWS_MAX = 500
#: What an entry's message has besides its body, at most.
_FRAME_BYTES = 128
#: What the places of all sites' feeds may take in an entry.
_PLACES_BYTES_MAX = 32 << 10
_SEQUENCER_LOCK = 0x6D65_7301


@dataclass(slots=True)
class _Open:
    """A feed while a step appends to it; the last entry is held back until it is known as last."""

    scope: str
    position: Position
    ack: Ack | None
    #: How far of it the shared feed has named.
    named: int
    held: list[HeadBlock] = field(default_factory=list)
    #: Entries that are to be written, and the number of those that were.
    rows: list[tuple[str, int, bytes, bytes, bytes]] = field(default_factory=list)
    written: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the sequencer did."""

    touched: int
    #: Entries appended, by scope.
    entries: dict[str, int]


class Sequencer:
    """Appends to the feeds; only one runs at a time, whoever holds the lock."""

    def __init__(self, connection: AsyncConnection[Any], catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog

    async def step(self, now_ms: int) -> Step:
        """Put all that is visible now into the feeds, in one transaction."""
        connection = self._connection
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with connection.transaction():
            await connection.execute(ABANDONED_LONG)
            locked = await connection.execute(
                "SELECT pg_try_advisory_xact_lock(%s)", [_SEQUENCER_LOCK]
            )
            if not (await locked.fetchone() or [False])[0]:
                return Step(0, {})
            feeds = await self._open_feeds()
            touched = last_id = 0
            changed: set[str] = set()
            while True:
                page, last_id = await self._take_page(last_id)
                if not page:
                    break
                touched += len(page)
                changed |= {each.site_id for each in page}
                await self._lay_out(feeds, page, now_ms)
                await self._write(feeds)
            self._close(feeds, now_ms)
            await self._write(feeds)
            await self._move_heads(feeds)
            for site in sorted(changed):
                await connection.execute("SELECT sync.count_change(%s, 'told')", [site])
        return Step(touched, {scope: f.written for scope, f in feeds.items() if f.written})

    async def _open_feeds(self) -> dict[str, _Open]:
        """Return every feed; an ack is set where it says more than the last one sent."""
        feeds = {SHARED: _Open(SHARED, Position(0, GENESIS), None, 0)}
        cursor = await self._connection.execute("""
            SELECT scope, pos, hash, named_pos FROM sync.feed_head
            UNION ALL SELECT site, 0, NULL, 0 FROM sync.site
             WHERE site NOT IN (SELECT scope FROM sync.feed_head)""")
        async for scope, pos, own, named in cursor:
            feeds[scope] = _Open(scope, Position(pos, own or GENESIS), None, named)
        cursor = await self._connection.execute("""
            SELECT e.site, e.epoch::text, e.last_n, e.safe_n, e.last_hash
            FROM (SELECT DISTINCT ON (site) * FROM sync.epoch
                   ORDER BY site, closed_at_n IS NOT NULL, opened_at DESC) e
            LEFT JOIN sync.feed_head f ON f.scope = e.site
            WHERE (e.epoch, e.last_n, e.safe_n)
                  IS DISTINCT FROM (f.ack_epoch, f.ack_n, f.ack_safe_n)""")
        async for site, epoch, n, safe_n, own in cursor:
            feeds[site].ack = Ack(epoch, n, safe_n, bytes(own))
        return feeds

    async def _take_page(self, after: int) -> tuple[list[Touched], int]:
        """Return the next rows of the queue, and the last one's id."""
        # After the last page: what a transaction has deleted itself, it would read again each time.
        cursor = await self._connection.execute(
            f"""
            WITH taken AS (
                DELETE FROM sync.touched WHERE id IN
                    (SELECT id FROM sync.touched WHERE id > %s ORDER BY id LIMIT %s)
                RETURNING *)
            SELECT n.name, t.site_id, t.row_id::text, {created_expression("t.created_at")},
                   t.scopes, t.id
            FROM taken t JOIN sync.table_no n ON n.no = t.table_no ORDER BY t.id""",
            [after, PAGE_ROWS_MAX],
        )
        page: list[Touched] = []
        last_id = after
        async for table, site, row_id, created, scopes, each_id in cursor:
            page.append(Touched(table, site, row_id, created, frozenset(scopes)))
            last_id = each_id
        return page, last_id

    async def _lay_out(self, feeds: dict[str, _Open], page: list[Touched], now_ms: int) -> None:
        """Give each scope of the page's rows their heads, each row once."""
        rows = _once_each(page)
        for start in range(0, PAGE_ROWS_MAX, ENTRY_ROWS_MAX):
            heads = {
                name: await read_heads(self._connection, self._catalog.table(name), some)
                for name, touched in rows.items()
                if (some := touched[start : start + ENTRY_ROWS_MAX])
            }
            for scope, blocks in blocks_by_scope(self._catalog, heads).items():
                if scope not in feeds:  # a site that is not registered: nobody to tell
                    continue
                if feeds[scope].held:
                    self._append(feeds[scope], now_ms, None)
                feeds[scope].held = blocks

    def _close(self, feeds: dict[str, _Open], now_ms: int) -> None:
        """End the run of each feed; it names where the others stand when all have ended."""
        shared, sites = feeds[SHARED], [f for scope, f in feeds.items() if scope != SHARED]
        self._make_fit(shared, now_ms)
        shared_end = shared.position.n + bool(shared.held)
        for opened in sites:
            if opened.held or opened.ack:
                self._append(opened, now_ms, {SHARED: shared_end})
        if shared.held:
            moved = {f.scope: f.position.n for f in sites if f.position.n != f.named}
            self._append(shared, now_ms, moved)

    def _make_fit(self, opened: _Open, now_ms: int) -> None:
        """Append all but as much as one more entry takes, so that it is known where it ends."""
        bytes_max = codec.MESSAGE_BYTES_MAX - _PLACES_BYTES_MAX
        while sum(map(len, opened.held)) > 1:
            body = self._body(opened, now_ms, {})
            if len(body) <= bytes_max or len(codec.compress(body)) <= bytes_max:
                return
            opened.held, last = halves(opened.held)
            self._append(opened, now_ms, None)
            opened.held = last

    def _append(self, opened: _Open, now_ms: int, beside: dict[str, int] | None) -> None:
        """Append what is held; the run goes on where it is not said where other feeds stand."""
        body = self._body(opened, now_ms, beside)
        packed = codec.compress(body)
        if len(packed) > codec.MESSAGE_BYTES_MAX and sum(map(len, opened.held)) > 1:
            for half, places in zip(halves(opened.held), (None, beside), strict=True):
                opened.held = half
                self._append(opened, now_ms, places)
            return
        opened.held = []
        previous, pos = opened.position.hash, opened.position.n + 1
        own = protocol.entry_hash(previous, opened.scope, pos, body)
        opened.rows.append((opened.scope, pos, previous, own, packed))
        opened.position = Position(pos, own)

    def _body(self, opened: _Open, now_ms: int, beside: dict[str, int] | None) -> bytes:
        return codec.encode_entry_body(
            beside=beside or {},
            schema=self._catalog.version,
            # Heads first, then the ack that decides on them: at the end of a run, not before.
            ack=None if beside is None else opened.ack,
            blocks=opened.held,
            made_at_ms=now_ms,
            more=beside is None,
        )

    async def _write(self, feeds: dict[str, _Open]) -> None:
        """Write the entries that are made, and let go of them."""
        rows = [row for opened in feeds.values() for row in opened.rows]
        if not rows:
            return
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO sync.feed (scope, pos, previous, hash, body) VALUES (%s,%s,%s,%s,%s)",
                rows,
            )
        for opened in feeds.values():
            opened.written += len(opened.rows)
            opened.rows = []

    async def _move_heads(self, feeds: dict[str, _Open]) -> None:
        changed = [opened for opened in feeds.values() if opened.written]
        if not changed:
            return
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                """INSERT INTO sync.feed_head AS f (scope, pos, hash, ack_epoch, ack_n, ack_safe_n)
                   VALUES (%s, %s, %s, %s, coalesce(%s, 0), coalesce(%s, 0))
                   ON CONFLICT (scope) DO UPDATE SET pos = excluded.pos, hash = excluded.hash,
                       ack_epoch  = coalesce(excluded.ack_epoch, f.ack_epoch),
                       ack_n      = CASE WHEN excluded.ack_epoch IS NULL THEN f.ack_n
                                         ELSE excluded.ack_n END,
                       ack_safe_n = CASE WHEN excluded.ack_epoch IS NULL THEN f.ack_safe_n
                                         ELSE excluded.ack_safe_n END""",
                [_head_row(opened) for opened in changed],
            )
        if feeds[SHARED].written:
            await self._connection.execute(
                "UPDATE sync.feed_head SET named_pos = pos WHERE named_pos <> pos"
            )


def _once_each(page: Sequence[Touched]) -> dict[str, list[Touched]]:
    """Return the touched rows by table, each once, with all scopes that must hear of it."""
    rows: dict[str, dict[tuple[str, str], Touched]] = defaultdict(dict)
    for each in page:
        known = rows[each.table].get((each.site_id, each.row_id))
        scopes = each.scopes | known.scopes if known else each.scopes
        rows[each.table][each.site_id, each.row_id] = replace(each, scopes=scopes)
    return {name: list(touched.values()) for name, touched in rows.items()}


def halves(blocks: Sequence[HeadBlock]) -> tuple[list[HeadBlock], list[HeadBlock]]:
    """Return the same rows as two lists of blocks, about as many in each."""
    middle = (sum(map(len, blocks)) + 1) // 2
    first: list[HeadBlock] = []
    second: list[HeadBlock] = []
    for block in blocks:
        cut = max(0, min(len(block), middle - sum(map(len, first))))
        first += [block.part(slice(0, cut))] if cut else []
        second += [block.part(slice(cut, None))] if cut < len(block) else []
    return first, second


def _head_row(opened: _Open) -> tuple[object, ...]:
    ack = opened.ack
    acked = (ack.epoch, ack.n, ack.safe_n) if ack else (None, None, None)
    return (opened.scope, opened.position.n, opened.position.hash, *acked)


async def entries_after(
    connection: AsyncConnection[Any], scope: str, after: int, *, rows_max: int = 256,
    bytes_max: int = 600 << 10,
) -> list[bytes]:  # fmt: skip
    """Return the messages of the entries that follow a position, within the bounds.

    At least one, if there is any.
    """
    # Cut by the server, from what it knows of the lengths: 256 bodies may be 200 MB.
    cursor = await connection.execute(
        """SELECT pos, previous, hash, body FROM (
               SELECT pos, previous, hash, body,
                      sum(octet_length(body) + %s) OVER (ORDER BY pos) AS size,
                      row_number() OVER (ORDER BY pos) AS number
               FROM (SELECT * FROM sync.feed WHERE scope = %s AND pos > %s
                     ORDER BY pos LIMIT %s) AS f) AS f
           WHERE size <= %s OR number = 1 ORDER BY pos""",
        [_FRAME_BYTES, scope, after, rows_max, bytes_max],
    )
    return [
        codec.encode_entry(scope, pos, bytes(previous), bytes(own), bytes(body))
        async for pos, previous, own, body in cursor
    ]


async def feed_position(connection: AsyncConnection[Any], scope: str) -> Position:
    """Return the last entry's position of a feed."""
    cursor = await connection.execute(
        "SELECT pos, hash FROM sync.feed_head WHERE scope = %s", [scope]
    )
    row = await cursor.fetchone()
    return Position(row[0], bytes(row[1])) if row else Position(0, GENESIS)

"""What can be seen of the centre and its sites at one instant, out of PostgreSQL and the broker.

``central.status`` judges it. Where the broker is away, what it holds is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.backlogs import Backlog, read_backlogs
from central.backups import LATE_HOURS, Backups, read_summary
from shared.changes import SHARED
from shared.errors import SchemaMismatch
from sync.streams import APPLY, DOWN, site_durable, up_stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

    from shared.catalog import Catalog
    from sync.transport import Link

#: Rows of the sequencer's queue that are counted; more are more than it should ever hold.
TOUCHED_MAX: Final = 10_000
#: How the feed's connections are known to the server.
FEED_APPLICATION: Final = "mes-central feed"
REFUSED_SINCE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What an agent said of itself last."""

    at: datetime
    instance: str
    version: str
    schema: int
    epoch: str
    #: Last transaction drained, and last one whose ack it had.
    n: int
    acked_n: int
    #: Positions in its own feed and in the one that all sites follow.
    own_pos: int
    shared_pos: int
    needs_snapshot: bool
    #: Until when all that programs committed is in ``n``; None where something was not drained.
    drained_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePicture:
    """Everything that the centre knows about one site."""

    site: str
    registered_at: datetime
    stopped_because: str | None
    verified: bool
    hello: Hello | None
    #: Centre's clock minus the site's, at its last hello.
    clock_offset_ms: int
    #: The ingest worker that applies for it now.
    worker: str | None
    epoch: str | None
    last_n: int
    safe_n: int
    decided_at: datetime | None
    #: Everything that the site committed until then is applied.
    complete_through: datetime | None
    #: Last entry of its own feed.
    feed_pos: int
    reviews_open: int
    reviews_oldest_at: datetime | None
    parked: int
    waiting: int
    #: Messages of the last day that nobody could read.
    refused: int
    backlog: Backlog | None
    #: When all its tables were compared last; rows that differed then, or when it was done again.
    compared_at: datetime | None = None
    differing: int = 0
    #: When its rollups were held against its facts last, and in how many rows they differed.
    sums_checked_at: datetime | None = None
    sums_differing: int = 0
    sums_why: str = ""  # why they could not be looked at; else empty
    #: Why the broker does not make its stream as it must be; empty where it does.
    stream_refused: str = ""
    #: Another store that said hello for it, and was sent away; why, where it stands in its place.
    claimed_by: str | None = None
    claimed_because: str | None = None
    #: Everything that it committed until then is in each backup that may be restored.
    protected_through: datetime | None = None
    #: What it told of rows of others since a restore of ours, and a person has to decide on.
    withheld: int = 0

    def feed_lag(self, shared_pos: int) -> int | None:
        """Return how many entries the edge had not passed at its last hello, of those there are."""
        if self.hello is None:
            return None
        own = max(0, self.feed_pos - self.hello.own_pos)
        return own + max(0, shared_pos - self.hello.shared_pos)


@dataclass(frozen=True, slots=True, kw_only=True)
class CentrePicture:
    """Everything that can be seen of the centre itself."""

    #: Ingest workers that are alive.
    workers: int
    feed_runs: bool
    #: Touched rows that are not in a feed yet; counted to just beyond ``TOUCHED_MAX``.
    touched: int
    #: Entries that are not published yet, over all feeds.
    unpublished: int
    #: Last entry of the feed that all sites follow.
    shared_pos: int
    #: Version of the catalogue that the database was migrated to, and whether it is the one given.
    catalogue: int
    catalogue_is_ours: bool
    #: Why the broker could not be asked; empty when it answered.
    broker_away_because: str
    #: Why the broker does not make the stream that all sites follow; empty where it does.
    stream_refused: str = ""
    backups: Backups = field(default_factory=Backups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The centre and its sites at one instant."""

    at: datetime
    centre: CentrePicture
    sites: tuple[SitePicture, ...]


# --- reading it ------------------------------------------------------------------------------

_SITES: Final = """
SELECT s.site, s.registered_at, s.stopped_because, sync.is_verified(s.site) AS verified, s.hello,
       s.hello_at, s.claimed_by, s.claimed_because, s.clock_offset_ms, e.epoch::text AS epoch,
       CASE WHEN s.lease_until > now() THEN s.lease_holder END AS worker, e.decided_at,
       coalesce(e.last_n, 0) AS last_n, coalesce(e.safe_n, 0) AS safe_n, k.through_ms,
       coalesce(f.pos, 0) AS feed_pos, d.differing, p.n AS protected_n, p.through_ms AS
       protected_through_ms, coalesce(r.differing, 0) AS sums_differing,
       coalesce(r.why, '') AS sums_why, r.checked_at AS sums_checked_at,
       (SELECT max(c.at) FROM sync.compare AS c WHERE c.site = s.site AND c.whole) AS compared_at
FROM sync.site AS s
LEFT JOIN LATERAL (
    SELECT * FROM sync.epoch AS e WHERE e.site = s.site
    ORDER BY e.closed_at_n IS NOT NULL, e.opened_at DESC LIMIT 1
) AS e ON true
LEFT JOIN sync.complete_through AS k ON k.site = s.site
LEFT JOIN sync.feed_head AS f ON f.scope = s.site
LEFT JOIN sync.rollup_check AS r ON r.site = s.site
LEFT JOIN LATERAL (  -- of each table what its last comparison came to
    SELECT coalesce(sum(n), 0)::integer AS differing FROM (SELECT DISTINCT ON (t ->> 'table')
        (t ->> 'differing')::integer - (t ->> 'repaired')::integer AS n
        FROM sync.compare AS c CROSS JOIN LATERAL jsonb_array_elements(c.report -> 'tables') AS t
        WHERE c.site = s.site AND t ->> 'skipped' = ''
        ORDER BY t ->> 'table', c.at DESC) AS t
) AS d ON true
LEFT JOIN LATERAL (
    SELECT min(coalesce(c.last_n, 0)) AS n, min(coalesce(c.through_ms, 0)) AS through_ms
    FROM sync.backup AS b LEFT JOIN LATERAL (
        SELECT max(last_n) FILTER (WHERE epoch = e.epoch) AS last_n, max(through_ms) AS through_ms
        FROM sync.backup_position WHERE backup = b.name AND site = s.site
    ) AS c ON true
    WHERE b.finished_at IS NOT NULL AND b.failed_at IS NULL AND b.gone_at IS NULL
) AS p ON true
WHERE %(sites)s::text[] IS NULL OR s.site = ANY(%(sites)s)
ORDER BY s.site"""

_COUNTS: Final = """
SELECT site_id, 'reviews_open', count(*), min(created_at) FROM mes.sync_reviews
 WHERE state = 'OPEN' GROUP BY site_id
UNION ALL
SELECT site_id, state, count(*), min(parked_at) FROM mes.sync_parked
 WHERE state IN ('parked', 'waiting') GROUP BY site_id, state
UNION ALL
SELECT site, 'withheld', count(*), min(noted_at) FROM sync.withheld
 WHERE state = 'open' GROUP BY site
UNION ALL
SELECT site, 'refused', count(*), min(refused_at) FROM sync.refused
 WHERE refused_at > now() - %(since)s GROUP BY site"""

_CENTRE: Final = """
SELECT now(),
       (SELECT count(*) FROM sync.worker WHERE until > now()),
       EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = %(feed)s),
       (SELECT count(*) FROM (SELECT FROM sync.touched LIMIT %(touched_max)s + 1) AS t),
       (SELECT coalesce(sum(pos - published), 0)::bigint FROM sync.feed_head),
       coalesce((SELECT pos FROM sync.feed_head WHERE scope = %(shared)s), 0)"""


async def read_picture(
    connection: AsyncConnection[Any], catalog: Catalog, link: Link | None,
    sites: Sequence[str] | None = None, *, late_hours: float = LATE_HOURS,
    of_sites: AsyncConnection[Any] | None = None,
) -> Picture:  # fmt: skip
    """Return the picture; ``link`` is one that connects, or None where the broker is not asked.

    ``late_hours`` is how old the newest backup may become. What is of a site is read by
    ``of_sites`` where that is given: a connection that sees no other. Raise SchemaMismatch where
    the database was not migrated to this release.
    """
    try:
        now, centre = await _read_centre(connection, catalog)
        backups = await read_summary(connection, late_hours)
        rows = await _read_sites(of_sites or connection, sites)
        counts = await _read_counts(of_sites or connection)
        refusals = await _read_refusals(connection)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise SchemaMismatch("the database is no centre yet; run `mes-central migrate`") from error
    backlogs, away = await read_backlogs(link, [row["site"] for row in rows])
    return Picture(
        at=now,
        centre=CentrePicture(
            **centre,
            broker_away_because=away,
            stream_refused=refusals.get(DOWN, ""),
            backups=backups,
        ),
        sites=tuple(
            replace(
                _site(row, counts.get(row["site"], {}), backlogs.get(row["site"])),
                stream_refused=_stream_refused(row["site"], refusals),
            )
            for row in rows
        ),
    )


async def _read_centre(
    connection: AsyncConnection[Any], catalog: Catalog
) -> tuple[datetime, dict[str, Any]]:
    given = {"feed": FEED_APPLICATION, "touched_max": TOUCHED_MAX, "shared": SHARED}
    row = await (await connection.execute(_CENTRE, given)).fetchone()
    assert row is not None
    now, workers, feed_runs, touched, unpublished, shared_pos = row
    last = await connection.execute(
        "SELECT version, digest FROM sync.catalogue ORDER BY applied_at DESC, version DESC LIMIT 1"
    )
    version, digest = await last.fetchone() or (0, "")
    return now, {
        "workers": workers,
        "feed_runs": feed_runs,
        "touched": touched,
        "unpublished": unpublished,
        "shared_pos": shared_pos,
        "catalogue": version,
        "catalogue_is_ours": digest == catalog.digest,
    }


async def _read_sites(
    connection: AsyncConnection[Any], sites: Sequence[str] | None
) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        await cursor.execute(_SITES, {"sites": None if sites is None else list(sites)})
        return await cursor.fetchall()


async def _read_counts(
    connection: AsyncConnection[Any],
) -> dict[str, dict[str, tuple[int, datetime]]]:
    cursor = await connection.execute(_COUNTS, {"since": REFUSED_SINCE})
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for site, what, count, oldest in await cursor.fetchall():
        found.setdefault(site, {})[what] = (count, oldest)
    return found


async def _read_refusals(connection: AsyncConnection[Any]) -> dict[str, str]:
    cursor = await connection.execute("SELECT name, reason FROM sync.stream_refused")
    return dict(await cursor.fetchall())


def _stream_refused(site: str, refusals: Mapping[str, str]) -> str:
    up = up_stream(site)
    names = (up, f"{up}/{APPLY}", f"{DOWN}/{site_durable(site)}")
    return "; ".join(f"{name}: {refusals[name]}" for name in names if name in refusals)


def _site(
    row: Mapping[str, Any], counts: Mapping[str, tuple[int, datetime]], backlog: Backlog | None
) -> SitePicture:
    def count(what: str) -> int:
        return counts[what][0] if what in counts else 0

    hello = _hello(row["hello"], row["hello_at"])
    complete_through = _instant(row["through_ms"])
    return SitePicture(
        **{name: row[name] for name in _TAKEN},
        hello=hello,
        complete_through=complete_through,
        protected_through=_protected_through(row, complete_through),
        reviews_open=count("reviews_open"),
        reviews_oldest_at=counts["reviews_open"][1] if "reviews_open" in counts else None,
        parked=count("parked"),
        waiting=count("waiting"),
        refused=count("refused"),
        withheld=count("withheld"),
        backlog=backlog,
    )


_TAKEN: Final = (
    "compared_at", "differing", "claimed_by", "claimed_because", "site", "registered_at", "worker",
    "stopped_because", "verified", "clock_offset_ms", "epoch", "last_n", "safe_n", "decided_at",
    "feed_pos", "sums_checked_at", "sums_differing", "sums_why",
)  # fmt: skip


def _hello(said: Mapping[str, Any] | None, at: datetime | None) -> Hello | None:
    if not said or at is None:
        return None
    return Hello(
        at=at,
        instance=str(said.get("instance", "")),
        version=str(said.get("version", "")),
        schema=int(said.get("schema", 0)),
        epoch=str(said.get("epoch", "")),
        n=int(said.get("n", 0)),
        acked_n=int(said.get("acked_n", 0)),
        own_pos=int(said.get("own", [0])[0]),
        shared_pos=int(said.get("shared", [0])[0]),
        needs_snapshot=bool(said.get("needs_snapshot", False)),
        drained_ms=said.get("drained_ms"),
    )


def _instant(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def _protected_through(
    row: Mapping[str, Any], complete_through: datetime | None
) -> datetime | None:
    """Return until when all of a site is in each backup that may be restored.

    None where nothing is; until when nothing is missing here, where they hold all that there is.
    """
    if row["protected_n"] is None:
        return None
    if row["protected_n"] >= row["last_n"]:
        return complete_through
    return _instant(row["protected_through_ms"])

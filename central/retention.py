"""Forgets what nobody can build on any more: old versions, deletions, and settled history.

A write names the version that it was made on, so the versions since then must be known to decide
on it. A site builds on what it had seen when it drained the write. It says in each hello how far
that is; once everything that it had drained by then is applied, it can send nothing older: it is
*settled* until the time of that look. Of each row the newest version of before that time, and of
before ``version_days``, is the *floor*: it and all later ones stay. The floor counts as a version
that wrote every column, since it stands for those that are gone. A base below it is unknown, and
everything is in conflict with such a write: noisy, never wrong.

A row that was deleted that long ago is forgotten with its last version: its site has passed the
deletion (protocol, rule 21), and has forgotten it as well.

What people may want to look up is kept longer, for ``history_days``: conflicts, decided reviews,
settled parked rows, and what plain SQL replaced. Sites lose their copies by the feed. The audit log
of the API is kept for ``audit_days``, and the answers to requests that named themselves for a day.
What reports were known at an earlier moment can be told for ``known_days``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

#: Versions that one call looks at, in the order of rows: 29 million a day at one call a minute.
VERSIONS_LOOKED_AT: Final = 20_000
#: Rows of history that one call forgets of each table and site: each is news for its site.
HISTORY_ROWS_MAX: Final = 500
#: Lines of the audit log, and kept answers, that one call forgets: 14 million a day at one call a
#: minute.
AUDIT_ROWS_MAX: Final = 10_000
#: Late reports that one call forgets.
LATE_ROWS_MAX: Final = 20_000
#: Times at which the order of versions was noted: 50 in the time that versions are kept.
_MARKS: Final = 50
_MARKS_MAX: Final = 5_000
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For how long, in days; 0 for ever."""

    version_days: float
    history_days: float
    audit_days: float = 0
    known_days: float = 0

    @property
    def mark_s(self) -> float:
        """Return how far apart the marks are; no transaction of the centre may take longer."""
        return self.version_days * _DAY_S / _MARKS


async def forget(connection: AsyncConnection[Any], kept: Kept) -> dict[str, int]:
    """Forget a slice of what may be forgotten; return the counts.

    ``connection`` must be in autocommit mode. Each call goes on where the last one ended.
    """
    counts: dict[str, int] = {}
    if kept.version_days:
        counts |= await _forget_versions(connection, kept)
    if kept.history_days:
        counts |= await _forget_history(connection, kept)
    counts["answers"] = (await connection.execute(_ANSWERS, {"slice": AUDIT_ROWS_MAX})).rowcount
    if kept.audit_days:
        given = {"audit_s": kept.audit_days * _DAY_S, "slice": AUDIT_ROWS_MAX}
        counts["audit"] = (await connection.execute(_AUDIT, given)).rowcount
    if kept.known_days:
        given = {"known_s": kept.known_days * _DAY_S, "slice": LATE_ROWS_MAX}
        async with connection.transaction():  # first what nobody may ask for any more
            await connection.execute(_KNOWN_SINCE, given)
            counts["late reports"] = (await connection.execute(_LATE, given)).rowcount
            await connection.execute(_RESTATED, given)
    return counts


# --- how far sites have seen ---------------------------------------------------------------------

# What is made at now() of an entry holds all that was committed before. Sites are not trusted to
# say numbers; one that is to take a snapshot has not seen what it says. Nor has one, perhaps, that
# lacks the rest of the entry's step, of this feed or of the shared one: what it has of the step
# waits in its _sync_in with all that comes after, its people write on what they saw before, and
# were it then away for ``version_days`` their base would be forgotten.
_SETTLE: Final = """
WITH said AS (
    SELECT s.site, s.hello ->> 'epoch' AS epoch,
           CASE WHEN jsonb_typeof(s.hello -> 'n') = 'number'
                THEN least((s.hello ->> 'n')::numeric, 1 << 30)::bigint END AS n,
           CASE WHEN jsonb_typeof(s.hello -> 'own' -> 0) = 'number'
                THEN least((s.hello -> 'own' ->> 0)::numeric, 1 << 30)::bigint END AS pos,
           CASE WHEN jsonb_typeof(s.hello -> 'shared' -> 0) = 'number'
                THEN least((s.hello -> 'shared' ->> 0)::numeric, 1 << 30)::bigint END AS shared
    FROM sync.site AS s
    WHERE s.stopped_because IS NULL AND s.hello -> 'needs_snapshot' = 'false'
), seen AS (
    SELECT s.site, s.epoch, s.n, f.made_at
    FROM said AS s JOIN sync.feed AS f ON f.scope = s.site AND f.pos = s.pos
    WHERE s.epoch IS NOT NULL AND s.n IS NOT NULL AND s.shared IS NOT NULL
      AND NOT EXISTS (SELECT FROM sync.feed AS more WHERE more.scope = s.site
                      AND more.pos = s.pos + 1 AND more.made_at <= f.made_at)
      AND coalesce((SELECT b.pos = s.shared + 1 AND b.made_at > f.made_at
                    FROM sync.feed AS b WHERE b.scope = '*' AND b.pos > s.shared
                    ORDER BY b.pos LIMIT 1), true)
)
INSERT INTO sync.settled AS t (site, epoch, n, known_at)
SELECT site, epoch, n, made_at FROM seen
ON CONFLICT (site) DO UPDATE SET
    epoch = excluded.epoch, n = excluded.n, known_at = excluded.known_at,
    settled_at = CASE WHEN t.epoch = excluded.epoch THEN t.known_at END
WHERE t.epoch <> excluded.epoch OR EXISTS (
    SELECT FROM sync.epoch AS e
    WHERE e.site = t.site AND e.epoch::text = t.epoch AND e.last_n >= t.n)"""

_MARK: Final = """
INSERT INTO sync.order_mark (ord) SELECT last_value FROM sync.version_order
WHERE NOT EXISTS (SELECT FROM sync.order_mark WHERE at > now() - make_interval(secs => %(mark_s)s))
ON CONFLICT DO NOTHING"""

_MARKS_GONE: Final = """
DELETE FROM sync.order_mark WHERE at < (SELECT at FROM sync.order_mark ORDER BY at DESC
                                        LIMIT 1 OFFSET %(marks_max)s)"""

# Orders are given out before the commit, so a mark counts when it is older by one more. Rows that
# all sites share are written by nobody but the centre: nothing is ever built on their versions.
_HORIZONS: Final = """
SELECT s.site, (
    SELECT max(m.ord) FROM sync.order_mark AS m
    WHERE m.at < least(s.until, now() - make_interval(secs => %(version_s)s))
                 - make_interval(secs => %(mark_s)s)) AS ord
FROM (SELECT site, settled_at AS until FROM sync.settled WHERE settled_at IS NOT NULL
      UNION ALL SELECT '*', now()) AS s"""


# --- versions and deletions ----------------------------------------------------------------------

_END: Final = """
SELECT site_id, table_no, id FROM sync.version
WHERE (site_id, table_no, id) > (%(site)s, %(table_no)s, %(id)s)
ORDER BY site_id, table_no, id, ord LIMIT 1 OFFSET %(slice)s - 1"""

# The rows of the slice with something in them that is old enough, and nothing of which waits.
_ROWS: Final = """
    SELECT v.site_id, v.table_no, v.id, max(v.ord) AS floor
    FROM sync.version AS v
    JOIN unnest(%(sites)s::text[], %(orders)s::bigint[]) AS h (site_id, ord) USING (site_id)
    WHERE (v.site_id, v.table_no, v.id) > (%(site)s, %(table_no)s, %(id)s)
      AND (%(to_site)s::text IS NULL OR (v.site_id, v.table_no, v.id)
           <= (%(to_site)s::text, %(to_table_no)s::smallint, %(to_id)s::uuid))
      AND v.ord <= h.ord
      AND NOT EXISTS (SELECT FROM sync.waiting AS w
                      WHERE w.site_id = v.site_id AND w.row_id = v.id::text
                        AND w.table_name = (SELECT name FROM sync.table_no WHERE no = v.table_no))
      AND NOT EXISTS (SELECT FROM sync.extra AS e
                      WHERE e.site_id = v.site_id AND e.id = v.id
                        AND e.table_name = (SELECT name FROM sync.table_no WHERE no = v.table_no))
    GROUP BY v.site_id, v.table_no, v.id"""

_KEEP_REPLACED: Final = """
    INSERT INTO sync.overwritten (site_id, table_no, id, ord, op, writer, at_ms, replaced)
    SELECT site_id, table_no, id, ord, op, writer, at_ms, replaced
    FROM gone WHERE replaced IS NOT NULL ON CONFLICT DO NOTHING"""

# 'I' says that every column was written.
_VERSIONS: Final = f"""
WITH found AS MATERIALIZED ({_ROWS}), gone AS (
    DELETE FROM sync.version AS v USING found AS r
    WHERE v.site_id = r.site_id AND v.table_no = r.table_no AND v.id = r.id AND v.ord < r.floor
    RETURNING v.*
), kept AS ({_KEEP_REPLACED}
), floors AS (
    UPDATE sync.version AS v SET op = 'I'
    FROM found AS r JOIN (SELECT DISTINCT site_id, table_no, id FROM gone) AS g
         USING (site_id, table_no, id)
    WHERE v.site_id = r.site_id AND v.table_no = r.table_no AND v.id = r.id
      AND v.ord = r.floor AND v.op = 'U'
)
SELECT count(*) FROM gone"""  # noqa: S608  (of constants)

# A head that somebody holds is about to be something else.
_DELETIONS: Final = f"""
WITH found AS MATERIALIZED ({_ROWS}), dead AS MATERIALIZED (
    SELECT h.site_id, h.table_no, h.id FROM sync.head AS h JOIN found AS r
        ON h.site_id = r.site_id AND h.table_no = r.table_no AND h.id = r.id AND h.ord = r.floor
    WHERE h.deleted FOR UPDATE OF h SKIP LOCKED
), heads AS (
    DELETE FROM sync.head AS h USING dead AS d
    WHERE h.site_id = d.site_id AND h.table_no = d.table_no AND h.id = d.id
), gone AS (
    DELETE FROM sync.version AS v USING dead AS d
    WHERE v.site_id = d.site_id AND v.table_no = d.table_no AND v.id = d.id
    RETURNING v.*
), kept AS ({_KEEP_REPLACED})
SELECT count(*) FROM dead"""  # noqa: S608  (of constants)

_BEGINNING: Final = ("", -32768, "00000000-0000-0000-0000-000000000000")


async def _forget_versions(connection: AsyncConnection[Any], kept: Kept) -> dict[str, int]:
    times = {
        "mark_s": kept.mark_s, "version_s": kept.version_days * _DAY_S, "marks_max": _MARKS_MAX,
    }  # fmt: skip
    for statement in (_SETTLE, _MARK, _MARKS_GONE):
        await connection.execute(statement, times)
    cursor = await connection.execute(_HORIZONS, times)
    horizons = {site: order for site, order in await cursor.fetchall() if order is not None}
    if not horizons:
        return {"versions": 0, "deletions": 0}
    given = await _next_slice(connection)
    given |= {"sites": list(horizons), "orders": list(horizons.values())}
    async with connection.transaction():
        counts = {
            "versions": await _number(connection, _VERSIONS, given),
            "deletions": await _number(connection, _DELETIONS, given),
        }
        await _go_on_after(connection, given)
    return counts


async def _next_slice(connection: AsyncConnection[Any]) -> dict[str, Any]:
    """Return between which rows to look: after the first, up to the last, or to the end of all."""
    cursor = await connection.execute("SELECT site_id, table_no, id FROM sync.forgotten_to")
    start = await cursor.fetchone() or _BEGINNING
    given = dict(zip(("site", "table_no", "id"), start, strict=True))
    given["slice"] = VERSIONS_LOOKED_AT
    cursor = await connection.execute(_END, given)
    end = await cursor.fetchone() or (None, None, None)
    return given | dict(zip(("to_site", "to_table_no", "to_id"), end, strict=True))


async def _go_on_after(connection: AsyncConnection[Any], given: Mapping[str, Any]) -> None:
    if given["to_site"] is None:
        await connection.execute("DELETE FROM sync.forgotten_to")
        return
    await connection.execute(
        """INSERT INTO sync.forgotten_to AS f (site_id, table_no, id)
           VALUES (%(to_site)s, %(to_table_no)s, %(to_id)s)
           ON CONFLICT (one) DO UPDATE SET (site_id, table_no, id)
               = (excluded.site_id, excluded.table_no, excluded.id)""",
        given,
    )


# --- history -------------------------------------------------------------------------------------

#: Of each table of the system's own: when a row r was settled, and a condition that it is. A
#: conflict stays as long as its review.
_SETTLED: Final = {
    "sync_reviews": ("r.decided_at", "r.state <> 'OPEN'"),
    "sync_conflicts": (
        "r.decided_at",
        "NOT EXISTS (SELECT FROM mes.sync_reviews AS v"
        " WHERE v.site_id = r.site_id AND v.id = r.review_id)",
    ),
    "sync_parked": ("r.retried_at", "r.state IN ('applied', 'discarded')"),
}

# Deleted as a client of the centre would: head first, then the row, and its site is told.
_HISTORY: Final = """
WITH old AS MATERIALIZED (
    SELECT r.site_id, r.created_at, r.id FROM sync.site AS s CROSS JOIN LATERAL (
        SELECT r.site_id, r.created_at, r.id FROM mes.{table} AS r
        WHERE r.site_id = s.site AND {settled}
          AND r.created_at < now() - make_interval(secs => %(history_s)s)
          AND greatest(r.created_at, {at}) < now() - make_interval(secs => %(history_s)s)
        ORDER BY r.created_at LIMIT %(slice)s) AS r
), moved AS (
    UPDATE sync.head AS h
    SET version = uuidv7(), ord = nextval('sync.version_order'), deleted = true
    FROM old AS o
    WHERE h.site_id = o.site_id AND h.id = o.id AND NOT h.deleted
      AND h.table_no = (SELECT no FROM sync.table_no WHERE name = '{table}')
    RETURNING h.*
), noted AS (
    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin, at_ms)
    SELECT site_id, table_no, id, ord, version, 'D', 0, '*', sync.now_ms() FROM moved
), told AS (
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT table_no, site_id, id, created_at, ARRAY[site_id] FROM moved
)
DELETE FROM mes.{table} AS t USING moved AS m
WHERE t.site_id = m.site_id AND t.created_at = m.created_at AND t.id = m.id"""

_OVERWRITTEN: Final = """
DELETE FROM sync.overwritten AS o USING (
    SELECT site_id, table_no, id, ord FROM sync.overwritten
    WHERE at_ms < sync.now_ms() - 1000 * %(history_s)s::float8
    ORDER BY at_ms LIMIT 20 * %(slice)s) AS g
WHERE (o.site_id, o.table_no, o.id, o.ord) = (g.site_id, g.table_no, g.id, g.ord)"""


async def _forget_history(connection: AsyncConnection[Any], kept: Kept) -> dict[str, int]:
    given = {"history_s": kept.history_days * _DAY_S, "slice": HISTORY_ROWS_MAX}
    counts = {}
    for table, (at, settled) in _SETTLED.items():
        statement = _HISTORY.format(table=table, at=at, settled=settled)
        counts[table] = (await connection.execute(statement.encode(), given)).rowcount
    counts["overwritten"] = (await connection.execute(_OVERWRITTEN, given)).rowcount
    return counts


_AUDIT: Final = """
DELETE FROM sync.audit WHERE no IN (
    SELECT no FROM sync.audit WHERE at < now() - %(audit_s)s * interval '1 second'
    ORDER BY at LIMIT %(slice)s)"""


_KNOWN_SINCE: Final = """
UPDATE sync.known_since SET since = now() - %(known_s)s * interval '1 second'
WHERE since < now() - %(known_s)s * interval '1 second' - interval '1 minute'"""

# A day after nobody may ask for it any more: who asked just before may still be reading.
_LATE: Final = """
DELETE FROM sync.late_report WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM sync.site AS s CROSS JOIN LATERAL (
        SELECT ctid FROM sync.late_report AS l WHERE l.site_id = s.site
          AND l.noted_at < now() - %(known_s)s * interval '1 second' - interval '1 day'
        ORDER BY l.noted_at LIMIT %(slice)s) AS r
    LIMIT %(slice)s))"""

_RESTATED: Final = """
DELETE FROM sync.restated
WHERE noted_at < now() - %(known_s)s * interval '1 second' - interval '1 day'"""


_ANSWERS: Final = """
DELETE FROM sync.answer WHERE (who, key) IN (
    SELECT who, key FROM sync.answer WHERE expires_at <= now()
    ORDER BY expires_at LIMIT %(slice)s)"""


async def _number(connection: AsyncConnection[Any], statement: str, given: Any) -> int:
    cursor = await connection.execute(statement, given)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0

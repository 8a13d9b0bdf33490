"""Why machines stood, as people noted it: states cut where an annotation begins and ends.

Pure. Operators say why a machine stands, supervisors and engineers correct it, often the next day:
``downtime_annotations`` is only ever added to. At each instant the annotation of the highest role
counts, of one role the one that was made last, whenever it came: one that arrives late undoes
nothing (data model, "downtime reason of an interval"). It takes the place of the reason that the
event of the state itself named.

An annotation is of a machine and a time, not of an event. One without an end ends at the next
event of its machine; any other one after ``ANNOTATED_DAYS`` at the latest, so that what is looked
for is bounded. It says nothing of a machine that produces.
"""

from __future__ import annotations

from typing import Final

from central.reports.time_model import STATES, Element

TABLE: Final = "downtime_annotations"
#: An annotation with an end is of so many days at most.
ANNOTATED_DAYS: Final = 31

_LONGEST: Final = f"interval '{ANNOTATED_DAYS} days'"
_PRODUCES: Final = ", ".join(
    f"'{word}'" for word, element in STATES.items() if element is Element.APT
)
_RANK: Final = "array_position(ARRAY['OPERATOR', 'SUPERVISOR', 'ENGINEER'], e.role::text)"
_MACHINE: Final = "site_id, equipment_id"


def annotated_steps(sites: str) -> list[str]:
    """Return the steps from events ``f`` to ``t``, states with the reason that counts.

    ``sites`` are literals. ``t`` has a row for each part of a state of which the reason is one:
    ``since`` is that of the event, ``starts`` where the part does. Needs ``n`` of
    ``central.reports.state_spans``. Nothing is joined by time: each step goes through the
    instants of each machine in their order, whatever PostgreSQL expects of their number.
    """
    return [
        f"d AS ({_noted(sites)})",
        f"v AS ({_COUNTING})",
        f"u AS ({_INSTANTS})",
        f"b AS ({_SAID})",
        f"o AS ({_CARRIED})",
        f"t AS ({_TOLD})",
    ]


def _noted(sites: str) -> str:
    """Return the query of the annotations that may be of a state within the window.

    One without an end begins after the event of its state, any other one no longer ago than it may
    be long. OFFSET keeps the look-up one by the index for each machine.
    """
    of_machine = (
        f"e.site_id = n.site_id AND e.site_id IN ({sites}) AND e.equipment_id = n.equipment_id"
    )
    following = (
        f"(SELECT e.since FROM mes.equipment_state_events AS e WHERE {of_machine}"
        " AND e.since > g.from_at ORDER BY e.since LIMIT 1)"
    )
    return (
        "SELECT n.site_id, n.equipment_id, n.known, g.*, CASE WHEN g.to_at IS NULL"
        f" THEN coalesce({following}, 'infinity')"
        f" ELSE least(g.to_at, g.from_at + {_LONGEST}) END AS till"
        " FROM n JOIN (SELECT f.site_id, f.equipment_id, min(f.since) AS since FROM f"
        " GROUP BY f.site_id, f.equipment_id) AS r"
        " ON r.site_id = n.site_id AND r.equipment_id = n.equipment_id"
        f" CROSS JOIN LATERAL (SELECT e.from_at, e.to_at, e.reason_code, {_RANK} AS rank,"
        f" e.created_at, e.id FROM mes.{TABLE} AS e WHERE {of_machine}"
        " AND e.from_at < upper(n.known)"
        f" AND e.from_at >= least(r.since, lower(n.known) - {_LONGEST}) OFFSET 0) AS g"
        " WHERE g.to_at IS NULL OR g.to_at > g.from_at"
    )


# When each annotation counts: its time without that of all which go before it. These are looked for
# among those that touch one another alone: a machine's year would be held against itself.
_COUNTING: Final = (
    f"SELECT {_MACHINE}, known, reason_code, unnest(tstzmultirange(span)"
    f" - coalesce(range_agg(span) OVER (PARTITION BY {_MACHINE}, cluster"
    " ORDER BY rank DESC, created_at DESC, id DESC"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), '{}')) AS span"
    f" FROM (SELECT d.*, count(*) FILTER (WHERE d.is_apart) OVER (PARTITION BY {_MACHINE}"
    " ORDER BY d.from_at, d.id) AS cluster FROM (SELECT d.*, tstzrange(d.from_at, d.till) AS span,"
    f" coalesce(max(d.till) OVER (PARTITION BY {_MACHINE} ORDER BY d.from_at, d.id"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) < d.from_at, true) AS is_apart FROM d) AS d"
    ") AS d"
)
# Of a machine of which nothing is noted its events are the states. IS TRUE keeps the look-up one in
# a table of hashes: as a join PostgreSQL would go through all of ``d`` for each event.
_IS_NOTED: Final = "((f.site_id, f.equipment_id) IN (SELECT d.site_id, d.equipment_id FROM d))"
# Of what is at one instant an end goes first, and the event of a state last.
_WHEN: Final = "to_char({of} AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')"
_INSTANTS: Final = (
    f"SELECT {_MACHINE}, known, since AS starts, 2 AS what, since, state, source, reason_code,"
    f" NULL AS said FROM f WHERE {_IS_NOTED} IS TRUE"
    f" UNION ALL SELECT {_MACHINE}, known, lower(span), 1,"
    f" NULL, NULL, NULL, NULL, {_WHEN.format(of='lower(span)')} || '1' || reason_code FROM v"
    f" UNION ALL SELECT {_MACHINE}, known, upper(span), 0, NULL, NULL, NULL, NULL,"
    f" {_WHEN.format(of='upper(span)')} || '0' FROM v WHERE upper(span) < 'infinity'"
)
_ORDER: Final = f"PARTITION BY {_MACHINE} ORDER BY starts, what ROWS UNBOUNDED PRECEDING"
# What holds at each instant. The event is a few places back; what was noted last may be thousands,
# so that is carried along: the greatest of what was said so far, which begins with when.
_SAID: Final = (
    "SELECT u.*, lead(u.starts) OVER o IS DISTINCT FROM u.starts AS is_last,"
    " (u.place - max(u.place) FILTER (WHERE u.since IS NOT NULL) OVER o)::integer AS back,"
    ' max(u.said COLLATE "C") OVER o AS noted'
    " FROM (SELECT u.*, row_number() OVER o AS place FROM u WINDOW o AS"
    f" ({_ORDER})) AS u WINDOW o AS ({_ORDER})"
)
_CARRIED: Final = (
    f"SELECT {_MACHINE}, b.known, b.starts, b.is_last, lag(b.since, b.back) OVER o AS since,"
    " lag(b.state, b.back) OVER o AS state, lag(b.source, b.back) OVER o AS source,"
    " lag(b.reason_code, b.back) OVER o AS own,"
    " CASE WHEN substr(b.noted, 21, 1) = '1' THEN substr(b.noted, 22) END AS noted"
    f" FROM b WINDOW o AS ({_ORDER})"
)
# A part begins where the reason that counts becomes another one.
_TOLD: Final = (
    f"SELECT {_MACHINE}, known, state, source, since, starts, reason_code FROM (SELECT o.*,"
    " lag(o.since) OVER q AS since_before, lag(o.reason_code) OVER q AS reason_before FROM"
    f" (SELECT o.*, CASE WHEN o.noted IS NULL OR upper(btrim(o.state)) IN ({_PRODUCES})"
    " THEN o.own ELSE o.noted END AS reason_code FROM o WHERE o.is_last AND o.since IS NOT NULL)"
    f" AS o WINDOW q AS (PARTITION BY {_MACHINE} ORDER BY o.starts)) AS o"
    " WHERE o.since IS DISTINCT FROM o.since_before"
    " OR o.reason_code IS DISTINCT FROM o.reason_before"
    f" UNION ALL SELECT {_MACHINE}, known, state, source, since, since, reason_code FROM f"
    f" WHERE {_IS_NOTED} IS NOT TRUE"
)

"""What reports can be grouped, filtered and sorted by, and where each thing's name stands.

Pure. A fact and a rollup hold ids; people ask by codes. So a question is first summed by ids, and
the few sums that are left are then given their names. One name at several sites is one line where
it is asked ``by=code``, and a line for each site where it is asked ``by=id``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dimension:
    """A thing that reports are about."""

    name: str
    about: str
    #: Columns of the facts that tell it.
    keys: tuple[str, ...]
    #: SQL of what people call it, over the sums ``i`` and what is joined for it.
    code: str
    #: SQL of what it is known by within its site; "" where the code is all there is.
    id: str = ""
    #: What has to be joined: a name of ``JOINS``.
    joins: tuple[str, ...] = ()


#: Badges of one site that are good at others, for where neither these nor the centre know the id.
_GUESTS: Final = (
    "SELECT w.site, p.id, min(p.person_no) AS person_no FROM mes.persons AS p CROSS JOIN LATERAL"
    " (SELECT p.home_site_id UNION SELECT jsonb_array_elements_text(p.assigned_sites::jsonb))"
    " AS w(site) WHERE p.site_id <> '*' AND w.site <> p.site_id GROUP BY 1, 2"
)
#: The line of a machine, of its parent ``l`` and that one's ``h``.
LINE: Final = "(CASE WHEN l.level <> 'LINE' AND h.level = 'LINE' THEN h.{of} ELSE l.{of} END)"
#: Rows of one site are named by its id as well, so that only its partitions are looked at. What a
#: site wrote says nothing of another, and of each thing one row is found at most: else a sum would
#: be another, or count twice.
JOINS: Final = {
    "equipment": "LEFT JOIN mes.equipment AS e ON e.site_id = i.site_id AND e.id = i.equipment_id"
    " AND e.site_id IN ({sites})",
    "line": "LEFT JOIN mes.equipment AS l ON l.site_id = e.site_id AND l.id = e.parent_id"
    " AND l.site_id IN ({sites})"
    " LEFT JOIN mes.equipment AS h ON h.site_id = l.site_id AND h.id = l.parent_id"
    " AND h.site_id IN ({sites})",
    "orders": "LEFT JOIN mes.work_orders AS o ON o.site_id = i.site_id AND o.id = i.work_order_id"
    " AND o.site_id IN ({sites})",
    "persons": "LEFT JOIN mes.persons AS p ON p.site_id = '*' AND p.id = i.person_id"
    " LEFT JOIN mes.persons AS q ON q.site_id = i.site_id AND q.id = i.person_id"
    f" LEFT JOIN ({_GUESTS}) AS v ON v.site = i.site_id AND v.id = i.person_id",
    "sites": "LEFT JOIN mes.sites AS s ON s.code = i.site_id AND s.site_id = '*'",
    "days": "LEFT JOIN sync.site_day AS y ON y.site = i.site_id",
    "segments": "LEFT JOIN LATERAL (SELECT min(g.segment_class) AS segment_class"
    " FROM mes.operation_segments AS g WHERE g.code = i.segment_code"
    " AND g.site_id IN (i.site_id, '*')) AS g ON true",
}
_EQUIPMENT: Final = ("equipment",)
_ORDERS: Final = ("orders",)

DIMENSIONS: Final = {
    each.name: each
    for each in (
        Dimension("site", "The factory", (), "i.site_id"),
        Dimension("region", "The region of the factory", (), "s.region", joins=("sites",)),
        Dimension("machine", "Machine or work place", ("equipment_id",), "e.equipment_code",
                  "i.equipment_id::text", _EQUIPMENT),
        Dimension("machine_class", "Kind of machine", ("equipment_id",), "e.equipment_class",
                  joins=_EQUIPMENT),
        Dimension("line", "The line of the machine, also where a cell lies between; else what it is"
                  " a part of", ("equipment_id",), LINE.format(of="equipment_code"),
                  f"{LINE.format(of='id')}::text", ("equipment", "line")),
        Dimension("order", "Work order", ("work_order_id",), "o.order_no",
                  "i.work_order_id::text", _ORDERS),
        Dimension("material", "Part that the order makes", ("work_order_id",), "o.material_code",
                  joins=_ORDERS),
        Dimension("customer", "Whom the order is for", ("work_order_id",), "o.customer_ref",
                  joins=_ORDERS),
        Dimension("person", "Who reported", ("person_id",),
                  "coalesce(p.person_no, q.person_no, v.person_no)", "i.person_id::text",
                  ("persons",)),
        Dimension("segment", "Operation", ("segment_code",), "i.segment_code"),
        Dimension("segment_class", "Kind of operation, as the routings of the centre have it",
                  ("segment_code",), "g.segment_class", joins=("segments",)),
        Dimension("report_type", "PRODUCTION, SETUP, BREAKDOWN or CORRECTION", ("report_type",),
                  "i.report_type"),
        Dimension("shift", "Shift", ("shift_code",), "i.shift_code"),
        Dimension("scrap_reason", "Why there is scrap", ("scrap_reason",), "i.scrap_reason"),
        Dimension("uom", "Unit of the quantities, which alone add up", ("uom",), "i.uom"),
        Dimension("rework", "Whether the report is of rework: true or false", ("is_rework",),
                  "i.is_rework::text"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bucket:
    """A piece of time that reports are put in."""

    name: str
    about: str
    #: SQL of its name over ``i.day``, the site's business day, or ``i.at``, an instant.
    of: str
    #: Needs the instant, in quarters of an hour at least.
    by_instant: bool = False
    joins: tuple[str, ...] = ()


# By the zone that the site's days are made by, and not by mes.sites: this one was held against what
# PostgreSQL knows.
_LOCAL: Final = "(i.at AT TIME ZONE coalesce(y.zone, 'UTC'))"
_WEEK: Final = (
    "i.day - mod(extract(isodow FROM i.day)::integer - coalesce(s.week_start, 1)::integer + 7, 7)"
)

BUCKETS: Final = {
    each.name: each
    for each in (
        Bucket("hour", "Hour of the site's clock that began then",
               f"to_char(date_trunc('hour', {_LOCAL}), 'YYYY-MM-DD\"T\"HH24:MI')", by_instant=True,
               joins=("days",)),
        Bucket("hour_of_day", "Hour of the site's clock, 0 to 23",
               f"extract(hour FROM {_LOCAL})::integer", by_instant=True,
               joins=("days",)),
        Bucket("day", "Business day of the site", "to_char(i.day, 'YYYY-MM-DD')"),
        Bucket("weekday", "Day of the week, 1 is Monday",
               "extract(isodow FROM i.day)::integer"),
        Bucket("week", "Week, by the day on which it begins at the site",
               f"to_char({_WEEK}, 'YYYY-MM-DD')", joins=("sites",)),
        Bucket("month", "Month of business days", "to_char(i.day, 'YYYY-MM')"),
        Bucket("quarter", "Quarter of a year", "to_char(i.day, 'YYYY-\"Q\"Q')"),
        Bucket("year", "Year", "to_char(i.day, 'YYYY')"),
    )
}  # fmt: skip

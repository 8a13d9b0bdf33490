"""Rollups: sums of facts by time and by what people ask for, right after every statement.

Pure: this makes the text of tables, functions and triggers, and of the statement that compares
them with the facts. Statement triggers with transition tables, on a table of facts and on all its
partitions, add what a statement inserts and take away what it deletes, in its own transaction. So
whatever writes facts, in whatever order and however late, the sums are those of the facts that
stand. Only what adds up is kept: counts and sums, never ratios; whole or decimal, never floating.

A day is the site's business day, in its zone and from its day start as ``sync.site_day`` has them;
that a report was made in another one (``business_date``) goes before. Quarters of an hour are in
UTC: each zone and each day start is a whole number of them away. A correction is a fact of its own
with signed quantities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Part:
    """A column of a rollup, and how it comes of a fact ``r`` and its site's day ``z``."""

    name: str
    type: str
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """Sums of a table's facts for each combination of some keys, of each site."""

    name: str
    #: Whose facts.
    table: str
    #: What a row stands for, as the table's comment tells.
    about: str
    keys: tuple[Part, ...]
    sums: tuple[Part, ...]

    @property
    def key_names(self) -> tuple[str, ...]:
        """Return the columns that a row is found by."""
        return ("site_id", *(key.name for key in self.keys))

    @property
    def sum_names(self) -> tuple[str, ...]:
        """Return the columns that are added up."""
        return tuple(each.name for each in self.sums)


#: When a report counts: at its end.
AT: Final = "coalesce(r.ended_at, r.created_at)"
_ELAPSED: Final = "coalesce(extract(epoch FROM r.ended_at - r.started_at), 0)"

#: What a report of production adds.
OUTPUT: Final = (
    Part("reports", "bigint", "1"),
    Part("qty_good", "numeric", "r.qty_good"),
    Part("qty_scrap", "numeric", "r.qty_scrap"),
    Part("qty_rework", "numeric", "r.qty_rework"),
    Part("qty_mrb", "numeric", "r.qty_mrb"),
    Part("recorded_s", "numeric", "coalesce(r.duration_s, 0)"),
    Part("elapsed_s", "numeric", _ELAPSED),
    Part("known_s", "numeric", f"CASE WHEN r.duration_known THEN {_ELAPSED} ELSE 0 END"),
)
_QUARTER: Final = Part("quarter", "timestamptz", f"date_bin('15 minutes', {AT}, 'epoch')")
DAY: Final = Part(
    "day", "date",
    f"coalesce(r.business_date, (({AT} AT TIME ZONE z.zone) - z.day_start::interval)::date)",
)  # fmt: skip
#: The day of a site, as ``z``, for each of its facts ``r``.
SITE_DAY: Final = (
    " LEFT JOIN sync.site_day AS d ON d.site = r.site_id"
    " CROSS JOIN LATERAL (SELECT coalesce(d.zone, 'UTC') AS zone,"
    " coalesce(d.day_start, '00:00'::time) AS day_start) AS z"
)
_TYPE: Final = Part("report_type", "text", "r.report_type")
_MACHINE: Final = Part("equipment_id", "uuid", "r.equipment_id")
_SEGMENT: Final = Part("segment_code", "text", "r.segment_code")
_SHIFT: Final = Part("shift_code", "text", "r.shift_code")

ROLLUPS: Final = (
    Rollup(
        name="output_quarters", table="job_responses", sums=OUTPUT,
        about="Output of machines by quarters of an hour (UTC) in which reports ended",
        keys=(_QUARTER, _MACHINE, _TYPE),
    ),
    Rollup(
        name="output_days", table="job_responses", sums=OUTPUT,
        about="Output of machines by business day and shift",
        keys=(DAY, _MACHINE, _TYPE, _SEGMENT, _SHIFT),
    ),
    Rollup(
        name="output_order_days", table="job_responses", sums=OUTPUT,
        about="Output of orders by business day",
        keys=(DAY, Part("work_order_id", "uuid", "r.work_order_id"), _TYPE, _SEGMENT),
    ),
    Rollup(
        name="output_person_days", table="job_responses", sums=OUTPUT,
        about="Output of people by business day and shift",
        keys=(DAY, Part("person_id", "uuid", "r.person_id"), _TYPE, _SHIFT),
    ),
)  # fmt: skip


def rollups_of(table: str) -> tuple[Rollup, ...]:
    """Return the rollups of a table's facts."""
    return tuple(each for each in ROLLUPS if each.table == table)


# --- making them -----------------------------------------------------------------------------


def table_statements(rollup: Rollup) -> Iterator[str]:
    """Give the statements that make the table of a rollup, empty."""
    name = f"mes.{rollup.name}"
    columns = ["site_id text NOT NULL"]
    columns += [f"{key.name} {key.type}" for key in rollup.keys]
    columns += [f"{each.name} {each.type} NOT NULL" for each in rollup.sums]
    yield f"DROP TABLE IF EXISTS {name}"
    # Rows are added to again and again: with room on their page the index stays as it is.
    yield f"CREATE TABLE {name} ({', '.join(columns)}) WITH (fillfactor = 70)"
    yield f"COMMENT ON TABLE {name} IS '{rollup.about}'"
    yield (
        f"CREATE UNIQUE INDEX {rollup.name}_key ON {name} ({', '.join(rollup.key_names)})"
        " NULLS NOT DISTINCT"
    )


def trigger_statements(table: str) -> Iterator[str]:
    """Give the statements that keep the rollups of a table's facts from now on."""
    for operation, sources in _OPERATIONS.items():
        body = "".join(f"    {add_statement(each, sources)};\n" for each in rollups_of(table))
        yield (
            f"CREATE OR REPLACE FUNCTION sync.roll_up_{table}_{operation}() RETURNS trigger\n"
            "LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$\n"
            f"BEGIN\n{body}    RETURN NULL;\nEND $$"
        )
    yield f"SELECT sync.keep_rollups('mes.{table}'::regclass, '{table}')"


#: What a statement adds and takes away, by the transition tables that hold it.
_OPERATIONS: Final = {
    "insert": (("fresh", 1),),
    "update": (("fresh", 1), ("stale", -1)),
    "delete": (("stale", -1),),
}


def add_statement(rollup: Rollup, sources: tuple[tuple[str, int], ...]) -> str:
    """Return the statement that adds to a rollup what stands in some tables of facts.

    Each comes with 1, or with -1 where its facts are taken away. In the order of the keys, so that
    two writers of one site never wait for each other in a circle.
    """
    keys, sums = rollup.key_names, rollup.sum_names
    parts = " UNION ALL ".join(_rows(rollup, *source) for source in sources)
    added = ", ".join(f"{name} = t.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO mes.{rollup.name} AS t ({', '.join((*keys, *sums))})"
        f" SELECT {', '.join(keys)}, {', '.join(f'sum({name})' for name in sums)}"
        f" FROM ({parts}) AS d GROUP BY {', '.join(keys)} ORDER BY {', '.join(keys)}"
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}"
    )


def _rows(rollup: Rollup, source: str, sign: int) -> str:
    """Return the query of what each fact of a table adds."""
    keys = [f"{key.of} AS {key.name}" for key in rollup.keys]
    sums = [f"{'-' if sign < 0 else ''}({each.of}) AS {each.name}" for each in rollup.sums]
    return f"SELECT r.site_id, {', '.join([*keys, *sums])} FROM {source} AS r{SITE_DAY}"


# --- holding them against the facts ----------------------------------------------------------


def compare_statement(rollup: Rollup, source: str) -> str:
    """Return the query of the keys for which a rollup and the facts differ, of one site.

    ``source`` is what all facts of the site are selected from, those in the archive as well.
    In one statement, so that both are of one instant. A row of nothing but zeros is what is left of
    facts that are gone; it differs from none.
    """
    keys, sums = rollup.key_names, rollup.sum_names
    named = ", ".join(keys)
    facts = ", ".join(f"{name}, 0 AS kept_{name}" for name in sums)
    kept = ", ".join(f"0 AS {name}, {name} AS kept_{name}" for name in sums)
    both = ", ".join(f"sum({name}) AS {name}, sum(kept_{name}) AS kept_{name}" for name in sums)
    differs = " OR ".join(f"sum({name}) <> sum(kept_{name})" for name in sums)
    return (
        f"SELECT {named}, {both} FROM ("
        f"SELECT {named}, {facts}"
        f" FROM ({_rows(rollup, source, 1)} WHERE r.site_id = %(site)s) AS f"
        f" UNION ALL SELECT {named}, {kept} FROM mes.{rollup.name} WHERE site_id = %(site)s"
        f") AS e GROUP BY {named} HAVING {differs} ORDER BY {named}"
    )


def rebuild_statements(rollup: Rollup, source: str) -> tuple[str, str]:
    """Return the statements that make a rollup of one site anew out of the facts of ``source``."""
    of_site = f"(SELECT * FROM {source} AS f WHERE site_id = %(site)s)"
    return (
        f"DELETE FROM mes.{rollup.name} WHERE site_id = %(site)s",
        add_statement(rollup, ((of_site, 1),)),
    )

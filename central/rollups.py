"""Rollups: sums of facts by time and by what people ask for, right after every statement.

Pure: this makes the text of tables, functions and triggers, and of the statements that fold deltas
and compare sums with the facts. Statement triggers with transition tables, on a table of facts and
on all its partitions, note what a statement adds and what it takes away: a delta for each fact,
appended in its own transaction, which costs the same however late the fact is. A rollup is what was
folded of them and what was not yet, read together; folding makes the many few, at leisure and in
one statement, and changes no sum. So whatever writes facts, in whatever order and however
late, the sums are those of the facts that stand. Only what adds up is kept: counts and sums, never
ratios; whole or decimal, never floating.

What comes when its day is long over is noted once more, with the moment and as it was: whoever
takes that away from today's sums has those of an earlier moment (``central.reports.known``).

A day is the site's business day, in its zone and from its day start as ``sync.site_day`` has them;
that a report was made in another one (``business_date``) goes before. Quarters of an hour are in
UTC: each zone and each day start is a whole number of them away. A correction is a fact of its own
with signed quantities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
    def folded(self) -> str:
        """Return the table of what was folded."""
        return f"{self.name}_folded"

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
ELAPSED: Final = "coalesce(extract(epoch FROM r.ended_at - r.started_at), 0)"
#: Work was done: a correction changes quantities, at a desk and whenever that may be.
IS_WORK: Final = "r.report_type IS DISTINCT FROM 'CORRECTION'"

#: What a report of production adds.
OUTPUT: Final = (
    Part("reports", "bigint", "1"),
    Part("qty_good", "numeric", "r.qty_good"),
    Part("qty_scrap", "numeric", "r.qty_scrap"),
    Part("qty_rework", "numeric", "r.qty_rework"),
    Part("qty_mrb", "numeric", "r.qty_mrb"),
    Part("recorded_s", "numeric", "coalesce(r.duration_s, 0)"),
    Part("elapsed_s", "numeric", ELAPSED),
    Part("known_s", "numeric", f"CASE WHEN r.duration_known THEN {ELAPSED} ELSE 0 END"),
)
_QUARTER: Final = Part("quarter", "timestamptz", f"date_bin('15 minutes', {AT}, 'epoch')")
#: The instant at which a site's day begins.
BEGINS: Final = "(({day})::date + z.day_start) AT TIME ZONE z.zone"
_BY_CLOCK: Final = "(({at} AT TIME ZONE z.zone) - z.day_start::interval)::date"
#: The site's day of an instant, whatever day a report says that it is of. Where the clocks go back
#: over the beginning of a day, the day begins at the second of two equal times: what lies before
#: that is of the day before, though the clock said otherwise.
DAY_OF: Final = f"({_BY_CLOCK} - ({{at}} < {BEGINS.format(day=_BY_CLOCK)})::integer)"
DAY: Final = Part("day", "date", f"coalesce(r.business_date, {DAY_OF.format(at=AT)})")
#: The day of a site, as ``z``, for each of its facts ``r``.
SITE_DAY: Final = (
    " LEFT JOIN sync.site_day AS d ON d.site = r.site_id"
    " CROSS JOIN LATERAL (SELECT coalesce(d.zone, 'UTC') AS zone,"
    " coalesce(d.day_start, '00:00'::time) AS day_start) AS z"
)
#: The same of deltas: their day is the one that the fact had when they were noted.
_NOTED_DAY: Final = " CROSS JOIN (SELECT NULL::text AS zone, NULL::time AS day_start) AS z"
_SIGN: Final = "r.sign * "
#: Columns of a table's facts that its rollups rest on, as its deltas have them: with types that
#: have no bounds of their own, so that a column of the facts may be widened.
NOTED: Final = {
    "job_responses": {
        "created_at": "timestamptz", "started_at": "timestamptz", "ended_at": "timestamptz",
        "business_date": "date", "equipment_id": "uuid", "report_type": "text",
        "segment_code": "text", "shift_code": "text", "work_order_id": "uuid", "person_id": "uuid",
        "qty_good": "numeric", "qty_scrap": "numeric", "qty_rework": "numeric",
        "qty_mrb": "numeric", "duration_s": "numeric", "duration_known": "boolean",
    },
}  # fmt: skip
#: Where late facts are kept, and the columns of them: enough for all reports but the list of them.
LATE: Final = "sync.late_report"
LATE_COLUMNS: Final = (*NOTED["job_responses"], "scrap_reason", "is_rework")
#: Late is what comes 12 hours after it began or ended, or on the second day after its own. No day
#: of any site ends more than 36 hours after its date does in UTC: so two days after a window ends,
#: all of it that was in time is there.
_IS_LATE: Final = (
    f"(least(r.started_at, {AT}) < statement_timestamp() - interval '12 hours'"
    " OR r.business_date < (statement_timestamp() AT TIME ZONE 'UTC')::date - 1)"
)
_TYPE: Final = Part("report_type", "text", "r.report_type")
_MACHINE: Final = Part("equipment_id", "uuid", "r.equipment_id")
_SEGMENT: Final = Part("segment_code", "text", "r.segment_code")
_SHIFT: Final = Part("shift_code", "text", "r.shift_code")

#: Those with fewer rows before those with more: a question is answered by the first that can.
OUTPUTS: Final = (
    Rollup(
        name="output_site_days", table="job_responses", sums=OUTPUT,
        about="Output of sites by business day and shift",
        keys=(DAY, _TYPE, _SHIFT),
    ),
    Rollup(
        name="output_machine_days", table="job_responses", sums=OUTPUT,
        about="Output of machines by business day",
        keys=(DAY, _MACHINE, _TYPE),
    ),
    Rollup(
        name="output_person_days", table="job_responses", sums=OUTPUT,
        about="Output of people by business day and shift",
        keys=(DAY, Part("person_id", "uuid", "r.person_id"), _TYPE, _SHIFT),
    ),
    Rollup(
        name="output_quarters", table="job_responses", sums=OUTPUT,
        about="Output of machines by quarters of an hour (UTC) in which reports ended",
        keys=(_QUARTER, _MACHINE, _TYPE),
    ),
    Rollup(
        name="output_days", table="job_responses", sums=OUTPUT,
        about="Output of machines by business day, shift and operation",
        keys=(DAY, _MACHINE, _TYPE, _SEGMENT, _SHIFT),
    ),
    Rollup(
        name="output_order_days", table="job_responses", sums=OUTPUT,
        about="Output of orders by business day and operation",
        keys=(DAY, Part("work_order_id", "uuid", "r.work_order_id"), _TYPE, _SEGMENT),
    ),
)  # fmt: skip

_UTC_DAY: Final = "({at} AT TIME ZONE 'UTC')::date"
_TOUCHED: Final = ", ".join(
    [DAY.of, *(_UTC_DAY.format(at=at) for at in (AT, f"coalesce(r.started_at, {AT})"))]
)
#: What could have been made meanwhile follows from this and the rates that there are: one counts
#: from an instant on, so the day of UTC is kept beside the business day.
RATED: Final = Rollup(
    name="output_rated_days", table="job_responses",
    about="Pieces of machines by business day, day of UTC, operation and order, as rates go by",
    keys=(
        DAY, Part("utc_day", "date", _UTC_DAY.format(at=AT)), _MACHINE, _SEGMENT,
        Part("work_order_id", "uuid", "r.work_order_id"),
    ),
    sums=(
        OUTPUT[0], Part("qty_made", "numeric", "r.qty_good + r.qty_scrap + r.qty_mrb"), OUTPUT[1],
    ),
)  # fmt: skip
#: Where facts are: whoever has to read them leaves the other months out.
MONTHS: Final = Rollup(
    name="report_months", table="job_responses", sums=OUTPUT[:1],
    about="Months of created_at in which reports are, by the first and last day that they touch",
    keys=(
        Part("first_day", "date", f"least({_TOUCHED})"),
        Part("last_day", "date", f"greatest({_TOUCHED})"),
        Part("month", "date", "date_trunc('month', r.created_at AT TIME ZONE 'UTC')::date"),
    ),
)  # fmt: skip
ROLLUPS: Final = (*OUTPUTS, RATED, MONTHS)
#: The tables whose facts are rolled up.
ROLLED: Final = tuple(NOTED)


def rollups_of(table: str) -> tuple[Rollup, ...]:
    """Return the rollups of a table's facts."""
    return tuple(each for each in ROLLUPS if each.table == table)


# --- making them -----------------------------------------------------------------------------


def deltas_of(table: str) -> str:
    """Return the table of what a table's facts add that is not folded into its rollups yet."""
    return f"{table}_deltas"


def table_statements(table: str) -> Iterator[str]:
    """Give the statements that make the rollups of a table's facts, empty."""
    found, deltas = rollups_of(table), deltas_of(table)
    for rollup in found:
        # What it was before there were deltas; a view is no table, and the other way round.
        yield (
            f"DO $$ BEGIN IF (SELECT relkind FROM pg_class WHERE oid ="
            f" to_regclass('mes.{rollup.name}')) = 'r' THEN DROP TABLE mes.{rollup.name};"
            f" END IF; END $$"
        )
        yield f"DROP VIEW IF EXISTS mes.{rollup.name}"
    yield f"DROP TABLE IF EXISTS mes.{deltas}"
    # No index: it would cost as much as the row, and there are few rows.
    columns = ", ".join(f"{name} {kind}" for name, kind in NOTED[table].items())
    yield (f"CREATE TABLE mes.{deltas} (site_id text NOT NULL, {columns}, sign smallint NOT NULL)")
    yield f"COMMENT ON TABLE mes.{deltas} IS 'What {table} add that is not folded yet'"
    for rollup in found:
        yield from _rollup_statements(rollup)


def _rollup_statements(rollup: Rollup) -> Iterator[str]:
    name, folded = f"mes.{rollup.name}", f"mes.{rollup.folded}"
    yield f"DROP TABLE IF EXISTS {folded}"
    # Rows are added to again and again: with room on their page the index stays as it is.
    columns = _columns((*rollup.keys, *rollup.sums))
    yield f"CREATE TABLE {folded} ({columns}) WITH (fillfactor = 70)"
    yield f"COMMENT ON TABLE {folded} IS 'What was folded of mes.{rollup.name}'"
    yield (
        f"CREATE UNIQUE INDEX {rollup.folded}_key ON {folded} ({', '.join(rollup.key_names)})"
        " NULLS NOT DISTINCT"
    )
    named = ", ".join(rollup.key_names)
    sums = ", ".join(f"sum({e.name})::{e.type} AS {e.name}" for e in rollup.sums)
    # Whoever reads it is held to the policies of what it is made of.
    yield (
        f"CREATE VIEW {name} WITH (security_invoker = true) AS"
        f" SELECT {named}, {sums} FROM {rows_of(rollup)} AS r GROUP BY {named}"
    )
    yield f"COMMENT ON VIEW {name} IS '{rollup.about}'"


def _columns(parts: tuple[Part, ...]) -> str:
    sums = {one.name for rollup in ROLLUPS for one in rollup.sums}
    made = (f"{e.name} {e.type}{' NOT NULL' if e.name in sums else ''}" for e in parts)
    return ", ".join(["site_id text NOT NULL", *made])


def rows_of(rollup: Rollup, *, without: str = "") -> str:
    """Return what a rollup's sums are summed from: what was folded, and what was not yet.

    ``without`` is a condition on late facts ``r`` that are taken away.
    """
    named = ", ".join((*rollup.key_names, *rollup.sum_names))
    deltas = _rows(rollup, f"mes.{deltas_of(rollup.table)}", sign=_SIGN, day=_NOTED_DAY)
    late = _rows(rollup, LATE, sign=f"-{_SIGN}")
    less = f" UNION ALL {late} WHERE {without}" if without else ""
    return f"(SELECT {named} FROM mes.{rollup.folded} UNION ALL {deltas}{less})"


def trigger_statements(table: str) -> Iterator[str]:
    """Give the statements that note what a table's facts add from now on."""
    columns = [DAY.of if name == "business_date" else f"r.{name}" for name in NOTED[table]]
    into = f"mes.{deltas_of(table)} (site_id, {', '.join(NOTED[table])}, sign)"
    for operation, sources in _OPERATIONS.items():
        noted = " UNION ALL ".join(
            f"SELECT r.site_id, {', '.join(columns)}, {sign} FROM {source} AS r{SITE_DAY}"
            for source, sign in sources
        )
        yield (
            f"CREATE OR REPLACE FUNCTION sync.roll_up_{table}_{operation}() RETURNS trigger\n"
            "LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$\n"
            f"BEGIN\n    INSERT INTO {into}\n    {noted};\n{_note_late(sources)}"
            "    RETURN NULL;\nEND $$"
        )
    yield f"SELECT sync.keep_rollups('mes.{table}'::regclass, '{table}')"


def _note_late(sources: tuple[tuple[str, int], ...]) -> str:
    """Return the statements that note late facts as they are, what goes before what comes."""
    columns = ", ".join(LATE_COLUMNS)
    every = ", ".join(f"r.{name}" for name in LATE_COLUMNS)
    rows = " UNION ALL ".join(
        f"SELECT {sign}, r.site_id, r.id, {every} FROM {source} AS r WHERE {_IS_LATE}"
        for source, sign in sources
    )
    days = " UNION ".join(
        f"SELECT r.site_id, least({_TOUCHED}) AS first_day, greatest({_TOUCHED}) AS last_day"
        f" FROM {source} AS r{SITE_DAY} WHERE {_IS_LATE}"
        for source, _ in sources
    )
    return (
        f"    INSERT INTO {LATE} (sign, site_id, id, {columns})\n    {rows} ORDER BY 1;\n"
        "    IF FOUND THEN\n        INSERT INTO sync.restated AS t\n"
        f"        SELECT DISTINCT d.*, statement_timestamp() FROM ({days}) AS d ORDER BY 1, 2, 3\n"
        "        ON CONFLICT (site_id, first_day, last_day)"
        " DO UPDATE SET noted_at = excluded.noted_at;\n    END IF;\n"
    )


#: What a statement adds and takes away, by the transition tables that hold it.
_OPERATIONS: Final = {
    "insert": (("fresh", 1),),
    "update": (("fresh", 1), ("stale", -1)),
    "delete": (("stale", -1),),
}


def fold_statement(table: str, also: Mapping[str, str]) -> str:
    """Return the statement that folds some deltas, at most ``%(most)s``, and counts them.

    One at a time may do it: see ``FOLDING``. ``also``: what else becomes of those ``taken``.
    """
    deltas = f"mes.{deltas_of(table)}"
    some = f"SELECT ctid FROM {deltas} LIMIT %(most)s"
    folds = {
        each.name: _add(each, _rows(each, "taken", sign=_SIGN, day=_NOTED_DAY))
        for each in rollups_of(table)
    }
    steps = ", ".join(f"{name} AS ({text})" for name, text in (folds | dict(also)).items())
    return (
        f"WITH taken AS (DELETE FROM {deltas} WHERE ctid = ANY (ARRAY({some})) RETURNING *),"
        f" {steps} SELECT count(*) FROM taken"
    )


#: The advisory lock of whoever changes what was folded.
FOLDING: Final = "hashtextextended('mes.rollups', 0)"


def _add(rollup: Rollup, rows: str) -> str:
    """Return the statement that adds what a query gives, keys and sums, to what was folded."""
    keys, sums = rollup.key_names, rollup.sum_names
    named = ", ".join(keys)
    added = ", ".join(f"{name} = t.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO mes.{rollup.folded} AS t ({', '.join((*keys, *sums))})"
        f" SELECT {named}, {', '.join(f'sum({name})' for name in sums)}"
        f" FROM ({rows}) AS d GROUP BY {named} ORDER BY {named}"
        f" ON CONFLICT ({named}) DO UPDATE SET {added}"
    )


def fill_statement(rollup: Rollup, source: str) -> str:
    """Return the statement that adds what facts come to, to what was folded."""
    return _add(rollup, _rows(rollup, source))


def _rows(rollup: Rollup, source: str, *, sign: str = "", day: str = SITE_DAY) -> str:
    """Return the query of what each fact of a table adds, or each delta."""
    parts = [f"{key.of} AS {key.name}" for key in rollup.keys]
    parts += [f"{sign}({each.of}) AS {each.name}" for each in rollup.sums]
    return f"SELECT r.site_id, {', '.join(parts)} FROM {source} AS r{day}"


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
        f" FROM ({_rows(rollup, source)} WHERE r.site_id = %(site)s) AS f"
        f" UNION ALL SELECT {named}, {kept} FROM {rows_of(rollup)} AS r WHERE site_id = %(site)s"
        f") AS e GROUP BY {named} HAVING {differs} ORDER BY {named}"
    )

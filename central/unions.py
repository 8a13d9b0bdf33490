"""What adds up only one way: first starts, last ends, and the time in which machines produced.

Pure, as ``central.rollups`` is, and kept beside the rollups by the same fold. The union of two
ranges, or the earlier of two starts, is known without the facts; what is left when one of them
goes is not. So what comes is merged, and where something goes without the same coming back, the
key is stale: what is kept of it says nothing until it was made anew of the facts. Whoever reads
takes what was folded and what was not yet of all keys but the stale ones, and the facts of these.

A machine's time is cut at the site's business days by the clock, whatever day a report says that it
is of. One that lasts longer than a week is kept whole, as of the day that never comes: else a clock
that was wrong by years would make a row for each day of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from central import rollups
from central.rollups import (
    AT,
    BEGINS,
    DAY_OF,
    ELAPSED,
    FOLDING,
    IS_WORK,
    MONTHS,
    OUTPUTS,
    ROLLUPS,
    SITE_DAY,
    Part,
    Rollup,
    deltas_of,
    rollups_of,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A column that is merged: how many become one, and how two do."""

    name: str
    type: str
    #: How it comes of a fact ``r``, or of a piece ``n`` of it.
    of: str
    #: The aggregate of many.
    all: str
    #: Of two, either of which may be null.
    both: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """What is merged of a table's facts for each combination of some keys, none null, of a site."""

    name: str
    table: str
    about: str
    keys: tuple[Part, ...]
    merges: tuple[Merge, ...]
    #: What is added up beside it.
    sums: tuple[Part, ...] = ()
    #: What a fact is cut into, as ``n``.
    pieces: str = ""
    #: Which facts, or pieces, count.
    where: str
    #: The query of the days that are touched by the facts of the keys ``listed``.
    days: str
    #: The column by which rows are asked for beside their keys; "" for none.
    since: str = ""

    @property
    def key_names(self) -> tuple[str, ...]:
        """Return the columns that a row is found by."""
        return ("site_id", *(key.name for key in self.keys))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Return the columns that are kept."""
        return (*(each.name for each in self.merges), *(each.name for each in self.sums))


#: The day of what is kept whole.
NEVER: Final = "'infinity'::date"
_IS_LONG: Final = "r.ended_at - r.started_at > interval '7 days'"
#: Such a report touches that many days at least.
_LONG_DAYS: Final = 6
_STARTS: Final = DAY_OF.format(at="r.started_at")
_DAYS_ON: Final = f"{DAY_OF.format(at='r.ended_at')} - {_STARTS}"
_WHOLE: Final = (
    f"tstzrange({BEGINS.format(day=f'{_STARTS} + g.n')},"
    f" {BEGINS.format(day=f'{_STARTS} + g.n + 1')})"
)
#: The ranges of a report in each day of its site, or the one of all days.
_PIECES: Final = (
    f"{SITE_DAY} CROSS JOIN LATERAL generate_series(0, CASE WHEN {_IS_LONG} THEN 0"
    f" ELSE {_DAYS_ON} END) AS g(n) CROSS JOIN LATERAL (SELECT"
    f" CASE WHEN {_IS_LONG} THEN {NEVER} ELSE {_STARTS} + g.n END AS day,"
    " tstzrange(r.started_at, r.ended_at)"
    f" * CASE WHEN {_IS_LONG} THEN tstzrange(NULL, NULL) ELSE {_WHOLE} END AS span) AS n"
)
_OF_PRODUCTION: Final = "r.report_type = 'PRODUCTION'"

#: When machines produced.
BUSY: Final = Union(
    name="machine_busy", table="job_responses",
    about="When machines produced, by business day; what takes over a week is of the day infinity",
    keys=(Part("day", "date", "n.day"), Part("equipment_id", "uuid", "r.equipment_id")),
    merges=(
        Merge(name="busy", type="tstzmultirange", of="n.span", all="range_agg",
              both="coalesce({0} + {1}, {0}, {1})"),
    ),
    pieces=_PIECES,
    where=f"{_OF_PRODUCTION} AND r.started_at < r.ended_at AND r.equipment_id IS NOT NULL"
    " AND NOT isempty(n.span)",
    days="SELECT l.day FROM listed AS l",
)  # fmt: skip
_BY_ORDER: Final = next(each for each in OUTPUTS if each.name == "output_order_days")
#: From when until when orders were worked on, and for how long.
LIVES: Final = Union(
    name="order_lives", table="job_responses",
    about="First start and last end of orders, and the seconds of their reports",
    keys=(Part("work_order_id", "uuid", "r.work_order_id"),),
    merges=(
        Merge(name="first_start", type="timestamptz", of="r.started_at", all="min",
              both="least({0}, {1})"),
        Merge(name="last_end", type="timestamptz", of=AT, all="max", both="greatest({0}, {1})"),
    ),
    sums=(
        Part("busy_s", "numeric", ELAPSED),
        Part("production_s", "numeric", f"CASE WHEN {_OF_PRODUCTION} THEN {ELAPSED} ELSE 0 END"),
    ),
    where=f"r.work_order_id IS NOT NULL AND {IS_WORK}",
    since="last_end",
    days=f"SELECT o.day FROM {rows_of(_BY_ORDER)} AS o JOIN listed AS l USING (work_order_id)"
    " WHERE o.site_id = ANY (%(sites)s)",
)  # fmt: skip
UNIONS: Final = (BUSY, LIVES)
KEPT: Final = (*ROLLUPS, *UNIONS)  #: all that is kept of facts


def unions_of(table: str) -> tuple[Union, ...]:
    """Return the unions of a table's facts."""
    return tuple(each for each in UNIONS if each.table == table)


def tables_of(table: str) -> tuple[str, ...]:
    """Return the tables of what was folded of a table's facts."""
    return (*(e.folded for e in rollups_of(table)), *(e.name for e in unions_of(table)))


# --- making them -----------------------------------------------------------------------------


def table_statements(table: str) -> Iterator[str]:
    """Give the statements that make all that is kept of a table's facts, empty."""
    yield from rollups.table_statements(table)
    for union in unions_of(table):
        name = f"mes.{union.name}"
        columns = [f"{each.name} {each.type} NOT NULL" for each in union.keys]
        columns += [f"{each.name} {each.type}" for each in union.merges]
        columns += [f"{each.name} {each.type} NOT NULL" for each in union.sums]
        keys = ", ".join(union.key_names)
        yield f"DROP TABLE IF EXISTS {name}"
        yield (
            f"CREATE TABLE {name} (site_id text NOT NULL, {', '.join(columns)},"
            f" is_stale boolean NOT NULL, PRIMARY KEY ({keys})) WITH (fillfactor = 70)"
        )
        yield f"COMMENT ON TABLE {name} IS '{union.about}; nothing where it is stale'"
        yield f"CREATE INDEX {union.name}_stale ON {name} (site_id) WHERE is_stale"
        if union.since:
            yield f"CREATE INDEX {union.name}_since ON {name} (site_id, {union.since})"


def fold_statement(table: str) -> str:
    """Return the statement that folds some deltas into all that is kept of a table's facts."""
    also = {each.name: _add(each, _netted(each, "taken")) for each in unions_of(table)}
    return rollups.fold_statement(table, also)


def fill_statements(table: str, source: str) -> Iterator[str]:
    """Give the statements that add what facts come to, to what is kept of them."""
    for rollup in rollups_of(table):
        yield rollups.fill_statement(rollup, source)
    for union in unions_of(table):
        yield _add(union, f"SELECT *, false AS is_stale FROM ({_united(union, source)}) AS u")


def rebuild_statements(table: str, source: str) -> Iterator[str]:
    """Give the statements that make all of one site anew out of the facts of ``source``."""
    yield f"SELECT pg_advisory_xact_lock({FOLDING})"
    for name in (deltas_of(table), *tables_of(table)):
        yield f"DELETE FROM mes.{name} WHERE site_id = %(site)s"
    yield from fill_statements(table, f"(SELECT * FROM {source} AS f WHERE site_id = %(site)s)")


def _add(union: Union, rows: str) -> str:
    """Return the statement that merges what a query gives into what is kept."""
    keys = ", ".join(union.key_names)
    columns = ", ".join((*union.key_names, *union.value_names, "is_stale"))
    sets = [
        f"{each.name} = {each.both.format(f't.{each.name}', f'excluded.{each.name}')}"
        for each in union.merges
    ]
    sets += [f"{each.name} = t.{each.name} + excluded.{each.name}" for each in union.sums]
    sets.append("is_stale = t.is_stale OR excluded.is_stale")
    return (
        f"INSERT INTO mes.{union.name} AS t ({columns}) SELECT {columns} FROM ({rows}) AS d"
        f" ORDER BY {keys} ON CONFLICT ({keys}) DO UPDATE SET {', '.join(sets)}"
    )


def _rows(union: Union, source: str, sign: str = "1") -> str:
    """Return the query of what each fact of a table gives, or each delta."""
    parts = [f"{each.of} AS {each.name}" for each in union.keys]
    parts += [f"{each.of} AS {each.name}" for each in union.merges]
    parts += [f"{sign} * ({each.of}) AS {each.name}" for each in union.sums]
    return (
        f"SELECT r.site_id, {', '.join(parts)}, {sign} AS sign FROM {source} AS r{union.pieces}"
        f" WHERE {union.where}"
    )


def _united(union: Union, source: str) -> str:
    """Return the query of what the facts of a source come to, by keys."""
    keys = ", ".join(union.key_names)
    return f"SELECT {keys}, {_all(union)} FROM ({_rows(union, source)}) AS f GROUP BY {keys}"


def _netted(union: Union, source: str) -> str:
    """Return the query of what deltas come to, by keys: what went and came back did not go."""
    keys = ", ".join(union.key_names)
    values = ", ".join((keys, *(each.name for each in union.merges)))
    sums = "".join(f", sum({each.name}) AS {each.name}" for each in union.sums)
    alike = (
        f"SELECT {values}, sum(sign) AS more{sums}"
        f" FROM ({_rows(union, source, 'r.sign')}) AS e GROUP BY {values}"
    )
    return (
        f"SELECT {keys}, {_all(union, ' FILTER (WHERE more > 0)')}, bool_or(more < 0) AS is_stale"
        f" FROM ({alike}) AS f GROUP BY {keys}"
    )


def _all(union: Union, only: str = "") -> str:
    parts = [f"{each.all}({each.name}){only} AS {each.name}" for each in union.merges]
    parts += [f"sum({each.name})::{each.type} AS {each.name}" for each in union.sums]
    return ", ".join(parts)


# --- reading them ----------------------------------------------------------------------------


def kept_rows(union: Union, since: str = "", also: str = "") -> str:
    """Return what is kept by keys: what was folded, and what was not yet; and whether it says.

    ``since``: rows of which the column for it is less, and stays less, may be left out, but not
    those of keys that the query ``also`` gives.
    """
    keys, deltas = ", ".join(union.key_names), _deltas(union)
    columns = ", ".join((*union.key_names, *union.value_names))
    folded = f"SELECT {columns}, is_stale FROM mes.{union.name} AS t"
    if since:
        # Of the others those that what is not folded adds to, each found by its key.
        also = f" UNION {also}" if also else ""
        added = f"SELECT DISTINCT {keys} FROM ({_rows(union, deltas)}) AS e{also}"
        is_since = f"t.{union.since} >= {since}"
        folded = (
            f"{folded} WHERE {is_since} UNION ALL {folded} JOIN ({added}) AS w USING ({keys})"
            f" WHERE ({is_since}) IS NOT TRUE"
        )
    return (
        f"(SELECT {keys}, {_all(union)}, bool_or(is_stale) AS is_stale FROM ({folded}"
        f" UNION ALL SELECT {columns}, is_stale FROM ({_netted(union, deltas)}) AS d) AS u"
        f" GROUP BY {keys})"
    )


def kept_of(union: Union, wanted: str) -> str:
    """Return what is kept of the keys that a query gives, as ``kept_rows`` has it."""
    keys = ", ".join(union.key_names)
    parts = [f"{m.both.format(f't.{m.name}', f'd.{m.name}')} AS {m.name}" for m in union.merges]
    return (
        f"SELECT {keys}, {', '.join(parts)}, true IN (t.is_stale, d.is_stale) AS is_stale"
        f" FROM ({wanted}) AS k LEFT JOIN mes.{union.name} AS t USING ({keys})"
        f" LEFT JOIN ({_netted(union, _deltas(union))}) AS d USING ({keys})"
    )


def stale_keys(union: Union) -> str:
    """Return the keys of which what is kept says nothing."""
    kept, keys = f"FROM mes.{union.name}", ", ".join(union.key_names)
    deltas = f"FROM ({_netted(union, _deltas(union))}) AS d"
    return f"(SELECT {keys} {kept} WHERE is_stale UNION SELECT {keys} {deltas} WHERE is_stale)"


def _deltas(union: Union) -> str:
    return f"mes.{deltas_of(union.table)}"


def months_query(days: str) -> str:
    """Return the query of the months in which facts of ``%(sites)s`` are that touch days.

    Whatever touches a business day touches one of UTC that is two days off at most.
    """
    return (
        f"SELECT DISTINCT r.month FROM {rows_of(MONTHS)} AS r WHERE r.site_id = ANY (%(sites)s)"
        f" AND EXISTS (SELECT FROM ({days}) AS d(day) WHERE r.first_day <= d.day + 2"
        f" AND r.last_day >= d.day - 2 OR d.day = {NEVER}"
        f" AND r.last_day - r.first_day >= {_LONG_DAYS})"
    )


# --- making stale ones anew ------------------------------------------------------------------


def listed(union: Union) -> str:
    """Return the query of keys that are given as texts, a parameter for each column."""
    names = ", ".join(key.name for key in union.keys)
    given = ", ".join(f"%({key.name})s::text[]" for key in union.keys)
    parts = ", ".join(f"x.{key.name}::{key.type} AS {key.name}" for key in union.keys)
    return f"SELECT {parts} FROM unnest({given}) AS x({names})"


def months_of_keys(union: Union) -> str:
    """Return the query of the months in which facts of keys are; parameters of ``listed``."""
    return f"WITH listed AS ({listed(union)}) {months_query(union.days)}"


def to_mend_statement(union: Union) -> str:
    """Return the query of some stale keys of a site, as texts."""
    names = ", ".join(f"{key.name}::text" for key in union.keys)
    return (
        f"SELECT {names} FROM mes.{union.name} AS t WHERE site_id = %(site)s AND is_stale"
        f" AND {_is_settled(union)} ORDER BY {', '.join(union.key_names)} LIMIT %(most)s"
    )


def mend_statement(union: Union, source: str) -> str:
    """Return the statement that makes stale keys of a site anew of the facts, and counts them.

    Only where nothing of a key waits to be folded: then what was folded is just what the facts
    come to that one snapshot sees, and all that it does not see is still to be folded. Else what
    comes could be folded after what it went with, and be merged for ever. To be run by whoever
    holds ``FOLDING``, from before the statement begins.
    """
    keys = ", ".join(union.key_names)
    own = ", ".join(key.name for key in union.keys)
    same = " AND ".join(f"t.{name} = {{0}}.{name}" for name in union.key_names)
    sets = ", ".join(f"{name} = a.{name}" for name in union.value_names)
    return (
        f"WITH listed AS ({listed(union)}), stale AS MATERIALIZED (SELECT {keys}"
        f" FROM mes.{union.name} AS t JOIN listed AS l USING ({own})"
        f" WHERE t.site_id = %(site)s AND t.is_stale AND {_is_settled(union)}),"
        f" anew AS (SELECT {keys}, {_all(union)} FROM ({_rows(union, source)}) AS f"
        f" JOIN stale AS s USING ({keys}) GROUP BY {keys}),"
        f" made AS (UPDATE mes.{union.name} AS t SET {sets}, is_stale = false"
        f" FROM anew AS a WHERE {same.format('a')}),"
        f" gone AS (DELETE FROM mes.{union.name} AS t USING stale AS s WHERE {same.format('s')}"
        f" AND NOT EXISTS (SELECT FROM anew AS a WHERE {same.format('a')}))"
        " SELECT count(*) FROM stale"
    )


def _is_settled(union: Union) -> str:
    """Return the condition that nothing of a key ``t`` waits to be folded."""
    same = " AND ".join(f"d.{name} = t.{name}" for name in union.key_names)
    return f"NOT EXISTS (SELECT FROM ({_rows(union, _deltas(union))}) AS d WHERE {same})"


# --- holding them against the facts ----------------------------------------------------------


def compare_statement(kept: Rollup | Union, source: str) -> str:
    """Return the query of one site's keys of which what is kept differs from what facts come to.

    ``source`` is what all facts of the site are selected from, those in the archive as well. In one
    statement, so that both are of one instant. Of a stale key nothing is said, so nothing is wrong.
    """
    if isinstance(kept, Rollup):
        return rollups.compare_statement(kept, source)
    keys = ", ".join(kept.key_names)
    shown = [f"{key}::text" for key in kept.key_names]
    shown += [f"{side}.{name}::text AS {before}{name}" for name in kept.value_names
              for side, before in (("f", ""), ("k", "kept_"))]  # fmt: skip
    differs = [f"f.{each.name} IS DISTINCT FROM k.{each.name}" for each in kept.merges]
    differs += [f"coalesce(f.{e.name}, 0) <> coalesce(k.{e.name}, 0)" for e in kept.sums]
    return (
        f"SELECT {', '.join(shown)} FROM"
        f" (SELECT * FROM ({_united(kept, source)}) AS f WHERE site_id = %(site)s) AS f"
        f" FULL JOIN (SELECT * FROM {kept_rows(kept)} AS r WHERE site_id = %(site)s) AS k"
        f" USING ({keys}) WHERE k.is_stale IS NOT TRUE AND ({' OR '.join(differs)})"
        f" ORDER BY {keys}"
    )

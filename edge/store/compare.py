"""The store's side of a comparison: sums, hashes and contents of its rows.

It reads over a connection of its own, beside whoever writes. ``shared.sums`` says what is summed
up: SQLite makes the text of a row, in one pass over a table, and Python hashes it.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge import capture
from edge.capture import ROW_NUMBER
from edge.differences import Here
from edge.sql_text import of_row, quoted
from edge.store import aside, cursor, position, steps
from edge.store.canon import as_instant
from edge.store.frozen import read_back
from edge.store.open import connect_to_read, lenient
from shared.catalog import COMMON, CREATED_AT, ID, SITE_ID, Column, Kind, Table
from shared.errors import InvalidValue
from shared.sums import (
    BYTES_MARK,
    DAY_CHARACTERS,
    FREE,
    MINUTE_CHARACTERS,
    SEPARATOR,
    Cut,
    Sum,
    Sums,
    float_text,
    folded,
    hash_of,
)
from shared.values import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge.store.open import Opened
    from edge.store.position import EdgePosition
    from shared.changes import ChangeBlock, Value

#: Rows hashed between two looks at the clock.
PAGE_ROWS: Final = 500
#: Messages of the outbox that are looked through for what was sent.
PARTS_MAX: Final = 200
#: Columns that are written by one call: SQLite's functions take 127 arguments, or 100.
_TOGETHER: Final = 40
#: No row has a number so low.
_BEFORE_ALL: Final = -(1 << 63)
_INSTANT: Final = "_sync_instant"
_FLOAT: Final = "_sync_float"
_FORM: Final = "_sync_form"
#: Why a row aside is no difference: it is listed already.
_ASIDE: Final = (aside.UNIQUE, aside.REFUSED, aside.TOO_LARGE)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table that are asked for, and the columns that both ends have."""

    table: Table
    columns: tuple[Column, ...]
    cut: Cut = field(default_factory=Cut)


class Looker:
    """Reads a store for a comparison, from one thread.

    ``rest`` is the share of the time that it leaves to others: 0 to be fast, 0.5 for half of it.
    """

    def __init__(self, opened: Opened, *, rest: float = 0.0) -> None:
        self._opened = opened
        self._rest = rest
        self._connection = connect_to_read(opened.path)
        self._connection.create_function(_FLOAT, 1, _float, deterministic=True)
        self._functions: set[str] = set()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def position(self) -> EdgePosition:
        """Return where the store stands."""
        return position.read(self._connection)

    def shows(self, own: int, shared: int) -> bool:
        """Return whether both feeds are shown to readers as far as given.

        The cursors go ahead of that: they pass what is only kept until the other feed is there.
        """
        connection = self._connection
        with self._one_moment():
            at = cursor.read(connection)
            shown = steps.shown(connection, at)
        return not at.needs_snapshot and shown.own >= own and shown.shared >= shared

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """Read all in the block as it was at one moment."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    # --- what there is ------------------------------------------------------------------------

    def count(self, table: Table) -> int:
        """Return the number of rows."""
        (count,) = self._connection.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()
        return int(count)

    def days(self, table: Table) -> list[tuple[str, int]]:
        """Return the days on which facts were created, with the rows of each."""
        day = f"substr({self._created(table)}, 1, {DAY_CHARACTERS})"
        with lenient(self._connection):
            rows = self._connection.execute(
                f"SELECT {day}, count(*) FROM {quoted(table.name)} d GROUP BY 1 ORDER BY 1"
            ).fetchall()
        return [(str(day), count) for day, count in rows]

    def kept_from(self, table: Table) -> str:
        """Return the day before which facts may be missing here; "" for none."""
        row = self._connection.execute(
            "SELECT kept_from FROM _sync_table WHERE name = ?", (table.name,)
        ).fetchone()
        return row[0] or "" if row else ""

    # --- sums and hashes ----------------------------------------------------------------------

    def sums(self, part: Part) -> Sums:
        """Return the sums of the buckets."""
        rows: dict[bytes, int] = {}
        totals: dict[bytes, int] = {}
        bucket, given = self._bucket(part)
        for name, text in self._read(part, [part.cut], bucket, given):
            rows[name] = rows.get(name, 0) + 1
            totals[name] = totals.get(name, 0) + hash_of(text)
        return {
            name.decode(errors="replace"): Sum(count, folded(totals[name]))
            for name, count in rows.items()
        }

    def hashes(self, part: Part, cuts: Sequence[Cut]) -> dict[str, int]:
        """Return the hash of each row in any of these cuts by its id, in one pass."""
        read = self._read(part, cuts, of_row("id"), [])
        return {row_id.decode(errors="replace"): hash_of(text) for row_id, text in read}

    def _read(
        self, part: Part, cuts: Sequence[Cut], first: str, given: Sequence[object]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Give rows in the order of their numbers, page by page: no page is read twice.

        Each page is a read of its own, so that nobody's log grows while a large table is read.
        """
        where, more = self._where(part.table, cuts)
        query = (
            f"SELECT d.{ROW_NUMBER}, CAST({first} AS BLOB), CAST({self._text(part)} AS BLOB)"
            f" FROM {quoted(part.table.name)} d WHERE d.{ROW_NUMBER} > ?{where}"
            f" ORDER BY d.{ROW_NUMBER} LIMIT {PAGE_ROWS}"
        )
        after = _BEFORE_ALL
        while True:
            started = time.perf_counter()
            page = self._connection.execute(query, (*given, after, *more)).fetchall()
            yield from (row[1:] for row in page)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]
            if self._rest:
                took = time.perf_counter() - started
                time.sleep(took * self._rest / (1 - self._rest))

    def _text(self, part: Part) -> str:
        columns = (ID, SITE_ID, CREATED_AT, *part.columns)
        texts = [
            _joined(
                [(c.type.kind, self._value(part.table, c)) for c in columns[start:][:_TOGETHER]]
            )
            for start in range(0, len(columns), _TOGETHER)
        ]
        return f" || '{SEPARATOR}' || ".join(texts)

    def _value(self, table: Table, column: Column) -> str:
        """Return the expression of a value in its canonical form.

        It stands so in our own tables. The plant's may hold 12.0 where 12 is meant.
        """
        if column is CREATED_AT:
            return self._created(table)
        plain = column in (ID, SITE_ID) or column.type.kind in (*FREE, Kind.BYTES, Kind.FLOAT)
        if plain or not self._opened.forms[table.name].adopted:
            return of_row(column.name)
        form = partial(_canonical, column)
        return self._called(f"{_FORM}_{self._number(table)}_{table.bit(column.name)}", form, column)

    def _created(self, table: Table) -> str:
        zone = self._opened.forms[table.name].created_zone
        if zone is None:
            return of_row(CREATED_AT.name)
        instant = partial(as_instant, zone=zone)
        return self._called(f"{_INSTANT}_{self._number(table)}", instant, CREATED_AT)

    def _number(self, table: Table) -> int:
        return self._opened.numbers[table.name]

    def _called(self, name: str, function: Callable[[Value], Value], column: Column) -> str:
        """Return the call of a function of ours on a column."""
        if name not in self._functions:
            self._connection.create_function(name, 1, function, deterministic=True)
            self._functions.add(name)
        return f"{name}({of_row(column.name)})"

    def _bucket(self, part: Part) -> tuple[str, list[object]]:
        if part.cut.digits:
            return f"substr({of_row('id')}, {-part.cut.digits:d})", []
        created = self._created(part.table)
        day = f"substr({created}, 1, {DAY_CHARACTERS})"
        if not part.cut.minutes_from:
            return day, []
        minute = f"substr({created}, 1, {MINUTE_CHARACTERS})"
        return f"CASE WHEN {created} < ? THEN {day} ELSE {minute} END", [part.cut.minutes_from]

    def _where(self, table: Table, cuts: Sequence[Cut]) -> tuple[str, list[object]]:
        """Return what is added to a condition, so that rows in any of the cuts are meant."""
        tests: list[str] = []
        given: list[object] = []
        for cut in cuts:
            test, more = self._in_cut(table, cut)
            tests.append(test)
            given += more
        return f" AND ({' OR '.join(tests)})", given

    def _in_cut(self, table: Table, cut: Cut) -> tuple[str, list[object]]:
        # The sign keeps an index of the plant's from being taken instead of the row numbers.
        created = f"+{self._created(table)}"
        tests: list[str] = ["1"]
        given: list[object] = []
        for bound, test in ((cut.since, f"{created} >= ?"), (cut.before, f"{created} < ?")):
            if bound:
                tests.append(test)
                given.append(bound)
        if cut.endings:
            tests.append(
                f"substr({of_row('id')}, {-len(cut.endings[0]):d})"
                " IN (SELECT value FROM json_each(?))"
            )
            given.append(json.dumps(cut.endings))
        return f"({' AND '.join(tests)})", given

    # --- rows ---------------------------------------------------------------------------------

    def look(self, part: Part, ids: Sequence[str]) -> tuple[EdgePosition, dict[str, Here]]:
        """Return rows by their ids, and where the store stood, all as of one moment."""
        with self._one_moment():
            at = position.read(self._connection)
            with lenient(self._connection):
                rows = self._rows(part, ids)
            versions, moving = self._versions(part.table, ids), self._moving(part.table, ids)
            asides = self._asides(part.table, ids)
        found = {}
        for row_id in ids:
            key, values = rows.get(row_id, (None, None))
            found[row_id] = Here(
                values=values,
                key=key,
                version=versions.get(row_id),
                moving=row_id in moving,
                aside=asides.get(row_id, ""),
            )
        return at, found

    def sent(self, table: Table, versions: Mapping[str, str]) -> dict[str, dict[str, Value]]:
        """Return what the outbox says that was sent of rows, by id, under versions of ours."""
        found: dict[str, dict[str, Value]] = {}
        bodies = self._connection.execute(
            "SELECT tx_id, body FROM _sync_out WHERE tx_id IN (SELECT value FROM json_each(?))"
            " LIMIT ?",
            (json.dumps([*versions.values()]), PARTS_MAX),
        )
        for tx_id, packed in bodies:
            for block in read_back(packed, self._opened.catalog).blocks:
                if block.table == table.name:
                    wanted = {i for i, version in versions.items() if version == tx_id}
                    found |= _rows_of(block, wanted)
        return found

    def _rows(
        self, part: Part, ids: Sequence[str]
    ) -> dict[str, tuple[tuple[str, str], tuple[Value, ...]]]:
        listed = "".join(f", {of_row(column.name)}" for column in part.columns)
        rows = self._connection.execute(
            f"SELECT d.id, d.site_id, {self._created(part.table)}{listed}"
            f" FROM {quoted(part.table.name)} d WHERE d.id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        return {
            str(row_id): (
                (str(site), str(_canonical(CREATED_AT, created))),
                tuple(map(_canonical, part.columns, values)),
            )
            for row_id, site, created, *values in rows
        }

    def _versions(self, table: Table, ids: Sequence[str]) -> dict[str, str]:
        return dict(
            self._connection.execute(
                "SELECT id, version FROM _sync_row WHERE table_no = ?"
                " AND id IN (SELECT value FROM json_each(?))",
                (self._number(table), json.dumps(ids)),
            )
        )

    def _moving(self, table: Table, ids: Sequence[str]) -> set[str]:
        """Return the rows of which something is not drained, or not decided."""
        given = {"no": self._number(table), "ids": json.dumps(ids)}
        wanted = "id IN (SELECT value FROM json_each(:ids))"
        queries = [
            f"SELECT id FROM {each} WHERE table_no = :no AND {wanted}"
            for each in ("_sync_pending", "_sync_shadow")
        ]
        if capture.has_log(table, self._opened.forms[table.name]):
            queries.append(f"SELECT id FROM {quoted(capture.log_name(table))} WHERE {wanted}")
        elif table.fact:
            queries.append(
                f"SELECT id FROM {quoted(table.name)} WHERE {wanted} AND {capture.JOURNAL} >"
                " (SELECT journal_mark FROM _sync_table WHERE no = :no)"
            )
        return {row_id for query in queries for (row_id,) in self._connection.execute(query, given)}

    def _asides(self, table: Table, ids: Sequence[str]) -> dict[str, str]:
        marks = ", ".join("?" * len(_ASIDE))
        return dict(
            self._connection.execute(
                f"SELECT id, code FROM _sync_aside WHERE table_name = ? AND code IN ({marks})"
                " AND id IN (SELECT value FROM json_each(?))",
                (table.name, *_ASIDE, json.dumps(ids)),
            )
        )


def _rows_of(block: ChangeBlock, ids: set[str]) -> dict[str, dict[str, Value]]:
    places = (place for place, row_id in enumerate(block.ids) if row_id in ids)
    return {
        block.ids[place]: {
            name: values[place] for name, values in zip(block.columns, block.new, strict=True)
        }
        for place in places
    }


def _joined(values: Sequence[tuple[Kind, str]]) -> str:
    """Return the SQL expression of values as they stand in a row's text.

    By printf, which writes null as nothing: half the time of as many concatenations.
    """
    shapes, given = [], []
    for kind, value in values:
        if kind in FREE:
            # Of bytes: the length of a text ends at a NUL, which a fault may put there.
            given += [f"length(CAST({value} AS BLOB)) || ':'", value]
        elif kind is Kind.BYTES:
            given += [
                f"CASE WHEN {value} IS NOT NULL THEN '{BYTES_MARK}' END",
                f"lower(hex({value}))",
            ]
        elif kind is Kind.FLOAT:
            given.append(f"{_FLOAT}({value})")
        else:
            given.append(value)
        shapes.append("%s%s" if kind in FREE or kind is Kind.BYTES else "%s")
    return f"printf('{SEPARATOR.join(shapes)}', {', '.join(given)})"


def _float(value: Any) -> Any:
    return float_text(float(value)) if isinstance(value, int | float) else value


def _canonical(column: Column, value: Value) -> Value:
    """Return the canonical form of what stands in a row; as it is where it has none."""
    try:
        return canonical(column.type, value)
    except InvalidValue:
        return value


assert COMMON == (ID, SITE_ID, CREATED_AT)

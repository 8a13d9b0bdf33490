"""All rows of an answer as a stream of bytes: CSV, lines of JSON, Arrow or Parquet.

PostgreSQL makes the text, by COPY under the same row-level security as any other answer; here it
passes through in blocks, or is read into Arrow block by block. So memory is bounded whatever the
size, and who reads slowly slows down the reading. It is a snapshot: of one moment, whole.

Everything here waits for the database, in a thread of its own.
"""

from __future__ import annotations

import io
import select
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pyarrow as pa
import pyarrow.csv as arrow_csv
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from pyarrow import parquet

from central.reports import known
from central.reports.freshness import ASKED, as_told, asked_of
from central.reports.months import located_at_once
from shared.errors import NotAuthorised, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection
    from psycopg.pq.abc import PGconn

    from central.reports.freshness import Fresh
    from central.reports.paging import Statement
    from central.reports.question import Question

#: Seconds that an answer may take to be read, by however slow a reader; who sends it sees to that,
#: since PostgreSQL minds no timeout while it waits for its reader.
WHOLE_MAX_S: Final = 600
#: Bytes of text that are passed on at a time, and that are read into Arrow at a time.
_BLOCK: Final = 256 << 10
_BATCH: Final = 8 << 20
#: What each of PostgreSQL's processes may sort in memory. With four times as much it took longer:
#: merging few long runs from files costs less than sorting what no cache holds.
_WORK_MEM: Final = "32MB"

_BOOLEAN, _BIGINT, _INTEGER, _TEXT, _DOUBLE, _VARCHAR = 16, 20, 23, 25, 701, 1043
_INSTANT, _NUMERIC = 1184, 1700
_ARROW: Final = {
    _BOOLEAN: pa.bool_(), _BIGINT: pa.int64(), _INTEGER: pa.int32(), _DOUBLE: pa.float64(),
    _NUMERIC: pa.float64(), _INSTANT: pa.timestamp("ms", "UTC"),
}  # fmt: skip

# As an answer in pages has them (``documents.plain`` and ``cell``).
# What PostgreSQL writes for JSON has the T; with a microsecond more an instant has all its digits,
# of which those of whole milliseconds are taken. With to_char it takes twice as long.
_AS_INSTANT: Final = "substr(to_json({0} AT TIME ZONE 'UTC' + interval '1 us')::text, 2, 23) || 'Z'"
_AS_TRUTH: Final = "CASE {0} WHEN true THEN 'true' WHEN false THEN 'false' END"
# By its first character: tab, carriage return, or one of +-=@. A pattern takes twice as long.
_AS_NO_FORMULA: Final = (
    "CASE WHEN ascii({0}) < 65 AND ascii({0}) IN (9, 13, 43, 45, 61, 64) THEN '''' || {0}"
    " ELSE {0} END"
)


class TooManyWhole(SyncError):
    """Too many whole answers are being read; ask again a little later."""


class Form(StrEnum):
    """What a stream can be."""

    CSV = "csv"
    NDJSON = "ndjson"
    ARROW = "arrow"
    PARQUET = "parquet"


_SHOWN: Final[dict[Form, dict[int, str]]] = {
    Form.CSV: {
        _INSTANT: _AS_INSTANT, _BOOLEAN: _AS_TRUTH, _NUMERIC: "trim_scale({0})",
        _TEXT: _AS_NO_FORMULA, _VARCHAR: _AS_NO_FORMULA,
    },
    Form.NDJSON: {_INSTANT: _AS_INSTANT, _NUMERIC: "trim_scale({0})"},
    Form.ARROW: {_INSTANT: _AS_INSTANT},
    Form.PARQUET: {_INSTANT: _AS_INSTANT},
}  # fmt: skip
#: A line of JSON has no control character in it, so CSV that quotes with one changes nothing in it.
_LINES: Final = r"(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"

_BEGIN: Final = b"""
SELECT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
       set_config('app.sites', %s, true), set_config('statement_timeout', %s, true),
       set_config('work_mem', %s, true)"""


@dataclass(slots=True)
class Whole:
    """An answer that was begun: what it is of is known, and its rows are still to be read."""

    connection: Connection[Any]
    statement: Statement
    fresh: Fresh
    #: Names, with their types as PostgreSQL numbers them.
    columns: list[tuple[str, int]]
    #: Months of sites that are in the archive, and not in it.
    archived_not_counted: int
    #: Of them so many are read.
    rows: int = 0

    @classmethod
    def begun(
        cls, url: str, question: Question, made: Callable[[Question], Statement], *,
        longest_s: int = WHOLE_MAX_S,
    ) -> Whole:  # fmt: skip
        """Begin to read, as the role that row-level security binds; raise where that can't be.

        The statement is ``made`` of what the question is once it is known which facts can hold what
        it asks for. ``longest_s``: each statement may take so many seconds.
        """
        connection = psycopg.connect(url)
        try:
            fresh = _begin(connection, question, longest_s)
            question = located_at_once(connection, question)
            statement = made(question)
            cursor = connection.execute(
                f"SELECT * FROM ({statement.text}) AS t LIMIT 0".encode(), statement.values
            )
            columns = [(each.name, each.type_code) for each in cursor.description or ()]
            return cls(connection, statement, fresh, columns, question.archived)
        except BaseException:
            connection.close()
            raise

    def count(self) -> int:
        """Return how many rows there are."""
        text = self.statement.counting().encode()
        found = self.connection.execute(text, self.statement.values).fetchone()
        return int(found[0]) if found else 0

    def blocks(self, form: Form) -> Generator[bytes]:
        """Give the rows in a form, and close the connection."""
        with self.connection:
            match form:
                case Form.CSV:
                    self.rows = -1  # the first line is one of names
                    yield from self._copied(form, "(FORMAT csv, HEADER)", _BLOCK)
                case Form.NDJSON:
                    yield from self._copied(form, _LINES, _BLOCK)
                case Form.ARROW | Form.PARQUET:
                    yield from self._arrow(form)

    def _copied(self, form: Form, how: str, size: int) -> Generator[bytes]:
        """Give the text of COPY in blocks of whole rows."""
        shown = _SHOWN[form]
        listed = ", ".join(
            f'{shown.get(oid, "{0}").format(_quoted(name))} AS "{name}"'
            for name, oid in self.columns
        )
        rows = self.statement.giving(listed)
        if form is Form.NDJSON:
            rows = f"SELECT row_to_json(j) FROM ({rows}) AS j"
        text = f"COPY ({rows}) TO STDOUT {how}"
        with (
            self.connection.cursor() as cursor,
            cursor.copy(text.encode(), self.statement.values),
        ):
            for block, rows_read in _blocks(self.connection.pgconn, size):
                self.rows += rows_read
                yield block

    def _arrow(self, form: Form) -> Generator[bytes]:
        schema = pa.schema([(name, _ARROW.get(oid, pa.string())) for name, oid in self.columns])
        sink = _Sink()
        writer = (
            pa.ipc.new_stream(sink, schema)
            if form is Form.ARROW
            else parquet.ParquetWriter(sink, schema, compression="zstd")
        )
        with writer:
            for text in self._copied(form, "(FORMAT csv)", _BATCH):
                writer.write_table(_as_table(text, schema))
                if taken := sink.taken():
                    yield taken
        yield sink.taken()


def _begin(connection: Connection[Any], question: Question, longest_s: int) -> Fresh:
    """Begin to read one moment of these sites; return how fresh that is."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    given = [",".join(question.sites), f"{longest_s}s", _WORK_MEM]
    found = connection.execute(_BEGIN, given).fetchone()
    if found is None or found[0]:
        raise NotAuthorised("the role of the API is one that row-level security does not bind")
    connection.execute("SELECT mes.asked_sites()")
    if question.as_known_at is not None:
        known.judge(question, connection.execute(known.SINCE).fetchone())
    asked = asked_of(question.sites, question.window.end)
    return as_told(connection.execute(ASKED, asked))


def _quoted(name: str) -> str:
    return f't."{name}"'


def _blocks(pgconn: PGconn, size: int) -> Generator[tuple[bytes, int]]:
    """Give the rows of the COPY that is under way in blocks, each with how many it holds.

    Reading them from psycopg's ``Copy`` makes a generator for each, which takes PostgreSQL's time
    to make the next two: what arrived together is read without waiting here.
    """
    arrives = select.poll()
    arrives.register(pgconn.socket, select.POLLIN)
    block, rows, read = bytearray(), 0, pgconn.get_copy_data
    while (found := read(1))[0] >= 0:
        length, row = found
        if not length:
            arrives.poll()
            pgconn.consume_input()
            continue
        block += row
        rows += 1
        if len(block) >= size:
            yield bytes(block), rows
            block.clear()
            rows = 0
    while (result := pgconn.get_result()) is not None:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    if block:
        yield bytes(block), rows


def _as_table(text: bytes, schema: pa.Schema) -> pa.Table:
    return arrow_csv.read_csv(
        pa.BufferReader(text),
        read_options=arrow_csv.ReadOptions(column_names=schema.names),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True,
            quoted_strings_can_be_null=False, true_values=["t"], false_values=["f"],
        ),
    )  # fmt: skip


class _Sink(io.RawIOBase):
    """Holds what was written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._held += view
        self._at += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        taken = bytes(self._held)
        self._held.clear()
        return taken

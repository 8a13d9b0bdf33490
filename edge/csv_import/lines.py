"""Reads a CSV file line by line, so that a bad line costs itself and nothing else.

Python's reader takes a quote that is never closed to the end of the file and then fails. Here a
record may go on for ``RECORD_LINES_MAX`` lines; where no record comes of it, its first line is
refused and reading goes on at the second. Memory is bounded whatever the file holds.
"""

from __future__ import annotations

import csv
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.errors import BadImport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

#: A quoted field may hold line ends; a record of more lines than this is a quote left open.
RECORD_LINES_MAX: Final = 100
#: A longer line is refused and skipped without being held.
LINE_BYTES_MAX: Final = 1 << 20
#: What a refused line keeps of itself.
ORIGINAL_BYTES_MAX: Final = 10_000

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the file is written."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    #: Lines before the header that mean nothing.
    skip_lines: int = 0


class Record(NamedTuple):
    """One row of the file, or a line that is none."""

    #: Number of its first line; the file's first is 1.
    line: int
    fields: list[str]
    original: bytes
    #: Why it is no row; empty where it is one.
    reason: str


class CsvLines:
    """The records of a file in order, its header first."""

    def __init__(self, stream: BinaryIO, dialect: Dialect) -> None:
        self._lines = _Lines(stream)
        self._dialect = dialect
        self._delimiter = dialect.delimiter
        self._quote = dialect.quote.encode(dialect.encoding)
        self._encoding = dialect.encoding
        for _ in range(dialect.skip_lines):
            if self._lines.next() is None:
                break
        self.header = self._header()

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that have been looked at."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Record]:
        """Yield every record after the header; lines in which nothing stands are left out."""
        width = len(self.header)
        while (taken := self._lines.next()) is not None:
            number, raw = taken
            if len(raw) > LINE_BYTES_MAX:
                reason = f"the line is longer than {LINE_BYTES_MAX} bytes"
                yield Record(number, [], raw[:ORIGINAL_BYTES_MAX], reason)
                continue
            record = self._record(number, raw, width)
            if record.reason or any(record.fields):
                yield record

    def _header(self) -> list[str]:
        taken = self._lines.next()
        if taken is None:
            raise BadImport("the file is empty: a first line that names the columns is expected")
        record = self._record(*taken, width=0)
        if record.reason:
            raise BadImport(f"line {record.line} should name the columns: {record.reason}")
        return [name.strip() for name in record.fields]

    def _record(self, number: int, raw: bytes, width: int) -> Record:
        """Return the record that begins with this line; ``width`` 0 takes any number of fields."""
        if self._quote in raw:
            fields, original, reason = self._quoted(raw, width)
        else:
            original, fields, reason = raw, [], ""
            try:
                fields = raw.decode(self._encoding).rstrip("\r\n").split(self._delimiter)
            except UnicodeError as error:
                reason = _undecodable(error)
        if not reason and width and len(fields) != width and any(fields):
            reason = f"{len(fields)} fields, the header has {width}"
        return Record(number, [] if reason else fields, original, reason)

    def _quoted(self, raw: bytes, width: int) -> tuple[list[str], bytes, str]:
        """Read a record with quotes; what it does not use of the following lines is put back."""
        used: list[bytes] = []
        reader = csv.reader(
            self._supply(raw, used),
            delimiter=self._delimiter,
            quotechar=self._dialect.quote,
            strict=True,
        )
        fields: list[str] = []
        try:
            fields = next(reader)
            whole = not width or len(fields) == width
            reason = "" if whole or len(used) == 1 else "a quote is opened and closed lines later"
        except UnicodeError as error:
            reason = _undecodable(error) if len(used) == 1 else _left_open(len(used))
        except csv.Error as error:
            end = "unexpected end of data" in str(error)
            reason = _left_open(len(used)) if end or len(used) > 1 else f"not CSV: {error}"
        if reason:
            self._lines.put_back(used[1:])
            return [], raw, reason
        return fields, b"".join(used), ""

    def _supply(self, first: bytes, used: list[bytes]) -> Iterator[str]:
        used.append(first)
        yield first.decode(self._encoding)
        size = len(first)
        while len(used) < RECORD_LINES_MAX and size <= LINE_BYTES_MAX:
            taken = self._lines.next()
            if taken is None:
                return
            used.append(taken[1])
            size += len(taken[1])
            yield taken[1].decode(self._encoding)


class _Lines:
    """Lines of a file with their numbers, some of which may be put back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._number = 0
        self._back: deque[bytes] = deque()
        self.bytes_read = 0

    def next(self) -> tuple[int, bytes] | None:
        """Return the next line's number and bytes; None at the end."""
        raw = self._back.popleft() if self._back else self._read()
        if not raw:
            return None
        self._number += 1
        return self._number, raw

    def put_back(self, lines: list[bytes]) -> None:
        """Let these, the last ones taken, come again."""
        self._back.extendleft(reversed(lines))
        self._number -= len(lines)

    def _read(self) -> bytes:
        raw = self._stream.readline(LINE_BYTES_MAX + 1)
        begins = not self.bytes_read
        self.bytes_read += len(raw)
        if len(raw) > LINE_BYTES_MAX:
            self._skip_line_end(raw)
        return raw.removeprefix(_BOM) if begins else raw

    def _skip_line_end(self, raw: bytes) -> None:
        """Pass over the rest of a line that is too long to be held."""
        while raw and not raw.endswith(b"\n"):
            raw = self._stream.readline(LINE_BYTES_MAX)
            self.bytes_read += len(raw)


def _undecodable(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):  # of the few encodings that are rules for names
        return f"it can't be read in this encoding: {error}"
    wrong = error.object[error.start : error.start + 1].hex()
    return f"not {error.encoding}: byte {error.start + 1} is 0x{wrong}"


def _left_open(lines: int) -> str:
    where = f"within {lines} lines" if lines > 1 else "in this line"
    return f"a quote is opened and not closed {where}"

"""The rejects of an import: each line as it was, its number, and why it was not taken.

Lines are on the disk before the batch is committed that passes over them, and what a killed run
wrote ahead of its last commit is cut off by the next. So each is in the file exactly once.
"""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, Final

from edge.csv_import.lines import ORIGINAL_BYTES_MAX
from shared.errors import BadImport

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Self

    from edge.csv_import.batch import Batch

HEADER: Final = ("line", "row", "reason", "original")


class Rejects:
    """The file of rejects, which is made when the first line is rejected."""

    def __init__(self, path: Path, rows_done: int) -> None:
        """Keep what earlier runs wrote of the rows that are done, and nothing else."""
        self._path = path
        self._file: BinaryIO | None = None
        self._kept = 0
        self._rows_done = rows_done
        if not os.access(path.parent, os.W_OK):
            raise BadImport(f"rejected lines can't be written to {path}; name a file by --rejects")

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def write(self, batch: Batch) -> None:
        """Put the refused lines of a batch on the disk; ``keep`` makes them stay."""
        if not batch.reasons:
            return
        if self._file is None:
            self._file = self._open()
        self._file.seek(self._kept)
        self._file.truncate()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for place, reason in sorted(batch.reasons.items()):
            record = batch.records[place]
            original = record.original[:ORIGINAL_BYTES_MAX].rstrip(b"\r\n")
            shown = original.decode("utf-8", "backslashreplace")
            writer.writerow((record.line, batch.numbers[place], reason, shown))
        self._file.write(text.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def keep(self) -> None:
        """Let what was written stay: its batch is committed."""
        if self._file is not None:
            self._kept = self._file.seek(0, io.SEEK_END)

    def _open(self) -> BinaryIO:
        kept = _lines_before(self._path, self._rows_done) if self._rows_done else b""
        file = self._path.open("w+b")
        file.write(kept or (",".join(HEADER) + "\n").encode())
        self._kept = file.tell()
        return file


def _lines_before(path: Path, rows_done: int) -> bytes:
    """Return the beginning of a rejects file: what it says of the first rows."""
    if not path.is_file():
        return b""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file)):
            whole = len(row) == len(HEADER)
            if number == 0 or (whole and row[1].isdigit() and int(row[1]) <= rows_done):
                writer.writerow(row)
    return text.getvalue().encode()

"""The rejects of an import: each line as it was, its number, and why it was not taken.

Lines are on the disk before the batch is committed that passes over them, and what a killed run
wrote ahead of its last commit is cut off by the next. So each is in the file exactly once.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from typing import TYPE_CHECKING, Final

from edge.csv_import.lines import ORIGINAL_BYTES_MAX
from shared.errors import BadImport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Self

    from edge.csv_import.batch import Batch

HEADER: Final = ("line", "row", "reason", "original")
_FIRST_LINE: Final = (",".join(HEADER) + "\n").encode()


class Rejects:
    """The file of rejects, which is made when the first line is rejected.

    What an earlier import left there is replaced; a file that is no file of rejects never is.
    """

    def __init__(self, path: Path, rows_done: int, *, imported: Path) -> None:
        """Keep what earlier runs wrote of the rows that are done, and nothing else.

        Raises BadImport where the place can't be written, or is taken by something else.
        """
        self._path = path
        self._file: BinaryIO | None = None
        self._kept = 0
        self._rows_done = rows_done
        if not os.access(path.parent, os.W_OK):
            raise BadImport(f"rejected lines can't be written to {path}; name a file by --rejects")
        if path.exists():
            _check_replaceable(path, imported)

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
        """Open the file; what is to stay in it is not written anew, so no kill can lose it."""
        self._path.touch()
        file = self._path.open("r+b")
        self._kept = _end_of(file, self._rows_done) if self._rows_done else 0
        if not self._kept:
            file.seek(0)
            file.truncate()
            self._kept = file.write(_FIRST_LINE)
        return file


def _check_replaceable(path: Path, imported: Path) -> None:
    if path.samefile(imported):
        raise BadImport(f"--rejects {path} is the very file that is imported; name another")
    if not path.is_file():
        raise BadImport(f"--rejects {path} is no ordinary file; name another")
    with path.open("rb") as file:
        if file.readline(len(_FIRST_LINE)) not in (_FIRST_LINE, b""):
            raise BadImport(f"--rejects {path} holds something else, which stays; name another")


def _end_of(file: BinaryIO, rows_done: int) -> int:
    """Return where a file of rejects ends for the first rows of what is imported."""
    end = read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in file:
            read += len(line)
            yield line.decode("utf-8", "replace")

    # What a killed run left half written is the last thing in the file.
    with contextlib.suppress(csv.Error):
        for number, row in enumerate(csv.reader(lines())):
            whole = len(row) == len(HEADER)
            if number and not (whole and row[1].isdigit() and int(row[1]) <= rows_done):
                break
            end = read
    return end

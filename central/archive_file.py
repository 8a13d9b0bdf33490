"""Files of archived months: Parquet beside a manifest, written batch by batch, and read back.

A file is written under a temporary name, made durable, read again as a whole, and only then given
its name: what has its name is what was verified. Values are in Parquet as exact as in PostgreSQL:
decimals as decimals, instants as microseconds of UTC, UUIDs, JSON and sets as texts.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import time
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from central.archive_contents import ArchiveAway, ArchiveDamaged, Contents
from central.archive_hash import hashes, named
from shared.catalog import COMMON, ColumnType, Kind
from shared.sums import folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal
    from pathlib import Path

    from shared.catalog import Column, Table
    from shared.changes import Value

    #: Values in canonical form, by column.
    Block = Sequence[Sequence[Value]]

#: Rows of a row group: what is held in memory at a time, some tens of MB.
GROUP_ROWS: Final = 50_000
#: Rows that are read at a time.
BATCH_ROWS: Final = 10_000
_HASHED_BYTES: Final = 1 << 20
_DECIMAL128_DIGITS: Final = 38


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file as it was verified."""

    contents: Contents
    bytes: int
    sha256: str


# --- values ----------------------------------------------------------------------------------


def schema_of(table: Table) -> pa.Schema:
    """Return the columns of a table's files."""
    columns = (*COMMON, *table.columns)
    return pa.schema([pa.field(c.name, arrow_type(c.type)) for c in columns])


def arrow_type(type_: ColumnType) -> pa.DataType:
    """Return the type of a column in a file."""
    if type_.kind is Kind.DECIMAL:
        precision, scale = type_.precision or _DECIMAL128_DIGITS, type_.scale or 0
        small = precision <= _DECIMAL128_DIGITS
        return (pa.decimal128 if small else pa.decimal256)(precision, scale)
    return _TYPES.get(type_.kind, pa.string())


_TYPES: Final = {
    Kind.INTEGER: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.time32("s"),
    Kind.BYTES: pa.binary(),
}


def to_arrow(type_: ColumnType, values: Sequence[Value]) -> pa.Array:
    """Return canonical values as they stand in a file."""
    target = arrow_type(type_)
    match type_.kind:
        case Kind.TIMESTAMP:
            texts = pc.utf8_rtrim(pa.array(values, pa.string()), characters="Z")
            return texts.cast(pa.timestamp("us")).cast(target)
        case Kind.BOOLEAN:
            return pa.array(values, pa.int64()).cast(target)
        case Kind.DECIMAL | Kind.DATE:
            return pa.array(values, pa.string()).cast(target)
        case Kind.TIME:
            times = [None if v is None else time.fromisoformat(str(v)) for v in values]
            return pa.array(times, target)
        case _:
            return pa.array(values, target)


def canonical(kind: Kind, array: pa.Array | pa.ChunkedArray) -> list[Value]:
    """Return values of a file in canonical form."""
    match kind:
        case Kind.TIMESTAMP:
            form = "%Y-%m-%dT%H:%M:%SZ"  # whose seconds have the milliseconds of the type
            array = pc.strftime(array.cast(pa.timestamp("us")).cast(pa.timestamp("ms")), form)
        case Kind.DECIMAL:
            # Not a cast to text: that writes the zero of a large scale as 0E-9.
            return [None if each is None else _plain(each) for each in array.to_pylist()]
        case Kind.DATE:
            array = array.cast(pa.string())
        case Kind.TIME:
            array = pc.utf8_slice_codeunits(array.cast(pa.string()), 0, len("12:34"))
        case Kind.BOOLEAN:
            array = array.cast(pa.int64())
        case _:
            pass
    values: list[Value] = array.to_pylist()
    return values


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- writing ---------------------------------------------------------------------------------


class Writing:
    """A file that is being written, under a temporary name until it is ``kept``."""

    def __init__(self, path: Path, table: Table) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.table = path, table
        self.temporary = path.with_name(f"{path.name}.writing")
        self._schema = schema_of(table)
        self.columns = (*COMMON, *table.columns)
        self._held: list[pa.RecordBatch] = []
        self._writer = pq.ParquetWriter(self.temporary, self._schema, compression="zstd")

    def add(self, block: Block) -> None:
        """Add rows: canonical values of all columns of the table, in the order of the schema."""
        arrays = [to_arrow(c.type, v) for c, v in zip(self.columns, block, strict=True)]
        self._held.append(pa.record_batch(arrays, schema=self._schema))
        if sum(batch.num_rows for batch in self._held) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema))
            self._held = []

    def seal(self) -> Sealed:
        """End the file, make it durable, and read all of it again: return what it holds."""
        self._flush()
        self._writer.close()
        _sync(self.temporary)
        return read_whole(self.temporary, self.table)

    def keep(self, manifest: dict[str, Any]) -> None:
        """Give the file its name, beside its manifest; both are durable afterwards."""
        beside = manifest_of(self.path)
        writing = beside.with_name(f"{beside.name}.writing")
        writing.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _sync(writing)
        writing.replace(beside)
        self.temporary.replace(self.path)
        _sync(self.path.parent)

    def give_up(self) -> None:
        """Leave nothing of it behind."""
        with suppress(Exception):
            self._writer.close()
        self.temporary.unlink(missing_ok=True)


def manifest_of(path: Path) -> Path:
    """Return where the manifest of a file stands."""
    return path.with_suffix(".json")


def manifest(sealed: Sealed, **more: Any) -> dict[str, Any]:
    """Return the manifest of a file: enough to read and check it with nothing else at hand."""
    told = asdict(sealed)
    contents = told.pop("contents")
    return {"schema": "mes-central.archive-file/v1", **more, **contents, **told}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading ---------------------------------------------------------------------------------


def columns_in(path: Path, table: Table) -> list[tuple[Column, str]]:
    """Return the table's columns that a file has, each with its name there."""
    try:
        return list(named(table, pq.read_schema(path).names))
    except FileNotFoundError as error:
        raise ArchiveAway(f"{path} is not there; see MES_ARCHIVE_DIR, and your backups") from error
    except (OSError, pa.ArrowException) as error:
        raise ArchiveDamaged(f"{path} can't be read: {error}") from error


def blocks(path: Path, table: Table) -> Iterator[list[list[Value]]]:
    """Give the rows of a file, by the columns of ``columns_in``, a batch at a time."""
    columns = columns_in(path, table)
    names = [name for _, name in columns]
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                yield [canonical(c.type.kind, batch.column(name)) for c, name in columns]
    except (OSError, pa.ArrowException) as error:
        raise ArchiveDamaged(f"{path} can't be read: {error}") from error


def read_whole(path: Path, table: Table) -> Sealed:
    """Read every value of a file, and return what it holds."""
    columns = [column for column, _ in columns_in(path, table)]
    found = Contents(0, 0)
    for block in blocks(path, table):
        found += Contents(len(block[0]), folded(sum(hashes(columns, block))))
    return Sealed(found, path.stat().st_size, sha256_of(path))


def check_bytes(path: Path, sha256: str | None) -> None:
    """Raise ArchiveDamaged where a file is not byte by byte what was recorded."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ArchiveAway(f"{path} can't be read: {error.strerror}; see MES_ARCHIVE_DIR") from error
    if found != sha256:
        raise ArchiveDamaged(
            f"{path} is not what was written: its SHA-256 is {found}, and {sha256} was recorded;"
            " put it back from a backup of the archive"
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASHED_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

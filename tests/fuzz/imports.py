"""Imports: maps, CSV files, and the texts of their fields."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import strategies as st

from edge.csv_import import read_map
from edge.csv_import.batch import BatchReader
from edge.csv_import.lines import ORIGINAL_BYTES_MAX, CsvLines, Dialect
from edge.csv_import.map_rules import READERS
from edge.csv_import.values import Reading, reader_of
from shared.catalog import Column, ColumnType, Kind
from shared.errors import BadImport, InvalidValue
from shared.values import rule_broken
from tests.fuzz.bounds import bounded
from tests.fuzz.plain import anything, toml
from tests.fuzz.target import Target, mutations
from tests.integration.import_world import CATALOG, HEADER, LINE, SMALL_MAP, Site, rejects

MAPS: Final = Path(__file__).parents[2] / "docs" / "maps"

# --- texts of fields ------------------------------------------------------------------------------

numbers = st.sampled_from(
    [
        "0", "-0", "1.5", "1,5", "1.234,5", "1,234.5", "1e5", "1e999999", "NaN", "inf", "9" * 5_000,
        "1" * 200, "0." + "0" * 200 + "1", "-", "+", ".", "1.", "\u0661\u0662", "0x10", "1_000",
        " 5 ", "5\x00",
    ]
)  # fmt: skip
moments = st.sampled_from(
    [
        "2012-01-02 03:04", "2012-01-02T03:04:05Z", "0001-01-01T00:00:00+14:00", "2012-02-30 00:00",
        "9999-12-31T23:59:59-14:00", "2012-03-25 02:30", "2012-10-28 02:30", "1899-12-31 00:30",
        "1900/2/1 12:00:00", "24:00", "12:34:56", "0:59", "999999:59", "-1", "1327879440",
        "2012-W01-1", "20120102", "2012-01-02 03:04:60", "0000-00-00", "12/31/1999", "1" * 40,
    ]
)  # fmt: skip
cells = st.one_of(
    numbers, moments, st.text(max_size=12),
    st.sampled_from(["", "D", "S", "A-1", "x" * 300, "[]", "{"]),
)  # fmt: skip
kinds = st.sampled_from(
    [
        ColumnType(Kind.DECIMAL, precision=18, scale=6),
        ColumnType(Kind.TEXT, length=20),
        *(ColumnType(kind) for kind in Kind if kind is not Kind.DECIMAL),
    ]
)
readings: Final[dict[str, list[Any]]] = {
    "format": [
        "iso",
        "epoch_s",
        "epoch_ms",
        "%Y-%m-%d %H:%M",
        "%d.%m.%y",
        "%b %d",
        "%j",
        "%G-W%V-%u",
    ],
    "zone": ["UTC", "Europe/Budapest", "Asia/Tokyo", "Pacific/Honolulu", "Africa/Monrovia"],
    "ambiguous": ["reject", "earlier", "later"],
    "duration": ["H:MM", "H:MM:SS", "M:SS"],
    "unit": ["s", "min", "h"],
    "spreadsheet_dates": [True],
    "decimal_point": [",", "."],
    "thousands": [".", ",", " ", ""],
    "times": [1, -3, "0.001", "1e30", "1e-30"],
    "codes": [{"D": "x", "": 1}, {"S": None}],
    "patterns": [[["^A", "x"], ["[0-9]+", 5]]],
    "other": ["x", None, 7],
    "nulls": [["", "NaN"]],
    "strip": [False],
}


@st.composite
def read_texts(draw: Any) -> tuple[ColumnType, dict[str, Any], list[str]]:
    names = draw(st.lists(st.sampled_from(sorted(readings)), max_size=4, unique=True))
    given = {name: draw(st.sampled_from(readings[name])) for name in names}
    return draw(kinds), given, draw(st.lists(cells, min_size=1, max_size=6))


def check_text(given: tuple[ColumnType, dict[str, Any], list[str]]) -> None:
    """A text is a value that may be stored, or is refused with the rule."""
    type_, written, texts = given
    column = Column("c", type_)
    with bounded(seconds=5, megabytes=20):
        read = reader_of(column, Reading(**{k: READERS[k](v) for k, v in written.items()}))
        for text in texts:
            try:
                value = read(text)
            except InvalidValue as why:
                broken: str | None = str(why) and None
            else:
                broken = rule_broken(column, value)
            assert broken is None, (text, broken)


# --- lines ----------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        b",", b";", b'"', b'""', b"'", b"\n", b"\r\n", b"\r", b"\x00", b"\xef\xbb\xbf", b"\xff",
        b"a",
        b"1", b"a,b,c\n", b'"x\ny"', b"\t", b" ", b"\\", b"\xc3\xa9", b"\x1a", b"x" * 200_000,
        b'"' + b"y" * 140_000, b"\n" * 150, b",\n" * 60,
    ]
)  # fmt: skip
files = st.lists(pieces | st.binary(max_size=8), max_size=30).map(b"".join)
dialects = st.builds(
    Dialect,
    encoding=st.sampled_from(
        ["utf-8", "cp1252", "latin-1", "utf-7", "shift_jis", "idna", "hz", "big5"]
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|", "a", " "]),
    quote=st.sampled_from(['"', "'", "~"]),
    skip_lines=st.sampled_from([0, 0, 0, 1, 10_000]),
)


def check_lines(given: tuple[bytes, Dialect]) -> None:
    """Each record has as many fields as the header, or the reason why it is none."""
    content, dialect = given
    with bounded(seconds=10, megabytes=30 + 20 * len(content) / (1 << 20)):
        try:
            lines = CsvLines(io.BytesIO(content), dialect)
        except BadImport:
            return
        before = 0
        for record in lines:
            assert record.line > before
            before = record.line
            assert bool(record.reason) != (len(record.fields) == len(lines.header))
            assert len(record.original) <= max(len(content), ORIGINAL_BYTES_MAX)
        assert lines.bytes_read == len(content)


# --- maps -----------------------------------------------------------------------------------------

packaged = st.sampled_from(sorted(MAPS.glob("*.toml"))).map(Path.read_bytes)
small = st.just(SMALL_MAP.encode())
keys = st.sampled_from(
    [
        "version", "split_by", "encoding", "delimiter", "quote", "skip_lines", "zone", "format",
        "nulls", "columns.notes", "columns.qty_ordered", "columns.created_at", "when", "key",
        "identity", "create", "optional", "name", "table", "columns.site_id", "columns.id",
    ]
)  # fmt: skip
settings = st.sampled_from([*sorted(readings), "column", "constant", "keep", "row"])
words = st.sampled_from(["Note", "F", "%Y", "first"])


@st.composite
def maps(draw: Any) -> bytes:
    """Return a map of which some lines were changed for others of the same keys."""
    lines = SMALL_MAP.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        fields = draw(st.dictionaries(settings, anything | words, max_size=3))
        value = draw(anything | st.just(fields))
        line = f"{draw(keys)} = {toml(value)}"
        lines[place : place + draw(st.integers(0, 1))] = [line]
    return "\n".join(lines).encode("utf-8", "replace")


TABLE: Final = f'{HEADER}\n{LINE}\n,,,,,,,\nB,x,2012-01-02 06:00,,W2,S,-1,"n\nn"\n'.encode()


def check_map(content: bytes) -> None:
    """A map is refused with its mistakes, or lines are read by it or refused with the reason."""
    with TemporaryDirectory() as folder, bounded(seconds=10, megabytes=50):
        path = Path(folder) / "map.toml"
        path.write_bytes(content)
        try:
            plan = read_map(path, CATALOG, site="F07")
            lines = CsvLines(io.BytesIO(TABLE), plan.dialect)
        except BadImport as why:
            refusal: str = str(why)
        else:
            refusal = "taken"
            if {name for name, _ in plan.csv_columns()} <= set(lines.header):
                reader = BatchReader(plan, lines.header)
                records = list(lines)
                batch = reader.batch(records, list(range(1, len(records) + 1)))
                reader.read(batch)
                assert all(batch.reasons.values())
    assert refusal


# --- the whole ------------------------------------------------------------------------------------


@st.composite
def tables(draw: Any) -> bytes:
    """Return a file for ``SMALL_MAP``, of which some cells are odd."""
    right = LINE.split(",")
    rows = []
    for number in range(draw(st.integers(0, 8))):
        row = [right[0] + str(number % 3), *right[1:]]
        for _ in range(draw(st.integers(0, 2))):
            row[draw(st.integers(0, len(row) - 1))] = draw(cells)
        rows.append(row)
    text = io.StringIO()
    csv.writer(text, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))).writerows(rows)
    return HEADER.encode() + b"\n" + text.getvalue().encode("utf-8", "replace")


def check_import(content: bytes) -> None:
    """Every record is taken or rejected, once; and a second run has nothing to do."""
    with TemporaryDirectory() as folder, bounded(seconds=20):
        site = Site.new(Path(folder))
        file, map_file = Path(folder) / "log.csv", Path(folder) / "map.toml"
        file.write_bytes(content)
        map_file.write_text(SMALL_MAP)
        try:
            done = site.load(file, map_file)
        except BadImport:
            return
        records = list(CsvLines(io.BytesIO(content), Dialect()))
        assert done.taken + done.rejected == len(records) == done.progress.rows
        if done.rejected:
            assert len(rejects(site)) == done.rejected + 1
        assert site.load(file, map_file).done_before


IMPORTS = (
    Target("texts", check_text, read_texts(), examples=400),
    Target("lines", check_lines, st.tuples(files | mutations(files), dialects), examples=150),
    Target(
        "maps", check_map, st.one_of(maps(), maps(), mutations(small), mutations(packaged)),
        examples=120,
    ),
    Target("imports", check_import, tables() | mutations(tables()), examples=25),
)  # fmt: skip

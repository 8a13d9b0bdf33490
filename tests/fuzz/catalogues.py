"""Catalogues of a plant: any text is a catalogue of which tables can be made, or is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import strategies as st

from central import capture as central_capture
from central.schema import create_statements
from edge import capture
from edge.store import schema
from shared.catalog import Catalog, Direction, Kind, Policy
from shared.catalog_file import PACKAGED, _read_file
from shared.catalog_rules import TableFile, broken_rules
from tests.fuzz.bounds import bounded
from tests.fuzz.plain import anything, changed, toml
from tests.fuzz.target import Target, mutations

#: A catalogue is some hundred lines of SQL; a limit with an exponent is not to make a gigabyte.
SQL_CHARACTERS_MAX: Final = 500_000
names = st.sampled_from(
    ["a", "b", "acme_x", "order_no", "select", "sync_x", "A", "id", "site_id", "x" * 41, "ü", ""]
)
states = st.lists(
    st.sampled_from(["A", "B", "0", "it's", 'say "x"', "", "ü", "\x01", "$$", "%s", "{0}"]),
    min_size=2, max_size=4, unique=True,
)  # fmt: skip
limits = st.sampled_from([0, -1, 2**62, 1.5, "0.5", "1e3", "-0", "9" * 30])
wrong = st.one_of(
    anything, names, states,
    st.sampled_from(
        [
            *Kind, *Policy, *Direction, "text(0)", "text(4000001)", "decimal(39,1)", "text (4)",
            "decimal(38,38)", "decimal(9)", "1e400", "1e999999999", "9" * 400, "keep_site",
            "smaller", "work_orders", "nothing", 2**63, -5,
        ]
    ),
)  # fmt: skip
TYPES: Final[dict[str, tuple[list[str], list[Any]]]] = {
    "text(40)": (["last_write", "central", "site", "review"], ["x", "it's", 'say "x"', "%s"]),
    "text": (["last_write", "site"], ["", "x" * 300]),
    "integer": (["last_write", "sum", "max", "min"], [0, -1, 2**62]),
    "decimal(18,6)": (["site", "sum", "max", "review"], ["0", "1.5", 7]),
    "float": (["site", "min"], [0.5, 1e308]),
    "boolean": (["site", "lattice"], [True, False]),
    "timestamp": (["max", "last_write"], ["2012-01-02T03:04:05.678Z"]),
    "date": (["site"], ["2012-01-02"]),
    "time": (["site"], ["06:30"]),
    "json": (["last_write"], ["{}", '[1,"x"]']),
    "set": (["add_remove_set"], [[], ["a", "it's"]]),
    "uuid": (["site"], ["018f4b7e-0000-7000-8000-000000000001"]),
    "bytes": (["site"], []),
}


@st.composite
def right_columns(draw: Any, number: int) -> dict[str, Any]:
    """Return a column that breaks no rule."""
    type_ = draw(st.sampled_from(sorted(TYPES)))
    policies, defaults = TYPES[type_]
    column = {"name": f"c{number}", "type": type_, "policy": draw(st.sampled_from(policies))}
    if column["policy"] == "sum":
        column |= {"required": True, "default": 0}
    elif defaults and draw(st.booleans()):
        column["default"] = draw(st.sampled_from(defaults))
    if type_ == "text(40)" and draw(st.booleans()):
        order = draw(states)
        column |= {"policy": "lattice", "order": order, "default": order[0]}
    if type_ in ("integer", "decimal(18,6)", "float") and not draw(st.integers(0, 3)):
        column |= {draw(st.sampled_from(["low", "high"])): draw(limits)}
        column.pop("default", None)
    return column


@st.composite
def written(draw: Any) -> bytes:
    """Return a file as a person may write it, of which a few fields may be wrong."""
    columns = [draw(right_columns(number)) for number in range(draw(st.integers(1, 5)))]
    key = {"name": "acme_no", "type": "text(40)", "required": True, "policy": "site"}
    table: dict[str, Any] = {"direction": "both", "columns": [key, *columns]}
    if draw(st.booleans()):
        table["natural_keys"] = [["acme_no"]]
    if not draw(st.integers(0, 4)):
        table |= {"direction": "up", "append_only": True}
        for column in table["columns"]:
            column["policy"] = "append_only"
            column.pop("order", None)
    if len(columns) > 1 and columns[0]["policy"] == columns[1]["policy"] == "site":
        table["groups"] = [{"name": "both", "columns": ["c0", "c1"], "policy": "site"}]
    if draw(st.booleans()):
        place = draw(st.integers(0, len(columns)))
        table["columns"][place] = changed(draw, table["columns"][place], wrong)
    if not draw(st.integers(0, 3)):
        table = changed(draw, table, wrong)
    document = {"version": draw(st.sampled_from([1, 1, 1, 2, 0])), "tables": {"acme_t": table}}
    return "\n".join(f"{key} = {toml(value)}" for key, value in document.items()).encode()


packaged = st.sampled_from(sorted(PACKAGED.glob("*.toml"))).map(Path.read_bytes)
catalogues = st.one_of(
    st.binary(max_size=200), written(), written(), mutations(packaged), mutations(written())
)


def check_catalogue(content: bytes) -> None:
    """A file is refused with a line that names it, or its tables can be made at both ends."""
    with TemporaryDirectory() as folder, bounded(seconds=20, megabytes=100):
        path = Path(folder) / "acme.toml"
        path.write_bytes(content)
        catalog, refusal = loaded(path)
        if catalog is not None:
            make_tables(catalog)
    assert catalog or "acme.toml" in refusal


def loaded(path: Path) -> tuple[Catalog | None, str]:
    """Do what ``load_catalog`` does, but for reading the packaged files each time."""
    errors: list[str] = []
    version, found = _read_file(path, errors)
    errors += broken_rules([*_packaged(), *(TableFile(path.name, version, each) for each in found)])
    if errors:
        return None, "\n".join(errors)
    return Catalog(version, (*(each.table for each in _packaged()), *found)), ""


@cache
def _packaged() -> tuple[TableFile, ...]:
    errors: list[str] = []
    return tuple(
        TableFile(path.name, version, table)
        for path in sorted(PACKAGED.glob("*.toml"))
        for version, tables in [_read_file(path, errors)]
        for table in tables
    )


def make_tables(catalog: Catalog) -> None:
    """Make what SQLite has to hold of a plant's tables, and the text of what PostgreSQL has to."""
    size, own = 0, {each.table.name for each in _packaged()}
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE _sync_applying (flag)")
        for table in catalog.parents_first():
            form = capture.form_of(table, catalog, site="SITE_001")
            is_signed = table.name in {each.relax_by for each in catalog.tables}
            if table.name in own and not is_signed:
                continue
            statements = [schema.create_statement(table, form)]
            statements += [capture.log_statement(table)] if capture.has_log(table, form) else []
            for statement in (*statements, *capture.triggers(table, form).values()):
                size += len(statement)
                database.execute(statement)
            for write in ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET id = id"):
                database.execute(f"EXPLAIN {write.format(table.name)}")
            size += sum(map(len, create_statements(table)))
            size += len(central_capture.capture_text(table))
    assert size <= SQL_CHARACTERS_MAX


CATALOGUES = (Target("catalogues", check_catalogue, catalogues, examples=40),)

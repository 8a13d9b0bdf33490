from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.csv_import.map_file import read_map
from edge.csv_import.mapping import Constant, Counter, FromText, ImportMap, Keep, RowOf
from shared.catalog_file import load_catalog
from shared.errors import BadImport

CATALOG = load_catalog()
PACKAGED = Path(__file__).parents[2] / "docs" / "maps" / "production_log.toml"

HEAD = """
version = 1
[csv]
format = "%Y-%m-%d %H:%M"
"""
ORDERS = """
[[rows]]
name = "order"
table = "work_orders"
key = ["order_no"]
columns.order_no = "Order"
"""
REPORTS = """
[[rows]]
table = "job_responses"
columns.created_at = "End"
columns.report_type = { constant = "PRODUCTION" }
columns.work_order_id = { row = "order" }
"""


def read(tmp_path: Path, text: str) -> ImportMap:
    path = tmp_path / "map.toml"
    path.write_text(text)
    return read_map(path, CATALOG, site="F07")


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadImport) as refused:
        read(tmp_path, text)
    return str(refused.value)


def test_a_map_says_where_each_column_comes_from(tmp_path: Path):
    plan = read(
        tmp_path,
        HEAD + ORDERS + 'columns.changed_by = { constant = "import" }\n'
        'columns.actual_start = { column = "Start", keep = "min" }\n'
        + REPORTS
        + 'columns.source_row = { number = "row" }\n',
    )
    order, report = plan.blocks
    assert order.key == ("order_no",)
    number, person, start = order.fields
    assert isinstance(number.source, FromText)
    assert number.source.column == "Order"
    assert person.source == Constant("import")
    assert start.keep is Keep.MIN
    assert [field.source for field in report.fields[2:]] == [RowOf("order"), Counter("row")]
    assert dict(plan.csv_columns()).keys() == {"Order", "Start", "End"}


def test_the_packaged_map_fits_the_packaged_catalogue():
    plan = read_map(PACKAGED, CATALOG, site="SITE_001")
    assert [block.table.name for block in plan.blocks] == [
        "work_orders", "materials", "equipment", "persons", "job_responses",
    ]  # fmt: skip
    assert plan.split_by == "Case ID"


def test_the_map_of_the_documentation_is_valid(tmp_path: Path):
    text = (PACKAGED.parents[1] / "import.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    plan = read(tmp_path, example)
    assert plan.dialect.delimiter == ";"
    assert [block.name for block in plan.blocks] == ["order", "job_responses"]


def test_the_digest_tells_one_text_of_a_map_from_another(tmp_path: Path):
    one = read(tmp_path, HEAD + ORDERS)
    assert one.digest == read(tmp_path, HEAD + ORDERS).digest
    assert one.digest != read(tmp_path, HEAD + ORDERS + "# another\n").digest


def test_the_site_is_a_source(tmp_path: Path):
    text = HEAD + '[[rows]]\ntable = "persons"\nkey = ["person_no"]\n'
    text += 'columns.person_no = "P"\ncolumns.home_site_id = { site = true }\n'
    assert read(tmp_path, text).blocks[0].fields[1].source == Constant("F07")


def test_rows_of_the_centre_may_be_looked_up_but_not_made(tmp_path: Path):
    text = HEAD + '[[rows]]\ntable = "material_definitions"\n'
    text += 'key = ["material_code", "version"]\ncolumns.material_code = "Part"\n'
    text += 'columns.version = { constant = "1" }\n'
    assert "sites do not write" in mistakes(tmp_path, text)
    found = read(tmp_path, text.replace("key", "create = false\nkey"))
    assert not found.blocks[0].create


def pattern(written: str) -> str:
    return f'columns.notes = {{ column = "N", patterns = [["{written}", "x"]] }}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 2\n" + ORDERS, "version = 1 is expected"),
        ("version = 1\n", "no [[rows]]"),
        ("version = [\n", "can't be read"),
        (HEAD + "zones = 1\n" + ORDERS, "no such key: zones; did you mean zone?"),
        (HEAD + 'encoding = "utf-16"\n' + ORDERS, "save the file as UTF-8"),
        (HEAD + 'encoding = "klingon"\n' + ORDERS, "no such encoding"),
        (HEAD + 'delimiter = ";;"\n' + ORDERS, "delimiter: one character of the"),
        (HEAD + 'delimiter = "\\n"\n' + ORDERS, "delimiter: one character of the"),
        (HEAD + 'quote = "\\u0000"\n' + ORDERS, "quote: one character of the"),
        (HEAD + "delimiter = '\"'\n" + ORDERS, "delimiter and quote are the same character"),
        (HEAD + 'encoding = "undefined"\n' + ORDERS, "no such encoding"),
        (HEAD + 'encoding = "a\\u0000b"\n' + ORDERS, "no such encoding"),
        (HEAD + "skip_lines = -1\n" + ORDERS, "0 to 10000 are expected"),
        (HEAD + "skip_lines = 1000000000000\n" + ORDERS, "0 to 10000 are expected"),
        pytest.param(f"a = {'9' * 5000}\n", "too many digits", id="digits"),
        pytest.param(f"a = 0x{'f' * 5000}\n", "a number has 20000 bits", id="bits"),
        pytest.param("version = " + "[" * 5000, "nested too deep", id="deep"),
        pytest.param("a" + ".a" * 100_000 + " = 1\n", "more parts than 32", id="key"),
        (HEAD + 'zone = "Europe/Atlantis"\n' + ORDERS, "IANA zone"),
        (HEAD + "skip_lines = true\n" + ORDERS, "a number is expected"),
        (HEAD + ORDERS.replace("work_orders", "workorders"), "did you mean work_orders?"),
        (HEAD + ORDERS.replace("order_no =", "order_nr ="), "did you mean order_no?"),
        (HEAD + ORDERS + 'columns.site_id = "Site"\n', "the store fills it in itself"),
        (HEAD + ORDERS.replace('["order_no"]', '["notes"]'), "no natural key of work_orders"),
        (HEAD + ORDERS.replace('columns.order_no = "Order"', 'columns.notes = "N"'),
         "column order_no is part of the key and has no source"),
        (HEAD + ORDERS + ORDERS, "a second block of this name"),
        (HEAD + ORDERS + 'columns.notes = { column = "N", row = "x" }\n', "exactly one of"),
        (HEAD + ORDERS + 'columns.notes = { row = "order" }\n', "no block above has this name"),
        (HEAD + ORDERS + REPORTS + 'columns.segment_code = { row = "order" }\n', "not the id"),
        (HEAD + ORDERS + 'columns.notes = { number = "page" }\n', "one of row, line"),
        (HEAD + ORDERS + 'columns.priority = { constant = 101 }\n', "above the largest value"),
        (HEAD + ORDERS + 'columns.exec_state = { column = "S", codes = { R = "RUNNING" } }\n',
         "'RUNNING' does not fit the column"),
        (HEAD + ORDERS + 'columns.notes = { column = "N", patterns = [["(", "x"]] }\n', "patterns"),
        (HEAD + ORDERS + pattern("a{99999999999}"), "patterns"),
        pytest.param(HEAD + ORDERS + pattern("(" * 5000), "patterns", id="brackets"),
        (HEAD + ORDERS + 'columns.due_at = { column = "D", format = "%Y %Y" }\n', "in it once"),
        (HEAD + ORDERS + 'columns.due_at = { column = "D", format = "%Q" }\n', "bad directive"),
        (HEAD + ORDERS + 'columns.priority = { column = "P", times = "1e999999" }\n', "a number,"),
        (HEAD + ORDERS + 'columns.notes = { column = "N", duration = "H:MM" }\n', "makes a number"),
        (HEAD + ORDERS + 'columns.due_at = { column = "D", format = "date" }\n', "format = 'date'"),
        (HEAD + ORDERS + 'columns.notes = { column = "N", keep = "most" }\n', "keep = 'most'"),
        (HEAD + ORDERS + 'columns.notes = { keep = "max" }\n', "exactly one of"),
        (HEAD + ORDERS.replace('"Order"', '{ column = "Order", keep = "max" }'), "beside a key"),
        (HEAD + REPORTS, "no block above has this name"),
        (HEAD + ORDERS + REPORTS.replace("created_at", "ended_at"), "created_at needs a source"),
        (HEAD + ORDERS.replace('key = ["order_no"]\n', ""), "created_at needs a source: the ids"),
        (HEAD + ORDERS + REPORTS.replace("report_type", "scrap_reason"),
         "column report_type needs a source"),
        (HEAD + ORDERS + 'when = { column = "T", equals = "x" }\n', "no such key: equals"),
        (HEAD + ORDERS + 'when = { column = "T" }\n', "is expected, or is_not"),
        (HEAD.replace("format", "# format") + ORDERS + 'columns.due_at = "D"\n', "needs a format"),
        (HEAD + ORDERS + 'identity = ["order_no"]\n', "`identity` is for rows of their own"),
        (HEAD + ORDERS + REPORTS
         + 'columns.ended_at = { column = "E", keep = "max" }\n', "rows that never change"),
        (HEAD + ORDERS.replace('key = ["order_no"]', "create = false"), "needs a key to look up"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_map_is_told_with_what_to_do(tmp_path: Path, text: str, said: str):
    assert said in mistakes(tmp_path, text)


def test_all_mistakes_of_a_map_are_told_at_once(tmp_path: Path):
    text = HEAD + ORDERS + 'columns.nots = "N"\ncolumns.priority = { constant = -1 }\n'
    told = mistakes(tmp_path, text)
    assert "map.toml, rows order, column nots" in told
    assert "map.toml, rows order, column priority" in told


def test_a_map_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(BadImport, match=r"can't be read"):
        read_map(tmp_path / "none.toml", CATALOG, site="F07")

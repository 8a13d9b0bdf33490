from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared import catalog_file
from shared.catalog import Direction, Kind, Policy
from shared.catalog_file import PACKAGED, load_catalog
from shared.catalog_steps import AddTable, differences
from shared.errors import CatalogError

TOOLS = """
version = 1

[tables.acme_tools]
direction = "both"
natural_keys = [["tool_no"]]
columns = [
  { name = "tool_no", type = "text(40)", required = true, policy = "site" },
  { name = "equipment_id", references = "equipment", policy = "site" },
  { name = "wear_pct", type = "decimal(6,3)", low = 0, high = "100.5", policy = "max" },
  { name = "lsl", type = "decimal(9,3)" },
  { name = "usl", type = "decimal(9,3)", safe = "smaller" },
  { name = "scrapped", type = "boolean", required = true, default = false, policy = "lattice" },
  { name = "changed_by", type = "text(80)", writer = true },
]
groups = [{ name = "limits", columns = ["lsl", "usl"], policy = "review" }]
"""


@pytest.fixture
def plant(tmp_path):
    folder = tmp_path / "plant"
    folder.mkdir()

    def write(text: str, name: str = "acme.toml") -> Path:
        (folder / name).write_text(text, encoding="utf-8")
        return folder

    return write


def mistakes(*folders: Path) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load_catalog(*folders)
    return [line.removeprefix("- ") for line in str(caught.value).splitlines()[1:]]


def test_a_plant_adds_a_table_by_adding_a_file(plant):
    packaged, catalog = load_catalog(), load_catalog(plant(TOOLS))
    table = catalog.table("acme_tools")
    assert table.two_way
    assert table.natural_keys == (("tool_no",),)
    assert table.column("equipment_id").type.kind is Kind.UUID
    assert table.column("wear_pct").type.high is not None
    assert table.column("lsl").policy is Policy.REVIEW
    assert [table.column(name).safe for name in ("lsl", "usl")] == ["keep_site", "smaller"]
    assert table.column("scrapped").order == ("0", "1")
    assert table.column("scrapped").default == 0
    assert catalog.version == packaged.version + 1
    assert differences(packaged, catalog) == [AddTable(table)]


def test_the_example_in_the_documentation_is_a_catalogue(plant):
    page = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    catalog = load_catalog(plant(example))
    assert catalog.table("acme_tools").group_of("uom").policy is Policy.REVIEW
    assert catalog.table("acme_tool_changes").fact


def test_the_documentation_tells_every_key_type_and_policy():
    page = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text(encoding="utf-8")
    keys = {*catalog_file._TABLE_KEYS, *catalog_file._COLUMN_KEYS}
    untold = [word for word in (*keys, *Kind, *Policy, *Direction) if f"`{word}" not in page]
    assert untold == []


def test_the_version_grows_with_any_file_that_grows_and_not_with_how_files_are_cut(plant):
    folder = plant(TOOLS)
    assert load_catalog(folder).version == 2
    plant(TOOLS.replace("version = 1", "version = 4"))
    assert load_catalog(folder).version == 5
    plant(TOOLS.replace("acme_tools", "acme_racks"), "more.toml")
    assert load_catalog(folder).version == 6


def test_a_release_that_cuts_a_packaged_file_in_two_keeps_the_version(tmp_path, monkeypatch):
    version, digest = load_catalog().version, load_catalog().digest
    packaged = tmp_path / "catalog"
    shutil.copytree(PACKAGED, packaged)
    orders = (packaged / "orders.toml").read_text(encoding="utf-8")
    start = orders.index("[tables.job_responses]")
    (packaged / "orders.toml").write_text(orders[:start], encoding="utf-8")
    (packaged / "reports.toml").write_text("version = 1\n" + orders[start:], encoding="utf-8")
    monkeypatch.setattr(catalog_file, "PACKAGED", packaged)
    assert load_catalog().version == version
    assert load_catalog().digest == digest


def test_columns_of_down_tables_and_facts_need_no_policy(plant):
    text = """
    version = 1
    [tables.acme_terms]
    direction = "down"
    columns = [{ name = "term", type = "text" }]
    [tables.acme_clicks]
    direction = "up"
    append_only = true
    columns = [{ name = "button", type = "text(9)" }]
    """
    catalog = load_catalog(plant(text))
    assert catalog.table("acme_terms").direction is Direction.DOWN
    assert catalog.table("acme_terms").column("term").policy is Policy.CENTRAL
    assert catalog.table("acme_clicks").column("button").policy is Policy.APPEND_ONLY
    assert catalog.table("acme_clicks").fact


def table(columns: str, rest: str = 'direction = "both"') -> str:
    return f"version = 1\n[tables.acme_t]\n{rest}\ncolumns = [\n{columns}\n]\n"


def test_all_mistakes_of_all_files_are_told_at_once_each_with_its_place(plant):
    plant(table('{ name = "a", type = "texd", policy = "site" },\n{ name = "b", type = "text" },'))
    folder = plant("version = 1\n[tables.acme_u]\ncolumns = []\n", "more.toml")
    lines = mistakes(folder)
    assert len(lines) == 3
    assert lines[0].startswith("acme.toml: table acme_t, column a: type is 'texd'; one of uuid,")
    assert lines[1].startswith("acme.toml: table acme_t, column b: a two-way column needs a policy")
    assert lines[2] == "more.toml: table acme_u: 'direction' is missing; add it"


A = '{ name = "a", type = "text(9)", policy = "site" }'


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("version = 1\ntables = [", "acme.toml", "can't be read as TOML"),
        pytest.param("version = " + "[" * 5000, "acme.toml", "nested too deep", id="deep"),
        pytest.param("a" + ".a" * 100_000 + " = 1", "acme.toml", "more parts than 32", id="key"),
        pytest.param("version = " + "9" * 5000, "acme.toml", "too many digits", id="digits"),
        pytest.param("version = 0x" + "f" * 5000, "acme.toml", "20000 bits", id="bits"),
        ("version = 0\n[tables]", "acme.toml", "version is 0"),
        ("version = 4294967296\n[tables]", "acme.toml", "version is 4294967296"),
        ("[tables.acme_t]", "acme.toml", "'version' is missing"),
        ("version = true\n[tables]", "acme.toml", "version = True is of the wrong type"),
        ("version = 1\n[table.acme_t]", "acme.toml", "'table' is not known"),
        ("version = 1\n[tables]\nacme_t = 5", "acme.toml: table acme_t", "key = value"),
        (table("5"), "column 0", "{ key = value"),
        (table('{ type = "text" }'), "column 0", "'name' is missing"),
        (table(A, 'direction = "sideways"'), "table acme_t", "one of up, down, both"),
        (table(A, 'direction = "both"\nsince = 1.5'), "table acme_t", "since = 1.5"),
        (table(A, 'direction = "both"\nshare = [1]'), "table acme_t", "share = [1]"),
        (table(A, 'direction = "both"\nnatural_keys = ["a"]'), "acme_t", "natural_keys"),
        (table('{ name = "a", typ = "text" }'), "column a", "'typ' is not known"),
        (table('{ name = "a" }'), "column a", 'type = "text(40)"'),
        (table('{ name = "a", type = "text(9,2)" }'), "column a", "without brackets"),
        (table('{ name = "a", type = "decimal(9)" }'), "column a", "decimal(18,6)"),
        (table('{ name = "a", type = "date(9)" }'), "column a", "without brackets"),
        (table('{ name = "a", type = "text(9999999999)" }'), "column a", "type is 'text(99"),
        (
            table('{ name = "a", type = "integer", policy = "site", low = "1e999999999" }'),
            "column a",
            "low is '1e999999999'; a number such as",
        ),
        (table('{ name = "a", type = "Text 9" }'), "column a", "'Text 9'"),
        (table('{ name = "a", type = "text", policy = "best" }'), "column a", "one of last_write"),
        (
            table('{ name = "a", type = "date", policy = "site", default = "soon" }'),
            "column a",
            "default 'soon' is not a value of the column: a date such as",
        ),
        (
            table('{ name = "a", type = "integer", policy = "site", low = "few" }'),
            "column a",
            "low is 'few'",
        ),
        (
            table(A, 'direction = "both"\ngroups = [{ name = "g", columns = ["a"] }]'),
            "table acme_t",
            "'policy' is missing",
        ),
        (
            table(
                A,
                'direction = "both"\n'
                'groups = [{ name = "g", columns = ["a"], policy = "central" }]',
            ),
            "column a",
            "policy is site but its group's is central",
        ),
    ],
)
def test_what_can_not_be_read_is_named_by_file_place_and_rule(plant, text, place, rule):
    lines = mistakes(plant(text))
    assert all(line.startswith("acme.toml: ") for line in lines)
    assert any(place in line and rule in line for line in lines), lines


def test_a_folder_that_is_not_there_is_named(tmp_path):
    (line,) = mistakes(tmp_path / "nowhere")
    assert line.startswith(f"{tmp_path / 'nowhere'}: no such folder")


def test_a_file_that_is_not_text_is_named(plant):
    folder = plant("")
    (folder / "acme.toml").write_bytes(b"\xff\xfe")
    (line,) = mistakes(folder)
    assert line.startswith("acme.toml: can't be read")


def test_a_thousand_mistakes_are_told_in_a_message_that_can_be_read(plant):
    columns = ",\n".join('{ name = "a", type = "x" }' for _ in range(500))
    lines = mistakes(plant(table(columns)))
    assert len(lines) == catalog_file.SHOWN_MAX + 1
    assert lines[-1].startswith("and 950 more")

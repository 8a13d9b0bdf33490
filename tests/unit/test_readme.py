"""What the README shows is so."""

from __future__ import annotations

from pathlib import Path

from shared.catalog_file import load_catalog

ROOT = Path(__file__).parents[2]


def test_the_table_that_the_readme_shows_is_a_table(tmp_path):
    text = (ROOT / "README.md").read_text()
    example = text.split("## A table of your own")[1].split("    version", 1)[1].split("Put it")[0]
    lines = [line[4:] for line in ("    version" + example).splitlines()]
    (tmp_path / "acme.toml").write_text("\n".join(lines))
    table = load_catalog(tmp_path).table("acme_coolant_checks")
    assert table.two_way
    assert table.natural_keys == (("machine",),)

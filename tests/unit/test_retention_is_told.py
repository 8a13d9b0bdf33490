"""Whatever mes-sync writes for itself, the documentation says how long it stays."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOLD = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MADE = re.compile(r"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(sync\.\w+|_sync_\w+)")


def tables(end: str) -> set[str]:
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / end / "migrations").glob("*"))
    )
    renamed = set(re.findall(r"ALTER TABLE (sync\.\w+) RENAME TO", text))
    return set(MADE.findall(text)) - renamed


def test_every_table_of_the_centres_bookkeeping_has_a_stated_bound():
    found = tables("central")
    assert len(found) > 20
    assert {each for each in found if f"`{each}`" not in TOLD} == set()


def test_every_table_of_a_sites_bookkeeping_has_a_stated_bound():
    found = tables("edge")
    assert len(found) > 15
    assert {each for each in found if f"`{each}`" not in TOLD} == set()


def test_every_setting_of_a_time_is_named_with_its_default():
    settings = (ROOT / "central" / "settings.py").read_text(encoding="utf-8")
    for name in re.findall(r"(?m)^    (\w+_days)", settings):
        assert f"`MES_{name.upper()}`" in TOLD

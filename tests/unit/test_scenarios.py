"""The list of scenarios names tests that exist, and every fault that has a file."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"(?m)^\| (?!scenario \||-)(.+?) \| (.+) \|$")
TEST = re.compile(r"(?m)^(?:async )?def (test_\w+)")


def scenarios() -> dict[str, list[str]]:
    listed = ROW.findall((TESTS / "faults" / "README.md").read_text())
    assert len(dict(listed)) == len(listed), "a scenario is listed twice"
    return {name: re.findall(r"`(test_\w+)`", cell) for name, cell in listed}


def defined_in(path: Path) -> set[str]:
    return set(TEST.findall(path.read_text()))


def test_every_scenario_of_the_protocol_names_tests_that_exist():
    found = scenarios()
    there = set().union(*map(defined_in, TESTS.rglob("test_*.py")))
    assert len(found) > 50
    assert [name for name, tests in found.items() if not tests] == []
    assert [test for tests in found.values() for test in tests if test not in there] == []


def test_every_file_of_a_fault_is_named_by_a_scenario():
    named = set().union(*scenarios().values())
    files = sorted((TESTS / "faults").glob("test_*.py"))
    alone = [path.name for path in files if named.isdisjoint(defined_in(path))]
    assert alone == [], "add a row to tests/faults/README.md"

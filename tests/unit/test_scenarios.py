"""The list of scenarios names tests that exist, and every fault that has a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"(?m)^\| (?!scenario \||-)(.+?) \| (.+) \|$")


def scenarios() -> dict[str, list[str]]:
    listed = ROW.findall((TESTS / "faults" / "README.md").read_text())
    assert len(dict(listed)) == len(listed), "a scenario is listed twice"
    return {name: re.findall(r"`(\S+?::\w+)`", cell) for name, cell in listed}


def is_there(name: str) -> bool:
    path, _, function = name.partition("::")
    if not (TESTS / path).is_file():
        return False
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
        for node in ast.parse((TESTS / path).read_text()).body
    )


def test_every_scenario_of_the_protocol_names_tests_that_exist():
    found = scenarios()
    assert len(found) > 50
    assert not [name for name, tests in found.items() if not tests]
    assert not [test for tests in found.values() for test in tests if not is_there(test)]


def test_every_file_of_a_fault_is_named_by_a_scenario():
    named = {test.partition("::")[0] for tests in scenarios().values() for test in tests}
    files = {f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")}
    assert sorted(files - named) == [], "add a row to tests/faults/README.md"

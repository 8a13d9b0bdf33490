"""The list of mutants fits the tree, and the runner tells a killed one from all others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mutants import report
from tests.mutants.mutant import Mutant, of, stale
from tests.mutants.mutants import MUTANTS
from tests.mutants.running import Finding, Said, Verdict, judged, run_on
from tests.mutants.trees import Tree

ROOT = Path(__file__).parents[2]
#: The small tree needs nothing from outside.
NOTHING: dict[str, str] = {}


def test_no_mutant_is_stale():
    wrong = {mutant.name: why for mutant in MUTANTS if (why := stale(ROOT, mutant))}
    assert not wrong, "a rule has moved: let the mutant break it where it stands now"


def test_every_mutant_has_a_name_of_its_own_and_there_are_many():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 48


@pytest.mark.parametrize(
    "part",
    [
        "sync/resolve", "sync/policies", "sync/protocol", "sync/codec", "sync/pump",
        "edge/capture", "edge/guard", "edge/store", "central/store", "central/feed",
        "central/snapshot", "central/control", "central/runs", "central/ingest",
    ],
)  # fmt: skip
def test_every_part_that_decides_or_keeps_is_broken_somewhere(part):
    assert [mutant.name for mutant in MUTANTS if mutant.file.startswith(part)]


def said(code: int | None, output: str = "") -> Verdict:
    return judged(Said(code, output, 1.0))[0]


def test_only_a_test_that_ran_and_failed_has_killed():
    assert said(1, "FAILED tests/test_a.py::test_b - assert 1 == 2\n") is Verdict.KILLED
    assert said(0) is Verdict.SURVIVED
    assert said(1, "ERROR tests/test_a.py::test_b - no server\n") is Verdict.BROKEN
    assert said(2, "ERROR tests/test_a.py - SyntaxError\n") is Verdict.BROKEN
    assert said(5, "no tests ran\n") is Verdict.BROKEN
    assert said(None) is Verdict.SLOW


def test_one_mutant_that_is_not_killed_fails_the_run():
    killed, survived = (
        Finding("a", "a.py", verdict, 1.0, "") for verdict in (Verdict.KILLED, Verdict.SURVIVED)
    )
    assert report.is_good([killed])
    assert not report.is_good([killed, survived])
    assert not report.is_good([])


def test_the_report_keeps_the_last_finding_of_each_mutant_that_there_is(tmp_path):
    def found(name: str, verdict: Verdict) -> Finding:
        return Finding(name, "a.py", verdict, 1.0, "tests/test_a.py::test_b")

    report.keep(tmp_path, [found(n, Verdict.SURVIVED) for n in ("a", "b", "c")], ["a", "b", "c"])
    report.keep(tmp_path, [found("b", Verdict.KILLED)], ["a", "b", "d"])
    text = (tmp_path / "REPORT.md").read_text()
    assert "| a | `a.py` | SURVIVED |" in text
    assert "| b | `a.py` | killed | 1.0 | `test_b` |" in text
    assert "| c |" not in text
    assert "2 mutants: 1 killed, 1 SURVIVED; 2 s of tests; 1 were not tried" in text


# --- a small tree -------------------------------------------------------------------------------

RULE = "def larger(a, b):\n    return max(a, b)\n"
TESTS = """
from rule import larger

def test_the_larger_is_taken():
    assert larger(1, 2) == 2

def test_there_is_a_rule():
    assert larger
"""


@pytest.fixture
def small(tmp_path) -> Tree:
    """A checkout with one rule, and tests of which one holds it."""
    checkout = tmp_path / "checkout"
    (checkout / "tests" / "mutants").mkdir(parents=True)
    for name in ("tests/__init__.py", "tests/mutants/__init__.py"):
        (checkout / name).touch()
    shutil.copy(ROOT / "tests" / "mutants" / "quick.py", checkout / "tests" / "mutants")
    (checkout / "rule.py").write_text(RULE)
    (checkout / "tests" / "test_rule.py").write_text(TESTS)
    return Tree.copied(checkout, tmp_path / "copy")


def smaller(*tests: str) -> Mutant:
    return of("the smaller is taken", "rule.py", "max(a, b)", "min(a, b)", *tests)


@pytest.mark.parametrize(
    ("mutant", "why"),
    [
        (of("gone", "rule.py", "sum(", "max(", "tests/test_rule.py"), "stands 0 times"),
        (of("twice", "rule.py", "a", "b", "tests/test_rule.py"), "once is expected"),
        (of("no file", "rules.py", "a", "b", "tests/test_rule.py"), "no file rules.py"),
        (of("no Python", "rule.py", "max(a, b)", "max(", "tests/test_rule.py"), "no Python"),
        (of("nothing", "rule.py", "max", "max", "tests/test_rule.py"), "changes nothing"),
        (smaller(), "no test is named"),
        (smaller("tests/test_rule.py::test_of_old"), "has no test test_of_old"),
        (smaller("tests/test_rules.py"), "no file tests/test_rules.py"),
    ],
    ids=lambda each: each.name if isinstance(each, Mutant) else "",
)
def test_a_mutant_that_no_longer_fits_is_stale_and_says_why(small, mutant, why):
    assert why in stale(small.root, mutant)
    assert run_on(small, mutant, NOTHING).verdict is Verdict.STALE


def test_a_mutant_that_no_test_notices_survives_and_the_others_are_killed_by_name(small):
    held, unheld = "tests/test_rule.py::test_the_larger_is_taken", "test_there_is_a_rule"
    killed = run_on(small, smaller(held), NOTHING)
    assert (killed.verdict, killed.told) == (Verdict.KILLED, held)
    assert run_on(small, smaller(f"tests/test_rule.py::{unheld}"), NOTHING).verdict is (
        Verdict.SURVIVED
    )
    # Of the same length and the same second: Python must not take the broken text for the whole.
    assert (small.root / "rule.py").read_text() == RULE
    again = of("the first is taken", "rule.py", "max(a, b)", "[a, b][0]", held)
    assert run_on(small, again, NOTHING).verdict is Verdict.KILLED


def test_the_checkout_itself_is_never_broken(small):
    with small.broken(smaller("tests/test_rule.py")):
        assert "min(a, b)" in (small.root / "rule.py").read_text()
        assert (small.root.parent / "checkout" / "rule.py").read_text() == RULE

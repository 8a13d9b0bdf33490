"""Runs tests on a tree, and says what they say of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tests.mutants.mutant import stale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.mutants.mutant import Mutant
    from tests.mutants.trees import Tree

#: A single test that takes longer hangs, and that is a failure like any other.
TEST_S: Final = 60
#: A run on one mutant that takes longer is given up.
MUTANT_S: Final = 240
#: The tests of all mutants, unmutated.
WHOLE_S: Final = 900
_FAILED: Final = re.compile(r"(?m)^FAILED (\S+)")
_ERROR: Final = re.compile(r"(?m)^ERROR (.+)$")
_OUTPUT_CHARS: Final = 3_000


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"  #: a test failed, as it has to
    SURVIVED = "SURVIVED"  #: every test passed: nobody holds what it breaks
    STALE = "stale"  #: the old text is no longer there, or a test that is named
    BROKEN = "broken"  #: the tests could not be run on it, which says nothing of the rule
    SLOW = "slow"  #: the tests came to no end in time


@dataclass(frozen=True, slots=True)
class Finding:
    """A mutant and what became of it."""

    name: str
    file: str
    verdict: Verdict
    seconds: float
    #: The test that failed first; or why the verdict is what it is.
    told: str


@dataclass(frozen=True, slots=True)
class Said:
    """The end of a run of pytest."""

    code: int | None
    output: str
    seconds: float


def run_on(tree: Tree, mutant: Mutant, environment: Mapping[str, str]) -> Finding:
    """Break the tree, run the tests that have to notice, and mend it again."""
    if why := stale(tree.root, mutant):
        return Finding(mutant.name, mutant.file, Verdict.STALE, 0.0, why)
    with tree.broken(mutant):
        said = pytest_on(tree.root, mutant.tests, environment, limit_s=MUTANT_S)
    verdict, told = judged(said)
    return Finding(mutant.name, mutant.file, verdict, said.seconds, told)


def judged(said: Said) -> tuple[Verdict, str]:
    """Return the verdict on a mutant: only a test that ran and failed has killed it."""
    failed, errors = _FAILED.findall(said.output), _ERROR.findall(said.output)
    if said.code is None:
        return Verdict.SLOW, f"no end within {MUTANT_S} s"
    if said.code == 0:
        return Verdict.SURVIVED, "all tests passed"
    if said.code == 1 and failed:
        return Verdict.KILLED, failed[0]
    # A fixture that fails, a module that can't be imported, no test of that name.
    return Verdict.BROKEN, errors[0] if errors else said.output[-_OUTPUT_CHARS:]


def pytest_on(
    root: Path, tests: Sequence[str], environment: Mapping[str, str], *, limit_s: float
) -> Said:
    """Run these tests of a tree up to the first that fails, in processes of their own."""
    command = [
        *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=short", "-rfE"),
        *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.mutants.quick"),
        *("--hypothesis-profile=mutants", "--hypothesis-seed=0", f"--timeout={TEST_S}"),
        *tests,
    ]  # fmt: skip
    started = time.monotonic()
    # A session of its own, so that what the tests start ends with them.
    with subprocess.Popen(
        command, cwd=root, env=_environment(root, environment), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limit_s)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, code = process.communicate()[0], None
    return Said(code, output, time.monotonic() - started)


def _environment(root: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which the tree's own packages are imported, and compiled once."""
    kept = {name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(root)}

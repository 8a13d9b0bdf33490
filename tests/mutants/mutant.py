"""What a mutant is: a file, the text that stands there, and what a careless hand makes of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule broken."""

    #: What it breaks, in the words of the rule.
    name: str
    #: Relative to the root of the tree.
    file: str
    #: Occurs exactly once in the file; as short as that allows, so that others may change the rest.
    old: str
    new: str
    #: Tests that have to fail, as pytest takes them: files or node ids, the quickest that do.
    tests: tuple[str, ...]


def of(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """Return a mutant, as the lists write them."""
    return Mutant(name, file, old, new, tests)


def mutated(root: Path, mutant: Mutant) -> str:
    """Return the text of the file with the rule broken; ValueError where the mutant is stale."""
    if why := stale(root, mutant):
        raise ValueError(f"{mutant.name}: {why}")
    return (root / mutant.file).read_text(encoding="utf-8").replace(mutant.old, mutant.new)


def stale(root: Path, mutant: Mutant) -> str:
    """Return why a mutant no longer fits the tree; empty where it does."""
    path = root / mutant.file
    if not path.is_file():
        return f"there is no file {mutant.file}"
    text = path.read_text(encoding="utf-8")
    if (found := text.count(mutant.old)) != 1:
        return f"the old text stands {found} times in {mutant.file}, once is expected"
    if path.suffix == ".py":
        try:
            ast.parse(text.replace(mutant.old, mutant.new))
        except SyntaxError as error:
            return f"the new text is no Python: {error}"
    if mutant.old == mutant.new:
        return "it changes nothing"
    return "; ".join(missing(root, mutant.tests))


def missing(root: Path, tests: Iterable[str]) -> list[str]:
    """Return what is wrong with the tests that are named."""
    wrong = [] if tests else ["no test is named"]
    for test in tests:
        file, _, function = test.partition("::")
        path = root / file
        if not path.is_file():
            wrong.append(f"there is no file {file}")
        elif function and f"def {function.partition('[')[0]}(" not in path.read_text("utf-8"):
            wrong.append(f"{file} has no test {function}")
    return wrong

"""Tidiness is a test: what a reader may rely on in every file of the repository."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
import tomllib
from collections import defaultdict
from dataclasses import fields
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from central.settings import CentralSettings
from edge.settings import EdgeSettings
from shared.settings import variable

ROOT = Path(__file__).parents[1]
PACKAGES = ("central", "deploy", "edge", "shared", "sync")

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40

#: They say that something is done, and not what (CONTRIBUTING.md, Words).
EMPTY_WORDS = {
    *("manager", "handler", "helper", "util", "processor", "service", "data", "info"),
    *("managers", "handlers", "helpers", "utils", "processors", "services"),
}

# Written in pieces, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(work|root)/[\w.]")
REGISTRY = re.compile(
    r"(pypi|pythonhosted|npmjs|crates)\.(org|io)|proxy\.golang\.org|(deb|security)\.debian\.org"
)


def git(*arguments: str) -> str:
    # The checkout may belong to another account than ours, as in a container.
    command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@cache
def tracked() -> tuple[Path, ...]:
    """Return the repository's files, also those not yet added, but none that git ignores."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    files = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted(path for path in files if path.is_file()))


@cache
def modules() -> dict[Path, ast.Module]:
    """Return the syntax tree of each module.

    Without the collector: what other tests have left, finalised amid a parse, makes CPython 3.11
    raise SystemError ("AST constructor recursion depth mismatch").
    """
    gc.disable()
    try:
        return {path: ast.parse(path.read_text()) for path in tracked() if path.suffix == ".py"}
    finally:
        gc.enable()


def texts() -> list[tuple[str, str]]:
    """Return the name and text of all files but binary ones."""
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((str(path.relative_to(ROOT)), content.decode("utf-8", "replace")))
    return found


def in_packages() -> dict[Path, ast.Module]:
    return {
        path: tree
        for path, tree in modules().items()
        if path.relative_to(ROOT).parts[0] in PACKAGES
    }


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def classes(tree: ast.AST) -> list[ast.ClassDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def place(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_no_module_is_too_long_to_be_read_at_one_go():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES_MAX
    }
    assert not long, f"over {MODULE_LINES_MAX} lines"


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{place(path, node)}: {lines} lines"
        for path, tree in modules().items()
        for node in functions(tree)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, f"over {FUNCTION_LINES_MAX} lines"


def test_nothing_is_left_for_later_in_a_comment():
    found = [
        f"{name}: {hit[0]}"
        for name, text in texts()
        if (hit := UNFINISHED.search(text)) is not None
    ]
    assert not found


def test_every_error_tells_an_operator_what_happened():
    kin = {"SyncError"}
    errors: list[tuple[Path, ast.ClassDef]] = []
    everything = [(path, node) for path, tree in in_packages().items() for node in classes(tree)]
    grown = True
    while grown:
        found = [
            (path, node)
            for path, node in everything
            if node.name in kin
            or any(ast.unparse(base).split(".")[-1] in kin for base in node.bases)
        ]
        grown = len(found) > len(errors)
        errors, kin = found, kin | {node.name for _, node in found}
    assert len(errors) > 10
    assert not [place(path, node) for path, node in errors if not ast.get_docstring(node)]


def test_no_test_replaces_our_code_by_a_mock():
    imported = [
        (path, name)
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    ]
    assert not [str(path) for path, name in imported if name in ("unittest.mock", "mock", "mocker")]


def test_names_say_what_a_thing_is():
    empty = []
    for path, tree in modules().items():
        names = [(str(path.relative_to(ROOT)), path.stem)]
        names += [(place(path, node), node.name) for node in chain(functions(tree), classes(tree))]
        empty += [where for where, name in names if EMPTY_WORDS & set(words(name))]
    assert not empty, f"none of {sorted(EMPTY_WORDS)}"


def words(name: str) -> list[str]:
    if name.startswith("test_"):  # a sentence, where these words may be what it is about
        return []
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def test_no_file_names_a_machine_or_a_registry():
    found = [
        f"{name}: {hit[0]}"
        for name, text in texts()
        for pattern in (MACHINE_PATH, REGISTRY)
        if name != "tests/test_tidy.py" and (hit := pattern.search(text)) is not None
    ]
    assert not found


#: Name and body of a table in a migration.
TABLE = re.compile(r"(?sm)^CREATE TABLE \w+\.(\w+) \((.*?)^\)")


def tables() -> dict[str, set[str]]:
    """Return the tables of each schema of the centre's database, and the columns of each table."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in tracked():
        if path.suffix == ".sql":
            for schema, table in re.findall(r"(?m)^CREATE .*?\b(\w+)\.(\w+)", path.read_text()):
                found[schema].add(table)
            for table, columns in TABLE.findall(path.read_text()):
                found[table] |= set(re.findall(r"(?m)^ +(\w+) ", columns))
    for path in (ROOT / "shared" / "catalog").glob("*.toml"):
        found["mes"] |= set(tomllib.loads(path.read_text())["tables"])
    return found


@cache
def definitions() -> dict[str, set[str]]:
    """Return what each module and each class of the packages defines, by its short name.

    A package defines what its modules define: `store.apply` may stand for a module of the store.
    The same for schemas of the centre's database and their tables: `sync.head`,
    `sync.version.hlc`.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in in_packages().items():
        names = {path.stem} | {node.name for node in chain(functions(tree), classes(tree))}
        names |= {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for owner in (path.stem, *path.relative_to(ROOT).parts[:-1]):
            found[owner] |= names
        for node in classes(tree):
            found[node.name] |= {function.name for function in functions(node)}
    for owner, names in tables().items():
        found[owner] |= names
    return found


DOTTED = re.compile(r"`(?:\w+\.)*(\w+)\.(\w+)(?:\(\))?`")
#: Of the broker; whoever owns such a name is no module.
SUBJECTS = {"up", "down", "ctl", "cmd", "pres"}


def unknown_names(text: str) -> list[str]:
    """Return what a text names as a thing of ours, and is none: a module, a function, a file."""
    files = {path.name for path in tracked()}
    return [
        f"{owner}.{name}"
        for owner, name in DOTTED.findall(text)
        if owner not in SUBJECTS
        and name not in definitions().get(owner, ())
        and f"{owner}.{name}" not in files
    ]


def documents() -> list[Path]:
    return [path for path in tracked() if path.name in ("ARCHITECTURE.md", "DESIGN.md")]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_function_that_a_document_names_exists(document):
    assert unknown_names(document.read_text()) == []


def test_a_misspelt_name_in_a_document_is_found_whatever_is_wrong_with_it():
    right = "`values.canonical` `edge.store.apply.apply_entries()` `drain.py` `sync.version.hlc`"
    assert unknown_names(right) == []
    wrong = "`valeus.canonical` `values.cannonical` `dryin.py` `sync.verson` `sync.version.hcl`"
    assert len(unknown_names(wrong)) == len(wrong.split())


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(document):
    named = re.findall(rf"`((?:{'|'.join(PACKAGES)}|tests)/[\w./-]+)`", document.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_every_target_that_a_document_or_the_makefile_names_has_a_rule():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pages = [path.read_text() for path in tracked() if path.suffix == ".md"]
    named = set(re.findall(r"`(?:[A-Z]+=\S+ )*make ([a-z-]+)", " ".join(pages)))
    assert {"soak", "sim"} <= named
    assert sorted((named | set(phony.split())) - targets()) == []


def migrations() -> dict[Path, list[Path]]:
    found = defaultdict(list)
    for path in tracked():
        if path.parent.name == "migrations" and path.suffix == ".sql":
            found[path.parent].append(path)
    return found


def test_migrations_are_numbered_without_a_gap():
    for folder, files in migrations().items():
        numbers = [int(path.name.split("_")[0]) for path in files]
        assert numbers == list(range(1, len(files) + 1)), folder


def test_no_released_migration_was_ever_changed():
    released = git("tag", "--list", "v*", "--sort=-version:refname").split()
    if not released:
        return  # before the first release they are still being written
    listed = git("ls-tree", "-r", "--name-only", released[0]).splitlines()
    for name in listed:
        if "/migrations/" in name and name.endswith(".sql"):
            assert (ROOT / name).is_file(), f"{name} was released and is gone"
            assert git("show", f"{released[0]}:{name}") == (ROOT / name).read_text(), name


@pytest.mark.parametrize(
    ("name", "settings"),
    [("central.env.example", CentralSettings), ("edge.env.example", EdgeSettings)],
)
def test_an_example_file_names_every_setting_with_its_default(name, settings):
    lines = re.findall(r"(?m)^(#?)(MES_[A-Z_]+)=(.*)$", (ROOT / "deploy" / name).read_text())
    shown = {variable: (bool(off), value) for off, variable, value in lines}
    assert sorted(shown) == sorted(variable(field.name) for field in fields(settings))
    for field in fields(settings):
        off, value = shown[variable(field.name)]
        if off and isinstance(field.default, int | float | str) and field.default:
            assert type(field.default)(value) == field.default, field.name


def test_an_edge_installation_brings_nothing_of_the_centre():
    locked = (ROOT / "requirements" / "edge.txt").read_text()
    names = set(re.findall(r"(?m)^([a-z0-9-]+)==", locked))
    assert {"nats-py", "sqlite-utils"} <= names
    assert not names & {"fastapi", "psycopg", "psycopg-binary", "psycopg-pool", "sqlalchemy"}

"""The lists of scenarios are whole, name tests that exist, and name every test of a fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEST = re.compile(r"(?m)^(?:async )?def (test_\w+)")
CITED = re.compile(r"`(test_\w+)`")
FAULTS = sorted((TESTS / "faults").glob("test_*.py"))
FILE = re.compile(r"`(test_\w+\.py)`")
#: How a file of a fault has all programs of a system as processes of their own.
PROCESSES = re.compile(r"running_system\(|\bdef \w+\([^)]*\bsystem\b")

#: Section 9 of the protocol, to the letter, each with the rows that stand for it.
PROTOCOL = {
    "Same column edited at both ends": ["same column edited at both ends"],
    "different columns of one row": ["different columns of one row"],
    "edit against delete, both orders": ["edit against delete", "delete against edit"],
    "delete and delete": ["delete and delete"],
    "delete, insert again, update, seen out of order": [
        "delete, insert again, update, seen out of order"
    ],
    "equal values with equal clocks": ["equal values with equal clocks"],
    "forced clock tie": ["forced clock tie"],
    "clock +-1 h and going back": ["clock +-1 h", "a clock going back"],
    "changed primary key": ["changed primary key"],
    "REPLACE displacing another row": ["REPLACE displacing another row"],
    "FK cascade": ["FK cascade"],
    "secondary UNIQUE broken by a remote row": ["secondary UNIQUE broken by a remote row"],
    "parent missing at the centre": ["parent missing at the centre"],
    "NULL, '', 0, BLOB, -0.0, NaN, 2^53+1, invalid UTF-8, decimals, very long text": [
        "NULL, '', 0, BLOB, -0.0, 2^53+1, decimals", "NaN", "invalid UTF-8", "very long text",
    ],
    "1-row and 1,000,000-row transactions": ["1-row transactions", "1,000,000-row transactions"],
    "payload above the limit": ["payload above the limit"],
    "kill between local commit and publish, publish and mark, PostgreSQL commit and ack, and at"
    " each fsync": [
        "kill between local commit and publish", "kill between publish and mark",
        "kill between PostgreSQL commit and ack", "kill at each fsync",
    ],
    "ack lost, duplicated, reordered": ["ack lost", "ack duplicated, reordered"],
    "acked then lost by the broker": ["acked then lost by the broker"],
    "stream deleted, truncated, recreated": ["stream deleted, recreated", "stream truncated"],
    "broker restarted, one of three nodes lost": ["broker restarted", "one of three nodes lost"],
    "PostgreSQL restarted, failed over, read-only, disk full": [
        "PostgreSQL restarted", "PostgreSQL failed over", "PostgreSQL read-only",
        "PostgreSQL disk full",
    ],
    "edge disk full, read-only, SQLite busy, file corrupt": [
        "edge disk full", "edge disk read-only", "SQLite busy", "file corrupt",
    ],
    "edge restored from a backup, writes before first contact, reused numbers": [
        "edge restored from a backup", "writes before first contact, reused numbers"
    ],
    "late original of a moved transaction": ["late original of a moved transaction"],
    "cloned edge, both live": ["cloned edge, both live"],
    "centre restored, edges ahead, while a site is on a new epoch": [
        "centre restored, edges ahead", "centre restored while a site is on a new epoch"
    ],
    "both restored": ["both restored"],
    "central write lost with the centre and salvaged": [
        "central write lost with the centre and salvaged"
    ],
    "snapshot taken with own writes pending": ["snapshot taken with own writes pending"],
    "row enters and leaves a share, also with a pending write": [
        "row enters and leaves a share", "row enters and leaves a share with a pending write"
    ],
    "site offline longer than stream retention and than tombstone retention": [
        "site offline longer than stream retention", "site offline longer than tombstone retention"
    ],
    "older schema at the edge, newer at the centre, and the reverse": [
        "older schema at the edge, newer at the centre",
        "newer schema at the edge, older at the centre",
    ],
    "a site that sends rows of another": ["a site that sends rows of another"],
    "a poison transaction, mended and retried": ["a poison transaction, mended and retried"],
    "30 sites at once with a slow one": ["30 sites at once with a slow one"],
    "a site that writes without pause": ["a site that writes without pause"],
}  # fmt: skip
#: Words of the protocol that only tie others together.
TIES = {"and", "also", "than", "both", "orders", "the", "reverse", "at", "same"}
#: The acceptance scenarios but those of enrolment, and the neighbours that they name.
NUMBERS = [n for n in range(7, 92) if n % 2 or n in (46, 48, 50, 64)]


def table(title: str) -> list[list[str]]:
    """Return the cells of the table under a title of the list of scenarios."""
    text = (TESTS / "faults" / "README.md").read_text().partition(f"## {title}\n")[2]
    lines = re.findall(r"(?m)^\| (.+) \|$", text.partition("\n## ")[0])
    return [line.split(" | ") for line in lines[1:] if not line.startswith("-")]


OF_THE_PROTOCOL = dict(table("The scenarios of the protocol"))
OTHERS = dict(table("Other faults"))
BY_NUMBER = {int(no): (here, tests) for no, here, tests in table("Acceptance scenarios, by number")}
CELLS = {
    **OF_THE_PROTOCOL,
    **OTHERS,
    **{f"number {no}": tests for no, (_, tests) in BY_NUMBER.items()},
}


def defined_in(path: Path) -> set[str]:
    return set(TEST.findall(path.read_text()))


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\s,;]+", text.lower()))


@pytest.mark.parametrize(("phrase", "rows"), PROTOCOL.items(), ids=list(PROTOCOL))
def test_every_scenario_of_the_protocol_is_listed_in_its_words(phrase, rows):
    assert [row for row in rows if row not in OF_THE_PROTOCOL] == []
    assert words(phrase) - TIES <= words(" ".join(rows))


def test_the_list_of_the_protocol_holds_nothing_else_and_nothing_twice():
    listed = [row for row, _ in table("The scenarios of the protocol")]
    assert listed == [row for rows in PROTOCOL.values() for row in rows]
    assert len(OF_THE_PROTOCOL) == len(listed)


def test_every_acceptance_scenario_is_listed_once_and_says_what_it_is_here():
    assert [int(no) for no, *_ in table("Acceptance scenarios, by number")] == NUMBERS
    assert [no for no, (here, _) in BY_NUMBER.items() if len(words(here)) < 5] == []


@pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))
def test_every_scenario_names_tests_that_exist(cell):
    named = CITED.findall(cell)
    assert named
    assert cell == ", ".join(f"`{name}`" for name in named)
    there = set().union(*map(defined_in, TESTS.rglob("test_*.py")))
    assert [name for name in named if name not in there] == []


def test_every_test_of_a_fault_is_named_by_a_scenario():
    named = set().union(*(CITED.findall(cell) for cell in CELLS.values()))
    there = set().union(*map(defined_in, FAULTS))
    assert there - named == set(), "add it to a row of tests/faults/README.md"


def test_files_that_run_everything_as_processes_are_told_from_those_that_do_not():
    text = (TESTS / "faults" / "README.md").read_text()
    listed = text.partition("- **The others**")[0]
    checked, _, unchecked = listed.partition("without that checker")
    texts = {path.name: path.read_text() for path in FAULTS}
    as_processes = {name for name, text in texts.items() if PROCESSES.search(text)}
    with_sessions = {name for name, text in texts.items() if ".sessions(" in text}
    assert with_sessions <= as_processes
    assert set(FILE.findall(checked)) == with_sessions
    assert set(FILE.findall(unchecked)) == as_processes - with_sessions

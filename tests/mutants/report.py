"""The report of a run: a table to read and a document for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from tests.mutants.running import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEAD: Final = """# Mutants

Each breaks one rule in a copy of the tree; the test beside it failed. Made by `make mutants`.

| mutant | file | verdict | seconds | killed by |
|---|---|---|--:|---|
"""


def line(finding: Finding) -> str:
    """Return what a person reads while the run goes on."""
    told = finding.told if finding.verdict is Verdict.KILLED else finding.told.strip()
    return f"{finding.verdict:9}{finding.seconds:6.1f} s  {finding.name}  ({told})"


def summary(findings: Sequence[Finding], seconds: float) -> str:
    """Return the last line of a run."""
    counts = Counter(finding.verdict for finding in findings)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    return f"{len(findings)} mutants: {told}; {seconds:.0f} s"


def is_good(findings: Sequence[Finding]) -> bool:
    """Return whether every mutant was killed."""
    return bool(findings) and all(each.verdict is Verdict.KILLED for each in findings)


def keep(folder: Path, findings: Sequence[Finding], names: Sequence[str]) -> None:
    """Write ``REPORT.md`` and ``report.json``: of each mutant of these names the last finding.

    Of a run on some of them the others keep what is there; of one that is gone nothing stays.
    """
    last = {each.name: each for each in (*_kept(folder), *findings)}
    found = [last[name] for name in names if name in last]
    rows = "".join(
        f"| {each.name} | `{each.file}` | {each.verdict} | {each.seconds:.1f} | {_cell(each)} |\n"
        for each in found
    )
    told = summary(found, sum(each.seconds for each in found))
    missing = len(names) - len(found)
    more = f"; {missing} were not tried" if missing else ""
    (folder / "REPORT.md").write_text(f"{_HEAD}{rows}\n{told} of tests{more}\n", encoding="utf-8")
    document = [asdict(each) | {"seconds": round(each.seconds, 1)} for each in found]
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def _kept(folder: Path) -> list[Finding]:
    path = folder / "report.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [Finding(**each | {"verdict": Verdict(each["verdict"])}) for each in listed]


def _cell(finding: Finding) -> str:
    told = " ".join(finding.told.split()).replace("|", "\\|")
    _, _, test = told.rpartition("::")
    return f"`{test}`" if finding.verdict is Verdict.KILLED else told[:200]

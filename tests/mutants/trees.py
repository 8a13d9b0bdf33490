"""A copy of the tree in a temporary folder, in which one file at a time is broken."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.mutants.mutant import mutated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mutants.mutant import Mutant

#: What no test needs: caches, what is made by running, and what tools keep for themselves.
LEFT_OUT: Final = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "dist", "*.egg-info", "node_modules", "venv"
)


@dataclass(slots=True)
class Tree:
    """A copy of the tree; never the checkout itself."""

    root: Path
    #: Python takes its compiled file for that of a source of the same second and length. So each
    #: text that is written gets a time that no other had.
    _second: int = field(default=1_000_000_000)

    @classmethod
    def copied(cls, checkout: Path, to: Path, *, commit: str | None = None) -> Tree:
        """Copy the checkout as it stands, or one of its commits, to a folder that is not there."""
        if commit is None:
            shutil.copytree(checkout, to, ignore=LEFT_OUT)
            return cls(to)
        command = ["git", "-c", f"safe.directory={checkout}", "archive", "--format=tar", commit]
        packed = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, check=True)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
            files.extractall(to, filter="data")
        return cls(to)

    @contextmanager
    def broken(self, mutant: Mutant) -> Iterator[None]:
        """Have the mutant's file broken while the block runs, and whole again afterwards."""
        path = self.root / mutant.file
        whole, broken = path.read_text(encoding="utf-8"), mutated(self.root, mutant)
        self._write(path, broken)
        try:
            yield
        finally:
            self._write(path, whole)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self._second += 10
        os.utime(path, (self._second, self._second))

"""A store's disk, and what it holds after a kill or a power cut.

A *kill* leaves what was written by then: the files are copied when SQLite begins a chosen
statement. A *power cut* leaves what was synced, and of the rest all, nothing or every other sector:
a VFS stands between SQLite and its own and keeps a copy of each file as of its last fsync. The
agent's work goes on to its end, but nothing of what it does after that moment will have been.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.power import Between, Disk, after_the_cut

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Crash", "Disk", "Files"]


@dataclass
class Crash:
    """When a store's machine ends: before a statement, or before an fsync."""

    #: None for a kill, which loses nothing that was written.
    disk: Disk | None
    #: Statements or fsyncs from now on; the last one does not happen.
    number: int
    #: Whether it came to that.
    taken: bool = False


class _Syncs(Between):
    """Keeps what was synced of the files of one folder, while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.files: Files | None = None

    def sync(self, below, file, flags):
        """Let a file be synced, and keep it as it is then."""
        files, path = self.files, self.paths[file]
        if files is None or path.parent != files.store.parent:
            return below(file, flags)
        files.before_sync()
        done = below(file, flags)
        files.synced(path)
        return done


_SYNCS: list[_Syncs] = []


def watch_syncs() -> None:
    """Have SQLite open all files of this process so that their fsyncs are seen."""
    if not _SYNCS:
        _SYNCS.append(_Syncs())
        _SYNCS[0].register()


class Files:
    """The files of one store, in a folder of their own; they can be put back to a crash."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._left, self._synced = (store.parent / name for name in ("left", "synced"))
        self._cut = store.parent / "cut"
        for folder in (self._left, self._synced, self._cut):
            folder.mkdir(exist_ok=True)
        self._crash: Crash | None = None

    def copy_to(self, folder: Path) -> None:
        """Copy the files as they are."""
        for old in folder.iterdir():
            old.unlink()
        for name in (self.store.name, f"{self.store.name}-wal"):
            if (self.store.parent / name).exists():
                shutil.copyfile(self.store.parent / name, folder / name)

    def copy(self) -> Path:
        """Return a folder with a copy of the files, in the place of the copy before."""
        folder = self.store.parent / "copy"
        folder.mkdir(exist_ok=True)
        self.copy_to(folder)
        return folder

    def put(self, folder: Path) -> None:
        """Put other files in the place of the store's, which nobody has open."""
        for name in ("", "-wal", "-shm"):
            (self.store.parent / f"{self.store.name}{name}").unlink(missing_ok=True)
        for each in folder.iterdir():
            shutil.copyfile(each, self.store.parent / each.name)

    @contextmanager
    def crashing(self, connection: sqlite3.Connection, crash: Crash) -> Iterator[None]:
        """End the machine in the middle of the block, or at its end; ``recover`` shows it."""
        self._crash = crash
        if crash.disk is None:
            connection.set_trace_callback(lambda _: self._count())
        else:
            self.copy_to(self._synced)  # what was committed by now was synced
            _SYNCS[0].files = self
        try:
            yield
        finally:
            connection.set_trace_callback(None)
            _SYNCS[0].files = None
            if not crash.taken:
                self.copy_to(self._left)

    def recover(self) -> None:
        """Leave what the crash left; nobody may have the store open."""
        assert self._crash is not None
        if self._crash.disk is None:
            self.put(self._left)
            return
        after_the_cut(self._left, self._synced, self._cut, self._crash.disk)
        self.put(self._cut)

    def before_sync(self) -> None:
        """Hear that a file is about to be synced."""
        self._count()

    def synced(self, path: Path) -> None:
        """Hear that a file was synced."""
        if self._crash is not None and not self._crash.taken:
            shutil.copyfile(path, self._synced / path.name)

    def _count(self) -> None:
        crash = self._crash
        assert crash is not None
        crash.number -= 1
        if crash.number == 0:
            self.copy_to(self._left)
            crash.taken = True

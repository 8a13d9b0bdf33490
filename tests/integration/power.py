"""Cuts the power of a process at one fsync of SQLite, and tells what the disk then may hold.

A VFS of our own stands before SQLite's, in the process that is to die: it counts the calls of
``xSync``, keeps a copy of each file as of its last one, and kills the process before the chosen
one. What was written since then may be on the disk, or not, or in part.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import shutil
import signal
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path

_SECTOR = 512
#: Members of SQLite's structures, in pointers from their beginning; both are of version 3.
_VFS_NAME, _VFS_OPEN, _VFS_SIZE = 3, 5, 22
_FILE_SYNC, _FILE_SIZE = 5, 19
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Disk(StrEnum):
    """What became of the writes that no fsync had confirmed."""

    KEPT = "kept"
    LOST = "lost"
    TORN = "torn"


def cut_at(number: int, confirmed: Path) -> list[int]:
    """Kill this process before that fsync; return a list that grows with each one before it.

    ``confirmed`` gets each file as of its last fsync. Raises OSError or AttributeError where the
    library can't be reached that Python's sqlite3 was made with.
    """
    between = _Cutting(number, confirmed)
    between.register()
    return between.seen


class Between:
    """Stands between SQLite and its own VFS, and sees each fsync."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_library())
        self._library.sqlite3_vfs_find.restype = ctypes.c_void_p
        self._library.sqlite3_vfs_register.argtypes = (ctypes.c_void_p, ctypes.c_int)
        below = self._library.sqlite3_vfs_find(None)
        self.paths: dict[int, Path] = {}
        #: Our methods of a file, by SQLite's own that they stand before.
        self._methods: dict[int, tuple[ctypes.Array[ctypes.c_void_p], object]] = {}
        self._name = ctypes.create_string_buffer(b"power")
        self.vfs = (ctypes.c_void_p * _VFS_SIZE)(*_pointers(below, _VFS_SIZE))
        self._open_below = _OPEN(self.vfs[_VFS_OPEN] or 0)
        self._open = _OPEN(self.open)
        self.vfs[_VFS_NAME] = ctypes.addressof(self._name)
        self.vfs[_VFS_OPEN] = ctypes.cast(self._open, ctypes.c_void_p)

    def register(self) -> None:
        """Have SQLite open its files by us from now on, for as long as the process lives."""
        _ALIVE.append(self)
        assert self._library.sqlite3_vfs_register(ctypes.addressof(self.vfs), 1) == 0

    def open(self, vfs, name, file, flags, out_flags):
        """Open a file, and have its fsyncs pass by us, where it has a name."""
        done = self._open_below(vfs, name, file, flags, out_flags)
        place = ctypes.c_void_p.from_address(file)
        if done == 0 and place.value and name:
            self.paths[file] = Path(os.fsdecode(ctypes.string_at(name)))
            if place.value not in self._methods:
                self._methods[place.value] = self._before(place.value)
            place.value = ctypes.addressof(self._methods[place.value][0])
        return done

    def _before(self, address: int) -> tuple[ctypes.Array[ctypes.c_void_p], object]:
        methods = (ctypes.c_void_p * _FILE_SIZE)(*_pointers(address, _FILE_SIZE))
        below = _SYNC(methods[_FILE_SYNC] or 0)
        own = _SYNC(lambda file, flags: self.sync(below, file, flags))
        methods[_FILE_SYNC] = ctypes.cast(own, ctypes.c_void_p)
        return methods, own

    def sync(self, below, file, flags):
        """Let a file be synced."""
        return below(file, flags)


class _Cutting(Between):
    """Kills the process before one fsync."""

    def __init__(self, number: int, confirmed: Path) -> None:
        super().__init__()
        self.seen: list[int] = []
        self._number, self._confirmed = number, confirmed

    def sync(self, below, file, flags):
        """Let a file be synced and keep a copy of it, or die."""
        self.seen.append(len(self.seen) + 1)
        if len(self.seen) == self._number:
            os.kill(os.getpid(), signal.SIGKILL)
        done = below(file, flags)
        # Closing the copy's descriptor drops SQLite's locks on the file: nobody else has it open.
        shutil.copyfile(self.paths[file], self._confirmed / self.paths[file].name)
        return done


#: What SQLite points to for as long as the process lives.
_ALIVE: list[object] = []


def _pointers(address: int, count: int) -> list[int | None]:
    return list((ctypes.c_void_p * count).from_address(address))


def _library() -> str:
    """Return the file that holds SQLite: of its own, or Python's module."""
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    found = [name for name in mapped if "/libsqlite3" in name]
    return found[0] if found else _sqlite3.__file__


def after_the_cut(live: Path, confirmed: Path, into: Path, disk: Disk) -> None:
    """Make a folder what the disk holds after the cut, of what was written and confirmed."""
    for old in into.iterdir():
        old.unlink()
    for name in {each.name for folder in (live, confirmed) for each in folder.iterdir()}:
        if not name.endswith("-shm"):  # it is memory, in truth
            content = _content(live / name, confirmed / name, disk)
            if content is not None:
                (into / name).write_bytes(content)


def _content(live: Path, confirmed: Path, disk: Disk) -> bytes | None:
    written = live.read_bytes() if live.exists() else None
    safe = confirmed.read_bytes() if confirmed.exists() else None
    if disk is Disk.KEPT:
        return written
    if disk is Disk.LOST or written is None or safe is None:
        return safe
    return _torn(written, safe)


def _torn(written: bytes, safe: bytes) -> bytes:
    """Return a file of which every other sector that was written since is on the disk."""
    torn, changed = [], 0
    for new, old in zip_longest(_sectors(written), _sectors(safe)):
        changed += new != old
        torn.append(new if new is not None and (old is None or changed % 2) else old)
    return b"".join(each for each in torn if each is not None)


def _sectors(content: bytes) -> list[bytes]:
    return [content[at : at + _SECTOR] for at in range(0, len(content), _SECTOR)]

"""A small disk in the place of a folder of a server, as root alone may mount it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1 << 20
FULL = "no space left on device"


@contextlib.contextmanager
def on_a_disk_of_its_own(folder: Path, room_mb: int) -> Iterator[None]:
    """Put what stands in the folder on a small disk for the block."""
    kept = folder.with_name(f"{folder.name}.kept")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    owner = folder.stat()
    folder.rename(kept)
    folder.mkdir()
    options = f"size={size // MB + room_mb}m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.fail(f"only root may mount a small disk: {mounted.stderr.strip()}")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)
        shutil.rmtree(kept)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Leave nothing of the disk's room, while others take of it."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MB))

"""The disk of a site fills up, by the site's own facts and by something else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.faults import small_disk
from tests.integration.import_world import ROOT

MOUNTED = f'mount -t tmpfs -o size={small_disk.DISK_MB}m none "$1" && '


def in_a_disk_of_its_own(folder, command: str, *given: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command where the folder is a small disk."""
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", MOUNTED + command, "sh", str(folder), *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def small(tmp_path):
    if not shutil.which("unshare") or in_a_disk_of_its_own(tmp_path, "true").returncode:
        pytest.fail("this machine lets no ordinary user mount a disk of their own (unshare -rm)")
    return tmp_path


@pytest.mark.system
@pytest.mark.timeout(180)
def test_a_full_disk_stops_facts_first_and_loses_nothing_that_was_accepted(small):
    done = in_a_disk_of_its_own(small, 'exec "$2" -m tests.faults.small_disk "$1"', sys.executable)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    # Facts were refused while there was room, and two-way writes went on.
    assert "MES-DISK-FULL" in told["refusal"]
    assert told["free_at_refusal"] > small_disk.STOP // 4, told
    assert told["orders"] == told["orders_later"] == 200
    assert told["first"] > 1000, told
    assert told["second"] > 0, told
    # Where nothing was left at all, SQLite itself refused, and the agent lived through it.
    assert "disk is full" in told["full"]
    # What a program was told to be written stands, and is kept for the centre.
    assert told["accepted"] == told["first"] + told["second"]
    assert told["kept"] >= told["accepted"] + told["orders_there"]

"""An import that is killed at any point and run again ends as if it had never been."""

from __future__ import annotations

import random
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge.csv_import import Order, Outcome, read_map, run_import
from edge.csv_import.batch import Batch
from edge.csv_import.rejects import Rejects
from edge.csv_import.run import BATCH_ROWS
from edge.store import setup
from tests.integration.import_world import LOG_MAP, ROOT, Site, real_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COPIES = 4
BAD_EVERY = 97
KILLS = 12


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several copies of the real log in one file, with bad lines among them."""
    header, *lines = real_log().read_bytes().splitlines()
    path = tmp_path_factory.mktemp("log") / "log.csv"
    mixed = [header]
    for number, line in enumerate(lines * COPIES):
        if number % BAD_EVERY == 0:
            mixed.append(line[:40] if number % 2 else b'"' + line)
        mixed.append(line)
    path.write_bytes(b"\n".join(mixed) + b"\n")
    return path


@pytest.fixture(scope="module")
def whole(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that imported it at one go."""
    site = Site.new(tmp_path_factory.mktemp("whole"))
    site.load(log, LOG_MAP)
    return site


def rejects(site: Site) -> bytes:
    return site.store.with_suffix(".rejects.csv").read_bytes()


@pytest.mark.slow
def test_an_import_killed_again_and_again_takes_every_line_exactly_once(
    log: Path, whole: Site, tmp_path: Path, seed: int
):
    chance = random.Random(seed)
    site = Site.new(tmp_path)
    reject_file = site.store.with_suffix(".rejects.csv")
    command = site.command("import", log, "--map", LOG_MAP, "--rejects", reject_file)
    reached = []
    for _ in range(KILLS):
        batches, delay_s = chance.randrange(3), chance.random() * 0.06
        if not _kill_after(site, command, batches, delay_s):
            break
        reached.append(_rows_done(site))
    assert len(set(reached)) > 2, "the kills did not fall into the import"
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 65
    assert site.content() == whole.content()
    assert rejects(site) == rejects(whole)


def _kill_after(site: Site, command: list[str], batches: int, delay_s: float) -> bool:
    """Kill an import some time after it has committed so many batches; False where it ended."""
    wanted = _rows_done(site) + batches * BATCH_ROWS
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        # Without a batch to wait for, the kill falls into the start or into the first batch.
        until = time.monotonic() + (30 if batches else 0.3)
        while process.poll() is None and time.monotonic() < until and _rows_done(site) < wanted:
            time.sleep(0.002)
        time.sleep(delay_s)
        ended = process.poll() is not None
        process.kill()
    return not ended


def _rows_done(site: Site) -> int:
    ((rows,),) = site.rows("SELECT coalesce(max(row), 0) FROM _sync_import")
    return int(rows)


def test_a_crash_between_rows_and_rejects_doubles_and_loses_no_reject(
    log: Path, whole: Site, tmp_path: Path
):
    """What a run wrote to the rejects ahead of its last commit is cut off by the next one."""
    site = Site.new(tmp_path)

    class Killed(Exception):
        """Stands for a kill."""

    batches = 0

    def kill(outcome: object) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise Killed

    with pytest.raises(Killed):
        _load(site, log, kill)
    path = site.store.with_suffix(".rejects.csv")
    path.write_bytes(path.read_bytes() + b'9999,9999,never committed,"half a li')
    _load(site, log, lambda outcome: None)
    assert site.content() == whole.content()
    assert rejects(site) == rejects(whole)


def test_a_kill_while_rejects_are_opened_loses_none_of_earlier_runs(log: Path, tmp_path: Path):
    site, path = Site.new(tmp_path), tmp_path / "rejects.csv"
    site.load(log, LOG_MAP, rejects=path)
    kept = path.read_bytes()
    path.write_bytes(kept + b'9999999,9999999,never committed,"half \xc3')
    ends_here = Batch([], [], {}, {0: "a place that the batch does not have"})
    with pytest.raises(IndexError), Rejects(path, _rows_done(site), imported=log) as opened:
        opened.write(ends_here)
    assert path.read_bytes() == kept


def _load(site: Site, log: Path, watch: Callable[[Outcome], None]) -> None:
    opened = setup.open_to_look(site.store)
    with closing(opened.connection):
        order = Order(
            file=log,
            plan=read_map(LOG_MAP, opened.catalog, site=site.name),
            rejects=site.store.with_suffix(".rejects.csv"),
            site=site.name,
        )
        run_import(opened.connection, order, now_ms=0, watch=watch)

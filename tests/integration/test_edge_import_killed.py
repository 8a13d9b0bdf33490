"""An import that is killed at any point and run again ends as if it had never been."""

from __future__ import annotations

import random
import signal
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge.csv_import import Order, Outcome, read_map, run_import
from edge.store import setup
from tests.integration.import_world import LOG_MAP, ROOT, Site, real_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COPIES = 4
BAD_EVERY = 97


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
    site, kills, rows = Site.new(tmp_path), 0, set()
    command = [
        *site.command("import", log, "--map", LOG_MAP, "--json"),
        "--rejects",
        str(site.store.with_suffix(".rejects.csv")),
    ]
    while (code := _run_for(command, 0.4 + chance.random() * 0.8)) is None:
        kills += 1
        rows |= set(site.rows("SELECT row FROM _sync_import"))
        assert kills < 200, "it never comes to its end"
    assert code == 65
    assert len(rows) > 3, "the kills did not fall into the import"
    assert site.content() == whole.content()
    assert rejects(site) == rejects(whole)


def _run_for(command: list[str], seconds: float) -> int | None:
    """Return the exit code of the command; None where it had to be killed."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return None


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

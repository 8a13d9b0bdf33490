"""The demo as a newcomer runs it: a process, its output, its exit status, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import psycopg
import pytest

from deploy.local.quarrel import QUARRELS
from sync.streams import desired, provision
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.postgres, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
LOG = ROOT.parent / "shared" / "data" / "production" / "Production_Data.csv"
#: Keepers see that their starter is gone within half a second; servers then shut down in order.
GONE_MAX_S = 30.0


def demo(folder: Path, *arguments: str, **given: str) -> subprocess.Popen[str]:
    """Start a demo whose current folder is ``folder``; ``given`` is its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.local.demo", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_line(process: subprocess.Popen[str], words: str) -> str:
    """Return the output up to the line with these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"never said {words!r}:\n{said}")


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=400)
    return process.returncode, said


def of(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder, by what they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            traces = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        # The current folder of the tests themselves is elsewhere, as is pytest's command line.
        if process.pid != os.getpid() and any(str(folder) in trace for trace in traces):
            found.append(process)
    return [each for each in found if each.is_running() and each.status() != "zombie"]


def await_nothing(folder: Path) -> list[psutil.Process]:
    """Return what still runs when the time for it is over."""
    deadline = time.monotonic() + GONE_MAX_S
    while (left := of(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in of(tmp_path):
        process.kill()


def test_the_demo_holds_and_leaves_nothing_behind(folder):
    status, said = ends(demo(folder, "--seconds", "6"))
    assert status == 0, said
    assert "all held" in said.splitlines()[-1]
    for line in (
        "each table holds the same rows at both ends",
        "each contested row stands as its policy says, at both ends",
        "no row is parked",
        "each probe was seen at the centre",
    ):
        assert f"holds   {line}" in said
    for quarrel in QUARRELS:
        assert re.search(rf"^ok +{quarrel.key[1]} ", said, re.MULTILINE), quarrel.what
    assert re.search(r"^p50 \d+ ms, p99 \d+ ms \(\d+ probes\)$", said, re.MULTILINE)
    assert re.search(r"^measurements, .*: 30,\d+ rows in .* rows/s$", said, re.MULTILINE)
    assert "both had seen     {" in said
    assert not list(folder.iterdir())
    assert not await_nothing(folder)


@pytest.mark.parametrize("point", ["nats-server answers", "the plants write", "is cut off"])
def test_a_demo_killed_at_any_point_leaves_nothing_running_and_the_next_one_starts(folder, point):
    killed = demo(folder)
    await_line(killed, point)
    assert len(of(folder)) > 2
    killed.kill()
    assert ends(killed)[0] == -signal.SIGKILL
    # At once, while the servers of the killed one are still on their way down.
    following = demo(folder)
    await_line(following, "master records entered")
    following.send_signal(signal.SIGINT)
    assert ends(following)[0] == 130
    assert not await_nothing(folder)


def test_a_second_demo_in_the_same_folder_is_told_that_one_runs(folder):
    first = demo(folder)
    await_line(first, "PostgreSQL")
    status, said = ends(demo(folder))
    first.send_signal(signal.SIGTERM)
    assert (status, ends(first)[0]) == (1, 130)
    assert "is in use by process" in said


def test_a_folder_that_holds_something_else_is_left_alone(folder):
    (folder / "kept").mkdir()
    (folder / "kept" / "letter.txt").write_text("mine")
    status, said = ends(demo(folder, MES_DEMO_DIR=str(folder / "kept")))
    assert status == 1
    assert "holds something else" in said
    assert (folder / "kept" / "letter.txt").read_text() == "mine"


def await_order(env: Path) -> None:
    """Wait until the planner of a kept demo has ordered something more."""
    (url,) = re.findall(r"(?m)^MES_ADMIN_URL=(.+)$", env.read_text())
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(600):
            found = connection.execute("SELECT FROM mes.work_orders WHERE order_no LIKE 'PO-2%'")
            if found.rowcount:
                return
            time.sleep(0.2)
    raise AssertionError("nobody ordered anything")


def test_a_kept_demo_goes_on_until_it_is_interrupted(folder):
    kept = demo(folder, "--seconds", "4", "--keep")
    said = await_line(kept, "running until Ctrl-C")
    (env,) = set(re.findall(r"--env-file (\S+central\.env)", said))
    status = subprocess.run(
        [sys.executable, "-m", "central.cli.command", "--env-file", folder / env, "status"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SITE_019" in status.stdout, status
    address = re.search(r"(http://127.0.0.1:\d+)/  the dashboard", said)[1]
    key = (folder / ".mes-demo" / "dashboard.key").read_text().strip()
    shown = {"Authorization": f"Bearer {key}"}
    told = httpx.get(f"{address}/v1/reports/output", headers=shown)
    assert told.status_code == 200, told.text
    assert httpx.get(f"{address}/sign-in").status_code == 200
    await_order(folder / env)
    kept.send_signal(signal.SIGINT)
    assert ends(kept)[0] == 0
    assert not await_nothing(folder)


def test_a_demo_is_a_guest_on_servers_that_are_given(folder, postgres_url, nats_server):
    servers = {"MES_DATABASE_URL": postgres_url, "MES_NATS_URL": nats_server.url}
    status, said = ends(demo(folder, "--seconds", "4", **servers))
    assert status == 0, said
    assert [path.name for path in folder.iterdir()] == []
    with psycopg.connect(postgres_url) as connection:
        left = connection.execute("SELECT 1 FROM pg_database WHERE datname LIKE 'mes\\_demo%'")
        assert left.fetchone() is None
    assert nats_server.monitor("/jsz")["streams"] == 0


async def test_a_given_broker_that_has_streams_of_ours_is_left_alone(folder, nats_server):
    async with Link(LinkSettings(servers=(nats_server.url,), name="test")) as link:
        await link.wait_connected(10)
        await provision(link, desired(["SITE_001"]))
    status, said = ends(demo(folder, MES_NATS_URL=nats_server.url))
    assert status == 1
    assert "has the streams DOWN, UP_SITE_001 of mes-sync" in said
    assert nats_server.monitor("/jsz")["streams"] == 2


@pytest.mark.parametrize("sites", ["3", "30"])
def test_the_real_log_sums_exactly_to_its_published_answers(folder, sites):
    assert LOG.exists(), "the log lies beside the checkout, in shared/data/production"
    status, said = ends(demo(folder, "--data", str(LOG), "--sites", sites, "--seconds", "6"))
    assert status == 0, said
    for question in ("Q01", "Q02", "Q03"):
        assert re.search(rf"^{question} +exactly equal$", said, re.MULTILINE)

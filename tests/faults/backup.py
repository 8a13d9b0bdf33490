"""A backup of a PostgreSQL server, taken while it runs, and the server put back to it.

Or to a point in time after it, where its log is archived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final

import psycopg

from deploy.local.pginstall import programs, server_account

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.servers import PostgresServer


#: Where finished files of the server's log go, as the server finds it from where it stands.
_ARCHIVE: Final = "../archive"
#: What has a server archive its log; a file is there whole or not at all.
ARCHIVING: Final = {
    "archive_mode": "on",
    "archive_command": f"test ! -e {_ARCHIVE}/%f && cp %p {_ARCHIVE}/%f.new"
    f" && mv {_ARCHIVE}/%f.new {_ARCHIVE}/%f",
}


def archive_of(server: PostgresServer) -> Path:
    """Make the folder to which a server with ``ARCHIVING`` archives, and return it."""
    archive = server.root / "archive"
    archive.mkdir()
    _own(server, archive)
    return archive


def base_backup(server: PostgresServer, into: Path) -> Path:
    """Take a base backup with what is needed to start from it, as an operator does."""
    stream_files(server, into, "--no-sync", f"--dbname={server.url()}")
    return into


def stream_files(server: PostgresServer, into: Path, *options: str) -> None:
    """Have ``pg_basebackup`` copy the files of a running server into a new folder."""
    into.mkdir(mode=0o700)
    account = server_account(server.root / "data")
    if account is not None:
        os.chown(into, account.uid, account.gid)
    subprocess.run(
        [
            programs(account) / "pg_basebackup",
            *("--pgdata=.", "--wal-method=stream", "--checkpoint=fast"),
            *options,
        ],
        cwd=into,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        env={"LC_ALL": "C", "TZ": "UTC"},
        check=True,
        timeout=60,
    )


def file_copy(server: PostgresServer, into: Path) -> Path:
    """Stop the server, copy its files, and start it again: the oldest way of all."""
    server.stop()
    shutil.copytree(server.root / "data", into, symlinks=True)
    _own(server, into)
    server.start()
    return into


def put_back(server: PostgresServer, backup: Path) -> None:
    """Stop the server and start it from a backup; what it held since is set aside."""
    _in_place_of_what_was(server, backup)
    server.start()


def recover_to(server: PostgresServer, backup: Path, point: str) -> None:
    """Put the server back to a named point of its archived log after a backup; wait until it is.

    Nothing of the files that it left behind is used, only the backup and the archive.
    """
    _in_place_of_what_was(server, backup)
    data = server.root / "data"
    # It finds what it is to recover to as an operator writes it: the last words count.
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"restore_command = 'cp {_ARCHIVE}/%f %p'\n"
            f"recovery_target_name = '{point}'\n"
            "recovery_target_action = 'promote'\n"
        )
    (data / "recovery.signal").touch()
    _own(server, data)
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        until = time.monotonic() + 60
        while connection.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
            assert time.monotonic() < until, "it does not end its recovery"
            time.sleep(0.05)


def _in_place_of_what_was(server: PostgresServer, backup: Path) -> None:
    server.stop()
    data = server.root / "data"
    data.replace(backup.with_name(f"{backup.name}.lost"))
    shutil.copytree(backup, data, symlinks=True)
    data.chmod(0o700)
    _own(server, data)


def _own(server: PostgresServer, folder: Path) -> None:
    account = server_account(server.root / "data")
    if account is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)

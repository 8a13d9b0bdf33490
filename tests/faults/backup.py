"""A backup of a PostgreSQL server, taken while it runs, and the server put back to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from deploy.local.pginstall import programs, server_account

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.servers import PostgresServer


def base_backup(server: PostgresServer, into: Path) -> Path:
    """Take a base backup with what is needed to start from it, as an operator does."""
    into.mkdir(mode=0o700)
    account = server_account(server.root / "data")
    if account is not None:
        os.chown(into, account.uid, account.gid)
    subprocess.run(
        [
            programs(account) / "pg_basebackup", "--pgdata=.", "--wal-method=stream",
            "--checkpoint=fast", "--no-sync", f"--dbname={server.url()}",
        ],
        cwd=into,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        env={"LC_ALL": "C", "TZ": "UTC"},
        check=True,
        timeout=60,
    )  # fmt: skip
    return into


def file_copy(server: PostgresServer, into: Path) -> Path:
    """Stop the server, copy its files, and start it again: the oldest way of all."""
    server.stop()
    shutil.copytree(server.root / "data", into, symlinks=True)
    _own(server, into)
    server.start()
    return into


def put_back(server: PostgresServer, backup: Path) -> None:
    """Stop the server and start it from a backup; what it held since is set aside."""
    server.stop()
    data = server.root / "data"
    data.replace(backup.with_name(f"{backup.name}.lost"))
    shutil.copytree(backup, data, symlinks=True)
    data.chmod(0o700)
    _own(server, data)
    server.start()


def _own(server: PostgresServer, folder: Path) -> None:
    account = server_account(server.root / "data")
    if account is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)

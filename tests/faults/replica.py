"""A standby of a PostgreSQL server: a copy of it that follows by streaming, and may take over."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from deploy.local.pginstall import server_account
from deploy.local.servers import PostgresServer
from tests.faults.backup import stream_files
from tests.integration.central_world import make_centre

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

NAME: Final = "standby"
#: A commit is told to the client when the standby has it on its disk.
SYNCHRONOUS: Final = f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'"
#: The primary is killed; what the kernel has stays.
_KILLED: Final = {"fsync": "off"}


@asynccontextmanager
async def primary_and_standby(folder: Path) -> AsyncIterator[tuple[PostgresServer, PostgresServer]]:
    """Run a primary with a migrated centre, and a standby that no commit waits for."""
    with PostgresServer(folder / "primary", parameters=_KILLED) as primary:
        await make_centre(primary.url())
        standby = await asyncio.to_thread(standby_of, primary, folder / "standby", _KILLED)
        with standby:
            yield primary, standby


def standby_of(
    primary: PostgresServer, root: Path, parameters: Mapping[str, str] | None = None
) -> PostgresServer:
    """Return a standby with a copy of what the primary holds, not started yet."""
    root.mkdir(parents=True)
    shutil.copy2(primary.root / "password", root / "password")
    account = server_account(primary.root / "data")
    if account is not None:
        os.chown(root / "password", account.uid, account.gid)
    address = f"{primary.url()}?application_name={NAME}"
    stream_files(primary, root / "data", "--write-recovery-conf", f"--dbname={address}")
    return PostgresServer(root, parameters=parameters)


def either(first: str, second: str) -> str:
    """Return the address of whichever of two servers is the primary."""
    one, other = urlsplit(first), urlsplit(second)
    netloc = f"{one.netloc},{other.netloc.rpartition('@')[2]}"
    return urlunsplit(one._replace(netloc=netloc, query="target_session_attrs=read-write"))


def follows(primary: PostgresServer) -> bool:
    """Tell whether the primary waits for a standby with each commit."""
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        states = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    return states == [("sync",)]


def promote(standby: PostgresServer) -> None:
    """Make the standby a primary, and wait until it is."""
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)


def holds_all(primary: PostgresServer) -> bool:
    """Tell whether a standby has replayed all that the primary has logged."""
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        return connection.execute(
            "SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_insert_lsn()"
        ).fetchall() == [(1,)]


def cut_off(primary: PostgresServer, standby: PostgresServer) -> None:
    """Have the standby hear nothing more of the primary, and wait until it does not.

    To pause its replay would not do: a promotion replays all that it has received.
    """
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        until = time.monotonic() + 20
        while connection.execute("SELECT 1 FROM pg_stat_replication").fetchall():
            assert time.monotonic() < until, "the standby still follows"
            time.sleep(0.05)

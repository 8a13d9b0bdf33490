"""The disk of PostgreSQL is full: where the tables are, or where the log of the server is."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from deploy.local.servers import PostgresServer
from tests.faults.cases import sign_ons
from tests.faults.system import running_system
from tests.integration.central_world import make_centre

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow, pytest.mark.system]

MB = 1 << 20
#: What is left on the disk besides what stands there.
ROOM_MB = {"base": 24, "pg_wal": 32}
#: No segment of the log is used again, as where a standby that is gone still waits for them.
PARAMETERS = {"fsync": "off", "wal_keep_size": "1GB", "min_wal_size": "32MB"}
ROWS = 30_000
FULL = "No space left on device"


@contextlib.contextmanager
def on_a_disk_of_its_own(folder: Path, room_mb: int) -> Iterator[None]:
    """Put what stands in the folder on a small disk for the block."""
    kept = folder.with_name(f"{folder.name}.kept")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    owner = folder.stat()
    folder.rename(kept)
    folder.mkdir()
    options = f"size={size // MB + room_mb}m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.fail(f"only root may mount a small disk: {mounted.stderr.strip()}")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)
        shutil.rmtree(kept)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(params=ROOM_MB)
async def full(request, nats_server, tmp_path):
    """A system whose server has its tables, or its log, on a disk of their own."""
    postgres = PostgresServer(tmp_path / "postgres", parameters=PARAMETERS)
    with postgres:
        await make_centre(postgres.url())
    folder = postgres.root / "data" / request.param
    with on_a_disk_of_its_own(folder, ROOM_MB[request.param]), postgres:
        async with running_system(postgres.url(), nats_server.url, tmp_path) as system:
            yield system, postgres, folder


async def test_what_comes_while_the_database_has_no_room_waits_at_the_sites_until_it_has(full):
    system, postgres, folder = full
    ballast = folder / "ballast"
    async with system.sessions() as sessions:
        await asyncio.to_thread(fill, ballast)
        system.world.edges["SITE_001"].write(sign_ons(ROWS))
        if folder.name == "pg_wal":
            await asyncio.to_thread(use_up_the_log, postgres)
        await system.world.eventually(lambda: FULL in postgres.log.read_text(), timeout_s=60)
        written = sessions.written
        await system.world.eventually(
            lambda: sessions.written["SITE_002 1"] > written["SITE_002 1"] + 20
        )
        ballast.unlink()
        if folder.name == "pg_wal":  # a server that can't write its log ends
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
    assert await system.world.central("SELECT count(*) FROM mes.user_sessions") == [(ROWS,)]


def fill(ballast: Path) -> None:
    """Leave nothing of the disk's room, while others take of it."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MB))


def use_up_the_log(postgres: PostgresServer) -> None:
    """Begin one segment of the server's log after the other, until there is no room for one."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(postgres.url()) as connection:
        connection.autocommit = True
        while True:
            connection.execute("SELECT pg_logical_emit_message(true, 'full', repeat('x', 100000))")
            connection.execute("SELECT pg_switch_wal()")

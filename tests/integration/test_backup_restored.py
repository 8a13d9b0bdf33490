"""A real `pg_basebackup` by ``mes-central backup run``, restored: all that is safe is in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.backups import Mark, read_backups, set_mark
from central.roles import as_role
from central.upkeep import advance_safe
from deploy.local.pginstall import programs, server_account
from deploy.local.servers import PostgresServer
from tests.integration.apply_world import Site, open_world
from tests.integration.central_world import connect, fetch, make_centre

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
#: The files of an empty centre take two seconds at this rate.
RATE = "32M"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "primary", parameters={"fsync": "off"}) as running:
        with psycopg.connect(running.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE mes TEMPLATE template0")
        yield running


@dataclass
class Plant:
    """A site that writes without pause, and what each of its transactions holds."""

    site: Site
    orders: dict[int, str] = field(default_factory=dict)

    async def write(self) -> None:
        order = self.site.order()
        await self.site.writes(
            self.site.insert("work_orders", order),
            self.site.insert("job_responses", self.site.report()),
        )
        self.orders[self.site.n] = str(order["id"])


@contextlib.asynccontextmanager
async def writing(*plants: Plant) -> AsyncIterator[None]:
    """Have the plants write, one after the other, without pause."""
    ended = asyncio.Event()

    async def write_on() -> None:
        while not ended.is_set():
            for plant in plants:
                await plant.write()

    task = asyncio.create_task(write_on())
    try:
        yield
    finally:
        ended.set()
        await task


async def run_backup(server: PostgresServer, url: str, name: str, into: Path) -> None:
    """Take a backup as an operator does."""
    bin_folder = programs(server_account(server.root / "data"))
    command = [
        bin_folder / "pg_basebackup", "-d", server.url(), "-D", into, "-X", "stream",
        "--checkpoint=fast", f"--max-rate={RATE}", "--no-sync",
    ]  # fmt: skip
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "central", "backup", "run", name, "--", *map(str, command),
        cwd=ROOT, env=os.environ | {"MES_DATABASE_URL": as_role(url, "mes_ingest")},  # noqa: TID251
    )  # fmt: skip
    assert await done.wait() == 0


@contextlib.contextmanager
def restored(server: PostgresServer, root: Path) -> Iterator[str]:
    """Run a second server on the backup and return the address of its centre."""
    shutil.copy(server.root / "password", root)
    account = server_account(server.root / "data")
    if account is not None:
        for path in (root / "data", *(root / "data").rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    with PostgresServer(root, parameters={"fsync": "off"}) as copy:
        yield copy.url(dbname="mes")


async def safe(url: str) -> dict[str, int]:
    """Do a step of the upkeep, by age where no backup counts, and return what is safe then."""
    async with connect(url) as connection:
        await advance_safe(connection, safe_after_s=0)
    return dict(await fetch(url, "SELECT site, safe_n FROM sync.epoch"))


async def states(url: str) -> dict[str, Mark]:
    async with connect(url) as connection:
        return {each.name: each.state for each in await read_backups(connection)}


async def test_all_that_is_safe_is_in_a_backup_that_was_taken_while_sites_wrote(server, tmp_path):
    url, copy = server.url(dbname="mes"), tmp_path / "copy"
    await make_centre(url)
    copy.mkdir()
    async with open_world(url) as world:
        one, two = Plant(world.site("SITE_001")), Plant(world.site("SITE_002"))
        async with connect(url) as connection:
            await set_mark(connection, "sun", Mark.BEGUN)
            await set_mark(connection, "sun", Mark.FINISHED)
        async with writing(one, two):
            await run_backup(server, url, "mon", copy / "data")
        last = {plant.site.name: plant.site.n for plant in (one, two)}
    assert await safe(url) == {"SITE_001": 0, "SITE_002": 0}  # sun is older, and has nothing
    async with connect(url) as connection:
        await set_mark(connection, "sun", Mark.GONE)
    called_safe = await safe(url)
    with restored(server, copy) as again:
        held = dict(await fetch(again, "SELECT site, last_n FROM sync.epoch"))
        for plant in (one, two):
            name = plant.site.name
            # Writes went on while it was taken; some of what came then may be in it as well.
            assert 0 < called_safe[name] <= held[name] <= last[name]
            assert called_safe[name] < last[name]
            orders = {plant.orders[n] for n in range(1, called_safe[name] + 1)}
            found = await fetch(
                again, "SELECT id::text FROM mes.work_orders WHERE site_id = %s", name
            )
            assert orders <= {row[0] for row in found}
            reports = await fetch(
                again, "SELECT count(*) FROM mes.job_responses WHERE site_id = %s", name
            )
            assert reports[0][0] == held[name]
        await check_what_the_copy_knows(again, called_safe)


async def check_what_the_copy_knows(again: str, called_safe: dict[str, int]) -> None:
    """The restored table is of the moment at which the backup began; nothing is let go of by it."""
    assert await states(again) == {"sun": Mark.FINISHED, "mon": Mark.BEGUN}
    assert set((await safe(again)).values()) == {0}
    async with connect(again) as connection:
        await set_mark(connection, "sun", Mark.GONE)  # as it is in truth
        assert set((await safe(again)).values()) == {0}
        await set_mark(connection, "mon", Mark.FINISHED)  # it was just restored from
    assert await safe(again) == called_safe


async def test_a_centre_restored_from_its_first_backup_lets_nothing_go_by_age(server, tmp_path):
    url, copy = server.url(dbname="mes"), tmp_path / "copy"
    await make_centre(url)
    copy.mkdir()
    async with open_world(url) as world:
        plant = Plant(world.site())
        await plant.write()
        async with writing(plant):
            await run_backup(server, url, "first", copy / "data")
    with restored(server, copy) as again:
        assert await states(again) == {"first": Mark.BEGUN}
        ((noted,),) = await fetch(again, "SELECT last_n FROM sync.backup_position")
        ((held,),) = await fetch(again, "SELECT last_n FROM sync.epoch")
        assert 0 < noted < held
        # Age alone would let go of all that the copy holds, and it may have to be restored again.
        assert await safe(again) == {"SITE_001": noted}

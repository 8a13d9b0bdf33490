"""Whatever is said of backups, and when: no site lets go of what one lacks that may be restored.

The real store of a site, the real centre, the real feed between them, and a script of steps that
Hypothesis makes up. What each backup holds is counted here, not asked of the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central.backups import Mark, set_mark
from central.feed import Sequencer, entries_after
from central.runs import Runs, groups_of
from central.upkeep import advance_safe
from edge.store import EdgeStore
from sync import codec
from sync.pump import Message
from tests.integration.apply_world import World, open_world
from tests.integration.central_world import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
SITE = "SITE_001"
DAY_S = 86_400.0
#: What happens next, and to which of those that it may happen to.
STEPS = st.tuples(
    st.sampled_from(("write", "write", "begin", "end", "end", "gone", "settle", "age")),
    st.integers(0, 5),
)
CLEAN = ("backup_position", "backup", "epoch", "applied", "feed", "feed_head", "touched")


@dataclass
class Script:
    """A site, its centre, and what is known of backups without asking either."""

    world: World
    store: EdgeStore
    path: Path
    clock: Iterator[int] = field(default_factory=lambda: itertools.count(1_795_000_000_000, 1000))
    #: Last transaction drained, and last one that the centre has applied.
    drained: int = 0
    applied: int = 0
    #: Backups that are being taken or may be restored -> the last transaction in each.
    begun: dict[str, int] = field(default_factory=dict)
    restorable: dict[str, int] = field(default_factory=dict)

    async def do(self, what: str, which: int = 0) -> None:
        await getattr(self, what)(which)
        self.store.prune(next(self.clock))
        self.check()

    async def begin(self, _: int) -> None:
        name = f"backup-{next(self.clock)}"
        assert await set_mark(self.world.admin, name, Mark.BEGUN)
        self.begun[name] = self.applied

    async def end(self, which: int) -> None:
        if self.begun:
            name = sorted(self.begun)[which % len(self.begun)]
            inside, failed = self.begun.pop(name), which == 5
            assert await set_mark(self.world.admin, name, Mark.FAILED if failed else Mark.FINISHED)
            if not failed:
                self.restorable[name] = inside

    async def gone(self, which: int) -> None:
        if self.restorable:
            name = sorted(self.restorable)[which % len(self.restorable)]
            assert await set_mark(self.world.admin, name, Mark.GONE)
            del self.restorable[name]

    async def write(self, which: int) -> None:
        """Write, and have the centre apply it, but for one time in six."""
        await self.write_here()
        if which:
            await self.deliver()

    async def write_here(self) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as program:
            order = f"WO-{uuid.uuid4().hex[:8]}"
            program.execute("INSERT INTO work_orders (order_no) VALUES (?)", (order,))
            program.commit()
        drained = self.store.drain(next(self.clock))
        assert drained is not None
        self.drained = drained.n

    async def deliver(self) -> None:
        parts = self.store.outbox((self.applied, 1 << 30), bytes_max=1 << 24)
        stored_at = next(self.clock)
        messages = [(part, Message(codec.encode_part(part), stored_at)) for part in parts]
        runs = Runs(groups_of(messages), self.world.catalog)
        while (run := await runs.next()) is not None:
            done = await self.world.store.apply_run(run.incoming, lease=self.world.leases[SITE])
            assert done.conflicts == {}
        self.applied = self.drained

    async def age(self, _: int) -> None:
        await advance_safe(self.world.admin, DAY_S)
        await self.hear()

    async def settle(self, _: int) -> None:
        await advance_safe(self.world.admin, 0)
        await self.hear()

    async def hear(self) -> None:
        async with connect(self.world.url, autocommit=False) as sequencing:
            await Sequencer(sequencing, self.world.catalog).step(next(self.clock))
        after = self.store.position().own_pos
        sent = await entries_after(self.world.admin, SITE, after)
        self.store.apply_entries([codec.decode_entry(each) for each in sent], next(self.clock))

    def kept(self) -> set[int]:
        with contextlib.closing(sqlite3.connect(self.path)) as program:
            return {n for (n,) in program.execute("SELECT n FROM _sync_out")}

    def lacking(self, inside: int) -> set[int]:
        return set(range(inside + 1, self.drained + 1))

    def check(self) -> None:
        kept = self.kept()
        for name, inside in self.restorable.items():
            assert self.lacking(inside) <= kept, name


@contextlib.asynccontextmanager
async def a_script(centre: str, path: Path):
    async with open_world(centre) as world:
        for table in CLEAN:  # rows of other examples are in nobody's way
            await world.admin.execute(f"DELETE FROM sync.{table}".encode())
        store = EdgeStore.open(
            path, world.catalog, site=SITE, now_ms=1_794_000_000_000, host="here"
        )
        with contextlib.closing(store):
            with contextlib.closing(sqlite3.connect(path)) as program:
                program.execute("UPDATE _sync_site SET needs_snapshot = 0")
                program.commit()
            yield Script(world, store, path)


# Each example has its own site, and empties the centre.
several = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(steps=st.lists(STEPS, min_size=20, max_size=60))
def test_no_site_lets_go_of_what_a_backup_lacks_that_may_be_restored(centre, tmp_path, steps):
    async def play() -> None:
        async with a_script(centre, tmp_path / f"{uuid.uuid4()}.db") as script:
            for step in steps:
                await script.do(*step)
            await check_the_end(script)

    asyncio.run(play())


async def check_the_end(script: Script) -> None:
    """At rest a site keeps what the oldest backup lacks, and not one transaction more."""
    await script.deliver()
    while script.begun:
        await script.do("end", 5)
    await script.do("settle")
    if script.restorable:
        assert script.kept() == script.lacking(min(script.restorable.values()))


def test_a_script_meets_every_state_that_matters(centre, tmp_path):
    """The property could pass by doing nothing: this script lets go, holds back and lets go."""

    async def play() -> None:
        async with a_script(centre, tmp_path / "edge.db") as script:
            seen = []
            for steps in (
                "write write begin write",
                "end write",
                "begin end write",
                "gone",
                "gone write",
            ):
                for step in steps.split():
                    await script.do(step, 1 if step == "write" else 0)
                await script.do("settle")
                seen.append(sorted(script.kept()))
            assert seen == [[3], [3, 4], [3, 4, 5], [5], [5, 6]]

    asyncio.run(play())

"""What the centre forgets of the past, and that no later write is decided otherwise for it."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from psycopg.types.json import Jsonb

from central import retention
from central.retention import Kept, forget
from central.roles import as_role
from tests.integration.apply_world import LATE_MS, World, an_order, shared_row, world  # noqa: F401
from tests.integration.central_world import connect

if TYPE_CHECKING:
    from tests.integration.apply_world import Row

FOREVER = Kept(version_days=0, history_days=0)
VERSIONS = Kept(version_days=90, history_days=0)
HISTORY = Kept(version_days=0, history_days=3650)
SITE = "SITE_001"


@asynccontextmanager
async def upkeep(world: World):
    async with connect(as_role(world.url, "mes_ingest")) as connection:
        yield connection


async def forgotten(world: World, kept: Kept = VERSIONS) -> dict[str, int]:
    """Forget all that may be forgotten."""
    total: dict[str, int] = {}
    async with upkeep(world) as connection:
        for _ in range(3):  # a look, one that finds it settled, one that goes through all
            for what, count in (await forget(connection, kept)).items():
                total[what] = total.get(what, 0) + count
    return total


async def says(world: World, row: Row, *, n: int | None = None, **hello: object) -> None:
    """Have the site say hello: it has seen all, and drained up to ``n``."""
    said = {
        "epoch": row.site.epoch, "n": row.site.n if n is None else n, "own": [1, "00"],
        "shared": [0, "00"], "needs_snapshot": False, **hello,
    }  # fmt: skip
    await world.admin.execute(
        """INSERT INTO sync.feed (scope, pos, previous, hash, body) VALUES (%s, 1, '', '', '')
           ON CONFLICT (scope, pos) DO UPDATE SET made_at = now()""",
        [row.site.name],
    )
    await world.admin.execute(
        "UPDATE sync.site SET hello = %s, hello_at = now() WHERE site = %s",
        [Jsonb(said), row.site.name],
    )


async def time_passes(world: World, days: int) -> None:
    """Make all that was noted of the past older."""
    for table, column in (
        ("sync.order_mark", "at"), ("sync.settled", "known_at"), ("sync.settled", "settled_at"),
        ("sync.feed", "made_at"),
    ):  # fmt: skip
        await world.admin.execute(
            f"UPDATE {table} SET {column} = {column} - interval '{days} days'".encode()
        )


async def ages(world: World, row: Row) -> None:
    """Let all versions until now be old ones that the site has seen."""
    await says(world, row)
    await forgotten(world)
    await time_passes(world, 100)
    await says(world, row)


async def versions(world: World, row: Row) -> list[tuple[str, str]]:
    return await world.rows(
        "SELECT op::text, origin FROM sync.version WHERE id = %s ORDER BY ord", row.id
    )


async def written(world: World) -> Row:
    """Return an order with a history of five versions."""
    row = await an_order(world, notes="0")
    for number in range(1, 5):
        await row.central(notes=str(number))
    return row


async def test_of_old_versions_the_newest_stays_and_counts_for_all_that_is_gone(world):
    row = await written(world)
    await ages(world, row)
    await row.central(priority=3)
    assert await versions(world, row) == [("I", SITE), *[("U", "*")] * 5]
    assert (await forgotten(world))["versions"] == 4
    assert await versions(world, row) == [("I", "*"), ("U", "*")]
    assert (await forgotten(world))["versions"] == 0


async def test_a_write_on_the_version_that_stayed_is_decided_as_before(world):
    row = await written(world)
    await ages(world, row)
    row.base = await world.head(row.id)
    await row.central(priority=3)
    await forgotten(world)
    outcome = await row.here(notes=("4", "5"))
    assert (outcome.conflicts, await row.holds("notes")) == ({}, ("5",))


async def test_a_write_on_a_forgotten_version_is_in_conflict_in_every_column(world):
    row = await written(world)
    await ages(world, row)
    await forgotten(world)
    # Nobody wrote the priority, but nobody knows that any more.
    outcome = await row.here(at_ms=LATE_MS, priority=(None, 9))
    assert sum(outcome.conflicts.values()) == 1
    assert await world.value("SELECT count(*) FROM mes.sync_conflicts") == 1


@pytest.mark.parametrize(
    "hello",
    [
        {"n": 99}, {"needs_snapshot": True}, {"own": ["x", ""]}, {"own": [7, ""]}, {"epoch": None},
        {"shared": None}, {"needs_snapshot": None},
    ],
    ids=[
        "undecided writes", "snapshot", "no number", "no such entry", "no epoch", "no shared feed",
        "does not say",
    ],
)  # fmt: skip
async def test_nothing_is_forgotten_that_the_site_may_still_build_on(world, hello):
    row = await written(world)
    await says(world, row, **hello)
    await forgotten(world)
    await time_passes(world, 400)
    await says(world, row, **hello)
    assert (await forgotten(world))["versions"] == 0
    assert len(await versions(world, row)) == 5
    await world.admin.execute("DELETE FROM sync.settled")
    await says(world, row)  # and it is, once the site has seen all
    assert (await forgotten(world))["versions"] == 4


async def sequenced(world: World, *entries: tuple[str, int, str]) -> None:
    """Put entries into feeds: scope, number, and how long ago they were made."""
    for scope, pos, ago in entries:
        await world.admin.execute(
            """INSERT INTO sync.feed (scope, pos, previous, hash, body, made_at)
               SELECT %(scope)s, %(pos)s, '', '', '', f.made_at - %(ago)s::interval
               FROM sync.feed AS f WHERE f.scope = %(site)s AND f.pos = 1
               ON CONFLICT (scope, pos) DO UPDATE SET made_at = excluded.made_at""",
            {"scope": scope, "pos": pos, "ago": ago, "site": SITE},
        )


@pytest.mark.parametrize(
    ("entries", "shared", "count"),
    [
        ([(SITE, 2, "0")], 0, 0), ([(SITE, 2, "-1s")], 0, 4),
        ([("*", 1, "1h")], 0, 0), ([("*", 1, "0")], 0, 0), ([("*", 1, "-1s")], 0, 4),
        ([("*", 7, "-1s")], 0, 0), ([("*", 7, "-1s")], 6, 4),
        ([("*", 1, "1h")], 1, 4), ([("*", 1, "1h"), ("*", 2, "0")], 1, 0),
    ],
    ids=[
        "the rest of its step", "what comes later", "the shared feed", "the step's shared rows",
        "shared rows of later", "shared entries that are gone", "all that are gone",
        "the shared feed seen", "not all of it",
    ],
)  # fmt: skip
async def test_an_entry_counts_as_seen_only_with_all_that_its_step_waits_for(
    world, entries, shared, count
):
    row = await written(world)
    await ages(world, row)
    await world.admin.execute("DELETE FROM sync.settled")
    await says(world, row, shared=[shared, "00"])
    await sequenced(world, *entries)
    assert (await forgotten(world))["versions"] == count


async def test_a_version_under_way_while_its_site_looked_forgets_none_before_it(world):
    row = await written(world)
    async with connect(as_role(world.url, "mes_app"), autocommit=False) as client:
        await client.execute("SELECT set_config('app.current_site_id', %s, true)", [SITE])
        await client.execute("UPDATE mes.work_orders SET notes = 'long' WHERE id = %s", [row.id])
        await forgotten(world)  # its order is given out, and marked
        await says(world, row)
        await client.commit()
    await forgotten(world)
    await time_passes(world, 100)
    assert (await forgotten(world))["versions"] == 0
    assert len(await versions(world, row)) == 6
    await world.admin.execute("UPDATE sync.order_mark SET at = at - interval '2 days'")
    assert (await forgotten(world))["versions"] == 5


async def test_a_row_of_which_a_later_release_knows_more_keeps_its_history(world):
    row = await written(world)
    await ages(world, row)
    await world.admin.execute(
        """INSERT INTO sync.extra (site_id, table_name, id, created_at, column_name, value, schema)
           VALUES ('SITE_001', 'work_orders', %s, now(), 'colour', '', 2)""",
        [row.id],
    )
    assert (await forgotten(world))["versions"] == 0
    await world.admin.execute("UPDATE sync.extra SET id = gen_random_uuid()")
    assert (await forgotten(world))["versions"] == 4


async def test_what_was_made_since_the_site_said_hello_stays(world):
    row = await written(world)
    await ages(world, row)
    await world.admin.execute("UPDATE sync.settled SET settled_at = now() - interval '300 days'")
    await world.admin.execute("UPDATE sync.feed SET made_at = now() - interval '300 days'")
    assert (await forgotten(world))["versions"] == 0


async def test_versions_stay_for_their_time_though_their_site_has_passed_them(world):
    row = await written(world)
    await says(world, row)
    await forgotten(world)
    for days, gone in ((80, 0), (20, 4)):
        await time_passes(world, days)
        await says(world, row)
        assert (await forgotten(world))["versions"] == gone


async def test_a_site_that_goes_on_in_a_new_epoch_has_to_settle_anew(world):
    row = await written(world)
    await ages(world, row)
    await says(world, row, epoch=str(uuid.uuid4()), n=0)
    await world.admin.execute("UPDATE sync.settled SET settled_at = now()")
    assert (await forgotten(world))["versions"] == 0
    assert await world.value("SELECT settled_at FROM sync.settled") is None


async def test_the_history_of_a_row_of_which_a_write_waits_stays_whole(world):
    row = await written(world)
    await ages(world, row)
    await world.admin.execute(
        """INSERT INTO sync.waiting (ticket, site_id, table_name, row_id, tx_id, epoch, n, reason,
                                     schema, quiet, block, stored_at_ms)
           VALUES (gen_random_uuid(), 'SITE_001', 'work_orders', %s, gen_random_uuid(),
                   gen_random_uuid(), 1, 'invalid_value', 1, false, '', 1)""",
        [row.id],
    )
    assert (await forgotten(world))["versions"] == 0


async def test_what_plain_sql_replaced_is_kept_for_as_long_as_the_history(world):
    row = await written(world)
    await ages(world, row)
    await forgotten(world)
    found = await world.rows("SELECT replaced ->> 'notes' FROM sync.overwritten ORDER BY ord")
    assert found == [("0",), ("1",), ("2",)]
    assert (await forgotten(world, HISTORY))["overwritten"] == 0
    await world.admin.execute("UPDATE sync.overwritten SET at_ms = 0")
    assert (await forgotten(world, HISTORY))["overwritten"] == 3


async def test_a_deletion_that_its_site_has_passed_is_forgotten_with_its_row(world):
    row = await written(world)
    other = row.site.order()
    await row.site.writes(row.site.insert("work_orders", other))
    await world.client("DELETE FROM mes.work_orders WHERE id = %s", row.id)
    assert (await forgotten(world))["deletions"] == 0
    await ages(world, row)
    counts = await forgotten(world)
    assert (counts["deletions"], await versions(world, row)) == (1, [])
    assert await world.head(row.id) is None
    assert await world.head(other["id"]) is not None
    assert "notes" in await world.value("SELECT replaced FROM sync.overwritten WHERE op = 'D'")


async def test_a_head_that_is_held_is_left_alone(world):
    row = await written(world)
    await world.client("DELETE FROM mes.work_orders WHERE id = %s", row.id)
    await ages(world, row)
    async with connect(world.url, autocommit=False) as busy:
        await busy.execute("SELECT FROM sync.head FOR UPDATE")
        assert (await forgotten(world))["deletions"] == 0
    assert (await forgotten(world))["deletions"] == 1


async def test_a_long_table_is_gone_through_a_slice_at_a_time(world, monkeypatch):
    monkeypatch.setattr(retention, "VERSIONS_LOOKED_AT", 6)
    row = await written(world)
    for number in range(3):
        other = row.site.order(notes="0")
        await row.site.writes(row.site.insert("work_orders", other))
        await replace(row, id=other["id"]).central(notes=str(number + 1))
    await ages(world, row)
    async with upkeep(world) as connection:
        counts = [(await forget(connection, VERSIONS))["versions"] for _ in range(5)]
    assert sum(counts) == 4 + 3
    assert max(counts) < 7
    assert counts[-1] == 0


async def test_zero_days_keep_for_ever(world):
    row = await written(world)
    await ages(world, row)
    assert await forgotten(world, FOREVER) == {"answers": 0}
    assert len(await versions(world, row)) == 5


# --- history --------------------------------------------------------------------------------------


async def quarrels(world: World) -> Row:
    """Return a row with a conflict that a policy decided, and one that a person has to."""
    row = await shared_row(world, "nonconformances", ncr_no="NC-1", disposition="REWORK")
    await row.central(disposition="SCRAP", description="there")
    change = row.site.update(
        row.table, row.id, base=row.base, disposition=("REWORK", "USE_AS_IS"),
        description=(None, "here"),
    )  # fmt: skip
    await row.site.apply(row.site.sends(change))
    assert await world.value("SELECT count(*) FROM mes.sync_conflicts") == 2
    assert await world.value("SELECT count(*) FROM mes.sync_reviews") == 1
    return row


async def test_history_is_kept_for_its_time_and_what_is_open_longer(world):
    await quarrels(world)
    assert sum((await forgotten(world, HISTORY)).values()) == 0
    short = Kept(version_days=0, history_days=1e-9)
    counts = await forgotten(world, short)
    assert (counts["sync_conflicts"], counts["sync_reviews"]) == (1, 0)
    assert await world.value("SELECT count(*) FROM mes.sync_conflicts WHERE review_id IS NULL") == 0
    await world.client("UPDATE mes.sync_reviews SET state = 'RESOLVED', decided_at = now()")
    counts = await forgotten(world, short)
    assert (counts["sync_conflicts"], counts["sync_reviews"]) == (1, 1)


async def test_forgotten_history_leaves_its_site_as_well(world):
    await quarrels(world)
    await world.admin.execute("DELETE FROM sync.touched")
    await forgotten(world, Kept(version_days=0, history_days=1e-9))
    told = await world.rows(
        """SELECT n.name, h.deleted, t.scopes FROM sync.touched AS t
           JOIN sync.table_no AS n ON n.no = t.table_no
           JOIN sync.head AS h ON h.site_id = t.site_id AND h.id = t.row_id"""
    )
    assert told == [("sync_conflicts", True, [SITE])]


async def test_only_parked_rows_that_are_settled_are_forgotten(world):
    site = world.site()
    bad = site.order(priority=-5)
    await site.apply(site.sends(site.insert("work_orders", bad)))
    assert len(await world.parked()) == 1
    short = Kept(version_days=0, history_days=1e-9)
    assert (await forgotten(world, short))["sync_parked"] == 0
    await world.admin.execute("UPDATE mes.sync_parked SET state = 'discarded'")
    assert (await forgotten(world, short))["sync_parked"] == 1
    assert await world.parked() == []

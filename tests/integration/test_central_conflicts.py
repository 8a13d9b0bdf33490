"""Both ends wrote the same row: each policy through the whole apply, with its history."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central.roles import as_role
from tests.integration.apply_world import CREATED, NOON_MS, Site, World, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from central.store import RunOutcome
    from shared.changes import Value


@pytest.fixture
async def world(centre: str) -> AsyncIterator[World]:
    async with open_world(centre) as opened:
        yield opened


@dataclass
class Row:
    """A row that both ends have, and that the centre then writes alone."""

    world: World
    site: Site
    table: str
    id: str
    base: str

    async def central(self, **values: Value) -> None:
        """Write at the centre, as a program there does."""
        sets = ", ".join(f"{name} = %s" for name in values)
        statement = f"UPDATE mes.{self.table} SET {sets} WHERE id = %s"
        await self.world.client(statement, *values.values(), self.id)

    async def here(self, at_ms: int | None = None, **changes: tuple[Value, Value]) -> RunOutcome:
        """Write at the site on what stood before the centre's write, and apply it."""
        change = self.site.update(self.table, self.id, base=self.base, **changes)
        if at_ms is not None:
            change.at = [at_ms]
        return await self.site.apply(self.site.sends(change, stored_at_ms=2 * NOON_MS))

    async def holds(self, *names: str) -> tuple[Any, ...]:
        columns = ", ".join(f"{name}::text" for name in names)
        return await self.world.one(
            f"SELECT {columns} FROM mes.{self.table} WHERE id = %s", self.id
        )


async def shared_row(world: World, table: str, **values: Value) -> Row:
    site = world.site()
    row_id = str(uuid.uuid4())
    base = await site.writes(site.insert(table, {"id": row_id, **values}))
    return Row(world, site, table, row_id, base)


async def an_order(world: World, **values: Value) -> Row:
    return await shared_row(world, "work_orders", order_no="WO-1", **values)


#: A time long before and one long after anything the centre writes in these tests.
EARLY_MS, LATE_MS = 1_000_000_000_000, int(1.5 * NOON_MS)


# --- last_write ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_ms", "stands", "verdict"), [(EARLY_MS, "centre", "central"), (LATE_MS, "site", "here")]
)
async def test_of_two_notes_the_later_clock_stands_and_both_are_kept(
    world: World, at_ms: int, stands: str, verdict: str
) -> None:
    row = await an_order(world, notes="both")
    await row.central(notes="centre")
    outcome = await row.here(at_ms, notes=("both", "site"), changed_by=(None, "ann"))
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("notes") == (stands,)
    kept = await world.one(
        "SELECT base_value::jsonb, here_value::jsonb, central_value::jsonb, result_value::jsonb,"
        " verdict, here_site, central_site, here_writer, central_writer, here_at IS NOT NULL,"
        " central_at IS NOT NULL, base_version::text, row_id::text FROM mes.sync_conflicts"
    )
    assert kept == (
        {"notes": "both"}, {"notes": "site"}, {"notes": "centre"}, {"notes": stands},
        verdict, "SITE_001", "*", "ann", "planner", True, True, row.base, row.id,
    )  # fmt: skip


async def test_a_merged_version_has_an_id_of_its_own_and_goes_to_the_site(world: World) -> None:
    row = await an_order(world, notes="both")
    await row.central(notes="centre")
    await world.admin.execute(b"DELETE FROM sync.touched")
    await row.here(LATE_MS, notes=("both", "site"))
    sent = await world.value(
        "SELECT tx_id::text FROM sync.applied ORDER BY applied_at DESC, n DESC LIMIT 1"
    )
    assert await world.head(row.id) not in {sent, row.base}
    told = await world.rows(
        "SELECT n.name, t.scopes FROM sync.touched t JOIN sync.table_no n ON n.no = t.table_no"
        " ORDER BY 1"
    )
    assert told == [("sync_conflicts", ["SITE_001"]), ("work_orders", ["SITE_001"])]


# --- central, site, sum, max, min, sets -----------------------------------------------------------


async def test_the_due_date_of_the_centre_stands(world: World) -> None:
    row = await an_order(world, priority=50)
    await row.central(priority=70)
    outcome = await row.here(LATE_MS, priority=(50, 60))
    assert (await row.holds("priority"), outcome.conflicts) == (("70",), {"central": 1})


async def test_the_line_that_the_site_assigned_stands(world: World) -> None:
    row = await an_order(world, assigned_line="L1")
    await row.central(assigned_line="L2")
    outcome = await row.here(EARLY_MS, assigned_line=("L1", "L3"))
    assert (await row.holds("assigned_line"), outcome.conflicts) == (("L3",), {"site": 1})


async def test_both_counts_count_exactly_once(world: World) -> None:
    row = await shared_row(world, "equipment", equipment_code="E1", cycle_count=5)
    await row.central(cycle_count=7)
    outcome = await row.here(cycle_count=(5, 7))
    assert (await row.holds("cycle_count"), outcome.conflicts) == (("9",), {"sum": 1})


async def test_the_larger_severity_stands_whoever_wrote_it(world: World) -> None:
    row = await shared_row(world, "quality_alerts", alert_type="x", severity=1)
    await row.central(severity=4)
    outcome = await row.here(LATE_MS, severity=(1, 2))
    assert (await row.holds("severity"), outcome.conflicts) == (("4",), {"max": 1})


async def test_the_first_to_start_an_order_stays_its_start(world: World) -> None:
    row = await an_order(world)
    await row.central(actual_start="2026-11-20T10:00:00Z")
    early = "2026-11-20T09:00:00.000Z"
    outcome = await row.here(actual_start=(None, early))
    assert (await row.holds("actual_start"), outcome.conflicts) == (
        ("2026-11-20 09:00:00+00",),
        {"min": 1},
    )


async def test_a_late_release_never_reopens_a_finished_order(world: World) -> None:
    row = await an_order(world, exec_state="CREATED")
    await row.central(exec_state="COMPLETED")
    outcome = await row.here(LATE_MS, exec_state=("CREATED", "RELEASED"))
    assert (await row.holds("exec_state"), outcome.conflicts) == (("COMPLETED",), {"lattice": 1})


async def test_a_removal_from_a_set_removes_only_what_it_saw(world: World) -> None:
    row = await shared_row(world, "equipment", equipment_code="E1", tags='["a","b"]')
    await row.central(tags='["a","b","c"]')
    outcome = await row.here(tags=('["a","b"]', '["b","d"]'))
    assert (await row.holds("tags"), outcome.conflicts) == (
        ('["b","c","d"]',),
        {"add_remove_set": 1},
    )


async def test_two_dispositions_wait_for_a_person_and_the_site_runs_on(world: World) -> None:
    row = await shared_row(world, "nonconformances", ncr_no="N1")
    await row.central(disposition="SCRAP")
    outcome = await row.here(disposition=(None, "USE_AS_IS"))
    assert outcome.conflicts == {"review": 1}
    assert await row.holds("disposition") == ("USE_AS_IS",)
    item = await world.one(
        "SELECT r.state, r.here_value::jsonb, r.central_value::jsonb, r.shown_value::jsonb,"
        " r.conflict_id = c.id, c.review_id = r.id, c.verdict"
        " FROM mes.sync_reviews r, mes.sync_conflicts c"
    )
    assert item == (
        "OPEN", {"disposition": "USE_AS_IS"}, {"disposition": "SCRAP"},
        {"disposition": "USE_AS_IS"}, True, True, "review",
    )  # fmt: skip


async def test_the_decision_on_a_review_is_a_write_like_any_other(world: World) -> None:
    row = await shared_row(world, "nonconformances", ncr_no="N1")
    await row.central(disposition="SCRAP")
    await row.here(disposition=(None, "USE_AS_IS"))
    review, version = await world.one(
        "SELECT r.id::text, h.version::text FROM mes.sync_reviews r JOIN sync.head h ON h.id = r.id"
    )
    created = await world.value(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        " FROM mes.sync_reviews"
    )
    site = row.site
    await site.writes(
        site.update(
            "sync_reviews", review, base=version, created=created,
            state=("OPEN", "RESOLVED"), take=(None, "central"),
        )
    )  # fmt: skip
    assert await world.one("SELECT state, take FROM mes.sync_reviews") == ("RESOLVED", "central")


# --- what is no conflict -------------------------------------------------------------------------


async def test_different_columns_of_one_row_merge_without_a_conflict(world: World) -> None:
    row = await an_order(world, notes="a", customer_comment="a")
    await row.central(customer_comment="centre")
    outcome = await row.here(notes=("a", "site"))
    assert (outcome.conflicts, outcome.parked) == ({}, 0)
    assert await row.holds("notes", "customer_comment") == ("site", "centre")


async def test_equal_values_at_both_ends_leave_no_record(world: World) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="same")
    outcome = await row.here(notes=("a", "same"))
    assert (outcome.conflicts, await row.holds("notes")) == ({}, ("same",))


async def test_a_write_on_a_merged_version_is_clean_once_the_site_has_seen_it(
    world: World,
) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="centre")
    await row.here(EARLY_MS, notes=("a", "site"))
    row.base = str(await world.head(row.id))
    outcome = await row.here(EARLY_MS, notes=("centre", "seen"))
    assert (outcome.conflicts, await row.holds("notes")) == ({}, ("seen",))


async def test_later_own_writes_on_a_contested_row_are_judged_by_what_they_saw(
    world: World,
) -> None:
    row = await an_order(world, notes="a", assigned_line="L1")
    await row.central(notes="centre")
    site = row.site
    first = site.sends(site.update("work_orders", row.id, base=row.base, notes=("a", "b")))
    second = site.sends(
        site.update(
            "work_orders", row.id, base=row.base, after=first.tx_id, assigned_line=("L1", "L2")
        )
    )
    outcome = await site.apply(first, second)
    # The line was the site's own business; only the notes were contested.
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("assigned_line") == ("L2",)


async def test_an_unknown_base_puts_every_column_in_conflict(world: World) -> None:
    row = await an_order(world, notes="a")
    row.base = str(uuid.uuid4())
    outcome = await row.here(EARLY_MS, notes=("x", "site"))
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("notes") == ("a",)


# --- deletions -----------------------------------------------------------------------------------


async def test_an_edit_of_what_the_centre_deleted_does_not_bring_it_back(world: World) -> None:
    row = await an_order(world, notes="a")
    await world.client("DELETE FROM mes.work_orders WHERE id = %s", row.id)
    outcome = await row.here(LATE_MS, notes=("a", "site"))
    assert outcome.conflicts == {"delete": 1}
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 0
    found = "SELECT here_value::jsonb, central_value->>'notes' FROM mes.sync_conflicts"
    kept = await world.one(found)
    assert kept == ({"notes": "site"}, "a")


async def test_a_deletion_of_what_the_centre_edited_wins_and_history_keeps_the_row(
    world: World,
) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="centre")
    site = row.site
    outcome = await site.apply(site.sends(site.delete("work_orders", row.id, base=row.base)))
    assert outcome.conflicts == {"delete": 1}
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 0
    assert await world.value("SELECT central_value->>'notes' FROM mes.sync_conflicts") == "centre"
    assert await world.value("SELECT deleted FROM sync.head WHERE id = %s", row.id) is True


async def test_a_deletion_against_an_edit_under_review_waits_for_a_person(world: World) -> None:
    row = await shared_row(world, "nonconformances", ncr_no="N1")
    await row.central(disposition="SCRAP")
    site = row.site
    outcome = await site.apply(site.sends(site.delete("nonconformances", row.id, base=row.base)))
    assert outcome.conflicts == {"delete": 1}
    assert await row.holds("disposition") == ("SCRAP",)
    assert await world.value("SELECT count(*) FROM mes.sync_reviews") == 1


async def test_an_edit_under_review_brings_a_deleted_row_back(world: World) -> None:
    row = await shared_row(world, "nonconformances", ncr_no="N1", description="bad")
    await world.client("DELETE FROM mes.nonconformances WHERE id = %s", row.id)
    outcome = await row.here(disposition=(None, "REWORK"))
    assert outcome.parked == 0
    assert await row.holds("ncr_no", "description", "disposition") == ("N1", "bad", "REWORK")
    assert await world.value("SELECT count(*) FROM mes.sync_reviews") == 1
    # It holds its natural key again.
    assert await world.value("SELECT count(*) FROM sync.row_key WHERE id = %s", row.id) == 1


async def test_two_deletions_are_one_and_no_conflict(world: World) -> None:
    row = await an_order(world)
    await world.client("DELETE FROM mes.work_orders WHERE id = %s", row.id)
    site = row.site
    outcome = await site.apply(site.sends(site.delete("work_orders", row.id, base=row.base)))
    assert (outcome.conflicts, outcome.parked) == ({}, 0)


# --- lattices ------------------------------------------------------------------------------------


async def a_lot(world: World) -> Row:
    return await shared_row(world, "material_lots", lot_no="L1", quality_status="QUARANTINED")


async def test_a_lattice_does_not_go_back_even_where_nobody_else_wrote(world: World) -> None:
    row = await a_lot(world)
    outcome = await row.here(quality_status=("QUARANTINED", "RELEASED"))
    assert outcome.conflicts == {"lattice": 1}
    assert await row.holds("quality_status") == ("QUARANTINED",)
    assert await world.value("SELECT verdict FROM mes.sync_conflicts") == "kept"


async def test_a_signed_release_lets_a_lot_go_back_once(world: World) -> None:
    row = await a_lot(world)
    site = row.site
    release = {
        "id": str(uuid.uuid4()), "lot_id": row.id, "from_state": "QUARANTINED",
        "to_state": "RELEASED", "reason": "tested", "signed_by": "qa", "signed_at": CREATED,
    }  # fmt: skip
    step = {"quality_status": ("QUARANTINED", "RELEASED")}
    # In one transaction: the release is there before the update that it allows.
    await site.writes(
        site.update("material_lots", row.id, base=row.base, **step),
        site.insert("lot_releases", release),
    )
    assert await row.holds("quality_status") == ("RELEASED",)
    released = await world.head(row.id)
    again = await site.writes(
        site.update(
            "material_lots", row.id, base=released, quality_status=("RELEASED", "QUARANTINED")
        )
    )
    row.base = again
    outcome = await row.here(**step)
    assert (outcome.conflicts, await row.holds("quality_status")) == (
        {"lattice": 1},
        ("QUARANTINED",),
    )


async def test_a_recall_and_a_release_at_the_same_moment_end_blocked(world: World) -> None:
    row = await shared_row(world, "material_lots", lot_no="L1", quality_status="PENDING")
    await row.central(quality_status="QUARANTINED")
    await row.here(LATE_MS, quality_status=("PENDING", "RELEASED"))
    assert await row.holds("quality_status") == ("QUARANTINED",)


# --- at the same moment --------------------------------------------------------------------------


async def test_a_central_write_between_read_and_write_is_a_conflict_not_an_overwrite(
    world: World,
) -> None:
    row = await an_order(world, notes="a")
    async with await psycopg.AsyncConnection.connect(as_role(world.url, "mes_app")) as program:
        await program.execute(b"SELECT set_config('app.current_site_id', 'SITE_001', true)")
        await program.execute(
            b"UPDATE mes.work_orders SET notes = 'centre' WHERE id = %s", [row.id]
        )
        # The ingest comes while the program has not committed: it waits for the head.
        applying = asyncio.create_task(row.here(LATE_MS, notes=("a", "site")))
        await waits_for_a_lock(world)
        await program.commit()
    outcome = await applying
    assert outcome.conflicts == {"last_write": 1}
    kept = await world.one(
        "SELECT central_value->>'notes', here_value->>'notes' FROM mes.sync_conflicts"
    )
    assert kept == ("centre", "site")
    assert await row.holds("notes") == ("site",)


async def test_the_ingest_gives_way_in_a_deadlock_and_tries_again(world: World) -> None:
    held = await an_order(world, notes="a")
    site = held.site
    other = site.order(notes="a")
    base = await site.writes(site.insert("work_orders", other))
    note = b"UPDATE mes.work_orders SET notes = 'centre' WHERE id = %s"
    async with await psycopg.AsyncConnection.connect(as_role(world.url, "mes_app")) as program:
        await program.execute(b"SELECT set_config('app.current_site_id', 'SITE_001', true)")
        await program.execute(note, [held.id])
        # Deletions go first: the ingest has the other row when it comes to the one that is held.
        sent = [
            site.sends(site.delete("work_orders", str(other["id"]), base=base)),
            site.sends(site.update("work_orders", held.id, base=held.base, notes=("a", "site"))),
        ]
        applying = asyncio.create_task(site.apply(*sent))
        await waits_for_a_lock(world)
        await program.execute(note, [other["id"]])
        await program.commit()
    outcome = await applying
    assert (outcome.parked, outcome.conflicts) == (0, {"last_write": 1, "delete": 1})


async def waits_for_a_lock(world: World) -> None:
    waiting = (
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while not await world.rows(waiting):  # noqa: ASYNC110 - PostgreSQL rings no bell for this
            await asyncio.sleep(0.02)


# --- natural keys --------------------------------------------------------------------------------


async def test_a_number_that_another_row_has_is_parked_and_both_are_kept(world: World) -> None:
    await world.month("work_orders")
    await world.client(
        "INSERT INTO mes.work_orders (created_at, order_no) VALUES (%s, 'WO-1')", CREATED
    )
    site = world.site()
    orders = [site.order(order_no="WO-1"), site.order(), site.order()]
    outcome = await site.apply(site.sends(site.insert("work_orders", *orders)))
    assert (outcome.rows, outcome.parked) == (2, 1)
    ((reason, state, _, row_id, message),) = await world.parked()
    assert (reason, state, row_id) == ("key_taken", "parked", orders[0]["id"])
    assert 'order_no "WO-1" is taken' in message
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 3


async def test_rows_of_one_transaction_hand_a_number_on(world: World) -> None:
    site = world.site()
    old, new = site.order(order_no="WO-1"), site.order(order_no="WO-1")
    base = await site.writes(site.insert("work_orders", old))
    await site.writes(
        site.insert("work_orders", new), site.delete("work_orders", str(old["id"]), base=base)
    )
    assert await world.rows("SELECT id::text FROM mes.work_orders") == [(new["id"],)]
    assert await world.rows("SELECT id::text FROM sync.row_key") == [(new["id"],)]


async def test_two_rows_swap_their_numbers(world: World) -> None:
    site = world.site()
    one, two = site.order(order_no="A"), site.order(order_no="B")
    base = await site.writes(site.insert("work_orders", one, two))
    await site.writes(
        site.update("work_orders", str(one["id"]), base=base, order_no=("A", "B")),
        site.update("work_orders", str(two["id"]), base=base, order_no=("B", "A")),
    )
    found = dict(await world.rows("SELECT id::text, order_no FROM mes.work_orders"))
    assert found == {one["id"]: "B", two["id"]: "A"}
    assert await world.value("SELECT count(*) FROM sync.row_key") == 2


async def test_a_replay_makes_the_same_conflict_rows(world: World) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="centre")
    site = row.site
    sent = site.sends(site.update("work_orders", row.id, base=row.base, notes=("a", "site")))
    await site.apply(sent)
    ids = await world.rows("SELECT id FROM mes.sync_conflicts")
    # As after a restore: the transaction is not known any more, its conflict came back by an edge.
    await world.admin.execute(b"DELETE FROM sync.applied")
    await world.admin.execute(
        b"UPDATE sync.epoch SET last_n = %s, last_hash = %s", [sent.n - 1, sent.previous]
    )
    await site.apply(sent)
    assert await world.rows("SELECT id FROM mes.sync_conflicts") == ids

"""Both ends wrote the same row: deletions, lattices, natural keys, and the same moment."""

from __future__ import annotations

import asyncio
import json
import uuid

import psycopg
import pytest

from central.roles import as_role
from central.store.fixed import fixed
from tests.integration.apply_world import (  # noqa: F401, the fixtures among them
    CREATED,
    LATE_MS,
    Row,
    World,
    an_order,
    shared_row,
    world,
)

# --- what is read ---------------------------------------------------------------------------------


async def test_of_a_row_whose_base_is_unknown_no_history_is_read(world: World) -> None:
    row = await an_order(world, notes="a")
    for note in ("b", "c", "d"):
        await row.central(notes=note)
    given = {
        "site": "SITE_001",
        "table_no": await world.value("SELECT no FROM sync.table_no WHERE name = 'work_orders'"),
        "ids": [row.id],
    }
    rows = {}
    for base in (row.base, str(uuid.uuid4()), None):
        cursor = await world.admin.execute(fixed("read_versions"), given | {"bases": [base]})
        rows[base] = [found[:3] for found in await cursor.fetchall()]
    assert [len(found) for found in rows.values()] == [3, 1, 4]
    ((_, unknown, version),) = list(rows.values())[1]
    assert (unknown, version) == (True, None)


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


# --- JSON that jsonb refuses ---------------------------------------------------------------------

JSON_NOT_JSONB = pytest.mark.parametrize("routing", ['{"a":"\\u0000"}', '{"a":1e999999}'])


@JSON_NOT_JSONB
async def test_an_order_with_json_that_jsonb_refuses_is_deleted_by_its_site(
    world: World, routing: str
) -> None:
    row = await an_order(world, routing=routing)
    await row.site.writes(row.site.delete("work_orders", row.id, base=row.base))
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 0
    kept = "SELECT replaced->>'routing' FROM sync.version WHERE op = 'D'"
    assert await world.value(kept) == routing


@JSON_NOT_JSONB
async def test_a_deletion_against_an_edit_keeps_json_that_jsonb_refuses(
    world: World, routing: str
) -> None:
    row = await an_order(world, routing=routing)
    await row.central(notes="centre")
    site = row.site
    outcome = await site.apply(site.sends(site.delete("work_orders", row.id, base=row.base)))
    assert (outcome.conflicts, outcome.parked) == ({"delete": 1}, 0)
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 0


@JSON_NOT_JSONB
async def test_an_edit_of_json_that_the_centre_deleted_records_it_to_the_letter(
    world: World, routing: str
) -> None:
    row = await an_order(world, routing=routing)
    await row.central(routing='{"a":"\\u0000", "b":1}')
    await row.central(routing=routing)
    await world.client("DELETE FROM mes.work_orders WHERE id = %s", row.id)
    outcome = await row.here(LATE_MS, notes=(None, "site"))
    assert (outcome.conflicts, outcome.parked) == ({"delete": 1}, 0)
    kept = await world.value("SELECT central_value::text FROM mes.sync_conflicts")
    assert json.loads(kept)["routing"] == routing

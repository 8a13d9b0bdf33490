"""One run, one PostgreSQL transaction: what the sites sent, in order, each once."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.roles import as_role
from central.store import CentralStore
from shared.changes import GENESIS, ChangeBlock, Op, Position
from shared.errors import LeaseLost, MalformedMessage, StoreBusy, WrongSite
from sync.protocol import Verdict
from tests.integration.apply_world import world  # noqa: F401

if TYPE_CHECKING:
    from tests.integration.apply_world import World


async def test_a_new_order_and_its_report_stand_at_the_centre(world: World) -> None:
    site = world.site()
    order = site.order(notes="first")
    sent = site.sends(
        site.insert("work_orders", order),
        site.insert("job_responses", site.report(work_order_id=order["id"])),
    )
    outcome = await site.apply(sent)
    assert outcome.verdict is Verdict.APPLY
    assert outcome.rows == 2
    assert outcome.position == Position(1, sent.hash)
    assert await world.head(str(order["id"])) == sent.tx_id
    assert await world.value("SELECT notes FROM mes.work_orders") == "first"
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    assert await world.parked() == []


async def test_an_update_of_what_the_writer_saw_becomes_the_head_and_is_not_echoed(
    world: World,
) -> None:
    site = world.site()
    order = site.order(notes="a")
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    later = await site.writes(
        site.update("work_orders", row_id, base=base, notes=("a", "b"), changed_by=(None, "ann"))
    )
    assert await world.head(row_id) == later
    assert await world.one("SELECT notes, changed_by FROM mes.work_orders") == ("b", "ann")
    assert await world.value("SELECT count(*) FROM sync.touched") == 0
    version = await world.one(
        "SELECT op::text, origin, writer, at_ms FROM sync.version WHERE version = %s", later
    )
    assert version == ("U", "SITE_001", "ann", site.at_ms)


async def test_a_chain_of_undecided_writes_is_not_in_conflict_with_itself(world: World) -> None:
    site = world.site()
    order = site.order(notes="0")
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    run, after = [], None
    for n in range(5):
        change = site.update(
            "work_orders", row_id, base=base, after=after, notes=(str(n), str(n + 1))
        )
        run.append(site.sends(change))
        after = run[-1].tx_id
    outcome = await site.apply(*run)
    assert (outcome.rows, outcome.conflicts, outcome.parked) == (5, {}, 0)
    assert await world.head(row_id) == after
    assert await world.value("SELECT notes FROM mes.work_orders") == "5"
    assert await world.value("SELECT count(*) FROM sync.touched") == 0


async def test_an_insert_and_its_undecided_updates_apply_in_one_run(world: World) -> None:
    site = world.site()
    order = site.order(notes="0")
    row_id = str(order["id"])
    first = site.sends(site.insert("work_orders", order))
    second = site.sends(
        site.update("work_orders", row_id, base=None, after=first.tx_id, notes=("0", "1"))
    )
    third = site.sends(site.delete("work_orders", row_id, base=None, after=second.tx_id))
    outcome = await site.apply(first, second, third)
    assert (outcome.rows, outcome.conflicts, outcome.parked) == (3, {}, 0)
    assert await world.one("SELECT version::text, deleted FROM sync.head") == (third.tx_id, True)
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 0
    kept = await world.value("SELECT replaced->>'notes' FROM sync.version WHERE op = 'D'")
    assert kept == "1"


async def test_a_deleted_row_may_be_inserted_again_and_updated(world: World) -> None:
    site = world.site()
    order = site.order(notes="0")
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    gone = await site.writes(site.delete("work_orders", row_id, base=base))
    again = site.insert("work_orders", {**order, "notes": "new"})
    again.base = [gone]
    back = site.sends(again)
    outcome = await site.apply(back)
    assert (outcome.conflicts, outcome.parked) == ({}, 0)
    head = await world.head(row_id)
    await site.writes(site.update("work_orders", row_id, base=head, notes=("new", "newer")))
    assert await world.value("SELECT notes FROM mes.work_orders") == "newer"
    assert await world.value("SELECT deleted FROM sync.head") is False


async def test_the_same_batch_delivered_twice_has_one_effect(world: World) -> None:
    site = world.site()
    sent = site.sends(site.insert("job_responses", site.report(), site.report()))
    first = await site.apply(sent)
    second = await site.apply(sent)
    assert (first.rows, first.skipped) == (2, 0)
    assert (second.rows, second.skipped, second.verdict) == (0, 1, Verdict.APPLY)
    assert second.position == first.position
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 2


async def test_a_missing_transaction_answers_gap_and_what_was_before_it_stands(
    world: World,
) -> None:
    site = world.site()
    first = site.sends(site.insert("job_responses", site.report()))
    site.sends(site.insert("job_responses", site.report()))
    third = site.sends(site.insert("job_responses", site.report()))
    outcome = await site.apply(first, third)
    assert outcome.verdict is Verdict.GAP
    assert outcome.position == Position(1, first.hash)
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_a_chain_must_begin_with_its_first_transaction(world: World) -> None:
    site = world.site()
    site.sends(site.insert("job_responses", site.report()))
    outcome = await site.apply(site.sends(site.insert("job_responses", site.report())))
    assert (outcome.verdict, outcome.position) == (Verdict.GAP, Position(0, GENESIS))
    assert await world.store.position("SITE_001", site.epoch) is None


async def test_another_history_under_a_known_number_is_a_fork_and_no_stop(world: World) -> None:
    site = world.site()
    await site.apply(site.sends(site.insert("job_responses", site.report())))
    clone = replace(site, n=0, hash=GENESIS)
    outcome = await clone.apply(clone.sends(clone.insert("job_responses", clone.report())))
    assert (outcome.verdict, outcome.is_stopped) == (Verdict.FORK, False)
    # The handshake says who goes on how; what fits our history does.
    later = await site.apply(site.sends(site.insert("job_responses", site.report())))
    assert (later.verdict, later.rows) == (Verdict.APPLY, 1)


async def test_nothing_is_applied_of_a_site_that_a_person_has_to_look_at(world: World) -> None:
    site = world.site()
    await world.admin.execute(b"UPDATE sync.site SET stopped_because = 'two stores'")
    outcome = await site.apply(site.sends(site.insert("job_responses", site.report())))
    assert (outcome.verdict, outcome.is_stopped, outcome.rows) == (Verdict.FORK, True, 0)


async def test_a_second_epoch_that_nobody_opened_is_a_fork(world: World) -> None:
    site = world.site()
    await site.apply(site.sends(site.insert("job_responses", site.report())))
    other = world.site()
    outcome = await other.apply(other.sends(other.insert("job_responses", other.report())))
    assert outcome.verdict is Verdict.FORK


async def test_a_transaction_moved_to_a_new_epoch_has_no_second_effect(world: World) -> None:
    site = world.site()
    first = site.sends(site.insert("job_responses", site.report()))
    await site.apply(first)
    moved = world.site()
    await world.admin.execute(
        b"INSERT INTO sync.epoch (site, epoch) VALUES ('SITE_001', %s)", [moved.epoch]
    )
    outcome = await moved.apply(moved.sends(*first.blocks, tx_id=first.tx_id))
    assert (outcome.verdict, outcome.rows, outcome.skipped) == (Verdict.APPLY, 0, 1)
    assert outcome.position.n == 1
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_stragglers_beyond_the_closing_of_an_epoch_are_fenced(world: World) -> None:
    site = world.site()
    await site.apply(site.sends(site.insert("job_responses", site.report())))
    await world.admin.execute(b"UPDATE sync.epoch SET closed_at_n = 1")
    outcome = await site.apply(site.sends(site.insert("job_responses", site.report())))
    assert (outcome.verdict, outcome.skipped, outcome.position.n) == (Verdict.APPLY, 1, 1)
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_a_worker_without_the_lease_applies_nothing(world: World) -> None:
    site = world.site()
    world.leases["SITE_001"] = replace(world.leases["SITE_001"], token=99)
    with pytest.raises(LeaseLost):
        await site.apply(site.sends(site.insert("job_responses", site.report())))
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 0


async def test_a_site_that_is_not_registered_is_refused_with_the_next_step(world: World) -> None:
    stranger = world.site("SITE_999")
    world.leases["SITE_999"] = replace(world.leases["SITE_001"], site="SITE_999")
    with pytest.raises(WrongSite, match="mes-central sites add SITE_999"):
        await stranger.apply(stranger.sends(stranger.insert("holds", {})))


async def test_a_connection_killed_before_the_commit_leaves_nothing_and_is_made_anew(
    world: World,
) -> None:
    site = world.site()
    order = site.order()
    sent = site.sends(
        site.insert("work_orders", order),
        site.insert("job_responses", site.report(work_order_id=order["id"])),
    )
    # Somebody holds a row that the apply needs at its end, so that it can be killed in the middle.
    await world.admin.execute(
        b"INSERT INTO sync.applied (tx_id, site, epoch, n, hash)"
        b" VALUES (%s, 'SITE_001', %s, 1, '')",
        [str(uuid.uuid4()), site.epoch],
    )
    async with await psycopg.AsyncConnection.connect(world.url) as blocker:
        await blocker.execute(b"LOCK TABLE sync.applied IN EXCLUSIVE MODE")
        applying = asyncio.create_task(site.apply(sent))
        killed = False
        while not killed:
            await asyncio.sleep(0.05)
            killed = bool(
                await world.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                    " current_database() AND usename = 'postgres' AND wait_event_type = 'Lock'"
                    " AND query LIKE '%%INSERT INTO sync.applied%%'"
                )
            )
        with pytest.raises(psycopg.OperationalError):
            await applying
    for table in ("mes.work_orders", "mes.job_responses", "sync.head", "sync.epoch"):
        assert await world.value(f"SELECT count(*) FROM {table}") == 0
    outcome = await site.apply(sent)
    assert (outcome.rows, outcome.verdict) == (2, Verdict.APPLY)


async def test_a_store_whose_connection_is_gone_says_that_it_may_be_tried_again(
    world: World,
) -> None:
    connection = await psycopg.AsyncConnection.connect(as_role(world.url, "mes_ingest"))
    await connection.close()
    store = CentralStore(connection, world.catalog)
    with pytest.raises(StoreBusy):
        await store.position("SITE_001", str(uuid.uuid4()))


async def test_hours_of_facts_and_of_orders_are_marked_for_the_reports(world: World) -> None:
    site = world.site()
    await site.writes(
        site.insert("job_responses", site.report(), created="2026-11-20T08:59:59.999Z"),
        site.insert("job_responses", site.report(), created="2026-11-20T09:00:00.000Z"),
        site.insert("work_orders", site.order(), created="2026-10-01T00:10:00.000Z"),
    )
    marks = await world.rows(
        "SELECT table_name, to_char(hour AT TIME ZONE 'UTC', 'MM-DD HH24') FROM sync.rollup_mark"
        " ORDER BY 1, 2"
    )
    assert marks == [
        ("job_responses", "11-20 08"),
        ("job_responses", "11-20 09"),
        ("work_orders", "10-01 00"),
    ]


async def test_a_late_row_of_an_old_month_gets_its_partition(world: World) -> None:
    site = world.site()
    order = site.order()
    await site.writes(
        site.insert("work_orders", order, created="2012-01-02T03:04:05.678Z"),
        site.insert(
            "job_responses",
            site.report(work_order_id=order["id"]),
            created="2012-02-29T00:00:00.000Z",
        ),
    )
    found = await world.rows("SELECT tableoid::regclass::text FROM mes.job_responses")
    assert found == [("mes.job_responses__site_001__2012_02",)]


async def test_a_run_over_many_months_lands_each_row_in_its_own(world: World) -> None:
    site = world.site()
    blocks, updates = [], []
    for month in range(1, 13):
        created = f"2025-{month:02d}-15T00:00:00.000Z"
        order = site.order(notes="a")
        blocks.append(site.insert("work_orders", order, created=created))
        updates.append((str(order["id"]), created))
    base = await site.writes(*blocks)
    changes = [
        site.update("work_orders", row_id, base=base, created=created, notes=("a", "b"))
        for row_id, created in updates
    ]
    await site.writes(*changes)
    found = await world.rows(
        "SELECT count(DISTINCT tableoid), count(*) FILTER (WHERE notes = 'b') FROM mes.work_orders"
    )
    assert found == [(12, 12)]


async def test_a_row_in_the_share_of_other_sites_is_told_to_them(world: World) -> None:
    site = world.site()
    person = {
        "id": str(uuid.uuid4()),
        "person_no": "T-1",
        "home_site_id": "SITE_001",
        "assigned_sites": '["SITE_002"]',
    }
    base = await site.writes(site.insert("persons", person))
    assert await world.rows("SELECT scopes FROM sync.touched") == [(["SITE_002"],)]
    await world.admin.execute(b"DELETE FROM sync.touched")
    await site.writes(
        site.update(
            "persons",
            str(person["id"]),
            base=base,
            assigned_sites=('["SITE_002"]', '["SITE_003"]'),
        )
    )
    assert await world.rows("SELECT scopes FROM sync.touched") == [(["SITE_002", "SITE_003"],)]


async def test_a_clock_that_is_ahead_is_held_to_the_bound_and_flagged(world: World) -> None:
    site = world.site()
    change = site.insert("work_orders", site.order())
    change.at = [site.at_ms + 3_600_000]
    sent = site.sends(change)
    await site.apply(sent)
    assert await world.one("SELECT at_ms, clamped FROM sync.version") == (
        sent.stored_at_ms + 300_000,
        True,
    )


async def test_the_offset_measured_at_the_last_hello_corrects_the_time_of_a_touch(
    world: World,
) -> None:
    site = world.site(offset_ms=-7_200_000)
    change = site.insert("work_orders", site.order())
    change.at = [site.at_ms + 7_200_000]
    await site.apply(site.sends(change))
    assert await world.one("SELECT at_ms, clamped FROM sync.version") == (site.at_ms - 1000, False)


async def test_a_message_that_nobody_can_read_is_kept_once(world: World) -> None:
    for _ in range(2):
        await world.store.quarantine("SITE_001", b"\x00junk", MalformedMessage("no frame"), 7)
    assert await world.rows("SELECT site, reason, message, payload FROM sync.refused") == [
        ("SITE_001", "MalformedMessage", "no frame", b"\x00junk")
    ]


async def test_transactions_on_different_rows_share_statements_and_keep_their_versions(
    world: World,
) -> None:
    site = world.site()
    orders = [site.order(notes="a") for _ in range(20)]
    base = await site.writes(site.insert("work_orders", *orders))
    run = [
        site.sends(site.update("work_orders", str(o["id"]), base=base, notes=("a", str(n))))
        for n, o in enumerate(orders)
    ]
    outcome = await site.apply(*run)
    assert (outcome.rows, outcome.parked, outcome.conflicts) == (20, 0, {})
    heads = dict(await world.rows("SELECT id::text, version::text FROM sync.head"))
    assert heads == {str(o["id"]): sent.tx_id for o, sent in zip(orders, run, strict=True)}


async def test_an_older_schema_gets_defaults_and_its_renamed_columns_are_found(
    world: World,
) -> None:
    site = world.site(schema=1)
    block = ChangeBlock(
        table="work_orders",
        op=Op.INSERT,
        columns=("order_no", "notes"),
        sites=["SITE_001"],
        created=["2026-11-20T08:00:00.000Z"],
        ids=[str(uuid.uuid4())],
        base=[None],
        after=[None],
        new=[["WO-1"], ["old"]],
    )
    await site.writes(block)
    found = await world.one("SELECT notes, exec_state, priority, due_at FROM mes.work_orders")
    assert found == ("old", "CREATED", 50, None)

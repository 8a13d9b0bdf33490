"""What records tell of facts that were let go of, of restored centres and of whoever tells lies."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from central.store import Teller
from central.store.lives import life_now
from shared.changes import Fate, HeadBlock
from tests.integration.apply_world import world  # noqa: F401

if TYPE_CHECKING:
    from shared.changes import ChangeBlock
    from tests.integration.apply_world import Site, World

SITE = "SITE_001"
AT = "2026-11-20T08:00:00.000Z"
_RECORDS = """SELECT id::text, table_name, row_id::text, tx_id::text, n, content::text, reason,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM mes.sync_parked"""


def tip(ticket: str, created: str, owner: str = SITE, **told: Any) -> HeadBlock:
    """Return a record as a store that has it tells it."""
    values = {
        "table_name": "job_responses", "row_id": str(uuid.uuid4()), "op": "I",
        "reason": "parent_missing", "message": "", "content": "{}", "tx_id": str(uuid.uuid4()),
        "n": 1, "state": "discarded", "parked_at": AT, **told,
    }  # fmt: skip
    return HeadBlock(
        "sync_parked", Fate.PUT, tuple(values), [owner], [created], [ticket],
        [str(uuid.uuid4())], [9], [[value] for value in values.values()],
    )  # fmt: skip


async def records(world: World, state: str) -> list[HeadBlock]:
    """Return all records, as their site has them in another state."""
    return [
        tip(ticket, at, table_name=table, row_id=row_id, tx_id=tx_id, n=n, content=content,
            reason=reason, state=state)
        for ticket, table, row_id, tx_id, n, content, reason, at in await world.rows(_RECORDS)
    ]  # fmt: skip


async def told(world: World, *tips: HeadBlock) -> dict[str, int]:
    await world.admin.execute("DELETE FROM sync.touched")
    return await world.store.take_home(Teller(SITE), await life_now(world.admin), list(tips))


async def discard(world: World) -> None:
    for (ticket,) in await world.rows("SELECT ticket::text FROM sync.waiting"):
        await world.store.discard(ticket, "ann")


async def reports(world: World) -> int:
    return await world.value("SELECT count(*) FROM mes.job_responses")


async def noted(world: World) -> int:
    return await world.value("SELECT count(DISTINCT (table_name, row_id)) FROM sync.let_go")


async def one_waits(world: World) -> tuple[Site, dict[str, Any], ChangeBlock]:
    """Have a report wait for its order."""
    site = world.site()
    order = site.order()
    block = site.insert("job_responses", site.report(work_order_id=order["id"]))
    assert (await site.apply(site.sends(block))).parked == 1
    return site, order, block


async def stays_away(world: World, site: Site, order: dict[str, Any], block: ChangeBlock) -> None:
    await site.writes(site.insert("work_orders", order))
    assert (await site.apply(site.sends(block))).parked == 0
    assert await reports(world) == 0


# --- one fact, several records --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["applied", "waiting", "parked"])
async def test_a_record_that_comes_home_takes_no_person_s_word_back(world, state):
    site, order, block = await one_waits(world)
    others = [replace(each, ids=[str(uuid.uuid4())]) for each in await records(world, state)]
    await discard(world)
    await told(world, *others)
    assert await noted(world) == 1
    await stays_away(world, site, order, block)


@pytest.mark.parametrize("state", ["applied", "waiting", "parked"])
async def test_it_is_discarded_though_another_record_of_it_came_home_before(world, state):
    site, order, block = await one_waits(world)
    await world.admin.execute("UPDATE mes.sync_parked SET state = %s", [state])
    await world.admin.execute("DELETE FROM sync.waiting")
    assert (await site.apply(site.sends(block))).parked == 1
    await discard(world)
    assert await noted(world) == 1
    left = {each for _, each, *_ in await world.parked()}
    assert left == {"discarded", "applied"} - ({"applied"} if state != "applied" else set())
    await stays_away(world, site, order, block)


async def test_one_that_waits_is_not_let_go_of_by_another_s_record(world):
    site, order, _ = await one_waits(world)
    others = [replace(each, ids=[str(uuid.uuid4())]) for each in await records(world, "discarded")]
    await told(world, *others)
    assert await noted(world) == 0
    await site.writes(site.insert("work_orders", order))
    assert await reports(world) == 1


# --- what is the same -----------------------------------------------------------------------------


async def test_one_of_another_site_is_another_one(world):
    """It was sent under a wrong owner, discarded, and mended where it was made."""
    site = world.site()
    report = site.report()
    wrong = site.insert("job_responses", report)
    wrong.sites = ["SITE_002"]
    assert (await site.apply(site.sends(wrong))).parked == 1
    await discard(world)
    assert (await site.apply(site.sends(wrong))).parked == 0
    await site.writes(site.insert("job_responses", report))
    assert await reports(world) == 1


async def test_a_column_more_with_its_default_makes_no_other_fact_of_it(world):
    site, order, block = await one_waits(world)
    at = block.columns.index("is_rework")
    older = replace(
        block, columns=block.columns[:at] + block.columns[at + 1 :],
        new=block.new[:at] + block.new[at + 1 :],
    )  # fmt: skip
    await discard(world)
    await stays_away(world, site, order, older)


async def test_one_whose_id_another_one_has_is_let_go_of_for_itself(world):
    site = world.site()
    report = site.report()
    await site.writes(site.insert("job_responses", report))
    other = site.insert("job_responses", {**report, "qty_good": "9"})
    assert (await site.apply(site.sends(other))).parked == 1
    await discard(world)
    assert (await site.apply(site.sends(other))).parked == 0
    assert await noted(world) == 1


async def test_a_row_of_a_table_with_a_long_name_is_known_again(world):
    site = world.site(schema=world.catalog.version + 1)
    seam = replace(site.insert("holds", {}), table=f"weld_seams_{'x' * 40}")
    assert (await site.apply(site.sends(seam))).parked == 1
    await discard(world)
    assert (await site.apply(site.sends(seam))).parked == 0


# --- a centre that is older than it was -----------------------------------------------------------


@pytest.mark.parametrize("table", ["weld_seams", "job_responses"])
async def test_what_waited_in_the_backup_and_was_applied_since_goes_on_waiting(world, table):
    """It waited for a migration, which the centre lost with all that came of it."""
    site = world.site(schema=world.catalog.version + 1)
    block = replace(site.insert("holds", {}), table="weld_seams")
    if table == "job_responses":
        block = site.insert("job_responses", site.report(shift_code="x" * 30))
    assert (await site.apply(site.sends(block))).parked == 1
    await told(world, *await records(world, "applied"))
    assert await world.rows("SELECT table_name, reason FROM sync.waiting") == [
        (table, "newer_schema")
    ]


async def test_a_row_that_postgresql_refused_is_tried_again_by_another_catalogue(world):
    site = world.site()
    order = site.order(notes="x" * 4001)
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).parked == 1
    await world.admin.execute("UPDATE sync.waiting SET reason = 'database', catalogue = 'before'")
    await world.store.retry_due(SITE)
    assert await world.rows("SELECT reason FROM sync.waiting") == [("invalid_value",)]


# --- lies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [f'{{"a": {"1" * 5000}}}', f'{{"a": {"[" * 3000}{"]" * 3000}}}', '{"a": 1e999}', "[1]", "null",
     '{"created_at": ["x"]}', '{"created_at": "0000-12-31T23:59:59.999Z"}'],
    ids=["digits", "depth", "infinity", "a list", "null", "no instant", "no year"],
)  # fmt: skip
async def test_a_record_of_whatever_content_stops_no_homecoming(world, content):
    site, order, block = await one_waits(world)
    lie = tip(str(uuid.uuid4()), AT, content=content, row_id=block.ids[0])
    assert (await told(world, lie))["rows"] == 1
    await discard(world)
    await stays_away(world, site, order, block)


async def test_a_record_of_nobody_s_stops_no_homecoming(world):
    await told(world, tip(str(uuid.uuid4()), AT, owner="*"))
    assert await noted(world) == 0

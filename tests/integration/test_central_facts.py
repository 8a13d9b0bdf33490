"""Facts at the centre: copied, each once, whatever else the batch holds."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sync.protocol import Verdict
from tests.integration.apply_world import CREATED, World, open_world, world  # noqa: F401

if TYPE_CHECKING:
    from shared.changes import ChangeBlock, Value


REPORTS = "SELECT count(*) FROM mes.job_responses"


async def test_values_of_all_kinds_arrive_to_the_letter(world: World) -> None:
    site = world.site()
    text = 'tab\t newline\n return\r backslash \\ \\N quote " brace {} ünïcödé 🏭 '
    report = site.report(
        scrap_reason=text[:40],
        qty_good="-123456789012.654321",
        duration_s="0",
        duration_known=0,
        is_rework=1,
        business_date="2012-02-29",
        started_at="2012-02-29T23:59:59.999Z",
        source_row=2**53 + 1,
        shift_code="",
    )
    stop = {"equipment_id": report["equipment_id"], "from_at": CREATED, "reason_code": "x"}
    await site.writes(
        site.insert("job_responses", report),
        site.insert("downtime_annotations", {**stop, "comment": text}),
    )
    assert await world.value("SELECT comment FROM mes.downtime_annotations") == text
    found = await world.one(
        "SELECT scrap_reason, trim_scale(qty_good)::text, duration_s::int, duration_known,"
        " is_rework, business_date::text, started_at = '2012-02-29T23:59:59.999Z', source_row,"
        " shift_code, segment_code FROM mes.job_responses"
    )
    assert found == (
        text[:40], "-123456789012.654321", 0, False, True, "2012-02-29", True, 2**53 + 1, "", None,
    )  # fmt: skip


async def test_poison_among_good_facts_is_parked_by_row_with_column_and_rule(
    world: World,
) -> None:
    site = world.site()
    reports = [site.report() for _ in range(50)]
    reports[7] |= {"qty_good": "1e999"}
    reports[13] |= {"report_type": "NONSENSE"}
    reports[21] |= {"report_type": None}
    reports[34] |= {"started_at": "2026-02-30T00:00:00.000Z"}
    reports[40] |= {"uom": "with \x00 in it"}
    outcome = await site.apply(site.sends(site.insert("job_responses", *reports)))
    assert (outcome.verdict, outcome.rows, outcome.parked) == (Verdict.APPLY, 45, 5)
    assert await world.value(REPORTS) == 45
    by_id = {row_id: message for _, _, _, row_id, message in await world.parked()}
    assert "qty_good" in by_id[str(reports[7]["id"])]
    assert "PRODUCTION" in by_id[str(reports[13]["id"])]
    assert "null" in by_id[str(reports[21]["id"])]
    assert "started_at" in by_id[str(reports[34]["id"])]
    assert "uom" in by_id[str(reports[40]["id"])]
    assert {reason for reason, *_ in await world.parked()} == {"invalid_value"}
    # The facts stay where they were made: no head of theirs is sent.
    told = await world.rows(
        "SELECT DISTINCT n.name FROM sync.touched t JOIN sync.table_no n ON n.no = t.table_no"
    )
    assert told == [("sync_parked",)]


async def test_a_fact_that_comes_again_in_another_transaction_is_one_fact(world: World) -> None:
    site = world.site()
    reports = [site.report() for _ in range(3)]
    await site.apply(site.sends(site.insert("job_responses", *reports)))
    more = site.insert("job_responses", *reports, site.report())
    outcome = await site.apply(site.sends(more))
    assert (outcome.parked, await world.value(REPORTS)) == (0, 4)


async def test_the_same_id_with_other_content_is_parked_and_never_overwritten(
    world: World,
) -> None:
    site = world.site()
    report = site.report(qty_good="5")
    await site.writes(site.insert("job_responses", report))
    other = {**report, "qty_good": "6"}
    outcome = await site.apply(
        site.sends(site.insert("job_responses", site.report(), other, site.report()))
    )
    assert (outcome.rows, outcome.parked) == (2, 1)
    ((reason, state, _, row_id, _),) = await world.parked()
    assert (reason, state, row_id) == ("id_taken", "parked", report["id"])
    stands = "SELECT qty_good::int FROM mes.job_responses WHERE id = %s"
    assert await world.value(stands, report["id"]) == 5


async def test_two_facts_under_one_id_in_one_batch_keep_the_first(world: World) -> None:
    site = world.site()
    report = site.report(qty_good="5")
    outcome = await site.apply(
        site.sends(site.insert("job_responses", report, {**report, "qty_good": "6"}))
    )
    assert (await world.value("SELECT qty_good::int FROM mes.job_responses"), outcome.parked) == (
        5,
        1,
    )


async def test_rows_of_another_site_are_parked_and_reach_nobody_else(world: World) -> None:
    site = world.site()
    block = site.insert("job_responses", site.report(), site.report())
    block.sites = ["SITE_001", "SITE_002"]
    outcome = await site.apply(site.sends(block))
    assert (outcome.rows, outcome.parked) == (1, 1)
    ((reason, *_, message),) = await world.parked()
    assert (reason, message) == ("foreign_site", "site SITE_001 sent a row of site SITE_002")
    assert await world.rows("SELECT DISTINCT site_id FROM mes.job_responses") == [("SITE_001",)]
    assert await world.rows("SELECT DISTINCT scopes FROM sync.touched") == [(["SITE_001"],)]


@pytest.mark.parametrize("op", ["U", "D"])
async def test_a_changed_fact_is_refused_and_says_how_it_is_done(world: World, op: str) -> None:
    site = world.site()
    report = site.report(qty_good="5")
    await site.writes(site.insert("job_responses", report))
    row_id = str(report["id"])
    change = (
        site.update("job_responses", row_id, base=None, qty_good=("5", "6"))
        if op == "U"
        else site.delete("job_responses", row_id, base=None)
    )
    await site.apply(site.sends(change))
    ((reason, *_, message),) = await world.parked()
    assert reason == "append_only"
    assert "a correction is a new row" in message
    assert await world.value("SELECT qty_good::int FROM mes.job_responses") == 5


async def test_a_table_of_the_centre_is_not_written_by_a_site(world: World) -> None:
    site = world.site()
    part = {"id": str(uuid.uuid4()), "material_code": "M-1"}
    await site.apply(site.sends(site.insert("material_definitions", part)))
    ((reason, *_),) = await world.parked()
    assert reason == "not_writable"
    assert await world.value("SELECT count(*) FROM mes.material_definitions") == 0


# --- schemas -----------------------------------------------------------------------------------


def with_column(block: ChangeBlock, name: str, *values: Value) -> ChangeBlock:
    return replace(block, columns=(*block.columns, name), new=[*block.new, list(values)])


@pytest.mark.parametrize("more", [0, 1])
async def test_an_unknown_column_is_kept_aside_and_the_rest_applied(
    world: World, more: int
) -> None:
    site = world.site(schema=world.catalog.version + more)
    block = with_column(site.insert("job_responses", site.report()), "tool_wear", "0.5")
    outcome = await site.apply(site.sends(block))
    assert (outcome.rows, outcome.parked) == (1, 0)
    kept = await world.one("SELECT id::text, column_name, value FROM sync.extra")
    assert kept == (block.ids[0], "tool_wear", b"\xa30.5")


async def test_an_unknown_table_waits_whatever_version_its_catalogue_has(world: World) -> None:
    newer, known = world.site(schema=world.catalog.version + 1), world.site("SITE_002")
    for site in (newer, known):
        block = replace(site.insert("job_responses", site.report()), table="weld_seams")
        outcome = await site.apply(site.sends(block))
        assert (outcome.verdict, outcome.parked) == (Verdict.APPLY, 1)
    found = await world.rows("SELECT site_id, reason, state FROM mes.sync_parked ORDER BY site_id")
    assert found == [
        ("SITE_001", "newer_schema", "waiting"),
        ("SITE_002", "newer_schema", "waiting"),
    ]


# --- parents -----------------------------------------------------------------------------------


async def test_a_report_waits_for_its_order_and_is_applied_when_it_comes(world: World) -> None:
    site = world.site()
    order = site.order()
    report = site.report(work_order_id=order["id"])
    early = await site.apply(site.sends(site.insert("job_responses", report, site.report())))
    assert (early.rows, early.parked) == (1, 1)
    ((reason, state, _, row_id, _),) = await world.parked()
    assert (reason, state, row_id) == ("parent_missing", "waiting", report["id"])
    late = await site.apply(site.sends(site.insert("work_orders", order)))
    assert late.rows == 2
    assert await world.value(REPORTS) == 2
    assert await world.value("SELECT state FROM mes.sync_parked") == "applied"
    assert await world.value("SELECT count(*) FROM sync.waiting") == 0


async def test_a_fact_waits_for_a_fact_that_it_belongs_to(world: World) -> None:
    site = world.site()
    result = {"id": str(uuid.uuid4())}
    value = {"id": str(uuid.uuid4()), "result_id": result["id"], "value": "1.5"}
    await site.apply(site.sends(site.insert("measurements", value)))
    assert await world.value("SELECT count(*) FROM mes.measurements") == 0
    await site.apply(site.sends(site.insert("inspection_results", result)))
    assert await world.value("SELECT count(*) FROM mes.measurements") == 1
    # Known from the table itself, too, not only from what this worker remembers.
    async with open_world(world.url) as fresh:
        again = replace(site, world=fresh)
        more = {"id": str(uuid.uuid4()), "result_id": result["id"], "value": "2.5"}
        outcome = await again.apply(again.sends(again.insert("measurements", more)))
        assert (outcome.rows, outcome.parked) == (1, 0)


async def test_a_report_of_an_order_made_at_the_centre_needs_no_waiting(world: World) -> None:
    order_id = str(uuid.uuid4())
    await world.month("work_orders")
    await world.client(
        "INSERT INTO mes.work_orders (id, created_at, order_no) VALUES (%s, %s, 'C-1')",
        order_id,
        CREATED,
    )
    site = world.site()
    outcome = await site.apply(
        site.sends(site.insert("job_responses", site.report(work_order_id=order_id)))
    )
    assert (outcome.rows, outcome.parked) == (1, 0)


@pytest.mark.parametrize("detail", ['{"a":"\\u0000"}', '{"a":1e999999}', '{"b":1,"a":2}'])
async def test_a_fact_with_json_that_jsonb_refuses_comes_twice_and_is_one(
    world: World, detail: str
) -> None:
    site = world.site()
    fact = {"id": str(uuid.uuid4()), "action": "x", "detail": detail}
    await site.writes(site.insert("audit_log", fact))
    outcome = await site.apply(site.sends(site.insert("audit_log", fact)))
    assert (outcome.verdict, outcome.parked) == (Verdict.APPLY, 0)
    other = {**fact, "detail": '{"a":"\\u0001"}'}
    outcome = await site.apply(site.sends(site.insert("audit_log", other)))
    assert [reason for reason, *_ in await world.parked()] == ["id_taken"]
    assert await world.rows("SELECT detail::text FROM mes.audit_log") == [(detail,)]


async def test_rows_of_months_beyond_reason_are_parked_and_make_no_partitions(
    world: World,
) -> None:
    site = world.site()
    made = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'"
    before = await world.value(made)
    months = [f"{year}-{month:02d}" for year in (1000, 1969, 2400) for month in (1, 12)]
    blocks = [
        site.insert("job_responses", site.report(), created=f"{month}-01T00:00:00.000Z")
        for month in months
    ]
    orders = site.insert("work_orders", site.order(), created="2400-01-01T00:00:00.000Z")
    outcome = await site.apply(
        site.sends(*blocks, orders), site.sends(site.insert("job_responses", site.report()))
    )
    assert (outcome.rows, outcome.parked) == (1, len(months) + 1)
    assert {reason for reason, *_ in await world.parked()} == {"invalid_value"}
    messages = {message for *_, message in await world.parked()}
    assert "created_at is in 2400-01; 1970-01 to 2028-11 are kept" in messages
    assert await world.value(made) - before <= 1
    of_order = "SELECT ticket::text FROM sync.waiting WHERE table_name = 'work_orders'"
    ticket = await world.value(of_order)
    assert not await world.store.retry(ticket)
    assert await world.value(made) - before <= 1


async def test_a_month_is_kept_by_when_the_broker_stored_it_not_by_the_clock(world: World) -> None:
    site = world.site()
    facts = site.insert("job_responses", site.report(), created="2026-11-01T00:00:00.000Z")
    outcome = await site.apply(site.sends(facts, stored_at_ms=1_400_000_000_000))  # in 2014
    assert (outcome.rows, outcome.parked) == (0, 1)

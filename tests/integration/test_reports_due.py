"""Orders by their due dates: how far they are, which are late, how many were on time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import changed, made, made_order, rules
from tests.integration.states_world import known_until
from tests.integration.test_reports import in_berlin

__all__ = ["api", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

PAST, FUTURE = "2020-11-02T12:00:00Z", "2099-11-02T12:00:00Z"
DONE = {"exec_state": "COMPLETED"}


@pytest.fixture
async def ask(client):
    """Asks for a report, and returns its rows."""

    async def asked(report: str, **given):
        answer = await client.get(f"/v1/reports/{report}", params=given)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]

    return asked


async def reported(site, order, *, ended: str, good: str, segment: str = "Packing", **more):
    report = site.report(
        work_order_id=order["id"], ended_at=ended, started_at="2020-11-01T00:00:00.000Z",
        qty_good=good, segment_code=segment, **more,
    )  # fmt: skip
    await site.writes(site.insert("job_responses", report, created=ended))


async def output(client, code: str = "Packing", number: str = "P-1") -> str:
    """Make an operation that an order's good quantity is counted at; return its definition."""
    part = await made(client, "/v1/tables/material_definitions/rows", "*", material_code=number)
    definition = await made(
        client, "/v1/tables/operations_definitions/rows", "*", material_id=part["id"]
    )
    for seq, (name, is_output) in enumerate(((code, True), ("Turning", False))):
        step = {"definition_id": definition["id"], "seq": seq, "code": name, "is_output": is_output}
        await made(client, "/v1/tables/operation_segments/rows", "*", **step)
    return definition["id"]


async def test_orders_that_were_due_are_on_time_or_late_and_nothing_unknown_counts(
    client, world, ask
):
    async def order(number, due=PAST, **more):
        return await made_order(client, order_no=number, due_at=due, **more)

    await order("on time", actual_end="2020-11-02T12:00:00Z", **DONE)
    await order("late by 3 h", actual_end="2020-11-02T15:00:00Z", **DONE)
    await order("not yet")
    await order("cancelled", exec_state="RELEASED", cancel_requested=True)
    await order("to be stopped", exec_state="IN_PROGRESS", cancel_requested=True)
    await order("early", FUTURE, actual_end="2020-11-02T15:00:00Z", exec_state="CLOSED")
    await order("to come", FUTURE)
    site = world.site()
    by_report = await order("late by its report", **DONE)
    await reported(site, by_report, ended="2020-11-02T13:00:00.000Z", good="1")
    await order("end unknown", **DONE)
    await order("never due", None)
    await known_until(world, datetime(2020, 11, 4, 18, tzinfo=UTC))
    (row,) = await ask("on-time")
    assert row == {
        "orders": 8, "orders_open": 3, "orders_due": 6, "orders_on_time": 2,
        "on_time_delivery": 0.333333333, "orders_late": 4, "mean_late_h": row["mean_late_h"],
        "orders_in_full": 0, "on_time_in_full": None,
    }  # fmt: skip
    rows = await ask("orders", limit=20)
    assert {each["order"] for each in rows[:2]} == {"not yet", "to be stopped"}  # latest first
    assert rows[0]["late_h"] == 54
    late = {each["order"]: each["late_h"] for each in rows[2:] if each["orders_late"]}
    assert late == {"late by 3 h": 3, "late by its report": 1}
    assert "never due" not in {each["order"] for each in rows}
    (one,) = await ask("orders", order="late by its report")
    assert one["finished_at"] == "2020-11-02T13:00:00.000Z"
    (told,) = await ask("on-time", measures="mean_late_h", order=["late by 3 h", "on time"])
    assert told == {"mean_late_h": 3}
    assert await ask("on-time", measures="on_time_delivery", order="to come") == [
        {"on_time_delivery": None}
    ]


async def test_an_order_is_as_far_as_its_output_operation(client, world, ask):
    site = world.site()
    definition = await output(client)
    order = await made_order(
        client, order_no="A1", due_at=PAST, qty_ordered="8", definition_id=definition,
        actual_end=PAST, **DONE,
    )  # fmt: skip
    await reported(site, order, ended="2020-11-02T10:00:00.000Z", good="50", segment="Turning")
    assert (await ask("orders"))[0]["progress"] == 0
    await reported(site, order, ended="2020-11-02T11:00:00.000Z", good="6")
    (row,) = await ask("orders")
    assert (row["qty_ordered"], row["qty_made"], row["progress"]) == (8, 6, 0.75)
    (row,) = await ask("on-time")
    assert (row["orders_on_time"], row["orders_in_full"], row["on_time_in_full"]) == (1, 0, 0)
    await reported(site, order, ended="2020-11-02T11:30:00.000Z", good="2")
    assert (await ask("on-time"))[0]["on_time_in_full"] == 1


async def test_an_order_that_is_late_with_all_its_pieces_is_not_in_full_on_time(client, world, ask):
    definition, site = await output(client), world.site()
    order = await made_order(
        client, due_at=PAST, qty_ordered="5", definition_id=definition,
        actual_end="2020-11-02T12:00:00.001Z", **DONE,
    )  # fmt: skip
    await reported(site, order, ended="2020-11-02T10:00:00.000Z", good="5")
    (row,) = await ask("on-time", measures="orders_counted,orders_in_full,on_time_in_full")
    assert row == {"orders_counted": 1, "orders_in_full": 0, "on_time_in_full": 0}


async def test_the_output_of_another_definition_does_not_count(client, world, ask):
    site = world.site()
    ours = await output(client, "Packing")
    await output(client, "Painting", "P-2")
    order = await made_order(client, due_at=PAST, definition_id=ours)
    await reported(site, order, ended="2020-11-02T10:00:00.000Z", good="5", segment="Painting")
    assert (await ask("orders"))[0]["qty_made"] == 0
    loose = await made_order(client, order_no="loose", due_at=PAST)
    await reported(site, loose, ended="2020-11-02T10:00:00.000Z", good="5", segment="Painting")
    assert (await ask("orders", order="loose"))[0]["qty_made"] == 5


async def test_progress_of_several_is_the_ratio_of_sums_over_orders_that_are_counted(
    client, world, ask
):
    definition, site = await output(client), world.site()
    for quantity, good in (("10", "10"), ("30", "0")):
        order = await made_order(
            client, due_at=PAST, qty_ordered=quantity, definition_id=definition
        )
        await reported(site, order, ended="2020-11-02T10:00:00.000Z", good=good)
    other = await made_order(client, "SITE_002", due_at=PAST, qty_ordered="99")
    part = await made(client, "/v1/tables/material_definitions/rows", "*", material_code="P-9")
    unknown = await made(
        client, "/v1/tables/operations_definitions/rows", "*", material_id=part["id"]
    )
    await changed(client, other, definition_id=unknown["id"])
    (row,) = await ask("on-time", measures="progress,qty_ordered,qty_made,orders_counted")
    assert row == {"progress": 0.25, "qty_ordered": 139, "qty_made": 10, "orders_counted": 2}
    sites = await ask("on-time", group_by="site", measures="progress")
    assert sites == [{"site": "SITE_001", "progress": 0.25}, {"site": "SITE_002", "progress": None}]


async def test_a_window_and_a_bucket_go_by_the_sites_own_day(client, world, ask):
    await in_berlin(world)
    for number, due in (("A1", "2020-11-02T04:59:00Z"), ("A2", "2020-11-02T05:00:00Z")):
        await made_order(client, order_no=number, due_at=due)
    days = await ask("on-time", bucket="day", measures="orders")
    assert days == [{"day": "2020-11-01", "orders": 1}, {"day": "2020-11-02", "orders": 1}]
    asked = {"from": "2020-11-02", "to": "2020-11-03", "group_by": "order", "measures": "orders"}
    assert [row["order"] for row in await ask("on-time", **asked)] == ["A2"]
    instants = {"from": "2020-11-02T04:00:00Z", "to": "2020-11-02T05:00:00Z"}
    assert [row["order"] for row in await ask("on-time", **asked | instants)] == ["A1"]
    weeks = await ask("on-time", bucket="weekday", measures="orders", sort="-weekday")
    assert [row["weekday"] for row in weeks] == [7, 1]


async def test_a_list_of_orders_goes_on_where_it_ended(client, ask):
    for n in range(5):
        await made_order(client, order_no=f"A{n}", due_at=f"2020-11-0{1 + n}T12:00:00Z")
    asked = {"limit": 2, "sort": "-due_at", "measures": "due_at", "group_by": "order"}
    found, cursor = [], {}
    for _ in range(3):
        answer = (await client.get("/v1/reports/orders", params=asked | cursor)).json()
        found += [row["order"] for row in answer["rows"]]
        cursor = {"cursor": answer["next"]}
    assert (found, cursor) == (["A4", "A3", "A2", "A1", "A0"], {"cursor": None})


async def test_orders_of_another_site_are_in_no_answer(api, client):
    await made_order(client, "SITE_002", due_at=PAST)
    async with await api.asked_by("plant:SITE_001") as one:
        for report in ("orders", "on-time?group_by=order"):
            assert (await one.get(f"/v1/reports/{report}")).json()["rows"] == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"group_by": "machine"}, "machine"),
        ({"measures": "oee"}, "measures"),
        ({"bucket": "hour"}, "bucket"),
        ({"sort": "late_h", "measures": "orders"}, "sort"),
        ({"segment": "Packing"}, "segment"),
    ],
)
async def test_what_orders_do_not_have_is_refused_by_its_field(client, asked, field):
    answer = await client.get("/v1/reports/on-time", params=asked)
    assert answer.status_code == 422
    assert list(rules(answer)) == [f"query.{field}"]


async def test_allocation_is_the_sum_of_busy_times_over_that_of_lives(client, world, ask):
    first, second, idle = [await made_order(client) for _ in range(3)]
    site = world.site()

    async def worked(order, begin, end, report_type="PRODUCTION"):
        report = site.report(
            work_order_id=order["id"], report_type=report_type,
            started_at=f"2020-11-02T{begin}:00.000Z", ended_at=f"2020-11-02T{end}:00.000Z",
        )  # fmt: skip
        await site.writes(site.insert("job_responses", report, created=report["ended_at"]))

    await worked(first, "06:00", "07:00", "SETUP")
    await worked(first, "08:00", "10:00")  # of 4 hours
    await worked(second, "10:00", "12:00")
    await worked(second, "10:00", "12:00", "BREAKDOWN")  # at once: more than the 2 hours
    (row,) = await ask("throughput-time")
    assert (row["sum_h"], row["busy_h"], row["production_h"]) == (6, 7, 4)
    assert row["allocation_ratio"] == 1.166666667
    assert row["production_process_ratio"] == 0.666666667
    rows = await ask("throughput-time", group_by="order")
    ratios = {each["order"]: each["allocation_ratio"] for each in rows}
    assert ratios == {first["values"]["order_no"]: 0.75, second["values"]["order_no"]: 2}
    await worked(idle, "06:00", "06:00")
    (row,) = await ask("throughput-time", order=idle["values"]["order_no"])
    assert (row["sum_h"], row["allocation_ratio"]) == (0, None)


async def test_each_figure_of_orders_is_told_with_its_formula_and_source(client):
    found = (await client.get("/v1/reports/definitions")).json()
    figures = {each["name"]: each for each in found["kpis"]}
    assert figures["on_time_delivery"]["formula"] == "orders_on_time / orders_due"
    assert figures["allocation_ratio"]["formula"] == "busy_h / sum_h"
    assert figures["allocation_ratio"]["source"].startswith("ISO 22400")
    known = {each["name"] for each in found["measures"]}
    assert {"orders_due", "late_h", "qty_to_make", "busy_h"} <= known
    assert {"wip", "wip_end", "active", "mean_h", "median_h", "p90_h", "min_h", "max_h"} <= known

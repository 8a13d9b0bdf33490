"""Lives of orders: what is under way by state and reports, what took how long, corrections."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import rules
from tests.integration.rollup_world import as_ingest, canonical, exact, sends
from tests.integration.test_reports_due import ask
from tests.integration.union_world import folds_all, inserts

if TYPE_CHECKING:
    from tests.integration.apply_world import Site, World

__all__ = ["api", "ask", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

#: An order that was finished when nobody noted its end.
DONE = {"exec_state": "COMPLETED"}


def at(text: str) -> datetime:
    """Return an instant of 2026, of a month, a day and a time."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


async def order(site: Site, number: str, **told: Any) -> str:
    made = site.order(order_no=number, **told)
    await site.writes(site.insert("work_orders", made))
    return str(made["id"])


async def worked(site: Site, of: str, begin: datetime, end: datetime, **more: Any) -> None:
    await sends(site, [{
        **site.report(), "work_order_id": of, "created": canonical(end),
        "started_at": canonical(begin), "ended_at": canonical(end), **more,
    }])  # fmt: skip


async def corrected(site: Site, of: str, when: datetime) -> None:
    """One piece that was good is scrap, somebody noted when all was over."""
    await sends(site, [{
        **site.report(), "work_order_id": of, "created": canonical(when), "started_at": None,
        "ended_at": None, "report_type": "CORRECTION", "qty_good": "-1", "qty_scrap": "1",
    }])  # fmt: skip


# --- under way ------------------------------------------------------------------------------------


async def orders_of_each_kind(world: World) -> None:
    """Have each worked on for the same hour of 3 November, but for two without a report."""
    site = world.site()
    plain = {"exec_state": "IN_PROGRESS"}
    begin, end = at("11-03T06:00"), at("11-03T07:00")
    for number, told in (
        ("goes on", plain),
        ("released and worked on", {"exec_state": "RELEASED"}),
        ("to be stopped", plain | {"cancel_requested": 1}),
        ("begun before", plain | {"actual_start": canonical(at("11-02T06:00"))}),
        ("ended", DONE),
        ("ended later", {"exec_state": "CLOSED", "actual_end": canonical(at("11-06T06:00"))}),
        ("ended earlier", DONE | {"actual_end": canonical(at("11-03T06:30"))}),
        ("noted by its log", plain | {"actual_end": canonical(at("11-03T06:30"))}),
        ("cancelled", {"exec_state": "RELEASED", "cancel_requested": 1}),
    ):
        await worked(site, await order(site, number, **told), begin, end)
    unknown = "00000000-0000-0000-0000-00000000abcd"
    await inserts(world, [
        (site.name, end, begin, end, None, None, unknown, "PRODUCTION", None, 1, 0, 0)
    ])  # fmt: skip
    await order(site, "begun without a report", actual_start=canonical(begin), **plain)
    await order(site, "never begun", exec_state="RELEASED")


async def test_an_order_is_under_way_until_it_is_finished_whatever_was_reported_last(world, ask):
    await orders_of_each_kind(world)
    go_on = {"goes on", "released and worked on", "to be stopped", "begun before",
             "begun without a report"}  # fmt: skip

    async def under_way(text: str) -> set[str | None]:
        rows = await ask("wip", at=canonical(at(text)), group_by="order")
        return {row["order"] for row in rows}

    async def each_is_right() -> None:
        assert await under_way("11-02T12:00") == {"begun before"}
        ended = {"ended", "ended later", "noted by its log", "cancelled", None}
        assert await under_way("11-03T06:45") == go_on | ended
        assert await under_way("11-03T07:00") == go_on | {"ended later"}
        assert await under_way("11-25T06:00") == go_on  # long after any report of them
        days = {"from": "2026-11-05", "to": "2026-11-08"}
        assert [tuple(row.values()) for row in await ask("wip", **days)] == [
            ("2026-11-05", 6, 6), ("2026-11-06", 5, 6), ("2026-11-07", 5, 5)
        ]  # fmt: skip

    await each_is_right()
    await folds_all(world)
    await each_is_right()
    await as_ingest(world, "UPDATE mes.order_lives SET is_stale = true")
    await each_is_right()


async def test_work_in_progress_of_the_present_day_holds_what_goes_on(world, ask):
    site, now = world.site(), await world.value("SELECT now()")
    started = await order(site, "A", exec_state="IN_PROGRESS")
    await worked(site, started, now - timedelta(days=9), now - timedelta(hours=3))
    assert [row["wip"] for row in await ask("wip", at=canonical(now))] == [1]
    today = now.astimezone(UTC).date()
    days = {"from": str(today), "to": str(today + timedelta(days=1))}
    assert [(row["wip_end"], row["active"]) for row in await ask("wip", **days)] == [(1, 1)]


async def test_work_in_progress_is_sorted_by_what_is_asked_for(world, client, ask):
    site = world.site()
    for number, days in (("A", 1), ("B", 3)):
        of = await order(site, number, material_code=number, **DONE)
        await worked(site, of, at("11-02T06:00"), at("11-02T06:00") + timedelta(days=days))
    asked = {"from": "2026-11-02", "to": "2026-11-05", "sort": "-wip_end,-day"}
    rows = await ask("wip", **asked)
    assert [(row["wip_end"], row["day"][-2:]) for row in rows] == [(2, "02"), (1, "04"), (1, "03")]
    asked = {"at": "2026-11-02T07:00Z", "group_by": "material", "sort": "-wip,-material"}
    assert [row["material"] for row in await ask("wip", **asked)] == ["B", "A"]
    answer = await client.get("/v1/reports/wip", params=asked | {"sort": "wip_end"})
    assert list(rules(answer)) == ["query.sort"]


# --- corrections ----------------------------------------------------------------------------------


async def an_order_that_was_corrected(world: World) -> None:
    site = world.site()
    for name in ("2026-08-01", "2026-09-01"):
        await as_ingest(
            world, "SELECT sync.make_partition('job_responses', %s, %s)", site.name, name
        )
    due = canonical(at("08-02T12:00"))
    of = await order(site, "A", due_at=due, **DONE)
    await worked(site, of, at("08-01T06:00"), at("08-01T14:00"))
    await corrected(site, of, at("09-01T09:00"))


async def took_eight_hours(ask: Any) -> None:
    (row,) = await ask("throughput-time")
    assert (row["sum_h"], row["last_end"]) == (8, "2026-08-01T14:00:00.000Z")
    (row,) = await ask("orders")
    assert (row["finished_at"], row["orders_late"]) == ("2026-08-01T14:00:00.000Z", 0)
    assert (await ask("wip", at="2026-08-15T00:00Z"))[0]["wip"] == 0
    days = {"from": "2026-09-01", "to": "2026-09-02"}
    assert (await ask("wip", **days))[0]["active"] == 0


async def test_a_correction_is_no_work_and_prolongs_no_order(world, ask):
    await an_order_that_was_corrected(world)
    await took_eight_hours(ask)
    await folds_all(world)
    await took_eight_hours(ask)
    await exact(world)
    await as_ingest(world, "UPDATE mes.order_lives SET is_stale = true")
    await took_eight_hours(ask)


# --- throughput time ------------------------------------------------------------------------------


async def test_throughput_time_is_put_in_the_pieces_of_time_in_which_orders_ended(world, ask):
    site = world.site()
    for begin, hours in (("10-30T22:00", 4), ("10-31T22:00", 3), ("11-03T06:00", 1)):
        end = at(begin) + timedelta(hours=hours)
        await worked(site, await order(site, begin, **DONE), at(begin), end)
    rows = await ask("throughput-time", bucket="month")
    assert [(row["month"], row["orders"], row["mean_h"]) for row in rows] == [
        ("2026-10", 1, 4), ("2026-11", 2, 2)
    ]  # fmt: skip
    rows = await ask("throughput-time", bucket="weekday", group_by="site", sort="-max_h,weekday")
    assert [(row["weekday"], row["max_h"]) for row in rows] == [(6, 4), (7, 3), (2, 1)]
    days = {"from": "2026-11-01", "to": "2026-12-01", "bucket": "day"}
    assert [row["day"] for row in await ask("throughput-time", **days)] == [
        "2026-11-01", "2026-11-03"
    ]  # fmt: skip


@pytest.mark.parametrize("sort", ["-mean_h", "last_end", "-first_start,order", "allocation_ratio"])
async def test_pages_of_throughput_times_are_the_answer(world, client, sort):
    site = world.site()
    for n in range(5):
        begin = at(f"11-0{1 + n}T06:00")
        of = await order(site, f"A{n}", **DONE)
        await worked(site, of, begin, begin + timedelta(hours=1 + n % 2))
    asked = {"group_by": "order", "bucket": "week", "sort": sort}
    whole = (await client.get("/v1/reports/throughput-time", params=asked)).json()["rows"]
    found, cursor = [], {}
    for _ in range(3):
        answer = await client.get(
            "/v1/reports/throughput-time", params=asked | {"limit": 2} | cursor
        )
        found += answer.json()["rows"]
        cursor = {"cursor": answer.json()["next"]}
    assert found == whole
    assert len(found) == 5
    assert cursor == {"cursor": None}


async def test_what_throughput_times_do_not_have_is_refused(client):
    for given, field in (({"bucket": "hour"}, "bucket"), ({"sort": "oee"}, "sort")):
        answer = await client.get("/v1/reports/throughput-time", params=given)
        assert list(rules(answer)) == [f"query.{field}"]

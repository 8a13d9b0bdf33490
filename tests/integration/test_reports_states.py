"""States of machines by their events: how long each held, as far as that is known."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.states_world import (
    DAY,
    LATHE,
    MILL,
    STRANGER,
    Event,
    Held,
    a_plant,
    ask,
    at,
    day_begins,
    day_of,
    held,
    history,
    known_until,
    random_events,
    sums,
    told,
)
from tests.integration.test_api_cache import fronted
from tests.integration.test_reports import BERLIN, DAY_START, in_berlin

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["api", "ask", "client", "fronted", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


# --- from when until when -------------------------------------------------------------------------


async def test_a_state_holds_until_the_next_one_and_is_cut_at_the_window(world, ask):
    site = await a_plant(world)
    await history(
        world, site, LATHE, ("01 20:00", "IDLE"), ("02 06:00", "RUNNING"), ("02 14:00", "DOWN"),
        ("02 15:00", "RUNNING"), ("02 22:00", "IDLE"), ("03 06:00", "RUNNING"),
    )  # fmt: skip
    rows = await ask()
    assert rows == [
        {"machine": "Lathe", "state": "RUNNING", "state_min": 900, "state_share": 0.625,
         "entered": 2},
        {"machine": "Lathe", "state": "IDLE", "state_min": 480, "state_share": 0.333333333,
         "entered": 1},
        {"machine": "Lathe", "state": "DOWN", "state_min": 60, "state_share": 0.041666667,
         "entered": 1},
    ]  # fmt: skip


async def test_the_state_that_rules_the_beginning_is_found_months_before(world, ask):
    site = await a_plant(world)
    old = datetime(2024, 1, 17, 4, tzinfo=UTC)
    await told(world, site, [Event(LATHE, "OFF", old - timedelta(days=40)),
                             Event(LATHE, "IDLE", old)])  # fmt: skip
    assert await ask(measures="state_min,entered") == [
        {"machine": "Lathe", "state": "IDLE", "state_min": 1440, "entered": 0}
    ]


async def test_time_beyond_what_is_known_of_a_site_is_in_no_state(world, ask, client):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 06:00", "RUNNING"))
    await known_until(world, at("02 08:00"))
    assert await ask(measures="state_min,known_min") == [
        {"machine": "Lathe", "state": "RUNNING", "state_min": 120, "known_min": 120}
    ]
    answer = (await client.get("/v1/reports/machine-states", params=DAY)).json()
    assert answer["complete_through"]["SITE_001"] == "2026-11-02T08:00:00.000Z"
    assert answer["provisional"] is True
    await known_until(world, at("02 05:00"))  # the event is ahead of what is complete
    assert await ask() == []


async def test_a_site_that_was_never_heard_has_no_known_time(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 06:00", "RUNNING"))
    await world.admin.execute(b"DELETE FROM sync.epoch")
    assert await ask() == []


async def test_of_two_events_of_one_instant_the_one_noted_last_counts(world, ask):
    site = await a_plant(world)
    wrong, right, same = (Event(LATHE, state, at("02 06:00"), id=n) for state, n in (
        ("DOWN", 7), ("RUNNING", 9), ("IDLE", 8)))  # fmt: skip
    await told(world, site, [right, wrong, same])
    (row,) = await ask(measures="state_min,entered")
    assert row == {"machine": "Lathe", "state": "RUNNING", "state_min": 1080, "entered": 1}
    # So it is where they rule the beginning.
    (row,) = await ask(**{"from": "2026-11-03", "to": "2026-11-04"})
    assert (row["state"], row["state_min"]) == ("RUNNING", 1440)


async def test_an_event_that_repeats_a_state_goes_on_with_it(world, ask):
    site = await a_plant(world)
    await history(
        world, site, LATHE, ("02 06:00", "DOWN"), ("02 07:00", "DOWN"), ("02 08:00", "FAULT"),
        ("02 09:00", "RUNNING"), ("02 10:00", "DOWN"),
    )  # fmt: skip
    (row,) = await ask(state="DOWN", measures="state_min,entered,failures")
    assert row == {"machine": "Lathe", "state": "DOWN", "state_min": 960, "entered": 2,
                   "failures": 2}  # fmt: skip
    # A fault in a time of failure is no second one, wherever it is looked at from.
    assert (await ask(group_by="machine", measures="failures"))[0]["failures"] == 2
    window = {"from": "2026-11-02T07:30:00Z", "to": "2026-11-02T08:30:00Z"}
    assert (await ask(group_by="machine", measures="failures,ttr_min", **window)) == [
        {"machine": "Lathe", "failures": 0, "ttr_min": 60}
    ]


async def test_a_state_that_somebody_notes_late_stands_in_its_time(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, ("02 06:00", "RUNNING"), ("02 12:00", "IDLE"))
    late = Event(LATHE, "DOWN", at("02 08:00"), "MANUAL")
    await told(world, site, [late], created="2026-12-24T00:00:00.000Z")
    rows = await ask(group_by="state,source", measures="state_min")
    assert rows == [
        {"state": "DOWN", "source": "MANUAL", "state_min": 240},
        {"state": "IDLE", "source": "PLC", "state_min": 720},
        {"state": "RUNNING", "source": "PLC", "state_min": 120},
    ]


async def test_events_of_a_machine_that_nobody_knows_are_counted(world, ask):
    site = await a_plant(world)
    await history(world, site, STRANGER, ("02 06:00", "RUNNING"))
    await history(world, site, LATHE, ("02 18:00", "RUNNING"))
    rows = await ask(group_by="site,machine", by="id", measures="state_min")
    assert rows == [
        {"site": "SITE_001", "machine": "Lathe", "machine_id": LATHE, "state_min": 360},
        {"site": "SITE_001", "machine": None, "machine_id": STRANGER, "state_min": 1080},
    ]
    assert await ask(group_by="machine", by="id", machine=STRANGER, measures="state_min") == [
        {"machine": None, "machine_id": STRANGER, "state_min": 1080}
    ]


async def test_nothing_is_known_through_a_month_in_the_archive(world, ask):
    site = await a_plant(world)
    august, october = (datetime(2026, n, 30, tzinfo=UTC) for n in (8, 10))
    await told(world, site, [Event(LATHE, "RUNNING", august), Event(MILL, "IDLE", august)])
    await told(world, site, [Event(LATHE, "IDLE", october)])
    window = {"from": "2026-08-01", "to": "2026-11-02"}
    before = {row["machine"]: row["state_min"] for row in await ask(**window, state="RUNNING")}
    assert before == {"Lathe": 61 * 1440}
    await world.admin.execute(
        b"INSERT INTO sync.archive (table_name, site_id, month, state) VALUES"
        b" ('equipment_state_events', 'SITE_001', '2026-09', 'dropped'),"
        b" ('equipment_state_events', 'SITE_001', '2026-11', 'attached'),"
        b" ('equipment_state_events', 'SITE_002', '2026-08', 'dropped'),"
        b" ('job_responses', 'SITE_001', '2026-08', 'dropped')"
    )
    rows = await ask(**window, measures="state_min")
    assert [tuple(row.values()) for row in rows] == [
        ("Lathe", "IDLE", 3 * 1440), ("Lathe", "RUNNING", 2 * 1440), ("Mill", "IDLE", 2 * 1440),
    ]  # fmt: skip
    # A late row of an archived month is not all of that month: it tells nothing.
    september = datetime(2026, 9, 9, tzinfo=UTC)
    await told(world, site, [Event(MILL, "RUNNING", september)])
    assert len(await ask(**window)) == 3
    assert [row["machine"] for row in await ask(**DAY)] == ["Lathe"]


# --- pieces of time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "minutes"), [("2026-10-24", 1500), ("2026-10-25", 1440), ("2026-03-28", 1380)]
)
async def test_a_day_on_which_the_clocks_change_has_its_own_length(world, ask, day, minutes):
    site = await a_plant(world)
    await in_berlin(world)
    await told(world, site, [Event(LATHE, "RUNNING", datetime(2026, 1, 1, tzinfo=UTC))])
    after = str(date.fromisoformat(day) + timedelta(days=1))
    asked = {"from": day, "to": after, "bucket": "day", "measures": "state_min"}
    assert await ask(**asked) == [
        {"day": day, "machine": "Lathe", "state": "RUNNING", "state_min": minutes}
    ]
    hours = await ask(**asked | {"bucket": "hour"})
    assert sum(row["state_min"] for row in hours) == minutes
    twice = [row["hour"] for row in hours if row["state_min"] == 120]
    assert twice == (["2026-10-25T02:00"] if minutes == 1500 else [])


async def test_weeks_and_months_are_those_of_business_days(world, ask):
    site = await a_plant(world)
    await in_berlin(world)
    # Until six in the morning of the 1st it is the 31st of October, and the week of the 26th.
    await told(world, site, [Event(LATHE, "RUNNING", datetime(2026, 10, 31, 20, tzinfo=UTC))])
    asked = {"from": "2026-10-26", "to": "2026-11-09", "group_by": "state",
             "measures": "state_min,entered"}  # fmt: skip
    months = await ask(**asked, bucket="month")
    assert [tuple(row.values()) for row in months] == [
        ("2026-10", "RUNNING", 540, 1), ("2026-11", "RUNNING", 8 * 1440, 0),
    ]  # fmt: skip
    weeks = await ask(**asked, bucket="week")
    assert [tuple(row.values())[::2] for row in weeks] == [
        ("2026-10-26", 540 + 1440),
        ("2026-11-02", 7 * 1440),
    ]


ZONES = {"SITE_001": (BERLIN, DAY_START), "SITE_002": (ZoneInfo("UTC"), timedelta())}


def cut_at_days(each: Held, site: str) -> Iterator[tuple[str, timedelta, bool]]:
    zone, starts = ZONES[site]
    day = day_of(each.begins, zone, starts)
    while (begins := day_begins(day, zone, starts)) < each.ends:
        ends = day_begins(day + timedelta(days=1), zone, starts)
        is_first = begins <= each.event.since < ends
        yield str(day), min(ends, each.ends) - max(begins, each.begins), is_first
        day += timedelta(days=1)


def cut_at_hours(each: Held, site: str) -> Iterator[tuple[str, timedelta, bool]]:
    minute = each.begins
    while minute < each.ends:
        local = minute.astimezone(ZONES[site][0])
        name = f"{local:%Y-%m-%dT%H}:00"
        yield name, timedelta(minutes=1), minute == each.event.since
        minute += timedelta(minutes=1)


async def test_times_are_what_a_plain_reading_of_the_events_comes_to(world, ask, seed):
    chance = random.Random(seed)
    await in_berlin(world)
    events, through = {}, {}
    for name in ZONES:
        site = await a_plant(world, name)
        events[name] = random_events(chance)
        through[name] = datetime(2026, 10, 27, chance.randrange(24), 7, tzinfo=UTC)
        await told(world, site, chance.sample(events[name], len(events[name])), through[name])
    for _ in range(12):
        first = date(2026, 10, chance.randrange(21, 27))
        last = first + timedelta(days=chance.randrange(1, 6))
        bucket, cut = chance.choice((("day", cut_at_days), ("hour", cut_at_hours)))
        rows = await ask(
            bucket=bucket, group_by="site,machine,state", by="id", limit=10_000,
            measures="state_min,entered,failures", **{"from": str(first), "to": str(last)},
        )  # fmt: skip
        expected = {}
        for name, (zone, starts) in ZONES.items():
            begins, ends = (day_begins(day, zone, starts) for day in (first, last))
            known = held(events[name], begins, min(ends, through[name]))
            found = sums(known, lambda each, name=name, cut=cut: cut(each, name))
            expected |= {(name, *key): value for key, value in found.items()}
        said = {
            (r["site"], r[bucket], r["machine_id"], r["state"]):
            (r["state_min"], r["entered"], r["failures"]) for r in rows
        }  # fmt: skip
        assert said == expected, (first, last, bucket)

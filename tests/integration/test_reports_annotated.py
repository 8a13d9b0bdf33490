"""Why machines stood: what people note of states, however late, and which of it counts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.states_world import (
    LATHE,
    MILL,
    ROLES,
    Event,
    Note,
    a_plant,
    ask,
    at,
    held,
    history,
    noted,
    random_events,
    told,
)
from tests.integration.test_api_cache import fronted
from tests.integration.test_reports_states_told import reason

__all__ = ["api", "ask", "client", "fronted", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DAY_OF = [("02 06:00", "RUNNING"), ("02 10:00", "DOWN"), ("02 12:00", "RUNNING")]


def lines(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(str(row[name])[11:16] if name in ("from", "until", "since") else row[name]
                  for name in names) for row in rows]  # fmt: skip


async def test_what_is_noted_of_a_stop_takes_the_place_of_the_reason_of_its_event(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, *DAY_OF, reason="JAM")
    await noted(world, site, Note(LATHE, "TOOL", at("02 10:00"), at("02 12:00")))
    rows = await ask("machine-timeline")
    assert lines(rows, "from", "until", "state", "reason") == [
        ("06:00", "10:00", "RUNNING", "JAM"), ("10:00", "12:00", "DOWN", "TOOL"),
        ("12:00", "00:00", "RUNNING", "JAM"),
    ]  # fmt: skip


async def test_the_highest_role_counts_and_of_one_role_what_was_made_last_whenever_it_came(
    world, ask
):
    site = await a_plant(world)
    await history(world, site, LATHE, *DAY_OF)
    stop = (at("02 10:00"), at("02 12:00"))
    await noted(world, site, Note(LATHE, "TWO", *stop, role="SUPERVISOR", made=at("03 08:00")))
    await noted(world, site, Note(LATHE, "LATE", *stop, made=at("04 08:00")))
    await noted(world, site, Note(LATHE, "ONE", *stop, role="SUPERVISOR", made=at("03 07:00")))
    assert (await ask("machine-timeline", state="DOWN"))[0]["reason"] == "TWO"
    await noted(world, site, Note(LATHE, "SURE", *stop, role="ENGINEER", made=at("02 11:00")))
    assert (await ask("machine-timeline", state="DOWN"))[0]["reason"] == "SURE"


async def test_a_stop_with_two_reasons_is_cut_between_them_and_entered_once(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, *DAY_OF)
    await noted(
        world, site, Note(LATHE, "TOOL", at("02 10:00"), at("02 10:30")),
        Note(LATHE, "STAFF", at("02 10:30"), at("02 11:45")),
    )  # fmt: skip
    rows = await ask(group_by="state,reason", measures="state_min,entered,failures", state="DOWN",
                     sort="-state_min")  # fmt: skip
    assert lines(rows, "reason", "state_min", "entered", "failures") == [
        ("STAFF", 75, 0, 0), ("TOOL", 30, 1, 1), (None, 15, 0, 0),
    ]  # fmt: skip
    rows = await ask("machine-timeline", state="DOWN")
    assert lines(rows, "since", "from", "until", "reason") == [
        ("10:00", "10:00", "10:30", "TOOL"), ("10:00", "10:30", "11:45", "STAFF"),
        ("10:00", "11:45", "12:00", None),
    ]  # fmt: skip


async def test_a_pareto_of_reasons_tells_the_share_of_each_and_of_those_before_it(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, *DAY_OF)
    await noted(
        world, site, Note(LATHE, "TOOL", at("02 10:00"), at("02 10:30")),
        Note(LATHE, "STAFF", at("02 10:30"), at("02 11:45")),
    )  # fmt: skip
    given = {"group_by": "reason", "measures": "state_min", "share_of": "state_min",
             "sort": "-state_min", "time_element": "ADET"}  # fmt: skip
    rows = await ask(**given)
    assert lines(rows, "reason", "state_min", "share", "cum_share") == [
        ("STAFF", 75, 0.625, 0.625), ("TOOL", 30, 0.25, 0.875), (None, 15, 0.125, 1),
    ]  # fmt: skip
    assert await ask(**given, limit=2) == rows[:2]


async def test_a_note_without_an_end_is_of_the_state_in_which_it_begins(world, ask):
    site = await a_plant(world)
    await history(world, site, LATHE, *DAY_OF, ("02 14:00", "DOWN"))
    await noted(world, site, Note(LATHE, "TOOL", at("02 10:20")))
    rows = await ask("machine-timeline", state="DOWN")
    assert lines(rows, "from", "until", "reason") == [
        ("10:00", "10:20", None), ("10:20", "12:00", "TOOL"), ("14:00", "00:00", None),
    ]  # fmt: skip


async def test_a_note_says_nothing_of_a_machine_that_runs_nor_of_another_one(world, ask):
    site = await a_plant(world)
    for machine in (LATHE, MILL):
        await history(world, site, machine, *DAY_OF)
    await noted(world, site, Note(LATHE, "TOOL", at("02 00:00"), at("03 00:00")))
    rows = await ask(group_by="machine,state,reason", measures="state_min", reason="TOOL")
    assert lines(rows, "machine", "state", "state_min") == [("Lathe", "DOWN", 120)]
    rows = await ask("machine-timeline", machine="Mill")
    assert lines(rows, "state", "reason") == [("RUNNING", None), ("DOWN", None), ("RUNNING", None)]


async def test_what_is_noted_of_a_state_that_began_long_before_counts_in_every_window(world, ask):
    site = await a_plant(world)
    begins = at("02 06:00") - timedelta(days=60)
    await told(world, site, [Event(machine, "OFF", begins) for machine in (LATHE, MILL)])
    await history(world, site, LATHE, ("02 18:00", "RUNNING"))
    await noted(
        world, site, Note(LATHE, "OVERHAUL", begins, at("02 09:00")), Note(MILL, "RETIRED", begins)
    )
    assert lines(await ask("machine-timeline", state="OFF"), "machine", "until", "reason") == [
        ("Lathe", "18:00", None),  # of no more than 31 days
        ("Mill", "00:00", "RETIRED"),
    ]
    month = {"from": begins.date().isoformat(), "to": "2026-11-03"}
    rows = await ask(group_by="machine,reason", measures="state_min", state="OFF", **month)
    assert lines(rows, "machine", "reason", "state_min")[0] == ("Lathe", "OVERHAUL", 31 * 1440)


async def test_the_time_element_of_what_was_noted_goes_before_the_word_of_the_state(world, ask):
    site = await a_plant(world)
    await reason(world, "LUNCH", "PLANNED")
    await history(world, site, LATHE, *DAY_OF)
    await noted(world, site, Note(LATHE, "LUNCH", at("02 10:30"), at("02 11:00")))
    rows = await ask(group_by="time_element", measures="state_min,failures", state="DOWN",
                     sort="time_element")  # fmt: skip
    # The machine has failed twice: before its people went for lunch, and when they were back.
    assert lines(rows, "time_element", "state_min", "failures") == [
        ("ADET", 90, 2), ("PLANNED", 30, 0),
    ]  # fmt: skip
    rows = await ask(bucket="hour", group_by="machine", measures="failures", state="DOWN")
    assert [row["failures"] for row in rows] == [1, 1]  # at ten, and at eleven


async def test_of_the_notes_of_another_site_none_counts(world, ask):
    site, other = await a_plant(world), world.site("SITE_002")
    await history(world, site, LATHE, *DAY_OF)
    await noted(world, other, Note(LATHE, "THEIRS", at("02 10:00"), at("02 12:00")))
    rows = await ask("machine-timeline", state="DOWN", site="SITE_001")
    assert lines(rows, "reason") == [(None,)]


@pytest.mark.parametrize("seed", [11, 12, 13])
async def test_reasons_are_what_a_plain_reading_of_states_and_notes_comes_to(world, ask, seed):
    site, chance = await a_plant(world), random.Random(seed)
    events = random_events(chance)
    await told(world, site, events)
    start = datetime(2026, 10, 20, tzinfo=UTC)
    notes = []
    for number in range(60):
        begins = start + timedelta(minutes=chance.randrange(9 * 1440))
        length = chance.choice((None, 0, 15, 240, 3000))
        notes.append(Note(
            chance.choice((LATHE, MILL)), chance.choice("ABC"), begins,
            None if length is None else begins + timedelta(minutes=length),
            chance.choice(ROLES), start + timedelta(days=chance.randrange(12)), number + 1,
        ))  # fmt: skip
    await noted(world, site, *notes)
    first, last = datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC)
    rows = await ask("machine-timeline", limit=2000, **{"from": "2026-10-23", "to": "2026-10-27"})
    named = {"Lathe": LATHE, "Mill": MILL}
    got = {(row["machine_id"], row["from"], row["until"], row["reason"]) for row in rows}
    assert named.items() <= {(row["machine"], row["machine_id"]) for row in rows}
    assert got == {
        (each.event.machine, f"{each.begins:%Y-%m-%dT%H:%M:%S}.000Z",
         f"{each.ends:%Y-%m-%dT%H:%M:%S}.000Z", each.reason)
        for each in held(events, first, last, notes)
    }, f"seed {seed}"  # fmt: skip

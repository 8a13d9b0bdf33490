"""A hello after which nothing is left makes a site complete, in reports as in the status."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.central_world import fetch
from tests.integration.states_world import DAY, LATHE, a_plant, ask, at, known_until
from tests.integration.test_central_snapshot import ask as asks
from tests.integration.test_central_snapshot import control, hello

__all__ = ["api", "ask", "client", "control", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

MINUTE_MS = 60_000


async def looked(world, moment: datetime, **said) -> None:
    """Have the agent of SITE_001 find nothing left at a moment, and say so."""
    ((epoch, last_n),) = await world.rows(
        "SELECT epoch::text, last_n FROM sync.epoch WHERE site = 'SITE_001'"
    )
    told = {"epoch": epoch, "n": last_n, "drained_ms": int(moment.timestamp() * 1000)} | said
    await world.admin.execute(
        b"UPDATE sync.site SET hello = %s, hello_at = now() WHERE site = 'SITE_001'",
        [json.dumps(told | {"own": [0, ""], "shared": [0, ""]})],
    )


async def test_a_quiet_site_is_complete_in_reports_through_its_hello_as_in_the_status(
    world, client
):
    await a_plant(world, through=at("02 07:00"))
    await looked(world, at("02 11:00"))
    status = (await client.get("/v1/sites/SITE_001")).json()["complete_through"]
    answer = (await client.get("/v1/reports/output", params=DAY)).json()
    told = answer["complete_through"]["SITE_001"]
    assert datetime.fromisoformat(told) == datetime.fromisoformat(status) == at("02 11:00")


async def test_a_window_that_a_hello_completes_is_provisional_no_more(world, client):
    await a_plant(world, through=at("02 07:00"))
    asked = {
        "params": {"from": "2026-11-02T00:00:00Z", "to": "2026-11-02T10:00:00Z"},
        "headers": {"X-Site-Id": "SITE_001"},
    }
    assert (await client.get("/v1/reports/output", **asked)).json()["provisional"]
    await looked(world, at("02 11:00"))
    assert not (await client.get("/v1/reports/output", **asked)).json()["provisional"]


@pytest.mark.parametrize(("through", "provisional"), [("02 21:59", True), ("02 22:01", False)])
async def test_a_business_day_is_over_by_the_clock_of_its_site(world, client, through, provisional):
    """In Shanghai with days from 06:00, the second of November ends at 22:00 of UTC."""
    await a_plant(world, through=at(through))
    await world.admin.execute(
        b"INSERT INTO sync.site_day (site, zone, day_start)"
        b" VALUES ('SITE_001', 'Asia/Shanghai', '06:00')"
    )
    asked = {"params": DAY, "headers": {"X-Site-Id": "SITE_001"}}
    answer = (await client.get("/v1/reports/output", **asked)).json()
    assert answer["provisional"] is provisional


@pytest.mark.parametrize("end", ["9999-12-31", "0001-01-02"])
async def test_zones_of_postgresql_alone_and_the_ends_of_time_stop_no_question(world, client, end):
    await a_plant(world)
    await world.admin.execute(
        b"INSERT INTO sync.site_day (site, zone, day_start)"
        b" VALUES ('SITE_001', '<+14>-14', '23:00')"
    )
    for path in ("/v1/reports/output", "/v1/reports/log"):
        answer = await client.get(path, params={"to": end})
        assert answer.status_code == 200, answer.text
    assert (await client.get("/v1/sites")).status_code == 200


async def test_a_machine_goes_on_in_its_state_until_the_hello_of_its_quiet_site(world, ask):
    site = await a_plant(world)
    event = {"equipment_id": LATHE, "state": "RUNNING", "since": "2026-11-02T06:00:00.000Z"}
    await site.writes(
        site.insert("equipment_state_events", event, created="2026-11-02T06:00:00.000Z")
    )
    await known_until(world, at("02 06:01"))
    await looked(world, at("02 11:00"))
    (row,) = await ask(group_by="state", measures="state_min")
    assert row == {"state": "RUNNING", "state_min": 300}


async def test_a_hello_of_a_site_with_more_than_is_applied_completes_nothing(world, client):
    await a_plant(world, through=at("02 07:00"))
    await looked(world, at("02 11:00"), n=99)
    answer = (await client.get("/v1/reports/output", params=DAY)).json()
    assert datetime.fromisoformat(answer["complete_through"]["SITE_001"]) == at("02 07:00")


async def test_no_site_is_complete_later_than_the_centre_heard_it(world, client):
    """The clock of the site is wrong by a year."""
    await a_plant(world, through=at("02 07:00"))
    await looked(world, datetime(2027, 11, 2, tzinfo=UTC))
    answer = (await client.get("/v1/reports/output", params=DAY)).json()
    told = datetime.fromisoformat(answer["complete_through"]["SITE_001"])
    assert told <= datetime.fromisoformat(answer["as_of"])


async def test_a_hello_of_another_minute_alone_is_another_revision_of_its_site(control, centre):
    async def revision() -> int:
        ((found,),) = await fetch(
            centre, "SELECT revision FROM sync.site_revision WHERE site = 'SITE_001'"
        )
        return int(found)

    minute = 29_000_000 * MINUTE_MS
    await asks(control, "SITE_001", "hello", **hello(drained_ms=minute))
    first = await revision()
    await asks(control, "SITE_001", "hello", **hello(drained_ms=minute + MINUTE_MS - 1))
    assert await revision() == first
    await asks(control, "SITE_001", "hello", **hello(drained_ms=minute + MINUTE_MS))
    assert await revision() > first

"""What one site wrote changes no report of another, and nothing counts twice by it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import PERSONS, changed, made, rules, seen
from tests.integration.test_rollups import follow, set_day

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import Site

__all__ = ["api", "client", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

ROWS = "/v1/tables/sites/rows"
BOTH = ("SITE_001", "SITE_002")
EVIL = {
    "code": "SITE_002", "name": "evil", "region": "EVIL", "timezone": "Pacific/Kiritimati",
    "business_day_start": "13:00",
}  # fmt: skip
ENDED = "2026-11-03T02:30:00.000Z"
PERSON = str(uuid.UUID(int=77))


async def reported(site: Site, **values: Any) -> None:
    times = {"started_at": "2026-11-03T01:30:00.000Z", "ended_at": ENDED}
    report = site.report(segment_code="Turn", **times, **values)
    await site.writes(site.insert("job_responses", report, created=ENDED))


async def asked(client: httpx.AsyncClient, query: str, report: str = "output") -> list[list[Any]]:
    answer = await client.get(f"/v1/reports/{report}?{query}")
    assert answer.status_code == 200, answer.text
    return [list(row.values()) for row in answer.json()["rows"]]


# --- the table of sites -----------------------------------------------------------------------


async def test_a_planner_of_a_site_writes_no_row_that_tells_of_sites(world, api):
    async with await api.asked_by(f"planner:{BOTH[0]}") as planner:
        for values in (EVIL, EVIL | {"code": BOTH[0]}):
            refused = await planner.post(ROWS, json={"site": BOTH[0], "values": values})
            assert refused.status_code == 422
            assert rules(refused)["body.site"].startswith("* alone")
        # One from before this was refused can be deleted, and nothing else.
        await world.client(
            "INSERT INTO mes.sites (code, name) VALUES (%s, 'evil')", BOTH[1], site=BOTH[0]
        )
        (row,) = (await planner.get(ROWS)).json()["rows"]
        path = f"{ROWS}/{row['id']}"
        refused = await changed(planner, row | {"table": "sites"}, region="EVIL")
        assert (refused.status_code, [*rules(refused)]) == (422, ["path.row_id"])
        refused = await planner.put(path, json={"values": EVIL}, headers=seen(row))
        assert (refused.status_code, [*rules(refused)]) == (422, ["path.row_id"])
        assert (await planner.delete(path, headers=seen(row))).status_code == 200


async def test_a_row_that_a_site_has_of_sites_changes_no_day_and_counts_nothing_twice(world, api):
    queries = [
        "group_by=region&measures=reports,qty_good", "bucket=week&measures=reports",
        "bucket=hour_of_day&group_by=site&measures=reports", "bucket=hour&measures=reports",
        "bucket=day&group_by=site&measures=reports,elapsed_min&time_basis=clip",
        "bucket=week&group_by=region&measures=reports,elapsed_min&time_basis=clip",
    ]  # fmt: skip
    for name in BOTH:
        await set_day(world, name, "Europe/Berlin", "06:00")
        await reported(world.site(name))
    await world.admin.execute(b"UPDATE mes.sites SET region = 'Europe'")
    assert await follow(world) == [*BOTH]
    async with await api.asked_by("corporate") as reader:
        before = [await asked(reader, query) for query in queries]
        assert before[0] == [["Europe", 2, 10]]
        for code in BOTH:
            await world.client(
                "INSERT INTO mes.sites (code, name, region, timezone, business_day_start)"
                " VALUES (%s, 'evil', 'EVIL', 'Pacific/Kiritimati', '13:00')",
                code, site=BOTH[0],
            )  # fmt: skip
        assert await follow(world) == []
        assert [await asked(reader, query) for query in queries] == before


# --- zones ------------------------------------------------------------------------------------


async def test_a_zone_that_nobody_knows_is_refused_with_the_field_and_the_rule(client):
    values = {"code": "SITE_001", "name": "One", "timezone": "Europe/Berlin"}
    row = await made(client, ROWS, "*", **values)
    for zone in ("Mars/Phobos", "FOO+3", "europe/berlin", ""):
        refused = await changed(client, row, timezone=zone)
        assert refused.status_code == 422, zone
        assert "IANA" in rules(refused)["body.values.timezone"]
        other = {"site": "*", "values": values | {"code": "SITE_002", "timezone": zone}}
        assert (await client.post(ROWS, json=other)).status_code == 422
    for zone in ("Asia/Kolkata", "UTC"):
        row = (await changed(client, row, timezone=zone)).json()
    assert row["values"]["timezone"] == "UTC"


async def test_a_zone_that_nobody_knows_breaks_no_report_by_the_hour(world, api):
    await set_day(world, BOTH[0], "Europe/Berlin", "06:00")
    await reported(world.site(BOTH[0]))
    assert await follow(world) == [BOTH[0]]
    await world.client("UPDATE mes.sites SET timezone = 'Mars/Phobos'", site="*")
    assert await follow(world) == []
    async with await api.asked_by("corporate") as reader:
        assert await asked(reader, "bucket=hour_of_day&measures=reports") == [[3, 1]]
        assert await asked(reader, "bucket=hour&measures=reports&time_basis=clip") == [
            ["2026-11-03T02:00", 0], ["2026-11-03T03:00", 1],
        ]  # fmt: skip


# --- people and operations --------------------------------------------------------------------


async def test_a_person_of_one_site_is_none_of_another_and_counts_no_report_twice(world, api):
    for name in BOTH:
        site = world.site(name)
        person = {"id": PERSON, "person_no": f"P of {name}", "home_site_id": name}
        await site.writes(site.insert("persons", person))
        await reported(site, person_id=PERSON)
    async with await api.asked_by("corporate") as reader:
        rows = await asked(reader, "group_by=site,person&measures=reports")
        assert rows == [[name, f"P of {name}", 1] for name in BOTH]
        assert await asked(reader, "measures=reports,persons") == [[1 + 1, 2]]
        assert len(await asked(reader, "", "log")) == 1 + 1


async def test_a_badge_that_one_site_made_for_another_is_known_there(world, api):
    site = world.site(BOTH[0])
    person = {"id": PERSON, "person_no": "guest", "home_site_id": BOTH[0],
              "assigned_sites": '["SITE_002"]'}  # fmt: skip
    await site.writes(site.insert("persons", person))
    for each in (site, world.site(BOTH[1]), world.site("SITE_003")):
        await reported(each, person_id=PERSON)
    async with await api.asked_by("corporate") as reader:
        rows = await asked(reader, "group_by=site,person&measures=reports")
    assert rows == [[BOTH[0], "guest", 1], [BOTH[1], "guest", 1], ["SITE_003", None, 1]]


async def test_a_person_of_the_centre_is_named_by_the_centre_at_all_sites(world, api, client):
    values = {"person_no": "77", "home_site_id": BOTH[0], "assigned_sites": [BOTH[1]]}
    row = await made(client, PERSONS, "*", **values)
    site = world.site(BOTH[0])
    own = {"id": row["id"], "person_no": "another", "home_site_id": BOTH[0]}
    await site.writes(site.insert("persons", own))
    for each in (site, world.site(BOTH[1])):
        await reported(each, person_id=row["id"])
    assert await asked(client, "group_by=person&measures=reports") == [["77", 2]]


async def test_an_operation_is_of_the_kind_that_its_own_site_or_the_centre_says(world, client):
    for name in BOTH:
        await reported(world.site(name))
    query = "group_by=site,segment_class&measures=reports"
    shared, own = await _version(client, "*"), await _version(client, BOTH[0])
    steps = "/v1/tables/operation_segments/rows"
    await made(client, steps, "*", definition_id=shared, seq=1, code="Turn",
               segment_class="PRODUCTION")  # fmt: skip
    assert await asked(client, query) == [[name, "PRODUCTION", 1] for name in BOTH]
    await made(client, steps, BOTH[0], definition_id=own, seq=1, code="Turn",
               segment_class="INSPECTION")  # fmt: skip
    assert await asked(client, query) == [[BOTH[0], "INSPECTION", 1], [BOTH[1], "PRODUCTION", 1]]


async def test_a_site_adds_no_step_to_a_version_that_is_shared(client):
    shared = await _version(client, "*")
    step = {"definition_id": shared, "seq": 9, "code": "Turn", "is_output": True}
    body = {"site": BOTH[0], "values": step}
    refused = await client.post("/v1/tables/operation_segments/rows", json=body)
    assert refused.status_code == 422
    assert rules(refused)["body.values.definition_id"].endswith(f"of {BOTH[0]}")


async def _version(client: httpx.AsyncClient, site: str) -> str:
    part = await made(client, "/v1/tables/material_definitions/rows", site, material_code="P-1")
    definitions = "/v1/tables/operations_definitions/rows"
    return (await made(client, definitions, site, material_id=part["id"]))["id"]

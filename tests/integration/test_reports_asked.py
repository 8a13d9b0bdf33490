"""What may be asked of any measure and dimension: answered, or refused with field and rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from central.reports.dimensions import DIMENSIONS
from central.reports.kpis import KPIS
from central.reports.question import MOMENTS, known_measures
from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import Site, World

__all__ = ["api", "client", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

#: What needs planned time and rates is told of days alone.
OF_DAYS = {"from": "2026-11-01", "to": "2026-12-01"}


@pytest.fixture
async def site(world: World) -> Site:
    return world.site()


async def reported(site: Site, hour: int, **values: Any) -> None:
    ended = f"2026-11-03T{hour:02}:00:00.000Z"
    report = site.report(started_at=f"2026-11-03T{hour - 1:02}:00:00.000Z", ended_at=ended)
    await site.writes(site.insert("job_responses", report | values, created=ended))


async def rows(client: httpx.AsyncClient, report: str = "output", **asked: str) -> list[list[Any]]:
    answer = await client.get(f"/v1/reports/{report}", params=asked)
    assert answer.status_code == 200, answer.text
    return [list(row.values()) for row in answer.json()["rows"]]


async def refused(client: httpx.AsyncClient, **asked: str) -> dict[str, str]:
    answer = await client.get("/v1/reports/output", params=asked)
    assert answer.status_code == 422, answer.text
    return {each["field"]: each["rule"] for each in answer.json()["errors"]}


# --- shares and zeros ---------------------------------------------------------------------------


@pytest.fixture
async def stopped(site: Site) -> Site:
    """A site where two kinds of work were done and one broke down."""
    await reported(site, 7, segment_code="Turn", qty_good="6", qty_scrap="2")
    await reported(site, 8, segment_code="Mill", qty_good="3", qty_scrap="0")
    await reported(site, 9, segment_code="Mill", qty_good="0", report_type="BREAKDOWN")
    return site


async def test_rows_are_left_out_where_a_ratio_is_zero_or_undefined(stopped, client):
    asked = {"group_by": "segment", "measures": "mttr_min", "nonzero": "mttr_min"}
    assert await rows(client, **asked) == [["Mill", 60]]
    asked = {"group_by": "segment", "measures": "scrap_ratio,qty_scrap", "nonzero": "scrap_ratio"}
    assert await rows(client, **asked, share_of="qty_scrap") == [["Turn", 0.25, 2, 1, 1]]


@pytest.mark.parametrize("name", ["share_of", "nonzero"])
async def test_every_measure_has_shares_and_zeros_or_is_refused_with_the_rule(
    stopped, client, name
):
    none = {*MOMENTS, *(KPIS if name == "share_of" else ())}
    for measure in known_measures():
        given = {"group_by": "machine", "measures": measure, name: measure} | OF_DAYS
        if measure in none:
            assert [*await refused(client, **given)] == [f"query.{name}"], measure
        else:
            await rows(client, **given)


async def test_shares_are_of_what_adds_up_and_no_instant_is_zero(client):
    for name in ("share_of", "nonzero"):
        found = await refused(client, measures="first_start", **{name: "first_start"})
        assert found == {f"query.{name}": "a number: first_start is an instant"}
    found = await refused(client, measures="scrap_ratio", share_of="scrap_ratio")
    assert found == {"query.share_of": "a measure that adds up: scrap_ratio is a ratio"}


# --- filters ------------------------------------------------------------------------------------


async def test_texts_are_found_by_a_part_of_them_in_any_case(site, client):
    await reported(site, 7, segment_code="Final Inspection Q.C.")
    await reported(site, 8, segment_code="Turning")
    machines = {"id": site.report()["equipment_id"], "equipment_code": "Straße 1"}
    await site.writes(site.insert("equipment", machines))
    for report in ("output", "log"):
        for part in ("q.c.", "INSPECTION", "Q.C."):
            found = await rows(client, report, **{"segment.contains": part})
            assert len(found) == 1, (report, part)
    assert len(await rows(client, "log", **{"machine.contains": "sTRAßE"})) == 2
    assert await rows(client, "log", segment="TURNING") == []


@pytest.mark.parametrize("name", [*DIMENSIONS])
async def test_whatever_there_is_can_be_filtered_for_in_each_way(site, client, name):
    await reported(site, 7)
    for report in ("output", "log", "utilisation", "scrap"):
        for how in ("", ".not", ".contains"):
            for by in ("code", "id"):
                given = {f"{name}{how}": "AAA", "by": by}
                answer = await client.get(f"/v1/reports/{report}", params=given)
                assert answer.status_code == 200, (report, given, answer.text)


async def test_the_log_by_ids_is_filtered_by_ids(site, client):
    one = site.report()["equipment_id"]
    other = "0199b1f0-5c40-7d3c-9f52-5b0e2f1e8c83"
    machines = [{"id": one, "equipment_code": "M 1"}, {"id": other, "equipment_code": "M 2"}]
    await site.writes(site.insert("equipment", *machines))
    await reported(site, 7)
    await reported(site, 8, equipment_id=other)
    for given in (
        {"by": "id", "machine": one}, {"by": "id", "machine.not": other},
        {"by": "id", "machine.contains": "m 1"}, {"machine": "M 1"},
    ):  # fmt: skip
        answer = await client.get("/v1/reports/log", params=given)
        assert [row["machine"] for row in answer.json()["rows"]] == ["M 1"], given
    assert await rows(client, "log", by="id", machine="M 1") == []


# --- units --------------------------------------------------------------------------------------


async def test_quantities_are_told_apart_by_their_units(site, client):
    await reported(site, 7, qty_good="100", uom="pcs")
    await reported(site, 8, qty_good="2.5", uom="kg")
    await reported(site, 9, qty_good="50", uom="pcs")
    asked = {"group_by": "uom", "measures": "qty_good"}
    assert await rows(client, **asked) == [["kg", 2.5], ["pcs", 150]]
    assert await rows(client, **asked, time_basis="clip") == [["kg", 2.5], ["pcs", 150]]
    assert await rows(client, measures="qty_good", uom="pcs", **OF_DAYS) == [[150]]
    assert len(await rows(client, "log", **{"uom.not": "pcs"})) == 1
    known = {"as_known_at": "2026-12-04T00:00:00Z", **OF_DAYS}
    assert [*await refused(client, **asked, **known)] == ["query.uom"]
    assert [*await refused(client, measures="reports", uom="kg", **known)] == ["query.uom"]


# --- key figures --------------------------------------------------------------------------------


async def test_first_pass_yield_without_rework_is_of_first_attempts_alone(site, client):
    """A hundred parts are inspected; of 30 that are not good, 30 are reworked and pass."""
    await reported(site, 7, qty_good="70", qty_scrap="30")
    await reported(site, 8, qty_good="30", qty_rework="30", is_rework=1)
    (found,) = await rows(client, measures="fpy,fpy_without_rework")
    assert found == [0.769230769, 0.7]


async def test_pieces_a_reported_minute_are_not_told_as_a_rate_of_the_standard(site, client):
    await reported(site, 7, qty_good="60")
    await reported(site, 17, qty_good="60")
    assert await rows(client, measures="throughput_rate") == [[1]]
    told = (await client.get("/v1/reports/definitions")).json()["kpis"]
    (found,) = [each for each in told if each["name"] == "throughput_rate"]
    assert found["source"] == "not ISO"
    assert found["about"].startswith("Pieces a reported minute")

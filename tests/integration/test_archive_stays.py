"""Facts that answers rest on as a whole stay: what left earlier is told, and comes back."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest

from central.archive import archive, attach, detach, drop
from central.archive_bench import NotArchivable
from central.archive_hash import STAY
from central.archiving import due
from central.partitions import Partition
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import NOON_MS, World, world
from tests.integration.archive_world import Archive, archive_of
from tests.integration.quality_world import Plant
from tests.integration.test_archiving import goes_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

NORTH, MONTH = "SITE_001", "2024-02"
MOVED, MEASURED = (
    Partition(table, NORTH, MONTH) for table in ("inventory_movements", "measurements")
)
OLD, NEW = f"{MONTH}-10T08:00:00.000Z", "2026-11-20T08:00:00.000Z"
CHARTED = {"from": "2024-02-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"}


@pytest.fixture
async def bench(world: World, tmp_path: Path) -> AsyncIterator[Archive]:
    async with archive_of(world, tmp_path / "archive") as made:
        yield made


async def moved(world: World) -> str:
    """Make a lot of which ten came long ago, and four went now; return it."""
    plant = Plant(world)
    lot = await plant.lot("L-1")
    for qty, created in (("10", OLD), ("-4", NEW)):
        row = {"lot_id": lot, "qty_delta": qty, "kind": "ADJUST"}
        await plant.write("inventory_movements", row, created=created)
    return lot


async def measured(world: World) -> str:
    """Make a characteristic that was measured long ago; return it."""
    plant = Plant(world)
    name = await plant.characteristic()
    (result,) = await plant.write("inspection_results", {}, created=OLD)
    row = {"result_id": result, "characteristic_id": name, "piece_no": 1, "value": "1.5"}
    await plant.write("measurements", row, created=OLD)
    return name


async def asked(api: Api, path: str, **params: str) -> dict[str, Any]:
    async with await api.asked_by(f"plant:{NORTH}") as client:
        answer = await client.get(f"/v1/reports/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def on_hand(api: Api, lot: str) -> list[tuple[int, int]]:
    """Return what is on hand of a lot, and how many months are not counted, as all answers say."""
    (listed,) = (await asked(api, "lots"))["lots"]
    told = await asked(api, f"genealogy/{lot}")
    async with await api.asked_by(f"plant:{NORTH}") as client:
        table = (await client.get("/v1/reports/lots?format=csv")).text
    (line,) = csv.DictReader(io.StringIO(table))
    lacks = int(line["archived_not_counted"])
    assert told["archived_not_counted"] == lacks
    found = [(each["on_hand"][0]["qty"], each["archived_not_counted"])
             for each in (listed, *told["lots"])]  # fmt: skip
    return [*found, (int(line["on_hand"]), lacks)]


@pytest.mark.parametrize("part", [MOVED, MEASURED], ids=lambda part: part.table)
async def test_what_answers_rest_on_as_a_whole_is_not_archived_by_hand_nor_by_itself(
    world, api, bench, part
):
    lot, _ = await moved(world), await measured(world)
    for step in (detach, archive, drop):
        with pytest.raises(NotArchivable, match=f"{part.table} can't be archived: .* attach"):
            await step(bench.bench, part)
    assert part not in await due(world.admin, bench.shelf, NOON_MS, 12)
    assert set(await on_hand(api, lot)) == {(6, 0)}


async def test_stock_says_that_months_left_before_until_they_are_brought_back(
    world, api, bench, monkeypatch
):
    lot = await moved(world)
    with monkeypatch.context() as before:
        before.delitem(STAY, MOVED.table)
        await bench.goes(MOVED)
    assert set(await on_hand(api, lot)) == {(-4, 1)}
    assert await attach(bench.bench, MOVED)
    assert set(await on_hand(api, lot)) == {(6, 0)}


async def test_charts_say_that_months_left_before_until_they_are_brought_back(
    world, api, bench, monkeypatch
):
    name = await measured(world)
    path = f"spc/{name}"
    limits = {f"limits_{end}": at for end, at in CHARTED.items()}
    with monkeypatch.context() as before:
        before.delitem(STAY, MEASURED.table)
        await bench.goes(MEASURED)
    found = await asked(api, path, **CHARTED)
    lacks = (found["archived_not_counted"], found["limits"]["archived_not_counted"])
    assert (found["values"], lacks) == (0, (1, 1))
    march = {"from": "2024-03-01T00:00:00Z", "to": "2024-04-01T00:00:00Z"}
    found = await asked(api, path, **march)
    lacks = (found["archived_not_counted"], found["limits"]["archived_not_counted"])
    assert (found["values"], lacks) == (0, (0, 0))
    found = await asked(api, path, **march, **limits)
    lacks = (found["archived_not_counted"], found["limits"]["archived_not_counted"])
    assert lacks == (0, 1)
    assert await attach(bench.bench, MEASURED)
    found = await asked(api, path, **CHARTED)
    assert (found["values"], found["archived_not_counted"]) == (1, 0)


async def test_a_month_that_was_on_its_way_out_goes_no_further_by_itself(
    world, api, bench, monkeypatch
):
    lot = await moved(world)
    with monkeypatch.context() as before:
        before.delitem(STAY, MOVED.table)
        await detach(bench.bench, MOVED)
    assert MOVED not in await due(world.admin, bench.shelf, NOON_MS, 12)  # else it fails each hour
    assert await goes_on(bench) is None
    assert await bench.state(MOVED) == "detached"
    assert set(await on_hand(api, lot)) == {(-4, 1)}
    assert await attach(bench.bench, MOVED)
    assert set(await on_hand(api, lot)) == {(6, 0)}

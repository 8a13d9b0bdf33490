"""Exports of all who ask are written in turn, and nobody's files fill the disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from central import exporting, exports
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world
from tests.integration.test_api_exports import (
    EXPORTS,
    asked,
    asked_by,
    exporter,
    files,
    state,
    written,
)

if TYPE_CHECKING:
    from pathlib import Path

    from central.exporting import Exporter
    from tests.integration.apply_world import World

__all__ = ["api", "exporter", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def test_one_that_asks_for_one_waits_for_one_of_who_asked_for_many(
    api: Api, world: World, exporter: Exporter
):
    async with (
        asked_by(api, exporter, "corporate") as greedy,
        asked_by(api, exporter, "corporate") as other,
    ):
        many = [await asked(greedy) for _ in range(4)]
        one = await asked(other)
        for _ in range(2):
            assert await written(exporter)
        assert (await state(other, one))[0] == "done"
        assert [(await state(greedy, each))[0] for each in many] == ["done", *["waiting"] * 3]
        last = await asked(other)
        assert await written(exporter)  # the turn of the first, who was served longest ago
        assert await written(exporter)
        assert (await state(other, last))[0] == "done"
        for _ in range(2):
            assert await written(exporter)
        assert {(await state(greedy, each))[0] for each in many} == {"done"}


async def test_who_has_one_at_work_waits_for_who_has_none(
    api: Api, world: World, exporter: Exporter
):
    async with (
        asked_by(api, exporter, "corporate") as busy,
        asked_by(api, exporter, "corporate") as other,
    ):
        at_work = await asked(busy)
        await world.admin.execute(
            "UPDATE sync.export SET state = 'running', alive_until = now() + '1 h',"
            " begun_at = now() - interval '1 h'"
        )
        waiting = await asked(busy)
        mine = await asked(other)
        await world.admin.execute(
            "UPDATE sync.export SET begun_at = now() WHERE id = %s", [mine.rsplit("/", 1)[1]]
        )  # served a moment ago, and has none at work now
        assert await written(exporter)
        assert (await state(other, mine))[0] == "done"
        assert (await state(busy, waiting))[0] == "waiting"
        assert (await state(busy, at_work))[0] == "running"


async def test_nothing_is_written_onto_a_disk_that_is_nearly_full(
    api: Api, exporter: Exporter, monkeypatch
):
    usage = shutil.disk_usage

    def nearly_full(folder: Path) -> tuple[int, int, int]:
        return usage(folder)._replace(free=exporting.FREE_MIN - 1)

    monkeypatch.setattr("central.exporting.shutil.disk_usage", nearly_full)
    async with asked_by(api, exporter, "corporate") as client:
        where = await asked(client)
        assert await written(exporter)
        found, why = await state(client, where)
        assert (found, "nearly full" in why) == ("failed", True)
        assert files(exporter) == []


async def test_files_of_one_who_asks_have_a_bound_together_and_others_have_theirs(
    api: Api, world: World, exporter: Exporter, monkeypatch
):
    monkeypatch.setattr(exports, "BYTES_MAX", 2_000)
    async with (
        asked_by(api, exporter, "corporate") as client,
        asked_by(api, exporter, "corporate") as other,
    ):
        first, second = await asked(client), await asked(client)
        assert await written(exporter)
        await world.admin.execute("UPDATE sync.export SET bytes = 1990 WHERE state = 'done'")
        assert await written(exporter)
        found, why = await state(client, second)
        assert (found, "together" in why) == ("failed", True)
        await world.admin.execute("UPDATE sync.export SET bytes = 2000 WHERE state = 'done'")
        told = await client.post(EXPORTS, json={"report": "log"})
        assert (told.status_code, told.json()["type"]) == (429, "/problems/too-many-exports")
        theirs = await asked(other)
        assert await written(exporter)
        assert (await state(other, theirs))[0] == "done"
        assert (await client.delete(first)).status_code == 204
        await asked(client)

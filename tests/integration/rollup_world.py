"""Reports of every kind, what the ingest alone may write, and that all sums are right."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg

from central.roles import INGEST, as_role
from central.rolled import differences, fold
from central.unions import KEPT
from tests.integration.central_world import SITES

if TYPE_CHECKING:
    import random

    from shared.changes import ChangeBlock
    from tests.integration.apply_world import Site, World

MONTHS = ("2024-02", "2026-10", "2026-11")
MACHINES = [str(uuid.UUID(int=n)) for n in range(1, 4)]
TYPES = ("PRODUCTION", "SETUP", "BREAKDOWN", "CORRECTION")


async def as_ingest(world: World, statement: str, *given: object) -> None:
    """Write facts past their site, as nobody but the ingest may."""
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        await ingest.execute(statement.encode(), list(given))


async def folds(world: World) -> int:
    """Fold what stands, and return how many deltas there were."""
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        return await fold(ingest)


async def exact(world: World) -> None:
    """All rollups of all sites are what the facts come to, and there is something to be wrong."""
    for site in SITES:
        for rollup in KEPT:
            assert await differences(world.admin, rollup, site) == [], (site, rollup.name)


def moment(chance: random.Random) -> datetime:
    month = datetime.fromisoformat(f"{chance.choice(MONTHS)}-01").replace(tzinfo=UTC)
    return month + timedelta(milliseconds=chance.randrange(28 * 86_400_000))


def report(site: Site, chance: random.Random) -> dict[str, Any]:
    ended = moment(chance)
    began = ended - timedelta(seconds=chance.randrange(40_000))
    some = site.report()
    return some | {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "created": canonical(ended), "started_at": canonical(began),
        "ended_at": chance.choice([canonical(ended), canonical(ended), None]),
        "report_type": chance.choice(TYPES), "equipment_id": chance.choice([*MACHINES, None]),
        "work_order_id": None, "person_id": chance.choice([*MACHINES, None]),
        "segment_code": chance.choice(["10", "20", None]),
        "shift_code": chance.choice(["A", None]),
        "business_date": chance.choice([None, None, "2026-11-02"]),
        "qty_good": str(Decimal(chance.randrange(-10**6, 10**9)) / 10**6),
        "qty_scrap": str(chance.randrange(5)), "qty_rework": "0.1", "qty_mrb": "0.000001",
        "duration_s": chance.choice([None, "60", "0.001"]), "duration_known": chance.randrange(2),
    }  # fmt: skip


def canonical(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


async def sends(site: Site, reports: list[dict[str, Any]]) -> None:
    await site.writes(*blocks(site, reports))


def blocks(site: Site, reports: list[dict[str, Any]]) -> list[ChangeBlock]:
    return [site.insert("job_responses", each, created=each["created"]) for each in reports]

"""Histories of reports as the ingest writes them, and answers held against those of the facts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from central import rolled
from central.api.asking import reading
from central.mending import mend
from central.reports.months import located
from central.reports.orders import throughput_statement, wip_at_statement, wip_statement
from central.reports.question import Question, Window
from central.reports.statement import statement_of
from central.roles import INGEST, as_role
from central.rolled import fold, follow_days
from central.unions import fold_statement
from tests.integration.central_world import SITES
from tests.integration.rollup_world import as_ingest

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from tests.integration.api_world import Api
    from tests.integration.apply_world import World

TWO = SITES[:2]
MACHINES = [str(uuid.UUID(int=n)) for n in range(1, 5)]
ORDERS = [str(uuid.UUID(int=n)) for n in range(21, 26)]
#: What is told of them: two go on, of which one was begun before any report, and one ended early.
TOLD: tuple[dict[str, Any], ...] = (
    {"exec_state": "COMPLETED"},
    {"exec_state": "IN_PROGRESS", "actual_start": "2026-10-19T06:00:00.000Z"},
    {"exec_state": "CLOSED", "actual_end": "2026-11-01T12:00:00.000Z"},
    {"exec_state": "COMPLETED"},
    {"exec_state": "RELEASED"},
)
#: The clocks of Berlin go back on the 25th.
FIRST = datetime(2026, 10, 20, tzinfo=UTC)
WINDOW = Window(date(2026, 10, 21), date(2026, 11, 5))
LATER = Window(date(2026, 10, 31), date(2026, 11, 3))
COLUMNS = (
    "site_id", "created_at", "started_at", "ended_at", "business_date", "equipment_id",
    "work_order_id", "report_type", "segment_code", "qty_good", "qty_scrap", "qty_mrb",
)  # fmt: skip
OEE = ("produced_min", "run_min", "ideal_min", "qty_good", "qty_unrated", "machines", "oee")
MACHINE_DAYS = Question(
    sites=TWO, window=WINDOW, group_by=("site", "machine"), bucket="day", measures=OEE, limit=9_999
)
LIVES = Question(
    sites=TWO, window=WINDOW, group_by=("site", "order"), measures=(), limit=9_999,
    is_of_lives=True,
)  # fmt: skip
AT = tuple(FIRST + timedelta(hours=7 * n) for n in range(40))
#: Questions, and the statements that answer them.
ASKED: tuple[tuple[Question, Callable[[Question], Any]], ...] = (
    (MACHINE_DAYS, statement_of),
    (replace(MACHINE_DAYS, bucket=None, window=Window(date(2026, 10, 24), date(2026, 10, 26))),
     statement_of),
    (LIVES, wip_statement),
    (replace(LIVES, window=Window()), throughput_statement),
    (LIVES, throughput_statement),
    # Most orders have ended before.
    (replace(LIVES, window=LATER), throughput_statement),
    (replace(LIVES, window=LATER), wip_statement),
    (replace(LIVES, window=Window()), partial(wip_at_statement, at=AT[-3:])),
    (replace(LIVES, group_by=("site",), window=Window()), partial(wip_at_statement, at=AT)),
)  # fmt: skip


@dataclass(slots=True)
class Met:
    """How often an answer was by facts of some keys, and how often by those of none."""

    stale: int = 0
    none: int = 0
    rated: int = 0
    keys: set[object] = field(default_factory=set)


async def alike(api: Api, met: Met) -> None:
    """Hold each answer against that of the facts, in one snapshot."""
    for question, made in ASKED:
        async with reading(api.reach.reading, question.sites) as connection:
            found = await located(connection, question)
            assert found.stale is not None
            by_facts = await rows(connection, made(question))
            assert await rows(connection, made(found)) == by_facts, (made, found)
        met.keys |= {*found.stale.busy, *found.stale.orders}
        is_stale = bool(found.stale.busy or found.stale.orders)
        met.stale, met.none = met.stale + is_stale, met.none + (not is_stale)
        met.rated += bool(found.stale.rated)


async def rows(connection: AsyncConnection, statement: Any) -> list[Any]:
    cursor = await connection.execute(statement.text.encode(), statement.values)
    return await cursor.fetchall()


# --- what happens ---------------------------------------------------------------------------------


async def a_plant(world: World) -> None:
    """Give two sites machines, lines, orders and months; the first one's days begin in Berlin."""
    for name in TWO:
        site = world.site(name)
        machines = [
            {"id": each, "equipment_code": f"M {n}", "parent_id": MACHINES[0] if n == 1 else None}
            for n, each in enumerate(MACHINES)
        ]
        orders = [
            site.order(id=each, order_no=f"O-{n}", material_code=f"P-{n % 2}", **more)
            for n, (each, more) in enumerate(zip(ORDERS, TOLD, strict=True))
        ]
        await site.writes(site.insert("equipment", *machines), site.insert("work_orders", *orders))
        for month in ("2026-08-01", "2026-10-01", "2026-11-01"):
            await as_ingest(
                world, "SELECT sync.make_partition('job_responses', %s, %s)", name, month
            )
    await world.client(
        "INSERT INTO mes.shift_calendar (starts_at, ends_at, entry_type)"
        " VALUES ('2026-10-20T04:00Z', '2026-11-02T20:00Z', 'WORK')"
    )
    await zoned(world, "Europe/Berlin", "06:00")


async def zoned(world: World, zone: str, day_start: str) -> None:
    await world.admin.execute(
        b"INSERT INTO mes.sites (id, site_id, created_at, code, name, timezone, business_day_start)"
        b" SELECT uuidv7(), '*', now(), 'SITE_001', 'B', %s, %s"
        b" WHERE NOT EXISTS (SELECT FROM mes.sites WHERE code = 'SITE_001')",
        [zone, day_start],
    )
    await world.admin.execute(
        b"UPDATE mes.sites SET timezone = %s, business_day_start = %s WHERE code = 'SITE_001'",
        [zone, day_start],
    )
    await follow_days(world.admin)


def a_report(chance: random.Random) -> tuple[Any, ...]:
    ended = FIRST + timedelta(minutes=15 * chance.randrange(4 * 24 * 15))
    if chance.random() < 0.2:  # where a day of Berlin begins, or one of UTC
        ended = ended.replace(hour=chance.choice((0, 4, 5)), minute=0)
    lasts = chance.choice((0, 20, 90, 90, 1500, 3 * 1440, 7 * 1440, 7 * 1440 + 1, 40 * 1440))
    began = ended - timedelta(minutes=lasts)
    made = chance.choice((ended, ended, datetime(2026, 8, 5, tzinfo=UTC)))
    return (
        chance.choice(TWO), made, chance.choice((began, began, began, None)),
        chance.choice((ended, ended, ended, None)),
        chance.choice((None, None, None, date(2026, 10, 26))),
        chance.choice((*MACHINES, None)), chance.choice((*ORDERS, None)),
        chance.choice(("PRODUCTION", "PRODUCTION", "PRODUCTION", "SETUP", "CORRECTION")),
        chance.choice(("Turn", None)), chance.randrange(-1, 5), chance.randrange(2), 1,
    )  # fmt: skip


async def inserts(world: World, reports: list[tuple[Any, ...]]) -> None:
    """Write reports in one statement."""
    columns = ", ".join(COLUMNS)
    holes = ", ".join(f"({', '.join(['%s'] * len(COLUMNS))})" for _ in reports)
    given = [value for report in reports for value in report]
    await as_ingest(world, f"INSERT INTO mes.job_responses ({columns}) VALUES {holes}", *given)


_SOME = "SELECT id FROM mes.job_responses ORDER BY md5(id::text || %s) LIMIT 2"
#: What people mend of a report: quantities mostly, and all that keys are made of.
MENDED = (
    "qty_good = qty_good + 1",
    "qty_good = qty_good + 1",
    "ended_at = ended_at + interval '7 hours'",
    "started_at = started_at - interval '7 hours'",
    "equipment_id = NULL, work_order_id = NULL",
    "report_type = 'SETUP'",
    "business_date = '2026-10-22'",
)


async def happens(world: World, chance: random.Random) -> None:
    """Let something happen to the reports, to what is kept of them, or to rates."""
    salt = str(chance.random())
    match chance.randrange(12):
        case 0 | 1 | 2:
            await inserts(world, [a_report(chance) for _ in range(chance.randrange(1, 9))])
        case 3 | 4:
            change = chance.choice(MENDED)
            await as_ingest(
                world, f"UPDATE mes.job_responses SET {change} WHERE id IN ({_SOME})", salt
            )
        case 5:
            await as_ingest(world, f"DELETE FROM mes.job_responses WHERE id IN ({_SOME})", salt)
        case 6 | 7:
            await folds(world, chance.choice((1, 3, 50)))
        case 8 | 9:
            await mends(world)
        case 10:
            since = FIRST + timedelta(hours=chance.choice((0, 24, 31, 31, 100, 140)))
            await world.client(
                "INSERT INTO mes.equipment_rates (equipment_id, material_code, segment_code, pri_s,"
                " effective_from, effective_to) VALUES (%s, %s, %s, %s, %s, %s)",
                chance.choice(MACHINES), chance.choice(("P-1", None)),
                chance.choice(("Turn", None)), chance.randrange(1, 90), since,
                chance.choice((None, since + timedelta(days=3, hours=chance.choice((0, 7))))),
            )  # fmt: skip
        case _:
            zone = chance.choice(("Europe/Berlin", "UTC", "Pacific/Auckland"))
            await zoned(world, zone, chance.choice(("06:00", "00:00", "22:15")))


async def folds(world: World, most: int = 50) -> None:
    """Fold some of what stands, once, in whatever order."""
    async with await ingest(world) as connection, connection.transaction():
        text = fold_statement("job_responses")
        text = text.replace("LIMIT %(most)s", "ORDER BY random() LIMIT %(most)s")
        cursor = await connection.execute(
            f"SELECT pg_advisory_xact_lock({rolled.FOLDING})".encode()
        )
        cursor = await connection.execute(text.encode(), {"most": most})
        assert await cursor.fetchone()


async def folds_all(world: World) -> None:
    async with await ingest(world) as connection:
        await fold(connection)


async def mends(world: World, shelf: Any = None) -> int:
    async with await ingest(world) as connection:
        return await mend(connection, shelf)


async def ingest(world: World) -> AsyncConnection[Any]:
    url = as_role(world.url, INGEST)
    return await psycopg.AsyncConnection.connect(url, autocommit=True)

"""Two plants that worked for ten days, on a whole system with its API, and a browser beside it."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from central import api_keys, roles
from central.api.serve import serve_api
from central.settings import CentralSettings
from central.web.app import build
from tests.integration.central_world import CATALOG
from tests.integration.whole_world import whole_world

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.whole_world import Edge, World

ONE, OTHER = "SITE_001", "SITE_002"
DAYS = 10
_REPORT = """
INSERT INTO job_responses (created_at, work_order_id, equipment_id, report_type, segment_code,
    started_at, ended_at, duration_s, qty_good, qty_scrap, qty_rework, shift_code, scrap_reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


@dataclass
class Plants:
    """The system, and where its pages are."""

    world: World
    origin: str
    keys: dict[str, str]

    def edge(self, site: str) -> Edge:
        return self.world.edges[site]


def text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def work(edge: Edge, chance: random.Random, now: datetime) -> None:
    """Have a plant report what it did: machines run, are set up, break down, and scrap some."""
    edge.write(*(
        ("INSERT INTO equipment (equipment_code, equipment_class) VALUES (?, 'PRESS')", (f"M {n}",))
        for n in range(1, 5)
    ))  # fmt: skip
    # Every second one is finished, on its due date or a day later; two were due long ago.
    edge.write(*(
        ("INSERT INTO work_orders (order_no, material_code, qty_ordered, due_at, exec_state,"
         " actual_end) VALUES (?, ?, ?, ?, ?, ?)",
         (f"WO-{edge.site[-1]}{n:02}", f"P-{n % 3}", 400, text(due),
          "IN_PROGRESS" if n % 2 else "COMPLETED",
          None if n % 2 else text(due + timedelta(days=n % 4 / 2))))
        for n in range(8)
        for due in [now - timedelta(days=40 if n in (6, 7) else 1 + n)]
    ))  # fmt: skip
    machines = [row[0] for row in edge.read("SELECT id FROM equipment ORDER BY equipment_code")]
    orders = [row[0] for row in edge.read("SELECT id FROM work_orders ORDER BY order_no")]
    lines = []
    for back in range(DAYS, 0, -1):
        for machine in machines:
            at = now - timedelta(days=back) + timedelta(minutes=chance.randrange(200))
            for kind in chance.choices(("PRODUCTION", "SETUP", "BREAKDOWN"), (6, 2, 1), k=5):
                lines.append(_line(chance, kind, at, (machine, chance.choice(orders))))
                at += timedelta(minutes=chance.randrange(130, 240))
    edge.write(*((_REPORT, line) for line in lines))
    edge.write(*(
        ("INSERT INTO equipment_state_events (created_at, equipment_id, state, since)"
         " VALUES (?, ?, ?, ?)", (text(at), machine, state, text(at)))
        for n, machine in enumerate(machines)
        for hours, state in ((60, "IDLE"), (30, "RUNNING"), (9, "DOWN"), (2, "RUNNING"))
        for at in [now - timedelta(hours=hours, minutes=7 * n)]
    ))  # fmt: skip


def _line(
    chance: random.Random, kind: str, at: datetime, of: tuple[str, str]
) -> tuple[object, ...]:
    minutes = chance.randrange(10, 120)
    end, makes = at + timedelta(minutes=minutes), kind == "PRODUCTION"
    scrap = chance.randrange(4) if makes else 0
    return (
        text(end), of[1], of[0], kind, chance.choice(("OP 10", "OP 20", "OP 30 check")),
        text(at), text(end), minutes * 60, chance.randrange(20, 60) if makes else 0, scrap,
        chance.randrange(3) if makes else 0, chance.choice(("early", "late")),
        chance.choice(("crack", "size")) if scrap else None,
    )  # fmt: skip


def know_more(edge: Edge, now: datetime) -> None:
    """Have a plant plan its time, measure a bore that jumps once, and follow steel to boxes."""
    edge.write(*(
        ("INSERT INTO shift_calendar (starts_at, ends_at) VALUES (?, ?)",
         (text(day), text(day + timedelta(hours=16))))
        for day in (now - timedelta(days=back) for back in range(DAYS, 0, -1))
    ))  # fmt: skip
    edge.write(("INSERT INTO inspection_plans (plan_code) VALUES ('P-BORE')", ()))
    edge.write((
        "INSERT INTO inspection_characteristics (plan_id, seq, name, lsl, target, usl, uom)"
        " SELECT id, 1, 'bore', 9.9, 10, 10.1, 'mm' FROM inspection_plans"
        " WHERE plan_code = 'P-BORE'", (),
    ))  # fmt: skip
    ((bore,),) = edge.read("SELECT id FROM inspection_characteristics")
    for n in range(25):
        at = text(now - timedelta(hours=30 - n))
        result, value = str(uuid.uuid4()), 10.09 if n == 20 else 10 + 0.004 * (n % 5 - 2)
        edge.write(
            ("INSERT INTO inspection_results (id, created_at) VALUES (?, ?)", (result, at)),
            ("INSERT INTO measurements (created_at, result_id, characteristic_id, piece_no, value)"
             " VALUES (?, ?, ?, 1, ?)", (at, result, bore, f"{value:.3f}")),
        )  # fmt: skip
    _make_lots(edge)


def _make_lots(edge: Edge) -> None:
    lots = {name: str(uuid.uuid4()) for name in ("STEEL", "RESIN", "BLANK", "PART", "BOX")}
    edge.write(*(
        ("INSERT INTO material_lots (id, lot_no, material_code) VALUES (?, ?, ?)",
         (lot, f"{name}-{edge.site[-1]}", name))
        for name, lot in lots.items()
    ))  # fmt: skip
    edge.write(*(
        ("INSERT INTO lot_genealogy (parent_lot_id, child_lot_id, relation, qty, uom)"
         " VALUES (?, ?, 'CONSUMED', 40, 'kg')", (lots[parent], lots[child]))
        for parent, child in (("STEEL", "BLANK"), ("RESIN", "BLANK"), ("BLANK", "PART"),
                              ("PART", "BOX"))
    ))  # fmt: skip
    edge.write(
        ("INSERT INTO inventory_movements (lot_id, kind, qty_delta) VALUES (?, 'PRODUCE', 28)",
         (lots["BOX"],)),
        ("INSERT INTO holds (target_type, target_id, reason_code, placed_by, placed_at)"
         " VALUES ('LOT', ?, 'CRACK', 'q.chief', '2026-11-20T08:00:00.000Z')", (lots["BLANK"],)),
    )  # fmt: skip


async def rate(world: World, site: str) -> None:
    """Have the centre say how fast the machines of a site can be."""
    await world.central(
        "INSERT INTO mes.equipment_rates (id, site_id, created_at, equipment_id, pri_s,"
        " effective_from) SELECT gen_random_uuid(), e.site_id, now(), e.id, 90, '2026-01-01'"
        " FROM mes.equipment AS e WHERE e.site_id = %s RETURNING 1",
        site,
    )


async def let_pieces_count(world: World) -> None:
    """Have the centre say at which operation the good pieces of an order are counted."""
    part, definition = uuid.uuid4(), uuid.uuid4()
    for text, given in (
        (
            "mes.material_definitions (id, site_id, created_at, material_code)"
            " VALUES (%s, '*', now(), 'P-0')",
            (part,),
        ),
        (
            "mes.operations_definitions (id, site_id, created_at, material_id)"
            " VALUES (%s, '*', now(), %s)",
            (definition, part),
        ),
        (
            "mes.operation_segments (id, site_id, created_at, definition_id, seq, code, is_output)"
            " VALUES (gen_random_uuid(), '*', now(), %s, 1, 'OP 30 check', true)",
            (definition,),
        ),
    ):
        await world.central(f"INSERT INTO {text} RETURNING 1", *given)


async def in_review(world: World, site: str, plan: str) -> str:
    """Let both ends edit one plan while the site is cut off; return the conflict."""
    edge = world.edges[site]
    edge.write(("INSERT INTO inspection_plans (plan_code, sample_size) VALUES (?, 5)", (plan,)))
    await world.settle_counts()
    await edge.stop()
    edge.write((
        "UPDATE inspection_plans SET sample_size = 7, changed_by = 'j.kiss' WHERE plan_code = ?",
        (plan,),
    ))  # fmt: skip
    await world.central(
        "UPDATE mes.inspection_plans SET sample_size = 9, changed_by = 'm.weber'"
        " WHERE plan_code = %s AND site_id = %s RETURNING 1",
        plan, site,
    )  # fmt: skip
    await edge.start()
    await world.settle_counts()
    found = edge.read("SELECT id FROM sync_conflicts ORDER BY decided_at DESC LIMIT 1")
    return found[0][0]


@asynccontextmanager
async def plants(
    centre: str, nats_url: str, folder: Path, chance: random.Random
) -> AsyncIterator[Plants]:
    """Run the system with two plants that have worked, and its API, until the end of the block."""
    async with whole_world(centre, nats_url, folder, (ONE, OTHER)) as world:
        await world.settle_counts()
        now = datetime.fromtimestamp(time.time_ns() / 1e9, UTC)
        for edge in world.edges.values():
            await asyncio.to_thread(work, edge, chance, now)
            await asyncio.to_thread(know_more, edge, now)
        await world.settle_counts(timeout_s=60)
        await rate(world, ONE)
        await let_pieces_count(world)
        port = free_port()
        settings = CentralSettings(
            database_url=roles.as_role(centre, "mes_ingest"), nats_servers=(nats_url,),
            api_port=port, export_dir=folder / "exports",
        )  # fmt: skip
        async with await psycopg.AsyncConnection.connect(centre, autocommit=True) as admin:
            keys = {
                name: await api_keys.add(admin, name, grants)
                for name, grants in (
                    ("boss", ["planner"]), ("one", [f"plant:{ONE}"]), ("reader", ["corporate"]),
                )
            }  # fmt: skip
        serving = asyncio.create_task(serve_api(settings, CATALOG, build), name="api")
        try:
            await world.eventually(lambda: _answers(serving, port))
            yield Plants(world, f"http://127.0.0.1:{port}", keys)
        finally:
            serving.cancel()
            ended = await asyncio.gather(serving, return_exceptions=True)
            assert isinstance(ended[0], asyncio.CancelledError), ended


def _answers(serving: asyncio.Task[Any], port: int) -> bool:
    if serving.done():
        serving.result()
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0

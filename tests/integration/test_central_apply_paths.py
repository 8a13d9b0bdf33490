"""The two paths of a clean write, many rows at once and one by one, come to the same rows."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central.store.batch import merged, sorted_batch
from central.store.changeset import Origin
from central.store.conflicts import settle
from central.store.groups import in_order
from central.store.months import partitions_of
from central.store.session import Session
from shared.catalog_file import load_catalog
from tests.integration.apply_world import CREATED, NOON_MS, Site, World, open_world

if TYPE_CHECKING:
    from shared.changes import ChangeBlock, SyncTransaction

CATALOG = load_catalog()

#: A column of each kind and of each policy that a clean write may touch.
VALUES = {
    "notes": st.none() | st.text("ab\\'\"\n\t{},é", max_size=8),
    "routing": st.none() | st.sampled_from(['{"a": 1}', "[1,2]", '"x"']),
    "qty_ordered": st.sampled_from(["0", "1.5", "999999999999.999999"]),
    "priority": st.integers(0, 100),
    "due_at": st.none() | st.sampled_from([CREATED, "2012-02-29T23:59:59.999Z"]),
    "material_id": st.none() | st.sampled_from([str(uuid.UUID(int=n)) for n in (1, 2)]),
    "assigned_line": st.none() | st.text("L1 ", max_size=3),
    "actual_start": st.none() | st.just(CREATED),
    "changed_by": st.none() | st.sampled_from(["ann", "bob"]),
}
#: Transactions of (what is done, to which row, with what).
Plan = list[list[tuple[str, int, dict[str, Any]]]]

STATES = ("CREATED", "RELEASED", "IN_PROGRESS", "COMPLETED", "CLOSED")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Return transactions; each touches some of five rows, each row once."""
    state: dict[int, dict[str, Any]] = {}
    plan = []
    for _ in range(draw(st.integers(1, 5))):
        step: list[tuple[str, int, dict[str, Any]]] = []
        for row in draw(st.sets(st.integers(0, 4), min_size=1)):
            if row not in state:
                values = {name: draw(values) for name, values in VALUES.items()}
                state[row] = {"exec_state": "CREATED", **values}
                step.append(("insert", row, dict(state[row])))
            elif draw(st.integers(0, 5)) == 0:
                del state[row]
                step.append(("delete", row, {}))
            else:
                names = draw(st.sets(st.sampled_from([*VALUES, "exec_state"]), min_size=1))
                step.append(("update", row, _changes(draw, names, state[row])))
        plan.append(step)
    return plan


def _changes(draw: st.DrawFn, names: set[str], row: dict[str, Any]) -> dict[str, Any]:
    changes = {}
    for name in sorted(names):
        if name == "exec_state":
            new = draw(st.sampled_from(STATES[STATES.index(row[name]) :]))
        else:
            new = draw(VALUES[name])
        changes[name] = (row[name], new)
        row[name] = new
    return changes


def transactions(site: Site, plan: Plan, key: str) -> list[SyncTransaction]:
    """Return what a site sends to do what the plan says; ids and times are the same at any site."""
    ids, last, lives = {}, {}, {}
    sent = []
    for number, step in enumerate(plan):
        tx_id = str(uuid.uuid5(uuid.UUID(int=number), key + site.name))
        blocks: list[ChangeBlock] = []
        for what, row, values in step:
            if what == "insert":
                lives[row] = lives.get(row, 0) + 1
                ids[row] = str(uuid.uuid5(uuid.UUID(int=row), f"{key}{lives[row]}"))
                whole = {"id": ids[row], "order_no": f"{key}-{row}", **values}
                block = site.insert("work_orders", whole)
            elif what == "update":
                block = site.update("work_orders", ids[row], base=None, after=last[row], **values)
            else:
                block = site.delete("work_orders", ids[row], base=None, after=last[row])
            block.at = [NOON_MS + number]
            if row % 2 and len(block.columns) >= 3:
                block.times = [((0b001, NOON_MS - number), (0b110, NOON_MS - 1))]
            last[row] = tx_id
            blocks.append(block)
        sent.append(site.sends(*blocks, tx_id=tx_id))
    return sent


async def apply_singly(world: World, site: Site, run: list[SyncTransaction]) -> None:
    """Apply each row by a decision of its own, whether anything is in its way or not."""
    session = Session(world.store._session._connection, CATALOG, None)
    for sent in run:
        wanted = partitions_of(CATALOG, site.name, sent.blocks, sent.stored_at_ms)
        await session.make_partitions(wanted)

    async def work(connection: Any) -> None:
        applying = await session.applying(
            connection, site.name, now="2026-11-26T05:00:00.000Z", waiting=False
        )
        for sent in run:
            batch = sorted_batch(sent.blocks, Origin.of(sent), CATALOG)
            for rows in in_order(merged(batch.two_way)):
                assert await settle(applying, rows) == []

    await session.transaction(work)


ROWS = (
    "SELECT to_jsonb(t) - 'site_id' FROM mes.work_orders t WHERE site_id = %s AND order_no LIKE %s"
    " ORDER BY order_no"
)
VERSIONS = (
    "SELECT v.id, v.op::text, v.mask, v.overruled, v.writer, v.at_ms, v.times,"
    " v.replaced - 'site_id', v.version = h.version, h.deleted FROM sync.version v JOIN sync.head h"
    " ON (h.site_id, h.table_no, h.id) = (v.site_id, v.table_no, v.id)"
    " WHERE v.site_id = %s AND v.id = ANY(%s::uuid[]) ORDER BY v.id, v.ord"
)
KEYS = "SELECT key, id FROM sync.row_key WHERE site_id = %s AND key LIKE %s ORDER BY key"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans())
def test_clean_writes_come_to_the_same_rows_on_both_paths(centre: str, plan: Plan) -> None:
    key = str(uuid.uuid4())  # an example may run again, in the same database

    async def both() -> None:
        async with open_world(centre) as world:
            many, single = world.site("SITE_001"), world.site("SITE_002")
            await world.admin.execute(b"DELETE FROM sync.epoch")
            run = transactions(many, plan, key)
            outcome = await many.apply(*run)
            assert (outcome.conflicts, outcome.parked) == ({}, 0)
            await apply_singly(world, single, transactions(single, plan, key))
            ids = [each for sent in run for block in sent.blocks for each in block.ids]
            found = {
                name: (
                    await world.rows(ROWS, name, f"{key}%"),
                    await world.rows(VERSIONS, name, ids),
                    await world.rows(KEYS, name, f"%{key}%"),
                )
                for name in ("SITE_001", "SITE_002")
            }
            assert found["SITE_001"] == found["SITE_002"]

    asyncio.run(both())

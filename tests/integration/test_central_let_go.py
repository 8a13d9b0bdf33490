"""Facts that a person let go of, and that their site sends once more: by themselves, unasked."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.catalog import Catalog, Column, ColumnType, Kind, Policy
from shared.catalog_file import load_catalog
from tests.integration.apply_world import open_world, world  # noqa: F401
from tests.integration.test_central_extra import centre_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.changes import ChangeBlock, Value
    from tests.integration.apply_world import World

    Form = Callable[[ChangeBlock], ChangeBlock]

FIRST = load_catalog()


async def let_go(world: World) -> None:
    ((ticket,),) = await world.rows("SELECT ticket::text FROM sync.waiting")
    assert await world.store.discard(ticket, "ann")


async def states(world: World) -> list[str]:
    return [state for _, state, *_ in await world.parked()]


async def test_what_could_not_be_read_then_is_not_parked_once_more(world: World) -> None:
    site = world.site()
    report = site.report(shift_code="x" * 30)
    assert (await site.apply(site.sends(site.insert("job_responses", report)))).parked == 1
    await let_go(world)
    assert (await site.apply(site.sends(site.insert("job_responses", report)))).parked == 0
    assert await states(world) == ["discarded"]
    other = {**report, "shift_code": "y" * 30}
    assert (await site.apply(site.sends(site.insert("job_responses", other)))).parked == 1
    assert sorted(await states(world)) == ["discarded", "parked"]


async def test_it_is_left_out_of_a_batch_that_goes_in_otherwise(world: World) -> None:
    site = world.site()
    order = site.order()
    bad, *others = [site.report(work_order_id=order["id"]) for _ in range(4)]
    await site.apply(site.sends(site.insert("job_responses", bad)))
    await let_go(world)
    await site.writes(site.insert("work_orders", order))
    await site.writes(site.insert("job_responses", others[0], bad, *others[1:]))
    there = await world.rows("SELECT id::text FROM mes.job_responses ORDER BY 1")
    assert there == sorted((each["id"],) for each in others)


async def test_one_that_was_dated_right_is_another_one(world: World) -> None:
    site = world.site()
    report = site.report()
    wrong = site.insert("job_responses", report, created="2199-11-20T08:00:00.000Z")
    assert (await site.apply(site.sends(wrong))).parked == 1
    await let_go(world)
    await site.writes(site.insert("job_responses", report))
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1


async def test_a_column_more_that_has_no_value_makes_no_other_fact_of_it(world: World) -> None:
    site = world.site()
    order = site.order()
    block = site.insert("job_responses", site.report(work_order_id=order["id"]))
    await site.apply(site.sends(block))
    await let_go(world)
    await site.writes(site.insert("work_orders", order))
    newer = world.site(schema=world.catalog.version + 1)
    newer.epoch, newer.n, newer.hash = site.epoch, site.n, site.hash
    more = replace(block, columns=("weld_code", *block.columns), new=[[None], *block.new])
    assert (await newer.apply(newer.sends(more))).rows == 0
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 0


async def test_a_row_of_a_table_that_is_to_come_stays_away_as_well(world: World) -> None:
    site = world.site(schema=world.catalog.version + 1)
    seam = replace(site.insert("holds", {}), table="weld_seams")
    assert (await site.apply(site.sends(seam))).parked == 1
    await let_go(world)
    assert (await site.apply(site.sends(seam))).parked == 0
    assert await states(world) == ["discarded"]


async def test_no_value_of_it_waits_for_a_column_that_is_to_come(world: World) -> None:
    site = world.site(schema=world.catalog.version + 1)
    order = site.order()
    block = site.insert("job_responses", site.report(work_order_id=order["id"]))
    block = replace(block, columns=(*block.columns, "weld_code"), new=[*block.new, ["W"]])
    assert (await site.apply(site.sends(block))).parked == 1
    await let_go(world)
    assert await world.rows("SELECT * FROM sync.extra") == []
    await site.apply(site.sends(site.insert("work_orders", order), block))
    assert await world.rows("SELECT * FROM sync.extra") == []


async def test_one_that_is_there_all_the_same_is_not_let_go_of(world: World) -> None:
    """It came twice; that its order went away between parked the second."""
    site = world.site()
    order = site.order()
    report = site.insert("job_responses", site.report(work_order_id=order["id"]))
    await site.writes(site.insert("work_orders", order), report)
    base = await world.head(str(order["id"]))
    await site.writes(site.delete("work_orders", order["id"], base=base))
    if (await site.apply(site.sends(report))).parked:
        await let_go(world)
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    assert await world.rows("SELECT * FROM sync.let_go") == []


@pytest.mark.parametrize("content", [None, "[1]", "7"])
async def test_a_record_that_holds_no_values_lets_go_of_nothing_and_stops_nothing(world, content):
    """It came home from a site, which can tell us anything."""
    site = world.site()
    order = site.order()
    report = site.insert("job_responses", site.report(work_order_id=order["id"]))
    await site.apply(site.sends(report))
    ticket = await world.value("SELECT ticket::text FROM sync.waiting")
    await world.admin.execute("UPDATE mes.sync_parked SET content = %s", [content])
    assert await world.store.discard(ticket, "ann")
    assert await world.rows("SELECT * FROM sync.let_go") == []


async def test_a_change_that_is_no_fact_is_let_go_of_for_itself_alone(world: World) -> None:
    site = world.site()
    order = site.order(notes="x" * 4001)
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).parked == 1
    await let_go(world)
    assert await world.rows("SELECT * FROM sync.let_go") == []
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).parked == 1


async def test_what_was_let_go_of_by_one_site_is_another_ones_own(world: World) -> None:
    site, other = world.site(), world.site("SITE_002")
    report = site.report(work_order_id=str(uuid.uuid4()))
    await site.apply(site.sends(site.insert("job_responses", report)))
    await let_go(world)
    report = {**report, "work_order_id": None}
    await other.writes(other.insert("job_responses", report))
    assert await world.value("SELECT site_id FROM mes.job_responses") == "SITE_002"


# --- under another catalogue ----------------------------------------------------------------------


def later(*, add: Column | None = None, **changed: dict[str, object]) -> Catalog:
    """Return a later catalogue, in which columns of the reports are others."""
    table = FIRST.table("job_responses")
    columns = [replace(c, **changed.get(c.name, {})) for c in table.columns]  # type: ignore[arg-type]
    columns += [add] if add else []
    others = tuple(t for t in FIRST.tables if t.name != table.name)
    return Catalog(FIRST.version + 1, (*others, replace(table, columns=tuple(columns))))


def with_default(value: Value) -> Catalog:
    kind = ColumnType(Kind.INTEGER)
    x = Column("x", kind, nullable=False, default=value, policy=Policy.APPEND_ONLY, since=2)
    return later(add=x)


RENAMED = later(source_row={"name": "src_row", "renamed_from": ("source_row",)})
REWORK = later(is_rework={"default": 1})


def named(block: ChangeBlock, before: str, after: str) -> ChangeBlock:
    return replace(block, columns=tuple(after if n == before else n for n in block.columns))


def without(block: ChangeBlock, name: str) -> ChangeBlock:
    at = block.columns.index(name)
    columns, new = list(block.columns), list(block.new)
    del columns[at], new[at]
    return replace(block, columns=tuple(columns), new=new)


def with_x(block: ChangeBlock, value: Value) -> ChangeBlock:
    return replace(block, columns=(*block.columns, "x"), new=[*block.new, [value]])


def as_it_was(block: ChangeBlock) -> ChangeBlock:
    return block


async def stays_away_under(
    centre: str, catalog: Catalog, sent: Form = as_it_was, again: Form = as_it_was
) -> None:
    """Let go of a report, have its order come, migrate, and send the report again."""
    async with open_world(centre, FIRST) as world:
        site = world.site(schema=FIRST.version + 1)
        order = site.order()
        report = site.report(work_order_id=order["id"], source_row=7)
        block = sent(site.insert("job_responses", report))
        assert (await site.apply(site.sends(block))).parked == 1
        await let_go(world)
        await site.writes(site.insert("work_orders", order))
    async with centre_of(centre, site, catalog) as world:
        assert (await site.apply(site.sends(again(replace(block, at=[]))))).parked == 0
        assert await world.rows("SELECT * FROM mes.job_responses") == []


@pytest.mark.parametrize(
    ("catalog", "sent"),
    [
        (RENAMED, as_it_was),
        (REWORK, as_it_was),
        (with_default(0), lambda block: with_x(block, 0)),
        (with_default(0), lambda block: with_x(block, 7)),
    ],
    ids=["a rename", "a default", "a column with its default", "a column with a value"],
)
async def test_what_comes_again_as_it_was_sent_stays_away_whatever_the_catalogue_became(
    centre: str, catalog: Catalog, sent: Form
) -> None:
    await stays_away_under(centre, catalog, sent)


async def test_what_a_store_makes_anew_by_later_names_stays_away(centre: str) -> None:
    await stays_away_under(
        centre, RENAMED, again=lambda block: without(named(block, "source_row", "src_row"), "uom")
    )


async def test_what_was_noted_by_the_names_of_the_day_alone_stays_away(centre: str) -> None:
    """So it was until 28 November 2026."""
    async with centre_of(centre, None, RENAMED) as world:
        site = world.site()
        order = site.order()
        report = site.report(work_order_id=order["id"], src_row=7)
        block = site.insert("job_responses", report)
        assert (await site.apply(site.sends(block))).parked == 1
        content = await world.value("SELECT content::jsonb FROM mes.sync_parked")
        await let_go(world)
        defaults = {c.name: c.default for c in RENAMED.table("job_responses").columns}
        said = {name: value for name, value in content.items() if value != defaults.get(name)}
        noted = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
        await world.admin.execute("DELETE FROM sync.let_go WHERE sha256 <> %s", [noted])
        assert await world.value("SELECT count(*) FROM sync.let_go") == 1
        await site.writes(site.insert("work_orders", order))
        assert (await site.apply(site.sends(without(block, "uom")))).parked == 0
        assert await world.rows("SELECT * FROM mes.job_responses") == []

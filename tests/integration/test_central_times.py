"""The centre keeps the time of each column, and compares what stands and what comes by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.catalog import Catalog
from tests.integration.apply_world import (  # noqa: F401, the fixtures among them
    NOON_MS,
    Row,
    World,
    an_order,
    open_world,
    world,
)

if TYPE_CHECKING:
    from shared.changes import ChangeBlock

HOUR_MS = 3_600_000
TEN, ELEVEN, TWELVE = NOON_MS, NOON_MS + HOUR_MS, NOON_MS + 2 * HOUR_MS
#: When the broker has it all.
LATER = NOON_MS + 3 * HOUR_MS


async def centre_wrote(row: Row, at_ms: int, **values: str) -> None:
    """Write at the centre at that time by its clock."""
    await row.central(**values)
    await row.world.admin.execute(
        b"UPDATE sync.version SET at_ms = %s WHERE id = %s AND ord ="
        b" (SELECT ord FROM sync.head WHERE id = %s)",
        [at_ms, row.id, row.id],
    )


def folded(row: Row, at_ms: int, early_ms: int, *early: str, **changes: tuple) -> ChangeBlock:
    """Return an update of which some columns were touched at another time than the others."""
    block = row.site.update("work_orders", row.id, base=row.base, **changes)
    block.at = [at_ms]
    mask = sum(1 << place for place, name in enumerate(changes) if name in early)
    block.times = [((mask, early_ms),)]
    return block


async def versions(row: Row) -> list[tuple[list[str], int, object]]:
    """Return the columns, the time and the times of each version but the first."""
    table = row.world.catalog.table("work_orders")
    found = await row.world.rows(
        "SELECT mask, at_ms, times FROM sync.version WHERE id = %s ORDER BY ord", row.id
    )
    return [(sorted(table.names_of(mask)), at_ms, times) for mask, at_ms, times in found[1:]]


async def records(row: Row) -> list[tuple]:
    return await row.world.rows(
        "SELECT column_group, verdict, (extract(epoch FROM here_at) * 1000)::bigint,"
        " (extract(epoch FROM central_at) * 1000)::bigint, clock_clamped"
        " FROM mes.sync_conflicts ORDER BY column_group"
    )


async def apply(row: Row, *blocks: ChangeBlock, stored_at_ms: int = LATER):
    return await row.site.apply(
        *(row.site.sends(block, stored_at_ms=stored_at_ms) for block in blocks)
    )


# --- what a site folded -------------------------------------------------------------------------


async def test_an_early_note_loses_to_the_centres_though_the_comment_was_touched_later(
    world: World,
) -> None:
    row = await an_order(world, notes="both", customer_comment="both")
    await centre_wrote(row, ELEVEN, notes="centre", customer_comment="centre")
    outcome = await apply(
        row,
        folded(
            row, TWELVE, TEN, "notes", notes=("both", "site"), customer_comment=("both", "site")
        ),
    )
    assert outcome.conflicts == {"last_write": 2}
    assert await row.holds("notes", "customer_comment") == ("centre", "site")
    assert await records(row) == [
        ("customer_comment", "here", TWELVE, ELEVEN, False),
        ("notes", "central", TEN, ELEVEN, False),
    ]


async def test_a_clean_write_keeps_the_times_of_its_columns_and_no_other_row_has_any(
    world: World,
) -> None:
    one = await an_order(world, notes="a")
    second = one.site.order(notes="a")
    base = await one.site.writes(one.site.insert("work_orders", second))
    other = Row(world, one.site, "work_orders", str(second["id"]), base)
    changes = {"notes": ("a", "b"), "customer_comment": (None, "c")}
    plain = other.site.update("work_orders", other.id, base=other.base, **changes)
    plain.at = [TWELVE]
    outcome = await apply(one, folded(one, TWELVE, TEN, "notes", **changes), plain)
    assert (outcome.rows, outcome.conflicts) == (2, {})
    names, mask = ["customer_comment", "notes"], world.catalog.table("work_orders").mask(["notes"])
    assert await versions(one) == [(names, TWELVE, [[mask, TEN, False]])]
    assert await versions(other) == [(names, TWELVE, None)]


async def test_a_new_row_keeps_the_time_of_its_insert_in_what_was_not_touched_since(
    world: World,
) -> None:
    site = world.site()
    block = site.insert("work_orders", site.order(notes="n"))
    mask = (1 << len(block.columns)) - 1 - (1 << block.columns.index("notes"))
    block.at, block.times = [TWELVE], [((mask, TEN),)]
    outcome = await site.apply(site.sends(block, stored_at_ms=LATER))
    assert outcome.rows == 1
    kept = await world.rows("SELECT at_ms, times FROM sync.version")
    assert kept == [(TWELVE, [[mask, TEN, False]])]


async def test_a_site_that_had_not_seen_the_verdict_is_not_later_by_its_other_column(
    world: World,
) -> None:
    """Its first write holds a note of ten and a comment of twelve, its second a note since ten."""
    row = await an_order(world, notes="both")
    first = folded(
        row, TWELVE, TEN, "notes", notes=("both", "early"), customer_comment=(None, "site")
    )
    await apply(row, first)
    await centre_wrote(row, ELEVEN, notes="centre")
    second = row.site.update("work_orders", row.id, base=row.base, notes=("early", "site"))
    second.at = [TEN + HOUR_MS // 2]
    await apply(row, second)
    assert await row.holds("notes", "customer_comment") == ("centre", "site")


async def test_what_a_merged_version_left_alone_keeps_the_time_it_had(world: World) -> None:
    row = await an_order(world, notes="both", customer_comment="both")
    await centre_wrote(row, ELEVEN, notes="centre")
    merged = folded(
        row, TWELVE, TEN, "notes", notes=("both", "lost"), customer_comment=("both", "site")
    )
    await apply(row, merged)
    (own, _), made = await row.holds("notes", "customer_comment"), (await versions(row))[-1]
    mask = world.catalog.table("work_orders").mask(["notes"])
    assert (own, made[1:]) == ("centre", (TWELVE, [[mask, TEN, False]]))
    again = row.site.update("work_orders", row.id, base=row.base, notes=("lost", "again"))
    again.at = [ELEVEN - 1]
    await apply(row, again)
    assert await row.holds("notes") == ("centre",)


async def test_a_parked_write_is_tried_again_with_the_times_of_its_columns(world: World) -> None:
    row = await an_order(world, notes="both", priority=50)
    await apply(
        row,
        folded(row, TWELVE, TEN, "notes", notes=("both", "site"), priority=(50, 1000)),
    )
    ticket = await world.value("SELECT ticket::text FROM sync.waiting")
    await centre_wrote(row, ELEVEN, notes="centre")
    async with open_world(world.url, await any_priority(world)) as mended:
        assert await mended.store.retry(ticket) is True
    assert await row.holds("notes", "priority") == ("centre", "1000")
    assert [record[:4] for record in await records(row)] == [("notes", "central", TEN, ELEVEN)]


async def any_priority(world: World) -> Catalog:
    """Mend the cause in the catalogue, as a release of it would."""
    table = world.catalog.table("work_orders")
    columns = tuple(
        replace(c, type=replace(c.type, high=None)) if c.name == "priority" else c
        for c in table.columns
    )
    others = tuple(t for t in world.catalog.tables if t.name != "work_orders")
    await world.admin.execute(b"ALTER TABLE mes.work_orders DROP CONSTRAINT priority_at_most_100")
    return Catalog(world.catalog.version, (*others, replace(table, columns=columns)))


async def test_the_clock_of_a_column_is_held_to_the_bound_and_flagged_by_itself(
    world: World,
) -> None:
    row = await an_order(world, notes="both", customer_comment="both")
    await centre_wrote(row, TEN, notes="centre", customer_comment="centre")
    changes = {"notes": ("both", "site"), "customer_comment": ("both", "site")}
    await apply(row, folded(row, TWELVE, LATER + HOUR_MS, "notes", **changes))
    assert await records(row) == [
        ("customer_comment", "here", TWELVE, TEN, False),
        ("notes", "here", LATER + 300_000, TEN, True),
    ]


# --- what programs of the centre wrote ------------------------------------------------------------


async def test_two_central_writes_to_different_columns_each_count_with_their_own_time(
    world: World,
) -> None:
    row = await an_order(world, notes="both", customer_comment="both")
    await centre_wrote(row, TEN, notes="centre")
    await centre_wrote(row, TWELVE, customer_comment="centre")
    change = row.site.update(
        "work_orders", row.id, base=row.base,
        notes=("both", "site"), customer_comment=("both", "site"),
    )  # fmt: skip
    change.at = [ELEVEN]
    await apply(row, change)
    assert await row.holds("notes", "customer_comment") == ("site", "centre")
    assert await records(row) == [
        ("customer_comment", "central", ELEVEN, TWELVE, False),
        ("notes", "here", ELEVEN, TEN, False),
    ]

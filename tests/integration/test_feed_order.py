"""Shared rows have a feed of their own; entries say how those of two feeds follow one another."""

from __future__ import annotations

from shared.changes import SHARED
from sync import codec
from tests.integration.central_world import execute, fetch
from tests.integration.test_feed import follow, new_orders, rows, sequence


def materials(name: str, count: int = 1, length: int = 1) -> str:
    """Return an insert of so many, with descriptions that nothing packs."""
    return (
        "INSERT INTO mes.material_definitions (id, site_id, created_at, material_code, version,"
        f" description, material_type, base_uom) SELECT uuidv7(), '*', now(), '{name}-' || k, 1,"
        f" (SELECT string_agg(md5(k || '-' || j), '') FROM generate_series(1, {length}) AS j),"
        f" 'FINISHED', 'pcs' FROM generate_series(1, {count}) AS k"
    )


async def test_shared_rows_go_into_the_feed_that_all_sites_follow_once(centre):
    await execute(centre, materials("M"), new_orders("SITE_001", "A1"))
    await sequence(centre)
    (shared,) = await follow(centre, SHARED)
    (own,) = await follow(centre, "SITE_001")
    assert len(rows([shared], "material_definitions")) == 1
    assert rows([own], "material_definitions") == []


async def test_rows_of_one_step_name_the_place_of_the_other_feed_at_its_end(centre):
    await execute(centre, materials("M"), new_orders("SITE_001", "A1"))
    await sequence(centre)
    (shared,) = await follow(centre, SHARED)
    (own,) = await follow(centre, "SITE_001")
    assert (own.beside, shared.beside) == ({SHARED: 1}, {"SITE_001": 1})


async def test_the_shared_feed_names_each_site_that_has_moved_since_it_named_it_last(centre):
    for statements in (
        [new_orders("SITE_001", "A1")],
        [new_orders("SITE_002", "B1"), materials("M")],
        [materials("N")],
        [new_orders("SITE_002", "B2")],
        [materials("O")],
    ):
        await execute(centre, *statements)
        await sequence(centre)
    places = [entry.beside for entry in await follow(centre, SHARED)]
    assert places == [{"SITE_001": 1, "SITE_002": 1}, {}, {"SITE_002": 2}]


async def test_a_step_of_many_entries_names_at_its_end_where_the_other_feed_ends(
    centre, monkeypatch
):
    monkeypatch.setattr(codec, "MESSAGE_BYTES_MAX", 60_000)
    await execute(centre, new_orders("SITE_001", "A1"), materials("M", count=700, length=12))
    await sequence(centre)
    (own,) = await follow(centre, "SITE_001")
    *run, last = await follow(centre, SHARED)
    assert len(run) > 2, "neither 500 rows nor 200 fit a message"
    assert own.beside == {SHARED: last.pos}
    assert ([entry.beside for entry in run], last.beside) == ([{}] * len(run), {"SITE_001": 1})
    assert ([entry.more for entry in run], last.more) == ([True] * len(run), False)
    ((largest,),) = await fetch(centre, "SELECT max(length(body)) FROM sync.feed")
    assert largest <= 60_000

"""Who gets a row: its site and those that it is shown to, when it changes and when it moves."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from central.feed import entries_after
from sync import codec
from sync.transport import Link, LinkSettings
from tests.integration.central_world import SITES, connect, execute
from tests.integration.family import F1, F2, F3, family_template, world

__all__ = ["family_template", "world"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.postgres, pytest.mark.nats]


async def told(world) -> dict[str, list[int]]:
    """Return of each site's feed how many rows its entries bring; those that bring none are left
    out."""
    found: dict[str, list[int]] = {site: [] for site in SITES}
    async with connect(world.url) as connection:
        for site, sizes in found.items():
            after = 0
            while messages := await entries_after(connection, site, after):
                entries = [codec.decode_entry(message)[0] for message in messages]
                after = entries[-1].pos
                sizes += [sum(map(len, entry.blocks)) for entry in entries if entry.blocks]
    return found


def holders(world, table: str, column: str, value: str) -> set[str]:
    """Return the sites whose stores hold the row."""
    query = f"SELECT 1 FROM {table} WHERE {column} = ?"
    return {site for site, edge in world.edges.items() if edge.read(query, value)}


def person(number: str, home: str) -> str:
    return (
        "INSERT INTO mes.persons (site_id, person_no, name, home_site_id, assigned_sites)"
        f" VALUES ('*', '{number}', 'Ada', '{home}', '[]')"
    )


async def test_a_person_who_moves_is_taken_away_at_one_site_and_comes_whole_to_the_other(world):
    await execute(world.url, person("P1", F1))
    await world.settle()
    assert holders(world, "persons", "person_no", "P1") == {F1}
    moves = "UPDATE mes.persons SET home_site_id = '{}', personnel_class = '{}'"
    await execute(world.url, moves.format(F3, "fitter") + " WHERE person_no = 'P1'")
    await world.settle()
    assert holders(world, "persons", "person_no", "P1") == {F3}
    of_f3 = world.edges[F3].read("SELECT name, personnel_class, home_site_id FROM persons")
    assert of_f3 == [("Ada", "fitter", F3)]
    await execute(world.url, moves.format(F1, "back") + " WHERE person_no = 'P1'")
    await world.settle()
    assert holders(world, "persons", "person_no", "P1") == {F1}


async def test_a_row_that_its_own_site_shows_to_another_leaves_those_before(world):
    here = world.edges[F1]
    here.write(f"INSERT INTO items (code, qty, seen_by) VALUES ('S', 7, '[\"{F2}\"]')")
    await world.settle()
    assert holders(world, "items", "code", "S") == {F1, F2}
    here.write(f"UPDATE items SET seen_by = '[\"{F3}\"]' WHERE code = 'S'")
    await world.settle()
    assert holders(world, "items", "code", "S") == {F1, F3}
    assert world.edges[F3].read("SELECT qty FROM items WHERE code = 'S'") == [(7,)]
    assert world.edges[F2].read("SELECT 1 FROM _sync_aside") == []


async def test_a_row_that_its_own_site_gives_to_another_leaves_its_store(world):
    """Made for F3, moved to F3, and moved to F3 while a write on it is still on its way."""
    edge, badge = (
        world.edges[F1],
        "INSERT INTO persons (person_no, home_site_id) VALUES ('{}', '{}')",
    )
    edge.write(*(badge.format(*each) for each in (("G1", F3), ("G2", F1), ("G3", F1))))
    await world.settle()
    assert holders(world, "persons", "person_no", "G2") == {F1}
    moved = f"UPDATE persons SET home_site_id = '{F3}' WHERE person_no = "
    edge.write(f"{moved} 'G2'")
    await world.settle()
    await edge.stop()
    edge.write(f"{moved} 'G3'")
    await edge.start()
    edge.write("UPDATE persons SET name = 'Ida' WHERE person_no = 'G3'")
    await world.settle()
    for number in ("G1", "G2", "G3"):
        assert holders(world, "persons", "person_no", number) == {F3}
    names = world.edges[F3].read("SELECT name FROM persons WHERE person_no = 'G3'")
    assert names == await world.central("SELECT name FROM mes.persons WHERE person_no = 'G3'")


async def test_a_row_shown_to_all_and_then_to_one_stays_there_and_with_its_owner(world):
    """Narrowed by the centre, by the centre under a write that is on its way, and by the owner."""
    edge, narrow = world.edges[F1], f"""seen_by = '["{F2}"]' WHERE code = """
    for code in ("N1", "N2", "N3"):
        edge.write(f"INSERT INTO items (code, seen_by) VALUES ('{code}', '[\"*\"]')")
        await world.settle()
        assert holders(world, "items", "code", code) == {F1, F2, F3}
    await execute(world.url, f"UPDATE mes.items SET {narrow} 'N1'")
    await edge.stop()
    edge.write("UPDATE items SET qty = 2 WHERE code = 'N2'")
    await execute(world.url, f"UPDATE mes.items SET {narrow} 'N2'")
    await edge.start()
    edge.write(f"UPDATE items SET {narrow} 'N3'")
    await world.settle()
    for code in ("N1", "N2", "N3"):
        assert holders(world, "items", "code", code) == {F1, F2}
    assert world.edges[F2].read("SELECT qty FROM items WHERE code = 'N2'") == [(2,)]
    assert edge.read("SELECT 1 FROM _sync_aside") == []


async def test_rows_of_two_sites_with_one_natural_key_stand_side_by_side(world):
    for owner, other in ((F1, F2), (F2, F1)):
        world.edges[owner].write(f"INSERT INTO items (code, seen_by) VALUES ('J', '[\"{other}\"]')")
    await world.settle()
    for site in (F1, F2):
        found = world.edges[site].read("SELECT site_id FROM items WHERE code = 'J' ORDER BY 1")
        assert found == [(F1,), (F2,)]
    assert await world.central("SELECT 1 FROM mes.sync_parked") == []


async def test_a_change_of_other_columns_brings_a_row_to_nobody_new(world):
    await execute(world.url, person("P2", F1))
    await world.settle()
    before = await told(world)
    await execute(world.url, "UPDATE mes.persons SET name = 'Eva' WHERE person_no = 'P2'")
    await world.settle()
    assert await told(world) == before | {F1: [*before[F1], 1]}
    await execute(
        world.url, f"UPDATE mes.persons SET assigned_sites = '[\"{F3}\"]' WHERE person_no = 'P2'"
    )
    await world.settle()
    assert holders(world, "persons", "person_no", "P2") == {F1, F3}


async def test_a_child_reaches_the_site_of_its_parent_alone_and_so_does_its_end(world):
    parent, child = str(uuid4()), str(uuid4())
    before = await told(world)
    row = "INSERT INTO mes.{} (id, site_id, name, pid) VALUES ('{}', '{}', 'C', {})"
    await execute(
        world.url,
        row.format("parents", parent, F2, "NULL"),
        row.format("children", child, F2, f"'{parent}'"),
    )
    await world.settle()
    assert holders(world, "children", "id", child) == {F2}
    await execute(world.url, f"DELETE FROM mes.children WHERE id = '{child}'")
    await world.settle()
    assert holders(world, "children", "id", child) == set()
    assert await told(world) == before | {F2: [*before[F2], 2, 1]}


async def test_of_three_tables_in_one_transaction_each_site_gets_its_own_rows_as_one(world):
    before = await told(world)
    rows = "'{}', 'B' || n{} FROM generate_series(1, 10) AS n"
    await execute(
        world.url,
        f"INSERT INTO mes.parents (site_id, name) SELECT {rows.format(F1, '')}",
        f"INSERT INTO mes.equipment (site_id, equipment_code) SELECT {rows.format(F1, '')}",
        "INSERT INTO mes.items (site_id, code, seen_by) SELECT "
        + rows.format(F1, f", '[\"{F3}\"]'"),
    )
    await world.settle()
    assert await told(world) == before | {F1: [*before[F1], 30], F3: [*before[F3], 10]}


async def test_what_a_site_wrote_goes_on_to_others_and_never_back_to_it(world):
    before = await told(world)
    world.edges[F1].write(f"INSERT INTO items (code, seen_by) VALUES ('E', '[\"{F3}\"]')")
    await world.settle()
    world.edges[F1].write("UPDATE items SET qty = 1 WHERE code = 'E'")
    await world.settle()
    assert await told(world) == before | {F3: [*before[F3], 1, 1]}
    assert world.edges[F3].read("SELECT qty FROM items WHERE code = 'E'") == [(1,)]


async def test_one_change_that_a_trigger_answers_makes_two_transactions_and_then_none(world):
    """What a trigger of F3 notes about the row that comes is one more change, and that is all."""
    f3 = world.edges[F3]
    f3.write(
        "CREATE TRIGGER plants_note AFTER UPDATE OF qty ON items BEGIN"
        " INSERT INTO parents (name, notes) VALUES ('seen ' || NEW.qty, NEW.code); END"
    )
    world.edges[F1].write(f"INSERT INTO items (code, seen_by) VALUES ('R', '[\"{F3}\"]')")
    await world.settle()
    before, sent = await told(world), await counted(world)
    world.edges[F1].write("UPDATE items SET qty = 1 WHERE code = 'R'")
    await world.eventually(lambda: f3.read("SELECT 1 FROM parents WHERE name = 'seen 1'"))
    await world.settle()
    assert await told(world) == before | {F3: [*before[F3], 1]}
    after = await counted(world)
    assert after == sent | {F1: sent[F1] + 1, F3: sent[F3] + 1}
    await asyncio.sleep(1)
    assert await counted(world) == after
    f3.write("DROP TRIGGER plants_note")


async def counted(world) -> dict[str, int]:
    """Return how many transactions of each site the centre has applied."""
    found = await world.central("SELECT site, sum(last_n)::int FROM sync.epoch GROUP BY site")
    return dict.fromkeys(SITES, 0) | dict(found)


async def stored(world) -> list[int]:
    """Return how many messages each stream has ever stored."""
    async with Link(LinkSettings(servers=(world.nats_url,), name="onlooker")) as link:
        await link.wait_connected(5)
        names = [*(f"UP_{site}" for site in SITES), "DOWN"]
        answers = [await link.request(f"$JS.API.STREAM.INFO.{name}", b"") for name in names]
    return [json.loads(answer)["state"]["last_seq"] for answer in answers]


async def test_nothing_that_was_delivered_goes_out_again_when_everything_starts_anew(world):
    world.edges[F1].write(f"INSERT INTO items (code, seen_by) VALUES ('G', '[\"{F2}\"]')")
    await execute(world.url, person("P3", F1))
    await world.settle()
    before, sent = await stored(world), await counted(world)
    await world.stop_centre()
    for edge in world.edges.values():
        await edge.stop()
    await world.start_centre(world.edges[F1].catalog)
    for edge in world.edges.values():
        await edge.start()
    await world.settle()
    assert (await stored(world), await counted(world)) == (before, sent)

"""The centre and two sites, one that writes and one that only looks: all three end the same."""

from __future__ import annotations

import contextlib
import time
from uuid import uuid4

import pytest

from central.roles import as_role
from central.store import CentralStore
from tests.integration.central_world import execute
from tests.integration.family import F1, F2, WITH_FAMILY, family_template, world

__all__ = ["family_template", "world"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.postgres, pytest.mark.nats]

#: What the site writes, by its clock, before and after the centre's write.
CLOCKS_S = {"oldest": (60, 120), "between": (-60, 60), "newest": (-120, -60)}


def items(*codes: str, seen_by: str = F2, **columns: object) -> str:
    """Return the statement of a site's program that makes items which another site sees."""
    names = "".join(f", {name}" for name in columns)
    given = "".join(f", '{value}'" for value in columns.values())
    rows = ", ".join(f"('{code}', '[\"{seen_by}\"]'{given})" for code in codes)
    return f"INSERT INTO items (code, seen_by{names}) VALUES {rows}"


def named(code: str, name: str, off_s: int) -> tuple[str, str]:
    """Return the statements of a program whose clock is off by so much."""
    of_row = f"(SELECT id FROM items WHERE code = '{code}')"
    return (
        f"UPDATE items SET name = '{name}' WHERE code = '{code}'",
        f"UPDATE _sync_log_items SET at_ms = at_ms + {off_s * 1000} WHERE id = {of_row}",
    )


async def everywhere(world, column: str, codes) -> dict[str, str | None]:
    """Return what stands of each row, the same at the centre and at both sites."""
    query, wanted = f"SELECT code, {column} FROM {{}}items", set(codes)
    found = [dict(await world.central(query.format("mes.")))]
    found += [dict(world.edges[site].read(query.format(""))) for site in (F1, F2)]
    centre, owner, onlooker = (
        {code: value for code, value in each.items() if code in wanted} for each in found
    )
    assert centre == owner == onlooker
    return centre


def drained(edge) -> None:
    """Have what is written so far be a transaction of its own, while the agent is down."""
    with contextlib.closing(edge.open()) as store:
        store.drain(time.time_ns() // 10**6)


async def test_of_three_writes_the_newest_stands_everywhere_in_whatever_order_they_arrive(world):
    """F1 writes twice, the centre once. They arrive in each order that keeps F1's own."""
    edge = world.edges[F1]
    rows = {f"{order} {clock}": offs for clock, offs in CLOCKS_S.items()
            for order in ("cab", "acb", "abc")}  # fmt: skip
    edge.write(items(*rows))
    await world.settle()
    for code, (first, second) in rows.items():
        if code[0] == "a":
            edge.write(*named(code, "older", first))
        if code[:3] == "abc":
            await world.settle_counts()
            edge.write(*named(code, "newer", second))
    await world.settle()
    await edge.stop()
    await execute(
        world.url, "UPDATE mes.items SET name = 'centre' WHERE code SIMILAR TO '(cab|acb|abc) %'"
    )
    for code, (first, _) in rows.items():
        if code[:3] == "cab":
            edge.write(*named(code, "older", first))
    drained(edge)
    for code, (_, second) in rows.items():
        if code[:3] != "abc":
            edge.write(*named(code, "newer", second))
    await edge.start()
    await world.settle()
    newest = {code: "centre" if "newest" in code or code[:3] == "abc" else "newer" for code in rows}
    assert await everywhere(world, "name", rows) == newest


async def test_a_deletion_stands_everywhere_whichever_of_both_is_newer_and_who_deleted(world):
    """But where a column under review was changed, the row stays until a person decides."""
    edge = world.edges[F1]
    codes = [f"D{n}" for n in range(1, 7)]
    edge.write(items(*codes, name="was"))
    await world.settle()
    edge.write("DELETE FROM items WHERE code = 'D1'")
    await world.settle()
    await edge.stop()
    await execute(
        world.url,
        "UPDATE mes.items SET name = 'centre' WHERE code IN ('D1', 'D2', 'D3')",
        "DELETE FROM mes.items WHERE code IN ('D4', 'D5')",
        "UPDATE mes.items SET size = 'xl' WHERE code = 'D6'",
    )
    for code, off_s in (("D2", -60), ("D3", 60)):
        edge.write(
            f"DELETE FROM items WHERE code = '{code}'",
            f"UPDATE _sync_log_items SET at_ms = at_ms + {off_s * 1000} WHERE op = 'D'",
        )
        drained(edge)
    edge.write(*named("D4", "site", -60))
    edge.write(*named("D5", "site", 60), "DELETE FROM items WHERE code = 'D6'")
    await edge.start()
    await world.settle()
    assert await everywhere(world, "size", codes) == {"D6": "xl"}
    kept = await world.central(
        "SELECT verdict, coalesce(here_value ->> 'name', central_value ->> 'name')"
        " FROM mes.sync_conflicts WHERE policy = 'delete' ORDER BY 1, 2"
    )
    assert kept == [("central", "site")] * 2 + [("here", "centre")] * 2 + [("review", "was")]


async def test_where_one_end_has_authority_its_value_stands_everywhere_after_both_have_sent(world):
    edge = world.edges[F1]
    edge.write(items("W1", "W2", "W3", due="may"))
    await world.settle()
    await edge.stop()
    await execute(
        world.url,
        "UPDATE mes.items SET due = 'june' WHERE code IN ('W1', 'W2')",
        "UPDATE mes.items SET code = code || ' of the centre' WHERE code = 'W3'",
    )
    edge.write("UPDATE items SET due = 'july' WHERE code IN ('W1', 'W2')")
    edge.write("UPDATE items SET code = 'W3 of the site' WHERE code = 'W3'")
    await edge.start()
    await world.settle()
    ours = ("W1", "W2", "W3 of the site", "W3 of the centre")
    assert await everywhere(world, "due", ours) == {
        "W1": "june", "W2": "june", "W3 of the site": "may"
    }  # fmt: skip


# --- names that two rows want ---------------------------------------------------------------------


def three_generations(name: str, prefix: str = "", **more: str) -> list[str]:
    """Return the statements that make a parent, its child and its grandchild."""
    ids = [str(uuid4()) for _ in range(3)]
    names = "".join(f", {column}" for column in more)
    given = "".join(f", '{value}'" for value in more.values())
    of = "INSERT INTO {}{} (id, name, pid{}) VALUES ('{}', '{}', {}{})"
    parents = ("NULL", f"'{ids[0]}'", f"'{ids[1]}'")
    tables = ("parents", "children", "grandchildren")
    return [
        of.format(prefix, table, names, own, name, pid, given)
        for table, own, pid in zip(tables, ids, parents, strict=True)
    ]


async def family_of(world, name: str) -> list[tuple]:
    """Return what stands of a name in the three tables, the same at the centre and at its site."""
    query = " UNION ALL ".join(
        f"SELECT '{table}', cast(id AS text), cast(pid AS text) FROM {{0}}{table}"
        f" WHERE name = '{name}'"
        for table in ("parents", "children", "grandchildren")
    )
    centre = sorted(await world.central(query.format("mes.")), key=str)
    assert centre == sorted(world.edges[F1].read(query.format("")), key=str)
    return centre


async def test_a_parent_whose_name_is_taken_is_parked_with_its_kin_and_displaces_nobody(world):
    edge = world.edges[F1]
    await edge.stop()
    edge.write(*three_generations("N"))
    await execute(world.url, *three_generations("N", "mes.", site_id=F1))
    theirs = await world.central("SELECT id::text FROM mes.parents WHERE name = 'N'")
    await edge.start()
    await world.settle()
    found = await family_of(world, "N")
    assert [table for table, *_ in found] == ["children", "grandchildren", "parents"]
    assert (found[2][1],) in theirs
    parked = await world.central(
        "SELECT table_name, reason FROM mes.sync_parked ORDER BY table_name"
    )
    assert dict(parked) == {
        "parents": "key_taken", "children": "tied", "grandchildren": "tied"
    }  # fmt: skip
    await give_way(world, "N")
    assert len(await family_of(world, "N")) == 3
    assert edge.read("SELECT 1 FROM _sync_aside WHERE table_name LIKE '%children'") == []


async def give_way(world, name: str) -> None:
    """Rename what has the name at the centre, as a person decides, and try again what waits."""
    tables = ("parents", "children", "grandchildren")
    renamed = "UPDATE mes.{} SET name = 'not ' || name WHERE name = '{}'"
    await execute(world.url, *(renamed.format(table, name) for table in tables))
    ((ticket,),) = await world.central(
        "SELECT ticket::text FROM sync.waiting WHERE reason = 'key_taken'"
    )
    async with CentralStore.open(as_role(world.url, "mes_ingest"), WITH_FAMILY) as store:
        assert await store.retry(ticket)
    await world.settle()


async def test_three_generations_that_come_youngest_first_are_applied_without_an_operator(world):
    edge = world.edges[F1]
    await edge.stop()
    for statement in reversed(three_generations("Q")):
        edge.write(statement)
        drained(edge)
    await edge.start()
    await world.settle()
    assert len(await family_of(world, "Q")) == 3
    assert await world.central("SELECT 1 FROM sync.waiting WHERE table_name <> 'parents'") == []


async def test_a_row_renamed_to_what_its_parent_is_renamed_to_keeps_its_own_name(world):
    edge = world.edges[F1]
    parent, child = str(uuid4()), str(uuid4())
    edge.write(
        f"INSERT INTO parents (id, name, pid) VALUES ('{parent}', 'K', NULL),"
        f" ('{child}', 'L', '{parent}')"
    )
    await world.settle()
    await edge.stop()
    await execute(world.url, f"UPDATE mes.parents SET name = 'M' WHERE id = '{parent}'")
    edge.write(f"UPDATE parents SET name = 'M', notes = 'mine' WHERE id = '{child}'")
    await edge.start()
    await world.settle()
    query = "SELECT name FROM {}parents WHERE cast(id AS text) IN ('{}', '{}') ORDER BY name"
    both = [("L",), ("M",)]
    assert await world.central(query.format("mes.", parent, child)) == both
    assert edge.read(query.format("", parent, child)) == both
    ((kept,),) = await world.central(
        f"SELECT content ->> 'notes' FROM mes.sync_parked WHERE row_id = '{child}'"
    )
    assert kept == "mine"


async def test_a_row_that_takes_the_key_of_its_own_parent_is_one_row_everywhere(world):
    edge = world.edges[F1]
    parent, child = str(uuid4()), str(uuid4())
    edge.write(
        f"INSERT INTO parents (id, name, pid) VALUES ('{parent}', 'X', NULL),"
        f" ('{child}', 'Y', '{parent}')"
    )
    await world.settle()
    edge.write(f"UPDATE OR REPLACE parents SET id = '{parent}' WHERE id = '{child}'")
    await world.settle()
    query = (
        "SELECT cast(id AS text), name, cast(pid AS text) FROM {}parents WHERE name IN ('X', 'Y')"
    )
    assert await world.central(query.format("mes.")) == [(parent, "Y", parent)]
    assert edge.read(query.format("")) == [(parent, "Y", parent)]


async def test_an_edit_of_a_row_that_is_gone_does_not_take_its_name_from_the_next_row(world):
    edge = world.edges[F1]
    edge.write("INSERT INTO parents (name) VALUES ('Z')")
    await world.settle()
    await edge.stop()
    await execute(
        world.url,
        "DELETE FROM mes.parents WHERE name = 'Z'",
        f"INSERT INTO mes.parents (site_id, name, notes) VALUES ('{F1}', 'Z', 'the next')",
    )
    edge.write("UPDATE parents SET notes = 'of the first' WHERE name = 'Z'")
    await edge.start()
    await world.settle()
    assert await world.central("SELECT notes FROM mes.parents WHERE name = 'Z'") == [("the next",)]
    assert edge.read("SELECT notes FROM parents WHERE name = 'Z'") == [("the next",)]
    kept = await world.central(
        "SELECT here_value ->> 'notes' FROM mes.sync_conflicts WHERE table_name = 'parents'"
    )
    assert kept == [("of the first",)]


async def test_a_child_made_while_its_parent_was_deleted_is_applied_and_no_orphan_waits(world):
    edge, parent = world.edges[F1], str(uuid4())
    edge.write(f"INSERT INTO parents (id, name) VALUES ('{parent}', 'O')")
    await world.settle()
    await edge.stop()
    edge.write(f"INSERT INTO children (name, pid) VALUES ('O', '{parent}')")
    await execute(world.url, f"DELETE FROM mes.parents WHERE id = '{parent}'")
    await edge.start()
    await world.settle()
    assert await world.central("SELECT pid::text FROM mes.children WHERE name = 'O'") == [(parent,)]
    assert (
        await world.central(
            "SELECT 1 FROM sync.waiting WHERE table_name = 'children' AND needs IS NOT NULL"
        )
        == []
    )

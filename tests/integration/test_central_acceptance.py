"""What one transaction of a site comes to at the centre: missing rows, doubled ones, bad ones, and
two values for one column that a person or a policy decides on."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.reviews import Choice, resolve
from central.roles import as_role
from shared.changes import Op
from tests.integration.apply_world import (
    CREATED,
    EARLY_MS,
    LATE_MS,
    NOON_MS,
    Row,
    Site,
    World,
    open_world,
    shared_row,
)
from tests.integration.family import WITH_FAMILY, family_centre, family_template
from tests.integration.test_central_retention import ages, forgotten

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["family_centre", "family_template"]


@pytest.fixture
async def world(family_centre: str) -> AsyncIterator[World]:
    async with open_world(family_centre, WITH_FAMILY) as opened:
        yield opened


def item(code: str, **values) -> dict:
    return {"id": str(uuid.uuid4()), "code": code, **values}


async def an_item(world: World, **values) -> Row:
    return await shared_row(world, "items", code="A", **values)


async def central_item(world: World, row_id: str, **values) -> None:
    """Make an item as a program of the centre does."""
    names = "".join(f", {name}" for name in values)
    marks = ", %s" * len(values)
    await world.client(
        f"INSERT INTO mes.items (id, created_at{names}) VALUES (%s, %s{marks})",
        row_id,
        CREATED,
        *values.values(),
    )


# --- good and bad rows in one transaction ---------------------------------------------------------


async def test_a_transaction_of_missing_doubled_and_bad_rows_does_what_can_be_done(world):
    """Two copies change nothing, three deletions find nothing, one edit finds no row."""
    site = world.site()
    known = [item("1", name="a"), item("2", name="b")]
    base = await site.writes(site.insert("items", *known))
    missing = [str(uuid.uuid4()) for _ in range(4)]
    sent = site.sends(
        site.update("items", missing[0], base=base, name=("x", "y")),
        site.insert("items", *known),
        site.insert("items", item("3", name="c"), item("4", qty=1.5)),
        *(site.delete("items", each, base=base) for each in missing[1:]),
    )
    outcome = await site.apply(sent)
    assert (outcome.position.n, outcome.parked) == (2, 1)
    assert outcome.conflicts == {"delete": 1}
    found = await world.rows("SELECT code, name FROM mes.items ORDER BY code")
    assert found == [("1", "a"), ("2", "b"), ("3", "c")]
    ((reason, state, table, _, message),) = await world.parked()
    assert (reason, state, table) == ("invalid_value", "parked", "items")
    assert "qty" in message
    assert await world.value("SELECT here_value ->> 'name' FROM mes.sync_conflicts") == "y"


async def test_a_row_that_was_bad_three_times_stands_when_it_comes_well(world):
    site, tickets = world.site(), "SELECT ticket::text FROM sync.waiting ORDER BY ord"
    row = site.order(order_no="A", due_at="2026-02-31T08:00:00.000Z")
    for times in (1, 2, 3):
        outcome = await site.apply(site.sends(site.insert("work_orders", row)))
        assert (outcome.rows, outcome.parked, outcome.position.n) == (0, 1, times)
    await site.writes(site.insert("work_orders", row | {"due_at": "2026-02-28T08:00:00.000Z"}))
    found = "SELECT order_no, due_at::date::text FROM mes.work_orders"
    assert await world.rows(found) == [("A", "2026-02-28")]
    for (ticket,) in await world.rows(tickets):
        assert await world.store.discard(ticket, "q.chief")
    assert await world.rows(tickets) == []
    assert {state for _, state, *_ in await world.parked()} == {"discarded"}
    assert await world.rows(found) == [("A", "2026-02-28")]


async def test_of_one_transaction_the_new_row_stands_and_the_losing_edit_is_on_record(world):
    row = await an_item(world, name="was")
    await row.central(name="centre")
    site = row.site
    late = site.update("items", row.id, base=row.base, name=("was", "site"))
    late.at = [EARLY_MS]
    outcome = await site.apply(site.sends(site.insert("items", item("B")), late))
    assert (outcome.conflicts, outcome.parked) == ({"last_write": 1}, 0)
    found = await world.rows("SELECT code, name FROM mes.items ORDER BY code")
    assert found == [("A", "centre"), ("B", None)]
    assert await world.value("SELECT here_value ->> 'name' FROM mes.sync_conflicts") == "site"


# --- a person decides ----------------------------------------------------------------------------


#: What a person takes, and what stands then.
TAKEN = (("value", {"size": "s2"}, "s2"), ("central", None, "s1"), ("here", None, "c1"))


async def disputed(world: World, site: Site, how: Op, code: str) -> str:
    """Have both ends give a row a size of their own, by an insert or an update; return its id."""
    made = item(code, size="c1")
    if how is Op.UPDATE:
        base = await site.writes(site.insert("items", made | {"size": "s0"}))
        await world.client("UPDATE mes.items SET size = 's1' WHERE id = %s", made["id"])
        change = site.update("items", made["id"], base=base, size=("s0", "c1"))
    else:
        await central_item(world, made["id"], code=code, size="s1")
        change = site.insert("items", made)
    await site.apply(site.sends(change))
    return made["id"]


@pytest.mark.parametrize("how", [Op.INSERT, Op.UPDATE], ids=["insert", "update"])
async def test_a_person_takes_either_value_or_a_third_and_nothing_is_left_to_decide(world, how):
    site, url = world.site(), as_role(world.url, "mes_ingest")
    for take, value, stands in TAKEN:
        row_id = await disputed(world, site, how, take)
        ((conflict, here, central),) = await world.rows(
            "SELECT id::text, here_value ->> 'size', central_value ->> 'size'"
            " FROM mes.sync_conflicts WHERE row_id = %s AND review_id IS NOT NULL",
            row_id,
        )
        assert (here, central) == ("c1", "s1")
        choice = Choice(take=take, value=value, reason="measured", by="q.chief")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await resolve(connection, world.catalog, conflict, choice)
        found = "SELECT size FROM mes.items WHERE id = %s"
        assert await world.rows(found, row_id) == [(stands,)]
    assert await world.rows("SELECT 1 FROM mes.sync_reviews WHERE state = 'OPEN'") == []
    assert await world.parked() == []


# --- a policy decides ----------------------------------------------------------------------------


@pytest.mark.parametrize("at_ms", [EARLY_MS, LATE_MS], ids=["site earlier", "site later"])
@pytest.mark.parametrize("how", [Op.INSERT, Op.UPDATE], ids=["insert", "update"])
async def test_the_later_of_two_stands_whether_rows_were_made_or_changed(world, at_ms, how):
    """NULL or an empty text beside the disputed value is in nobody's way."""
    site, stands = world.site(), {EARLY_MS: "centre", LATE_MS: "site"}[at_ms]
    for code, other in (("A", {}), ("B", {"qty": None}), ("C", {"due": ""})):
        made = item(code, name="site", **other)
        if how is Op.UPDATE:
            base = await site.writes(site.insert("items", made | {"name": "was"}))
            await world.client("UPDATE mes.items SET name = 'centre' WHERE id = %s", made["id"])
            change = site.update("items", made["id"], base=base, name=("was", "site"))
        else:
            await central_item(world, made["id"], code=code, name="centre", **other)
            change = site.insert("items", made)
        change.at = [at_ms]
        outcome = await site.apply(site.sends(change, stored_at_ms=2 * NOON_MS))
        assert (outcome.conflicts, outcome.parked) == ({"last_write": 1}, 0)
    assert await world.rows("SELECT DISTINCT name FROM mes.items") == [(stands,)]


async def test_two_values_of_the_same_moment_end_in_the_sites(world):
    """A tie goes by the name of the author, and the centre's, ``*``, comes before any site's."""
    row = await an_item(world, name="was")
    await row.central(name="centre")
    at_ms = await world.value("SELECT max(at_ms) FROM sync.version WHERE id = %s", row.id)
    outcome = await row.here(at_ms, name=("was", "site"))
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("name") == ("site",)
    clocks = "SELECT here_at = central_at FROM mes.sync_conflicts"
    assert await world.rows(clocks) == [(True,)]


async def test_an_older_edit_loses_though_all_that_may_be_forgotten_is(world):
    """The site was away for as long as versions are kept, and so is what it had not seen."""
    row = await an_item(world, name="was", qty=1)
    for name in ("b", "c"):
        await row.central(name=name)
    await ages(world, row)
    assert (await forgotten(world))["versions"] > 0
    outcome = await row.here(EARLY_MS, name=("was", "site"), qty=(1, 2))
    assert sum(outcome.conflicts.values()) == len(outcome.conflicts) + 1 == 2
    assert await row.holds("name", "qty") == ("c", "1")
    kept = "SELECT here_value FROM mes.sync_conflicts ORDER BY column_group"
    assert await world.rows(kept) == [({"name": "site"},), ({"qty": 2},)]


# --- keys in another form -------------------------------------------------------------------------


async def test_a_row_made_to_the_microsecond_at_the_centre_is_the_same_row_for_its_site(world):
    row_id = str(uuid.uuid4())
    await world.client(
        "INSERT INTO mes.items (id, created_at, code, name)"
        " VALUES (%s, '2026-11-20T09:00:00.123456+01:00', 'A', 'was')",
        row_id.upper(),
    )
    site, base = world.site(), await world.head(row_id)
    await world.client("UPDATE mes.items SET name = 'centre' WHERE id = %s", row_id)
    change = site.update(
        "items", row_id, base=base, created="2026-11-20T08:00:00.123Z", name=("was", "site")
    )
    change.at = [LATE_MS]
    outcome = await site.apply(site.sends(change, stored_at_ms=2 * NOON_MS))
    assert (outcome.conflicts, outcome.parked) == ({"last_write": 1}, 0)
    assert await world.rows("SELECT id::text, name FROM mes.items") == [(row_id, "site")]

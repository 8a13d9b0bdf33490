"""A person decides: one write, of the row and the review, by someone who saw what stands."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from central.conflicts import Wanted, find_conflict, read_conflicts, read_standing
from central.reviews import Choice, resolve
from central.roles import as_role
from shared.conflicts import UnknownConflict
from shared.reviews import BadDecision, DecidedAlready, NothingToDecide, WrittenSince
from tests.integration.apply_world import World, open_world
from tests.integration.quarrel import TABLE, Quarrel, quarrel, stands, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(centre: str) -> AsyncIterator[World]:
    async with open_world(centre) as opened:
        yield opened


@asynccontextmanager
async def ingest(world: World) -> AsyncIterator[psycopg.AsyncConnection]:
    url = as_role(world.url, "mes_ingest")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


def choice(take="central", **given) -> Choice:
    return Choice(**({"take": take, "reason": "recall confirmed", "by": "q.chief"} | given))


async def decide(world: World, found: Quarrel, take="central", *, name=None, **given):
    async with ingest(world) as connection:
        made = choice(take, **given)
        return await resolve(connection, world.catalog, name or found.conflict_id, made)


async def version_of(world: World, found: Quarrel) -> str:
    async with ingest(world) as connection:
        conflict = await find_conflict(connection, found.conflict_id)
        return (await read_standing(connection, world.catalog, conflict)).version


async def review(world: World, found: Quarrel) -> tuple:
    return await world.one(
        "SELECT state, take, value::jsonb, decided_by, reason, changed_by FROM mes.sync_reviews"
        " WHERE id = %s",
        found.review_id,
    )


OPEN = ("OPEN", None, None, None, None, None)


# --- what a decision writes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("take", "value", "expected"),
    [
        ("here", None, "USE_AS_IS"),
        ("central", None, "SCRAP"),
        ("value", {"disposition": "REWORK"}, "REWORK"),
        ("value", {"disposition": None}, None),
    ],
)
async def test_a_decision_writes_the_row_and_closes_the_review(world, take, value, expected):
    found = await quarrel(world, world.site())
    await decide(world, found, take, value=value)
    assert await stands(world, found.row_id) == expected
    assert await review(world, found) == (
        "RESOLVED", take, {"disposition": expected}, "q.chief", "recall confirmed", "q.chief",
    )  # fmt: skip


async def test_a_decision_is_captured_as_the_write_of_a_person_at_the_centre(world):
    found = await quarrel(world, world.site())
    await world.rows("DELETE FROM sync.touched RETURNING 1")
    await decide(world, found, "central")
    origin, writer, mask, head = await world.one(
        "SELECT v.origin, v.writer, v.mask, v.version = h.version FROM sync.version v"
        " JOIN sync.head h USING (site_id, table_no, id) WHERE v.id = %s"
        " ORDER BY v.ord DESC LIMIT 1",
        found.row_id,
    )
    table = world.catalog.table(TABLE)
    assert (origin, writer, head) == ("*", "q.chief", True)
    assert table.names_of(mask) == ("disposition", "changed_by")
    told = await world.rows("SELECT row_id::text, scopes FROM sync.touched")
    assert sorted(told) == sorted([(found.row_id, ["SITE_001"]), (found.review_id, ["SITE_001"])])


async def test_a_value_that_stands_already_is_written_as_decided(world):
    found = await quarrel(world, world.site())
    before = await world.head(found.row_id)
    done = await decide(world, found, "here")
    assert done.decision.changes == {}
    assert (await review(world, found))[0] == "RESOLVED"
    writer, mask, version = await world.one(
        "SELECT writer, mask, version::text FROM sync.version WHERE id = %s"
        " ORDER BY ord DESC LIMIT 1",
        found.row_id,
    )
    assert world.catalog.table(TABLE).names_of(mask) == ("disposition", "changed_by")
    assert (writer, version == await world.head(found.row_id)) == ("q.chief", True)
    assert version != before


async def test_a_row_that_is_to_stay_is_written_as_decided(world):
    found = await quarrel(world, world.site(), here=None)
    await decide(world, found, "central")
    (mask,) = await world.one(
        "SELECT mask FROM sync.version WHERE id = %s ORDER BY ord DESC LIMIT 1", found.row_id
    )
    assert "disposition" in world.catalog.table(TABLE).names_of(mask)


async def test_a_dry_run_tells_what_it_would_write_and_writes_nothing(world):
    found = await quarrel(world, world.site())
    async with ingest(world) as connection:
        done = await resolve(
            connection, world.catalog, found.conflict_id, choice("central"), dry_run=True
        )
    assert done.decision.changes == {"disposition": "SCRAP"}
    assert await stands(world, found.row_id) == "USE_AS_IS"
    assert await review(world, found) == OPEN


async def test_the_site_takes_a_later_write_of_its_own_as_based_on_the_decision(world):
    site = world.site()
    found = await quarrel(world, site)
    await decide(world, found, "central")
    base = await world.head(found.row_id)
    await site.writes(site.update(TABLE, found.row_id, base=base, disposition=("SCRAP", "REWORK")))
    assert await stands(world, found.row_id) == "REWORK"


# --- one side deleted the row ------------------------------------------------------------------


@pytest.mark.parametrize(("take", "expected"), [("here", "gone"), ("central", "SCRAP")])
async def test_a_deletion_by_the_site_stands_only_where_it_is_taken(world, take, expected):
    found = await quarrel(world, world.site(), here=None)
    assert await stands(world, found.row_id) == "SCRAP"
    await decide(world, found, take)
    assert await stands(world, found.row_id) == expected
    assert (await review(world, found))[0] == "RESOLVED"


@pytest.mark.parametrize(("take", "expected"), [("here", "USE_AS_IS"), ("central", "gone")])
async def test_a_deletion_by_the_centre_stands_only_where_it_is_taken(world, take, expected):
    found = await quarrel(world, world.site(), central=None)
    assert await stands(world, found.row_id) == "USE_AS_IS"
    await decide(world, found, take)
    assert await stands(world, found.row_id) == expected


async def test_of_a_deleted_row_no_value_can_be_taken(world):
    found = await quarrel(world, world.site(), here=None)
    with pytest.raises(BadDecision, match="one side deleted the row"):
        await decide(world, found, "value", value={"disposition": "SCRAP"})


# --- who has not seen what stands is refused -----------------------------------------------------


async def test_a_row_written_since_the_review_opened_refuses_the_decision(world):
    found = await quarrel(world, world.site())
    await write(world, found.row_id, "REPAIR")
    with pytest.raises(WrittenSince) as refused:
        await decide(world, found, "central")
    assert refused.value.shown == {"disposition": "USE_AS_IS"}
    assert refused.value.stands == {"disposition": "REPAIR"}
    assert "USE_AS_IS" in str(refused.value)
    assert "REPAIR" in str(refused.value)
    assert await stands(world, found.row_id) == "REPAIR"
    assert await review(world, found) == OPEN


async def test_who_names_the_version_that_stands_may_decide_on_a_later_row(world):
    found = await quarrel(world, world.site())
    await write(world, found.row_id, "REPAIR")
    await decide(world, found, "central", seen=await version_of(world, found))
    assert await stands(world, found.row_id) == "SCRAP"


async def test_a_version_that_is_no_longer_the_head_refuses_the_decision(world):
    found = await quarrel(world, world.site())
    seen = await version_of(world, found)
    await world.client(f"UPDATE mes.{TABLE} SET description = 'x' WHERE id = %s", found.row_id)
    with pytest.raises(WrittenSince):
        await decide(world, found, "central", seen=seen)
    assert await review(world, found) == OPEN


async def test_a_write_that_commits_while_we_decide_refuses_the_decision(world):
    found = await quarrel(world, world.site())
    async with await psycopg.AsyncConnection.connect(as_role(world.url, "mes_app")) as program:
        await program.execute("SELECT set_config('app.current_site_id', 'SITE_001', true)")
        await program.execute(
            f"UPDATE mes.{TABLE} SET disposition = 'REPAIR' WHERE id = %s", [found.row_id]
        )
        deciding = asyncio.create_task(decide(world, found, "central"))
        await until_somebody_waits(world)
        await program.commit()
        with pytest.raises(WrittenSince) as refused:
            await deciding
    assert refused.value.stands == {"disposition": "REPAIR"}
    assert await review(world, found) == OPEN


async def until_somebody_waits(world: World) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    for _ in range(500):
        if await world.value(f"{query} AND wait_event_type = 'Lock'"):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody waits")


async def test_of_two_who_decide_at_once_exactly_one_does(world):
    found = await quarrel(world, world.site())
    taken = await asyncio.gather(
        decide(world, found, "central"),
        decide(world, found, "value", value={"disposition": "REPAIR"}),
        return_exceptions=True,
    )
    refused = [each for each in taken if isinstance(each, Exception)]
    assert len(refused) == 1
    assert isinstance(refused[0], (DecidedAlready, WrittenSince)), refused
    assert (await review(world, found))[2] == {"disposition": await stands(world, found.row_id)}


async def test_what_was_decided_is_not_decided_again(world):
    found = await quarrel(world, world.site())
    await decide(world, found, "central")
    with pytest.raises(DecidedAlready, match=r"q\.chief took central .*: recall confirmed"):
        await decide(world, found, "here")
    assert await stands(world, found.row_id) == "SCRAP"


async def test_the_same_decision_once_more_does_nothing(world):
    found = await quarrel(world, world.site())
    given = {"take": "value", "value": {"disposition": "REPAIR"}}
    await decide(world, found, **given)
    head = await world.head(found.row_id)
    done = await decide(world, found, **given, by="somebody else")
    assert (done.again, await world.head(found.row_id)) == (True, head)
    assert (await review(world, found))[3] == "q.chief"


async def test_what_a_policy_decided_is_not_for_a_person(world):
    site = world.site()
    order = site.order(notes="first")
    base = await site.writes(site.insert("work_orders", order))
    await world.client("UPDATE mes.work_orders SET notes = 'central' WHERE id = %s", order["id"])
    late = site.update("work_orders", order["id"], base=base, notes=("first", "here"))
    await site.apply(site.sends(late))
    async with ingest(world) as connection:
        (conflict,) = await read_conflicts(connection, Wanted(policy="last_write"))
        assert conflict.state == "decided"
        with pytest.raises(NothingToDecide, match="last_write"):
            await resolve(connection, world.catalog, conflict.id, choice())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"value": {"disposition": "BURN"}}, "USE_AS_IS, REWORK, REPAIR"),
        ({"value": {"description": "x"}}, "not in conflict; give values of disposition only"),
        ({"value": {}}, "give a value for one or more of disposition"),
        ({"take": "central", "by": " "}, "say who decides"),
        ({"take": "central", "reason": "x" * 1001}, "say why"),
    ],
)
async def test_a_decision_that_can_not_be_written_names_the_rule(world, given, told):
    found = await quarrel(world, world.site())
    with pytest.raises(BadDecision, match=told):
        await decide(world, found, **({"take": "value"} | given))
    assert await review(world, found) == OPEN


async def test_the_ingest_login_may_decide_without_being_superuser(world):
    found = await quarrel(world, world.site())
    name, password = f"decider_{secrets.token_hex(4)}", secrets.token_hex(16)
    await world.admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE mes_ingest")
    try:
        parts = urlsplit(world.url)
        place = f"{name}:{password}@{parts.hostname}:{parts.port}"
        url = as_role(urlunsplit(parts._replace(netloc=place)), "mes_ingest")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await resolve(connection, world.catalog, found.conflict_id, choice("central"))
    finally:
        await world.admin.execute(f"DROP ROLE {name}")
    assert await stands(world, found.row_id) == "SCRAP"


# --- finding them ----------------------------------------------------------------------------


async def test_a_conflict_is_found_by_its_id_its_review_and_the_end_of_either(world):
    found = await quarrel(world, world.site())
    for name in (found.conflict_id, found.review_id, found.conflict_id[-8:], found.review_id[-12:]):
        async with ingest(world) as connection:
            assert (await find_conflict(connection, name)).id == found.conflict_id


@pytest.mark.parametrize(
    ("name", "told"), [("ffffffff", "no conflict"), ("%", "names no"), ("abc", "last 4 characters")]
)
async def test_a_name_of_no_conflict_is_told(world, name, told):
    async with ingest(world) as connection:
        with pytest.raises(UnknownConflict, match=told):
            await find_conflict(connection, name)


async def test_a_record_holds_both_values_both_writers_and_both_clocks(world):
    site = world.site()
    found = await quarrel(world, site)
    async with ingest(world) as connection:
        conflict = await find_conflict(connection, found.conflict_id)
    assert (conflict.table, conflict.key, conflict.site) == (TABLE, found.number, "SITE_001")
    assert (conflict.here.value, conflict.here.writer) == ({"disposition": "USE_AS_IS"}, "j.kiss")
    assert (conflict.central.value, conflict.central.writer) == (
        {"disposition": "SCRAP"},
        "planner",
    )
    assert (conflict.here.site, conflict.central.site) == ("SITE_001", "*")
    assert conflict.here.at == datetime.fromtimestamp(site.at_ms / 1000, UTC)
    assert conflict.central.at is not None
    assert (conflict.base, conflict.result) == ({"disposition": None}, {"disposition": "USE_AS_IS"})
    assert (conflict.policy, conflict.verdict, conflict.state) == ("review", "review", "open")


async def test_lists_keep_to_what_is_wanted_and_show_open_ones_first(world):
    one, two = world.site(), world.site("SITE_002")
    older = await quarrel(world, one)
    newer = await quarrel(world, two)
    await decide(world, newer, "central")

    async def listed(**wanted) -> list[str]:
        async with ingest(world) as connection:
            return [each.id for each in await read_conflicts(connection, Wanted(**wanted))]

    assert await listed() == [older.conflict_id, newer.conflict_id]
    assert await listed(state="open") == [older.conflict_id]
    assert await listed(state="resolved") == [newer.conflict_id]
    assert await listed(site="SITE_002") == [newer.conflict_id]
    assert await listed(policy="last_write") == []
    assert await listed(table="work_orders") == []
    assert await listed(limit=1) == [older.conflict_id]
    in_an_hour = await world.value("SELECT now() + interval '1 hour'")
    assert await listed(since=in_an_hour) == []

"""Parked rows are tried again: when they are mended, or what they waited for has come."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from central.store import conflicts
from shared.catalog import Catalog
from shared.errors import WaitsBehind
from tests.integration.apply_world import CREATED, Site, World, open_world, world  # noqa: F401
from tests.integration.parking import bad, states, tickets, told

if TYPE_CHECKING:
    from shared.changes import Value


# --- mended and retried --------------------------------------------------------------------------


async def relax_priority(world: World) -> None:
    """Mend the cause in the catalogue, as a release of it would."""
    table = world.catalog.table("work_orders")
    columns = tuple(
        replace(c, type=replace(c.type, high=None)) if c.name == "priority" else c
        for c in table.columns
    )
    mended = replace(table, columns=columns)
    others = tuple(t for t in world.catalog.tables if t.name != "work_orders")
    world.catalog = Catalog(world.catalog.version, (*others, mended))
    await world.admin.execute(b"ALTER TABLE mes.work_orders DROP CONSTRAINT priority_at_most_100")


async def test_a_poison_row_mended_and_retried_is_applied_with_all_that_waited_for_it(
    world: World,
) -> None:
    site = world.site()
    poor = bad(site)
    row_id = str(poor["id"])
    job = {"id": str(uuid.uuid4()), "work_order_id": row_id, "seq": 1, "segment_code": "X"}
    first = site.sends(site.insert("work_orders", poor), site.insert("job_orders", job))
    second = site.sends(
        site.update("work_orders", row_id, base=None, after=first.tx_id, notes=(None, "b")),
        site.insert("job_responses", site.report(work_order_id=row_id)),
    )
    outcome = await site.apply(first, second)
    assert (outcome.rows, outcome.parked) == (0, 4)
    ticket = await world.value(
        "SELECT ticket::text FROM sync.waiting WHERE reason = 'invalid_value'"
    )
    assert await world.store.retry(ticket) is False
    await relax_priority(world)
    async with open_world(world.url, world.catalog) as mended:
        assert await mended.store.retry(ticket) is True
    assert await world.one("SELECT priority, notes FROM mes.work_orders") == (1000, "b")
    assert await world.value("SELECT count(*) FROM mes.job_orders") == 1
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    assert await world.value("SELECT count(*) FROM sync.waiting") == 0
    assert {state for _, state in (await states(world)).values()} == {"applied"}
    # Its site was told that the row is gone, so it gets it now.
    assert row_id in await told(world, "work_orders")


async def test_a_retry_never_beats_a_later_write_of_the_same_site(world: World) -> None:
    site = world.site()
    order = site.order(notes="a", priority=50)
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    poor = site.sends(
        site.update("work_orders", row_id, base=base, notes=("a", "old"), priority=(50, 1000))
    )
    await site.apply(poor)
    await site.writes(site.update("work_orders", row_id, base=base, notes=("a", "newer")))
    await relax_priority(world)
    ticket = (await tickets(world))[row_id]
    async with open_world(world.url, world.catalog) as mended:
        assert await mended.store.retry(ticket) is True
    assert await world.one("SELECT notes, priority FROM mes.work_orders") == ("newer", 1000)
    assert await world.conflicts() == [("notes", "last_write", "central", {"notes": "newer"})]


@pytest.mark.parametrize("created", [CREATED, "2026-11-21T08:00:00.000Z"])
async def test_a_row_that_the_centre_makes_at_the_moment_of_its_retry_is_not_overwritten_unseen(
    world: World, monkeypatch: pytest.MonkeyPatch, created: str
) -> None:
    site = world.site()
    first, second = site.order(order_no="WO-1"), site.order(order_no="WO-1", notes="site")
    await site.writes(site.insert("work_orders", first))
    assert (await site.apply(site.sends(site.insert("work_orders", second)))).parked == 1
    ticket = await world.value("SELECT ticket::text FROM sync.waiting")
    await world.client("UPDATE mes.work_orders SET order_no = 'WO-2' WHERE id = %s", first["id"])
    read, reads = conflicts.read_standing, 0

    async def read_and_be_overtaken(*given: Any) -> Any:
        nonlocal reads
        found = await read(*given)
        if not reads:  # nothing stands in the row, and in a moment something does
            await world.client(
                "INSERT INTO mes.work_orders (id, created_at, order_no, notes)"
                " VALUES (%s, %s, 'WO-9', 'centre')", second["id"], created,
            )  # fmt: skip
        reads += 1
        return found

    monkeypatch.setattr(conflicts, "read_standing", read_and_be_overtaken)
    # Of another created_at it is another row under the same id: then ours goes on waiting.
    is_same = created == CREATED
    assert await world.store.retry(ticket) is is_same
    assert (
        await world.value("SELECT count(*) FROM mes.work_orders WHERE id = %s", second["id"]) == 1
    )
    kept = "SELECT central_value->>'notes', here_value->>'notes' FROM mes.sync_conflicts"
    assert (("centre", "site") in await world.rows(kept)) is is_same
    assert reads >= 2


async def test_a_retry_is_in_conflict_with_what_the_centre_wrote_meanwhile(
    world: World,
) -> None:
    site = world.site()
    order = site.order(priority=50)
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    await site.apply(site.sends(site.update("work_orders", row_id, base=base, priority=(50, 1000))))
    await world.client("UPDATE mes.work_orders SET priority = 70 WHERE id = %s", row_id)
    await relax_priority(world)
    async with open_world(world.url, world.catalog) as mended:
        assert await mended.store.retry((await tickets(world))[row_id]) is True
    assert await world.value("SELECT priority FROM mes.work_orders") == 70
    assert await world.conflicts() == [("priority", "central", "central", {"priority": 70})]


async def test_a_discarded_row_is_gone_and_what_was_behind_it_is_tried_without_it(
    world: World,
) -> None:
    site = world.site()
    order = site.order(notes="a")
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    poor = site.sends(site.update("work_orders", row_id, base=base, priority=(50, 1000)))
    behind = site.sends(
        site.update("work_orders", row_id, base=base, after=poor.tx_id, notes=("a", "b"))
    )
    await site.apply(poor, behind)
    ticket = await world.value(
        "SELECT ticket::text FROM sync.waiting WHERE reason = 'invalid_value'"
    )
    assert await world.store.discard(ticket, "ann") is True
    assert await world.store.discard(ticket, "ann") is False
    assert await world.one("SELECT notes, priority FROM mes.work_orders") == ("b", 50)
    found = await world.rows("SELECT state, message FROM mes.sync_parked ORDER BY state DESC")
    assert found[0] == ("discarded", "discarded by ann")
    assert found[1][0] == "applied"
    assert await world.value("SELECT count(*) FROM sync.waiting") == 0


@pytest.mark.parametrize("last", ["an update", "a deletion"])
async def test_what_waited_behind_a_discarded_insert_does_not_wait_for_each_other(
    world: World, last: str
) -> None:
    site = world.site()
    poor = site.order(priority=1000)
    row_id = str(poor["id"])
    first = site.sends(site.insert("work_orders", poor))
    second = site.sends(
        site.update("work_orders", row_id, base=None, after=first.tx_id, notes=(None, "b"))
    )
    after = {"base": None, "after": second.tx_id}
    third = site.sends(
        site.delete("work_orders", row_id, **after)
        if last == "a deletion"
        else site.update("work_orders", row_id, **after, notes=("b", "c"))
    )
    await site.apply(first, second, third)
    assert await world.value("SELECT count(*) FROM sync.waiting") == 3
    ticket = await world.value(
        "SELECT ticket::text FROM sync.waiting WHERE reason = 'invalid_value'"
    )
    assert await world.store.discard(ticket, "ann") is True
    assert await world.rows("SELECT reason, behind FROM sync.waiting") == []
    found = await world.rows("SELECT state FROM mes.sync_parked ORDER BY state")
    assert found == [("applied",), ("applied",), ("discarded",)]


async def test_an_unknown_ticket_is_nothing_to_do(world: World) -> None:
    assert await world.store.retry(str(uuid.uuid4())) is False
    assert await world.store.discard(str(uuid.uuid4()), "ann") is False


# --- waiting for what is on its way --------------------------------------------------------------


def job_of(order_id: str, seq: int = 1) -> dict[str, Value]:
    return {"id": str(uuid.uuid4()), "work_order_id": order_id, "seq": seq, "segment_code": "X"}


async def test_a_child_waits_quietly_with_what_its_site_builds_on_it(world: World) -> None:
    site = world.site()
    order = site.order()
    job = job_of(str(order["id"]))
    early = site.sends(site.insert("job_orders", job))
    later = site.sends(
        site.update(
            "job_orders", str(job["id"]), base=early.tx_id, segment_code=("X", "Y"),
        )
    )  # fmt: skip
    outcome = await site.apply(early, later)
    assert (outcome.rows, outcome.parked) == (0, 2)
    # Nothing is taken from the site that is only early.
    assert await told(world, "job_orders") == []
    outcome = await site.apply(site.sends(site.insert("work_orders", order)))
    assert outcome.rows == 3
    assert await world.value("SELECT segment_code FROM mes.job_orders") == "Y"
    assert await world.head(str(job["id"])) == later.tx_id


async def test_of_a_row_that_waited_quietly_its_site_learns_when_it_is_discarded(
    world: World,
) -> None:
    site = world.site()
    job = job_of(str(uuid.uuid4()))
    row_id = str(job["id"])
    await site.apply(site.sends(site.insert("job_orders", job)))
    (ticket,) = (await tickets(world)).values()
    assert await told(world, "job_orders") == []
    assert await world.store.discard(ticket, "ann")
    # The centre has no such row: its site must not go on showing it.
    assert await told(world, "job_orders") == [row_id]
    assert await world.head(row_id) is None


async def test_a_child_of_a_child_waits_for_its_own_parent(world: World) -> None:
    site = world.site()
    plan = {"id": str(uuid.uuid4()), "plan_code": "P"}
    part = {"id": str(uuid.uuid4()), "plan_id": plan["id"], "seq": 1, "name": "d"}
    await site.apply(site.sends(site.insert("inspection_characteristics", part)))
    await site.apply(site.sends(site.insert("inspection_plans", plan)))
    assert await world.value("SELECT count(*) FROM mes.inspection_characteristics") == 1
    assert await world.value("SELECT count(*) FROM sync.waiting") == 0


async def test_a_parent_made_at_the_centre_lets_its_children_in_when_it_is_looked_for(
    world: World,
) -> None:
    site = world.site()
    order_id = str(uuid.uuid4())
    await site.apply(
        site.sends(
            site.insert("job_orders", job_of(order_id)),
            site.insert("job_responses", site.report(work_order_id=order_id)),
        )
    )
    assert await world.store.retry_due("SITE_001") == 0
    await world.month("work_orders")
    await world.client(
        "INSERT INTO mes.work_orders (id, created_at, order_no) VALUES (%s, %s, 'C-1')",
        order_id,
        CREATED,
    )
    assert await world.store.retry_due("SITE_001") == 2
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    assert await world.store.retry_due("SITE_001") == 0


async def with_longer_shift_codes(world: World, version: int) -> Catalog:
    """Have the database take shift codes of 40 characters, and return the catalogue that does."""
    table = world.catalog.table("job_responses")
    columns = tuple(
        replace(c, type=replace(c.type, length=40)) if c.name == "shift_code" else c
        for c in table.columns
    )
    await world.admin.execute(
        b"ALTER TABLE mes.job_responses ALTER COLUMN shift_code TYPE varchar(40)"
    )
    others = tuple(t for t in world.catalog.tables if t.name != "job_responses")
    return Catalog(version, (*others, replace(table, columns=columns)))


async def test_rows_of_a_newer_schema_are_applied_when_the_centre_has_it(world: World) -> None:
    newer = world.catalog.version + 1
    site = world.site(schema=newer)
    long_text = site.report(shift_code="x" * 30)
    seams = replace(site.insert("holds", {}), table="weld_seams")
    outcome = await site.apply(site.sends(site.insert("job_responses", long_text), seams))
    assert outcome.parked == 2
    assert {reason for reason, *_ in await world.parked()} == {"newer_schema"}
    grown = await with_longer_shift_codes(world, newer)
    async with open_world(world.url, grown) as migrated:
        assert await migrated.store.retry_due("SITE_001") == 1
        # The table did not come with it: its row waits for the next one, and is not tried before.
        assert ("newer_schema", "waiting") in (await states(world)).values()
        assert await world.value("SELECT catalogue FROM sync.waiting") == grown.digest
        assert await migrated.store.retry_due("SITE_001") == 0
    assert await world.value("SELECT shift_code FROM mes.job_responses") == "x" * 30


async def test_a_value_that_another_catalogue_of_ours_takes_is_tried_once_by_it(
    world: World,
) -> None:
    # Versions are sums over the files of all plants: that of a site with its own file alone may be
    # the smaller one, and its table the newer.
    site = world.site()
    refused = [site.report(shift_code="x" * size) for size in (30, 60)]
    outcome = await site.apply(site.sends(site.insert("job_responses", *refused)))
    assert outcome.parked == 2
    assert set((await states(world)).values()) == {("invalid_value", "parked")}
    assert await world.store.retry_due("SITE_001") == 0
    grown = await with_longer_shift_codes(world, world.catalog.version)
    async with open_world(world.url, grown) as migrated:
        assert await migrated.store.retry_due("SITE_001") == 1
        assert await migrated.store.retry_due("SITE_001") == 0
    assert await world.value("SELECT shift_code FROM mes.job_responses") == "x" * 30


async def test_what_waits_behind_another_change_is_not_discarded_before_that(world: World) -> None:
    site = world.site()
    order = site.order(notes="a")
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    poor = site.sends(site.update("work_orders", row_id, base=base, priority=(50, 1000)))
    behind = site.sends(
        site.update("work_orders", row_id, base=base, after=poor.tx_id, notes=("a", "b"))
    )
    await site.apply(poor, behind)
    found = dict(await world.rows("SELECT reason, ticket::text FROM sync.waiting"))
    with pytest.raises(WaitsBehind, match=f"waits behind {found['invalid_value'][-8:]}"):
        await world.store.discard(found["behind"], "ann")
    assert await world.value("SELECT count(*) FROM sync.waiting") == 2
    assert await world.store.discard(found["invalid_value"], "ann")
    assert await world.one("SELECT notes, priority FROM mes.work_orders") == ("b", 50)


async def test_what_a_discarded_change_hid_while_it_only_waited_is_held_against_what_came_after(
    world: World,
) -> None:
    site = world.site()
    order, missing = site.order(), str(uuid.uuid4())
    job = job_of(str(order["id"]))
    row_id = str(job["id"])
    await site.writes(site.insert("work_orders", order))
    base = await site.writes(site.insert("job_orders", job))
    await world.client("UPDATE mes.job_orders SET segment_code = 'Y' WHERE id = %s", row_id)
    seen = await world.head(row_id)
    early = site.sends(
        site.update(
            "job_orders", row_id, base=base, segment_code=("X", "Z"),
            work_order_id=(str(order["id"]), missing),
        )
    )  # fmt: skip
    later = site.sends(
        site.update("job_orders", row_id, base=seen, after=early.tx_id, segment_code=("Z", "A"))
    )
    assert (await site.apply(early, later)).parked == 2
    found = dict(await world.rows("SELECT reason, ticket::text FROM sync.waiting"))
    assert await world.head(row_id) == seen  # its site shows the change on
    assert await world.store.discard(found["parent_missing"], "ann")
    mask = world.catalog.table("job_orders").mask(["segment_code"])
    assert await world.value(
        "SELECT count(*) FROM sync.version WHERE id = %s AND overruled & %s <> 0", row_id, mask
    ) == 1  # fmt: skip
    assert await world.conflicts() == [("segment_code", "site", "here", {"segment_code": "A"})]


async def test_a_retry_gives_way_to_no_later_write_of_its_site_that_is_parked_itself(
    world: World,
) -> None:
    site = world.site()
    first, second = site.order(order_no="WO-1"), site.order(order_no="WO-2", assigned_line="L0")
    row_id = str(second["id"])
    base = await site.writes(site.insert("work_orders", first, second))
    await world.client("UPDATE mes.work_orders SET assigned_line = 'C' WHERE id = %s", row_id)
    seen = await world.head(row_id)
    early = site.sends(
        site.update(
            "work_orders", row_id, base=base, order_no=("WO-2", "WO-1"), assigned_line=("L0", "L1")
        )
    )
    # What the early one hid, the later one, which is never going to count, has not seen either.
    later = site.update(
        "work_orders", row_id, base=seen, after=early.tx_id, assigned_line=("L1", "L2"),
        priority=(50, 1000),
    )  # fmt: skip
    assert (await site.apply(early, site.sends(later))).parked == 2
    await world.client("UPDATE mes.work_orders SET order_no = 'WO-3' WHERE id = %s", first["id"])
    found = dict(await world.rows("SELECT reason, ticket::text FROM sync.waiting"))
    assert await world.store.retry(found["key_taken"])
    assert await world.value("SELECT assigned_line FROM mes.work_orders WHERE id = %s", row_id) == (
        "L1"
    )

"""What can't be applied is kept and listed; the rest goes on."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from central.migrate import migrate
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.catalog_file import load_catalog
from shared.errors import StoreBusy
from sync import codec
from sync.protocol import Verdict
from tests.integration.apply_world import Site, World, open_world, world  # noqa: F401
from tests.integration.parking import bad, states, told

if TYPE_CHECKING:
    from shared.changes import Value


class Stumbling(str):
    """A site's name that the check of its row stumbles on: it stands for a mistake of ours."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


# --- the smallest whole --------------------------------------------------------------------------


async def test_one_bad_order_is_parked_and_the_rest_of_its_transaction_goes_on(
    world: World,
) -> None:
    site = world.site()
    orders = [site.order(), bad(site), site.order()]
    sent = site.sends(
        site.insert("work_orders", *orders), site.insert("job_responses", site.report())
    )
    outcome = await site.apply(sent)
    assert (outcome.verdict, outcome.rows, outcome.parked) == (Verdict.APPLY, 3, 1)
    ((reason, state, table, row_id, message),) = await world.parked()
    assert (reason, state, table, row_id) == (
        "invalid_value",
        "parked",
        "work_orders",
        orders[1]["id"],
    )
    assert "priority = 1000" in message
    # Its site gets the truth of the row, and the item for a person to see.
    assert await told(world, "work_orders") == [orders[1]["id"]]
    assert len(await told(world, "sync_parked")) == 1
    kept = await world.one("SELECT op, tx_id::text, n, content->>'priority' FROM mes.sync_parked")
    assert kept == ("I", sent.tx_id, 1, "1000")


async def test_an_order_is_parked_with_the_jobs_that_its_transaction_brought(
    world: World,
) -> None:
    site = world.site()
    good, poor = site.order(), bad(site)

    def job(order: dict[str, Value], seq: int) -> dict[str, Value]:
        return {
            "id": str(uuid.uuid4()), "work_order_id": order["id"], "seq": seq,
            "segment_code": "X",
        }  # fmt: skip

    jobs = [job(poor, 1), job(good, 1), job(poor, 2)]
    outcome = await site.apply(
        site.sends(site.insert("work_orders", good, poor), site.insert("job_orders", *jobs))
    )
    assert (outcome.rows, outcome.parked) == (2, 3)
    assert await states(world) == {
        poor["id"]: ("invalid_value", "parked"),
        jobs[0]["id"]: ("tied", "waiting"),
        jobs[2]["id"]: ("tied", "waiting"),
    }


async def test_a_bad_job_takes_its_new_order_with_it_but_not_another(world: World) -> None:
    site = world.site()
    orders = [site.order(), site.order()]
    jobs = [
        {"id": str(uuid.uuid4()), "work_order_id": order["id"], "seq": seq, "segment_code": "X"}
        for order, seq in zip(orders, (-1, 1), strict=True)
    ]
    outcome = await site.apply(
        site.sends(site.insert("work_orders", *orders), site.insert("job_orders", *jobs))
    )
    assert (outcome.rows, outcome.parked) == (2, 2)
    assert await states(world) == {
        jobs[0]["id"]: ("invalid_value", "parked"),
        orders[0]["id"]: ("tied", "waiting"),
    }


async def test_what_only_postgresql_can_refuse_is_found_row_by_row(world: World) -> None:
    await world.admin.execute(
        b"ALTER TABLE mes.work_orders ADD CONSTRAINT no_evil CHECK (notes <> 'evil')"
    )
    site = world.site()
    orders = [site.order(notes=note) for note in ("a", "evil", "b", "evil", "c")]
    outcome = await site.apply(site.sends(site.insert("work_orders", *orders)))
    assert (outcome.rows, outcome.parked) == (3, 2)
    assert {
        (reason, "no_evil" in message) for reason, _, _, _, message in await world.parked()
    } == {("database", True)}
    assert await world.value("SELECT count(*) FROM sync.head WHERE NOT deleted") == 3 + 2


@pytest.mark.parametrize("table", ["work_orders", "job_responses"])
@pytest.mark.parametrize("refusal", ["RAISE EXCEPTION 'no evil'", "ASSERT false, 'no evil'"])
async def test_what_a_trigger_of_the_plants_at_the_centre_refuses_is_parked(
    world: World, table: str, refusal: str
) -> None:
    column = {"work_orders": "notes", "job_responses": "shift_code"}[table]
    await world.admin.execute(
        f"CREATE FUNCTION public.no_evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.{column} = 'evil' THEN {refusal}; END IF; RETURN NEW; END $$;"
        f" CREATE TRIGGER no_evil BEFORE INSERT ON mes.{table} FOR EACH ROW"
        " EXECUTE FUNCTION public.no_evil()".encode()
    )
    site = world.site()
    made = site.order if table == "work_orders" else site.report
    rows = [made(**{column: each}) for each in ("a", "evil", "b")]
    outcome = await site.apply(site.sends(site.insert(table, *rows)))
    assert (outcome.rows, outcome.parked) == (2, 1)
    ((reason, *_, message),) = await world.parked()
    assert (reason, "no evil" in message) == ("database", True)


async def test_facts_that_only_postgresql_can_refuse_are_found_by_halves(world: World) -> None:
    await world.admin.execute(
        b"ALTER TABLE mes.job_responses ADD CONSTRAINT no_evil CHECK (shift_code <> 'evil')"
    )
    site = world.site()
    reports = [site.report(shift_code="evil" if n in (3, 77) else "A") for n in range(100)]
    outcome = await site.apply(site.sends(site.insert("job_responses", *reports)))
    assert (outcome.rows, outcome.parked) == (98, 2)
    assert set(await states(world)) == {reports[3]["id"], reports[77]["id"]}


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_a_change_that_alters_created_at_is_parked(world: World, kind: str) -> None:
    site = world.site()
    order = site.order(notes="a")
    base = await site.writes(site.insert("work_orders", order))
    moved = "2026-11-21T08:00:00.000Z"
    change = (
        site.update("work_orders", str(order["id"]), base=base, created=moved, notes=("a", "b"))
        if kind == "update"
        else site.delete("work_orders", str(order["id"]), base=base, created=moved)
    )
    outcome = await site.apply(site.sends(change))
    assert (outcome.rows, outcome.parked) == (0, 1)
    ((reason, *_, message),) = await world.parked()
    assert reason == "moved"
    assert moved in message
    assert await world.value("SELECT notes FROM mes.work_orders") == "a"


async def test_rows_that_this_program_fails_on_are_parked_and_the_facts_beside_them_go_on(
    world: World,
) -> None:
    site = world.site()
    broken = site.insert("work_orders", site.order(), site.order())
    sent = [
        site.sends(site.insert("job_responses", site.report())),
        site.sends(broken, site.insert("job_responses", site.report())),
        site.sends(site.insert("job_responses", site.report())),
    ]
    broken.new.pop()  # nothing that the codec lets pass: it stands for a mistake of ours
    outcome = await site.apply(*sent)
    assert (outcome.verdict, outcome.position.n) == (Verdict.APPLY, 3)
    assert (outcome.rows, outcome.parked) == (3, 2)
    assert {reason for reason, *_ in await world.parked()} == {"fault"}
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 0


async def test_of_facts_only_the_one_that_this_program_fails_on_is_parked(world: World) -> None:
    site = world.site()
    reports = [site.report() for _ in range(40)]
    facts = site.insert("job_responses", *reports)
    sent = [site.sends(facts), site.sends(site.insert("job_responses", site.report()))]
    facts.sites[17] = Stumbling("SITE_001")
    outcome = await site.apply(*sent)
    assert (outcome.verdict, outcome.position.n) == (Verdict.APPLY, 2)
    assert (outcome.rows, outcome.parked) == (40, 1)
    assert await states(world) == {reports[17]["id"]: ("fault", "parked")}


async def test_a_fact_that_waits_for_a_fact_gets_in_after_its_parent_came_beside_a_fault(
    world: World,
) -> None:
    site = world.site()
    result = {"id": str(uuid.uuid4())}
    value = {"id": str(uuid.uuid4()), "result_id": result["id"], "value": "1.5"}
    await site.apply(site.sends(site.insert("measurements", value)))
    facts = site.insert("job_responses", site.report())
    sent = site.sends(site.insert("inspection_results", result), facts)
    facts.sites[0] = Stumbling("SITE_001")
    outcome = await site.apply(sent)
    assert (outcome.rows, outcome.parked) == (1, 1)
    assert await world.store.retry_due("SITE_001") == 1
    assert await world.value("SELECT count(*) FROM mes.measurements") == 1


class Unlisted(str):
    """An id that not even parking can write down: it stands for a mistake of ours."""

    __slots__ = ()

    def replace(self, *_: object) -> str:
        raise ZeroDivisionError


async def test_a_transaction_that_cannot_even_be_parked_is_set_aside_whole(world: World) -> None:
    site = world.site()
    orders = site.insert("work_orders", site.order(), bad(site))
    sent = [
        site.sends(site.insert("job_responses", site.report())),
        site.sends(orders, site.insert("job_responses", site.report())),
        site.sends(site.insert("job_responses", site.report())),
    ]
    orders.ids[1] = Unlisted(orders.ids[1])
    outcome = await site.apply(*sent)
    assert (outcome.verdict, outcome.position.n) == (Verdict.APPLY, 3)
    assert (outcome.rows, outcome.parked) == (2, 0)
    reason, message, payload = await world.one("SELECT reason, message, payload FROM sync.refused")
    assert (reason, sent[1].tx_id in message) == ("fault", True)
    kept = codec.decode_body(codec.decompress(payload)).blocks
    assert [each.ids for each in kept] == [each.ids for each in sent[1].blocks]
    # Its site gets the truth of the rows that it shows.
    assert set(await told(world, "work_orders")) == set(orders.ids)


async def test_a_partition_that_was_dropped_is_made_anew(world: World) -> None:
    site = world.site()
    await site.writes(site.insert("job_responses", site.report()))
    await world.admin.execute(b"DROP TABLE mes.job_responses__site_001__2026_11")
    sent = site.sends(site.insert("job_responses", site.report()))
    with pytest.raises(StoreBusy, match="partition"):
        await site.apply(sent)
    outcome = await site.apply(sent)
    assert (outcome.rows, outcome.parked) == (1, 0)


async def test_two_orders_of_one_number_keep_the_first_on_either_path(world: World) -> None:
    site = world.site()
    orders = [site.order(order_no="WO-1") for _ in range(2)]
    outcome = await site.apply(site.sends(site.insert("work_orders", *orders)))
    assert (outcome.rows, outcome.parked) == (1, 1)
    assert await states(world) == {orders[1]["id"]: ("key_taken", "parked")}
    more = [site.order(), site.order()]
    base = await site.writes(site.insert("work_orders", *more))
    changes = [
        site.update("work_orders", str(each["id"]), base=base, order_no=(each["order_no"], "X"))
        for each in more
    ]
    outcome = await site.apply(site.sends(*changes))
    assert (outcome.rows, outcome.parked) == (1, 1)
    assert await world.value("SELECT count(*) FROM sync.row_key WHERE key = '[0,\"X\"]'") == 1


# --- waiting behind ------------------------------------------------------------------------------


async def test_changes_of_a_parked_insert_wait_behind_it_and_others_go_on(world: World) -> None:
    site = world.site()
    poor, good = bad(site), site.order(notes="a")
    first = site.sends(site.insert("work_orders", poor, good))
    row_id = str(poor["id"])
    second = site.sends(
        site.update("work_orders", row_id, base=None, after=first.tx_id, notes=(None, "b")),
        site.update("work_orders", str(good["id"]), base=None, after=first.tx_id, notes=("a", "b")),
    )
    third = site.sends(site.delete("work_orders", row_id, base=None, after=second.tx_id))
    outcome = await site.apply(first, second, third)
    assert (outcome.rows, outcome.parked) == (2, 3)
    found = await world.rows(
        "SELECT w.reason, p.state, b.reason FROM sync.waiting w JOIN mes.sync_parked p"
        " ON p.id = w.ticket LEFT JOIN sync.waiting b ON b.ticket = w.behind ORDER BY w.ord"
    )
    assert found == [
        ("invalid_value", "parked", None),
        ("behind", "waiting", "invalid_value"),
        ("behind", "waiting", "behind"),
    ]


async def test_a_row_made_anew_waits_behind_its_own_parked_deletion(world: World) -> None:
    site = world.site()
    poor = bad(site)
    first = site.sends(site.insert("work_orders", poor))
    second = site.sends(site.delete("work_orders", str(poor["id"]), base=None, after=first.tx_id))
    await site.apply(first, second)
    anew = site.insert("work_orders", site.order() | {"id": poor["id"]})
    outcome = await site.apply(site.sends(replace(anew, after=[second.tx_id])))
    assert (outcome.rows, outcome.parked) == (0, 1)
    assert [reason for reason, *_ in await world.parked()] == ["invalid_value", "behind", "behind"]


async def test_a_new_write_on_the_head_is_not_held_back_by_an_older_parked_one(
    world: World,
) -> None:
    site = world.site()
    order = site.order(notes="a")
    row_id = str(order["id"])
    base = await site.writes(site.insert("work_orders", order))
    await site.apply(site.sends(site.update("work_orders", row_id, base=base, priority=(50, 1000))))
    # The site has seen by now that the write was parked: it builds on the head.
    await site.writes(site.update("work_orders", row_id, base=base, notes=("a", "b")))
    assert await world.one("SELECT notes, priority FROM mes.work_orders") == ("b", 50)


LONG = Table(
    "acme_docs",
    Direction.BOTH,
    (Column("doc", ColumnType(Kind.TEXT), nullable=False, policy=Policy.SITE),),
    natural_keys=(("doc",),),
)


@pytest.mark.parametrize("letters", [1_500, 20_000])
async def test_a_key_too_long_for_the_index_is_parked_and_the_queue_goes_on(
    centre: str, letters: int
) -> None:
    packaged = load_catalog()
    catalog = Catalog(packaged.version + 1, (*packaged.tables, LONG))
    await migrate(centre, catalog, ("SITE_001",))
    async with open_world(centre, catalog) as world:
        site = world.site()
        docs = [{"doc": "a"}, {"doc": secrets.token_hex(letters)}, {"doc": "b"}]
        sent = [
            site.sends(site.insert("acme_docs", *docs)),
            site.sends(site.insert("job_responses", site.report())),
        ]
        outcome = await site.apply(*sent)
        assert (outcome.verdict, outcome.position.n) == (Verdict.APPLY, 2)
        assert (outcome.rows, outcome.parked) == (3, 1)
        ((reason, state, _, _, message),) = await world.parked()
        assert (reason, state) == ("database", "parked")
        assert "larger than PostgreSQL holds; shorten it: index row" in message
        ticket = await world.value("SELECT ticket::text FROM sync.waiting")
        assert not await world.store.retry(ticket)
        assert await world.store.discard(ticket, "tester")

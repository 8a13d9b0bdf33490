"""A snapshot holds the share of one moment, whole, in pieces that can be fetched in any order."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from central import snapshot
from central.control import Control
from central.feed import Sequencer
from central.picture import read_picture
from central.sites import release
from central.snapshot import Spool
from central.status import judge
from shared.changes import Fate
from shared.errors import MalformedMessage, SyncError
from sync import codec
from tests.integration.central_world import CATALOG, connect, execute, fetch, make_centre
from tests.integration.test_feed import new_orders, sequence

ZERO = bytes(32)
EPOCH = "018f4b7e-0000-7000-8000-000000000001"


async def spool(url: str, site: str, **given) -> str:
    async with connect(url, autocommit=False) as reader, connect(url, autocommit=False) as writer:
        return await Spool(reader, writer, CATALOG, **given).fill(site)


async def load(url: str, made: str) -> list:
    blocks, k = [], 0
    async with connect(url) as connection:
        while True:
            body, chunks = await snapshot.chunk(connection, made, k)
            if body is None:
                assert k == chunks
                return blocks
            blocks += codec.decode_chunk(body)
            k += 1


def numbers(blocks):
    return sorted(
        number
        for block in blocks
        if block.table == "work_orders"
        for number in block.new[block.columns.index("order_no")]
    )


async def test_a_snapshot_holds_a_sites_own_rows_and_the_shared_ones_and_no_others(centre):
    await execute(
        centre,
        new_orders("SITE_001", "mine"),
        new_orders("SITE_002", "theirs"),
        "INSERT INTO mes.material_definitions (id, site_id, created_at, material_code, version,"
        " description, material_type, base_uom)"
        " VALUES (uuidv7(), '*', now(), 'M1', 1, 'tab\tback\\slash', 'FINISHED', 'pcs')",
        "INSERT INTO mes.persons (id, site_id, created_at, person_no, name, home_site_id,"
        " assigned_sites) VALUES (uuidv7(), '*', now(), 'P1', 'Ada', 'SITE_002', '[\"SITE_001\"]'),"
        " (uuidv7(), '*', now(), 'P2', 'Bob', 'SITE_002', '[]')",
    )
    blocks = await load(centre, await spool(centre, "SITE_001"))
    assert numbers(blocks) == ["mine"]
    held = {b.table: dict(zip(b.columns, b.new, strict=True)) for b in blocks}
    assert held["material_definitions"]["description"] == ["tab\tback\\slash"]
    assert held["persons"]["name"] == ["Ada"]
    assert {b.fate for b in blocks} == {Fate.PUT}
    assert all(order > 0 for b in blocks for order in b.order)


async def test_records_of_decisions_come_before_the_rows_and_rows_after_their_parents(centre):
    await execute(centre, new_orders("SITE_001", "mine"))
    await execute(
        centre,
        "INSERT INTO mes.sync_conflicts (id, site_id, created_at, table_name, row_id, policy,"
        " column_group, verdict, here_site, here_at, decided_at)"
        " VALUES (uuidv7(), 'SITE_001', now(), 'work_orders', uuidv7(), 'newest', 'notes', 'here',"
        " 'SITE_001', now(), now())",
    )
    blocks = await load(centre, await spool(centre, "SITE_001"))
    names = [block.table for block in blocks]
    assert names.index("sync_conflicts") < names.index("work_orders")
    rows = [table.name for table in snapshot.records_first(CATALOG)]
    assert [each for each in rows if each[:5] == "sync_"] == rows[:3]
    for table in CATALOG.tables:
        for column in table.columns:
            if column.references not in (None, table.name):
                assert rows.index(column.references) < rows.index(table.name)


async def test_a_site_whose_name_has_an_underscore_gets_no_row_of_one_named_alike(database):
    centre = await make_centre(database, sites=("S_7", "SX7"))
    await execute(
        centre,
        "INSERT INTO mes.persons (id, site_id, created_at, person_no, name, home_site_id,"
        " assigned_sites) VALUES (uuidv7(), '*', now(), 'P1', 'Ada', 'SX7', '[\"SX7\"]'),"
        " (uuidv7(), '*', now(), 'P2', 'Bob', 'SX7', '[\"SX7\",\"S_7\"]'),"
        " (uuidv7(), '*', now(), 'P3', 'Cyd', 'SX7', '[\"*\"]')",
    )
    (persons,) = [b for b in await load(centre, await spool(centre, "S_7")) if b.table == "persons"]
    names = persons.new[persons.columns.index("name")]
    assert sorted(names) == ["Bob", "Cyd"]


async def test_rows_written_while_it_is_spooled_come_with_the_feed_after_its_position(centre):
    await execute(centre, new_orders("SITE_001", *(f"N{k}" for k in range(12_000))))
    await sequence(centre)
    begun = asyncio.Event()
    async with (
        connect(centre, autocommit=False) as reader,
        connect(centre, autocommit=False) as writer,
    ):
        filling = asyncio.create_task(
            Spool(reader, writer, CATALOG).fill("SITE_001", lambda *_: begun.set())
        )
        await begun.wait()
        await execute(centre, "DELETE FROM mes.work_orders WHERE order_no < 'N5'")
        made = await filling
    blocks = await load(centre, made)
    assert len(blocks) >= 3
    assert len(set(numbers(blocks))) == 12_000
    ((manifest,),) = await fetch(centre, "SELECT manifest FROM sync.snapshot")
    assert manifest["own"][0] > 0


async def test_a_snapshot_says_what_of_its_site_is_decided_in_it(centre):
    await execute(
        centre,
        "INSERT INTO sync.epoch (site, epoch, last_n, safe_n)"
        f" VALUES ('SITE_001', '{EPOCH}', 4, 2), ('SITE_002', gen_random_uuid(), 9, 9)",
    )
    await spool(centre, "SITE_001")
    ((manifest,),) = await fetch(centre, "SELECT manifest FROM sync.snapshot")
    assert manifest["ack"] == [EPOCH, 4, 2]


async def test_parents_come_before_their_children(centre):
    await execute(
        centre,
        new_orders("SITE_001", "A"),
        "INSERT INTO mes.job_orders (id, site_id, created_at, work_order_id, seq, segment_code)"
        " SELECT uuidv7(), site_id, created_at, id, 1, 'X' FROM mes.work_orders",
    )
    tables = [block.table for block in await load(centre, await spool(centre, "SITE_001"))]
    assert tables.index("work_orders") < tables.index("job_orders")


async def test_what_commits_after_a_snapshot_has_begun_is_not_in_it(centre):
    await execute(centre, new_orders("SITE_001", "before"))

    def begun(*_):
        with psycopg.connect(centre) as program:
            program.execute(new_orders("SITE_001", "after"))

    async with (
        connect(centre, autocommit=False) as reader,
        connect(centre, autocommit=False) as writer,
    ):
        made = await Spool(reader, writer, CATALOG).fill("SITE_001", begun)
    assert numbers(await load(centre, made)) == ["before"]


async def test_facts_of_as_many_days_as_the_centre_is_set_to_are_part_of_it(centre):
    for when in ("now()", "now() - interval '90 days'"):
        async with connect(centre, autocommit=False) as connection:
            await connection.execute(
                "SELECT sync.make_partition('equipment_state_events', 'SITE_001',"
                f" date_trunc('month', {when})::date)"
            )
            await connection.execute(
                "INSERT INTO mes.equipment_state_events__site_001"
                " (id, site_id, created_at, equipment_id, state, since, source) VALUES"
                f" (uuidv7(), 'SITE_001', {when}, uuidv7(), 'RUNNING', {when}, 'PLC')"
            )
            await connection.commit()
    blocks = await load(centre, await spool(centre, "SITE_001"))
    assert [len(b) for b in blocks if b.table == "equipment_state_events"] == [1]
    made = await spool(centre, "SITE_001", fact_days=100)
    blocks = await load(centre, made)
    assert [len(b) for b in blocks if b.table == "equipment_state_events"] == [2]
    ((manifest,),) = await fetch(centre, "SELECT manifest FROM sync.snapshot WHERE id = %s", made)
    assert manifest["fact_days"] == 100


@pytest.fixture
async def control(centre):
    async def waiting(site):
        return 3

    async with AsyncConnectionPool(centre, min_size=1, max_size=6, open=False) as pool:
        yield Control(pool, CATALOG, waiting)


async def ask(control, site, verb, **fields):
    answer = await control.answer(f"ctl.{site}.{verb}", codec.encode_control(fields))
    return codec.decode_control(answer)


async def stopped(centre) -> str | None:
    """Return why the site is stopped, as a status at the centre shows it."""
    ((why,),) = await fetch(centre, "SELECT stopped_because FROM sync.site WHERE site = 'SITE_001'")
    return why


def hello(**changed):
    fields = {
        "now_ms": 1, "version": "1", "instance": "host:/a", "epoch": EPOCH, "n": 0, "hash": ZERO,
        "sent_n": 0, "acked_n": 0, "own": [0, ZERO], "shared": [0, ZERO], "schema": 1,
        "needs_snapshot": True, "moved_from": None, "acked_hash": None, "lineage": [], "lives": [],
        "max_order": 0,
    }  # fmt: skip
    return fields | changed


async def test_hello_tells_how_far_the_centre_is_and_what_the_broker_still_holds(control, centre):
    await execute(
        centre, f"INSERT INTO sync.epoch (site, epoch, last_n) VALUES ('SITE_001', '{EPOCH}', 4)"
    )
    answer = await ask(control, "SITE_001", "hello", **hello(n=5))
    assert (answer["verdict"], answer["applied_n"], answer["waiting"]) == ("ok", 4, 3)


async def test_hello_of_a_store_behind_the_centre_says_so_and_stops_nobody(control, centre):
    await execute(
        centre, f"INSERT INTO sync.epoch (site, epoch, last_n) VALUES ('SITE_001', '{EPOCH}', 4)"
    )
    answer = await ask(control, "SITE_001", "hello", **hello(n=3))
    assert (answer["verdict"], answer["applied_n"]) == ("behind", 4)
    assert "is at 3, the centre knows 4" in answer["why"]
    assert await stopped(centre) is None


async def test_hello_of_another_transaction_with_a_known_number_says_so(control, centre):
    await execute(
        centre, f"INSERT INTO sync.epoch (site, epoch, last_n) VALUES ('SITE_001', '{EPOCH}', 4)"
    )
    answer = await ask(control, "SITE_001", "hello", **hello(n=4, hash=b"x" * 32))
    assert answer["verdict"] == "behind"


async def test_hello_of_a_store_that_followed_a_feed_further_than_it_goes_says_so(control, centre):
    answer = await ask(control, "SITE_001", "hello", **hello(own=[7, ZERO], needs_snapshot=False))
    assert (answer["verdict"], await stopped(centre)) == ("lost", None)
    assert await fetch(centre, "SELECT sync.is_verified('SITE_001')") == [(False,)]


async def test_a_site_that_was_stopped_stays_so_until_a_person_releases_it(control, centre):
    await execute(centre, "UPDATE sync.site SET stopped_because = 'two' WHERE site = 'SITE_001'")
    answer = await ask(control, "SITE_001", "hello", **hello(n=5))
    assert (answer["verdict"], answer["why"]) == ("stop", "two")
    async with connect(centre) as connection:
        picture = await read_picture(connection, CATALOG, None, ["SITE_001"])
        assert judge(picture).sites[0].reasons[0].code == "MES-STOPPED"
        assert await release(connection, "SITE_001") == "two"
    assert (await ask(control, "SITE_001", "hello", **hello(n=5)))["verdict"] == "ok"


async def test_a_second_store_of_a_site_is_sent_away_until_a_person_says_that_it_moved(
    control, centre
):
    assert (await ask(control, "SITE_001", "hello", **hello()))["verdict"] == "ok"
    answer = await ask(control, "SITE_001", "hello", **hello(instance="other:/b"))
    assert answer["verdict"] == "stop"
    assert "host:/a" in answer["why"]
    assert await stopped(centre) is None
    claimed = "SELECT claimed_by, claimed_because FROM sync.site WHERE site = 'SITE_001'"
    assert await fetch(centre, claimed) == [("other:/b", None)]
    assert (await ask(control, "SITE_001", "hello", **hello()))["verdict"] == "ok"
    moved = hello(instance="other:/b", moved_from="host:/a")
    assert (await ask(control, "SITE_001", "hello", **moved))["verdict"] == "ok"
    # From here on the first one is the copy.
    assert (await ask(control, "SITE_001", "hello", **hello()))["verdict"] == "stop"


async def test_only_a_store_that_is_not_sent_away_begins_a_life_of_the_server(control, centre):
    """It has met another server, which took this one's place for a while."""
    known = await ask(control, "SITE_001", "hello", **hello())
    other = "018f4b7e-0000-7000-8000-0000000000ff"
    met = {"lives": [known["life"], other], "parted": [None, None], "max_order": 0}

    async def lives() -> int:
        return (await fetch(centre, "SELECT count(*) FROM sync.life"))[0][0]

    for away in (met | {"instance": "other:/b"}, met | {"acked_n": -1}):
        await ask(control, "SITE_001", "life", **away)
    away = await ask(control, "SITE_001", "hello", **hello(instance="other:/b", **met))
    assert (away["verdict"], away["life"], await lives()) == ("stop", known["life"], 1)
    begun = await ask(control, "SITE_001", "hello", **hello(**met))
    assert (begun["after"], await lives()) == (known["life"], 2)
    assert begun["life"] != known["life"]
    assert (await ask(control, "SITE_001", "hello", **hello(**met)))["life"] == begun["life"]
    assert await lives() == 2


async def test_an_unknown_site_is_told_what_to_do(control):
    with pytest.raises(SyncError, match="sites add SITE_009"):
        await ask(control, "SITE_009", "hello", **hello())


async def test_a_site_may_not_follow_the_feed_of_another(control):
    with pytest.raises(MalformedMessage, match="SITE_002"):
        await ask(control, "SITE_001", "feed", scope="SITE_002", after=0)


async def test_a_pruned_feed_answers_that_a_snapshot_is_needed(control, centre):
    for number in range(3):
        await execute(centre, new_orders("SITE_001", f"A{number}"))
        await sequence(centre)
    answer = await ask(control, "SITE_001", "feed", scope="SITE_001", after=0)
    assert len(answer["entries"]) == 3
    await execute(centre, "DELETE FROM sync.feed WHERE pos <= 2")
    assert (await ask(control, "SITE_001", "feed", scope="SITE_001", after=0))["snapshot"]
    assert len((await ask(control, "SITE_001", "feed", scope="SITE_001", after=2))["entries"]) == 1
    assert (await ask(control, "SITE_001", "hello", **hello()))["verdict"] == "snapshot"


async def test_a_snapshot_is_fetched_by_its_site_alone_and_resumed_by_its_id(control, centre):
    await execute(centre, new_orders("SITE_001", "A1"))
    begun = await ask(control, "SITE_001", "snapshot")
    first = {}
    while "piece" not in first:
        first = await ask(control, "SITE_001", "chunk", id=begun["id"], k=0)
    assert numbers(codec.decode_chunk(first["piece"])) == ["A1"]
    assert (await ask(control, "SITE_002", "chunk", id=begun["id"], k=0)) == {"gone": True}
    while not (end := await ask(control, "SITE_001", "chunk", id=begun["id"], k=1)).get("end"):
        assert end == {"wait": True}
    again = await ask(control, "SITE_001", "snapshot", id=begun["id"])
    assert again["id"] == begun["id"]
    assert (await ask(control, "SITE_001", "snapshot"))["id"] != begun["id"]


async def test_a_half_made_snapshot_is_made_anew(control, centre):
    begun = await ask(control, "SITE_001", "snapshot")
    await asyncio.gather(*control._spools.values())
    await execute(centre, "UPDATE sync.snapshot SET chunks = NULL")
    again = await ask(control, "SITE_001", "snapshot", id=begun["id"])
    assert again["id"] != begun["id"]


async def test_a_large_entry_is_fetched_in_pieces(control, centre):
    await execute(
        centre,
        "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source, qty_ordered, uom,"
        " routing) SELECT uuidv7(), 'SITE_001', now(), 'big', 'ERP', 1, 'pcs',"
        " to_json((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 60000)))",
    )
    async with connect(centre, autocommit=False) as connection:
        await Sequencer(connection, CATALOG).step(now_ms=1)
    answer = await ask(control, "SITE_001", "feed", scope="SITE_001", after=0)
    message = answer["entries"][0]
    assert answer["size"] > len(message)
    while len(message) < answer["size"]:
        more = await ask(
            control, "SITE_001", "feed", scope="SITE_001", after=0, offset=len(message)
        )
        message += more["entries"][0]
    entry, _ = codec.decode_entry(message)
    assert len(entry.blocks[0].new[entry.blocks[0].columns.index("routing")][0]) > 1_900_000

"""The feed is gap-free, immune to the order of commits, whole by transaction, and a site's own."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from contextlib import AsyncExitStack

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central import feed
from central.feed import PAGE_ROWS_MAX, Sequencer, entries_after
from shared.changes import SHARED, START, Fate, Position
from sync import codec, frames, protocol
from sync.protocol import Verdict
from tests.integration.apply_world import CREATED, open_world
from tests.integration.central_world import CATALOG, connect, execute, fetch

ORDER = "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source, qty_ordered, uom) "


def new_orders(site: str, *numbers: str) -> str:
    values = ", ".join(
        f"(uuidv7(), '{site}', '2026-11-01T00:00:00Z', '{no}', 'ERP', 10, 'pcs')" for no in numbers
    )
    return f"{ORDER} VALUES {values}"


async def sequence(url: str) -> None:
    async with connect(url, autocommit=False) as connection:
        await Sequencer(connection, CATALOG).step(now_ms=1)


async def follow(url: str, scope: str, after: Position = START):
    """Return the entries of a feed after a position, each judged as an edge judges them."""
    entries = []
    async with connect(url) as connection:
        while messages := await entries_after(connection, scope, after.n):
            for message in messages:
                entry, body = codec.decode_entry(message)
                assert entry.hash == protocol.entry_hash(entry.previous, scope, entry.pos, body)
                verdict = protocol.judge(after, entry.pos, entry.previous, entry.hash)
                assert verdict is Verdict.APPLY
                after = Position(entry.pos, entry.hash)
                entries.append(entry)
    return entries


def rows(entries, table="work_orders"):
    return [
        (block.fate, dict(zip(block.columns, values, strict=True)).get("order_no"))
        for entry in entries
        for block in entry.blocks
        if block.table == table
        for values in (zip(*block.new, strict=True) if block.new else [()] * len(block))
    ]


async def test_a_plain_insert_at_the_centre_reaches_the_feed_of_its_site_only(centre):
    await execute(centre, new_orders("SITE_001", "A1", "A2"))
    await sequence(centre)
    assert sorted(rows(await follow(centre, "SITE_001"))) == [(Fate.PUT, "A1"), (Fate.PUT, "A2")]
    assert await follow(centre, "SITE_002") == []
    assert await follow(centre, SHARED) == []


async def test_a_large_update_is_sequenced_in_the_memory_of_a_page_and_read_once(
    centre, monkeypatch
):
    monkeypatch.setattr(feed, "PAGE_ROWS_MAX", 500)
    await execute(
        centre,
        f"{ORDER[:-2]}, notes) SELECT uuidv7(), 'SITE_001', '2026-11-01T00:00:00Z', 'N' || n,"
        " 'ERP', 10, 'pcs',"
        " (SELECT string_agg(md5(n::text || k), '') FROM generate_series(1, 30) AS k)"
        " FROM generate_series(1, 15000) AS n",
    )
    async with connect(centre, autocommit=False) as connection:
        tracemalloc.start()
        step = await Sequencer(connection, CATALOG).step(now_ms=1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.commit()
    ((size, entries),) = await fetch(centre, "SELECT sum(length(body)), count(*) FROM sync.feed")
    assert (step.touched, step.entries) == (15_000, {"SITE_001": entries})
    assert peak < size / 2, f"{peak} bytes for entries of {size}"
    ((read,),) = await fetch(
        centre,
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'touched_pkey'",
    )
    assert read < 4 * step.touched
    followed = await follow(centre, "SITE_001")
    assert [entry.more for entry in followed] == [True] * (entries - 1) + [False]
    assert len(rows(followed)) == 15_000


class Counting(psycopg.AsyncConnection):
    """Knows how many rows the server sent for the last statement."""

    sent = 0

    async def execute(self, *given, **more):
        cursor = await super().execute(*given, **more)
        self.sent = cursor.rowcount
        return cursor


async def test_entries_are_cut_by_their_bytes_before_the_server_sends_them(centre):
    async with await Counting.connect(centre, autocommit=True) as connection:
        await connection.execute(
            """INSERT INTO sync.feed (scope, pos, previous, hash, body)
               SELECT 'SITE_001', n, sha256(''), sha256(''), convert_to(repeat('x', 100000), 'UTF8')
               FROM generate_series(1, 200) AS n"""
        )
        some = await entries_after(connection, "SITE_001", 3, bytes_max=350_000)
        assert [frames.unframe(each, "F")[1] for each in some] == [4, 5, 6]
        assert sum(map(len, some)) <= 350_000
        assert connection.sent == 3
        assert len(await entries_after(connection, "SITE_001", 3, bytes_max=1)) == 1
        assert len(await entries_after(connection, "SITE_001", 3, rows_max=2)) == 2
        assert await entries_after(connection, "SITE_001", 200) == []


async def test_values_travel_in_their_canonical_form(centre):
    await execute(
        centre,
        f"{ORDER[:-2]}, due_at, notes) VALUES (uuidv7(), 'SITE_001', '2026-11-01 01:00+01', 'A',"
        " 'ERP', 12.500000, 'pcs', '2026-11-02 12:00:00.5+00', E'tab\\tback\\\\slash\\nline')",
    )
    await sequence(centre)
    (block,) = (await follow(centre, "SITE_001"))[0].blocks
    row = dict(zip(block.columns, (column[0] for column in block.new), strict=True))
    assert block.created == ["2026-11-01T00:00:00.000Z"]
    assert row["qty_ordered"] == "12.5"
    assert row["due_at"] == "2026-11-02T12:00:00.500Z"
    assert row["notes"] == "tab\tback\\slash\nline"


async def test_a_deleted_row_is_gone_and_a_deletion_is_not_sent_twice(centre):
    await execute(centre, new_orders("SITE_001", "A1"))
    await sequence(centre)
    await execute(centre, "DELETE FROM mes.work_orders")
    await sequence(centre)
    await sequence(centre)
    entries = await follow(centre, "SITE_001")
    assert rows(entries) == [(Fate.PUT, "A1"), (Fate.GONE, None)]


async def test_a_row_that_stands_is_never_sent_as_gone_for_a_change_that_moves_it(centre):
    async with open_world(centre) as world:
        site = world.site()
        order = site.order(notes="stands")
        base = await site.writes(site.insert("work_orders", order))
        moved = site.update(
            "work_orders", str(order["id"]), base=base, created="2026-11-21T08:00:00.000Z",
            notes=("stands", "moved"),
        )  # fmt: skip
        outcome = await site.apply(site.sends(moved))
        assert outcome.parked == 1
    await sequence(centre)
    entries = await follow(centre, "SITE_001")
    assert rows(entries) == [(Fate.PUT, order["order_no"])]
    assert [b.created for e in entries for b in e.blocks if b.table == "work_orders"] == [[CREATED]]


async def test_an_id_that_comes_back_under_another_time_far_behind_is_not_taken_away(centre):
    await execute(centre, new_orders("SITE_001", "A1"))
    await sequence(centre)
    await execute(
        centre,
        "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM mes.work_orders",
        "DELETE FROM mes.work_orders",
        new_orders("SITE_001", *(f"N{k}" for k in range(PAGE_ROWS_MAX))),
        "UPDATE kept SET created_at = created_at + interval '1 day'",
        "INSERT INTO mes.work_orders SELECT * FROM kept",
    )
    await sequence(centre)
    entries = await follow(centre, "SITE_001")
    blocks = [b for e in entries for b in e.blocks]
    assert {block.fate for block in blocks} == {Fate.PUT}
    # The first that the site hears of the order is what stands: what comes later is no news.
    created = [
        at
        for b in blocks
        for at, no in zip(b.created, b.new[b.columns.index("order_no")], strict=True)
        if no == "A1"
    ]
    assert [at[:10] for at in created] == ["2026-11-01", "2026-11-02", "2026-11-02"]


async def test_transactions_that_commit_in_crossed_order_all_reach_the_feed(centre):
    async with (
        connect(centre, autocommit=False) as first,
        connect(centre, autocommit=False) as second,
    ):
        await first.execute(new_orders("SITE_001", "first"))  # takes the smaller numbers
        await second.execute(new_orders("SITE_001", "second"))
        await second.commit()
        await sequence(centre)
        assert rows(await follow(centre, "SITE_001")) == [(Fate.PUT, "second")]
        await first.commit()
    await sequence(centre)
    assert rows(await follow(centre, "SITE_001")) == [(Fate.PUT, "second"), (Fate.PUT, "first")]


async def test_a_transaction_left_open_holds_nobody_back(centre):
    async with connect(centre, autocommit=False) as idle:
        await idle.execute(new_orders("SITE_002", "never committed"))
        for number in range(3):
            await execute(centre, new_orders("SITE_001", f"A{number}"))
            await sequence(centre)
        assert len(rows(await follow(centre, "SITE_001"))) == 3


async def test_a_large_transaction_is_one_run_of_entries_that_ends_once(centre):
    await execute(centre, new_orders("SITE_001", *(f"N{k}" for k in range(5_000))))
    await sequence(centre)
    entries = await follow(centre, "SITE_001")
    assert len(entries) > 5
    assert [entry.more for entry in entries] == [True] * (len(entries) - 1) + [False]
    assert len({number for _, number in rows(entries)}) == 5_000


async def test_of_a_run_of_entries_only_the_last_has_the_ack_that_decides_on_them(centre):
    epoch = "018f4b7e-0000-7000-8000-000000000001"
    await execute(
        centre,
        new_orders("SITE_001", *(f"N{k}" for k in range(1_200))),
        f"INSERT INTO sync.epoch (site, epoch, last_n) VALUES ('SITE_001', '{epoch}', 4)",
    )
    await sequence(centre)
    *before, last = await follow(centre, "SITE_001")
    assert before
    assert [entry.ack for entry in before] == [None] * len(before)
    assert last.ack.n == 4


async def test_rows_too_large_for_one_message_are_spread_over_entries(centre):
    chance = random.Random(1)
    await execute(
        centre,
        *(
            f"{ORDER[:-2]}, routing) VALUES (uuidv7(), 'SITE_001', now(), 'N{k}', 'ERP', 1, 'pcs',"
            f" '\"{chance.randbytes(3_000).hex()}\"')"
            for k in range(600)
        ),
    )
    await sequence(centre)
    assert len(rows(await follow(centre, "SITE_001"))) == 600
    (largest,) = await fetch(centre, "SELECT max(length(body)) FROM sync.feed")
    assert largest[0] <= codec.MESSAGE_BYTES_MAX


async def test_a_person_who_moves_leaves_one_share_and_enters_another(centre):
    await execute(
        centre,
        "INSERT INTO mes.persons (id, site_id, created_at, person_no, name, home_site_id,"
        " assigned_sites) VALUES (uuidv7(), '*', now(), 'P1', 'Ada', 'SITE_001', '[\"SITE_002\"]')",
    )
    await sequence(centre)
    await execute(centre, "UPDATE mes.persons SET home_site_id = 'SITE_003', assigned_sites = '[]'")
    await sequence(centre)
    fates = {
        site: [b.fate for e in await follow(centre, site) for b in e.blocks]
        for site in ("SITE_001", "SITE_002", "SITE_003")
    }
    assert fates == {
        "SITE_001": [Fate.PUT, Fate.LEFT],
        "SITE_002": [Fate.PUT, Fate.LEFT],
        "SITE_003": [Fate.PUT],
    }
    assert await follow(centre, SHARED) == []


async def test_whoever_a_row_left_between_two_steps_hears_of_it(centre):
    await execute(
        centre,
        "INSERT INTO mes.persons (id, site_id, created_at, person_no, name, home_site_id,"
        " assigned_sites) VALUES (uuidv7(), '*', now(), 'P1', 'Ada', 'SITE_001', '[\"SITE_002\"]')",
    )
    await sequence(centre)
    await execute(centre, "UPDATE mes.persons SET assigned_sites = '[\"SITE_003\"]'")
    await execute(centre, "UPDATE mes.persons SET assigned_sites = '[]'")
    await sequence(centre)
    fates = [b.fate for e in await follow(centre, "SITE_002") for b in e.blocks]
    assert fates == [Fate.PUT, Fate.LEFT]


async def test_what_commits_while_a_page_is_sequenced_is_not_seen_in_part(centre, monkeypatch):
    await execute(centre, new_orders("SITE_001", "A", "B"))
    await sequence(centre)
    await execute(centre, "UPDATE mes.work_orders SET notes = 'first' WHERE order_no = 'A'")
    take = Sequencer._take_page

    async def take_and_be_overtaken(self, after):
        taken = await take(self, after)
        if not after:
            await execute(centre, "UPDATE mes.work_orders SET notes = 'both'")
        return taken

    monkeypatch.setattr(Sequencer, "_take_page", take_and_be_overtaken)
    await sequence(centre)
    _, entry = await follow(centre, "SITE_001")
    (block,) = entry.blocks
    assert block.new[block.columns.index("notes")] == ["first"]


async def test_an_ack_is_an_entry_even_without_rows(centre):
    epoch = "018f4b7e-0000-7000-8000-000000000001"
    await execute(
        centre, f"INSERT INTO sync.epoch (site, epoch, last_n) VALUES ('SITE_001', '{epoch}', 4)"
    )
    await sequence(centre)
    await sequence(centre)
    (entry,) = await follow(centre, "SITE_001")
    assert (entry.ack.epoch, entry.ack.n, entry.ack.safe_n) == (epoch, 4, 0)


async def test_only_one_sequencer_works_at_a_time(centre):
    await execute(centre, new_orders("SITE_001", *(f"N{k}" for k in range(300))))
    await asyncio.gather(*(sequence(centre) for _ in range(4)), return_exceptions=True)
    await sequence(centre)
    assert len(rows(await follow(centre, "SITE_001"))) == 300
    assert await fetch(centre, "SELECT 1 FROM sync.touched") == []


async def test_a_sequencer_does_nothing_while_another_is_at_work(centre):
    await execute(centre, new_orders("SITE_001", "A"))
    async with (
        connect(centre, autocommit=False) as other,
        connect(centre, autocommit=False) as connection,
    ):
        await other.execute("SELECT pg_advisory_xact_lock(%s)", [feed._SEQUENCER_LOCK])
        step = await Sequencer(connection, CATALOG).step(now_ms=1)
        assert (step.touched, step.entries) == (0, {})
    await sequence(centre)
    assert rows(await follow(centre, "SITE_001")) == [(Fate.PUT, "A")]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["write", "commit", "sequence"]), min_size=4, max_size=30))
async def test_whatever_the_order_of_writes_commits_and_steps_the_last_head_arrives(
    centre, schedule
):
    """Three clients update one row each in turn; the feed ends with every row's last value."""
    before = len(await follow(centre, "SITE_003"))
    number = (await fetch(centre, "SELECT count(*) FROM mes.work_orders"))[0][0]
    keys = [f"{number}-{k}" for k in range(3)]
    await execute(centre, new_orders("SITE_003", *keys))
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(centre, autocommit=False)) for _ in range(3)
        ]
        for turn, action in enumerate(schedule):
            client, key = clients[turn % 3], keys[turn % 3]
            if action == "write":
                await client.execute(
                    "UPDATE mes.work_orders SET notes = %s WHERE order_no = %s", [str(turn), key]
                )
            elif action == "commit":
                await client.commit()
            else:
                await sequence(centre)
        for client in clients:
            await client.commit()
    await sequence(centre)
    last = {}
    for entry in (await follow(centre, "SITE_003"))[before:]:
        for block in entry.blocks:
            columns = dict(zip(block.columns, block.new, strict=True))
            last |= dict(zip(columns["order_no"], columns["notes"], strict=True))
    stored = await fetch(
        centre, "SELECT order_no, notes FROM mes.work_orders WHERE order_no = ANY(%s)", keys
    )
    assert last == dict(stored)

"""The drain: numbered, chained, whole or not at all, bounded, and never stopped by a value."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge.store import outbox
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.changes import GENESIS
from sync import codec
from tests.integration.edge_drain_world import CREATED, NO_BOUND, Site, site, uid  # noqa: F401
from tests.integration.edge_world import put

ROOT = Path(__file__).parents[2]


def column(name, kind, policy=Policy.LAST_WRITE):
    digits = {"precision": 18, "scale": 6} if kind is Kind.DECIMAL else {}
    return Column(name, ColumnType(kind, **digits), policy=policy)


ODD = Table(
    "odd",
    Direction.BOTH,
    (
        column("t", Kind.TEXT),
        column("i", Kind.INTEGER),
        column("f", Kind.FLOAT),
        column("b", Kind.BYTES),
        column("d", Kind.DECIMAL),
    ),
)
FACTS = Table(
    "odd_facts",
    Direction.UP,
    tuple(column(c.name, c.type.kind, Policy.APPEND_ONLY) for c in ODD.columns),
    append_only=True,
)


@pytest.fixture
def odd(tmp_path):
    site = Site(tmp_path / "store.db", Catalog(1, (ODD, FACTS)))
    yield site
    site.close()


# --- the chain ----------------------------------------------------------------------------------


def test_transactions_are_numbered_without_gaps_and_chained_by_hash(site):
    for number in range(1, 5):
        site.insert("work_orders", id=uid(number), order_no=f"WO-{number}")
        site.store.drain(number)
    parts = site.store.outbox((0, NO_BOUND), bytes_max=NO_BOUND)
    assert [(part.n, part.part, part.parts) for part in parts] == [(n, 0, 1) for n in range(1, 5)]
    assert [part.previous for part in parts] == [GENESIS, *(part.hash for part in parts[:-1])]
    assert (site.store.position().last_n, site.store.position().last_hash) == (4, parts[-1].hash)
    assert len(site.sent()) == 4


def test_nothing_new_makes_no_transaction_and_takes_no_lock(site):
    holder = sqlite3.connect(site.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert site.store.drain(1) is None
    holder.execute("ROLLBACK")
    holder.close()
    assert site.store.position().last_n == 0


def test_the_stamp_of_a_transaction_grows_though_the_clock_goes_back(site):
    stamps = []
    for n, now_ms in enumerate((5_000_000, 1_000, 1_000), 1):
        site.insert("work_orders", id=uid(n), order_no=f"WO-{n}")
        site.store.drain(now_ms)
        stamps.append(site.store.position().hlc)
    assert stamps == sorted(set(stamps))


def test_what_is_frozen_at_the_drain_says_schema_offset_and_stamp(site):
    site.store.set_offset(-1234, 7)
    site.insert("work_orders", id=uid(1), order_no="WO-1")
    site.store.drain(5_000_000)
    (part,) = site.store.outbox((0, NO_BOUND), bytes_max=NO_BOUND)
    body = codec.open_body(part)
    assert (body.schema, body.offset_ms) == (site.store.catalog.version, -1234)
    assert body.hlc == site.store.position().hlc
    site.update("work_orders", uid(1), notes="later")
    assert site.store.outbox((0, NO_BOUND), bytes_max=NO_BOUND) == [part]


def test_the_outbox_hands_out_parts_in_order_within_a_bound_but_always_one(site):
    for number in range(1, 6):
        site.insert("work_orders", id=uid(number), order_no=f"WO-{number}", notes="x" * 999)
        site.store.drain(number)
    size = len(site.store.outbox((0, NO_BOUND), bytes_max=1)[0].body)
    assert [p.n for p in site.store.outbox((0, NO_BOUND), bytes_max=1)] == [1]
    assert [p.n for p in site.store.outbox((1, 0), bytes_max=3 * size + 9)] == [2, 3, 4]
    assert site.store.outbox((5, 0), bytes_max=NO_BOUND) == []


def test_the_outbox_hands_out_no_more_parts_than_one_batch_holds(site, monkeypatch):
    for number in range(1, 6):
        site.insert("work_orders", id=uid(number), order_no=f"WO-{number}")
        site.store.drain(number)
    monkeypatch.setattr(outbox, "BATCH_PIECES_MAX", 2)
    assert [p.n for p in site.store.outbox((0, NO_BOUND), bytes_max=NO_BOUND)] == [1, 2]
    assert [p.n for p in site.store.outbox((4, 0), bytes_max=NO_BOUND)] == [5]
    assert len(site.sent()) == 5


def test_prune_removes_what_is_safe_and_never_more(site):
    for number in range(1, 6):
        site.insert("work_orders", id=uid(number), order_no=f"WO-{number}")
        site.store.drain(number)
    assert site.store.prune(1) == 0
    site.take(ack=site.ack(4, safe_n=2))
    assert site.store.prune(1) == 2
    assert [part.n for part in site.store.outbox((0, NO_BOUND), bytes_max=NO_BOUND)] == [3, 4, 5]


def test_pending_writes_say_what_was_added_to_a_sum_and_a_set(site):
    row = {"id": uid(1), "equipment_code": "E1", "cycle_count": 5, "tags": '["a"]'}
    site.take(put("equipment", row, order=1))
    site.write('UPDATE equipment SET cycle_count = cycle_count + 2, tags = \'["a","b"]\'')
    site.sent()
    (pending,) = site.rows("SELECT op, mask, deltas FROM _sync_pending")
    table = site.store.catalog.table("equipment")
    assert pending["mask"] == table.mask(["cycle_count", "tags"])
    assert (
        pending["deltas"] == '{"cycle_count": [5, 7], "tags": ["[\\"a\\"]", "[\\"a\\",\\"b\\"]"]}'
    )


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["odd", "odd_facts"])
@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("t", None, None),
        ("t", "", ""),
        ("t", "a\x00b", "a\x00b"),
        ("t", "日本 🏭", "日本 🏭"),
        ("i", 0, 0),
        ("i", 2**53 + 1, 2**53 + 1),
        ("i", -(2**63), -(2**63)),
        ("f", -0.0, 0.0),
        ("f", math.nan, None),
        ("f", 1e308, 1e308),
        ("f", 5e-324, 5e-324),
        ("f", 3, 3.0),
        ("b", b"\x00\xff", b"\x00\xff"),
        ("b", b"", b""),
        ("d", "0.10", "0.1"),
        ("d", 2**53 + 1, "9007199254740993"),
    ],
)
def test_a_value_arrives_as_it_was_written(odd, table, name, value, sent):
    odd.insert(table, id=uid(1), **{name: value})
    (row,) = odd.sent()
    assert row.new[name] == sent
    assert type(row.new[name]) is type(sent)
    if isinstance(sent, float):
        assert math.copysign(1, row.new[name]) == math.copysign(1, sent)


@pytest.mark.parametrize("table", ["odd", "odd_facts"])
def test_a_text_that_is_no_utf8_travels_as_its_bytes(odd, table):
    odd.insert(table, id=uid(1), t="good")
    odd.write(
        f"INSERT INTO {table} (id, created_at, t) VALUES (?, ?, CAST(x'ff41' AS TEXT))",
        uid(2),
        CREATED,
    )
    assert [(row.id, row.new["t"]) for row in odd.sent()] == [(uid(1), "good"), (uid(2), b"\xffA")]
    odd.insert(table, id=uid(3), t="good again")
    assert [row.new["t"] for row in odd.sent()] == ["good again"]


def test_an_old_value_that_is_no_utf8_travels_too(odd):
    odd.write("INSERT INTO odd (id, t) VALUES (?, CAST(x'ff41' AS TEXT))", uid(1))
    odd.decided()
    odd.update("odd", uid(1), t="mended")
    (row,) = odd.sent()
    assert (row.old, row.new) == ({"t": b"\xffA"}, {"t": "mended"})


def test_a_drain_that_meets_a_text_that_is_no_utf8_sends_what_it_had_begun_with_once(odd):
    odd.insert("odd", id=uid(1), t="good")
    odd.write(
        "INSERT INTO odd_facts (id, created_at, t) VALUES (?, ?, CAST(x'ff41' AS TEXT))",
        uid(2),
        CREATED,
    )
    sent = [(row.table, row.id, row.new["t"]) for row in odd.sent()]
    assert sorted(sent) == [("odd", uid(1), "good"), ("odd_facts", uid(2), b"\xffA")]
    assert odd.owed() == [("odd", uid(1), "I")]


def test_a_fact_whose_key_is_no_utf8_is_sent_so_that_the_centre_can_name_it(odd):
    odd.write("INSERT INTO odd_facts (id, i) VALUES (CAST(x'ff41' AS TEXT), 1)")
    (row,) = odd.sent()
    assert row.id[:2] == "\ufffdA"


@pytest.mark.parametrize("table", ["odd", "odd_facts"])
def test_rows_whose_ids_are_no_utf8_are_each_sent_under_a_name_of_their_own(odd, table):
    shape = "41{}4141414141412d414141412d414141412d414141412d414141414141414141414141"
    odd.write(f"DROP TRIGGER _sync_{table}_guard_insert")
    for value, first in enumerate(("ff", "fe", "fd")):
        text = f"CAST(x'{shape.format(first)}' AS TEXT)"
        odd.write(f"INSERT INTO {table} (id, i) VALUES ({text}, ?)", value)
    sent = {row.id: row.new["i"] for row in odd.sent()}
    assert sorted(sent.values()) == [0, 1, 2]
    assert all(row_id.startswith("A\ufffdAAAAA") for row_id in sent)
    odd.write(f"DROP TRIGGER IF EXISTS _sync_{table}_guard_update")
    if table == "odd":  # the same row is known under the same name
        odd.write("UPDATE odd SET i = 9 WHERE i = 1")
        (row,) = odd.sent()
        assert (row.id, row.op) == (next(i for i, value in sent.items() if value == 1), "U")


def test_a_row_whose_id_is_no_utf8_is_sent_too(odd):
    shape = "x'41ff4141414141412d414141412d414141412d414141412d414141414141414141414141'"
    odd.write("DROP TRIGGER _sync_odd_guard_insert")
    odd.write(f"INSERT INTO odd (id, i) VALUES (CAST({shape} AS TEXT), 7)")
    (row,) = odd.sent()
    assert (row.id[:2], row.op, row.new["i"]) == ("A\ufffd", "I", 7)


def test_a_row_of_a_foreign_site_travels_with_its_site(odd):
    odd.write("DROP TRIGGER _sync_odd_facts_guard_insert")
    odd.insert("odd_facts", id=uid(1), site_id="SITE_002", i=1)
    assert [row.site for row in odd.sent()] == ["SITE_002"]


# --- sizes --------------------------------------------------------------------------------------


def incompressible(size):
    return os.urandom(size)


@pytest.mark.parametrize("table", ["odd", "odd_facts"])
def test_rows_that_do_not_fit_one_message_are_split_over_parts(odd, table):
    odd.program.execute("BEGIN")
    for number in range(1, 9):
        odd.insert(table, id=uid(number), b=incompressible(300_000))
    odd.program.execute("COMMIT")
    drained = odd.store.drain(1)
    parts = odd.store.outbox((0, NO_BOUND), bytes_max=NO_BOUND)
    assert drained.parts == len(parts) >= 4
    assert all(len(part.body) <= codec.MESSAGE_BYTES_MAX for part in parts)
    assert [row.id for row in odd.sent()] == [uid(number) for number in range(1, 9)]


#: Columns of work orders that stand alone: any subset of them may change in one row.
ALONE = {
    **dict.fromkeys(("material_code", "customer_ref", "assigned_line", "notes"), "'new'"),
    **dict.fromkeys(("material_version", "customer_comment"), "'other'"),
    **dict.fromkeys(("due_at", "actual_start", "actual_end"), f"'{CREATED}'"),
    **dict.fromkeys(("material_id", "definition_id"), f"'{uid(9)}'"),
    "priority": "51",
    "cancel_requested": "1",
}


def test_rows_that_each_changed_in_other_columns_make_parts_that_can_be_read(site):
    site.write(FILL.format(
        rows=6_000, table="work_orders", column="order_no", value="i", more="", from_="",
    ))  # fmt: skip
    site.decided()
    changes = ", ".join(
        f"{name} = CASE WHEN order_no >> {bit} & 1 THEN {value} ELSE {name} END"
        for bit, (name, value) in enumerate(ALONE.items())
    )
    site.write(f"UPDATE work_orders SET {changes}")
    sent = site.sent()
    assert len(sent) == len({row.id for row in sent}) == 6_000
    assert len({row.what for row in sent}) == 6_000


def test_a_very_long_text_goes_whole(odd):
    text = "ü" * 4_000_000
    odd.insert("odd", id=uid(1), t=text)
    assert [row.new["t"] for row in odd.sent()] == [text]


def test_a_blob_that_is_too_large_is_refused_at_the_write(odd):
    message = odd.refused("INSERT INTO odd (b) VALUES (zeroblob(16000001))")
    assert "odd.b: at most 16000000 bytes are allowed" in message


DRAIN = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from edge.store import EdgeStore
    from shared.catalog_file import load_catalog

    store = EdgeStore.open(
        Path(sys.argv[1]), load_catalog(), site="SITE_001", now_ms=1, host="here"
    )
    drained = store.drain(2)
    store.close()
    # Not ru_maxrss: a process starts with its parent's, and the tests may have grown large.
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    print(drained.rows, drained.parts, peak_kib // 1024)
    """
)


def drain_in_a_process_of_its_own(path):
    ran = subprocess.run(
        [sys.executable, "-c", DRAIN, str(path)], cwd=ROOT, check=True, capture_output=True
    )
    return [int(word) for word in ran.stdout.split()]


FILL = """
    WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {rows})
    INSERT INTO {table} (id, {column}{more})
    SELECT printf('%08x-0000-7000-8000-%012x', i, i), {value}{from_} FROM k
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "fill"),
    [
        (200_000, FILL.format(
            rows=200_000, table="job_responses", column="report_type", value="'SETUP'",
            more=", segment_code", from_=", 'SEG-' || (i % 97)",
        )),
        (50_000, FILL.format(
            rows=50_000, table="work_orders", column="order_no", value="'WO-' || i",
            more=", notes", from_=", 'note ' || i",
        )),
    ],
)  # fmt: skip
def test_a_huge_transaction_is_drained_in_bounded_memory(tmp_path, rows, fill):
    site = Site(tmp_path / "store.db")
    site.write(fill)
    site.close()
    drained, parts, peak_mib = drain_in_a_process_of_its_own(site.path)
    assert (drained, parts > 2) == (rows, True)
    assert peak_mib < 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("touches", "write"),
    [
        (3_000, "UPDATE equipment SET current_state = :touch"),
        (
            1_500,
            "INSERT INTO equipment (id, equipment_code) SELECT id, equipment_code FROM equipment"
            " WHERE :touch ON CONFLICT (id) DO UPDATE SET current_state = :touch",
        ),
    ],
    ids=["updates", "upserts"],
)
def test_a_hundred_rows_touched_thousands_of_times_are_drained_in_bounded_memory(
    tmp_path, touches, write
):
    rows = 100
    site = Site(tmp_path / "store.db")
    site.write(FILL.format(
        rows=rows, table="equipment", column="equipment_code", value="'M-' || i", more="", from_="",
    ))  # fmt: skip
    site.store.drain(1)
    site.program.execute("PRAGMA synchronous = OFF")
    site.program.execute("BEGIN")
    for touch in range(1, touches + 1):
        site.program.execute(write, {"touch": touch})
    site.program.execute("UPDATE _sync_log_equipment SET at_ms = at_ms + 1000 * seq")
    site.program.execute("COMMIT")
    site.close()
    drained, _, peak_mib = drain_in_a_process_of_its_own(site.path)
    assert drained == rows
    assert peak_mib < 110
